//! What a driver does when nothing moves by itself: waits for what is due soon, or leaves.

use std::time::Duration;

use jiff::Timestamp;
use tracing::info;

use super::driver::Driver;
use super::work_queue::until;
use crate::engine::EngineError;
use crate::engine::execution::waiting::LEASED;
use crate::event::Event;
use crate::index::IndexError;
use crate::model::{NodeReason, after};

/// Retries that are due this soon are waited for instead of being left to the next reconcile.
const NEAR: Duration = Duration::from_secs(60);
/// While a lease is waited for, tips are read this often at most.
const SHORTEST_LOOK: Duration = Duration::from_millis(100);
/// How many waiting things are searched for one that only waits for its time.
const RETRIES_SEARCHED: usize = 1_000;

impl Driver<'_> {
    /// Waits until something that was parked may go on. Says whether to go on at all. All that was due at `now` got its turn.
    pub(super) async fn idle(&mut self, now: Timestamp) -> Result<bool, EngineError> {
        self.settled_at = Some(now);
        // What is due already got no slot, or is a deletion that is held back. Waiting for it would be no waiting at all.
        let wake = self.snapshot.index.next_wake_after(now)?.map(|at| until(now, at));
        // A one-shot pass waits only for what ends by itself soon. What people or services decide may take
        // days.
        let pause = match (self.options.watch, wake) {
            (Some(watch), Some(wake)) => watch.min(wake),
            (Some(watch), None) => watch,
            // One lookup answers for most passes; the search in the next arm reads up to a thousand entries.
            (None, wake) if wake.is_none_or(|wake| wake > NEAR) => return Ok(false),
            (None, _) => match self.next_retry(now)?.map(|at| until(now, at)) {
                Some(retry) if retry <= NEAR => retry,
                _ => return Ok(false),
            },
        };
        // Whoever holds a lease may renew it or give it back: then there is nothing to wait for.
        let leased = self.waits_for_lease();
        let pause = if leased { pause.min(self.tips.until_due().max(SHORTEST_LOOK)) } else { pause };
        info!(pause_ms = pause.as_millis(), "nothing can continue without an external event; wait");
        self.pack_if_due(true)?;
        self.snapshot.index.forget_most_manifests();
        // Messages are not awaited: a driver that comes here has no attempt and no poll under way.
        tokio::select! {
            biased;
            () = tokio::time::sleep(self.shutdown.limit(pause)) => {}
            () = self.shutdown.requested() => {}
        }
        // A limit may have been raised, or a refused record changed, since these were given up.
        self.queue.retry_left_over();
        self.check_shutdown();
        if self.shutdown.is_leaving() {
            return Ok(false);
        }
        // A one-shot pass wakes for a retry that it knows of. Its tips are read again once they are too old
        // to act on.
        if self.options.watch.is_some() || leased {
            self.read_tips().await?;
        }
        Ok(true)
    }

    /// When the next pass has something to do that is due by itself.
    pub(super) fn next_due(&self) -> Result<Option<Timestamp>, IndexError> {
        let index = &self.snapshot.index;
        match self.settled_at.filter(|_| !self.queue.has_left_over()) {
            // What was due by then is a deletion that is held back until somebody allows it.
            Some(at) => index.next_wake_after(at),
            None => index.next_wake(),
        }
    }

    /// Has Git pack, if a runner that stays has written enough. One that ends packs at its end.
    pub(super) fn pack_if_due(&mut self, idle: bool) -> Result<(), EngineError> {
        if self.options.watch.is_some() && self.packing.is_due(idle) {
            self.packing.start(self.snapshot.repo.reopen()?);
        }
        Ok(())
    }

    /// Whether a one-shot pass waits for the lease of another runner.
    fn waits_for_lease(&self) -> bool {
        self.options.watch.is_none() && self.lease_waits.is_waiting(self.clock.now())
    }

    /// When the next attempt is due that only waits for its time, or the next poll of remote work or the end of another
    /// runner's lease: the latter two as long as something happened within the last minute. Other times, such as those of
    /// deadlines, are up to the outside world, and the next reconcile finds them in the index.
    fn next_retry(&mut self, now: Timestamp) -> Result<Option<Timestamp>, EngineError> {
        let patience = NEAR.saturating_sub(self.lane.idle_for());
        let patient_until = after(now, patience);
        let (_, waiting) = self.snapshot.index.waiting(RETRIES_SEARCHED)?;
        let mut next: Option<Timestamp> = None;
        let mut said = Vec::new();
        for one in waiting {
            let Some(until) = one.until.filter(|until| *until > now) else { continue };
            let counts = if one.reason == LEASED {
                let fresh = self.lease_waits.is_new(&one.key);
                let waits = self.lease_waits.waits_for(&one.key, until, patient_until);
                if waits && fresh {
                    said.push(format!(
                        "{}: {}; waiting up to {} s for its lease",
                        one.key,
                        one.message,
                        seconds(now, until)
                    ));
                }
                waits
            } else {
                one.reason == NodeReason::RetryBackoff.to_string()
                    || (one.reason == NodeReason::AwaitingProvider.to_string() && until < patient_until)
            };
            if counts {
                next = Some(next.map_or(until, |next| next.min(until)));
            }
        }
        for message in said {
            self.emit(Event::Note { message });
        }
        Ok(next)
    }
}

/// How many seconds it is until then, rounded up.
fn seconds(now: Timestamp, until_then: Timestamp) -> u64 {
    until(now, until_then).as_secs() + 1
}
