//! Accounts on the host, what they may do, and what they wrote.

/// An account on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    /// The login: what the host has verified.
    pub(crate) login: String,
    /// The number, which stays when the login changes.
    pub(crate) id: u64,
    /// Whether it is a program.
    pub(crate) is_bot: bool,
}

/// Whose token this is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TokenIdentity {
    /// A person's, or a program's that has an account of its own.
    Login(String),
    /// The token of a job, which cannot say whose it is.
    Program,
}

impl TokenIdentity {
    /// Whether an account is this one, as far as is known.
    #[must_use]
    pub(crate) fn is(&self, account: &Account) -> bool {
        match self {
            Self::Login(login) => account.login.eq_ignore_ascii_case(login),
            // The token of a job is refused when it asks who it is. Any program is as near as it comes; people are kept
            // out by it.
            Self::Program => account.is_bot,
        }
    }
}

/// What somebody may do in a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RepoPermission {
    /// Nothing.
    None,
    /// Read.
    Read,
    /// Push.
    Write,
    /// Everything.
    Admin,
}

/// A commit, with the accounts that the host knows for those who had a hand in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostCommit {
    /// Its id.
    pub(crate) sha: String,
    /// The first line of its message.
    pub(crate) subject: String,
    /// Everybody who had a hand in it: author, committer, and the co-authors that the message names. The host itself is nobody
    /// where it committed what somebody wrote, or is named as a co-author.
    pub(crate) contributors: Vec<Contributor>,
}

/// Somebody who had a hand in a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Contributor {
    /// The account that the host names.
    Login(String),
    /// An address that the host knows no account for; empty where there is none.
    Address(String),
}
