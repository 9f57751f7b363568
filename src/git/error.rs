//! Errors of Git. No message holds the content of an object (Invariant 7), and none holds a credential.

use std::path::PathBuf;

use super::{EntryMode, ObjectId};

/// A failure of Git, with what a person can do about it where there is something.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// No repository here.
    #[error("no Git repository at or above `{}`", path.display())]
    NotARepository {
        /// Where the search began.
        path: PathBuf,
    },
    /// The repository cannot be opened.
    #[error("cannot open the Git repository `{}`", path.display())]
    Open {
        /// The repository.
        path: PathBuf,
        /// Why.
        source: git2::Error,
    },
    /// Another user owns the repository, and Git is not configured to trust it.
    #[error("the Git repository `{}` belongs to another user", path.display())]
    Distrusted {
        /// The repository.
        path: PathBuf,
    },
    /// The repository has an object format or a reference format that libgit2 cannot read.
    #[error("the Git repository `{}` has a format that is not supported", path.display())]
    UnsupportedFormat {
        /// The repository.
        path: PathBuf,
        /// Which one.
        source: git2::Error,
    },
    /// The user's Git is set up to sign commits, and could not.
    #[error("git could not sign the commit: {detail}")]
    Signing {
        /// What the program said.
        detail: String,
    },
    /// A revision that names no commit.
    #[error("`{revision}` is not a commit in this repository")]
    UnknownRevision {
        /// As it was given.
        revision: String,
    },
    /// An object is not in this repository.
    #[error("the {kind} {id} is not in this repository{}", if *shallow { " (it is a shallow clone)" } else { "" })]
    Missing {
        /// Blob, tree or commit.
        kind: &'static str,
        /// The object.
        id: ObjectId,
        /// Whether history is cut off here.
        shallow: bool,
    },
    /// A submodule that no machine can check out.
    #[error("submodule `{path}`: {problem}")]
    BadSubmodule {
        /// Where it is.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The commit of a submodule is not to be had.
    #[error(
        "submodule `{path}` cannot be fetched from {address}; this runner has to have access, and its commit to be pushed there"
    )]
    Submodule {
        /// Where it is.
        path: String,
        /// Where it comes from, without credentials.
        address: String,
        /// Why not.
        source: Box<Self>,
    },
    /// The common ancestor of two commits lies beyond the boundary of a shallow clone.
    #[error("this clone is too shallow to find the common ancestor of {ours} and {theirs}")]
    CutOff {
        /// One commit.
        ours: ObjectId,
        /// The other.
        theirs: ObjectId,
    },
    /// A blob is over the limit; it was not read.
    #[error("the file has {size} bytes; the limit is {limit}")]
    TooLarge {
        /// Bytes, as in the object's header.
        size: u64,
        /// Bytes.
        limit: u64,
    },
    /// A tree is broken or hostile.
    #[error("the tree {id} {problem}")]
    BadTree {
        /// The tree.
        id: ObjectId,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A path that may not be written.
    #[error("`{path}` {problem}")]
    BadPath {
        /// The path.
        path: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A path where a regular file is needed holds something else.
    #[error("`{path}` is {}, which is refused here", mode.with_article())]
    RefusedEntry {
        /// The path.
        path: String,
        /// What is there.
        mode: EntryMode,
    },
    /// Not a valid name of a reference.
    #[error("`{name}` is not a valid reference name")]
    BadReference {
        /// As it was given.
        name: String,
    },
    /// Another process holds the lock of a reference or of the index, or left it behind.
    #[error("`{}` has been locked for {age_seconds} s; if no Git process is running, remove that file", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// How long it has been there.
        age_seconds: u64,
    },
    /// Every compare-and-swap lost its race.
    #[error("`{reference}` keeps being moved by other processes; try again")]
    Contended {
        /// The reference.
        reference: String,
    },
    /// A path has changes that are not committed.
    #[error("`{path}` has uncommitted changes; commit, stash or discard them first")]
    DirtyPath {
        /// The path.
        path: String,
    },
    /// The branch is checked out, and what came in would overwrite changes that are not committed.
    #[error("branch `{branch}` is checked out in `{}`, and its changes are in the way: {detail}; commit or stash them first", path.display())]
    Overwritten {
        /// The branch.
        branch: String,
        /// The working tree.
        path: PathBuf,
        /// What Git said.
        detail: String,
    },
    /// The branch is checked out in another working tree, which would look changed.
    #[error("branch `{branch}` is checked out in `{}`; run the command there", path.display())]
    CheckedOutElsewhere {
        /// The branch.
        branch: String,
        /// The other working tree.
        path: PathBuf,
    },
    /// A merge, a rebase or a similar operation is in progress.
    #[error("the working tree is in the middle of a {operation}; finish or abort it first")]
    Busy {
        /// Its name.
        operation: &'static str,
    },
    /// An argument that names no remote.
    #[error("`{remote}` is neither a remote of this repository nor an address")]
    UnknownRemote {
        /// As it was given.
        remote: String,
    },
    /// The remote asks for credentials, or rejected them.
    #[error("`{remote}` rejected the credentials: {detail}; check the token, key or credential helper")]
    Authentication {
        /// The remote, without credentials.
        remote: String,
        /// What Git said.
        detail: String,
    },
    /// The remote accepted the credentials, and refused the action.
    #[error(
        "`{remote}` refused {action}: {detail}; ask for permission, or add this user to the branch's protection rules"
    )]
    Permission {
        /// The remote, without credentials.
        remote: String,
        /// What was tried.
        action: String,
        /// What Git said.
        detail: String,
    },
    /// The remote examined the push and refused its content: a hook, a limit of size, a secret, a rule.
    #[error("`{remote}` refused {action}: {detail}")]
    Refused {
        /// The remote, without credentials.
        remote: String,
        /// What was tried.
        action: String,
        /// What the server said.
        detail: String,
    },
    /// The remote is not there, or not a repository.
    #[error("cannot reach `{remote}`: {detail}; check the address and the network")]
    Unreachable {
        /// The remote, without credentials.
        remote: String,
        /// What Git said.
        detail: String,
    },
    /// Any other failure of the `git` program.
    #[error("cannot {doing} `{remote}`: {detail}")]
    Remote {
        /// A verb and a preposition.
        doing: String,
        /// The remote, without credentials.
        remote: String,
        /// What Git said.
        detail: String,
    },
    /// The `git` program failed in this repository.
    #[error("cannot {doing}: {detail}")]
    Program {
        /// A verb.
        doing: &'static str,
        /// What Git said.
        detail: String,
    },
    /// A run of the `git` program took too long, and was killed.
    #[error("git did not finish within {seconds} s")]
    TimedOut {
        /// The limit.
        seconds: u64,
    },
    /// This process was asked to end while the `git` program ran.
    #[error("git was interrupted")]
    Interrupted,
    /// No identity is configured.
    #[error(
        "no identity to commit with: set `git config user.name` and `git config user.email`, or GIT_AUTHOR_NAME and GIT_AUTHOR_EMAIL"
    )]
    NoIdentity,
    /// Any other failure inside libgit2.
    #[error("{doing}")]
    Git {
        /// What was being done.
        doing: String,
        /// Why it failed.
        source: git2::Error,
    },
    /// A failure of the file system.
    #[error("cannot {doing} `{}`", path.display())]
    Io {
        /// A verb.
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
}

impl GitError {
    /// For `map_err`: a libgit2 failure with what was being done.
    pub(super) fn doing(doing: impl Into<String>) -> impl FnOnce(git2::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Git { doing, source }
    }
}

/// Hostile bytes as one line of text: lossy UTF-8, control characters escaped.
pub(super) fn printable(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for character in String::from_utf8_lossy(bytes).chars() {
        if character.is_control() {
            text.extend(character.escape_default());
        } else {
            text.push(character);
        }
    }
    text
}
