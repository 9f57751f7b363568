//! Simulated machines: each runs the real engine in one process after the other, on its own clone and with its own clocks.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, mpsc};
use std::task::Poll;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Semaphore, watch};

use super::clock::SimulatedClock;
use super::judge::Rule;
use super::locked;
use super::stage::Stage;
use super::weather::Planted;
use super::world::World;
use crate::engine::{EngineError, EventSink, ReconcileInputs, ReconcileOptions, ReconcileSummary, reconcile};
use crate::event::Event;
use crate::git::{GitError, ObjectId, PushFailure, RefUpdate, Repo, Transport};
use crate::index::Index;
use crate::model::{JsonMap, NodePhase, NodeReason, NodeResult, UnfinishedWork};
use crate::provider::{
    Attempt, AttemptFuture, AttemptOutcome, ConfigError, Control, Provider, ProviderSettings, Registry, Stop,
};
use crate::run::{AttemptReport, UnfinishedChanges};

/// How many attempts a machine can make at once.
const SLOTS: usize = 2;

/// The remote, as one process reaches it.
pub(super) struct Line {
    pub(super) world: Arc<World>,
    pub(super) runner: String,
}

impl Transport for Line {
    fn tips(&self, refs: &[&str]) -> Result<Vec<Option<ObjectId>>, GitError> {
        self.world.tips(&self.runner, refs)
    }

    fn branches(&self) -> Result<Vec<String>, GitError> {
        self.world.branches(&self.runner)
    }

    fn push(&self, updates: &[RefUpdate]) -> Result<(), PushFailure> {
        self.world.push(&self.runner, updates)
    }
}

/// Work that takes its time and comes to what the name of its node says.
struct SimulatedWork {
    world: Arc<World>,
    runner: String,
    repo: Mutex<Repo>,
    slots: Arc<Semaphore>,
    /// How long it takes, where that is not left to the seed.
    time: Option<Duration>,
}

impl SimulatedWork {
    /// What a node leaves that changes files: a commit on top of what it began with.
    fn result(&self, attempt: &Attempt) -> NodeResult {
        let repo = locked(&self.repo);
        let base = attempt.commit.parse().unwrap();
        let tree = repo.commit(base).unwrap().tree;
        let text = format!("{}\n", attempt.idempotency_key);
        let file = repo.write_blob(text.as_bytes()).unwrap();
        let edits = [(format!("made/{}-{}", attempt.key.name, attempt.node), Some(file))];
        let tree = repo.edit_tree(Some(tree), &edits.into_iter().collect()).unwrap();
        let at = Timestamp::from_second(1_700_000_100).unwrap();
        let commit = repo.write_commit(tree, &[base], "Make", &repo.runner_identity(), at).unwrap();
        let (commit, base) = (commit.to_string(), base.to_string());
        NodeResult { commit, base, files: 1, insertions: 1, deletions: 0 }
    }

    fn end(&self, attempt: &Attempt) -> AttemptReport {
        let name = attempt.node.to_string();
        if self.world.is_disk_full(&self.runner) {
            return match self.world.planted() {
                Some(Planted::FaultOfTheWork) => {
                    AttemptOutcome::permanent(NodeReason::ProviderFailed, "no space left on device")
                }
                _ => AttemptOutcome::broken_off_here("no space left on device"),
            }
            .into();
        }
        if name.starts_with("fails") {
            return AttemptOutcome::permanent(NodeReason::ProviderFailed, "it fails").into();
        }
        if self.world.planted() == Some(Planted::ShownBeforePublish) {
            let phase = NodePhase::Succeeded;
            self.world.state().judge.shown(&attempt.key, &attempt.node, phase, attempt.attempt);
        }
        let mut report = AttemptReport::from(AttemptOutcome::Succeeded { outputs: JsonMap::new() });
        if name.starts_with("makes") {
            let result = self.result(attempt);
            if attempt.attempt == 1 {
                return put_off(result);
            }
            report.evidence.result = Some(result);
        }
        report
    }
}

/// The end of an attempt that goes on later with what it has changed so far.
fn put_off(NodeResult { commit, base, files, .. }: NodeResult) -> AttemptReport {
    let message = "it asks to be run again later".to_owned();
    let mut report = AttemptReport::from(AttemptOutcome::Postponed { message, retry_after: None });
    let left = UnfinishedWork { commit, base, files, attempt: 1 };
    report.evidence.unfinished = UnfinishedChanges::Left(Some(Arc::new(left)));
    report
}

impl Provider for SimulatedWork {
    fn schemes(&self) -> &'static [&'static str] {
        &["tool"]
    }

    fn check(&self, _provider: &str, _config: &JsonMap) -> Result<(), ConfigError> {
        Ok(())
    }

    fn run(&self, attempt: Attempt, mut control: Control) -> AttemptFuture {
        let (world, runner) = (Arc::clone(&self.world), self.runner.clone());
        let repo = Mutex::new(locked(&self.repo).reopen().unwrap());
        let (slots, time) = (Arc::clone(&self.slots), self.time);
        let work =
            Self { world: Arc::clone(&world), runner: runner.clone(), repo, slots: Arc::clone(&slots), time };
        Box::pin(async move {
            // An engine that goes by its slots finds one free.
            let _slot = tokio::select! {
                biased;
                Some(stop) = stopped(&mut control) => return AttemptOutcome::Stopped(stop).into(),
                slot = slots.acquire_owned() => slot,
            };
            if world.is_dead(&runner) {
                // It died between its decision to start this and the start.
                return std::future::pending().await;
            }
            world.start(&runner, &attempt);
            let time = work.time.unwrap_or_else(|| {
                // Now and then longer than a lease lasts, so that it has to be renewed.
                let dice = &mut world.state().dice;
                let longest = if dice.chance(15) { 70 } else { 8 };
                dice.seconds(0, longest)
            });
            tokio::select! {
                biased;
                Some(stop) = stopped(&mut control) => AttemptOutcome::Stopped(stop).into(),
                () = tokio::time::sleep(time) => work.end(&attempt),
            }
        })
    }
}

/// Why an attempt is to stop, once it is.
async fn stopped(control: &mut Control) -> Option<Stop> {
    control.stop.wait_for(Option::is_some).await.ok().and_then(|stop| *stop)
}

/// Waits until every job is done that was given to the thread for blocking work, so that none of them runs beside anything
/// else. There is only one such thread.
fn settle() {
    let (done, wait) = mpsc::channel();
    tokio::task::spawn_blocking(move || done.send(()));
    wait.recv().unwrap();
}

/// Keeps the thread for blocking work from beginning with anything until the answer is dropped: a job that is done while the
/// engine still turns would be taken up in the same turn on one machine, and in the next on another that is slower.
fn hold() -> mpsc::Sender<()> {
    let (held, wait) = mpsc::channel();
    tokio::task::spawn_blocking(move || wait.recv().is_err());
    held
}

/// Runs the engine of one process until it ends, or until the process dies.
async fn live(
    world: &World,
    runner: &str,
    engine: impl Future<Output = Result<ReconcileSummary, EngineError>>,
) -> Option<Result<ReconcileSummary, EngineError>> {
    let mut engine = Box::pin(engine);
    let mut pause: Option<Pin<Box<tokio::time::Sleep>>> = None;
    poll_fn(|context| {
        loop {
            let still = world.stands_still(runner, context.waker());
            if world.is_dead(runner) || world.state().is_over {
                return Poll::Ready(None);
            }
            if still.is_zero() {
                break;
            }
            // What wakes it meanwhile, such as a timer of its own, is seen when it goes on.
            let mut sleep = Box::pin(tokio::time::sleep(still));
            let polled = sleep.as_mut().poll(context);
            pause = Some(sleep);
            if polled.is_pending() {
                return Poll::Pending;
            }
        }
        pause = None;
        let held = hold();
        let polled = engine.as_mut().poll(context);
        drop(held);
        settle();
        polled.map(Some)
    })
    .await
}

/// Takes in what people are shown.
fn shown_to_people(world: &Arc<World>) -> EventSink<'static> {
    let world = Arc::clone(world);
    Box::new(move |event| {
        // What it went through between two commits is told too, and may be: it is how it ended that people rely on.
        if let Event::Node { key, node, to, attempt, .. } = event
            && to.is_terminal()
        {
            world.state().judge.shown(&key, &node, to, attempt);
        }
    })
}

/// One machine, until all is over.
pub(super) async fn machine(world: Arc<World>, stage: Arc<Stage>, number: u64) {
    let standard = Registry::standard(ProviderSettings::default());
    let clock: SimulatedClock = world.clock();
    let mut life = 0;
    let mut clones = 0;
    // They do not all begin at once.
    let pause = world.state().dice.seconds(0, stage.pace.begin);
    tokio::time::sleep(pause).await;
    while !world.state().is_over {
        let runner = format!("r{number}.{life}");
        let clone = format!("clone-{number}-{clones}");
        // While the status branch is set back nobody begins in a new clone, which could not know of it.
        while world.state().is_rewound() && !stage.has_clone(&clone) {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        world.begin(&runner, Some(&clone), clock.clone());
        let stays = world.weather.stays || world.state().dice.chance(70);
        world.note(&runner, if stays { "begins, and stays" } else { "begins one pass" });
        let repo = stage.clone_of(&clone);
        let other = Mutex::new(repo.reopen().unwrap());
        let cache = repo.cache_dir();
        let line = Arc::new(Line { world: Arc::clone(&world), runner: runner.clone() });
        let branches = stage.branches(repo, line).accepting_history(world.accepts_history());
        let mut registry = standard.clone();
        let slots = Arc::new(Semaphore::new(SLOTS));
        let work = SimulatedWork {
            world: Arc::clone(&world),
            runner: runner.clone(),
            repo: other,
            slots,
            time: stage.pace.task,
        };
        registry.register(&(Arc::new(work) as Arc<dyn Provider>));
        let (_stopper, stop) = watch::channel(false);
        let inputs = ReconcileInputs {
            branches,
            index: Index::open_to_read(&cache).unwrap(),
            registry: Box::new(move |_| registry.clone()),
            clock: Arc::new(clock.clone()),
            stop,
            sink: shown_to_people(&world),
        };
        let options = ReconcileOptions {
            jobs: Some(if world.planted() == Some(Planted::HungryLease) { 100 } else { SLOTS }),
            watch: stays.then_some(stage.pace.watch),
            runner: runner.clone(),
            ..ReconcileOptions::default()
        };
        match live(&world, &runner, reconcile(inputs, options)).await {
            Some(Ok(summary)) => world.note(&runner, &format!("ends, started {}", summary.started)),
            Some(Err(error)) => {
                world.note(&runner, &format!("ends: {error}"));
                // The remote's failures are the weather, and whoever starts runners starts them again.
                let is_weather = error.to_string().contains("simulated")
                    || matches!(
                        error,
                        EngineError::Contended { .. }
                            | EngineError::StatusWentBack { .. }
                            | EngineError::Git(GitError::Interrupted)
                    );
                if !is_weather {
                    world.broke(Rule::RunnerGaveUp, error.to_string());
                }
            }
            None => {}
        }
        life += 1;
        let pause = world.state().dice.seconds(1, 15);
        tokio::time::sleep(pause).await;
        // One that saw that the status branch was set back sees the same until somebody puts it right, which need not be tried
        // each time.
        while world.state().is_rewound() && world.state().dice.chance(80) {
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
        // Another machine takes its place, or it comes back with what it had. Not while the status branch is set back: of
        // that a new clone could not know.
        if world.state().dice.chance(40) && !world.state().is_rewound() {
            world.forget_clone(&clone);
            clones += 1;
        }
    }
}
