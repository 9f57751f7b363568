//! When commits go out: a limit of pushes to a remote, and the share of the time that publishing may take locally.

use std::time::Duration;

use tokio::time::Instant;

use crate::config::Config;

/// Spaces pushes to a remote: a token bucket. A local repository has no spacing.
#[derive(Debug)]
pub(crate) struct PushLimiter {
    tokens: f64,
    burst: f64,
    per_second: f64,
    last: Instant,
}

impl PushLimiter {
    /// The limiter of a repository; none where it has no remote.
    pub(crate) fn new(config: &Config, remote: bool) -> Option<Self> {
        let burst = f64::from(config.publish.burst.max(1));
        let per_second = f64::from(config.publish.per_minute.max(1)) / 60.0;
        remote.then(|| Self { tokens: burst, burst, per_second, last: Instant::now() })
    }

    /// How long to wait before the next push.
    pub(crate) fn pause(&mut self, now: Instant) -> Duration {
        let elapsed = now.saturating_duration_since(self.last).as_secs_f64();
        self.last = now;
        self.tokens = (self.tokens + elapsed * self.per_second).min(self.burst);
        if self.tokens >= 1.0 {
            Duration::ZERO
        } else {
            Duration::from_secs_f64((1.0 - self.tokens) / self.per_second)
        }
    }

    /// Takes the token for a push.
    pub(crate) fn take(&mut self, now: Instant) {
        self.pause(now);
        self.tokens -= 1.0;
    }
}

/// How long the last publications took, and when the last one ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CommitPacer {
    mean: Duration,
    last: Option<Instant>,
}

/// Publishing takes about one part in this many of the time, as long as no slot waits for it.
const SHARE: u32 = 6;
/// The longest that ends of attempts gather before they are published.
const LONGEST_GATHERING: Duration = Duration::from_millis(500);

impl CommitPacer {
    pub(crate) fn new() -> Self {
        Self { mean: Duration::from_millis(5), last: None }
    }

    /// How long a publication takes.
    pub(crate) fn mean(self) -> Duration {
        self.mean
    }

    /// How long it takes from one publication to the end of the next, when ends of attempts gather in between.
    pub(crate) fn cycle(self) -> Duration {
        self.mean + (self.mean * (SHARE - 1)).min(LONGEST_GATHERING)
    }

    /// Until when ends of attempts gather.
    pub(crate) fn next(self) -> Option<Instant> {
        Some(self.last? + self.cycle().saturating_sub(self.mean))
    }

    pub(crate) fn took(&mut self, since: Instant) {
        self.mean = (self.mean + since.elapsed()) / 2;
        self.last = Some(Instant::now());
    }
}
