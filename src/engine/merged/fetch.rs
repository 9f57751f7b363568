//! Fetching the part of history that an answer takes. Only the desired branch's own history is ever fetched: nothing that a
//! record on the status branch names, before that is known to be on the line.

use std::path::Path;

use crate::engine::EngineError;
use crate::git::{LineDepth, ObjectId, Remote, Repo};

/// A part of history that is not here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum LineFetch {
    /// The commits before the tip of the desired branch.
    Line {
        /// The tip.
        tip: ObjectId,
        /// With their trees.
        trees: bool,
        /// All of them, not only the newest.
        whole: bool,
    },
    /// The files of a commit that is on the line.
    Files(ObjectId),
}

impl LineFetch {
    /// All of the history, where this is a part of it.
    pub(super) fn whole(self) -> Self {
        match self {
            Self::Line { tip, trees, .. } => Self::Line { tip, trees, whole: true },
            Self::Files(_) => self,
        }
    }

    /// Fetches it. `store` is where commits are kept that a shallow clone lacks.
    pub(crate) fn run(self, remote: &Remote, repo: &Repo, store: &Path) -> Result<(), EngineError> {
        match self {
            Self::Line { tip, trees, whole } => {
                remote.fetch_line(repo, store, tip, LineDepth { trees, whole })?;
            }
            Self::Files(commit) => remote.fetch_commit(repo, commit)?,
        }
        Ok(())
    }
}
