//! What a host knows of a branch beyond Git: who may push it, and what pushes replaced.

use super::Account;

/// Who may push a branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PushRule {
    /// Whoever a rule exempts.
    Restricted,
    /// Whoever the branch protection lets; only administrators are told who that is.
    Protected,
    /// Whoever may write to the repository.
    Open,
}

impl PushRule {
    /// The rule in one word, for programs.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Restricted => "restricted",
            Self::Protected => "protected",
            Self::Open => "open",
        }
    }

    /// The rule that a word says.
    pub(crate) fn of_word(word: &str) -> Option<Self> {
        [Self::Restricted, Self::Protected, Self::Open].into_iter().find(|rule| rule.word() == word)
    }
}

/// A branch as the host has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostBranch {
    /// The newest commit; none where there is no such branch.
    pub(crate) tip: Option<String>,
    /// Who may push it.
    pub(crate) pushes: PushRule,
}

/// The tips that a branch lost lately.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReplacedTips {
    /// Newest first.
    pub(crate) tips: Vec<ReplacedTip>,
    /// Whether the host has no more of them than these.
    pub(crate) complete: bool,
}

/// A tip that a branch had, and that a push or a deletion replaced by one that does not follow from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReplacedTip {
    /// The tip before.
    pub(crate) before: String,
    /// When it was replaced.
    pub(crate) timestamp: String,
    /// Who did it.
    pub(crate) actor: Option<Account>,
}
