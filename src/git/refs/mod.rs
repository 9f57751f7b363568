//! References: their names, their locks, and moving them by compare-and-swap.

mod lock;
mod swap;
mod swap_all;
mod tags;

pub(super) use lock::{OwnLock, PATIENCE, explain, lock_file};
pub use swap::SwapResult;
pub use swap_all::RefUpdate;
pub use tags::KnownTags;

use super::GitError;
use super::error::printable;

/// Whether this can be the name of a branch.
#[must_use]
pub fn is_branch_name(name: &str) -> bool {
    // A leading `-` is valid to Git's core and an option to every command that is given the name.
    !name.starts_with('-') && git2::Reference::is_valid_name(&format!("refs/heads/{name}"))
}

pub(super) fn check_name(name: &str) -> Result<(), GitError> {
    if git2::Reference::is_valid_name(name) {
        Ok(())
    } else {
        Err(GitError::BadReference { name: printable(name.as_bytes()) })
    }
}
