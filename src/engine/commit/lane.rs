//! The commit lane: when the next status commit may go out, who makes it, and how often the last ones lost their race.

use std::time::Duration;

use tokio::time::Instant;
use tracing::debug;

use super::pacing::{CommitPacer, PushLimiter};
use super::publisher::Publisher;
use super::refusals::Refusals;
use crate::engine::{Branches, EngineError};
use crate::model::ResourceKey;

/// How many races may be lost in a row.
const MOST_RACES: u32 = 200;
/// How often the dashboard is drawn while work is under way: it lists everything, where a transition writes one record.
const DASHBOARD_EVERY: Duration = Duration::from_secs(10);

/// When and how status commits go out.
pub(crate) struct CommitLane {
    /// Made for the first commit, so that a pass without one costs nothing; away while it makes one.
    publisher: Option<Publisher>,
    /// None for a local repository.
    limiter: Option<PushLimiter>,
    pacer: CommitPacer,
    races: u32,
    refusals: Refusals,
    dashboard_at: Option<Instant>,
    /// When something was last recorded or begun here.
    moved_at: Instant,
}

impl CommitLane {
    pub(crate) fn new(limiter: Option<PushLimiter>) -> Self {
        let publisher = None;
        let dashboard_at = None;
        Self {
            publisher,
            limiter,
            pacer: CommitPacer::new(),
            races: 0,
            refusals: Refusals::default(),
            dashboard_at,
            moved_at: Instant::now(),
        }
    }

    /// How long until the limit of pushes allows the next one.
    pub(crate) fn pause(&mut self) -> Duration {
        self.limiter.as_mut().map_or(Duration::ZERO, |limiter| limiter.pause(Instant::now()))
    }

    /// Whoever makes the commit. It has to be given back.
    pub(crate) fn take_publisher(&mut self, branches: &Branches) -> Result<Publisher, EngineError> {
        match self.publisher.take() {
            Some(publisher) => Ok(publisher),
            None => Publisher::new(branches),
        }
    }

    pub(crate) fn give_back(&mut self, publisher: Publisher) {
        self.publisher = Some(publisher);
    }

    /// Counts a push that is about to begin: a lost one costs the host as much as one that gets through.
    pub(crate) fn count_push(&mut self) {
        if let Some(limiter) = &mut self.limiter {
            limiter.take(Instant::now());
        }
    }

    /// What the remote refused of late.
    pub(crate) fn refusals(&mut self) -> &mut Refusals {
        &mut self.refusals
    }

    /// How many Executions may go into the next commit.
    pub(crate) fn most_executions(&self) -> usize {
        self.refusals.limit()
    }

    /// A commit of these resources that was begun at `begun` is on the branch.
    pub(crate) fn published<'k>(&mut self, begun: Instant, keys: impl Iterator<Item = &'k ResourceKey>) {
        self.refusals.published(keys);
        self.pacer.took(begun);
        self.races = 0;
        self.moved_at = Instant::now();
    }

    /// Counts a lost race. How long to wait before the next try: losers must not meet again at the same moment, and
    /// the process id tells them apart.
    pub(crate) fn lost_race(&mut self) -> Result<Duration, EngineError> {
        self.races = self.races.saturating_add(1);
        debug!(races = self.races, "lost the race for the status branch");
        if self.races > MOST_RACES {
            return Err(EngineError::Contended { attempts: self.races });
        }
        let jitter = u64::from(std::process::id() % 17) + u64::from(self.races.min(20)) * 3;
        Ok(Duration::from_millis(jitter))
    }

    /// Until when ends of attempts should gather before the next commit. On a remote the limiter spaces commits anyway.
    pub(crate) fn gather_until(&self) -> Option<Instant> {
        self.pacer.next().filter(|&deadline| self.limiter.is_none() && deadline > Instant::now())
    }

    /// For how long claimed work has to last so that no slot is idle when a publication ends.
    pub(crate) fn lead_time(&self) -> Duration {
        self.pacer.mean() * 2
    }

    /// How long it takes from one publication to the end of the next.
    pub(crate) fn cycle(&self) -> Duration {
        self.pacer.cycle()
    }

    /// Whether the dashboard was not drawn for so long that it has to be, although work is under way.
    pub(crate) fn is_dashboard_due(&self) -> bool {
        self.dashboard_at.is_none_or(|at| at.elapsed() >= DASHBOARD_EVERY)
    }

    pub(crate) fn dashboard_drawn(&mut self) {
        self.dashboard_at = Some(Instant::now());
    }

    /// How long ago something was last recorded here.
    pub(crate) fn idle_for(&self) -> Duration {
        self.moved_at.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_repository_is_not_limited() {
        let mut lane = CommitLane::new(None);
        for _ in 0..100 {
            assert_eq!(lane.pause(), Duration::ZERO);
            lane.count_push();
        }
    }

    #[test]
    fn whoever_loses_every_race_gives_up() {
        let mut lane = CommitLane::new(None);
        for _ in 0..MOST_RACES {
            assert!(lane.lost_race().unwrap() < Duration::from_millis(100));
        }
        assert!(
            matches!(lane.lost_race(), Err(EngineError::Contended { attempts }) if attempts == MOST_RACES + 1)
        );
    }

    #[test]
    fn a_published_commit_ends_a_run_of_lost_races() {
        let mut lane = CommitLane::new(None);
        lane.lost_race().unwrap();
        lane.published(Instant::now(), std::iter::empty());
        assert_eq!(lane.races, 0);
        assert!(lane.gather_until().is_some());
    }

    #[test]
    fn the_dashboard_is_drawn_at_first_and_then_now_and_again() {
        let mut lane = CommitLane::new(None);
        assert!(lane.is_dashboard_due());
        lane.dashboard_drawn();
        assert!(!lane.is_dashboard_due());
    }
}
