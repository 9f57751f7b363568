//! What becomes of a push: it gets through, or meets one of the faults that a seed chooses.

use super::{STATUS, World, WorldState, unreachable};
use crate::engine::clock::ClockReading;
use crate::engine::simulation::judge::Rule;
use crate::engine::simulation::people::PEOPLE;
use crate::engine::simulation::weather::Planted;
use crate::git::{GitError, PushFailure, RefUpdate};

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
    ContentRefused,
    DiskFull,
}

impl World {
    /// A process pushes.
    pub(in crate::engine::simulation) fn push(
        &self,
        runner: &str,
        updates: &[RefUpdate],
    ) -> Result<(), PushFailure> {
        let state = &mut *self.state();
        self.reach(state, runner)?;
        if self.planted == Some(Planted::OneIsFavoured) && !runner.starts_with("r0.") && state.dice.chance(90)
        {
            return Err(failed("stale info").into());
        }
        if self.planted == Some(Planted::ActBeforePublish) && runner != PEOPLE && state.dice.chance(20) {
            self.log(state, runner, "counts a push as done (planted)");
            return Ok(());
        }
        if runner == PEOPLE || !(self.is_stormy() && state.dice.chance(self.weather.pushes)) {
            return Ok(self.apply(state, runner, updates)?);
        }
        let faults = [
            PushFault::Refused,
            PushFault::AcknowledgementLost,
            PushFault::AcknowledgementLostAndCut,
            PushFault::CrashBefore,
            PushFault::CrashAfter,
            PushFault::StoppedAfter,
            PushFault::ClockSet,
            PushFault::ContentRefused,
            PushFault::DiskFull,
        ];
        let fault = faults[state.dice.below(faults.len() as u64) as usize];
        self.log(state, runner, &format!("push: {fault}"));
        match fault {
            PushFault::Refused => return Err(failed("cannot lock ref").into()),
            PushFault::CrashBefore => {
                self.kill(state, runner);
                return Err(GitError::Interrupted.into());
            }
            PushFault::ClockSet => self.set_clock(state, runner),
            PushFault::DiskFull => {
                self.fill_disk(state, runner);
                return Err(failed("write error: No space left on device").into());
            }
            // One of several, by name: it is about the content of one Execution. Of the status alone it would be everybody's.
            PushFault::ContentRefused => {
                let others = updates.iter().filter(|update| update.reference != STATUS);
                let others: Vec<&RefUpdate> = others.collect();
                if !others.is_empty() {
                    let update = others[state.dice.below(others.len() as u64) as usize];
                    return Err(refused(&update.reference));
                }
            }
            _ => {}
        }
        self.apply(state, runner, updates)?;
        match fault {
            PushFault::AcknowledgementLost => Err(unreachable("the remote end hung up").into()),
            PushFault::AcknowledgementLostAndCut => {
                self.cut(state, runner);
                Err(unreachable("the remote end hung up").into())
            }
            PushFault::CrashAfter => {
                self.kill(state, runner);
                Err(GitError::Interrupted.into())
            }
            PushFault::StoppedAfter => {
                self.stop(state, runner);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn apply(&self, state: &mut WorldState, runner: &str, updates: &[RefUpdate]) -> Result<(), GitError> {
        for RefUpdate { reference, expected, .. } in updates {
            let overwrites = self.planted == Some(Planted::DecisionOverwritten) && state.decided;
            let compares = self.planted != Some(Planted::NoCompare) && !overwrites;
            if compares && state.references.get(reference) != expected.as_ref() {
                self.log(state, runner, "push: lost the race");
                return Err(failed("stale info"));
            }
        }
        let alone = self.planted == Some(Planted::StatusAlone);
        if state.rewound.is_some() && updates.iter().any(|update| update.reference == STATUS) {
            state.judge.broken.push((Rule::WentOnFromTheRewound, runner.to_owned()));
        }
        let kept = |update: &&RefUpdate| !alone || update.reference == STATUS;
        // The status last, as its records name what the others keep.
        for RefUpdate { reference, new, .. } in updates.iter().filter(kept) {
            state.references.insert(reference.clone(), *new);
            let subject = state.repo.commit(*new).unwrap().subject().to_owned();
            self.log(state, runner, &format!("pushed {} {subject}", new.short()));
            if reference == STATUS {
                let reading = ClockReading::of(&state.process(runner).clock);
                state.decided = runner == PEOPLE;
                let WorldState { judge, repo, references, .. } = &mut *state;
                let drops_prefix = self.planted == Some(Planted::PrefixDropped);
                judge.published(repo, *new, references, (self.passed(), reading), drops_prefix);
            }
        }
        Ok(())
    }
}

fn refused(reference: &str) -> PushFailure {
    let detail = "pre-receive hook declined";
    let error = GitError::Refused {
        remote: "simulated".to_owned(),
        action: format!("writing {reference}"),
        detail: detail.to_owned(),
    };
    PushFailure::of_one(error, reference, detail)
}

fn failed(detail: &str) -> GitError {
    GitError::Remote {
        doing: "finish writing".to_owned(),
        remote: "simulated".to_owned(),
        detail: detail.to_owned(),
    }
}
