//! Simulated machines: each runs the real engine in one process after the other, on its own clone and with its own clocks.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, mpsc};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::watch;

use super::clock::SimulatedClock;
use super::judge::Rule;
use super::stage::Stage;
use super::world::World;
use crate::engine::{EngineError, ReconcileInputs, ReconcileOptions, ReconcileSummary, reconcile};
use crate::git::{GitError, ObjectId, RefUpdate, Transport};
use crate::index::Index;
use crate::model::{JsonMap, NodeReason};
use crate::provider::{
    Attempt, AttemptFuture, AttemptOutcome, ConfigError, Control, Provider, ProviderSettings, Registry,
};

/// The remote, as one process reaches it.
struct Line {
    world: Arc<World>,
    runner: String,
}

impl Transport for Line {
    fn tips(&self, refs: &[&str]) -> Result<Vec<Option<ObjectId>>, GitError> {
        self.world.tips(&self.runner, refs)
    }

    fn branches(&self) -> Result<Vec<String>, GitError> {
        self.world.branches(&self.runner)
    }

    fn push(&self, updates: &[RefUpdate]) -> Result<(), GitError> {
        self.world.push(&self.runner, updates)
    }
}

/// Work that takes its time and comes to what the name of its node says.
struct SimulatedWork {
    world: Arc<World>,
    runner: String,
}

impl Provider for SimulatedWork {
    fn schemes(&self) -> &'static [&'static str] {
        &["tool"]
    }

    fn check(&self, _provider: &str, _config: &JsonMap) -> Result<(), ConfigError> {
        Ok(())
    }

    fn run(&self, attempt: Attempt, mut control: Control) -> AttemptFuture {
        let world = Arc::clone(&self.world);
        let runner = self.runner.clone();
        Box::pin(async move {
            if world.is_dead(&runner) {
                // It died between its decision to start this and the start.
                return std::future::pending().await;
            }
            world.start(&runner, &attempt);
            // Now and then longer than a lease lasts, so that it has to be renewed.
            let longest = if world.state().dice.chance(15) { 70 } else { 8 };
            let time = world.state().dice.seconds(0, longest);
            tokio::select! {
                biased;
                Some(stop) = async { control.stop.wait_for(Option::is_some).await.ok().and_then(|stop| *stop) } => {
                    AttemptOutcome::Stopped(stop).into()
                }
                () = tokio::time::sleep(time) => match attempt.node.to_string().starts_with("fails") {
                    true => AttemptOutcome::permanent(NodeReason::ProviderFailed, "it fails").into(),
                    false => AttemptOutcome::Succeeded { outputs: JsonMap::new() }.into(),
                },
            }
        })
    }
}

/// Waits until every job is done that was given to the thread for blocking work, so that none of them runs beside anything
/// else. There is only one such thread.
fn settle() {
    let (done, wait) = mpsc::channel();
    tokio::task::spawn_blocking(move || done.send(()));
    wait.recv().unwrap();
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
        let polled = engine.as_mut().poll(context);
        settle();
        polled.map(Some)
    })
    .await
}

/// One machine, until all is over.
pub(super) async fn machine(world: Arc<World>, stage: Arc<Stage>, number: u64) {
    let standard = Registry::standard(ProviderSettings::default());
    let clock: SimulatedClock = world.clock();
    let mut life = 0;
    let mut clones = 0;
    // They do not all begin at once.
    let pause = world.state().dice.seconds(0, 20);
    tokio::time::sleep(pause).await;
    while !world.state().is_over {
        let runner = format!("r{number}.{life}");
        world.begin(&runner, clock.clone());
        let stays = world.state().dice.chance(70);
        world.note(&runner, if stays { "begins, and stays" } else { "begins one pass" });
        let repo = stage.clone_of(&format!("clone-{number}-{clones}"));
        let cache = repo.cache_dir();
        let line = Arc::new(Line { world: Arc::clone(&world), runner: runner.clone() });
        let branches = stage.branches(repo, line);
        let mut registry = standard.clone();
        let work = SimulatedWork { world: Arc::clone(&world), runner: runner.clone() };
        registry.register(&(Arc::new(work) as Arc<dyn Provider>));
        let (_stopper, stop) = watch::channel(false);
        let inputs = ReconcileInputs {
            branches,
            index: Index::open_to_read(&cache).unwrap(),
            registry: Box::new(move |_| registry.clone()),
            clock: Arc::new(clock.clone()),
            stop,
            sink: Box::new(|_| {}),
        };
        let options = ReconcileOptions {
            jobs: Some(2),
            watch: stays.then_some(Duration::from_secs(10)),
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
                        EngineError::Contended { .. } | EngineError::Git(GitError::Interrupted)
                    );
                if !is_weather {
                    world.broke(Rule::RunnerGaveUp, error.to_string());
                }
            }
            None => {}
        }
        life += 1;
        // Another machine takes its place, or it comes back with what it had.
        clones += u64::from(world.state().dice.chance(40));
        let pause = world.state().dice.seconds(1, 15);
        tokio::time::sleep(pause).await;
    }
}
