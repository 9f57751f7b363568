//! A commit on a branch on a user's behalf: these paths only, by compare-and-swap, with index and working tree updated
//! where the branch is checked out.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;

use super::checkout::{WorkingTreeUpdate, await_lock};
use crate::git::refs::{check_name, lock_file};
use crate::git::{GitError, ObjectId, Repo, Signature, SwapResult};

/// The outcome of a commit on a branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BranchCommit {
    /// The branch is already up to date.
    Unchanged,
    /// This commit was made.
    Committed(ObjectId),
}

/// How often a lost race is repeated. Each means that somebody else committed in between.
const ATTEMPTS: usize = 10;

impl Repo {
    /// Sets files (their content) and removes files (`None`) on a branch in one commit. Where the branch is
    /// checked out here, index and working tree of these paths follow, and nothing else of them is touched.
    ///
    /// # Errors
    /// [`GitError::DirtyPath`] when one of these paths has uncommitted changes that are not what is to be
    /// committed; [`GitError::CheckedOutElsewhere`], [`GitError::Busy`]; see also [`Repo::edit_tree`].
    pub fn commit_on_branch(
        &self,
        branch: &str,
        edits: &BTreeMap<String, Option<Vec<u8>>>,
        message: &str,
        author: &Signature,
        at: Timestamp,
    ) -> Result<BranchCommit, GitError> {
        let reference = format!("refs/heads/{branch}");
        check_name(&reference)?;
        // Only where it is checked out: on every other branch the working tree shows something else and must not
        // change.
        let here = self.work_tree().is_some() && self.head_branch()?.as_deref() == Some(branch);
        // Before any object is written, so that a refusal leaves nothing behind.
        self.refuse_other_checkouts(branch, &reference)?;
        // Outside the loop: the content does not depend on the tip, and a lost race would run the filters again.
        let blobs = self.write_files(edits)?;
        for attempt in 0..ATTEMPTS {
            let tip = self.read_ref(&reference)?;
            let base = tip.map(|tip| self.commit(tip).map(|commit| commit.tree)).transpose()?;
            let tree = self.edit_tree(base, &blobs)?;
            // The second case is a removal on a branch that does not exist: an empty first commit would help nobody.
            let unchanged = base == Some(tree) || (base.is_none() && self.entries(tree)?.is_empty());
            if here {
                // A lock that nobody holds any more is found while everything is as it was.
                await_lock(&lock_file(self, &reference))?;
                // Before the branch moves: if this process dies in between, the paths hold what is to be committed, and a
                // second run succeeds. The other order leaves a checkout that seems to revert the commit.
                WorkingTreeUpdate::of(self)?.follow(base, tree, edits)?;
            }
            // Index and files are brought up to date even then: the branch may hold the content while the checkout does
            // not.
            if unchanged {
                return Ok(BranchCommit::Unchanged);
            }
            let parents: Vec<ObjectId> = tip.into_iter().collect();
            // Made again after each lost race, on top of what won: the edits are set again in the new tree, and nothing
            // is merged blindly (Invariant 3).
            let commit = self.write_user_commit(tree, &parents, message, author, at)?;
            let subject = message.lines().next().unwrap_or_default();
            let why = format!("commit: {subject}");
            if self.swap_ref(&reference, tip, Some(commit), &why)? == SwapResult::Done {
                tracing::debug!(branch, %commit, paths = edits.len(), attempt, "committed on a branch");
                return Ok(BranchCommit::Committed(commit));
            }
        }
        Err(GitError::Contended { reference })
    }

    /// Refuses a branch that another working tree of this repository has checked out: after moving it, `git status` there
    /// would list a reversal of the commit.
    pub(super) fn refuse_other_checkouts(&self, branch: &str, reference: &str) -> Result<(), GitError> {
        let common = self.common_dir();
        let linked = std::fs::read_dir(common.join("worktrees")).into_iter().flatten().flatten();
        let mut others: Vec<PathBuf> = linked.map(|entry| entry.path()).collect();
        if !self.is_common_bare()? {
            others.push(common.to_owned());
        }
        // Git lists linked working trees below `worktrees/`, the main one is the common directory itself.
        let mine = std::fs::canonicalize(self.git_dir()).ok();
        for directory in others {
            if std::fs::canonicalize(&directory).ok() == mine {
                continue;
            }
            let head = std::fs::read_to_string(directory.join("HEAD")).unwrap_or_default();
            if head.trim_end().strip_prefix("ref: ") == Some(reference) {
                let place = std::fs::read_to_string(directory.join("gitdir"));
                // `gitdir` names the `.git` file of the other working tree, which is what a person can go to.
                let path = place.map_or(directory, |place| PathBuf::from(place.trim_end()));
                return Err(GitError::CheckedOutElsewhere { branch: branch.to_owned(), path });
            }
        }
        Ok(())
    }

    fn is_common_bare(&self) -> Result<bool, GitError> {
        let config = self.git2().config().map_err(GitError::doing("cannot read the configuration"))?;
        Ok(config.get_bool("core.bare").unwrap_or(false))
    }
}
