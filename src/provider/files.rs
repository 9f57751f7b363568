//! What attempts leave besides outputs and changes: artifacts and logs. The engine keeps them where other machines find them;
//! providers only hand them in, and ask for those of the nodes before.

use std::path::Path;
use std::sync::Arc;

use super::ContentCheck;
use crate::model::{Artifact, LogSummary, NodeReason, StoredFiles};
use crate::run::{AttemptOutcome, RunnerFault, cause_first};

/// Keeps the files of one attempt, and brings those of the nodes before it.
pub trait AttemptFiles: Send + Sync {
    /// Takes in what an attempt left; nothing where nothing of it has to travel. What does not fit is named in what is
    /// returned, and never an error: the work is as good without it. Blocks.
    fn keep(&self, left: &LeftFiles<'_>) -> Option<Arc<StoredFiles>>;

    /// Whether the nodes before it left artifacts.
    fn has_upstream(&self) -> bool;

    /// Puts the artifacts of the nodes before it into `folder`, in a folder for each node: those that travel, and those that
    /// `needs`, globs of `NODE/NAME`, name. Blocks, and for no longer than `goes_on` says yes.
    ///
    /// # Errors
    /// When one of them is not to be had here, or there is no time for it.
    fn bring(&self, folder: &Path, needs: &[String], goes_on: &dyn Fn() -> bool) -> Result<(), BringError>;
}

/// What an attempt left in its own folder.
pub struct LeftFiles<'l> {
    /// That folder.
    pub run_dir: &'l Path,
    /// The files below `artifacts/` in it.
    pub artifacts: &'l [Artifact],
    /// The log, if anything was printed.
    pub log: Option<&'l LogSummary>,
    /// Content that must not leave this machine.
    pub is_secret: ContentCheck,
    /// Whether there is still time for it.
    pub goes_on: &'l dyn Fn() -> bool,
}

/// Why an attempt does not get the artifacts of the nodes before it.
#[derive(Debug, thiserror::Error)]
pub enum BringError {
    /// One of them is not here, and will not come by itself.
    #[error("{0}")]
    Unavailable(String),
    /// This machine could not get them; they may be as good as any.
    #[error("the artifacts of the nodes before it cannot be read: {message}")]
    Runner {
        /// What is to blame.
        fault: RunnerFault,
        /// What went wrong, as text.
        message: String,
    },
}

impl BringError {
    /// How an attempt ends that does not get them. Nothing of it has begun.
    pub(super) fn outcome(self) -> AttemptOutcome {
        match self {
            // Not Failed: the file is on another machine, or comes with another attempt of the node that left it.
            Self::Unavailable(message) => AttemptOutcome::Blocked {
                reason: NodeReason::ArtifactUnavailable,
                message,
                handle: None,
                poll_after: None,
            },
            Self::Runner { fault, .. } => {
                AttemptOutcome::RunnerFailed { fault, message: cause_first(self.to_string()), begun: false }
            }
        }
    }
}

/// Keeps nothing, and has nothing: for attempts that nobody drives for an Execution.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoFiles;

impl AttemptFiles for NoFiles {
    fn keep(&self, _left: &LeftFiles<'_>) -> Option<Arc<StoredFiles>> {
        None
    }

    fn has_upstream(&self) -> bool {
        false
    }

    fn bring(
        &self,
        _folder: &Path,
        _needs: &[String],
        _goes_on: &dyn Fn() -> bool,
    ) -> Result<(), BringError> {
        Ok(())
    }
}
