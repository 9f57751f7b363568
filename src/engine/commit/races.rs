//! Races for the status branch: how often they are lost of late, and how long a loser waits.

use std::time::Duration;

use tokio::time::Instant;
use tracing::debug;

use crate::engine::EngineError;

/// How many races may be lost in a row.
const MOST_RACES: u32 = 200;
/// A loser waits at most for as long as two to the power of this many pushes take.
const MOST_DOUBLINGS: u32 = 4;
/// No push counts as longer than this, so that a loser does not wait for minutes.
const LONGEST_PUSH: Duration = Duration::from_secs(1);

/// The races of one runner.
#[derive(Debug, Default)]
pub(super) struct Races {
    /// How many were lost since the last one that was won.
    in_a_row: u32,
    /// How many are lost for each that is won, as a moving average.
    often: f64,
    /// When the next one may begin.
    until: Option<Instant>,
}

impl Races {
    /// One was lost by a push that took so long. `lot` is a number from 0 to 1.
    ///
    /// # Errors
    /// When this runner never wins.
    pub(super) fn lost(&mut self, push: Duration, lot: f64, now: Instant) -> Result<(), EngineError> {
        self.in_a_row = self.in_a_row.saturating_add(1);
        // In a row: one commit that gets through ends the count, so a busy branch alone does not end a runner.
        if self.in_a_row > MOST_RACES {
            return Err(EngineError::Contended { attempts: self.in_a_row });
        }
        // Of sixteen that push at once one wins, and where all try again at once, fifteen have to push again, and again: each
        // waits for any time within one that doubles, as on a shared cable.
        let most = push.min(LONGEST_PUSH) * 2_u32.pow(self.in_a_row.min(MOST_DOUBLINGS));
        let pause = most.mul_f64(lot);
        debug!(races = self.in_a_row, pause_ms = pause.as_millis(), "lost the race for the status branch");
        self.until = Some(now + pause);
        Ok(())
    }

    /// One was won.
    pub(super) fn won(&mut self) {
        self.often = (self.often + f64::from(self.in_a_row)) / 2.0;
        self.in_a_row = 0;
        self.until = None;
    }

    /// How long to wait before the next one.
    pub(super) fn pause(&self, now: Instant) -> Duration {
        self.until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }

    /// Whether a pause is over since this was last asked. Others have moved the branch meanwhile: what was planned before would
    /// lose again.
    pub(super) fn take_over(&mut self, now: Instant) -> bool {
        self.until.take_if(|until| *until <= now).is_some()
    }

    /// For how long each of so many runners lets gather what nobody waits for, so that they do not stand in each other's way.
    /// Nothing as long as races are hardly ever lost.
    pub(super) fn spacing(&self, push: Duration, runners: usize) -> Duration {
        let is_crowded = self.often.max(f64::from(self.in_a_row)) >= 0.5;
        // Of the time, half is left to what somebody waits for.
        if is_crowded { push * 2 * u32::try_from(runners).unwrap_or(u32::MAX) } else { Duration::ZERO }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUSH: Duration = Duration::from_millis(100);

    #[test]
    fn whoever_loses_every_race_gives_up() {
        let mut races = Races::default();
        let now = Instant::now();
        for _ in 0..MOST_RACES {
            races.lost(PUSH, 1.0, now).unwrap();
        }
        let given_up = races.lost(PUSH, 1.0, now);
        assert!(matches!(given_up, Err(EngineError::Contended { attempts }) if attempts == MOST_RACES + 1));
    }

    #[test]
    fn a_loser_waits_for_a_time_that_doubles_and_then_reads_again() {
        let mut races = Races::default();
        let now = Instant::now();
        let mut pauses = Vec::new();
        for _ in 0..6 {
            races.lost(PUSH, 1.0, now).unwrap();
            pauses.push(races.pause(now).as_millis());
        }
        assert_eq!(pauses, [200, 400, 800, 1_600, 1_600, 1_600]);
        assert!(!races.take_over(now));
        assert!(races.take_over(now + PUSH * 16) && !races.take_over(now + PUSH * 16), "once");
        // A remote that takes a minute for a push keeps nobody waiting for a quarter of an hour.
        races.lost(Duration::from_secs(60), 1.0, now).unwrap();
        assert_eq!(races.pause(now), Duration::from_secs(16));
    }

    #[test]
    fn a_race_that_is_won_ends_the_pause_and_the_count() {
        let mut races = Races::default();
        let now = Instant::now();
        races.lost(PUSH, 1.0, now).unwrap();
        races.won();
        assert_eq!((races.in_a_row, races.pause(now)), (0, Duration::ZERO));
    }

    #[test]
    fn runners_keep_apart_while_races_are_lost() {
        let mut races = Races::default();
        let now = Instant::now();
        assert_eq!(races.spacing(PUSH, 16), Duration::ZERO);
        races.lost(PUSH, 0.0, now).unwrap();
        assert_eq!(races.spacing(PUSH, 16), PUSH * 32);
        races.won();
        assert_eq!(races.spacing(PUSH, 16), PUSH * 32, "not forgotten at once");
        races.won();
        assert_eq!(races.spacing(PUSH, 16), Duration::ZERO);
    }
}
