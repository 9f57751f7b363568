//! The status branch: its layout, its records, its commit messages and its dashboard. Pure renderers, and one writer that
//! makes objects; the caller moves the branch (Invariant 3).

mod batch;
mod dashboard;
mod gc;
mod layout;
mod message;
mod parts;
mod removed;
mod render;
mod shrink;
mod subject;
mod transition;
mod tree;
mod writer;
mod written;

pub use batch::{Batch, RecordEdit};
pub use dashboard::{DashboardInput, EXECUTION_LIMIT, ExecutionCard, WaitingFor, dashboard};
pub use gc::{Squash, squash, squash_with};
pub use layout::{
    ARTIFACT_REFS, DASHBOARD, MAX_RECORD_BYTES, PinKind, RESULT_REFS, SPLIT_LIMIT, StatusPath, artifacts_ref,
    execution_of, key_of_path, may_hold_records, record_path, results_ref,
};
pub use message::{
    DESIRED_BRANCH, DESIRED_COMMIT, RESOURCE, RESOURCE_COUNT, RESOURCE_LIMIT, RUNNER, SQUASHED,
    TRANSITION_LIMIT, desired_branch, desired_commit, is_status_commit, message, parse_message,
};
pub(crate) use parts::is_large;
pub use removed::RemovedRecord;
pub use render::{Renderer, parse_record};
pub use shrink::shrink;
pub use transition::{MESSAGE_LIMIT, NotATransition, Transition};
pub use tree::{Pinned, StatusTree};
pub use writer::Writer;
pub use written::{WrittenCommit, WrittenRecords};

use crate::git::GitError;

/// Why a status record, or a commit of them, could not be read or made.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The text is not a status record.
    #[error("not a status record")]
    Malformed(#[source] serde_yaml::Error),
    /// A record could not be put into YAML.
    #[error("the status cannot be written as YAML")]
    Render(#[source] serde_yaml::Error),
    /// A file of the status branch is not the record of its path. Every other record stays readable.
    #[error("the status record `{path}` cannot be read: {reason}")]
    Unreadable {
        /// The path in the status tree.
        path: String,
        /// What is wrong with it, as a lower-case fragment.
        reason: String,
    },
    /// Git failed.
    #[error(transparent)]
    Git(#[from] GitError),
}
