//! Records of the kinds that run nothing: Plan, Capability, Binding, Gate, Goal and Schedule. Reads the snapshot, lets `plan`
//! decide, and says what the record should be.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::engine::EngineError;
use crate::engine::commit::schedules::{ScheduledRuns, schedule_step};
use crate::engine::snapshot::LoadedResource;
use crate::engine::snapshot::Snapshot;
use crate::engine::snapshot::gate_in_force::{GateInForce, in_force, referrer};
use crate::engine::snapshot::gates;
use crate::engine::snapshot::lookup::usable;
use crate::engine::snapshot::metadata::{observe, pins_for};
use crate::git::ObjectId;
use crate::graph::Topology;
use crate::index::{Topic, WaitSet};
use crate::model::{
    BindingTarget, Condition, ConditionStatus, GatePhase, GateStatus, GoalPhase, GoalSpec, GoalStatus, Kind,
    LabelSelector, PlanSpec, ResourceKey, ResourceStatus, Spec, StatusMetadata, StatusRecord, StringMap,
    UnboundReason,
};
use crate::plan::GateRequest;
use crate::plan::derived_status::{binding_status, capability_status, plan_status};
use crate::plan::goal::{GoalView, PlanView, RunView, deadline, goal_status};
use crate::provider::Registry;
use crate::record::PinKind;

/// Records that are part of the commit in the making, and so newer than the snapshot.
pub(crate) type PendingRecords<'a> = &'a BTreeMap<ResourceKey, Option<Arc<StatusRecord>>>;

/// What planning a resource came to.
#[derive(Debug)]
pub(crate) enum ResourceStep {
    /// The record is as it should be, or there is none and should be none.
    Same(Option<WaitSet>),
    /// The record should be this.
    Put(Box<StatusRecord>, Option<Vec<(PinKind, ObjectId)>>, Option<WaitSet>),
    /// The record should go.
    Remove,
    /// The record of a Schedule should be this, where it is not yet; with what it starts and forgets.
    Schedule(Option<Box<StatusRecord>>, Option<Vec<(PinKind, ObjectId)>>, Box<ScheduledRuns>),
}

/// Plans a resource that is not an execution. `old` is its record.
pub(crate) fn plan_resource(
    snapshot: &Snapshot,
    registry: &Registry,
    newer: PendingRecords<'_>,
    key: &ResourceKey,
    old: Option<&StatusRecord>,
    now: Timestamp,
) -> Result<ResourceStep, EngineError> {
    // A gate outlives its manifest; what follows would remove its record.
    if key.kind == Kind::Gate {
        return plan_gate(snapshot, key, old, now);
    }
    // Asks for owners too: what a deleted Goal owned goes with it.
    let present = snapshot.present(key)?;
    let loaded = if present.is_some() { snapshot.resource(key)? } else { None };
    let Some(loaded) = loaded else {
        // Only what is declared nowhere is removed: that a declaration cannot be read says nothing about what people want.
        let gone = present.is_none() && old.is_some();
        return Ok(if gone { ResourceStep::Remove } else { ResourceStep::Same(None) });
    };
    let metadata = observe(key, &loaded.declared, &snapshot.desired, old);
    if let Spec::Schedule(spec) = &loaded.resource.spec {
        // One that is back with the same uid goes on from the last time for which it started something (Invariant 10).
        let removed =
            if old.is_none() { snapshot.status.removed(&snapshot.repo, key, &metadata.uid)? } else { None };
        let before = old.or(removed.as_ref().and_then(|removed| removed.record.as_ref()));
        let (status, runs) = schedule_step(snapshot, &loaded, spec, &metadata, before, now)?;
        let record = StatusRecord { metadata, status: ResourceStatus::Schedule(status) };
        let same = old == Some(&record) && !snapshot.is_broken(key)?;
        let pins = pins_for(&loaded.declared, old.map(|old| &old.metadata));
        return Ok(ResourceStep::Schedule((!same).then(|| Box::new(record)), pins, Box::new(runs)));
    }
    let mut settled = WaitSet::default();
    let status = status_of(snapshot, registry, newer, key, &loaded, &metadata, old, now, &mut settled)?;
    let record = StatusRecord { metadata, status };
    let settled = (settled != WaitSet::default()).then_some(settled);
    // A record that somebody broke equals what was restored of it, and its file has to be written all the
    // same.
    if old == Some(&record) && !snapshot.is_broken(key)? {
        Ok(ResourceStep::Same(settled))
    } else {
        let pins = pins_for(&loaded.declared, old.map(|old| &old.metadata));
        Ok(ResourceStep::Put(Box::new(record), pins, settled))
    }
}

/// The record of a gate: it outlives its manifest while anything names it (Invariant 11).
fn plan_gate(
    snapshot: &Snapshot,
    key: &ResourceKey,
    old: Option<&StatusRecord>,
    now: Timestamp,
) -> Result<ResourceStep, EngineError> {
    let version = in_force(snapshot, key, old)?;
    let mut settled = None;
    let mut pins = None;
    match (&version, old) {
        (GateInForce::Declared(loaded), _) => {
            // Always pinned, not only once it is broken: when a manifest is deleted, a shallow clone has no commit to read
            // the last version from.
            let declared = &loaded.declared;
            let current = match snapshot.status.pinned(&snapshot.repo, key)?.manifest {
                // Another blob may hold the same spec, after an edit of its neighbour in the file or of a
                // label. Pinning that would be a commit for nothing (Invariant 5).
                Some(blob) if blob == declared.blob => true,
                Some(blob) => snapshot
                    .read(blob, "pinned", key)?
                    .is_some_and(|pinned| pinned.spec_digest == declared.spec_digest),
                None => false,
            };
            pins = (!current).then(|| vec![(PinKind::Manifest, declared.blob)]);
        }
        // An implicit gate gets its record from the first Execution that comes to it.
        (GateInForce::Implicit, _) | (_, None) => return Ok(ResourceStep::Same(None)),
        (GateInForce::Kept { .. } | GateInForce::Closed { .. }, Some(_)) => {
            // Where a file still declares it, the record stays. Without any, it stays while something names
            // the gate (Invariant 11).
            if snapshot.index.places(key)?.is_empty() {
                let Some(referrer) = referrer(snapshot, key)? else { return Ok(ResourceStep::Remove) };
                // When that goes, the record is planned again.
                settled.get_or_insert_with(WaitSet::default).on(&Topic::Resource(referrer));
            }
        }
    }
    let metadata = gates::metadata_of(snapshot, key, &version, old);
    let previous = old.and_then(gates::gate_status);
    let status = ResourceStatus::Gate(gate_of(previous, metadata.generation, now));
    let record = StatusRecord { metadata, status };
    if old == Some(&record) && pins.is_none() && !snapshot.is_broken(key)? {
        return Ok(ResourceStep::Same(settled));
    }
    Ok(ResourceStep::Put(Box::new(record), pins, settled))
}

#[allow(clippy::too_many_arguments, reason = "one call, from the function above")]
fn status_of(
    snapshot: &Snapshot,
    registry: &Registry,
    newer: PendingRecords<'_>,
    key: &ResourceKey,
    loaded: &LoadedResource,
    metadata: &StatusMetadata,
    old: Option<&StatusRecord>,
    now: Timestamp,
    settled: &mut WaitSet,
) -> Result<ResourceStatus, EngineError> {
    let generation = metadata.generation;
    let old = old.map(|old| &old.status);
    Ok(match &loaded.resource.spec {
        Spec::Plan(spec) => {
            let problem = problem_of(spec);
            let previous =
                old.and_then(|old| if let ResourceStatus::Plan(old) = old { Some(old) } else { None });
            ResourceStatus::Plan(plan_status(spec, problem.as_deref(), generation, previous, now))
        }
        Spec::Capability(spec) => {
            let previous =
                old.and_then(|old| if let ResourceStatus::Capability(old) = old { Some(old) } else { None });
            // The condition has to follow when a requirement comes or goes.
            for needed in &spec.requirements {
                settled.on(&Topic::Resource(needed.reference().key(Kind::Capability, &key.namespace)));
            }
            let missing = |needed: &ResourceKey| match snapshot.declared(needed) {
                Ok(Some(_)) => None,
                _ => Some(snapshot.why_missing(needed).unwrap_or_else(|_| format!("there is no {needed}"))),
            };
            let metadata = &loaded.resource.metadata;
            ResourceStatus::Capability(capability_status(metadata, spec, missing, generation, previous, now))
        }
        Spec::Binding(spec) => {
            let previous =
                old.and_then(|old| if let ResourceStatus::Binding(old) = old { Some(old) } else { None });
            ResourceStatus::Binding(binding_status(
                spec,
                |target| check(registry, target),
                generation,
                previous,
                now,
            ))
        }
        Spec::Goal(spec) => {
            let previous =
                old.and_then(|old| if let ResourceStatus::Goal(old) = old { Some(old) } else { None });
            ResourceStatus::Goal(goal_of(snapshot, newer, key, spec, metadata, previous, now, settled)?)
        }
        Spec::Gate(_) | Spec::Execution(_) | Spec::Schedule(_) => {
            return Err(EngineError::Refused(format!("{key} is not planned like this")));
        }
    })
}

/// What keeps a plan from being run.
fn problem_of(spec: &PlanSpec) -> Option<String> {
    Topology::build(&spec.graph).err().and_then(|errors| errors.first().map(ToString::to_string))
}

fn check(registry: &Registry, target: &BindingTarget) -> Result<(), (UnboundReason, String)> {
    usable(registry, target).map_err(|why| {
        // A provider that is missing here may be at hand on another runner; settings that are wrong are wrong
        // everywhere.
        let known = registry.find(&target.provider).is_ok();
        (if known { UnboundReason::ConfigInvalid } else { UnboundReason::ProviderUnavailable }, why)
    })
}

/// A gate keeps what was decided; a change of its spec voids approvals that are not used yet, visibly.
fn gate_of(previous: Option<&GateStatus>, generation: u64, now: Timestamp) -> GateStatus {
    let mut status = previous.cloned().unwrap_or_default();
    let changed = status.observed_generation.is_some_and(|observed| observed != generation);
    status.observed_generation = Some(generation);
    if changed && (!status.review_history.is_empty() || status.resolution.is_some()) {
        // The reviews stay in the history. Each says for which generation it was, and counts for that one
        // alone (Invariant 11).
        status.resolution = None;
        status.decided_generation = None;
        status.phase =
            if status.phase == GatePhase::Pending { GatePhase::Pending } else { GatePhase::Waiting };
        let condition = Condition {
            kind: "ReviewsVoid".to_owned(),
            status: ConditionStatus::True,
            reason: "GateChanged".to_owned(),
            message: format!("the gate changed to generation {generation}; earlier reviews no longer count"),
            last_transition_time: now,
            observed_generation: Some(generation),
        };
        Condition::set(&mut status.conditions, condition);
    }
    status
}

/// What a goal's status needs of a plan.
struct PlanFacts {
    key: ResourceKey,
    labels: StringMap,
    spec: PlanSpec,
    valid: bool,
}

#[allow(clippy::too_many_arguments, reason = "one call, from the function above")]
fn goal_of(
    snapshot: &Snapshot,
    newer: PendingRecords<'_>,
    key: &ResourceKey,
    spec: &GoalSpec,
    metadata: &StatusMetadata,
    previous: Option<&GoalStatus>,
    now: Timestamp,
    settled: &mut WaitSet,
) -> Result<GoalStatus, EngineError> {
    let view = GoalView { key, spec, generation: metadata.generation, created: metadata.creation_timestamp };
    let plans = plans_for(snapshot, key, spec)?;
    let plans: Vec<PlanView<'_>> =
        plans.iter().map(|plan| PlanView::of(&plan.key, &plan.labels, &plan.spec, plan.valid)).collect();
    let runs = runs_of(snapshot, newer, key)?;
    let runs: Vec<RunView<'_>> = runs
        .iter()
        .filter_map(|record| {
            let key = &record.0;
            let status = record.1.execution()?;
            Some(RunView { key, phase: status.phase, created: record.1.metadata.creation_timestamp })
        })
        .collect();
    let status = goal_status(&view, &plans, &runs, previous, now);
    if !matches!(status.phase, GoalPhase::Succeeded | GoalPhase::Failed) {
        // A deadline that has passed is in the status already, and would wake the goal at every pass.
        settled.wake = deadline(&view).filter(|&end| end > now);
    }
    Ok(status)
}

/// The plans that may serve a goal: those with the selector's first label, or those whose `goalRef` names it; and
/// those that supersede one of them.
fn plans_for(
    snapshot: &Snapshot,
    goal: &ResourceKey,
    spec: &GoalSpec,
) -> Result<Vec<PlanFacts>, EngineError> {
    let mut keys = match &spec.plan_selector {
        Some(selector) => labelled(snapshot, goal, selector)?,
        None => snapshot.index.mentions(&Topic::Resource(goal.clone()))?,
    };
    keys.retain(|key| key.kind == Kind::Plan);
    // A plan that supersedes another need not have its labels, and puts it out all the same.
    let mut more = Vec::new();
    for key in &keys {
        more.extend(snapshot.index.mentions(&Topic::Resource(key.clone()))?);
    }
    keys.extend(more.into_iter().filter(|key| key.kind == Kind::Plan));
    keys.sort();
    keys.dedup();
    let mut plans = Vec::new();
    for key in keys {
        let Some(loaded) = snapshot.resource(&key)? else { continue };
        if let Spec::Plan(spec) = loaded.resource.spec {
            // A plan that cannot run may not win by its version, or the goal would wait for what never
            // starts.
            let valid = problem_of(&spec).is_none();
            plans.push(PlanFacts { key, labels: loaded.resource.metadata.labels, spec, valid });
        }
    }
    Ok(plans)
}

fn labelled(
    snapshot: &Snapshot,
    goal: &ResourceKey,
    selector: &LabelSelector,
) -> Result<Vec<ResourceKey>, EngineError> {
    // One label narrows the search by a topic of the index; the others are compared on what is found.
    match selector.match_labels.iter().next() {
        Some((label, value)) => {
            let topic = Topic::PlanLabel(goal.namespace.clone(), format!("{label}={value}"));
            Ok(snapshot.index.mentions(&topic)?)
        }
        None => Ok(snapshot.index.declared_in(Kind::Plan, &goal.namespace)?),
    }
}

/// The records of the executions that serve a goal.
fn runs_of(
    snapshot: &Snapshot,
    newer: PendingRecords<'_>,
    goal: &ResourceKey,
) -> Result<Vec<(ResourceKey, Arc<StatusRecord>)>, EngineError> {
    let mut runs = Vec::new();
    for key in snapshot.index.mentions(&Topic::Resource(goal.clone()))? {
        if key.kind != Kind::Execution {
            continue;
        }
        // The commit in the making first: a goal is written together with the Executions that its phase
        // follows from.
        let record = match newer.get(&key) {
            Some(newer) => newer.clone(),
            None => snapshot.record(&key)?,
        };
        runs.extend(record.map(|record| (key, record)));
    }
    Ok(runs)
}

/// The priority of the goal that an execution serves.
pub(crate) fn priority_of(snapshot: &Snapshot, goal: Option<&ResourceKey>) -> Result<u16, EngineError> {
    // From the index: a first pass asks this of every Execution, and would read each goal once more.
    let goal = goal.map(|goal| snapshot.declared(goal)).transpose()?.flatten();
    Ok(goal.map_or(0, |declared| declared.priority))
}

/// A record as it was, if there was one, and as it should be.
pub(crate) type RecordUpdate = (Option<Arc<StatusRecord>>, StatusRecord);

/// A gate's record when an execution waits at it, if it should change.
pub(crate) fn gate_waiting(
    snapshot: &Snapshot,
    newer: PendingRecords<'_>,
    demand: &GateRequest,
    now: Timestamp,
) -> Result<Option<RecordUpdate>, EngineError> {
    // Two Executions may come to one gate in one commit, and the second stands on what the first has put.
    let old = match newer.get(&demand.gate) {
        Some(newer) => newer.clone(),
        None => snapshot.record(&demand.gate)?,
    };
    let new = gates::waiting(snapshot, demand, old.as_deref(), now)?;
    Ok(new.map(|new| (old, new)))
}
