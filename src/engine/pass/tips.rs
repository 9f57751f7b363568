//! Reading the tips of the two branches, and how old that reading is.

use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, trace};

use crate::engine::{BranchTips, Branches, EngineError};

/// How often a local repository is read while attempts run.
const LOCAL_POLL: Duration = Duration::from_millis(250);
/// How often a remote is: hosts allow 15 reads a second, and a cancellation or a takeover is to be seen in time.
const REMOTE_POLL: Duration = Duration::from_secs(5);

/// The branches, and when their tips were last read.
pub(super) struct TipReader {
    branches: Branches,
    read_at: Instant,
}

impl TipReader {
    pub(super) fn new(branches: Branches) -> Self {
        Self { branches, read_at: Instant::now() }
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
        every.saturating_sub(self.read_at.elapsed())
    }

    /// Whether the last reading still counts as what the branches are now.
    pub(super) fn is_fresh(&self) -> bool {
        !self.until_due().is_zero()
    }

    /// The tips as they are now. A remote is asked on a thread of its own, so that the loop is not blocked by a slow one.
    pub(super) async fn read(&mut self) -> Result<BranchTips, EngineError> {
        let begun = Instant::now();
        let tips = if self.is_remote() {
            let branches = self.branches.reopen()?;
            tokio::task::spawn_blocking(move || branches.tips())
                .await
                .map_err(|_| EngineError::WorkerLost)??
        } else {
            self.branches.tips()?
        };
        // What was true when the question was asked may be false by the time of the answer.
        self.read_at = begun;
        let duration_ms = begun.elapsed().as_millis();
        if self.is_remote() {
            debug!(desired = %tips.desired.id, status = ?tips.status, duration_ms, "read branch tips");
        } else {
            trace!(desired = %tips.desired.id, status = ?tips.status, duration_ms, "read branch tips");
        }
        Ok(tips)
    }
}
