//! Whose turn it is to push: the runners that share the budget of one remote, as their commits show them.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

/// When this runner and the others last pushed.
#[derive(Debug, Default)]
pub(super) struct Turns {
    others: HashMap<String, Instant>,
    own: Option<Instant>,
}

impl Turns {
    /// Another runner pushed.
    pub(super) fn others_pushed(&mut self, runner: String, at: Instant) {
        // A history is read from its newest commit, and what is older must not take the place of what is newer.
        self.others.entry(runner).and_modify(|last| *last = at.max(*last)).or_insert(at);
    }

    /// A push of this runner got through. One that lost its race was no turn, or whoever loses would have to wait longest.
    pub(super) fn pushed(&mut self, now: Instant) {
        self.own = Some(now);
    }

    /// How many runners share the budget, this one included: all that pushed within `window`.
    pub(super) fn runners(&mut self, window: Duration, now: Instant) -> usize {
        // A runner that is done pushes no more, and its share goes to the others.
        self.others.retain(|_, at| now.saturating_duration_since(*at) <= window);
        self.others.len() + 1
    }

    /// What is left of the round that this runner leaves to the others after a push.
    pub(super) fn courtesy(&self, round: Duration, now: Instant) -> Duration {
        let own = self.own.filter(|_| !self.others.is_empty());
        own.map_or(Duration::ZERO, |own| round.saturating_sub(now.saturating_duration_since(own)))
    }

    /// The place in the queue for the next token, from 0 to 1: whoever has been silent for longest is first.
    // By lot alone, two of six runners got no turn for a minute and a half.
    pub(super) fn place(&self, lot: f64) -> f64 {
        let before = self.own.map_or(0, |own| self.others.values().filter(|&&other| other < own).count());
        // The lot tells runners apart that see themselves at the same place, such as those that never had a turn.
        (before as f64 + lot) / (self.others.len() + 1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn turns(now: Instant) -> Turns {
        let mut turns = Turns::default();
        turns.others_pushed("a".to_owned(), now);
        turns.others_pushed("b".to_owned(), now + seconds(20));
        turns
    }

    #[test]
    fn runners_count_until_they_are_silent() {
        let now = Instant::now();
        let mut turns = turns(now);
        turns.others_pushed("a".to_owned(), now + seconds(10));
        assert_eq!(turns.runners(seconds(60), now + seconds(70)), 3);
        assert_eq!(turns.runners(seconds(60), now + seconds(75)), 2);
    }

    #[test]
    fn the_newest_push_counts_in_whatever_order_a_history_is_read() {
        let now = Instant::now();
        let mut turns = Turns::default();
        turns.others_pushed("a".to_owned(), now + seconds(50));
        turns.others_pushed("a".to_owned(), now);
        assert_eq!(turns.runners(seconds(60), now + seconds(100)), 2);
    }

    #[test]
    fn whoever_has_been_silent_for_longest_is_first() {
        let now = Instant::now();
        let mut turns = turns(now);
        assert_eq!(turns.place(0.0), 0.0);
        turns.pushed(now + seconds(10));
        assert!((turns.place(0.5) - 0.5).abs() < 0.01);
        turns.pushed(now + seconds(30));
        assert!(turns.place(0.0) > 0.6);
    }

    #[test]
    fn after_a_push_a_round_is_left_to_the_others() {
        let now = Instant::now();
        let mut alone = Turns::default();
        alone.pushed(now);
        assert_eq!(alone.courtesy(seconds(30), now), Duration::ZERO);
        let mut turns = turns(now);
        assert_eq!(turns.courtesy(seconds(30), now), Duration::ZERO);
        turns.pushed(now);
        assert_eq!(turns.courtesy(seconds(30), now + seconds(10)), seconds(20));
    }
}
