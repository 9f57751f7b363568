//! A witness for clones that have seen nothing: tips of the status branch that somebody else saw, such as the Git host, and that
//! the branch may have lost since.

use std::collections::BTreeSet;
use std::time::Instant;

use tracing::{debug, warn};

use super::EngineError;
use super::branches::{BranchTips, Branches};
use super::signed::takes_over;
use super::status_log::status_ref;
use crate::config::{Config, SignerRole};
use crate::git::{GitError, ObjectId};

/// How many replaced tips are fetched in one run of Git.
const FETCHED_TOGETHER: usize = 50;

/// What became of the tips that a witness named.
#[derive(Debug)]
pub(crate) struct HeededTips {
    /// Those that cannot be read any more.
    pub(crate) unreadable: Vec<ObjectId>,
    /// How many were not looked at, as the time was over.
    pub(crate) left_out: usize,
}

impl Branches {
    /// Whether this clone remembers a tip of the status branch, which is a better witness than any other.
    ///
    /// # Errors
    /// Git.
    pub(crate) fn remembers_status(&self, config: &Config) -> Result<bool, EngineError> {
        Ok(self.memory(&status_ref(config))?.last().is_some())
    }

    /// Takes in the tips that the status branch had elsewhere, newest first. One that held what the branch has lost is remembered
    /// as if this clone had seen it, so that whatever reads the branch next refuses it, or takes it where it is told to. After
    /// `until` no further one is looked at.
    ///
    /// # Errors
    /// Git; no commit; an invalid configuration.
    pub(crate) fn heed(&self, replaced: &[ObjectId], until: Instant) -> Result<HeededTips, EngineError> {
        let tips = self.newest_tips()?;
        let memory = self.memory(&status_ref(&tips.config))?;
        let mut heeded = HeededTips { unreadable: Vec::new(), left_out: replaced.len() };
        // A branch that is moved a hundred times has a few contents at most, unless somebody means it.
        let mut harmless: BTreeSet<ObjectId> = BTreeSet::new();
        for group in from_both_ends(replaced).chunks(FETCHED_TOGETHER) {
            if Instant::now() >= until {
                break;
            }
            self.fetch_witnessed(group, until)?;
            for &tip in group {
                if Instant::now() >= until {
                    return Ok(heeded);
                }
                heeded.left_out -= 1;
                let Ok(commit) = self.repo().commit(tip) else {
                    heeded.unreadable.push(tip);
                    continue;
                };
                if harmless.contains(&commit.tree) {
                    continue;
                }
                // What `gc` replaced has the same content, and what was taken over was looked at by somebody.
                let lost = self.lost(&tips.config, Some(tip), &tips.desired, tips.status)?;
                if lost.is_none() {
                    harmless.insert(commit.tree);
                } else if !self.was_accepted(&tips, tip)? {
                    warn!(%tip, now = ?tips.status, "the status branch went back, by what the host remembers");
                    memory.keep(tip);
                    // The branch is refused for this one, whatever the others held.
                    heeded.left_out = 0;
                    return Ok(heeded);
                }
                debug!(%tip, "a replaced tip of the status branch held nothing that is lost");
            }
        }
        Ok(heeded)
    }

    /// Brings commits here that no branch may hold any more, as far as they are to be had. In one run of Git where it can be: a
    /// host that lacks one of them refuses them all, and serves unreachable commits for a while and not for ever.
    fn fetch_witnessed(&self, commits: &[ObjectId], until: Instant) -> Result<(), EngineError> {
        let Some(remote) = self.remote() else { return Ok(()) };
        let mut asked = vec![commits.to_vec()];
        while let Some(mut some) = asked.pop() {
            some.retain(|commit| self.repo().commit(*commit).is_err());
            if some.is_empty() || Instant::now() >= until {
                continue;
            }
            match remote.fetch_by_ids(self.repo(), &some) {
                Ok(()) => {}
                Err(GitError::Interrupted) => return Err(GitError::Interrupted.into()),
                Err(error) => {
                    debug!(tips = some.len(), %error, "replaced tips are not to be had");
                    // Those that the host lacks are found by halves, and the others come all the same.
                    if some.len() > 1 {
                        asked.push(some.split_off(some.len() / 2));
                        asked.push(some);
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether somebody took the branch as it is, in view of this tip. Where signatures are asked for, only a runner can: whoever
    /// may push writes any message.
    fn was_accepted(&self, tips: &BranchTips, lost: ObjectId) -> Result<bool, EngineError> {
        let name = lost.to_string();
        for commit in tips.status.into_iter().flat_map(|tip| self.status_log(&tips.config, tip)) {
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

/// The newest, the oldest, the second newest and so on: whoever moved the branch back and then pushed to hide it replaced the true
/// tip before all those of their own, and the time may be over before the middle is reached.
fn from_both_ends(tips: &[ObjectId]) -> Vec<ObjectId> {
    let (new, old) = tips.split_at(tips.len().div_ceil(2));
    let mut old = old.iter().rev();
    new.iter().flat_map(|tip| [Some(tip), old.next()]).flatten().copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_come_before_the_middle() {
        let tip = |n: usize| format!("{n:040x}").parse::<ObjectId>().unwrap();
        let order = |count: usize| from_both_ends(&(1..=count).map(tip).collect::<Vec<_>>());
        assert_eq!(order(5), [1, 5, 2, 4, 3].map(tip));
        assert_eq!(order(4), [1, 4, 2, 3].map(tip));
        assert!(order(0).is_empty());
    }
}
