//! The moves of the branches: the status branch alone, or with the references that a record names, in one push each.

use crate::config::Config;
use crate::git::{GitError, ObjectId, PushResult, RefUpdate, SwapResult};

use super::EngineError;
use super::branches::Branches;
use super::status_log::status_ref;

/// The outcome of moving several references.
#[derive(Debug)]
pub(crate) enum Publication {
    /// All moved.
    Done,
    /// None did; the status branch is here now.
    Moved(Option<ObjectId>),
    /// None did: the remote refused the one at this index.
    Refused(usize, GitError),
}

impl Branches {
    /// Moves the status branch from `base` to `new`, if it still is at `base` (Invariant 3).
    ///
    /// # Errors
    /// Git.
    pub fn publish(
        &self,
        config: &Config,
        base: Option<ObjectId>,
        new: ObjectId,
        why: &str,
    ) -> Result<SwapResult, EngineError> {
        let reference = status_ref(config);
        let done = match self.remote() {
            // Exact in both cases. `None` means that the branch must not exist, so of two first commits one
            // loses as well.
            Some(remote) => remote.push(self.repo(), &reference, base, new)?,
            None => self.repo().swap_ref(&reference, base, Some(new), why)?,
        };
        if done == SwapResult::Done {
            self.remember(Some(&RefUpdate { reference, expected: base, new }))?;
        }
        Ok(done)
    }

    /// Moves references in one step, the status branch last, each from its expected value.
    ///
    /// # Errors
    /// Git; [`GitError::Refused`] when the remote does not say whose content it refuses.
    pub(crate) fn publish_all(&self, updates: &[RefUpdate], why: &str) -> Result<Publication, EngineError> {
        let last = updates.last();
        let status = |expected: Option<ObjectId>| Publication::Moved(expected);
        let Some(remote) = self.remote() else {
            if self.repo().swap_refs(updates, why)? {
                self.remember(last)?;
                return Ok(Publication::Done);
            }
            let now = last.map(|update| self.repo().read_ref(&update.reference)).transpose()?;
            return Ok(status(now.flatten()));
        };
        let results = remote.push_all(self.repo(), updates)?;
        let refused = |detail: &String, update: &RefUpdate| GitError::Refused {
            remote: remote.name().to_owned(),
            action: format!("writing {}", update.reference),
            detail: detail.clone(),
        };
        match (results.last(), last) {
            (Some(PushResult::Moved(tip)), _) => return Ok(status(*tip)),
            (Some(PushResult::Refused(detail)), Some(update)) => return Err(refused(detail, update).into()),
            _ => {}
        }
        for (index, (result, update)) in results.iter().zip(updates).enumerate() {
            if let PushResult::Refused(detail) = result {
                return Ok(Publication::Refused(index, refused(detail, update)));
            }
        }
        if results.iter().all(|result| *result == PushResult::Done) {
            self.remember(last)?;
            return Ok(Publication::Done);
        }
        // A reference of work is elsewhere than this clone knew, which it knows now: the same is published again.
        Ok(status(last.and_then(|update| update.expected)))
    }
}
