//! A deterministic simulation: two to four runners of the real engine on one remote, in one thread, with time, the remote's
//! answers, the work and everything that goes wrong chosen by a seed. Planning, records, Git's objects, the index and the loop
//! itself are those of the product.
//!
//! `PLANSPEC_SIMULATE=N` runs N seeds in place of the usual ones, on all cores, `PLANSPEC_SEED=S` that one alone, with its trace;
//! with both, N seeds from S on.

mod clock;
mod dice;
mod judge;
mod people;
mod runner;
mod seeds;
mod stage;
mod weather;
mod world;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use strum::IntoEnumIterator as _;

use crate::config::{CONFIG_FILE, Config};
use crate::git::{ObjectId, Repo};
use crate::index::{Index, IndexTarget};
use crate::record::{StatusTree, WrittenRecords};

use dice::Dice;
use judge::Rule;
use people::people;
use runner::machine;
use seeds::Seeds;
use stage::Stage;
use weather::{Planted, Weather};
use world::{MAIN, World};

/// How long it may take until all has ended once nothing goes wrong any more.
const CALM_END: Duration = Duration::from_secs(1_200);
/// How many seeds the usual run takes, and how many where files are synced to a disk.
const USUAL: u64 = 300;
const USUAL_ON_DISK: u64 = 30;
/// Beyond these, seeds that once found a fault: a runner whose disk had been full leased work ahead, and held it for good; a node
/// that was due at once waited for hours, because the clock of who said so was ahead; an attempt that went ahead and was
/// withdrawn lent its name to the next one.
const FOUND: [u64; 4] = [100_703, 102_284, 103_784, 103_116];
/// How many stages there are.
const SHAPES: u64 = 60;
/// How many seeds may be needed to find a planted fault.
const TO_FIND: u64 = 40;

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Shows a line to whoever looks on, as with `--nocapture`.
#[allow(clippy::print_stdout, reason = "only for whoever asked for it")]
fn show(line: &str) {
    println!("{line}");
}

/// What came of a simulation.
struct Outcome {
    broken: Vec<(Rule, String)>,
    phases: BTreeMap<String, String>,
    trace: Vec<String>,
    seconds: f64,
    begun: BTreeMap<String, usize>,
    commits: usize,
    starts: usize,
}

/// Lets so many machines work in such weather until all has ended.
fn simulate(seed: u64, machines: u64, weather: Weather, planted: Option<Planted>) -> Outcome {
    simulate_on(Stage::new(shape(seed)), seed, machines, weather, planted)
}

fn simulate_on(
    stage: Stage,
    seed: u64,
    machines: u64,
    weather: Weather,
    planted: Option<Planted>,
) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        // One, so that blocking jobs come one after the other (see `runner::settle`).
        .max_blocking_threads(1)
        .build()
        .unwrap();
    let stage = Arc::new(stage);
    // With the one that people add.
    let all = stage.executions + usize::from(stage.edits > 0);
    let local = tokio::task::LocalSet::new();
    let (mut outcome, tips) = local.block_on(&runtime, async {
        let world = World::new(seed, &stage, weather, planted);
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..machines {
            tasks.spawn_local(machine(Arc::clone(&world), Arc::clone(&stage), number));
        }
        tasks.spawn_local(people(Arc::clone(&world), Arc::clone(&stage), seed));
        loop {
            tokio::time::sleep(Duration::from_secs(2)).await;
            // Its panic ends a task alone, and the others would go on without it.
            if let Some(Err(error)) = tasks.try_join_next() {
                world.broke(Rule::RunnerPanicked, error.to_string());
            }
            let mut state = world.state();
            if state.judge.is_done(all) || !state.judge.broken.is_empty() {
                state.is_over = true;
                break;
            }
            if world.passed() > weather.until + CALM_END {
                let open = state.judge.open();
                state.judge.broken.push((Rule::DidNotEnd, open));
                break;
            }
        }
        let mut state = world.state();
        let broken = std::mem::take(&mut state.judge.broken);
        let trace = std::mem::take(&mut state.trace);
        let seconds = world.passed().as_secs_f64();
        let (phases, begun) = (state.judge.phases(&stage.cancelled), state.judge.begun().clone());
        let tips = (state.reference(MAIN).unwrap(), state.tip());
        let (commits, starts) = state.judge.seen();
        (Outcome { broken, phases, trace, seconds, begun, commits, starts }, tips)
    });
    // The processes end, and let their caches go.
    drop(local);
    drop(runtime);
    if outcome.broken.is_empty() {
        // One of them, as each takes a tenth of the time of all that went before.
        let clone = stage.some_clone(&mut Dice::new(seed, 6));
        if let Some(what) = clone.and_then(|clone| differing_index(&clone, tips)) {
            outcome.broken.push((Rule::IndexDiffers, what));
        }
    }
    outcome
}

/// What the index of a clone holds that one from nothing would not, or the other way round (Invariant 17).
fn differing_index(clone: &Repo, (desired, tip): (ObjectId, Option<ObjectId>)) -> Option<String> {
    let tree = clone.commit(desired).unwrap().tree;
    let config = clone.file(tree, CONFIG_FILE).unwrap();
    let status = StatusTree::at(clone, tip).unwrap();
    let written = &WrittenRecords::default();
    let content = |index: &mut Index| {
        let (commit, previous, status) = (desired, Some(tree), &status);
        let target = IndexTarget { commit, desired: tree, previous, status, config, written };
        index.advance(clone, target, &Config::default()).unwrap();
        format!("{:?} {:?}", index.counts().unwrap(), index.records().unwrap())
    };
    let kept = content(&mut Index::open(Some(&clone.cache_dir())).unwrap());
    let fresh = content(&mut Index::open(None).unwrap());
    (kept != fresh).then(|| format!("{kept} and from nothing {fresh}"))
}

/// Which of the stages a seed has. There are fewer of these than seeds, so that what an undisturbed runner makes of each is
/// found out once.
fn shape(seed: u64) -> u64 {
    seed % SHAPES
}

/// The simulation of a seed: two to four machines, and its weather.
fn stormy(seed: u64, planted: Option<Planted>) -> Outcome {
    // Most of them are small: what goes wrong between two runners needs few nodes, and more of them are run in the same time.
    let most = if stage::is_small(shape(seed)) { 1 } else { 3 };
    let machines = 2 + Dice::new(seed, 4).below(most);
    simulate(seed, machines, Weather::new(seed, stage::is_small(shape(seed))), planted)
}

/// A crowd of Executions in calm weather: whether each of four machines does its part.
fn crowded(seed: u64, planted: Option<Planted>) -> Outcome {
    shared(Stage::crowded(), seed, 4, planted)
}

/// Executions in calm weather, and whether each of so many machines does its part.
fn shared(stage: Stage, seed: u64, machines: u64, planted: Option<Planted>) -> Outcome {
    let weather = Weather { stays: true, ..Weather::CALM };
    let mut outcome = simulate_on(stage, seed, machines, weather, planted);
    let all: usize = outcome.begun.values().sum();
    // Half of an equal share: they do not begin together, and what is nearly done is left to whoever does it.
    let least = all / (2 * usize::try_from(machines).unwrap());
    for machine in (0..machines).map(|number| format!("r{number}")) {
        let begun = outcome.begun.get(&machine).copied().unwrap_or_default();
        if begun < least {
            outcome.broken.push((Rule::OneWasStarved, format!("{machine} began {begun} of {all}")));
        }
    }
    outcome
}

fn number(variable: &str) -> Option<u64> {
    #[allow(clippy::disallowed_methods, reason = "a test reads what its caller asks for")]
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn whatever_goes_wrong_every_rule_holds() {
    let count = number("PLANSPEC_SIMULATE");
    let (first, count) = match number("PLANSPEC_SEED") {
        Some(seed) => (seed, count.unwrap_or(1)),
        None => {
            let usual = if stage::memory().is_some() { USUAL } else { USUAL_ON_DISK };
            (0, count.unwrap_or(usual))
        }
    };
    let ran = Seeds::new(first..first + count).run();
    show(&format!("{} seeds from {first} on: {} commits, {} starts", ran.seeds, ran.commits, ran.starts));
    if let Some((seed, outcome)) = ran.broken {
        let trace = outcome.trace.join("\n");
        panic!(
            "{trace}\nseed {seed}: {:#?}\nagain with: PLANSPEC_SEED={seed} cargo test --lib \
             whatever_goes_wrong_every_rule_holds",
            outcome.broken
        );
    }
}

#[test]
fn what_was_found_once_stays_mended() {
    for seed in FOUND {
        let ran = Seeds::new(seed..seed + 1).run();
        assert!(ran.broken.is_none(), "PLANSPEC_SEED={seed} cargo test --lib whatever_goes_wrong shows it");
    }
}

#[test]
fn every_runner_does_its_part() {
    for seed in [1, 2, 3] {
        let outcome = crowded(seed, None);
        show(&format!("{:?} in {} s", outcome.begun, outcome.seconds));
        assert!(outcome.broken.is_empty(), "{}\n{:#?}", outcome.trace.join("\n"), outcome.broken);
    }
}

#[test]
fn a_seed_repeats_its_run() {
    for seed in [3, 4] {
        let first = stormy(seed, None);
        let second = stormy(seed, None);
        assert_eq!(first.trace, second.trace);
        assert!(first.seconds > 1.0);
    }
}

#[test]
fn every_planted_fault_is_found() {
    for planted in Planted::iter() {
        let expected: &[Rule] = match planted {
            Planted::LeaseKept => &[Rule::StartedAfterItsLease, Rule::StartedBesideANewerLease],
            Planted::ActBeforePublish => {
                &[Rule::StartedWithoutPublishedLease, Rule::StartedWithoutPublishedClaim]
            }
            Planted::KeyWithoutToken => &[Rule::StartedTwice],
            Planted::NoCompare => &[Rule::TokenWentBack, Rule::EndWasUndone],
            Planted::EarlyTakeover => &[Rule::TakenOverTooEarly, Rule::StartedBesideANewerLease],
            Planted::ShownBeforePublish => &[Rule::ShownBeforePublished],
            Planted::DecisionOverwritten => &[Rule::DecisionWasLost],
            Planted::RewindAccepted => &[Rule::WentOnFromTheRewound],
            Planted::FaultOfTheWork => &[Rule::FailedByEnvironment],
            Planted::PrefixDropped => &[Rule::NoPrefix],
            Planted::StatusAlone => &[Rule::ResultIsNotKept],
            Planted::OneIsFavoured | Planted::HungryLease => &[Rule::OneWasStarved],
        };
        let outcome = |seed| match planted {
            Planted::OneIsFavoured | Planted::HungryLease => crowded(seed, Some(planted)),
            _ => stormy(seed, Some(planted)),
        };
        let first = planted.first_seed();
        let found = (first..first + TO_FIND).find(|seed| {
            let outcome = outcome(*seed);
            if outcome.broken.iter().any(|(rule, _)| *rule == Rule::RunnerPanicked) {
                show(&format!("{}\n{planted} {seed}: a runner panicked", outcome.trace.join("\n")));
            }
            outcome.broken.iter().any(|(rule, _)| expected.contains(rule))
        });
        assert!(found.is_some(), "{planted} was not found by {TO_FIND} seeds");
        show(&format!("{planted} is found by seed {}", found.unwrap()));
    }
}

/// In the default configuration, with a burst of 30 pushes and 6 a minute for all of them together.
#[test]
fn sixteen_runners_share_a_budget_of_pushes() {
    let (machines, executions) = (16, 200);
    let outcome = shared(Stage::steady(executions), 1, machines, None);
    let trace = || outcome.trace.join("\n");
    show(&format!("{:?} in {} s with {} commits", outcome.begun, outcome.seconds, outcome.commits));
    assert!(outcome.broken.is_empty(), "{}\n{:#?}", trace(), outcome.broken);
    assert_eq!(outcome.begun.values().sum::<usize>(), executions * 5);
    // How long it takes where no slot is ever free: without a limit, but for the beginning and the end.
    let busy = (executions * 5) as f64 / (machines * 2) as f64;
    assert!(outcome.seconds <= 1.67 * busy, "{}", trace());
}
