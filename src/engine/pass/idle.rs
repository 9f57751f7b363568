//! What a driver does when nothing moves by itself: waits for what is due soon, or leaves.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;
use tracing::info;

use super::driver::Driver;
use super::work_queue::until;
use crate::engine::EngineError;
use crate::model::{NodeReason, after};

/// Retries that are due this soon are waited for instead of being left to the next reconcile.
const NEAR: Duration = Duration::from_secs(60);
/// How many waiting things are searched for one that only waits for its time.
const RETRIES_SEARCHED: usize = 1_000;

impl Driver<'_> {
    /// Waits until something that was parked may go on. Says whether to go on at all.
    pub(super) async fn idle(&mut self) -> Result<bool, EngineError> {
        let now = self.clock.now();
        let wake = self.snapshot.index.next_wake()?.map(|at| until(now, at));
        // What is due and was left over got no slot; without this, it would be tried again without a pause.
        let wake = wake.filter(|wake| !(wake.is_zero() && self.queue.has_left_over()));
        // A one-shot pass waits only for what ends by itself soon. What people or services decide may take
        // days.
        let pause = match (self.options.watch, wake) {
            (Some(watch), Some(wake)) => watch.min(wake),
            (Some(watch), None) => watch,
            // One lookup answers for most passes; the search in the next arm reads up to a thousand entries.
            (None, wake) if wake.is_none_or(|wake| wake > NEAR) => return Ok(false),
            (None, _) => match self.next_retry()?.map(|at| until(now, at)) {
                Some(retry) if retry <= NEAR => retry,
                _ => return Ok(false),
            },
        };
        info!(pause_ms = pause.as_millis(), "nothing can go on by itself; wait");
        // Messages are not awaited: a driver that comes here has no attempt and no poll under way.
        tokio::select! {
            () = tokio::time::sleep(self.shutdown.limit(pause)) => {}
            () = self.shutdown.requested() => {}
        }
        // A limit may have been raised, or a refused record changed, since these were given up.
        self.queue.retry_left_over();
        self.attempts.health().try_again(Instant::now());
        self.check_shutdown();
        if self.shutdown.is_leaving() {
            return Ok(false);
        }
        // A one-shot pass wakes for a retry that it knows of. Its tips are read again once they are too old
        // to act on.
        if self.options.watch.is_some() {
            self.read_tips().await?;
        }
        Ok(true)
    }

    /// When the next attempt is due that only waits for its time, or the next poll of remote work: the latter as long as
    /// something happened within the last minute. Other times, such as those of deadlines or of the leases of other
    /// runners, are up to the outside world, and the next reconcile finds them in the index.
    fn next_retry(&self) -> Result<Option<Timestamp>, EngineError> {
        let patience = NEAR.saturating_sub(self.lane.idle_for());
        let patient_until = after(self.clock.now(), patience);
        let (_, waiting) = self.snapshot.index.waiting(RETRIES_SEARCHED)?;
        let retries = waiting.into_iter().filter(|one| {
            one.reason == NodeReason::RetryBackoff.to_string()
                || (one.reason == NodeReason::AwaitingProvider.to_string()
                    && one.until.is_some_and(|until| until < patient_until))
        });
        Ok(retries.filter_map(|one| one.until).min())
    }
}
