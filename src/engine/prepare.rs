//! How the next step of an Execution is prepared: from the record and the manifest to a draft in which everything is
//! decided but the choice of nodes to start.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::EngineError;
use super::capabilities::checked;
use super::earlier::Earlier;
use super::exclusion::exclude;
use super::live::Live;
use super::manifest_change::{note_immutable, removed_request};
use super::metadata::{note_source, observe, pins_for};
use super::pin::{program_of, sources};
use super::step::{Planner, Prepared, Step};
use super::surroundings::Around;
use super::waiting::{leased, settled};
use super::world::World;
use crate::index::Declared;
use crate::model::{ExecutionStatus, NodePhase, PinnedGraph};
use crate::plan::{
    Draft, ExecutionView, LeaseState, after_attempt, hold, lease_state, next_lease, plan_execution,
};
use crate::run::{ExecutionChange, Program};

impl Live {
    /// Prepares the next step: everything but the choice of nodes to start.
    pub(super) fn prepare(&mut self, around: &Around<'_>, planner: Planner<'_>) -> Result<Step, EngineError> {
        let world = around.world;
        let declared = world.present(&self.key)?;
        let Some(mut step) = self.begin(world, declared.as_ref(), planner)? else {
            return Ok(Step::Idle(None));
        };
        let over = step.draft.status.phase.is_terminal() && step.draft.status.extensions.lease.is_none();
        let removed = declared.is_none() && !planner.holding_back;
        if removed && over {
            return Ok(Step::Remove);
        }
        if declared.is_none() && !removed && step.draft.status.extensions.pinned.is_none() {
            return Ok(Step::Idle(None));
        }
        if over && step.draft.changes.is_empty() {
            return Ok(if step.noted { Step::Go(Box::new(step)) } else { Step::Idle(None) });
        }
        // A program that was made for a commit which lost its race is not what is recorded as pinned.
        if self.program.is_none() || self.pinned != step.draft.status.extensions.pinned {
            self.program = self.pin(world, declared.as_ref(), &mut step, planner.now)?;
            self.pinned.clone_from(&step.draft.status.extensions.pinned);
        }
        let Some(program) = self.program.clone() else {
            return Ok(held(step));
        };
        step.program = Some(Arc::clone(&program));
        if let Some(until) = self.lease(&mut step, planner) {
            return Ok(Step::Idle(Some(leased(&self.key, &step.draft.status, until))));
        }
        step.finished = self.finished.len();
        self.take_up(world, &program, &mut step, planner)?;
        step.looked = self.looked.len();
        for looked in &self.looked {
            looked.take_up(world, &program, &step.metadata.uid, &mut step.draft)?;
        }
        let deadline = world.deadline(&program)?;
        if let Some(end) = deadline.filter(|&end| end > planner.now) {
            step.draft.wake_at(end);
        }
        let earlier = Earlier::of(world, &program, &step.draft.status)?;
        let view = ExecutionView {
            program: &program,
            uid: &step.metadata.uid,
            removed,
            overdue: deadline.filter(|&end| end <= planner.now),
            runner: planner.runner,
            called_off: &self.called_off,
            past: earlier.as_ref().map(Earlier::past),
        };
        plan_execution(view, &mut step.draft, around, planner.now);
        let holder = |mutex: &str| around.holder(&self.key, mutex);
        exclude(&self.key, declared.as_ref(), holder, &mut step.draft, planner.now);
        if planner.leaving && !step.draft.ready.is_empty() {
            // It is left to the next reconcile, which finds it due at once.
            step.draft.ready.clear();
            step.draft.wake_at(planner.now);
        }
        Ok(Step::Go(Box::new(step)))
    }

    /// The record to start from, or a new one.
    fn begin(
        &self,
        world: &World,
        declared: Option<&Declared>,
        planner: Planner<'_>,
    ) -> Result<Option<Prepared>, EngineError> {
        let (mut metadata, mut draft, fresh) = match (&self.record, declared) {
            (Some(record), _) => {
                let Some(status) = record.execution() else { return Ok(None) };
                (record.metadata.clone(), Draft::new(status.clone()), false)
            }
            (None, Some(declared)) => {
                let metadata = observe(&self.key, declared, &world.desired, None);
                (metadata, Draft::new(ExecutionStatus::default()), true)
            }
            (None, None) => return Ok(None),
        };
        let mut noted = world.is_broken(&self.key)?;
        if let (true, Some(declared)) = (fresh, declared) {
            let spec_hash = declared.spec_digest.clone();
            let run_id = metadata.uid.clone();
            draft.execution(ExecutionChange::Queue { spec_hash, run_id }, planner.now);
            draft.status.observed_generation = Some(metadata.generation);
        } else if let Some(declared) = declared {
            noted |= note_immutable(&mut draft.status, declared, planner.now);
            note_source(&mut metadata, declared);
        }
        let old = self.record.as_ref().map(|record| &record.metadata);
        let moved = old.is_some_and(|old| *old != metadata);
        noted |= moved;
        let mut pins = None;
        // What is pinned to be run serves as the last good version as well.
        if draft.status.extensions.pinned.is_none()
            && (moved || old.is_none())
            && let Some(declared) = declared
        {
            pins = pins_for(declared, old);
        }
        let (program, targets) = (None, BTreeMap::new());
        let (acquired, finished, looked) = (false, 0, 0);
        Ok(Some(Prepared { draft, metadata, pins, program, targets, acquired, finished, looked, noted }))
    }

    /// The program: from what is pinned, or by pinning what is declared now.
    fn pin(
        &self,
        world: &World,
        declared: Option<&Declared>,
        step: &mut Prepared,
        now: Timestamp,
    ) -> Result<Option<Arc<Program>>, EngineError> {
        if let Some(pinned) = step.draft.status.extensions.pinned.clone() {
            return match program_of(world, &self.key, &pinned)? {
                Ok(program) => Ok(Some(program)),
                Err(why) => {
                    step.draft = hold(&step.draft.status, "PinnedManifestLost", &why, Vec::new(), now);
                    Ok(None)
                }
            };
        }
        let Some(declared) = declared else {
            // It was never started, so there is nothing to call off.
            step.draft.status.extensions.cancel.get_or_insert_with(|| removed_request(now));
            step.draft.execution(
                ExecutionChange::Hold { reason: "ManifestRemoved".into(), message: String::new() },
                now,
            );
            crate::run::derive_phase(None, &mut step.draft.status, now);
            return Ok(None);
        };
        match sources(world, &self.key, declared)? {
            Err((reason, message, on)) => {
                let mut held = hold(&step.draft.status, reason, &message, on, now);
                let mut changes = std::mem::take(&mut step.draft.changes);
                changes.append(&mut held.changes);
                held.changes = changes;
                step.draft = held;
                Ok(None)
            }
            Ok((program, pins)) => {
                let graph = PinnedGraph {
                    commit: world.desired.id.to_string(),
                    plan: program.plan_key.clone(),
                    graph_digest: program.plan.digest(),
                    goal: program.goal.as_ref().map(|(key, _)| key.clone()),
                };
                let nodes = Arc::clone(&program.ids);
                step.draft.execution(ExecutionChange::Pin { graph, nodes }, now);
                step.pins = Some(pins);
                Ok(Some(Arc::new(program)))
            }
        }
    }

    /// Takes the lease where it is free. Says until when it is another's.
    fn lease(&self, step: &mut Prepared, planner: Planner<'_>) -> Option<Timestamp> {
        let extensions = &step.draft.status.extensions;
        match lease_state(extensions.lease.as_ref(), planner.runner, planner.terms, planner.now) {
            LeaseState::Held(until) => return Some(until),
            LeaseState::Free => {
                let lease = next_lease(extensions, planner.runner, planner.terms, planner.now);
                step.draft.execution(ExecutionChange::AcquireLease(lease), planner.now);
                // A dead runner's lease is worth a commit: it is not to stand there for ever.
                step.acquired = self.status().is_none_or(|status| status.extensions.lease.is_none());
            }
            LeaseState::Mine(token) => {
                if self.renew_at.is_some_and(|at| at <= planner.now) {
                    let at = planner.now;
                    step.draft.execution(ExecutionChange::RenewLease { token, at }, planner.now);
                }
            }
        }
        None
    }

    /// Applies the ends of attempts, but for those that were cancelled or taken over, as the record tells.
    fn take_up(
        &self,
        world: &World,
        program: &Program,
        step: &mut Prepared,
        planner: Planner<'_>,
    ) -> Result<(), EngineError> {
        for finished in &self.finished {
            let Some(ix) = program.topology.find(finished.node.as_str()) else { continue };
            let Some(node) = program.node(ix) else { continue };
            let Some(state) = step.draft.status.node_statuses.get(&finished.node) else { continue };
            let current = state.phase == NodePhase::Running
                && state.attempt == finished.attempt
                && state.extensions.runner.as_deref() == Some(planner.runner);
            if !current {
                continue;
            }
            let key = format!("{}/{}/{}", step.metadata.uid, finished.node, finished.attempt);
            let result = checked(world, program, ix, finished.result.clone())?;
            let evidence = finished.evidence.clone();
            let change = after_attempt(node, state, result, evidence, &key, finished.at);
            if step.draft.node(&finished.node, change, finished.at)
                && let (Some(started), Some(state)) =
                    (finished.started, step.draft.status.node_statuses.get_mut(&finished.node))
            {
                // A claim may have waited for its slot; the record says when the work really began.
                state.start_time = Some(started);
            }
        }
        Ok(())
    }
}

/// A step of an execution that cannot be pinned yet.
fn held(step: Prepared) -> Step {
    if step.draft.changes.is_empty() && !step.noted {
        return Step::Idle(Some(settled(&step.draft, None)));
    }
    Step::Go(Box::new(step))
}
