//! Whose turn it is to push: the runners that share the budget of one remote, as their commits show them.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

/// Runners that pushed of late.
#[derive(Debug, Default)]
pub(super) struct OtherRunners {
    seen: HashMap<String, Instant>,
}

impl OtherRunners {
    /// Takes in that a runner pushed this long ago.
    pub(super) fn note(&mut self, runner: &str, age: Duration, now: Instant) {
        // A process that has just started has no moment that long ago; then it is as if it was now.
        let at = now.checked_sub(age).unwrap_or(now);
        let known = self.seen.entry(runner.to_owned()).or_insert(at);
        *known = at.max(*known);
    }

    /// How many pushed within `window`. A runner that is done pushes no more, and its share goes to the others.
    pub(super) fn count(&mut self, window: Duration, now: Instant) -> usize {
        self.seen.retain(|_, at| now.saturating_duration_since(*at) <= window);
        self.seen.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runners_count_until_they_are_silent() {
        let now = Instant::now() + Duration::from_secs(1_000);
        let second = Duration::from_secs;
        let mut others = OtherRunners::default();
        others.note("a", second(50), now);
        others.note("a", second(5), now);
        others.note("a", second(70), now);
        others.note("b", second(20), now);
        assert_eq!(others.count(second(60), now), 2);
        assert_eq!(others.count(second(60), now + second(50)), 1);
    }
}
