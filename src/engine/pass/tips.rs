//! Reading the tips of the two branches, and how old that reading is.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, trace};

use crate::engine::clock::Clock;
use crate::engine::{BranchTips, Branches, EngineError};

/// How often a local repository is read while attempts run.
const LOCAL_POLL: Duration = Duration::from_millis(250);
/// How often a remote is: hosts allow 15 reads a second, and a cancellation or a takeover is to be seen in time.
const REMOTE_POLL: Duration = Duration::from_secs(5);

/// The branches, and when their tips were last read.
pub(super) struct TipReader {
    branches: Branches,
    clock: Arc<dyn Clock>,
    /// By the clock that goes on while the machine is suspended: a process that slept has old tips.
    read_at: Duration,
}

impl TipReader {
    pub(super) fn new(branches: Branches, clock: Arc<dyn Clock>) -> Self {
        let read_at = clock.since_boot();
        Self { branches, clock, read_at }
    }

    pub(super) fn branches(&self) -> &Branches {
        &self.branches
    }

    pub(super) fn is_remote(&self) -> bool {
        self.branches.remote().is_some()
    }

    /// How long until the tips should be read again.
    pub(super) fn until_due(&self) -> Duration {
        let every = if self.is_remote() { REMOTE_POLL } else { LOCAL_POLL };
        every.saturating_sub(self.age())
    }

    fn age(&self) -> Duration {
        self.clock.since_boot().saturating_sub(self.read_at)
    }

    /// Whether the last reading is older than `most`.
    pub(super) fn is_stale(&self, most: Duration) -> bool {
        self.age() > most
    }

    /// Whether the last reading still counts as what the branches are now.
    pub(super) fn is_fresh(&self) -> bool {
        !self.until_due().is_zero()
    }

    /// The tips as they are now. A remote is asked on a thread of its own, so that the loop is not blocked by a slow one.
    pub(super) async fn read(&mut self) -> Result<BranchTips, EngineError> {
        let begun = Instant::now();
        // What was true when the question was asked may be false by the time of the answer.
        let asked_at = self.clock.since_boot();
        let tips = if self.is_remote() {
            // The thread needs a handle of its own, since this one may be used meanwhile.
            let branches = self.branches.reopen()?;
            tokio::task::spawn_blocking(move || branches.tips_in_force())
                .await
                .map_err(|_| EngineError::WorkerLost)??
        } else {
            self.branches.tips_in_force()?
        };
        // Not after a failure, which leaves the tips as old as they are.
        self.read_at = asked_at;
        let duration_ms = begun.elapsed().as_millis();
        if self.is_remote() {
            debug!(desired = %tips.desired.id, status = ?tips.status, duration_ms, "read branch tips");
        } else {
            trace!(desired = %tips.desired.id, status = ?tips.status, duration_ms, "read branch tips");
        }
        Ok(tips)
    }
}
