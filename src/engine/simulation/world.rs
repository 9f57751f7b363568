//! What the simulated runners share: the remote, the time, the faults that a seed chooses, and the trace.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;
use std::time::Duration;

use tokio::time::Instant;

use super::clock::SimulatedClock;
use super::dice::Dice;
use super::judge::{Judge, Rule};
use super::stage::{References, SKEW, Stage};
use super::{locked, number, show};
use crate::engine::clock::ClockReading;
use crate::git::{GitError, ObjectId, RefUpdate, Repo};
use crate::provider::Attempt;

pub(super) const STATUS: &str = "refs/heads/planspec/status";

/// Something that an engine could do wrong, done here in its surroundings, so that the product has no switch for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display, strum::EnumIter)]
pub(super) enum Planted {
    /// A process that stood still does not notice: it goes on under a lease that is over.
    LeaseKept,
    /// What is not on the branch counts as published, and is acted on.
    ActBeforePublish,
    /// The name of an attempt does not hold the token of its lease.
    KeyWithoutToken,
    /// The branch is moved whatever it was before.
    NoCompare,
    /// Another runner's lease is taken over before it ends.
    EarlyTakeover,
}

/// How much goes wrong, and for how long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weather {
    /// Nothing goes wrong after this time.
    pub(super) until: Duration,
    /// Of a hundred pushes, how many meet a fault.
    pub(super) pushes: u64,
    /// Of a hundred readings of the branches.
    pub(super) readings: u64,
    /// Of a hundred starts of attempts.
    pub(super) starts: u64,
    /// Whether clocks are set by hours.
    pub(super) wild: bool,
}

impl Weather {
    pub(super) const CALM: Self =
        Self { until: Duration::ZERO, pushes: 0, readings: 0, starts: 0, wild: false };

    pub(super) fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed, 2);
        Self {
            until: dice.seconds(60, 200),
            pushes: 5 + dice.below(40),
            readings: dice.below(12),
            starts: dice.below(25),
            wild: dice.chance(25),
        }
    }
}

/// One process of one runner.
struct Process {
    clock: SimulatedClock,
    is_dead: bool,
    cut_until: Duration,
    stopped_until: Duration,
    waker: Option<Waker>,
}

pub(super) struct WorldState {
    pub(super) dice: Dice,
    repo: Repo,
    references: References,
    processes: BTreeMap<String, Process>,
    pub(super) judge: Judge,
    pub(super) trace: Vec<String>,
    pub(super) is_over: bool,
}

/// The world.
pub(super) struct World {
    pub(super) begun: Instant,
    pub(super) weather: Weather,
    planted: Option<Planted>,
    is_shown: bool,
    state: Mutex<WorldState>,
}

/// What goes wrong with a push.
#[derive(Debug, Clone, Copy, strum::Display)]
enum PushFault {
    Refused,
    AcknowledgementLost,
    AcknowledgementLostAndCut,
    CrashBefore,
    CrashAfter,
    StoppedAfter,
    ClockSet,
}

impl World {
    pub(super) fn new(seed: u64, stage: &Stage, weather: Weather, planted: Option<Planted>) -> Arc<Self> {
        let references = References::from([("refs/heads/main".to_owned(), stage.desired)]);
        let state = WorldState {
            dice: Dice::new(seed, 3),
            repo: stage.shared(),
            references,
            processes: BTreeMap::new(),
            judge: Judge::new(stage.strict, !weather.wild),
            trace: Vec::new(),
            is_over: false,
        };
        let is_shown = number("PLANSPEC_SEED").is_some();
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
    pub(super) fn begin(&self, runner: &str, clock: SimulatedClock) {
        let process = Process {
            clock,
            is_dead: false,
            cut_until: Duration::ZERO,
            stopped_until: Duration::ZERO,
            waker: None,
        };
        self.state().processes.insert(runner.to_owned(), process);
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
        if self.is_stormy() && state.dice.chance(self.weather.readings) {
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

    /// A process pushes.
    pub(super) fn push(&self, runner: &str, updates: &[RefUpdate]) -> Result<(), GitError> {
        let mut state = self.state();
        self.reach(&mut state, runner)?;
        if self.planted == Some(Planted::ActBeforePublish) && state.dice.chance(20) {
            self.log(&mut state, runner, "counts a push as done (planted)");
            return Ok(());
        }
        if !(self.is_stormy() && state.dice.chance(self.weather.pushes)) {
            return self.apply(&mut state, runner, updates);
        }
        let faults = [
            PushFault::Refused,
            PushFault::AcknowledgementLost,
            PushFault::AcknowledgementLostAndCut,
            PushFault::CrashBefore,
            PushFault::CrashAfter,
            PushFault::StoppedAfter,
            PushFault::ClockSet,
        ];
        let fault = faults[state.dice.below(faults.len() as u64) as usize];
        self.log(&mut state, runner, &format!("push: {fault}"));
        match fault {
            PushFault::Refused => return Err(failed("cannot lock ref")),
            PushFault::CrashBefore => {
                self.kill(&mut state, runner);
                return Err(GitError::Interrupted);
            }
            PushFault::ClockSet => self.set_clock(&mut state, runner),
            _ => {}
        }
        self.apply(&mut state, runner, updates)?;
        match fault {
            PushFault::AcknowledgementLost => Err(unreachable("the remote end hung up")),
            PushFault::AcknowledgementLostAndCut => {
                self.cut(&mut state, runner);
                Err(unreachable("the remote end hung up"))
            }
            PushFault::CrashAfter => {
                self.kill(&mut state, runner);
                Err(GitError::Interrupted)
            }
            PushFault::StoppedAfter => {
                self.stop(&mut state, runner);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn apply(&self, state: &mut WorldState, runner: &str, updates: &[RefUpdate]) -> Result<(), GitError> {
        for RefUpdate { reference, expected, .. } in updates {
            let compares = self.planted != Some(Planted::NoCompare);
            if compares && state.references.get(reference) != expected.as_ref() {
                self.log(state, runner, "push: lost the race");
                return Err(failed("stale info"));
            }
        }
        for RefUpdate { reference, new, .. } in updates {
            state.references.insert(reference.clone(), *new);
            let subject = state.repo.commit(*new).unwrap().subject().to_owned();
            self.log(state, runner, &format!("pushed {} {subject}", new.short()));
            if reference == STATUS {
                let reading = ClockReading::of(&state.process(runner).clock);
                let WorldState { judge, repo, .. } = &mut *state;
                judge.published(repo, *new, reading);
            }
        }
        Ok(())
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
        state.judge.started(runner, attempt, &name, reading);
        if self.is_stormy() && state.dice.chance(self.weather.starts) {
            if state.dice.chance(50) {
                self.kill(&mut state, runner);
            } else {
                self.stop(&mut state, runner);
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

    fn process(&mut self, runner: &str) -> &mut Process {
        self.processes.get_mut(runner).unwrap()
    }
}

fn unreachable(detail: &str) -> GitError {
    GitError::Unreachable { remote: "simulated".to_owned(), detail: detail.to_owned() }
}

fn failed(detail: &str) -> GitError {
    GitError::Remote {
        doing: "finish writing".to_owned(),
        remote: "simulated".to_owned(),
        detail: detail.to_owned(),
    }
}
