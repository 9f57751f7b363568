//! Waiting for the status branch to move. Reading a local reference is cheap; asking a remote is not, and hosts limit it.

use std::time::{Duration, Instant};

use crate::cli::Context;
use crate::cli::error::CliError;
use crate::cli::repo_context::{RepoContext, SelectedCommits};

/// How often a local reference is read.
const LOCAL: Duration = Duration::from_millis(200);

/// How often a remote is asked at first, and at most in the end, when nothing happens for long.
const REMOTE: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(15));

/// A wait for the next change.
pub(crate) struct Polling {
    deadline: Option<Instant>,
    pause: Duration,
}

impl Polling {
    /// Waits until `timeout` from now, or for ever.
    pub(crate) fn new(workspace: &RepoContext, timeout: Option<Duration>) -> Self {
        let pause = if workspace.remote.is_some() { REMOTE.0 } else { LOCAL };
        Self { deadline: timeout.and_then(|timeout| Instant::now().checked_add(timeout)), pause }
    }

    /// The tips as soon as they differ from `known`; `None` when the time is over.
    pub(crate) fn next(
        &mut self,
        workspace: &RepoContext,
        known: &SelectedCommits,
        context: &mut Context,
    ) -> Result<Option<SelectedCommits>, CliError> {
        let mut pause = self.pause;
        loop {
            let left = self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return Ok(None);
            }
            // Never beyond the deadline: a wait of 5 s must not take 15 s.
            std::thread::sleep(left.map_or(pause, |left| left.min(pause)));
            let tips = workspace.tips(context)?;
            // A new manifest changes what is shown as much as a new record does.
            if tips.status != known.status || tips.desired != known.desired {
                return Ok(Some(tips));
            }
            // Each of these polls is a fetch, and hosts count them.
            if workspace.remote.is_some() {
                pause = (pause * 3 / 2).min(REMOTE.1);
            }
        }
    }
}
