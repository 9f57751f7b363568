//! What the simulated runners share: the remote, the time, the faults that a seed chooses, and the trace.

mod pushes;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;
use std::time::Duration;

use tokio::time::Instant;

use super::clock::SimulatedClock;
use super::dice::Dice;
use super::judge::{Judge, Rule};
use super::people::PEOPLE;
use super::stage::{References, SKEW, Stage};
use super::weather::{Planted, Weather};
use super::{locked, number, show};
use crate::engine::clock::ClockReading;
use crate::git::{GitError, ObjectId, Repo};
use crate::provider::Attempt;

pub(super) const STATUS: &str = "refs/heads/planspec/status";
pub(super) const MAIN: &str = "refs/heads/main";

/// One process of one runner.
struct Process {
    clock: SimulatedClock,
    is_dead: bool,
    cut_until: Duration,
    stopped_until: Duration,
    disk_full_until: Duration,
    waker: Option<Waker>,
}

pub(super) struct WorldState {
    pub(super) dice: Dice,
    repo: Repo,
    references: References,
    processes: BTreeMap<String, Process>,
    /// The clones that somebody works in.
    clones: BTreeSet<String>,
    /// Where the status branch was before somebody set it back, and when that will be noticed.
    rewound: Option<(ObjectId, Duration)>,
    pub(super) judge: Judge,
    pub(super) trace: Vec<String>,
    pub(super) is_over: bool,
    /// Whether the tip of the status branch is a decision of a person.
    decided: bool,
}

/// The world.
pub(super) struct World {
    pub(super) begun: Instant,
    pub(super) weather: Weather,
    planted: Option<Planted>,
    is_shown: bool,
    state: Mutex<WorldState>,
}

impl World {
    pub(super) fn new(seed: u64, stage: &Stage, weather: Weather, planted: Option<Planted>) -> Arc<Self> {
        let references = References::from([(MAIN.to_owned(), stage.desired)]);
        let state = WorldState {
            dice: Dice::new(seed, 3),
            repo: stage.shared(),
            references,
            processes: BTreeMap::new(),
            clones: BTreeSet::new(),
            rewound: None,
            judge: Judge::new(stage.strict, !weather.wild, stage.sources.clone(), stage.pace.compared_from),
            trace: Vec::new(),
            is_over: false,
            decided: false,
        };
        let is_shown = number("PLANSPEC_SEED").is_some() && number("PLANSPEC_SIMULATE").is_none();
        Arc::new(Self { begun: Instant::now(), weather, planted, is_shown, state: Mutex::new(state) })
    }

    pub(super) fn state(&self) -> MutexGuard<'_, WorldState> {
        locked(&self.state)
    }

    pub(super) fn passed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// One more line of the trace.
    pub(super) fn note(&self, who: &str, what: &str) {
        self.log(&mut self.state(), who, what);
    }

    fn log(&self, state: &mut WorldState, who: &str, what: &str) {
        let line = format!("{:>9.3} {who:<6} {what}", self.passed().as_secs_f64());
        // As it happens: of a run that panics or hangs, nothing could be shown afterwards.
        if self.is_shown {
            show(&line);
        }
        state.trace.push(line);
    }

    fn is_stormy(&self) -> bool {
        self.passed() < self.weather.until
    }

    /// A machine's clocks. Those of two machines are apart by less than the configuration allows, or by hours.
    pub(super) fn clock(&self) -> SimulatedClock {
        let mut state = self.state();
        let mut ahead = self.some_error(&mut state);
        if self.planted == Some(Planted::EarlyTakeover) && state.dice.chance(50) {
            // As far as others' leases go, this is what not heeding their end comes to.
            ahead = 60_000;
        }
        SimulatedClock::new(self.begun, ahead)
    }

    fn some_error(&self, state: &mut WorldState) -> i64 {
        let most = if self.weather.wild { 2 * 3_600_000 } else { SKEW.as_millis() as u64 / 2 };
        i64::try_from(state.dice.below(2 * most)).unwrap() - i64::try_from(most).unwrap()
    }

    /// A process begins.
    pub(super) fn begin(&self, runner: &str, clone: Option<&str>, clock: SimulatedClock) {
        let process = Process {
            clock,
            is_dead: false,
            cut_until: Duration::ZERO,
            stopped_until: Duration::ZERO,
            disk_full_until: Duration::ZERO,
            waker: None,
        };
        let mut state = self.state();
        state.clones.extend(clone.map(str::to_owned));
        state.processes.insert(runner.to_owned(), process);
    }

    pub(super) fn is_dead(&self, runner: &str) -> bool {
        self.state().process(runner).is_dead
    }

    /// For how long a process still stands still. Whoever asks is woken when it dies.
    pub(super) fn stands_still(&self, runner: &str, waker: &Waker) -> Duration {
        let mut state = self.state();
        let process = state.process(runner);
        process.waker = Some(waker.clone());
        process.stopped_until.saturating_sub(self.passed())
    }

    /// The tips of references, as a process reads them.
    pub(super) fn tips(&self, runner: &str, names: &[&str]) -> Result<Vec<Option<ObjectId>>, GitError> {
        let mut state = self.state();
        self.reach(&mut state, runner)?;
        if self.is_stormy() && runner != PEOPLE && state.dice.chance(self.weather.readings) {
            match state.dice.below(4) {
                0 => self.cut(&mut state, runner),
                1 => self.stop(&mut state, runner),
                2 => self.set_clock(&mut state, runner),
                _ => {}
            }
            self.log(&mut state, runner, "cannot read");
            return Err(unreachable("connection refused"));
        }
        Ok(names.iter().map(|name| state.references.get(*name).copied()).collect())
    }

    pub(super) fn branches(&self, runner: &str) -> Result<Vec<String>, GitError> {
        let mut state = self.state();
        self.reach(&mut state, runner)?;
        let names = state.references.keys();
        Ok(names.filter_map(|name| name.strip_prefix("refs/heads/")).map(str::to_owned).collect())
    }

    fn reach(&self, state: &mut WorldState, runner: &str) -> Result<(), GitError> {
        let now = self.passed();
        let process = state.process(runner);
        if process.is_dead {
            return Err(GitError::Interrupted);
        }
        if process.cut_until > now { Err(unreachable("no route to host")) } else { Ok(()) }
    }

    /// A process begins with an attempt. Whether it lives to see what comes of it.
    pub(super) fn start(&self, runner: &str, attempt: &Attempt) {
        let mut state = self.state();
        let reading = ClockReading::of(&state.process(runner).clock);
        let mut name = attempt.idempotency_key.clone();
        if self.planted == Some(Planted::KeyWithoutToken) {
            let token = format!("/{}.", attempt.fencing_token);
            name = name.replace(&token, "/");
        }
        let number = attempt.idempotency_key.rsplit('/').next().unwrap_or_default();
        self.log(&mut state, runner, &format!("start {} {} {number}", attempt.key, attempt.node));
        state.judge.started(runner, attempt, &name, (self.passed(), reading));
        if self.is_stormy() && state.dice.chance(self.weather.starts) {
            match state.dice.below(5) {
                0 | 1 => self.kill(&mut state, runner),
                2 | 3 => self.stop(&mut state, runner),
                _ => self.fill_disk(&mut state, runner),
            }
        }
    }

    fn kill(&self, state: &mut WorldState, runner: &str) {
        self.log(state, runner, "dies");
        let process = state.process(runner);
        process.is_dead = true;
        if let Some(waker) = process.waker.take() {
            waker.wake();
        }
    }

    fn stop(&self, state: &mut WorldState, runner: &str) {
        let pause = state.dice.seconds(10, 120);
        self.log(state, runner, &format!("stands still for {} s", pause.as_secs()));
        let until = self.passed() + pause;
        let planted = self.planted;
        let process = state.process(runner);
        process.stopped_until = until;
        if planted == Some(Planted::LeaseKept) {
            process.clock.miss(pause);
        }
    }

    fn fill_disk(&self, state: &mut WorldState, runner: &str) {
        let pause = state.dice.seconds(5, 60);
        self.log(state, runner, &format!("its disk is full for {} s", pause.as_secs()));
        state.process(runner).disk_full_until = self.passed() + pause;
    }

    /// Whether nothing can be written where a process works.
    pub(super) fn is_disk_full(&self, runner: &str) -> bool {
        let now = self.passed();
        self.state().process(runner).disk_full_until > now
    }

    /// Sets the status branch back now and then, and has that noticed after a while.
    pub(super) fn tend_history(&self, stage: &Stage) {
        let mut state = self.state();
        let now = self.passed();
        if let Some((tip, until)) = state.rewound {
            if until <= now {
                self.log(&mut state, PEOPLE, "put the status branch back");
                state.references.insert(STATUS.to_owned(), tip);
                state.rewound = None;
            }
            return;
        }
        let Some(tip) = state.tip().filter(|_| self.is_stormy() && self.weather.rewinds) else { return };
        // Whoever does not remember the newest commit cannot know that it is gone.
        let known = state.clones.iter().all(|clone| stage.last_seen(clone).contains(&tip.to_string()));
        let before = state.repo.commit(tip).unwrap().parents.first().copied();
        let WorldState { judge, repo, .. } = &*state;
        let loses = |before: &ObjectId| known && judge.would_lose(repo, *before);
        if let Some(before) = before.filter(loses) {
            self.log(&mut state, "nobody", "sets the status branch back");
            state.references.insert(STATUS.to_owned(), before);
            let pause = state.dice.seconds(20, 60);
            state.rewound = Some((tip, now + pause));
        }
    }

    /// Nobody works in a clone any more.
    pub(super) fn forget_clone(&self, clone: &str) {
        self.state().clones.remove(clone);
    }

    /// Whether processes accept a status branch that went back.
    pub(super) fn accepts_history(&self) -> bool {
        self.planted == Some(Planted::RewindAccepted)
    }

    pub(super) fn planted(&self) -> Option<Planted> {
        self.planted
    }

    fn cut(&self, state: &mut WorldState, runner: &str) {
        let pause = state.dice.seconds(5, 100);
        self.log(state, runner, &format!("is cut off for {} s", pause.as_secs()));
        state.process(runner).cut_until = self.passed() + pause;
    }

    fn set_clock(&self, state: &mut WorldState, runner: &str) {
        let ahead = self.some_error(state);
        self.log(state, runner, &format!("clock set {ahead} ms ahead"));
        state.process(runner).clock.set_ahead(ahead);
    }

    /// A rule was broken, as whoever looks from outside sees it.
    pub(super) fn broke(&self, rule: Rule, what: String) {
        self.state().judge.broken.push((rule, what));
    }
}

impl WorldState {
    /// The tip of the status branch.
    pub(super) fn tip(&self) -> Option<ObjectId> {
        self.references.get(STATUS).copied()
    }

    /// Where a reference is.
    pub(super) fn reference(&self, name: &str) -> Option<ObjectId> {
        self.references.get(name).copied()
    }

    /// Moves a reference.
    pub(super) fn set(&mut self, name: &str, to: ObjectId) {
        self.references.insert(name.to_owned(), to);
    }

    /// Whether the status branch was set back and nobody has put it right yet.
    pub(super) fn is_rewound(&self) -> bool {
        self.rewound.is_some()
    }

    fn process(&mut self, runner: &str) -> &mut Process {
        self.processes.get_mut(runner).unwrap()
    }
}

fn unreachable(detail: &str) -> GitError {
    GitError::Unreachable { remote: "simulated".to_owned(), detail: detail.to_owned() }
}
