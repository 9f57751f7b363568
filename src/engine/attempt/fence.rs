//! Fencing: work goes on only as long as this machine's own clocks are before the end of the lease. Whoever takes the
//! Execution over cannot stop it here; only this runner can.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tracing::warn;

use crate::engine::clock::{Clock, ClockReading};
use crate::model::{ResourceKey, after};
use crate::provider::Heed;
use crate::run::{AttemptOutcome, Stop};

/// How long a task may take to end after it was asked to. A longer lease is cut by this much, a shorter one by a quarter.
const STOP_TIME: Duration = Duration::from_secs(10);
/// How often the clocks are read while work runs. A timer alone would sleep on after the machine was suspended.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// Why a claim is given back whose lease did not last until it began.
pub(super) const LEASE_OVER: &str = "the lease was over before it began";

/// What is said of an attempt that is stopped because its fence has closed.
const CLOSED: &str = "stop attempt: the lease is about to end and was not renewed";

/// Until when work may run under a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LeaseFence {
    wall: Timestamp,
    boot: Duration,
    /// When the lease has to be renewed, by the boot clock.
    renewal: Duration,
}

impl LeaseFence {
    /// The fence of a lease that was taken or renewed at `reading`. The reading is from before the publication, so that
    /// a slow push shortens the time for work and never the time that others wait.
    pub(crate) fn new(reading: ClockReading, lease: Duration) -> Self {
        // A fixed time for the stop would leave a lease of a few seconds none for work.
        let span = lease.saturating_sub(STOP_TIME.min(lease / 4));
        let boot = |span| reading.boot.saturating_add(span);
        Self { wall: after(reading.wall, span), boot: boot(span), renewal: boot(lease / 3) }
    }

    /// Whether the lease has to be renewed although the wall clock may say otherwise. Set back by an hour, that one would let
    /// the fence close on healthy work.
    pub(super) fn is_renewal_due(&self, reading: ClockReading) -> bool {
        reading.boot >= self.renewal
    }

    /// How long work may still run: nothing as soon as either clock is past the end. The wall clock may be set back, and
    /// and then the other one decides.
    pub(crate) fn left(&self, reading: ClockReading) -> Duration {
        let wall = Duration::try_from(self.wall.duration_since(reading.wall)).unwrap_or_default();
        wall.min(self.boot.saturating_sub(reading.boot))
    }

    pub(crate) fn is_open(&self, reading: ClockReading) -> bool {
        !self.left(reading).is_zero()
    }
}

/// Stops an attempt when its fence closes; a renewed lease moves the fence. Runs beside the attempt, so that a loop that
/// hangs in a push cannot keep it from being stopped.
pub(super) async fn stop_at_fence(
    execution: ResourceKey,
    fence: watch::Receiver<LeaseFence>,
    clock: Arc<dyn Clock>,
    stop: watch::Sender<Option<Stop>>,
) {
    loop {
        // Read anew each time: a renewal moves the fence while this sleeps, and the machine may have slept
        // meanwhile.
        let left = fence.borrow().left(ClockReading::of(clock.as_ref()));
        if left.is_zero() {
            break;
        }
        tokio::time::sleep(left.min(CHECK_EVERY)).await;
    }
    warn!(%execution, "{CLOSED}");
    // A cancellation that came first stays the reason. It is for good, where after a shutdown another runner
    // begins again.
    stop.send_if_modified(|stop| stop.is_none().then(|| *stop = Some(Stop::Shutdown)).is_some());
}

/// The same for an attempt that asks by itself, on a thread of its own: whether it shall end, because it was asked to, because its fence
/// has closed, or because the loop is gone that would take in its end.
pub(super) fn heed(
    execution: ResourceKey,
    stop: watch::Receiver<Option<Stop>>,
    (fence, clock): (watch::Receiver<LeaseFence>, Arc<dyn Clock>),
    is_loop_gone: impl Fn() -> bool + Send + Sync + 'static,
) -> Heed {
    // The first reason stays the reason.
    let said: OnceLock<Stop> = OnceLock::new();
    Arc::new(move || {
        if let Some(first) = said.get() {
            return Some(*first);
        }
        let asked = *stop.borrow();
        let reason = match asked {
            Some(asked) => asked,
            None if is_loop_gone() => Stop::Shutdown,
            None if fence.borrow().is_open(ClockReading::of(clock.as_ref())) => return None,
            None => {
                warn!(%execution, "{CLOSED}");
                Stop::Shutdown
            }
        };
        Some(*said.get_or_init(|| reason))
    })
}

/// How an attempt ends whose fence is closed where it begins: since that was decided, the loop may have planned for seconds, and the
/// machine may have slept or been given another time. Nothing while the fence is open.
pub(super) fn over_before_it_began(
    fence: &watch::Receiver<LeaseFence>,
    clock: &dyn Clock,
) -> Option<AttemptOutcome> {
    let is_open = fence.borrow().is_open(ClockReading::of(clock));
    (!is_open).then(|| AttemptOutcome::NotStarted { message: LEASE_OVER.to_owned() })
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::model::{Kind, Name};

    struct SetClock(Mutex<ClockReading>);

    impl Clock for SetClock {
        fn now(&self) -> Timestamp {
            self.0.lock().unwrap().wall
        }

        fn since_boot(&self) -> Duration {
            self.0.lock().unwrap().boot
        }
    }

    fn reading(wall: i64, boot: u64) -> ClockReading {
        ClockReading { wall: Timestamp::from_second(wall).unwrap(), boot: Duration::from_secs(boot) }
    }

    #[test]
    fn a_fence_closes_before_the_lease_ends_by_the_time_that_a_stop_takes() {
        let fence = LeaseFence::new(reading(100, 5), Duration::from_secs(300));
        assert_eq!(fence.left(reading(100, 5)), Duration::from_secs(290));
        assert!(fence.is_open(reading(389, 294)));
        assert!(!fence.is_open(reading(390, 295)));
    }

    #[test]
    fn a_short_lease_is_cut_by_a_quarter_at_most() {
        let fence = LeaseFence::new(reading(100, 5), Duration::from_secs(8));
        assert_eq!(fence.left(reading(100, 5)), Duration::from_secs(6));
    }

    #[test]
    fn a_renewal_is_due_after_a_third_of_the_lease_whatever_the_wall_clock_says() {
        let fence = LeaseFence::new(reading(100, 5), Duration::from_secs(300));
        assert!(!fence.is_renewal_due(reading(3_700, 104)), "the wall clock was set forward");
        assert!(fence.is_renewal_due(reading(-3_500, 105)), "the wall clock was set back");
    }

    #[test]
    fn who_asks_by_itself_is_stopped_at_the_fence_and_hears_what_was_asked_before() {
        let clock = Arc::new(SetClock(Mutex::new(reading(100, 5))));
        let (mover, fence) = watch::channel(LeaseFence::new(reading(100, 5), Duration::from_secs(300)));
        let key = ResourceKey::new(Kind::Execution, Name::new("team").unwrap(), Name::new("run").unwrap());
        let asker = watch::Sender::new(None);
        let is_loop_gone = Arc::new(AtomicBool::new(false));
        let listen = || {
            let is_loop_gone = Arc::clone(&is_loop_gone);
            let fence = (fence.clone(), Arc::clone(&clock) as Arc<dyn Clock>);
            heed(key.clone(), asker.subscribe(), fence, move || is_loop_gone.load(Ordering::Relaxed))
        };
        let first = listen();
        assert_eq!(first(), None);
        *clock.0.lock().unwrap() = reading(391, 296);
        // Renewed meanwhile.
        mover.send_replace(LeaseFence::new(reading(300, 205), Duration::from_secs(300)));
        assert_eq!(first(), None);
        *clock.0.lock().unwrap() = reading(600, 500);
        assert_eq!(first(), Some(Stop::Shutdown));
        asker.send_replace(Some(Stop::Cancel));
        assert_eq!(
            (first(), listen()()),
            (Some(Stop::Shutdown), Some(Stop::Cancel)),
            "the first reason stays"
        );
        *clock.0.lock().unwrap() = reading(300, 205);
        asker.send_replace(None);
        let last = listen();
        assert_eq!(last(), None);
        is_loop_gone.store(true, Ordering::Relaxed);
        assert_eq!(last(), Some(Stop::Shutdown), "nobody takes its end in");
    }

    #[test]
    fn either_clock_closes_it() {
        let fence = LeaseFence::new(reading(100, 5), Duration::from_secs(300));
        assert!(!fence.is_open(reading(50, 295)), "the wall clock was set back");
        assert!(!fence.is_open(reading(390, 6)), "the wall clock was set forward");
    }
}
