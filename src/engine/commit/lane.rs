//! The commit lane: when the next status commit may go out, who makes it, and how often the last ones lost their race.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;
use tracing::debug;

use super::builder::CommitBuilder;
use super::pacing::{CommitPacer, LocalPace, PushLimiter, PushedBy};
use super::publisher::Publisher;
use super::races::Races;
use super::refusals::Refusals;
use super::turns::{Turns, draw};
use crate::config::Config;
use crate::engine::execution::step::PreparedStep;
use crate::engine::{Branches, EngineError};
use crate::git::{Commit, ObjectId, Repo};
use crate::model::{ExecutionPhase, ResourceKey, StatusRecord};
use crate::record::{RUNNER, Transition, parse_message};

/// How often the dashboard is drawn while work is under way: it lists everything, where a transition writes one record.
const DASHBOARD_EVERY: Duration = Duration::from_secs(10);

/// How long ago a push may be to show a runner that begins now who shares the budget with it. Longer, and every pass would
/// leave a share of the work to the one that ended before it.
const SEEN_AT_WORK: Duration = Duration::from_secs(60);

/// Several runners lease at least what they expect to do in this time, as far as each gets a token within it: with a push for
/// each Execution, sixteen of them would spend a burst before they have seen each other.
const LEAST_AHEAD: Duration = Duration::from_secs(30);

/// How many commits are read to learn what others pushed. More than a burst makes no difference.
const HISTORY_READ: usize = 200;

/// When and how status commits go out.
pub(crate) struct CommitLane {
    /// Made for the first commit, so that a pass without one costs nothing; away while it makes one.
    publisher: Option<Publisher>,
    /// None for a local repository.
    limiter: Option<PushLimiter>,
    /// That of a local repository.
    local: LocalPace,
    pacer: CommitPacer,
    /// What went ahead of its publication, and goes out with the next commit.
    unpublished: CommitBuilder,
    /// The published records on which that was planned.
    bases: BTreeMap<ResourceKey, Option<Arc<StatusRecord>>>,
    races: Races,
    refusals: Refusals,
    /// Who pushed to the remote, and when.
    turns: Turns,
    /// How often this runner drew for its turn.
    draws: u64,
    dashboard_at: Option<Instant>,
    /// When something was last recorded or begun here.
    moved_at: Instant,
}

impl CommitLane {
    pub(crate) fn new(limiter: Option<PushLimiter>) -> Self {
        Self {
            publisher: None,
            limiter,
            local: LocalPace::new(),
            pacer: CommitPacer::new(),
            unpublished: CommitBuilder::default(),
            bases: BTreeMap::new(),
            races: Races::default(),
            refusals: Refusals::default(),
            turns: Turns::new(),
            draws: 0,
            dashboard_at: None,
            moved_at: Instant::now(),
        }
    }

    /// What went ahead of its publication.
    pub(crate) fn unpublished(&self) -> &CommitBuilder {
        &self.unpublished
    }

    /// What of that goes out with the next commit, whatever else does: all of it, unless the remote refuses somebody's
    /// content.
    // Else a commit that holds the culprit would be made again and again, whatever the limit says: halving would never
    // come to an end, or give up and hold up everybody.
    pub(crate) fn next_part(&self) -> CommitBuilder {
        let mut part = self.unpublished.clone();
        for key in self.bases.keys().skip(self.most_executions()) {
            part.drop_resource(key);
        }
        part
    }

    /// Keeps a step for the next commit; `base` is the record on which the first step of its Execution was planned.
    pub(crate) fn keep_unpublished(
        &mut self,
        base: Option<Arc<StatusRecord>>,
        old: Option<ExecutionPhase>,
        step: &PreparedStep,
        at: Timestamp,
    ) -> Arc<StatusRecord> {
        let record = Arc::new(step.record());
        // The base of the first step stays: the question is whether others changed what is published, and
        // later steps stand on unpublished ones.
        self.bases.entry(record.key()).or_insert(base);
        self.unpublished.put_execution(old, step, Arc::clone(&record), at);
        record
    }

    /// The published record on which unpublished steps of an Execution were planned, if there are any.
    pub(crate) fn unpublished_base(&self, key: &ResourceKey) -> Option<&Option<Arc<StatusRecord>>> {
        self.bases.get(key)
    }

    /// Drops what is not published of an Execution, and gives the published record on which that was planned. Steps of one
    /// Execution are published as a prefix or not at all.
    pub(crate) fn withdraw(&mut self, key: &ResourceKey) -> Option<Option<Arc<StatusRecord>>> {
        let base = self.bases.remove(key)?;
        self.unpublished.drop_resource(key);
        Some(base)
    }

    /// What went ahead of these records is published with them now. Whose it is.
    pub(crate) fn take_published(
        &mut self,
        records: &BTreeMap<ResourceKey, Option<Arc<StatusRecord>>>,
    ) -> Vec<ResourceKey> {
        let keys: Vec<ResourceKey> =
            self.bases.keys().filter(|key| records.contains_key(*key)).cloned().collect();
        for key in &keys {
            self.withdraw(key);
        }
        keys
    }

    /// Takes in a configuration that was changed. What was pushed before still counts.
    pub(crate) fn reconfigure(&mut self, config: &Config) {
        if let Some(limiter) = &mut self.limiter {
            limiter.reconfigure(config);
        }
    }

    /// How long until the limit of pushes allows the next one.
    pub(crate) fn pause(&mut self) -> Duration {
        let runners = self.runners();
        let Some(limiter) = &mut self.limiter else { return Duration::ZERO };
        let now = Instant::now();
        limiter.pause(now).min(self.turns.until_entitled(limiter.round(runners), now))
    }

    /// How long a runner that lost a race leaves the branch to others.
    pub(crate) fn backoff(&self) -> Duration {
        self.races.pause(Instant::now())
    }

    /// Whether such a pause has just ended, so that the branch has to be read again.
    pub(crate) fn take_backoff_over(&mut self) -> bool {
        self.races.take_over(Instant::now())
    }

    /// How long work may go ahead of the next commit; nothing that somebody waits for waits for this.
    pub(crate) fn spacing(&mut self) -> Duration {
        let now = Instant::now();
        if self.limiter.is_none() {
            return self.local.pause(now, self.pacer);
        }
        let span = self.budget_spacing().max(self.crowd_spacing());
        self.turns.left_of(span, now)
    }

    /// What the budget of pushes asks for between two pushes of this runner.
    fn budget_spacing(&mut self) -> Duration {
        let runners = self.runners();
        let Some(limiter) = &mut self.limiter else { return Duration::ZERO };
        let spacing = limiter.spacing(Instant::now(), runners);
        // Each of those that are still to come needs a token to be seen at all.
        if self.turns.are_growing(Instant::now()) {
            spacing.max(least_ahead(limiter, runners))
        } else {
            spacing
        }
    }

    /// What the others ask for who push at the same time.
    fn crowd_spacing(&mut self) -> Duration {
        let runners = self.runners();
        self.races.spacing(self.pacer.mean(), runners)
    }

    /// How many runners share the budget of pushes, this one included.
    pub(crate) fn runners(&mut self) -> usize {
        let window = self.limiter.as_ref().map(PushLimiter::window).unwrap_or_default();
        self.turns.runners(window, Instant::now())
    }

    /// Whether a runner turned up a moment ago.
    pub(crate) fn is_growing(&self) -> bool {
        self.turns.are_growing(Instant::now())
    }

    /// For how long this runner leases ahead: until it pushes again. Nothing for one that is alone while tokens last.
    pub(crate) fn lease_horizon(&mut self) -> Duration {
        let runners = self.runners();
        let Some(limiter) = &self.limiter else { return Duration::ZERO };
        // From the second runner on, whatever is left of the budget: as long as everybody takes one claim after the other,
        // whoever pushes fastest does most, and when tokens run short the work is gone.
        let least = if runners > 1 { least_ahead(limiter, runners) } else { Duration::ZERO };
        // Those that are still to come take their part of what is free now.
        if self.is_growing() {
            return least;
        }
        // Twice, as the next push may have to wait for a lot that is drawn, or lose its race.
        (self.budget_spacing().max(self.crowd_spacing()) * 2).max(least)
    }

    /// For how long others wait for one push more, where tokens run short. None of the first one of many that turn up.
    pub(crate) fn price_of_a_push(&mut self) -> Option<Duration> {
        let (runners, now) = (self.runners(), Instant::now());
        let shares = runners > 1 && !self.turns.is_first(now);
        self.limiter.as_mut().filter(|_| shares)?.price(now, runners)
    }

    /// Counts the commits that others put on top of `old`: the budget of pushes is the repository's.
    pub(crate) fn count_others(
        &mut self,
        repo: &Repo,
        old: Option<ObjectId>,
        new: Option<ObjectId>,
        runner: &str,
    ) -> Result<(), EngineError> {
        let (Some(limiter), Some(new)) = (&mut self.limiter, new) else { return Ok(()) };
        let mut pushes = 0_usize;
        let mut decisions = 0_usize;
        for commit in repo.log(new).take(HISTORY_READ) {
            let commit = commit?;
            // After `gc` the old tip is not in the history any more, and the bound above ends the search.
            // Counting too much only slows this runner down.
            if Some(commit.id) == old {
                break;
            }
            let transitions = parse_message(&commit);
            // Nobody who takes turns: a share of the budget and a place in the queue would be kept for them in vain.
            if are_of_a_person(&transitions) {
                decisions += 1;
                continue;
            }
            // Pushes of its own were counted as they began, those with a lost acknowledgement too.
            let by = runner_of(&commit);
            if by.as_deref() == Some(runner) {
                continue;
            }
            if let Some(by) = by {
                self.turns.others_pushed(by, Instant::now());
            }
            pushes += usize::from(are_counted(&transitions));
        }
        if decisions > 0 {
            debug!(decisions, "people decided");
            limiter.count_decisions(decisions, Instant::now());
        }
        if pushes > 0 {
            debug!(pushes, "other runners pushed");
            // Another lot each time, or the runner with the lowest hash would win every round.
            self.draws = self.draws.wrapping_add(1);
            limiter.count_others(pushes, Instant::now(), self.turns.place(draw(runner, self.draws)));
        }
        Ok(())
    }

    /// Counts what was pushed before this process began, by whomever.
    pub(crate) fn count_history(
        &mut self,
        repo: &Repo,
        tip: Option<ObjectId>,
        now: Timestamp,
    ) -> Result<(), EngineError> {
        let (Some(limiter), Some(tip)) = (&mut self.limiter, tip) else { return Ok(()) };
        let window = limiter.window();
        let mut ages = Vec::new();
        for commit in repo.log(tip).take(HISTORY_READ) {
            let commit = commit?;
            // A commit from the future counts as one of now: a clock that is ahead may cost budget, and never
            // gives any (Invariant 16).
            let age = Duration::try_from(now.duration_since(commit.committer_time)).unwrap_or_default();
            // Older tokens have been refilled since.
            if age > window {
                break;
            }
            let transitions = parse_message(&commit);
            if are_of_a_person(&transitions) {
                ages.push((age, PushedBy::Person));
                continue;
            }
            // Before the first push, or a runner that begins late would take itself to be alone, and lease all that it can do.
            if age <= SEEN_AT_WORK
                && let (Some(by), Some(at)) = (runner_of(&commit), Instant::now().checked_sub(age))
            {
                self.turns.others_pushed(by, at);
            }
            if are_counted(&transitions) {
                ages.push((age, PushedBy::Runner));
            }
        }
        // The log begins with the newest commit, and a bucket is replayed in the order of time.
        ages.reverse();
        limiter.replay(&ages);
        Ok(())
    }

    /// Whoever makes the commit. It has to be given back.
    pub(crate) fn take_publisher(&mut self, branches: &Branches) -> Result<Publisher, EngineError> {
        match self.publisher.take() {
            // The old one is worth keeping for what it remembers; a new one would render every record of the
            // next commit again.
            Some(publisher) => Ok(publisher),
            None => Publisher::new(branches),
        }
    }

    pub(crate) fn give_back(&mut self, publisher: Publisher) {
        self.publisher = Some(publisher);
    }

    /// Counts a push that is about to begin: one that is refused costs the host as much as one that gets through.
    pub(crate) fn count_push(&mut self) {
        match &mut self.limiter {
            Some(limiter) => {
                limiter.take(Instant::now());
                self.turns.take(Instant::now());
            }
            None => self.local.take(Instant::now(), self.pacer),
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
        self.races.won();
        self.moved_at = Instant::now();
        self.turns.pushed(self.moved_at);
    }

    /// A push that was begun at `begun` lost its race.
    ///
    /// # Errors
    /// When this runner never wins.
    pub(crate) fn lost_race(&mut self, runner: &str, begun: Instant) -> Result<(), EngineError> {
        if let Some(limiter) = &mut self.limiter {
            limiter.put_back();
            self.turns.put_back();
            // In a local repository a lost race takes no time, and the pace follows what a commit takes.
            self.pacer.tried(begun);
        }
        // Losers must not meet again at the same moment, and the name of the runner tells them apart. Not the process id, which
        // is 1 in every container.
        self.draws = self.draws.wrapping_add(1);
        self.races.lost(self.pacer.mean(), draw(runner, self.draws), Instant::now())
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

/// For how long one of so many runners leases ahead at least.
fn least_ahead(limiter: &PushLimiter, runners: usize) -> Duration {
    LEAST_AHEAD.min(limiter.round(runners))
}

/// The runner that made a status commit.
fn runner_of(commit: &Commit) -> Option<String> {
    // By the trailer: the author is whoever Git says, which may be the same on every machine.
    commit.trailers().into_iter().find(|(name, _)| name == RUNNER).map(|(_, runner)| runner)
}

/// Whether the status commit with these transitions counts against the budget: one without any renews leases, and those go out
/// in any case.
fn are_counted(transitions: &[Transition]) -> bool {
    !transitions.is_empty()
}

/// Whether the status commit with these transitions is the decision of a person.
fn are_of_a_person(transitions: &[Transition]) -> bool {
    // All of them: a runner that brings a person's review together with what follows from it takes its turn.
    !transitions.is_empty() && transitions.iter().all(|transition| transition.by.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Batch, message};

    #[test]
    fn a_local_repository_is_not_limited() {
        let mut lane = CommitLane::new(None);
        for _ in 0..100 {
            assert_eq!(lane.pause(), Duration::ZERO);
            lane.count_push();
        }
    }

    /// A status commit on top of another, of a runner or of a person who decided.
    fn status_commit(repo: &Repo, parent: Option<ObjectId>, runner: &str, person: Option<&str>) -> ObjectId {
        let transition = Transition {
            key: "team/gate/go".parse().unwrap(),
            node: None,
            from: None,
            to: "Waiting".to_owned(),
            reason: None,
            message: String::new(),
            attempt: 0,
            by: person.map(ToOwned::to_owned),
        };
        let at = Timestamp::UNIX_EPOCH;
        let (desired, changes, dashboard) = (None, Vec::new(), None);
        let transitions = vec![transition];
        let batch = Batch { desired, runner: runner.to_owned(), at, changes, transitions, dashboard };
        let tree = repo.edit_tree(None, &BTreeMap::new()).unwrap();
        let parents: Vec<ObjectId> = parent.into_iter().collect();
        repo.write_commit(tree, &parents, &message(&batch), &repo.runner_identity(), at).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn somebody_who_decides_all_the_time_keeps_no_runner_from_its_turn() {
        let folder = tempfile::tempdir().unwrap();
        let repo = Repo::init(folder.path(), "main").unwrap();
        let mut lane = CommitLane::new(PushLimiter::new(&Config::default(), true));
        let begin = status_commit(&repo, None, "a", None);
        lane.count_others(&repo, None, Some(begin), "a").unwrap();
        // What may go out at once is spent.
        while lane.pause().is_zero() {
            lane.count_push();
        }
        let mut tip = begin;
        let mut pushes = 0;
        // Ten minutes of a person who decides every 4 s. Each command names another process as its runner.
        for number in 0..150 {
            tokio::time::advance(Duration::from_secs(4)).await;
            let next = status_commit(&repo, Some(tip), &format!("laptop.{number}"), Some("ada"));
            lane.count_others(&repo, Some(tip), Some(next), "a").unwrap();
            tip = next;
            if lane.pause().is_zero() {
                lane.count_push();
                pushes += 1;
            }
        }
        // Six a minute, less what the steps of 4 s waste of each 10 s.
        assert!(pushes >= 49, "the runner had {pushes} turns in ten minutes");
        assert_eq!(lane.runners(), 1, "no share is kept for a person");
        let mut fresh = CommitLane::new(PushLimiter::new(&Config::default(), true));
        fresh.count_history(&repo, Some(tip), Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!((fresh.runners(), fresh.pause()), (2, Duration::ZERO), "nor of one that begins now");
    }

    #[test]
    fn a_published_commit_ends_a_run_of_lost_races() {
        let mut lane = CommitLane::new(None);
        lane.lost_race("a", Instant::now()).unwrap();
        assert!(!lane.backoff().is_zero());
        lane.published(Instant::now(), std::iter::empty());
        assert!(lane.backoff().is_zero() && lane.gather_until().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_alone_leases_ahead_only_as_tokens_run_short() {
        let mut lane = CommitLane::new(PushLimiter::new(&Config::default(), true));
        for _ in 0..15 {
            assert_eq!((lane.lease_horizon(), lane.spacing()), (Duration::ZERO, Duration::ZERO));
            lane.count_push();
            lane.published(Instant::now(), std::iter::empty());
        }
        lane.count_push();
        lane.published(Instant::now(), std::iter::empty());
        assert!(!lane.lease_horizon().is_zero() && !lane.spacing().is_zero());
    }

    #[test]
    fn the_dashboard_is_drawn_at_first_and_then_now_and_again() {
        let mut lane = CommitLane::new(None);
        assert!(lane.is_dashboard_due());
        lane.dashboard_drawn();
        assert!(!lane.is_dashboard_due());
    }
}
