//! Assembling a commit: everything that can be decided now, for all that has to be planned.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use tracing::{debug, debug_span, trace};

use super::choose::{show_work, start_children};
use super::driver::Driver;
use super::waits::places::ExecutionRank;
use crate::engine::EngineError;
use crate::engine::attempt::factory::Claim;
use crate::engine::clock::ClockReading;
use crate::engine::commit::builder::CommitBuilder;
use crate::engine::commit::dashboard;
use crate::engine::commit::resources::{ResourceStep, gate_waiting, plan_resource, priority_of};
use crate::engine::commit::schedules::{ScheduledRuns, first_record};
use crate::engine::execution::active::terms;
use crate::engine::execution::step::{ExecutionStep, PreparedStep};
use crate::engine::execution::waiting::wait_set;
use crate::engine::snapshot::Snapshot;
use crate::engine::snapshot::child::owners;
use crate::engine::snapshot::lifted::{DeliveredWork, lifted_paths};
use crate::engine::snapshot::lookup::SnapshotLookup;
use crate::engine::snapshot::lookup::capabilities_of;
use crate::model::{DerivedExecution, Kind, NodeTrait, Origin, ResourceKey, StatusRecord, after};
use crate::plan::{finish, is_delivery};
use crate::run::{Change, ExecutionChange};

/// How many records go into one commit at most, so that memory and the size of a push stay bounded in a first pass over
/// a large repository.
const BATCH: usize = 5_000;

/// A commit in the making with what follows from it.
#[derive(Debug)]
pub(super) struct PendingCommit {
    pub(super) assembly: CommitBuilder,
    pub(super) steps: Vec<(ResourceKey, Box<PreparedStep>)>,
    pub(super) claims: Vec<Claim>,
    /// The Goals that were planned with every Execution of this commit in hand.
    pub(super) goals: BTreeSet<ResourceKey>,
    /// What the clocks said when it was planned.
    pub(super) reading: ClockReading,
}

impl Driver<'_> {
    /// The next commit, if there is anything to say.
    pub(super) fn assemble(&mut self) -> Result<Option<PendingCommit>, EngineError> {
        // One reading for the whole commit: leases, times of transitions and the fence have to agree.
        let reading = ClockReading::of(self.clock.as_ref());
        let now = reading.wall;
        let _span = debug_span!("plan").entered();
        // What went ahead is published before anything that was planned after it.
        let mut assembly = self.lane.next_part();
        // Before Executions: one that comes to a Gate puts its wait on top of what the Gate's own planning
        // says.
        self.plan_simple(&mut assembly, now)?;
        self.admit()?;
        // All of them before any start is chosen, because slots go to the most urgent nodes of all
        // Executions.
        let mut steps = self.prepare_steps(&assembly, now)?;
        self.choose(&mut steps, now)?;
        let speaks = !assembly.is_empty() || steps.iter().any(|(_, step)| tells_more_than_leases(step));
        self.lease_ahead(&mut steps, speaks);
        let steps = self.conclude(steps, &mut assembly, now)?;
        // Last, with the Executions of this commit in hand: on the branch, a Goal and its Executions never
        // disagree.
        let goals = self.plan_goals(&mut assembly, now)?;
        // Asked before the dashboard, which never is a reason for a commit (Invariant 5).
        if assembly.is_empty() {
            return Ok(None);
        }
        if self.wants_dashboard(&steps) {
            assembly.dashboard = Some(dashboard::input(&self.snapshot, &assembly.puts, self.queue.active())?);
            self.lane.dashboard_drawn();
        }
        let claims = claims_of(&self.snapshot, &steps, &assembly.puts)?;
        debug!(
            records = assembly.len(),
            executions = steps.len(),
            claims = claims.len(),
            "assembled a commit"
        );
        Ok(Some(PendingCommit { assembly, steps, claims, goals, reading }))
    }

    fn plan_simple(&mut self, assembly: &mut CommitBuilder, now: Timestamp) -> Result<(), EngineError> {
        while assembly.len() < BATCH
            && let Some(key) = self.queue.pop_simple()
        {
            self.plan_one(key, assembly, now)?;
        }
        Ok(())
    }

    /// Plans the Goals whose turn it is; says which.
    fn plan_goals(
        &mut self,
        assembly: &mut CommitBuilder,
        now: Timestamp,
    ) -> Result<BTreeSet<ResourceKey>, EngineError> {
        let mut planned = BTreeSet::new();
        loop {
            // Again where some of them say nothing: a commit is full when so many say something.
            let goals = self.queue.take_goals(BATCH.saturating_sub(assembly.len()));
            if goals.is_empty() {
                return Ok(planned);
            }
            for key in goals {
                self.plan_one(key.clone(), assembly, now)?;
                planned.insert(key);
            }
        }
    }

    fn plan_one(
        &mut self,
        key: ResourceKey,
        assembly: &mut CommitBuilder,
        now: Timestamp,
    ) -> Result<(), EngineError> {
        let old = self.snapshot.record(&key)?;
        let planned = plan_resource(
            &self.snapshot,
            self.attempts.registry(),
            &assembly.puts,
            &key,
            old.as_deref(),
            now,
        )?;
        trace!(resource = %key, "plan resource");
        match planned {
            // Noted although nothing changed: that takes the resource off the work list of the index.
            ResourceStep::Same(waits) => self.queue.leave(key, waits),
            ResourceStep::Put(record, pins, waits) => {
                assembly.put_pinned(old.as_deref(), *record, pins, None, now);
                self.queue.leave(key, waits);
            }
            ResourceStep::Schedule(record, pins, runs) => {
                let ScheduledRuns { started, forgotten, waits } = *runs;
                if let Some(record) = record {
                    assembly.put_pinned(old.as_deref(), *record, pins, None, now);
                }
                // In the commit of the Schedule that says so: whoever reads it finds both or neither (Invariant 3).
                if let Some(started) = started {
                    assembly.put(None, started, None, now);
                }
                for record in forgotten.iter().filter(|record| self.queue.get(&record.key()).is_none()) {
                    assembly.remove(record, now);
                }
                self.queue.leave(key, Some(waits));
            }
            ResourceStep::Remove => {
                if let Some(old) = old {
                    assembly.remove(&old, now);
                }
                self.queue.leave(key, None);
            }
        }
        Ok(())
    }

    /// Takes Executions that wait into the window.
    pub(super) fn admit(&mut self) -> Result<(), EngineError> {
        let snapshot = &self.snapshot;
        self.queue.admit(|key| snapshot.record(key), |key| rank(snapshot, key))
    }

    /// Prepares every execution that something happened to, or that could use a free slot.
    fn prepare_steps(
        &mut self,
        assembly: &CommitBuilder,
        now: Timestamp,
    ) -> Result<Vec<(ResourceKey, ExecutionStep)>, EngineError> {
        let runner = self.options.runner.clone();
        let planner = self.planner(&runner, now);
        // Without a slot, too, where this publication leases what starts before the next one.
        let slots = self.slots() > 0 || !self.lane.lease_horizon().is_zero();
        let workspaces = self.attempts.factory().workspaces();
        let lookup = SnapshotLookup::new(&self.snapshot, self.attempts.registry(), workspaces);
        let mut steps = Vec::new();
        let ahead = assembly.puts.keys().filter(|key| key.kind == Kind::Execution).count();
        let mut room = self.lane.most_executions().saturating_sub(ahead);
        for (key, active) in self.queue.active_in_turn() {
            let included = assembly.puts.contains_key(key);
            // While the remote refuses somebody's content, the others wait for their turn to be tried. A step on top of
            // what went ahead goes with that: alone it would publish the record of both.
            if !included && (room == 0 || self.lane.unpublished_base(key).is_some()) {
                continue;
            }
            if active.dirty || (active.hungry && slots) {
                // Before planning, so that whatever happens from here on marks it again. A lost race or a
                // refusal queues it anew.
                active.dirty = false;
                room = room.saturating_sub(usize::from(!included));
                trace!(execution = %key, "plan execution");
                steps.push((key.clone(), active.prepare(&lookup, planner, &self.attempts.of(key))?));
            }
        }
        // Planning is pure and cannot fail. What could not be read meanwhile ends the pass here, before
        // anything is published.
        lookup.check()?;
        Ok(steps)
    }

    /// How many nodes may be claimed now.
    pub(super) fn slots(&self) -> usize {
        if self.shutdown.takes_no_work() { 0 } else { self.attempts.room(self.lane.cycle()) }
    }

    /// Completes the steps, drops those that say nothing, and puts the rest into the commit.
    fn conclude(
        &mut self,
        steps: Vec<(ResourceKey, ExecutionStep)>,
        assembly: &mut CommitBuilder,
        now: Timestamp,
    ) -> Result<Vec<(ResourceKey, Box<PreparedStep>)>, EngineError> {
        let mut kept = Vec::new();
        for (key, step) in steps {
            match step {
                ExecutionStep::Idle(waits) => self.queue.park(&key, waits),
                ExecutionStep::Remove => {
                    if let Some(record) = self.queue.get(&key).and_then(|active| active.record.clone()) {
                        assembly.remove(&record, now);
                    }
                    self.queue.park(&key, None);
                }
                ExecutionStep::Go(mut step) => {
                    show_work(&self.snapshot, self.attempts.factory(), &mut step, now)?;
                    start_children(&self.snapshot, self.attempts.factory(), &mut step, now)?;
                    if self.complete(&key, &mut step, now)? {
                        self.put_step(&key, &step, assembly, now)?;
                        kept.push((key, step));
                    }
                }
            }
        }
        Ok(kept)
    }

    /// Completes a step after nodes were chosen. Says whether it has to be written; an Execution for which nothing can
    /// be done is parked.
    fn complete(
        &mut self,
        key: &ResourceKey,
        step: &mut PreparedStep,
        now: Timestamp,
    ) -> Result<bool, EngineError> {
        let leaving = self.shutdown.is_leaving();
        if let Some(compiled) = &step.compiled {
            // The lease goes back as soon as nothing of the Execution runs here, although nodes may be ready: a runner with
            // free slots takes it over then, and of sixteen runners not one does everything.
            step.noted |= finish(&mut step.draft, compiled, !step.held, now);
        }
        // Before the wake time is read below, which the next polls belong to.
        self.start_polls(key, step, now)?;
        let hungry = !step.draft.ready.is_empty();
        let nothing = says_nothing(step);
        if nothing {
            self.show_proposals(key, step, now)?;
        }
        if let Some(active) = self.queue.get_mut(key) {
            active.hungry = hungry;
            active.wake_at = step.draft.wake.filter(|&at| at > now);
            if nothing {
                // No delivery will do it for a step that is not written.
                active.taken_up(step);
            }
        }
        if !nothing {
            return Ok(true);
        }
        // What runs here still has to report its end to the Execution, and the ends of what went ahead are kept with it
        // until they are published.
        let ahead = self.lane.unpublished_base(key).is_some();
        let busy = ahead || self.attempts.works_on(key) || self.polls.works_on(key);
        // A hungry one keeps its place for the next free slot, unless there will be none.
        if !busy && (!hungry || leaving) {
            self.queue.park(key, Some(wait_set(&step.draft, Some(key))));
        }
        Ok(false)
    }

    fn put_step(
        &mut self,
        key: &ResourceKey,
        step: &PreparedStep,
        assembly: &mut CommitBuilder,
        now: Timestamp,
    ) -> Result<(), EngineError> {
        // In the commit of the node that waits: reviewers never see one without the other.
        for request in &step.draft.gates {
            // Planned again for every step: what a gate shows follows what comes before it.
            if let Some((old, new)) = gate_waiting(&self.snapshot, &assembly.puts, request, now)? {
                assembly.put(old.as_deref(), new, None, now);
            }
        }
        // In the commit of the node that they work for: whoever reads it finds both or neither.
        for child in &step.draft.children {
            let derived = DerivedExecution {
                owner: DerivedExecution::owner_reference(Kind::Execution, &key.name, &step.metadata.uid),
                origin: Origin::Node(child.node.clone(), child.attempt),
                spec: child.spec.clone(),
            };
            assembly.put(None, first_record(&child.child, derived, child.base.clone(), now), None, now);
        }
        let old = self.queue.get(key).and_then(|active| active.status().map(|status| status.phase));
        assembly.put_execution(old, step, Arc::new(step.record()), now);
        // The phase of a goal follows from its Executions, and goes into the same commit as theirs.
        let goal = self.snapshot.declared(key)?.and_then(|declared| declared.goal);
        self.queue.add(goal);
        Ok(())
    }

    /// The dashboard is drawn when nothing is under way any more, and now and then before.
    fn wants_dashboard(&self, steps: &[(ResourceKey, Box<PreparedStep>)]) -> bool {
        if self.lane.is_dashboard_due() {
            return true;
        }
        // After the last commit of some work nobody may write for days, so the page has to be right by then.
        let busy = |step: &PreparedStep| {
            !step.draft.ready.is_empty() || step.draft.status.node_statuses.has(NodeTrait::UnderWay)
        };
        self.attempts.running() == 0 && !steps.iter().any(|(_, step)| busy(step))
    }

    /// When a lease has to be renewed: after a third of its duration, so that one lost race or one slow push costs nothing.
    pub(super) fn renewal(&self, at: Timestamp) -> Timestamp {
        after(at, terms(&self.snapshot).duration / 3)
    }
}

/// How urgent an Execution is: as the goal that it serves.
fn rank(snapshot: &Snapshot, execution: &ResourceKey) -> Result<ExecutionRank, EngineError> {
    let goal = snapshot.declared(execution)?.and_then(|declared| declared.goal);
    let mut priority = priority_of(snapshot, goal.as_ref())?;
    // What works for a node is as urgent as its owner.
    for owner in owners(snapshot, execution)? {
        let goal = snapshot.declared(&owner.key())?.and_then(|declared| declared.goal);
        priority = priority.max(priority_of(snapshot, goal.as_ref())?);
    }
    Ok(ExecutionRank { priority, goal })
}

/// Whether a step changes nothing but who has the lease.
fn is_lease_alone(step: &PreparedStep) -> bool {
    step.draft.changes.iter().all(|change| {
        matches!(
            change,
            Change::Execution(ExecutionChange::AcquireLease(_) | ExecutionChange::ReleaseLease { .. })
        )
    })
}

/// Whether a step is a reason for a commit although it may be leased to be done later.
fn tells_more_than_leases(step: &ExecutionStep) -> bool {
    match step {
        ExecutionStep::Go(step) => step.noted || step.pins.is_some() || !is_lease_alone(step),
        ExecutionStep::Remove => true,
        ExecutionStep::Idle(_) => false,
    }
}

/// Whether a step would change nothing but take and return the lease.
fn says_nothing(step: &PreparedStep) -> bool {
    let only_lease = is_lease_alone(step);
    !step.noted && (step.draft.changes.is_empty() || (only_lease && step.acquired && !step.held))
}

/// The claims of the steps, for starting them once the commit is published.
pub(super) fn claims_of(
    snapshot: &Snapshot,
    steps: &[(ResourceKey, Box<PreparedStep>)],
    records: &BTreeMap<ResourceKey, Option<Arc<StatusRecord>>>,
) -> Result<Vec<Claim>, EngineError> {
    let mut claims = Vec::new();
    for (key, step) in steps {
        // The record of this very commit: it holds the token and the number that name the attempt.
        let (Some(compiled), Some(Some(record))) = (&step.compiled, records.get(key)) else { continue };
        for (&node, target) in &step.targets {
            let Some(id) = compiled.ids.get(node) else { continue };
            let attempt = step.draft.status.node_statuses.get(id).map_or(0, |state| state.attempt);
            let capabilities = capabilities_of(snapshot, compiled, node)?;
            let lifted = match (is_delivery(&target.provider), record.execution()) {
                (true, Some(status)) => {
                    let work = DeliveredWork { compiled, uid: &record.metadata.uid, status };
                    lifted_paths(snapshot, work, node)?
                }
                _ => Vec::new(),
            };
            claims.push(Claim {
                key: key.clone(),
                node,
                attempt,
                target: target.clone(),
                compiled: Arc::clone(compiled),
                record: Arc::clone(record),
                capabilities,
                lifted,
            });
        }
    }
    Ok(claims)
}
