//! What can go wrong when status records are read, rendered or written.

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
    /// A file of the status branch is not the record that its path promises. Every other record stays readable.
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
