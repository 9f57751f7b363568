//! Pushing one reference with an exact lease, and reading back what became of it.

use std::thread;

use super::Remote;
use super::failure::is_final;
use crate::git::refs::check_name;
use crate::git::{GitError, ObjectId, Repo};

/// What became of a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PushResult {
    /// The remote has it.
    Done,
    /// The remote's reference had another value than expected, namely this; nothing was changed.
    Moved(Option<ObjectId>),
}

impl Remote {
    /// Moves a reference of the remote from `expected` (`None`: absent) to the commit `new`, in one step.
    /// After any failure the reference is read back, so that a lost acknowledgement counts as done and a lost
    /// race is seen whatever the remote said; when nothing moved, the push is tried again a few times.
    ///
    /// # Errors
    /// When the remote refuses for another reason than a race, or cannot be reached.
    pub fn push(
        &self,
        repo: &Repo,
        reference: &str,
        expected: Option<ObjectId>,
        new: ObjectId,
    ) -> Result<PushResult, GitError> {
        check_name(reference)?;
        let mut pause = self.options.backoff;
        let mut left = self.options.retries;
        loop {
            let failure = match self.push_once(reference, expected, new) {
                Ok(()) => return self.acknowledged(repo, reference, new),
                Err(error) => error,
            };
            tracing::debug!(%failure, reference, "a push failed");
            // The first reason is the one to report when the remote cannot be read either.
            let tip = match self.tips(&[reference]) {
                Ok(tips) => tips.into_iter().next().flatten(),
                Err(_) if left == 0 || is_final(&failure) => return Err(failure),
                Err(_) => expected,
            };
            if tip == Some(new) {
                return self.acknowledged(repo, reference, new);
            }
            if tip != expected {
                return self.moved(repo, reference, tip, new);
            }
            if left == 0 || is_final(&failure) {
                return Err(failure);
            }
            left -= 1;
            thread::sleep(pause);
            pause *= 2;
        }
    }

    fn push_once(&self, reference: &str, expected: Option<ObjectId>, new: ObjectId) -> Result<(), GitError> {
        let lease = expected.map(|id| id.to_string()).unwrap_or_default();
        let output = self
            .program()
            .args([
                "push",
                "--quiet",
                "--porcelain",
                "--no-verify",
                "--no-signed",
                "--no-follow-tags",
                "--recurse-submodules=no",
                &format!("--force-with-lease={reference}:{lease}"),
                "--end-of-options",
                &self.target,
                &format!("{new}:{reference}"),
            ])
            .run()?;
        if output.success {
            return Ok(());
        }
        let refused: Vec<String> = String::from_utf8_lossy(&output.stdout)
            .lines()
            .filter_map(|line| line.strip_prefix("!\t").map(|line| line.replace('\t', " ")))
            .collect();
        let said = format!("{}\n{}", output.stderr, refused.join("\n"));
        Err(super::failure::explain(&self.shown, &format!("writing {reference}"), &said))
    }

    /// The remote has `new`: remembers it here, so that the next fetch starts from it.
    fn acknowledged(&self, repo: &Repo, reference: &str, new: ObjectId) -> Result<PushResult, GitError> {
        let local = self.local_name(reference)?;
        let before = repo.read_ref(&local)?;
        if before != Some(new) {
            // A concurrent fetch that saw more is right too.
            repo.swap_ref(&local, before, Some(new), "planspec: pushed")?;
        }
        Ok(PushResult::Done)
    }

    /// The remote has something else: ours may be below it, when others went on from it at once.
    fn moved(
        &self,
        repo: &Repo,
        reference: &str,
        tip: Option<ObjectId>,
        new: ObjectId,
    ) -> Result<PushResult, GitError> {
        if tip.is_none() {
            return Ok(PushResult::Moved(None));
        }
        let fetched = self.fetch(repo, &[reference])?.into_iter().next().flatten();
        let Some(now) = fetched else { return Ok(PushResult::Moved(None)) };
        match repo.is_ancestor(new, now)? {
            Some(true) => Ok(PushResult::Done),
            _ => Ok(PushResult::Moved(Some(now))),
        }
    }
}
