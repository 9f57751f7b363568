//! When a reconcile stops: asked to, or because its time is up.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tracing::info;

/// The longest part of the allowed time that is kept for what runs to end by itself.
const LONGEST_WIND_DOWN: Duration = Duration::from_secs(60);

/// When a reconcile stops.
#[derive(Debug)]
pub(super) struct Shutdown {
    stop: watch::Receiver<bool>,
    begun: Instant,
    max_duration: Option<Duration>,
    leaving: bool,
}

impl Shutdown {
    pub(super) fn new(stop: watch::Receiver<bool>, max_duration: Option<Duration>) -> Self {
        Self { stop, begun: Instant::now(), max_duration, leaving: false }
    }

    /// Whether no new work is taken on, and what runs is being ended.
    pub(super) fn is_leaving(&self) -> bool {
        self.leaving
    }

    /// How much of the allowed time is left.
    pub(super) fn left(&self) -> Option<Duration> {
        self.max_duration.map(|most| most.saturating_sub(self.begun.elapsed()))
    }

    /// The shorter of `pause` and what is left of the allowed time.
    pub(super) fn limit(&self, pause: Duration) -> Duration {
        self.left().map_or(pause, |left| pause.min(left))
    }

    /// Whether the allowed time is so far gone that no new node is started. A CI job that is killed at its limit would
    /// leave attempts behind that the next job has to run again.
    pub(super) fn is_winding_down(&self) -> bool {
        let Some(most) = self.max_duration else { return false };
        // A share, because a limit of seconds would else be all wind-down; bounded, because a limit of hours
        // would idle for minutes.
        self.left().is_some_and(|left| left < (most / 20).min(LONGEST_WIND_DOWN))
    }

    /// Whether nothing new may start.
    pub(super) fn takes_no_work(&self) -> bool {
        self.leaving || self.is_winding_down()
    }

    /// Decides to leave when it is time. `idle` says that nothing runs, `given_up` that nothing more will. True once, at the
    /// moment of the decision.
    pub(super) fn begin_if_due(&mut self, idle: bool, given_up: bool) -> bool {
        let asked = *self.stop.borrow();
        let late = self.left().is_some_and(|left| left.is_zero());
        // Nothing runs and nothing may start any more: staying until the end would only keep the job alive.
        let done = idle && (given_up || self.is_winding_down());
        if self.leaving || !(asked || late || done) {
            return false;
        }
        info!(asked, late, "stop: no new work is started");
        self.leaving = true;
        true
    }

    /// Waits until somebody asks to stop.
    pub(super) async fn requested(&mut self) {
        if self.stop.changed().await.is_err() {
            // Whoever could ask is gone; returning at once would make every wait a busy loop.
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_to_stop_is_taken_up_once() {
        let (sender, stop) = watch::channel(false);
        let mut shutdown = Shutdown::new(stop, None);
        assert!(!shutdown.begin_if_due(true, false) && !shutdown.takes_no_work());
        sender.send_replace(true);
        assert!(shutdown.begin_if_due(false, false));
        assert!(shutdown.is_leaving() && shutdown.takes_no_work());
        assert!(!shutdown.begin_if_due(false, false));
    }

    #[test]
    fn a_runner_that_gave_up_ends_what_runs_first() {
        let (_sender, stop) = watch::channel(false);
        let mut shutdown = Shutdown::new(stop, None);
        assert!(!shutdown.begin_if_due(false, true));
        assert!(shutdown.begin_if_due(true, true));
    }

    #[test]
    fn without_a_limit_there_is_no_end() {
        let (_sender, stop) = watch::channel(false);
        let shutdown = Shutdown::new(stop, None);
        assert_eq!(shutdown.left(), None);
        assert_eq!(shutdown.limit(Duration::MAX), Duration::MAX);
        assert!(!shutdown.is_winding_down());
    }

    #[test]
    fn at_the_end_of_the_allowed_time_it_leaves_whatever_runs() {
        let (_sender, stop) = watch::channel(false);
        let mut shutdown = Shutdown::new(stop, Some(Duration::ZERO));
        assert!(shutdown.begin_if_due(false, false));
    }
}
