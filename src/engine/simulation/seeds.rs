//! Many seeds, on all cores, each compared with what one runner makes of the same plans when nothing goes wrong.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use super::judge::Rule;
use super::weather::Weather;
use super::{Outcome, SHAPES, locked, shape, simulate, stormy};

/// What every Execution and every node comes to.
type Phases = BTreeMap<String, String>;

/// Some seeds that are to be run.
pub(super) struct Seeds {
    next: AtomicU64,
    seeds: Range<u64>,
    /// What an undisturbed runner makes of each stage.
    calm: Vec<OnceLock<Phases>>,
    is_broken: AtomicBool,
}

/// What came of them.
#[derive(Default)]
pub(super) struct SeedsRun {
    pub(super) seeds: u64,
    pub(super) commits: usize,
    pub(super) starts: usize,
    /// The first one that broke a rule.
    pub(super) broken: Option<(u64, Outcome)>,
}

impl Seeds {
    pub(super) fn new(seeds: Range<u64>) -> Self {
        let calm = (0..SHAPES).map(|_| OnceLock::new()).collect();
        Self { next: AtomicU64::new(seeds.start), seeds, calm, is_broken: AtomicBool::new(false) }
    }

    /// Runs them all, or until one breaks a rule.
    pub(super) fn run(&self) -> SeedsRun {
        let ran = std::sync::Mutex::new(SeedsRun::default());
        let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        thread::scope(|scope| {
            for _ in 0..cores {
                scope.spawn(|| {
                    while let Some(seed) = self.take() {
                        let outcome = self.judged(seed);
                        let mut ran = locked(&ran);
                        ran.seeds += 1;
                        ran.commits += outcome.commits;
                        ran.starts += outcome.starts;
                        // The lowest, so that the same is told whichever thread was faster.
                        let is_lower = ran.broken.as_ref().is_none_or(|(other, _)| seed < *other);
                        if !outcome.broken.is_empty() && is_lower {
                            self.is_broken.store(true, Ordering::Relaxed);
                            ran.broken = Some((seed, outcome));
                        }
                    }
                });
            }
        });
        ran.into_inner().unwrap()
    }

    fn take(&self) -> Option<u64> {
        if self.is_broken.load(Ordering::Relaxed) {
            return None;
        }
        Some(self.next.fetch_add(1, Ordering::Relaxed)).filter(|seed| self.seeds.contains(seed))
    }

    fn judged(&self, seed: u64) -> Outcome {
        let mut outcome = stormy(seed, None);
        if outcome.broken.is_empty() {
            let calm = self.calm[shape(seed) as usize].get_or_init(|| {
                let calm = simulate(seed, 1, Weather::CALM, None);
                assert!(calm.broken.is_empty(), "seed {seed}, undisturbed: {:?}", calm.broken);
                calm.phases
            });
            if *calm != outcome.phases {
                let what = format!("{:?} and undisturbed {calm:?}", outcome.phases);
                outcome.broken.push((Rule::EndedOtherwise, what));
            }
        }
        outcome
    }
}
