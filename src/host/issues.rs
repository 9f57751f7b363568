//! Issues: the form in which people get work.

use super::Account;

/// An issue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Issue {
    /// Its number in the repository.
    pub(crate) number: u64,
    /// Whether it is open.
    pub(crate) is_open: bool,
    /// As what it was closed, where the host says so.
    pub(crate) closed_as: Option<IssueEnd>,
    /// The title.
    pub(crate) title: String,
    /// The text.
    pub(crate) body: Option<String>,
    /// Who opened it.
    pub(crate) user: Option<Account>,
    /// Who has been asked to do it.
    pub(crate) assignees: Vec<Account>,
    /// Who closed it, where the host says so.
    pub(crate) closed_by: Option<Account>,
    /// When it was closed last.
    pub(crate) closed_at: Option<String>,
    /// Where to read it.
    pub(crate) url: String,
    /// Whether it is the issue behind a pull request: some hosts count both in one row.
    pub(crate) is_pull: bool,
}

/// As what an issue was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display)]
#[strum(serialize_all = "lowercase")]
pub(crate) enum IssueEnd {
    /// It is done.
    Completed,
    /// Nobody is going to do it.
    #[strum(serialize = "not planned")]
    NotPlanned,
    /// Another issue is about the same.
    Duplicate,
}

impl IssueEnd {
    /// Whether somebody said no with it.
    #[must_use]
    pub(crate) fn is_refusal(self) -> bool {
        self != Self::Completed
    }
}

/// An issue that is to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct NewIssue {
    /// The title.
    pub(crate) title: String,
    /// The text.
    pub(crate) body: String,
    /// Labels; the host makes those that it does not know.
    pub(crate) labels: Vec<String>,
    /// Logins. A host may silently drop those that cannot be assigned.
    pub(crate) assignees: Vec<String>,
}

/// What is to change of an issue. What is absent stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct IssueChange {
    /// The text.
    pub(crate) body: Option<String>,
    /// Whether it is open.
    pub(crate) open: Option<bool>,
    /// As what it is closed.
    pub(crate) closed_as: Option<IssueEnd>,
}
