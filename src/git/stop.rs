//! Ending runs of the `git` program when this process is asked to end.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

/// How long a run that was in progress may go on after the signal: a healthy push is through by then.
const IN_PROGRESS: Duration = Duration::from_millis(800);

/// How long a later run may take: what a runner has still to publish when its tasks have ended, its released leases above all.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// The same after a run was cut short that had just begun: a host takes about as long for a push, so the remote may be all right.
const LAST_TRY: Duration = Duration::from_secs(1);

/// The same where that run had been hanging for some time, and the remote most likely does not answer at all: whoever ends this
/// process waits less than a second for all of it.
const HARDLY: Duration = Duration::from_millis(100);

/// How long before the signal a run must have begun to count as hanging.
const HANGS_AFTER: Duration = Duration::from_secs(3);

/// How often a wait asks whether it should end.
pub(super) const POLL: Duration = Duration::from_millis(50);

/// Shared between whoever handles signals and every remote. Once given, it bounds each further run on these remotes.
#[derive(Debug, Clone)]
pub struct StopSignal {
    given: Arc<OnceLock<Instant>>,
    /// How many milliseconds a run may take that begins after it.
    later: Arc<AtomicU64>,
}

impl Default for StopSignal {
    fn default() -> Self {
        Self { given: Arc::default(), later: Arc::new(AtomicU64::new(millis(LAST_WORDS))) }
    }
}

impl StopSignal {
    /// Asks for the end.
    pub fn stop(&self) {
        // A second signal changes nothing: the first one set the limits.
        let _ = self.given.set(Instant::now());
    }

    /// How much longer something may continue that began at `began`; `None` while nobody asked for the end.
    pub(super) fn left(&self, began: Instant) -> Option<Duration> {
        // Set once and never taken back: a run that began after the signal must see it however late it asks.
        let given = *self.given.get()?;
        // Counted from the signal and not from the start of the run, so that all that was in progress ends together.
        let until = if began < given {
            given + IN_PROGRESS
        } else {
            began + Duration::from_millis(self.later.load(Ordering::Relaxed))
        };
        Some(until.saturating_duration_since(Instant::now()))
    }

    /// A run that began at `began` was ended because of the signal.
    pub(super) fn has_cut(&self, began: Instant) {
        let given = self.given.get().copied().unwrap_or_else(Instant::now);
        let ran_before = given.saturating_duration_since(began);
        // A remote that did not respond in time once will not do so ten times; the process would seem to hang after Ctrl-C.
        let later = if ran_before >= HANGS_AFTER { HARDLY } else { LAST_TRY };
        tracing::debug!(?ran_before, ?later, "a run was cut short, and later ones get less time");
        // Relaxed: it only shortens waits, and nothing is read because of it.
        self.later.fetch_min(millis(later), Ordering::Relaxed);
    }

    /// Sleeps; `false` when the end was asked for before or meanwhile.
    pub(super) fn sleep(&self, pause: Duration) -> bool {
        let until = Instant::now().checked_add(pause);
        loop {
            if self.given.get().is_some() {
                return false;
            }
            let left = until.map_or(POLL, |until| until.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return true;
            }
            // In small steps, since a plain sleep cannot be woken by a signal that another thread handles.
            thread::sleep(left.min(POLL));
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_in_progress_ends_within_a_second_and_last_words_get_longer() {
        let stop = StopSignal::default();
        let began = Instant::now();
        assert_eq!(stop.left(began), None);
        thread::sleep(Duration::from_millis(2));
        stop.stop();
        assert!(stop.left(began).unwrap() < Duration::from_secs(1));
        let later = Instant::now();
        assert!(stop.left(later).unwrap() > Duration::from_secs(1));
        stop.clone().stop();
        assert!(stop.left(began).unwrap() < Duration::from_secs(1), "a second signal gives no more time");
        stop.clone().has_cut(began);
        let left = stop.left(Instant::now()).unwrap();
        assert!(left <= LAST_TRY && left > LAST_TRY / 2, "the remote may be back");
    }

    #[test]
    fn after_a_call_that_had_been_hanging_for_long_all_is_over_within_a_second() {
        let stop = StopSignal::default();
        let Some(long_ago) = Instant::now().checked_sub(HANGS_AFTER) else { return };
        stop.stop();
        let now = Instant::now();
        assert!(stop.left(now).unwrap() > LAST_TRY);
        stop.has_cut(long_ago);
        // What was under way when the signal came, and a last word to a remote that does not seem to answer.
        assert!(stop.left(long_ago).unwrap() + stop.left(now).unwrap() < Duration::from_secs(1));
        stop.has_cut(now);
        assert!(stop.left(now).unwrap() <= HARDLY, "it gets no more time again");
    }

    #[test]
    fn a_sleep_ends_when_the_end_is_asked_for() {
        let stop = StopSignal::default();
        assert!(stop.sleep(Duration::from_millis(1)));
        thread::scope(|scope| {
            let asked = stop.clone();
            scope.spawn(move || {
                thread::sleep(Duration::from_millis(20));
                asked.stop();
            });
            let began = Instant::now();
            assert!(!stop.sleep(Duration::from_secs(600)));
            assert!(began.elapsed() < Duration::from_secs(10));
        });
        assert!(!stop.sleep(Duration::MAX));
    }
}
