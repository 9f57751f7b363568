//! The clock: the one place where the time of day is read.

use jiff::Timestamp;

/// Tells the time.
pub trait Clock: Send + Sync {
    /// The time now, to the millisecond.
    fn now(&self) -> Timestamp;
}

/// The clock of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "this is the one place where the clock is read")]
    fn now(&self) -> Timestamp {
        let now = Timestamp::now();
        // A status that is read back must equal the one in memory, and people read these times.
        Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
    }
}
