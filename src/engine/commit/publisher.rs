//! Publishing: the one place where status commits are made and the branch is moved. Works on a thread of its own, so
//! that ends of attempts gather meanwhile and go out together in the next commit.

use crate::config::Config;
use crate::engine::{Branches, EngineError};
use crate::git::{ObjectId, Signature, SwapResult};
use crate::record::{Batch, StatusTree, Writer};

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
    Done {
        /// The commit.
        commit: ObjectId,
        /// Its subject.
        subject: String,
    },
    /// It would have changed nothing.
    Unchanged,
    /// Somebody else was faster; the branch is here now.
    Moved(Option<ObjectId>),
}

impl Publisher {
    pub(crate) fn new(branches: &Branches) -> Result<Self, EngineError> {
        // It works on a thread of its own, where libgit2 wants another handle.
        let branches = branches.reopen()?;
        let author = branches.author();
        // Without a remote only the status branch itself can say to which branch it belongs; else the next
        // checkout would decide.
        let writer = Writer::new().recording(branches.recorded());
        Ok(Self { branches, writer, author })
    }

    /// Makes the commit on top of `base` and moves the branch to it.
    pub(crate) fn deliver(
        &mut self,
        config: &Config,
        base: StatusTree,
        batch: &Batch,
    ) -> Result<PublishOutcome, EngineError> {
        let repo = self.branches.repo();
        // Objects alone. Killed before the reference moves, this leaves nothing but garbage for `git gc`.
        let Some(commit) = self.writer.write(repo, &base, batch, &self.author)? else {
            return Ok(PublishOutcome::Unchanged);
        };
        let subject = repo.commit(commit)?.subject().to_owned();
        Ok(match self.branches.publish(config, base.commit, commit, &subject)? {
            SwapResult::Done => PublishOutcome::Done { commit, subject },
            SwapResult::Moved(tip) => PublishOutcome::Moved(tip),
        })
    }
}
