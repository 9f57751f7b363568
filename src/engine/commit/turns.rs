//! Whose turn it is to push: the runners that share the budget of one remote, as their commits show them.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use tokio::time::Instant;

/// For how long after a runner turned up others are expected to.
const GROWING: Duration = Duration::from_secs(30);

/// When this runner and the others last pushed.
#[derive(Debug)]
pub(super) struct Turns {
    /// When this runner last tried to push, or when it began; and the time before that.
    tried: (Instant, Instant),
    others: HashMap<String, Instant>,
    /// When the last of them turned up.
    grown: Option<Instant>,
    own: Option<Instant>,
}

impl Turns {
    /// Those of a runner that begins.
    pub(super) fn new() -> Self {
        let begun = Instant::now();
        Self { tried: (begun, begun), others: HashMap::new(), grown: None, own: None }
    }

    /// Another runner pushed.
    pub(super) fn others_pushed(&mut self, runner: String, at: Instant) {
        if !self.others.contains_key(&runner) {
            self.grown = self.grown.max(Some(at));
        }
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

    /// Whether the next push of this runner is its first, while others turn up.
    pub(super) fn is_first(&self, now: Instant) -> bool {
        self.own.is_none() && self.are_growing(now)
    }

    /// Whether a runner turned up a moment ago, so that others may follow: those that begin together are seen one by one, each
    /// with its first push.
    pub(super) fn are_growing(&self, now: Instant) -> bool {
        self.grown.is_some_and(|at| now.saturating_duration_since(at) < GROWING)
    }

    /// How long until nobody has to be waited for any more, where everybody has a turn within `round`.
    // Renewals need no turn, and take along what waits with them: two runners that renew often would use up every token that a
    // third one waits for. One push of each in a round is no more than comes back in it.
    pub(super) fn until_entitled(&self, round: Duration, now: Instant) -> Duration {
        round.saturating_sub(now.saturating_duration_since(self.tried.0))
    }

    /// This runner is about to push, which takes its turn whatever comes of it: what the remote refuses may not be tried again at
    /// once.
    pub(super) fn take(&mut self, now: Instant) {
        self.tried = (now, self.tried.0);
    }

    /// That push lost its race.
    pub(super) fn put_back(&mut self) {
        self.tried.0 = self.tried.1;
    }

    /// What is left of `span` since this runner last pushed.
    pub(super) fn left_of(&self, span: Duration, now: Instant) -> Duration {
        self.own.map_or(Duration::ZERO, |own| span.saturating_sub(now.saturating_duration_since(own)))
    }

    /// The place in the queue for the next token, from 0 to 1: whoever has been silent for longest is first.
    // By lot alone, two of six runners got no turn for a minute and a half.
    pub(super) fn place(&self, lot: f64) -> f64 {
        let before = self.own.map_or(0, |own| self.others.values().filter(|&&other| other < own).count());
        // The lot tells runners apart that see themselves at the same place, such as those that never had a turn.
        (before as f64 + lot) / (self.others.len() + 1) as f64
    }
}

/// A number from 0 to 1 that differs between runners and from one draw to the next.
pub(super) fn draw(runner: &str, number: u64) -> f64 {
    // Spreading runners needs no randomness, and a test can repeat what a hash gives.
    let mut hasher = DefaultHasher::new();
    (runner, number).hash(&mut hasher);
    (hasher.finish() % 1_000) as f64 / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn turns(now: Instant) -> Turns {
        let mut turns = Turns::new();
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
        let mut turns = Turns::new();
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
    fn after_a_push_its_time_has_to_pass() {
        let now = Instant::now();
        let mut turns = turns(now);
        assert_eq!(turns.left_of(seconds(30), now), Duration::ZERO);
        turns.pushed(now);
        assert_eq!(turns.left_of(seconds(30), now + seconds(10)), seconds(20));
    }

    #[test]
    fn whoever_was_silent_for_a_round_waits_for_nobody() {
        let mut turns = Turns::new();
        let begun = turns.tried.0;
        assert_eq!(turns.until_entitled(seconds(30), begun + seconds(10)), seconds(20));
        turns.take(begun + seconds(20));
        assert_eq!(turns.until_entitled(seconds(30), begun + seconds(40)), seconds(10));
        turns.take(begun + seconds(60));
        turns.put_back();
        assert!(turns.until_entitled(seconds(30), begun + seconds(60)).is_zero());
    }

    #[test]
    fn others_are_expected_for_a_while_after_one_turned_up() {
        let now = Instant::now();
        assert!(!Turns::new().are_growing(now));
        let mut turns = turns(now);
        assert!(turns.are_growing(now + seconds(40)) && !turns.are_growing(now + seconds(50)));
        assert!(turns.is_first(now + seconds(40)));
        turns.pushed(now + seconds(40));
        assert!(!turns.is_first(now + seconds(40)));
        turns.others_pushed("b".to_owned(), now + seconds(60));
        assert!(!turns.are_growing(now + seconds(60)), "it was known");
    }
}
