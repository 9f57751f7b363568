//! The record of a Schedule, and the Executions that it starts and forgets. Reads the snapshot, lets `plan` decide.

use std::cell::RefCell;
use std::sync::Arc;

use jiff::Timestamp;
use tracing::info;

use crate::engine::EngineError;
use crate::engine::merged::{derived_uid, reference_from};
use crate::engine::snapshot::metadata::whole_millis;
use crate::engine::snapshot::{LoadedResource, Snapshot};
use crate::index::{Topic, WaitSet};
use crate::model::{
    DerivedExecution, ExecutionStatus, Kind, Origin, Reference, ResourceKey, ResourceStatus, ScheduleSpec,
    ScheduleStatus, StatusMetadata, StatusRecord, Waiting, spec_digest,
};
use crate::plan::Draft;
use crate::plan::recurrence::{ScheduleView, ScheduledRun, plan_schedule};
use crate::run::ExecutionChange;
use crate::run::cron::CronTimes;

/// The Executions that a Schedule starts and forgets.
#[derive(Debug)]
pub(crate) struct ScheduledRuns {
    /// The Execution that it starts.
    pub(crate) started: Option<StatusRecord>,
    /// The records of ended Executions that go.
    pub(crate) forgotten: Vec<Arc<StatusRecord>>,
    pub(crate) waits: WaitSet,
}

/// Plans a Schedule. `old` is its record.
pub(crate) fn schedule_step(
    snapshot: &Snapshot,
    loaded: &LoadedResource,
    spec: &ScheduleSpec,
    metadata: &StatusMetadata,
    old: Option<&StatusRecord>,
    now: Timestamp,
) -> Result<(ScheduleStatus, ScheduledRuns), EngineError> {
    let key = loaded.resource.key();
    let previous = old.and_then(|old| match &old.status {
        ResourceStatus::Schedule(status) => Some(status),
        _ => None,
    });
    let times = CronTimes::new(&spec.cron, spec.time_zone.as_deref())
        // Validation took it, so this is a record of a program that knew another set of time zones.
        .map_err(|error| EngineError::Refused(format!("{key}: {error}")))?;
    let runs = snapshot.derived_from(&key)?;
    let views: Vec<ScheduledRun> =
        runs.iter().filter_map(|(derived, record)| run_of(derived, record)).collect();
    let plan = plan_of(snapshot, &key, spec)?;
    let view = ScheduleView {
        spec,
        times: &times,
        generation: metadata.generation,
        created: metadata.creation_timestamp,
        previous,
        runs: &views,
        plan,
        now,
    };
    // Planning answers without errors; what cannot be read is kept, and ends the pass.
    let failure = RefCell::new(None);
    let decision = plan_schedule(&view, |at| {
        taken(snapshot, &key, at).unwrap_or_else(|error| {
            failure.replace(Some(error));
            None
        })
    });
    if let Some(error) = failure.into_inner() {
        return Err(error);
    }
    let mut status = decision.status;
    let started = decision.start.map(|(at, spec)| {
        let derived = DerivedExecution {
            owner: DerivedExecution::owner_reference(Kind::Schedule, &key.name, &metadata.uid),
            origin: Origin::Time(at),
            spec,
        };
        info!(schedule = %key, %at, "start a run");
        let name = DerivedExecution::name(&key.name, &derived.origin);
        first_record(&ResourceKey::new(Kind::Execution, key.namespace.clone(), name), derived, None, now)
    });
    status.active.extend(started.iter().map(|record| Reference::to(record.metadata.name.clone())));
    let forgotten = runs.into_iter().map(|(_, record)| record);
    let forgotten = forgotten.filter(|record| decision.forget.contains(&record.metadata.name)).collect();
    let waits = waits(&key, spec, &status, decision.wake);
    Ok((status, ScheduledRuns { started, forgotten, waits }))
}

fn run_of(derived: &DerivedExecution, record: &StatusRecord) -> Option<ScheduledRun> {
    let Origin::Time(at) = derived.origin else { return None };
    let status = record.execution()?;
    // One with a lease is looked after once more by whoever drives it.
    let ended = status.phase.is_terminal() && status.extensions.lease.is_none();
    Some(ScheduledRun { name: record.metadata.name.clone(), at, ended })
}

/// The plan that it runs; none while its goal has not chosen one.
fn plan_of(
    snapshot: &Snapshot,
    key: &ResourceKey,
    spec: &ScheduleSpec,
) -> Result<Option<Reference>, EngineError> {
    let Some(goal) = &spec.goal_ref else { return Ok(spec.plan_ref.clone()) };
    let goal = goal.key(Kind::Goal, &key.namespace);
    let Some(record) = snapshot.record(&goal)? else { return Ok(None) };
    let ResourceStatus::Goal(status) = &record.status else { return Ok(None) };
    let plan = status.active_plan_ref.as_ref().map(|plan| plan.key(Kind::Plan, &goal.namespace));
    Ok(plan.map(|plan| reference_from(&key.namespace, &plan)))
}

/// Who has the name of the run for a time, if something else does.
fn taken(snapshot: &Snapshot, schedule: &ResourceKey, at: Timestamp) -> Result<Option<String>, EngineError> {
    let name = DerivedExecution::name(&schedule.name, &Origin::Time(at));
    let key = ResourceKey::new(Kind::Execution, schedule.namespace.clone(), name);
    let there = snapshot.declared(&key)?.is_some() || snapshot.record(&key)?.is_some();
    Ok(there.then(|| format!("execution `{}` is there already, and is none of its runs", key.name)))
}

/// The record with which a derived Execution of this key begins; `base` is the commit that it starts from, where it works for a
/// node.
pub(crate) fn first_record(
    key: &ResourceKey,
    derived: DerivedExecution,
    base: Option<String>,
    now: Timestamp,
) -> StatusRecord {
    let uid = derived_uid(&derived.owner.uid, &derived.origin);
    let mut draft = Draft::new(ExecutionStatus::default());
    let queue = ExecutionChange::Queue { spec_hash: spec_digest(&derived.spec), run_id: uid.clone() };
    draft.execution(queue, now);
    let mut status = draft.status;
    status.observed_generation = Some(1);
    let metadata = StatusMetadata {
        name: key.name.clone(),
        namespace: key.namespace.clone(),
        uid,
        generation: 1,
        creation_timestamp: whole_millis(now),
        annotations: derived.annotations(),
        owner_references: vec![derived.owner],
    };
    status.extensions.spec = Some(Box::new(derived.spec));
    status.extensions.base = base;
    StatusRecord { metadata, status: ResourceStatus::Execution(Box::new(status)) }
}

/// How a Schedule is left: until its next time, or until a run ends that keeps the next one waiting.
fn waits(
    key: &ResourceKey,
    spec: &ScheduleSpec,
    status: &ScheduleStatus,
    wake: Option<Timestamp>,
) -> WaitSet {
    let mut waits = WaitSet { wake, ..WaitSet::default() };
    for run in &status.active {
        waits.on(&Topic::Resource(run.key(Kind::Execution, &key.namespace)));
    }
    if let Some(goal) = &spec.goal_ref {
        waits.on(&Topic::Resource(goal.key(Kind::Goal, &key.namespace)));
    }
    if let Some(at) = wake {
        // The time itself stands in `until`, which every output shows behind the message.
        let message = "no run is due".to_owned();
        waits.waiting.push(Waiting { until: Some(at), ..Waiting::of(key.clone(), "Scheduled", message) });
    }
    waits
}
