//! How the next step of an Execution is prepared: from the record and the manifest to a draft in which everything is
//! decided but the choice of nodes to start.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use tracing::info;

use crate::engine::EngineError;
use crate::engine::execution::active::ActiveExecution;
use crate::engine::execution::manifest_change::{ended_before, note_immutable};
use crate::engine::execution::reuse::{ReuseCandidate, awaited_history};
use crate::engine::execution::step::{ExecutionStep, PlannerTerms, PreparedStep};
use crate::engine::execution::waiting::leased;
use crate::engine::snapshot::Snapshot;
use crate::engine::snapshot::child::{OwnerRequest, owner_request};
use crate::engine::snapshot::gates::asks_anew;
use crate::engine::snapshot::lookup::SnapshotLookup;
use crate::engine::snapshot::lookup::checked;
use crate::engine::snapshot::metadata::{note_source, observe, pins_for};
use crate::engine::snapshot::mutex::exclude;
use crate::index::Declaration;
use crate::model::{ExecutionStatus, NodePhase, PersonRequest};
use crate::plan::{
    Dependency, Draft, ExecutionView, LeaseState, after_attempt, lease_state, next_lease, plan_changed,
};
use crate::run::{AttemptName, CompiledPlan, ExecutionChange};

impl ActiveExecution {
    /// Prepares the next step: everything but the choice of nodes to start.
    pub(crate) fn prepare(
        &mut self,
        lookup: &SnapshotLookup<'_>,
        planner: PlannerTerms<'_>,
        local_attempts: &BTreeSet<AttemptName>,
    ) -> Result<ExecutionStep, EngineError> {
        let snapshot = lookup.snapshot;
        let declared = snapshot.present(&self.key)?;
        let Some(step) = self.begin(snapshot, declared.as_ref(), planner)? else {
            return Ok(ExecutionStep::Idle(None));
        };
        let over = step.draft.status.phase.is_terminal() && step.draft.status.extensions.lease.is_none();
        // While a mass deletion waits for somebody's word, a missing manifest is no removal, and what runs
        // goes on.
        let removed = declared.is_none() && !planner.holding_back;
        if removed && over {
            return Ok(ExecutionStep::Remove);
        }
        // Nothing was pinned, so there is nothing to go on with until the manifest is back.
        if declared.is_none() && !removed && step.draft.status.extensions.pinned.is_none() {
            return Ok(ExecutionStep::Idle(None));
        }
        // What has ended is not driven again (Invariant 10); a note about its manifest is still written.
        if over && step.draft.changes.is_empty() {
            return Ok(if step.noted { step.into_go() } else { ExecutionStep::Idle(None) });
        }
        let mut step = match self.pinned(snapshot, declared.as_ref(), step, (planner, local_attempts))? {
            Ok(step) => step,
            Err(instead) => return Ok(instead),
        };
        let Some(compiled) = self.compiled.clone() else { return Ok(ExecutionStep::Idle(None)) };
        step.compiled = Some(Arc::clone(&compiled));
        // What is to end ends without it.
        let ends = removed || step.draft.status.extensions.cancel.is_some();
        if !ends && let Some(why) = awaited_history(snapshot, &compiled, &step.draft.status)? {
            return Ok(self.unknown(snapshot, why, planner.now));
        }
        // Before anything is decided about nodes, which only the holder of the lease may do (Invariant 4).
        if let Some(until) = self.lease(snapshot, &mut step, planner) {
            return Ok(ExecutionStep::Idle(Some(leased(&self.key, &step.draft.status, until))));
        }
        // Before planning, which takes a Running node without an attempt here for one of a lost runner.
        self.apply_ended(snapshot, &compiled, &mut step)?;
        self.apply_polled(snapshot, &compiled, &mut step)?;
        let overdue = overdue(snapshot, &compiled, &mut step, planner.now)?;
        let undecided =
            self.plan(lookup, compiled, &mut step, (removed, overdue), (planner.now, local_attempts))?;
        if let Some(why) = undecided.filter(|_| !ends) {
            return Ok(self.asked_again("ResultsUnavailable", why, planner.now));
        }
        for owner in declared.iter().filter(|declared| declared.derived).flat_map(|declared| &declared.owners)
        {
            step.draft.on.push(Dependency::Resource(owner.clone()));
        }
        let holder = |mutex: &str| lookup.holder(&self.key, mutex);
        // After planning, because only an Execution that could start something takes a mutex.
        exclude(&self.key, declared.as_ref(), holder, &mut step.draft, planner.now);
        // What reviewers are asked may change while the wait stays the same, as when a Binding is merged.
        for request in &step.draft.gates {
            step.noted |= asks_anew(snapshot, request)?;
        }
        if planner.leaving && !step.draft.ready.is_empty() {
            // It is left to the next reconcile, which finds it due at once.
            step.draft.ready.clear();
            step.draft.wake_at(planner.now);
        }
        Ok(step.into_go())
    }

    /// The record to start from, or a new one.
    fn begin(
        &self,
        snapshot: &Snapshot,
        declared: Option<&Declaration>,
        planner: PlannerTerms<'_>,
    ) -> Result<Option<PreparedStep>, EngineError> {
        let mut ended = None;
        let (mut metadata, mut draft, fresh) = match (&self.record, declared) {
            (Some(record), _) => {
                let Some(status) = record.execution() else { return Ok(None) };
                let mut status = status.clone();
                self.count_withdrawn(&mut status);
                (record.metadata.clone(), Draft::new(status), false)
            }
            (None, Some(declared)) => {
                let metadata = observe(&self.key, declared, &snapshot.desired, None);
                ended = ended_before(snapshot, &self.key, declared, &metadata, planner.now)?;
                let status = ended.as_ref().map(|ended| ended.status.clone());
                (metadata, Draft::new(status.unwrap_or_default()), ended.is_none())
            }
            (None, None) => return Ok(None),
        };
        // A file that somebody broke is written again even where nothing changes.
        let mut noted = snapshot.is_broken(&self.key)? || ended.is_some();
        if let (true, Some(declared)) = (fresh, declared) {
            let spec_hash = declared.spec_digest.clone();
            let run_id = metadata.uid.clone();
            draft.execution(ExecutionChange::Queue { spec_hash, run_id }, planner.now);
            draft.status.observed_generation = Some(metadata.generation);
        } else if let Some(declared) = declared.filter(|declared| !declared.derived) {
            noted |= note_immutable(&mut draft.status, declared, planner.now);
            // Where it stands and no more: the generation of an Execution never grows, because its spec never
            // changes (Invariant 9).
            note_source(&mut metadata, declared);
        }
        if let Some(change) = self.asked_by_owner(snapshot, &draft.status, planner.now)? {
            draft.execution(change, planner.now);
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
        pins = ended.map(|ended| ended.pins).or(pins);
        Ok(Some(PreparedStep {
            draft,
            metadata,
            pins,
            compiled: None,
            targets: BTreeMap::new(),
            acquired: false,
            held: false,
            finished: 0,
            polled: 0,
            noted,
        }))
    }

    /// What becomes of a derived Execution because of its owner: a run of a Schedule that a later one takes the place of, or one
    /// whose node does not wait for it any more, or is suspended.
    fn asked_by_owner(
        &self,
        snapshot: &Snapshot,
        status: &ExecutionStatus,
        now: Timestamp,
    ) -> Result<Option<ExecutionChange>, EngineError> {
        let over = status.phase.is_terminal() || status.extensions.cancel.is_some();
        let Some(record) = self.record.as_deref().filter(|_| !over) else { return Ok(None) };
        let later = snapshot.replaced_by(record)?;
        let why = match later.map(|later| format!("replaced by {}", later.name)) {
            Some(why) => why,
            None => match owner_request(snapshot, record, status)? {
                None => return Ok(None),
                Some(OwnerRequest::Suspend(request)) => return Ok(Some(ExecutionChange::Suspend(request))),
                Some(OwnerRequest::Resume(request)) => return Ok(Some(ExecutionChange::Resume(request))),
                Some(OwnerRequest::End(why)) => why,
            },
        };
        info!(execution = %self.key, why, "cancel a derived execution");
        let request = PersonRequest { by: "planspec".to_owned(), at: now, comment: Some(why) };
        Ok(Some(ExecutionChange::RequestCancel(request)))
    }

    /// Takes the lease where it is free. Says until when it is another's.
    pub(super) fn lease(
        &self,
        snapshot: &Snapshot,
        step: &mut PreparedStep,
        planner: PlannerTerms<'_>,
    ) -> Option<Timestamp> {
        let extensions = &step.draft.status.extensions;
        let lease = extensions.lease.as_ref();
        let first_seen = snapshot.sightings.first_seen(&step.metadata.uid, lease, planner.now);
        match lease_state(lease, planner.runner, planner.terms, first_seen, planner.now) {
            // Not an error: this runner goes on with what is free, and comes back when the lease could be
            // over.
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
    pub(super) fn apply_ended(
        &self,
        snapshot: &Snapshot,
        compiled: &CompiledPlan,
        step: &mut PreparedStep,
    ) -> Result<(), EngineError> {
        step.finished = self.finished.len();
        for finished in &self.finished {
            let id = &finished.attempt.node;
            let Some(ix) = compiled.topology.find(id.as_str()) else { continue };
            let Some(node) = compiled.node(ix) else { continue };
            let Some(state) = step.draft.status.node_statuses.get(id) else { continue };
            // The record decides: an attempt that was cancelled or taken over meanwhile, or that belongs to an Execution
            // of the same name that was deleted, has no say any more.
            let current = AttemptName::of(&step.metadata.uid, id, state);
            if state.phase != NodePhase::Running || current != finished.attempt {
                continue;
            }
            let key = state.attempt_name(&step.metadata.uid, id);
            // Outputs that break the word of a Capability fail the attempt, before it is asked whether there
            // are retries left.
            let report = checked(snapshot, compiled, ix, finished.report.clone())?;
            let change = after_attempt(node, state, report, &key, finished.at);
            if step.draft.node(id, change, finished.at)
                && let (Some(started), Some(state)) =
                    (finished.started, step.draft.status.node_statuses.get_mut(id))
            {
                // A claim may have waited for its slot; the record says when the work really began.
                state.start_time = Some(started);
            }
        }
        Ok(())
    }
}

impl ActiveExecution {
    /// Plans with the graph as it is known, and again with the instances of each list that became known by that. Says why that
    /// decides nothing, where what is taken over cannot be known now.
    fn plan(
        &mut self,
        lookup: &SnapshotLookup<'_>,
        mut compiled: Arc<CompiledPlan>,
        step: &mut PreparedStep,
        (removed, overdue): (bool, Option<Timestamp>),
        (now, local_attempts): (Timestamp, &BTreeSet<AttemptName>),
    ) -> Result<Option<String>, EngineError> {
        let decided = step.draft.status.extensions.reuse.is_some();
        let mut expanded = false;
        loop {
            let earlier = ReuseCandidate::of(lookup.snapshot, &compiled, &step.draft.status, expanded)?;
            let mut settled = self.take_settled(&compiled);
            let view = ExecutionView {
                compiled: &compiled,
                uid: &step.metadata.uid,
                removed,
                overdue,
                local_attempts,
                remote_cancelled: &self.remote_cancelled,
                reuse: earlier.as_ref().map(ReuseCandidate::past),
            };
            plan_changed(view, &mut step.draft, lookup, &mut settled, now);
            self.keep_settled(&compiled, settled);
            // Instances whose list became known later run again instead: other nodes are at work, whose ends must not wait for it.
            if let Some(why) = lookup.take_undecided().filter(|_| !decided) {
                info!(execution = %self.key, why, "wait for the results of an earlier execution");
                self.forget_settled();
                return Ok(Some(why));
            }
            if !step.draft.expanded {
                return Ok(None);
            }
            // In the same pass: the list and the first instances that start are one commit, and no runner finds one
            // without the other. Each round makes a list known, and those are as many as the plan has.
            let Ok(with_instances) = compiled.of_status(&step.draft.status) else { return Ok(None) };
            compiled = with_instances;
            expanded = true;
            step.draft.replan();
            step.compiled = Some(Arc::clone(&compiled));
            self.compiled = Some(Arc::clone(&compiled));
        }
    }

    /// Applies the results of polls.
    fn apply_polled(
        &self,
        snapshot: &Snapshot,
        compiled: &CompiledPlan,
        step: &mut PreparedStep,
    ) -> Result<(), EngineError> {
        step.polled = self.poll_results.len();
        for result in &self.poll_results {
            result.apply(snapshot, compiled, &step.metadata.uid, &mut step.draft)?;
        }
        Ok(())
    }
}

/// The deadline that is over; planning comes back at one that is not.
fn overdue(
    snapshot: &Snapshot,
    compiled: &CompiledPlan,
    step: &mut PreparedStep,
    now: Timestamp,
) -> Result<Option<Timestamp>, EngineError> {
    let deadline = snapshot.deadline(compiled)?;
    if let Some(end) = deadline.filter(|&end| end > now) {
        step.draft.wake_at(end);
    }
    Ok(deadline.filter(|&end| end <= now))
}
