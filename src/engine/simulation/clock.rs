//! The clocks of simulated machines: one time that passes for all, and what each of them makes of it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::locked;
use crate::engine::clock::Clock;
use crate::model::after;

/// When every simulation begins.
const EPOCH: i64 = 1_800_000_000;
/// For how long a machine has been up by then.
const UPTIME: Duration = Duration::from_secs(1_000);

/// How often a clock may be read at one moment.
// A loop that waits for a time and goes on without waiting is hardly seen where time passes by itself.
const MOST_READINGS: u32 = 20_000;

/// What is wrong with a machine's clocks.
#[derive(Debug, Default)]
struct ClockErrors {
    /// By how many milliseconds the wall clock is ahead.
    ahead: i64,
    /// What it will be set to, and when.
    set: Option<(Duration, i64)>,
    /// How much time neither clock has noticed.
    missed: Duration,
    /// When it was read last, and how often by then.
    read: (Duration, u32),
}

/// The two clocks of a machine.
#[derive(Debug, Clone)]
pub(super) struct SimulatedClock {
    begun: Instant,
    errors: Arc<Mutex<ClockErrors>>,
}

impl SimulatedClock {
    pub(super) fn new(begun: Instant, ahead: i64) -> Self {
        Self { begun, errors: Arc::new(Mutex::new(ClockErrors { ahead, ..ClockErrors::default() })) }
    }

    /// Somebody, or a time server, sets the wall clock.
    pub(super) fn set_ahead(&self, ahead: i64) {
        // Not within a moment: what was decided by the old time has begun when the new one is seen. No fence can keep a clock
        // from being set between a decision and its act, so that is not asked of it.
        let at = self.begun.elapsed() + Duration::from_millis(1);
        locked(&self.errors).set = Some((at, ahead));
    }

    /// Has neither clock notice that this much time passed. No machine does this: it is a planted fault.
    pub(super) fn miss(&self, time: Duration) {
        locked(&self.errors).missed += time;
    }
}

impl Clock for SimulatedClock {
    fn now(&self) -> Timestamp {
        let mut errors = locked(&self.errors);
        let passed = self.begun.elapsed();
        let count = if errors.read.0 == passed { errors.read.1 + 1 } else { 0 };
        errors.read = (passed, count);
        assert!(count < MOST_READINGS, "the loop turns without a pause at {passed:?}");
        if let Some((_, ahead)) = errors.set.take_if(|(at, _)| *at <= passed) {
            errors.ahead = ahead;
        }
        let right = at(passed.saturating_sub(errors.missed));
        Timestamp::from_millisecond(right.as_millisecond() + errors.ahead).unwrap()
    }

    fn since_boot(&self) -> Duration {
        UPTIME + self.begun.elapsed().saturating_sub(locked(&self.errors).missed)
    }
}

/// What a clock shows that is right, when so much time has passed.
pub(super) fn at(passed: Duration) -> Timestamp {
    let millis = EPOCH * 1_000 + i64::try_from(passed.as_millis()).unwrap();
    Timestamp::from_millisecond(millis).unwrap()
}

/// When a lease that was renewed then is over.
pub(super) fn end_of(renewed: Timestamp, millis: u64) -> Timestamp {
    after(renewed, Duration::from_millis(millis))
}
