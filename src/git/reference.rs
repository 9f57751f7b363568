//! References: reading them, and moving them by compare-and-swap under their lock.

use git2::{ErrorCode, Oid};

use super::error::printable;
use super::{GitError, ObjectId, Repo};

/// What became of a compare-and-swap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Swap {
    /// The reference has the new value.
    Done,
    /// The reference had another value than expected, namely this; nothing was changed.
    Moved(Option<ObjectId>),
}

impl Repo {
    /// The object that a reference (full name) points to; `None` when there is no such reference.
    ///
    /// # Errors
    /// When the name is invalid or the reference broken.
    pub fn read_ref(&self, full_name: &str) -> Result<Option<ObjectId>, GitError> {
        check_name(full_name)?;
        match self.git2().refname_to_id(full_name) {
            Ok(oid) => Ok(Some(ObjectId::from_oid(oid))),
            Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
            Err(source) => Err(GitError::Git { doing: format!("cannot read {full_name}"), source }),
        }
    }

    /// Moves a reference from one value to another in one step: lock, verify, write. `None` stands for its
    /// absence. `why` goes into the reflog.
    ///
    /// # Errors
    /// When the name is invalid, or the lock is held for longer than a moment.
    pub fn swap_ref(
        &self,
        full_name: &str,
        old: Option<ObjectId>,
        new: Option<ObjectId>,
        why: &str,
    ) -> Result<Swap, GitError> {
        check_name(full_name)?;
        let expected = match old {
            Some(id) => id.oid().map_err(GitError::doing("bad object id"))?,
            None => Oid::ZERO_SHA1,
        };
        let result = match new {
            Some(id) => {
                let id = id.oid().map_err(GitError::doing("bad object id"))?;
                self.git2().reference_matching(full_name, id, true, expected, why).map(drop)
            }
            None => self.git2().find_reference(full_name).and_then(|mut reference| reference.delete()),
        };
        match result {
            Ok(()) => Ok(Swap::Done),
            Err(error) if matches!(error.code(), ErrorCode::Modified | ErrorCode::NotFound) => {
                Ok(Swap::Moved(self.read_ref(full_name)?))
            }
            Err(source) => Err(GitError::Git { doing: format!("cannot write {full_name}"), source }),
        }
    }
}

pub(super) fn check_name(name: &str) -> Result<(), GitError> {
    if git2::Reference::is_valid_name(name) {
        Ok(())
    } else {
        Err(GitError::BadReference { name: printable(name.as_bytes()) })
    }
}
