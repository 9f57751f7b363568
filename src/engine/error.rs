//! What ends a reconcile or a decision before its time.

use crate::git::GitError;
use crate::index::IndexError;
use crate::record::RecordError;

/// What ends a reconcile or a decision before its time.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Git.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The index.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The status branch.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// There is no desired commit.
    #[error("branch `{branch}` has no commit yet{}", remote.as_ref().map(|name| format!(" on `{name}`")).unwrap_or_default())]
    NothingDesired {
        /// The branch.
        branch: String,
        /// The remote.
        remote: Option<String>,
    },
    /// HEAD is detached and no branch was named.
    #[error("HEAD is detached, so there is no branch to take the desired state from")]
    NoBranch,
    /// The configuration is not valid.
    #[error("`.planspec.yaml` at commit {commit} is not valid: {message}")]
    Config {
        /// The commit, short.
        commit: String,
        /// The first thing that is wrong.
        message: String,
    },
    /// The status branch kept moving.
    #[error("lost {attempts} races for the status branch in a row")]
    Contended {
        /// How often it was tried.
        attempts: u32,
    },
    /// A thread of ours died.
    #[error("a worker ended without an answer")]
    WorkerLost,
    /// A decision was asked for that cannot be made.
    #[error("{0}")]
    Refused(String),
    /// A file or directory.
    #[error("cannot {doing} `{}`", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// Where.
        path: std::path::PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
}
