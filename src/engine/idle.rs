//! What a driver does when nothing moves by itself: waits for what is due soon, or leaves.

use std::time::Duration;

use jiff::Timestamp;

use super::EngineError;
use super::driver::Driver;
use crate::model::{NodeReason, after};

/// Retries that are due this soon are waited for instead of being left to the next reconcile.
const NEAR: Duration = Duration::from_secs(60);
/// How many things that wait are looked at for one that only waits for its time.
const RETRIES_LOOKED_AT: usize = 1_000;

impl Driver<'_> {
    /// Waits until everything settled may have changed. Says whether to go on.
    pub(super) async fn rest(&mut self) -> Result<bool, EngineError> {
        let now = self.clock.now();
        let wake = self.snapshot.index.next_wake()?.map(|at| until(now, at));
        let pause = match (self.options.watch, wake) {
            (Some(watch), Some(wake)) => watch.min(wake),
            (Some(watch), None) => watch,
            (None, wake) if wake.is_none_or(|wake| wake > NEAR) => return Ok(false),
            (None, _) => match self.next_retry()?.map(|at| until(now, at)) {
                Some(retry) if retry <= NEAR => retry,
                _ => return Ok(false),
            },
        };
        let pause = self.left().map_or(pause, |left| pause.min(left));
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = self.stop.changed() => {}
        }
        self.left_over.clear();
        self.heed_time();
        if self.leaving {
            return Ok(false);
        }
        if self.options.watch.is_some() {
            self.look().await?;
        }
        Ok(true)
    }

    /// When the next attempt is due that only waits for its time, or the next look at what a provider does elsewhere: the
    /// latter as long as the last thing happened no longer than a minute before. Other times, such as those of deadlines
    /// or of leases of other runners, are the outside world's and not waited for.
    fn next_retry(&self) -> Result<Option<Timestamp>, EngineError> {
        let patience = NEAR.saturating_sub(self.moved.elapsed());
        let patient_until = after(self.clock.now(), patience);
        let (_, waiting) = self.snapshot.index.waiting(RETRIES_LOOKED_AT)?;
        let retries = waiting.into_iter().filter(|one| {
            one.reason == NodeReason::RetryBackoff.to_string()
                || (one.reason == NodeReason::AwaitingProvider.to_string()
                    && one.until.is_some_and(|until| until < patient_until))
        });
        Ok(retries.filter_map(|one| one.until).min())
    }
}

pub(super) fn until(now: Timestamp, at: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(now)).unwrap_or_default()
}
