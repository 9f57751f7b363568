//! Comments on issues and pull requests.

use super::Account;

/// A comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Comment {
    /// Its number, unique on the host.
    pub(crate) id: u64,
    /// The host's own name for it, where it has another one than the number; read by the host alone.
    pub(crate) handle: String,
    /// Who wrote it; nobody when the account is gone.
    pub(crate) user: Option<Account>,
    /// The text.
    pub(crate) body: Option<String>,
    /// When it was written.
    pub(crate) created_at: String,
    /// When it was changed last.
    pub(crate) updated_at: String,
    /// Where to read it.
    pub(crate) url: String,
    /// The number of the issue or pull request that it stands below, by the host's own answer: the event that names a comment
    /// may name another issue.
    pub(crate) issue: Option<u64>,
}

impl Comment {
    /// Whether it was changed after it was written.
    #[must_use]
    pub(crate) fn is_edited(&self) -> bool {
        // Anybody who may write can change what others wrote, so an edited comment decides nothing.
        self.created_at != self.updated_at
    }
}

/// A reaction to a comment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reaction {
    /// Thumbs up.
    Yes,
    /// Thumbs down.
    No,
    /// A confused face.
    Confused,
    /// Eyes.
    Seen,
}

/// What became of a comment that is kept up to date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CommentUpdate {
    /// It is new.
    Created(u64),
    /// Its text was replaced.
    Updated(u64),
    /// It said the same already; the host was not asked to change anything.
    Unchanged(u64),
}

impl CommentUpdate {
    /// The number of the comment.
    #[must_use]
    pub(crate) fn id(self) -> u64 {
        match self {
            Self::Created(id) | Self::Updated(id) | Self::Unchanged(id) => id,
        }
    }
}
