//! Publishing: the one place where status commits are made and the branch is moved. Works on a thread of its own, so
//! that ends of attempts gather meanwhile and go out together in the next commit.

use super::kept_work::KeptWork;
use crate::config::Config;
use crate::engine::publication::Publication;
use crate::engine::status_log::status_ref;
use crate::engine::{Branches, EngineError};
use crate::git::{GitError, ObjectId, RefUpdate, Signature, SwapResult};
use crate::model::ResourceKey;
use crate::record::{Batch, StatusTree, Writer, WrittenCommit};

/// Makes status commits and moves the branch.
pub(crate) struct Publisher {
    branches: Branches,
    writer: Writer,
    author: Signature,
}

/// What became of a batch.
#[derive(Debug)]
pub(crate) enum PublishOutcome {
    /// It is on the branch, as this commit.
    Done(Box<WrittenCommit>),
    /// It would have changed nothing.
    Unchanged,
    /// Somebody else was faster; the branch is here now.
    Moved(Option<ObjectId>),
    /// The remote refused the files of this Execution, and took nothing.
    WorkRefused(ResourceKey, GitError),
}

impl Publisher {
    pub(crate) fn new(branches: &Branches) -> Result<Self, EngineError> {
        // It works on a thread of its own, where libgit2 wants another handle.
        let branches = branches.reopen()?;
        let author = branches.repo().runner_identity();
        let writer = Writer::new().recording(branches.recorded());
        Ok(Self { branches, writer, author })
    }

    /// Makes the commit on top of `base` and moves the branch to it.
    pub(crate) fn deliver(
        &mut self,
        config: &Config,
        base: StatusTree,
        batch: &Batch,
        work: &[KeptWork],
    ) -> Result<PublishOutcome, EngineError> {
        let repo = self.branches.repo();
        // Objects alone. Killed before the reference moves, this leaves nothing but garbage for `git gc`.
        let Some(mut written) = self.writer.write(repo, &base, batch, &self.author)? else {
            return Ok(PublishOutcome::Unchanged);
        };
        // Without a key nothing is published, and so nothing runs (Invariant 4).
        written.commit = self.branches.sign(config, written.commit)?;
        let (commit, subject) = (written.commit, &written.subject);
        if work.is_empty() {
            return Ok(match self.branches.publish(config, base.commit, commit, subject)? {
                SwapResult::Done => PublishOutcome::Done(Box::new(written)),
                SwapResult::Moved(tip) => PublishOutcome::Moved(tip),
            });
        }
        // The work first: where references cannot move in one step, work that nothing names yet does no harm, and a record
        // whose work is missing would.
        let mut updates = Vec::new();
        let mut owners = Vec::new();
        for kept in work {
            let moved = kept.updates(&self.branches, batch.at)?;
            owners.extend(moved.iter().map(|_| &kept.key));
            updates.extend(moved);
        }
        updates.push(RefUpdate { reference: status_ref(config), expected: base.commit, new: commit });
        Ok(match self.branches.publish_all(&updates, subject)? {
            Publication::Done => PublishOutcome::Done(Box::new(written)),
            Publication::Moved(tip) => PublishOutcome::Moved(tip),
            Publication::Refused(index, error) => match owners.get(index) {
                Some(key) => PublishOutcome::WorkRefused((*key).clone(), error),
                None => return Err(error.into()),
            },
        })
    }
}
