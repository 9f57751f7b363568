//! Numbers that look like chance and follow from a seed alone.

use std::time::Duration;

/// A row of numbers that one seed gives.
// SplitMix64: a few lines, the same on every machine and in every version of every crate.
#[derive(Debug, Clone)]
pub(super) struct Dice {
    state: u64,
}

impl Dice {
    /// The row of a seed; another `lane` of the same seed is another row.
    pub(super) fn new(seed: u64, lane: u64) -> Self {
        let mut dice = Self { state: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ lane.rotate_left(32) };
        dice.next();
        dice
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// Whether something happens that happens so many times in a hundred.
    pub(super) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// A time between two numbers of seconds, to the millisecond.
    pub(super) fn seconds(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from * 1_000 + self.below((to - from) * 1_000))
    }
}
