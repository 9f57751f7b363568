//! Publishing: the one place where status commits are made and the branch is moved. Works on a thread of its own, so
//! that ends of attempts gather meanwhile and go out together in the next commit.

use std::time::{Duration, Instant};

use super::{Branches, EngineError, RefUpdate};
use crate::config::Config;
use crate::git::{ObjectId, Signature};
use crate::record::{Batch, StatusTree, Writer};

/// Makes status commits and moves the branch.
pub(super) struct Publisher {
    branches: Branches,
    writer: Writer,
    author: Signature,
}

/// What became of a batch.
#[derive(Debug)]
pub(super) enum PublishOutcome {
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
    pub(super) fn new(branches: &Branches) -> Result<Self, EngineError> {
        let branches = branches.reopen()?;
        // A runner needs no name of its own: what it writes is signed by its trailer.
        let author = branches.repo().identity().unwrap_or_else(|_| Signature {
            name: "planspec".to_owned(),
            email: "planspec@localhost".to_owned(),
        });
        Ok(Self { branches, writer: Writer::new(), author })
    }

    /// Makes the commit on top of `base` and moves the branch to it.
    pub(super) fn deliver(
        &mut self,
        config: &Config,
        base: StatusTree,
        batch: &Batch,
    ) -> Result<PublishOutcome, EngineError> {
        let repo = self.branches.repo();
        let Some(commit) = self.writer.write(repo, &base, batch, &self.author)? else {
            return Ok(PublishOutcome::Unchanged);
        };
        let subject = repo.commit(commit)?.subject().to_owned();
        Ok(match self.branches.publish(config, base.commit, commit, &subject)? {
            RefUpdate::Done => PublishOutcome::Done { commit, subject },
            RefUpdate::Moved(tip) => PublishOutcome::Moved(tip),
        })
    }
}

/// Spaces pushes to a remote: a token bucket. A local repository has no spacing.
#[derive(Debug)]
pub(super) struct PushLimiter {
    tokens: f64,
    burst: f64,
    per_second: f64,
    last: Instant,
}

impl PushLimiter {
    /// The bucket for a branches.
    pub(super) fn new(config: &Config, remote: bool) -> Option<Self> {
        let burst = f64::from(config.publish.burst.max(1));
        let per_second = f64::from(config.publish.per_minute.max(1)) / 60.0;
        remote.then(|| Self { tokens: burst, burst, per_second, last: Instant::now() })
    }

    /// How long to wait before the next push.
    pub(super) fn pause(&mut self) -> Duration {
        let elapsed = self.last.elapsed().as_secs_f64();
        self.last = Instant::now();
        self.tokens = (self.tokens + elapsed * self.per_second).min(self.burst);
        if self.tokens >= 1.0 {
            Duration::ZERO
        } else {
            Duration::from_secs_f64((1.0 - self.tokens) / self.per_second)
        }
    }

    /// Takes the token for a push.
    pub(super) fn take(&mut self) {
        self.tokens -= 1.0;
    }
}
