//! Assembling a commit: everything that can be decided now, for all that has to be planned.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::active::ActiveExecution;
use super::attempt_factory::Claim;
use super::capabilities::capabilities_of;
use super::commit_builder::CommitBuilder;
use super::driver::Driver;
use super::kinds::{ResourceStep, gate_waiting, plan_resource, priority_of};
use super::remote_polls::record_of;
use super::snapshot::Snapshot;
use super::snapshot_lookup::SnapshotLookup;
use super::step::{ExecutionStep, PreparedStep};
use super::waiting::wait_set;
use super::{EngineError, dashboard};
use crate::config::PublishMode;
use crate::model::{NodeStatus, ResourceKey, after};
use crate::plan::finish;
use crate::run::{Change, ExecutionChange};

/// How many records go into one commit at most.
const BATCH: usize = 5_000;
/// How many executions are driven at a time; the others wait their turn.
const WINDOW: usize = 1_000;
/// How often the dashboard is drawn while work is under way.
const DASHBOARD_EVERY: Duration = Duration::from_secs(10);

/// A commit in the making with what follows from it.
#[derive(Debug)]
pub(super) struct PendingCommit {
    pub(super) assembly: CommitBuilder,
    pub(super) steps: Vec<(ResourceKey, Box<PreparedStep>)>,
    pub(super) claims: Vec<Claim>,
    pub(super) at: Timestamp,
}

impl Driver<'_> {
    /// The next commit, if there is anything to say.
    pub(super) fn assemble(&mut self) -> Result<Option<PendingCommit>, EngineError> {
        let now = self.clock.now();
        let mut assembly = CommitBuilder::default();
        self.plan_simple(&mut assembly, now)?;
        self.admit()?;
        let mut steps = self.prepare_steps(now)?;
        self.choose(&mut steps, now)?;
        let steps = self.conclude(steps, &mut assembly, now)?;
        self.plan_goals(&mut assembly, now)?;
        if assembly.is_empty() {
            return Ok(None);
        }
        if self.wants_dashboard(&steps) {
            assembly.dashboard = Some(dashboard::input(&self.snapshot, &assembly.puts, &self.active)?);
            self.dashboard_at = Some(std::time::Instant::now());
        }
        let claims = claims_of(&self.snapshot, &steps, &assembly.puts)?;
        Ok(Some(PendingCommit { assembly, steps, claims, at: now }))
    }

    fn plan_simple(&mut self, assembly: &mut CommitBuilder, now: Timestamp) -> Result<(), EngineError> {
        while assembly.len() < BATCH
            && let Some(key) = self.pending.simple.pop_first()
        {
            self.plan_one(key, assembly, now)?;
        }
        Ok(())
    }

    fn plan_goals(&mut self, assembly: &mut CommitBuilder, now: Timestamp) -> Result<(), EngineError> {
        // Goals follow their executions; while those are waiting for their turn, the goals wait as well.
        if !self.pending.simple.is_empty() {
            return Ok(());
        }
        while assembly.len() < BATCH
            && let Some(key) = self.pending.goals.pop_first()
        {
            self.plan_one(key, assembly, now)?;
        }
        Ok(())
    }

    fn plan_one(
        &mut self,
        key: ResourceKey,
        assembly: &mut CommitBuilder,
        now: Timestamp,
    ) -> Result<(), EngineError> {
        let old = self.snapshot.record(&key)?;
        let planned =
            plan_resource(&self.snapshot, &self.registry, &assembly.puts, &key, old.as_deref(), now)?;
        match planned {
            ResourceStep::Same(settled) => {
                self.unsaved.insert(key, settled);
            }
            ResourceStep::Put(record, pins, settled) => {
                assembly.put_pinned(old.as_deref(), *record, pins, None, now);
                self.unsaved.insert(key, settled);
            }
            ResourceStep::Remove => {
                if let Some(old) = old {
                    assembly.remove(&old, now);
                }
                self.unsaved.insert(key, None);
            }
        }
        Ok(())
    }

    /// Takes executions in, the most urgent first, as far as the window allows.
    fn admit(&mut self) -> Result<(), EngineError> {
        if self.pending.executions.is_empty() || self.active.len() >= WINDOW {
            return Ok(());
        }
        let mut ordered = Vec::with_capacity(self.pending.executions.len());
        for key in std::mem::take(&mut self.pending.executions) {
            ordered.push((std::cmp::Reverse(self.priority(&key)?), key));
        }
        ordered.sort();
        for (std::cmp::Reverse(priority), key) in ordered {
            if self.active.len() < WINDOW {
                let record = self.snapshot.record(&key)?;
                self.active.insert(key.clone(), ActiveExecution::new(key, record, priority));
            } else {
                self.pending.executions.insert(key);
            }
        }
        Ok(())
    }

    /// The priority of the goal that an execution serves. Asked again at every pass for all that wait for their turn.
    fn priority(&self, execution: &ResourceKey) -> Result<u16, EngineError> {
        if let Some(known) = self.snapshot.answers.priority(execution) {
            return Ok(known);
        }
        let goal = self.snapshot.index.declared(execution)?.and_then(|declared| declared.goal);
        let priority = priority_of(&self.snapshot, goal.as_ref())?;
        self.snapshot.answers.keep_priority(execution, priority);
        Ok(priority)
    }

    /// Prepares every execution that something happened to, or that could use a free slot.
    fn prepare_steps(&mut self, now: Timestamp) -> Result<Vec<(ResourceKey, ExecutionStep)>, EngineError> {
        let runner = self.options.runner.clone();
        let planner = self.planner(&runner, now);
        let slots = !self.leaving && !self.is_winding_down() && self.attempts.room(self.pace.cycle()) > 0;
        let lookup = SnapshotLookup::new(&self.snapshot, &self.registry);
        let mut steps = Vec::new();
        let mut all: Vec<(&ResourceKey, &mut ActiveExecution)> = self.active.iter_mut().collect();
        all.sort_by_key(|(_, active)| active.turn());
        for (key, active) in all {
            if active.dirty || (active.hungry && slots) {
                active.dirty = false;
                steps.push((key.clone(), active.prepare(&lookup, planner)?));
            }
        }
        lookup.check()?;
        Ok(steps)
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
                ExecutionStep::Idle(settled) => self.park(&key, settled),
                ExecutionStep::Remove => {
                    if let Some(record) = self.active.get(&key).and_then(|active| active.record.clone()) {
                        assembly.remove(&record, now);
                    }
                    self.park(&key, None);
                }
                ExecutionStep::Go(mut step) => {
                    if let Some(compiled) = &step.compiled {
                        finish(&mut step.draft, compiled, self.leaving, now);
                    }
                    self.see_elsewhere(&key, &mut step, now)?;
                    let hungry = !step.draft.ready.is_empty();
                    let nothing = says_nothing(&step);
                    if let Some(active) = self.active.get_mut(&key) {
                        active.hungry = hungry;
                        active.wake_at = step.draft.wake.filter(|&at| at > now);
                        if nothing {
                            active.taken_up(&step);
                        }
                    }
                    if nothing {
                        // What runs here still has to report its end to it.
                        let busy = self.attempts.works_on(&key) || self.polls.works_on(&key);
                        if !busy && (!hungry || self.leaving) {
                            self.park(&key, Some(wait_set(&step.draft, Some(&key))));
                        }
                        continue;
                    }
                    for demand in &step.draft.gates {
                        if let Some((old, new)) = gate_waiting(&self.snapshot, &assembly.puts, demand, now)? {
                            assembly.put(old.as_deref(), new, None, now);
                        }
                    }
                    let old =
                        self.active.get(&key).and_then(|active| active.status().map(|status| status.phase));
                    assembly.put_execution(old, &step, record_of(&step), now);
                    self.requeue_goal(&key)?;
                    kept.push((key, step));
                }
            }
        }
        Ok(kept)
    }

    fn requeue_goal(&mut self, key: &ResourceKey) -> Result<(), EngineError> {
        if let Some(goal) = self.snapshot.index.declared(key)?.and_then(|declared| declared.goal) {
            self.pending.goals.insert(goal);
        }
        Ok(())
    }

    /// An execution for which nothing can be done now.
    pub(super) fn park(&mut self, key: &ResourceKey, settled: Option<crate::index::WaitSet>) {
        self.active.remove(key);
        if let Some(wake) = settled.as_ref().and_then(|settled| settled.wake) {
            self.wakes.insert((wake, key.clone()));
        }
        self.unsaved.insert(key.clone(), settled);
    }

    /// The dashboard is drawn when everything comes to rest, and now and then before.
    fn wants_dashboard(&self, steps: &[(ResourceKey, Box<PreparedStep>)]) -> bool {
        if self.dashboard_at.is_none_or(|at| at.elapsed() >= DASHBOARD_EVERY) {
            return true;
        }
        let busy = |step: &PreparedStep| {
            !step.draft.ready.is_empty()
                || step.draft.status.node_statuses.values().any(NodeStatus::is_under_way)
        };
        !self.attempts.is_running() && !steps.iter().any(|(_, step)| busy(step))
    }

    /// When the lease of an execution has to be renewed: after a third of its duration.
    pub(super) fn renewal(&self, at: Timestamp) -> Timestamp {
        after(at, self.terms.duration / 3)
    }

    /// Whether a start may go ahead of its publication: in relaxed mode, for a repeatable node, under a lease that is
    /// published already.
    pub(super) fn may_go_ahead(&self, key: &ResourceKey, claim: &Claim) -> bool {
        self.snapshot.config.publish.mode == PublishMode::Relaxed
            && self.active.get(key).is_some_and(|active| active.token(&self.options.runner).is_some())
            && claim.compiled.node(claim.node).is_some_and(crate::model::Node::repeatable)
    }
}

/// Whether a step would change nothing but take and return the lease.
fn says_nothing(step: &PreparedStep) -> bool {
    let only_lease = step.draft.changes.iter().all(|change| {
        matches!(
            change,
            Change::Execution(ExecutionChange::AcquireLease(_) | ExecutionChange::ReleaseLease { .. })
        )
    });
    !step.noted && (step.draft.changes.is_empty() || (only_lease && step.acquired))
}

/// The claims of the steps, for starting them once the commit is published.
fn claims_of(
    snapshot: &Snapshot,
    steps: &[(ResourceKey, Box<PreparedStep>)],
    records: &BTreeMap<ResourceKey, Option<Arc<crate::model::StatusRecord>>>,
) -> Result<Vec<Claim>, EngineError> {
    let mut claims = Vec::new();
    for (key, step) in steps {
        let (Some(compiled), Some(Some(record))) = (&step.compiled, records.get(key)) else { continue };
        for (&node, target) in &step.targets {
            let Some(id) = compiled.ids.get(node) else { continue };
            let attempt = step.draft.status.node_statuses.get(id).map_or(0, |state| state.attempt);
            let capabilities = capabilities_of(snapshot, compiled, node)?;
            let (key, target) = (key.clone(), target.clone());
            let (compiled, record) = (Arc::clone(compiled), Arc::clone(record));
            claims.push(Claim { key, node, attempt, target, compiled, record, capabilities });
        }
    }
    Ok(claims)
}
