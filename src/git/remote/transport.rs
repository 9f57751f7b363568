//! Another way to a remote than the `git` program, for a caller that brings one. What is done with the answers, above all
//! after a doubt, is the same for both.

use super::{PushFailure, Remote};
use crate::git::{GitError, ObjectId, RefUpdate, Repo};

/// A way to a remote whose objects the local repository can read already, as through alternates: only references are asked
/// for and moved.
pub trait Transport: Send + Sync {
    /// The tips of these references (full names).
    ///
    /// # Errors
    /// When the remote cannot be read.
    fn tips(&self, refs: &[&str]) -> Result<Vec<Option<ObjectId>>, GitError>;

    /// The branches, without `refs/heads/`.
    ///
    /// # Errors
    /// When the remote cannot be read.
    fn branches(&self) -> Result<Vec<String>, GitError>;

    /// Moves all of these references from their expected values, or none. What an error says of a lost race is not heeded:
    /// the references are read after any failure.
    ///
    /// # Errors
    /// When nothing moved, or when nobody knows whether it did.
    fn push(&self, updates: &[RefUpdate]) -> Result<(), PushFailure>;
}

impl Remote {
    /// Takes in the tips that a transport names, as a fetch would.
    pub(super) fn take_tips(
        &self,
        repo: &Repo,
        transport: &dyn Transport,
        refs: &[&str],
    ) -> Result<Vec<Option<ObjectId>>, GitError> {
        let tips = transport.tips(refs)?;
        for (name, tip) in refs.iter().zip(&tips) {
            let local = self.local_name(name)?;
            let before = repo.read_ref(&local)?;
            if before != *tip {
                repo.swap_ref(&local, before, *tip, "planspec: fetched")?;
            }
        }
        Ok(tips)
    }
}
