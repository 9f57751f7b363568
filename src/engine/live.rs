//! An Execution that this reconcile is driving, and how its next step is prepared.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::metadata::observe;
use super::surroundings::Around;
use super::{EngineError, world::World};
use crate::event::Waiting;
use crate::git::ObjectId;
use crate::graph::NodeIx;
use crate::index::{Declared, Settled, Topic};
use crate::model::{
    BindingTarget, Condition, ConditionStatus, ExecutionStatus, Kind, NodeId, NodePhase, NodeReason,
    PinnedGraph, Resource, ResourceKey, Spec, Status, StatusMetadata, StatusRecord,
};
use crate::plan::{
    AttemptResult, Dependency, Draft, ExecutionView, LeaseState, LeaseTerms, after_attempt, hold,
    lease_state, next_lease, plan_execution,
};
use crate::record::PinKind;
use crate::run::{Evidence, ExecutionChange, Program, Sources};

/// An Execution that is being driven.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) key: ResourceKey,
    /// The record as it is published.
    pub(super) record: Option<Arc<StatusRecord>>,
    /// What it runs, once it is pinned.
    pub(super) program: Option<Arc<Program>>,
    /// The priority of its goal.
    pub(super) priority: u16,
    /// Attempts that ended and are not published yet.
    pub(super) finished: Vec<Finished>,
    /// Something happened since it was last planned.
    pub(super) dirty: bool,
    /// It has nodes that could start if there were a slot.
    pub(super) hungry: bool,
    /// It has a decision that must be published by this time, such as renewing the lease.
    pub(super) renew_at: Option<Timestamp>,
}

/// An attempt that ended.
#[derive(Debug, Clone)]
pub(super) struct Finished {
    pub(super) node: NodeId,
    pub(super) attempt: u32,
    pub(super) result: AttemptResult,
    pub(super) evidence: Evidence,
    pub(super) started: Option<Timestamp>,
    pub(super) at: Timestamp,
}

/// The next step of an Execution.
#[derive(Debug)]
pub(super) enum Step {
    /// Nothing to do; how it is left.
    Idle(Option<Settled>),
    /// The record goes: the manifest is gone and nothing is under way.
    Remove,
    /// This.
    Go(Box<Prepared>),
}

/// A step with something in it.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) draft: Draft,
    pub(super) metadata: StatusMetadata,
    pub(super) pins: Option<Vec<(PinKind, ObjectId)>>,
    pub(super) program: Option<Arc<Program>>,
    /// The providers of the nodes that this step starts.
    pub(super) targets: BTreeMap<NodeIx, BindingTarget>,
    /// Whether the lease was taken for this step alone.
    pub(super) acquired: bool,
    /// How many finished attempts it takes up.
    pub(super) finished: usize,
    /// Whether something changed that no change in the draft says, such as a condition.
    pub(super) noted: bool,
}

/// Who plans, and under which terms.
#[derive(Debug, Clone, Copy)]
pub(super) struct Planner<'a> {
    pub(super) runner: &'a str,
    pub(super) terms: LeaseTerms,
    /// No new work is taken on.
    pub(super) leaving: bool,
    pub(super) now: Timestamp,
}

impl Live {
    pub(super) fn new(key: ResourceKey, record: Option<Arc<StatusRecord>>, priority: u16) -> Self {
        let (program, finished) = (None, Vec::new());
        Self { key, record, program, priority, finished, dirty: true, hungry: false, renew_at: None }
    }

    /// The status as it is published.
    pub(super) fn status(&self) -> Option<&ExecutionStatus> {
        self.record.as_ref().and_then(|record| record.execution())
    }

    /// The number of the lease that `runner` holds.
    pub(super) fn token(&self, runner: &str) -> Option<u64> {
        let lease = self.status()?.extensions.lease.as_ref()?;
        (lease.holder == runner).then_some(lease.token)
    }

    /// Whether the node runs here, as far as the record says.
    pub(super) fn runs(&self, node: &NodeId, attempt: u32, runner: &str) -> bool {
        self.status().and_then(|status| status.node_statuses.get(node)).is_some_and(|state| {
            state.phase == NodePhase::Running
                && state.attempt == attempt
                && state.extensions.runner.as_deref() == Some(runner)
        })
    }

    /// Prepares the next step: everything but the choice of nodes to start.
    pub(super) fn prepare(&mut self, around: &Around<'_>, planner: Planner<'_>) -> Result<Step, EngineError> {
        let world = around.world;
        let declared = present(world, &self.key)?;
        let Some(mut step) = self.begin(world, declared.as_ref(), planner)? else {
            return Ok(Step::Idle(None));
        };
        let over = step.draft.status.phase.is_terminal() && step.draft.status.extensions.lease.is_none();
        if declared.is_none() && over {
            return Ok(Step::Remove);
        }
        if over && step.draft.changes.is_empty() {
            return Ok(if step.noted { Step::Go(Box::new(step)) } else { Step::Idle(None) });
        }
        if self.program.is_none() {
            self.program = self.pin(world, declared.as_ref(), &mut step, planner.now)?;
        }
        let Some(program) = self.program.clone() else {
            return Ok(held(step));
        };
        step.program = Some(Arc::clone(&program));
        if let Some(until) = self.lease(&mut step, planner) {
            return Ok(Step::Idle(Some(leased(&self.key, &step.draft.status, until))));
        }
        step.finished = self.finished.len();
        self.take_up(&program, &mut step, planner);
        let deadline = deadline(world, &program)?;
        if let Some(end) = deadline.filter(|&end| end > planner.now) {
            step.draft.wake_at(end);
        }
        let view = ExecutionView {
            program: &program,
            uid: &step.metadata.uid,
            removed: declared.is_none(),
            overdue: deadline.filter(|&end| end <= planner.now),
            runner: planner.runner,
        };
        plan_execution(view, &mut step.draft, around, planner.now);
        if planner.leaving {
            step.draft.ready.clear();
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
        let (metadata, mut draft, fresh) = match (&self.record, declared) {
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
        let mut noted = false;
        if let (true, Some(declared)) = (fresh, declared) {
            let spec_hash = declared.spec_digest.clone();
            let run_id = metadata.uid.clone();
            draft.execution(ExecutionChange::Queue { spec_hash, run_id }, planner.now);
            draft.status.observed_generation = Some(metadata.generation);
        } else if let Some(declared) = declared {
            noted = note_immutable(&mut draft.status, declared, planner.now);
        }
        let (pins, program, targets) = (None, None, BTreeMap::new());
        Ok(Some(Prepared { draft, metadata, pins, program, targets, acquired: false, finished: 0, noted }))
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
                step.acquired = true;
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

    /// Applies the ends of attempts. One that the record no longer knows as running is left out: it was cancelled, or
    /// taken over.
    fn take_up(&self, program: &Program, step: &mut Prepared, planner: Planner<'_>) {
        for finished in &self.finished {
            let Some(node) = program.topology.find(finished.node.as_str()).and_then(|ix| program.node(ix))
            else {
                continue;
            };
            let Some(state) = step.draft.status.node_statuses.get(&finished.node) else { continue };
            let current = state.phase == NodePhase::Running
                && state.attempt == finished.attempt
                && state.extensions.runner.as_deref() == Some(planner.runner);
            if !current {
                continue;
            }
            let key = format!("{}/{}/{}", step.metadata.uid, finished.node, finished.attempt);
            let (result, evidence) = (finished.result.clone(), finished.evidence.clone());
            let change = after_attempt(node, state, result, evidence, &key, finished.at);
            if step.draft.node(&finished.node, change, finished.at)
                && let (Some(started), Some(state)) =
                    (finished.started, step.draft.status.node_statuses.get_mut(&finished.node))
            {
                // A claim may have waited for its slot; the record says when the work really began.
                state.start_time = Some(started);
            }
        }
    }
}

/// The program of what is pinned on the status branch; why there is none, in words.
#[allow(clippy::type_complexity, reason = "the outer error is ours, the inner one is the user's")]
pub(super) fn program_of(
    world: &World,
    key: &ResourceKey,
    pinned: &PinnedGraph,
) -> Result<Result<Arc<Program>, String>, EngineError> {
    let blobs = world.status.pinned(&world.repo, key)?;
    let read = |blob: Option<ObjectId>, key: &ResourceKey| -> Result<Option<Resource>, EngineError> {
        blob.map_or(Ok(None), |blob| world.read(blob, "pinned", key))
    };
    let execution = read(blobs.execution, key)?;
    let plan = read(blobs.plan, &pinned.plan)?;
    let goal = match &pinned.goal {
        Some(key) => read(blobs.goal, key)?,
        None => None,
    };
    Ok(match (execution, plan) {
        (Some(execution), Some(plan)) => {
            assemble(key, execution, plan, goal).map(Arc::new).map_err(|error| error.to_string())
        }
        _ => Err("the manifests that it is pinned to are not on the status branch any more".to_owned()),
    })
}

/// How leases are handled here.
pub(super) fn terms(world: &World) -> LeaseTerms {
    let default = std::time::Duration::from_secs(if world.remote { 300 } else { 60 });
    let config = &world.config.lease;
    let duration = config.duration.as_ref().map_or(default, crate::model::Duration::span);
    LeaseTerms { duration, skew: config.skew.span() }
}

/// The declaration of a resource; none when an owner of it is gone.
pub(super) fn present(world: &World, key: &ResourceKey) -> Result<Option<Declared>, EngineError> {
    let Some(declared) = world.index.declared(key)? else { return Ok(None) };
    for owner in &declared.owners {
        if world.index.declared(owner)?.is_none() {
            return Ok(None);
        }
    }
    Ok(Some(declared))
}

fn removed_request(now: Timestamp) -> crate::model::Request {
    let comment = Some("the manifest was removed".to_owned());
    crate::model::Request { by: "planspec".to_owned(), at: now, comment }
}

/// An Execution's spec never changes: a newer manifest is reported, and what is pinned stays in force.
fn note_immutable(status: &mut ExecutionStatus, declared: &Declared, now: Timestamp) -> bool {
    let changed = status.spec_hash.as_ref() != Some(&declared.spec_digest);
    if !changed {
        let before = status.conditions.len();
        status.conditions.retain(|condition| condition.kind != "SpecChanged");
        return status.conditions.len() != before;
    }
    let condition = Condition {
        kind: "SpecChanged".to_owned(),
        status: ConditionStatus::True,
        reason: "Immutable".to_owned(),
        message: format!(
            "the manifest in `{}` was changed; the spec of an execution is immutable, so what was first observed stays \
             in force; write a new Execution instead",
            declared.source.path
        ),
        last_transition_time: now,
        observed_generation: status.observed_generation,
    };
    Condition::set(&mut status.conditions, condition)
}

type Missing = (&'static str, String, Vec<ResourceKey>);

/// The program of what is declared now, and the blobs to pin.
#[allow(clippy::type_complexity, reason = "the outer error is ours, the inner one is the user's")]
fn sources(
    world: &World,
    key: &ResourceKey,
    declared: &Declared,
) -> Result<Result<(Program, Vec<(PinKind, ObjectId)>), Missing>, EngineError> {
    let Some(execution) = world.read(declared.blob, &declared.source.path, key)? else {
        return Ok(Err(("ManifestLost", "its manifest cannot be read".to_owned(), Vec::new())));
    };
    let Spec::Execution(spec) = &execution.spec else {
        return Ok(Err(("ManifestLost", "its manifest is of another kind".to_owned(), Vec::new())));
    };
    let plan_key = spec.plan_ref.key(Kind::Plan, &key.namespace);
    let Some(plan) = world.resource(&plan_key)? else {
        return Ok(Err(("PlanNotFound", format!("there is no {plan_key}"), vec![plan_key])));
    };
    let mut pins = vec![(PinKind::Execution, declared.blob), (PinKind::Plan, plan.declared.blob)];
    let mut goal = None;
    if let Some(reference) = &spec.goal_ref {
        let goal_key = reference.key(Kind::Goal, &key.namespace);
        let Some(found) = world.resource(&goal_key)? else {
            return Ok(Err(("GoalNotFound", format!("there is no {goal_key}"), vec![goal_key])));
        };
        pins.push((PinKind::Goal, found.declared.blob));
        goal = Some(found.resource);
    }
    Ok(match assemble(key, execution, plan.resource, goal) {
        Ok(program) => Ok((program, pins)),
        Err(error) => Err(("PlanInvalid", format!("{plan_key}: {error}"), vec![plan_key])),
    })
}

fn assemble(
    key: &ResourceKey,
    execution: Resource,
    plan: Resource,
    goal: Option<Resource>,
) -> Result<Program, crate::run::ProgramError> {
    let plan_key = plan.key();
    let goal_key = goal.as_ref().map(Resource::key);
    let goal = goal.and_then(|goal| match goal.spec {
        Spec::Goal(spec) => goal_key.map(|key| (key, spec)),
        _ => None,
    });
    match (execution.spec, plan.spec) {
        (Spec::Execution(spec), Spec::Plan(plan_spec)) => Program::build(Sources {
            key: key.clone(),
            spec,
            plan_key,
            plan_labels: plan.metadata.labels,
            plan: plan_spec,
            goal,
        }),
        _ => Err(crate::run::ProgramError::Graph(crate::graph::GraphError::Cycle { path: Vec::new() })),
    }
}

/// The deadline of the goal, counted from its creation.
fn deadline(world: &World, program: &Program) -> Result<Option<Timestamp>, EngineError> {
    let Some((key, spec)) = &program.goal else { return Ok(None) };
    let Some(timeout) = &spec.timeout else { return Ok(None) };
    let Some(record) = world.record(key)? else { return Ok(None) };
    let span = jiff::SignedDuration::try_from(timeout.span()).unwrap_or(jiff::SignedDuration::MAX);
    Ok(record.metadata.creation_timestamp.saturating_add(span).ok())
}

/// A step of an execution that cannot be pinned yet.
fn held(step: Prepared) -> Step {
    if step.draft.changes.is_empty() && !step.noted {
        return Step::Idle(Some(settled(&step.draft, None)));
    }
    Step::Go(Box::new(step))
}

fn leased(key: &ResourceKey, status: &ExecutionStatus, until: Timestamp) -> Settled {
    let holder = status.extensions.lease.as_ref().map(|lease| lease.holder.as_str()).unwrap_or_default();
    let waiting = Waiting {
        key: key.clone(),
        node: None,
        reason: "Leased".to_owned(),
        message: format!("runner {holder} drives it"),
        command: None,
        until: Some(until),
    };
    let mut settled = Settled { wake: Some(until), ..Settled::default() };
    settled.waiting.extend(serde_json::to_value(waiting));
    settled
}

/// How an execution is left after a draft: what would make it worth planning again, and what it waits for.
pub(super) fn settled(draft: &Draft, key: Option<&ResourceKey>) -> Settled {
    let mut settled = Settled { wake: draft.wake, ..Settled::default() };
    for dependency in &draft.on {
        settled.on(&match dependency {
            Dependency::Resource(key) => Topic::Resource(key.clone()),
            Dependency::Bindings(namespace) => Topic::Bindings(namespace.clone()),
        });
    }
    let Some(key) = key else { return settled };
    let status = &draft.status;
    if let Some(request) = &status.extensions.suspend {
        let message = format!("suspended by {}", request.by);
        let command = format!("planspec resume execution/{} -n {}", key.name, key.namespace);
        push(&mut settled, key, None, "Suspended", message, Some(command), None);
    }
    if status.extensions.pinned.is_none() && !status.phase.is_terminal() {
        let reason = status.reason.clone().unwrap_or_default();
        push(&mut settled, key, None, &reason, status.message.clone().unwrap_or_default(), None, None);
    }
    for (node, state) in &status.node_statuses {
        let waits = state.phase == NodePhase::Blocked
            || (state.phase == NodePhase::Pending && state.extensions.retry_at.is_some());
        if let (true, Some(reason)) = (waits, state.extensions.reason) {
            let gate = draft.gates.iter().find(|demand| demand.node == *node).map(|demand| &demand.gate);
            let command = remedy(key, node, reason, gate);
            let until = state.extensions.retry_at;
            push(&mut settled, key, Some(node), &reason.to_string(), state.message.clone(), command, until);
        }
    }
    settled
}

fn push(
    settled: &mut Settled,
    key: &ResourceKey,
    node: Option<&NodeId>,
    reason: &str,
    message: String,
    command: Option<String>,
    until: Option<Timestamp>,
) {
    let (key, node, reason) = (key.clone(), node.cloned(), reason.to_owned());
    settled.waiting.extend(serde_json::to_value(Waiting { key, node, reason, message, command, until }));
}

/// The command that lets a node go on.
pub(super) fn remedy(
    key: &ResourceKey,
    node: &NodeId,
    reason: NodeReason,
    gate: Option<&ResourceKey>,
) -> Option<String> {
    let (name, namespace) = (&key.name, &key.namespace);
    match reason {
        NodeReason::AwaitingApproval => {
            gate.map(|gate| format!("planspec approve gate/{} -n {}", gate.name, gate.namespace))
        }
        NodeReason::AwaitingPerson | NodeReason::InputRequired | NodeReason::Unbound => {
            Some(format!("planspec complete {name}/{node} -n {namespace}"))
        }
        NodeReason::RunnerLost => Some(format!("planspec retry {name} --from {node} -n {namespace}")),
        _ => None,
    }
}

/// The status of a record that a step makes.
pub(super) fn record_of(step: &Prepared) -> StatusRecord {
    StatusRecord {
        metadata: step.metadata.clone(),
        status: Status::Execution(Box::new(step.draft.status.clone())),
    }
}
