//! Errors of the index.

use crate::git::GitError;
use crate::record::RecordError;

/// What can go wrong with the index.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The store.
    #[error("the index cannot be used: {0}; it is a cache and can be deleted")]
    Store(#[source] Box<redb::Error>),
    /// It was opened for reading only.
    #[error("the index is open for reading only")]
    ReadOnly,
    /// An entry cannot be read.
    #[error("an entry of the index is damaged: {0}; it is a cache and can be deleted")]
    Entry(#[from] postcard::Error),
    /// How a resource was left cannot be read.
    #[error("an entry of the index is damaged; it is only a cache and may be deleted: {0}")]
    WaitSet(#[from] serde_json::Error),
    /// Git.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The status branch.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The globs of the configuration.
    #[error("invalid glob in `.planspec.yaml`: {0}")]
    Glob(#[from] globset::Error),
}

// redb has an error type for each kind of operation. Which one failed makes no difference here: the answer to all of
// them is to delete the file.
macro_rules! from_redb {
    ($($error:ty),*) => {
        $(impl From<$error> for IndexError {
            fn from(error: $error) -> Self {
                Self::Store(Box::new(error.into()))
            }
        })*
    };
}

from_redb!(
    redb::DatabaseError,
    redb::TransactionError,
    redb::TableError,
    redb::StorageError,
    redb::CommitError
);
