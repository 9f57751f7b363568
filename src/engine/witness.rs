//! A witness for clones that have seen nothing: tips of the status branch that somebody else saw, such as the Git host, and that
//! the branch may have lost since.

use tracing::{debug, warn};

use super::EngineError;
use super::branches::{BranchTips, Branches, status_ref};
use super::signed::takes_over;
use crate::config::{Config, SignerRole};
use crate::git::{GitError, ObjectId};

impl Branches {
    /// Whether this clone remembers a tip of the status branch, which is a better witness than any other.
    ///
    /// # Errors
    /// Git.
    pub(crate) fn remembers_status(&self, config: &Config) -> Result<bool, EngineError> {
        Ok(self.memory(&status_ref(config))?.last().is_some())
    }

    /// Takes in the tips that the status branch had elsewhere, newest first. One that held what the branch has lost is remembered
    /// as if this clone had seen it, so that whatever reads the branch next refuses it, or takes it where it is told to. Those
    /// that cannot be read come back.
    ///
    /// # Errors
    /// Git; no commit; an invalid configuration.
    pub(crate) fn heed(&self, replaced: &[ObjectId]) -> Result<Vec<ObjectId>, EngineError> {
        let tips = self.newest_tips()?;
        let memory = self.memory(&status_ref(&tips.config))?;
        let mut unreadable = Vec::new();
        for &tip in replaced {
            if !self.fetch_witnessed(tip)? {
                unreadable.push(tip);
                continue;
            }
            // What `gc` replaced has the same content, and what was taken over was looked at by somebody.
            let lost = memory.lost(self.repo(), Some(tip), &tips.desired, tips.status)?;
            if lost.is_none() || self.was_accepted(&tips, tip)? {
                debug!(%tip, "a replaced tip of the status branch held nothing that is lost");
                continue;
            }
            warn!(%tip, now = ?tips.status, "the status branch went back, by what the host remembers");
            memory.keep(tip);
            break;
        }
        Ok(unreadable)
    }

    /// Brings a commit here that no branch may hold any more; whether it is here.
    fn fetch_witnessed(&self, tip: ObjectId) -> Result<bool, EngineError> {
        if self.repo().commit(tip).is_ok() {
            return Ok(true);
        }
        let Some(remote) = self.remote() else { return Ok(false) };
        match remote.fetch_commit(self.repo(), tip) {
            Ok(()) => Ok(self.repo().commit(tip).is_ok()),
            Err(GitError::Interrupted) => Err(GitError::Interrupted.into()),
            // A host serves unreachable commits for a while and not for ever.
            Err(error) => {
                debug!(%tip, %error, "a replaced tip is not to be had");
                Ok(false)
            }
        }
    }

    /// Whether somebody took the branch as it is, in view of this tip. Where signatures are asked for, only a runner can: whoever
    /// may push writes any message.
    fn was_accepted(&self, tips: &BranchTips, lost: ObjectId) -> Result<bool, EngineError> {
        let name = lost.to_string();
        for commit in tips.status.into_iter().flat_map(|tip| self.repo().log(tip)) {
            let commit = commit?;
            if !(takes_over(&commit) && commit.message.contains(&name)) {
                continue;
            }
            let counts = tips.config.trust.status.is_none()
                || (self.signer(&tips.config, tips.desired.id, &commit)?)
                    .is_ok_and(|by| by.role == SignerRole::Runner);
            if counts {
                return Ok(true);
            }
            warn!(commit = %commit.id, "an acceptance of the status history is not signed by a runner, and does not count");
        }
        Ok(false)
    }
}
