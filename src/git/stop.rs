//! Ending runs of the `git` program when this process is asked to end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

/// How long a run that was in progress may go on after the signal: a healthy push is through by then.
const IN_PROGRESS: Duration = Duration::from_millis(800);

/// How long a later run may take: what a runner has still to publish when its tasks have ended, its released leases above all.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// The same after a run was cut short, when the remote most likely does not answer at all.
const LAST_TRY: Duration = Duration::from_secs(1);

/// How often a wait asks whether it should end.
pub(super) const POLL: Duration = Duration::from_millis(50);

/// Shared between whoever handles signals and every remote. Once given, it bounds each further run on these remotes.
#[derive(Debug, Clone, Default)]
pub struct StopSignal {
    given: Arc<OnceLock<Instant>>,
    has_cut: Arc<AtomicBool>,
}

impl StopSignal {
    /// Asks for the end.
    pub fn stop(&self) {
        // A second signal changes nothing: the first one set the limits.
        let _ = self.given.set(Instant::now());
    }

    /// How much longer something may go on that began at `began`; `None` while nobody asked for the end.
    pub(super) fn left(&self, began: Instant) -> Option<Duration> {
        // Set once and never taken back: a run that began after the signal must see it however late it asks.
        let given = *self.given.get()?;
        // Counted from the signal and not from the start of the run, so that all that was in progress ends together.
        let until = if began < given {
            given + IN_PROGRESS
        // A remote that did not answer in time once will not do so ten times; the process would seem to hang after
        // Ctrl-C.
        } else if self.has_cut.load(Ordering::Relaxed) {
            began + LAST_TRY
        } else {
            began + LAST_WORDS
        };
        Some(until.saturating_duration_since(Instant::now()))
    }

    /// A run was ended because of the signal.
    pub(super) fn has_cut(&self) {
        // Relaxed: it only shortens waits, and nothing is read because of it.
        self.has_cut.store(true, Ordering::Relaxed);
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
        stop.clone().has_cut();
        assert!(stop.left(later).unwrap() <= Duration::from_secs(1), "the remote does not seem to answer");
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
