//! Fetching the part of history that an answer takes. Only the desired branch's own history is ever fetched: nothing that a
//! record on the status branch names, before that is known to be on the line.

use std::path::Path;

use crate::engine::EngineError;
use crate::git::{ObjectId, Remote, Repo};

/// A part of history that is not here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum LineFetch {
    /// The commits before the tip of the desired branch.
    Commits {
        /// The tip.
        tip: ObjectId,
        /// All of them, not only the newest.
        whole: bool,
    },
    /// The files of a commit that is on the line.
    Files(ObjectId),
}

impl LineFetch {
    /// Fetches it. `store` is where commits are kept that a shallow clone lacks.
    pub(crate) fn run(self, remote: &Remote, repo: &Repo, store: &Path) -> Result<(), EngineError> {
        match self {
            Self::Commits { tip, whole } => {
                remote.fetch_line(repo, store, tip, whole)?;
            }
            Self::Files(commit) => remote.fetch_commit(repo, commit)?,
        }
        Ok(())
    }
}
