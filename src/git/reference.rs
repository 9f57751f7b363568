//! References: reading them, and moving them by compare-and-swap under their lock.

use std::thread;
use std::time::Duration;

use git2::{ErrorCode, Oid};

use super::error::printable;
use super::lock::{OwnLock, PATIENCE, explain, lock_file};
use super::program::Program;
use super::{GitError, ObjectId, Repo};

/// Our own lock around every reference transaction of this program.
const REFERENCES_LOCK: &str = "references.lock";

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
    /// absence. `why` goes into the reflog. A lock file that a killed process of ours left is removed.
    ///
    /// # Errors
    /// When the name is invalid, or [`GitError::Locked`] when somebody else's lock does not go away.
    pub fn swap_ref(
        &self,
        full_name: &str,
        old: Option<ObjectId>,
        new: Option<ObjectId>,
        why: &str,
    ) -> Result<Swap, GitError> {
        check_name(full_name)?;
        let mut own = OwnLock::take(self, REFERENCES_LOCK, PATIENCE);
        let swapped = self.swap_patiently(full_name, old, new, why, own.as_mut());
        if let Some(own) = &mut own {
            own.clear();
        }
        swapped
    }

    fn swap_patiently(
        &self,
        full_name: &str,
        old: Option<ObjectId>,
        new: Option<ObjectId>,
        why: &str,
        mut own: Option<&mut OwnLock>,
    ) -> Result<Swap, GitError> {
        let lock = lock_file(self, full_name);
        if let Some(own) = &mut own {
            if lock.exists() && own.remove_leftover(full_name, &lock) {
                tracing::warn!(lock = %lock.display(), "removed a lock that a killed process left");
            }
            own.note(full_name);
        }
        let (mut waited, mut pause) = (Duration::ZERO, Duration::from_millis(2));
        loop {
            match self.try_swap(full_name, old, new, why)? {
                Some(swap) => return Ok(swap),
                None if waited >= PATIENCE => break,
                None => {
                    let now = self.read_ref(full_name)?;
                    if now != old {
                        return Ok(Swap::Moved(now));
                    }
                }
            }
            thread::sleep(pause);
            waited += pause;
            pause = (pause * 2).min(Duration::from_millis(100));
        }
        let packed = lock_file(self, "packed-refs");
        Err(explain(&lock)
            .or_else(|| explain(&packed))
            .unwrap_or_else(|| GitError::Contended { reference: full_name.to_owned() }))
    }

    /// One attempt; `None` when the reference is locked.
    fn try_swap(
        &self,
        full_name: &str,
        old: Option<ObjectId>,
        new: Option<ObjectId>,
        why: &str,
    ) -> Result<Option<Swap>, GitError> {
        let expected = old.map_or(Ok(Oid::ZERO_SHA1), ObjectId::oid);
        let expected = expected.map_err(GitError::doing("bad object id"))?;
        let Some(new) = new else { return self.try_remove(full_name, old) };
        let new = new.oid().map_err(GitError::doing("bad object id"))?;
        // libgit2 compares under the lock; an expected value of zeros stands for absence.
        match self.git2().reference_matching(full_name, new, true, expected, why) {
            Ok(_) => Ok(Some(Swap::Done)),
            Err(error) => match error.code() {
                ErrorCode::Modified | ErrorCode::NotFound => {
                    let now = self.read_ref(full_name)?;
                    // Removed and made again in between is a race like any other.
                    Ok(if now == old { None } else { Some(Swap::Moved(now)) })
                }
                ErrorCode::Locked => Ok(None),
                _ if lock_file(self, full_name).exists() => Ok(None),
                _ => Err(GitError::Git { doing: format!("cannot write {full_name}"), source: error }),
            },
        }
    }

    /// Removes a reference through the `git` program: it also locks `packed-refs`, which libgit2 rewrites
    /// from what it read before the lock.
    fn try_remove(&self, full_name: &str, old: Option<ObjectId>) -> Result<Option<Swap>, GitError> {
        let Some(expected) = old else {
            let now = self.read_ref(full_name)?;
            return Ok(Some(if now.is_none() { Swap::Done } else { Swap::Moved(now) }));
        };
        let expected = expected.to_string();
        let output = Program::new(self.git_dir(), &[])
            .args(["update-ref", "--no-deref", "-d", "--end-of-options", full_name, &expected])
            .run()?;
        if output.success {
            return Ok(Some(Swap::Done));
        }
        let now = self.read_ref(full_name)?;
        Ok(if now == old { None } else { Some(Swap::Moved(now)) })
    }
}

pub(super) fn check_name(name: &str) -> Result<(), GitError> {
    if git2::Reference::is_valid_name(name) {
        Ok(())
    } else {
        Err(GitError::BadReference { name: printable(name.as_bytes()) })
    }
}
