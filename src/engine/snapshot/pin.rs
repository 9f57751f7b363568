//! The compiled plan of an Execution: from what is pinned on the status branch, or from what is declared now.

use std::sync::Arc;

use crate::engine::EngineError;
use crate::engine::merged::expected_spec;
use crate::engine::snapshot::Snapshot;
use crate::git::ObjectId;
use crate::graph::GraphError;
use crate::index::Declaration;
use crate::model::{DerivedExecution, Kind, PIN_MISMATCH, PinnedGraph, Resource, ResourceKey, Spec};
use crate::record::PinKind;
use crate::run::{CompileError, CompiledPlan, PlanSources};

/// Why there is nothing to compile.
pub(crate) const NOT_THERE: &str = "its pinned manifests are no longer on the status branch";

/// What is pinned beside the record of an Execution, as it was read.
pub(crate) struct PinnedManifests {
    pub(crate) execution: Resource,
    pub(crate) plan: Resource,
    pub(crate) goal: Option<Resource>,
    /// What made it, where it is a derived one.
    pub(crate) owner: Option<(DerivedExecution, Resource)>,
    /// The blobs that hold them.
    pub(crate) blobs: Vec<(ResourceKey, ObjectId)>,
}

/// Reads what is pinned beside the record of an Execution; nothing when a part of it is not there any more.
pub(crate) fn manifests_of(
    snapshot: &Snapshot,
    key: &ResourceKey,
    pinned: &PinnedGraph,
) -> Result<Option<PinnedManifests>, EngineError> {
    let blobs = snapshot.status.pinned(&snapshot.repo, key)?;
    let mut held = Vec::new();
    let mut read = |blob: Option<ObjectId>, key: &ResourceKey| -> Result<Option<Resource>, EngineError> {
        let Some(blob) = blob else { return Ok(None) };
        held.push((key.clone(), blob));
        snapshot.read(blob, "pinned", key)
    };
    // All from the status branch, and nothing from what is declared now (Invariant 9).
    let record = snapshot.record(key)?;
    let derived = record.as_ref().and_then(|record| Some((DerivedExecution::of(record)?, &record.metadata)));
    let (execution, owner) = match derived {
        Some((derived, metadata)) => {
            let Some(owner) = read(blobs.owner, &derived.owner_key(&key.namespace))? else { return Ok(None) };
            (Some(derived.clone().resource(metadata)), Some((derived, owner)))
        }
        None => (read(blobs.execution, key)?, None),
    };
    let plan = read(blobs.plan, &pinned.plan)?;
    let goal = match &pinned.goal {
        Some(key) => read(blobs.goal, key)?,
        None => None,
    };
    let (Some(execution), Some(plan)) = (execution, plan) else { return Ok(None) };
    Ok(Some(PinnedManifests { execution, plan, goal, owner, blobs: held }))
}

impl PinnedManifests {
    /// The plan, checked and with every expression compiled.
    pub(crate) fn compile(self, key: &ResourceKey) -> Result<Arc<CompiledPlan>, CompileError> {
        assemble(key, self.execution, self.plan, self.goal).map(Arc::new)
    }
}

/// The compiled plan of what is pinned on the status branch, whether or not it was merged: enough to say what a decision is about,
/// not to run anything. Why there is none, in words.
#[allow(clippy::type_complexity, reason = "the outer error is ours, the inner one is the user's")]
pub(crate) fn program_of(
    snapshot: &Snapshot,
    key: &ResourceKey,
    pinned: &PinnedGraph,
) -> Result<Result<Arc<CompiledPlan>, String>, EngineError> {
    Ok(match manifests_of(snapshot, key, pinned)? {
        Some(manifests) => manifests.compile(key).map_err(|error| error.to_string()),
        // In words, because it holds this Execution alone and no other (Invariant 6).
        None => Err(NOT_THERE.to_owned()),
    })
}

/// What is missing, for programs and in words, and what to wait for.
pub(crate) type MissingPrerequisite = (&'static str, String, Vec<ResourceKey>);

/// The compiled plan of what is declared now, and the blobs to pin.
#[allow(clippy::type_complexity, reason = "the outer error is ours, the inner one is the user's")]
pub(crate) fn sources(
    snapshot: &Snapshot,
    key: &ResourceKey,
    declared: &Declaration,
) -> Result<Result<(CompiledPlan, Vec<(PinKind, ObjectId)>), MissingPrerequisite>, EngineError> {
    if declared.derived {
        return derived_sources(snapshot, key);
    }
    // The blob that the index names: of a quarantined manifest its last good version.
    let Some(execution) = snapshot.read(declared.blob, &declared.source.path, key)? else {
        return Ok(Err(("ManifestLost", "its manifest cannot be read".to_owned(), Vec::new())));
    };
    let found = plan_and_goal(snapshot, key, &execution)?;
    Ok(found.and_then(|(plan, goal, mut pins)| {
        pins.push((PinKind::Execution, declared.blob));
        compile(key, execution, plan, goal, pins)
    }))
}

/// The same for a derived Execution: what its owner makes now, whatever the record says.
#[allow(clippy::type_complexity, reason = "as above")]
fn derived_sources(
    snapshot: &Snapshot,
    key: &ResourceKey,
) -> Result<Result<(CompiledPlan, Vec<(PinKind, ObjectId)>), MissingPrerequisite>, EngineError> {
    let lost = || Ok(Err(("ManifestLost", "its record cannot be read".to_owned(), Vec::new())));
    let Some(record) = snapshot.record(key)? else { return lost() };
    let Some(derived) = DerivedExecution::of(&record) else { return lost() };
    let owner_key = derived.owner_key(&key.namespace);
    let Some(owner) = snapshot.resource(&owner_key)? else {
        return Ok(Err(("OwnerNotFound", format!("there is no {owner_key}"), vec![owner_key])));
    };
    let mut execution = derived.clone().resource(&record.metadata);
    let found = plan_and_goal(snapshot, key, &execution)?;
    Ok(found.and_then(|(plan, goal, mut pins)| {
        let named = (key, record.metadata.uid.as_str());
        match expected_spec(named, &derived, &owner.resource, &plan, goal.as_ref()) {
            // The owner may have been changed since; nothing of the Execution has started, so the newer one counts.
            Ok(spec) => execution.spec = Spec::Execution(spec),
            Err(why) => return Err((PIN_MISMATCH, why, vec![owner_key])),
        }
        pins.push((PinKind::Owner, owner.declared.blob));
        compile(key, execution, plan, goal, pins)
    }))
}

type PlanAndGoal = (Resource, Option<Resource>, Vec<(PinKind, ObjectId)>);

/// The plan and the goal of an Execution as they are declared now, and the blobs that hold them.
fn plan_and_goal(
    snapshot: &Snapshot,
    key: &ResourceKey,
    execution: &Resource,
) -> Result<Result<PlanAndGoal, MissingPrerequisite>, EngineError> {
    let Spec::Execution(spec) = &execution.spec else {
        return Ok(Err(("ManifestLost", "its manifest has another kind".to_owned(), Vec::new())));
    };
    let plan_key = spec.plan_ref.key(Kind::Plan, &key.namespace);
    let Some(plan) = snapshot.resource(&plan_key)? else {
        // It waits for the plan by its name, and is woken when that arrives.
        return Ok(Err(("PlanNotFound", format!("there is no {plan_key}"), vec![plan_key])));
    };
    let mut pins = vec![(PinKind::Plan, plan.declared.blob)];
    let mut goal = None;
    if let Some(reference) = &spec.goal_ref {
        let goal_key = reference.key(Kind::Goal, &key.namespace);
        let Some(found) = snapshot.resource(&goal_key)? else {
            return Ok(Err(("GoalNotFound", format!("there is no {goal_key}"), vec![goal_key])));
        };
        // A goal is pinned as well, since briefs quote it and its timeout ends the run.
        pins.push((PinKind::Goal, found.declared.blob));
        goal = Some(found.resource);
    }
    Ok(Ok((plan.resource, goal, pins)))
}

fn compile(
    key: &ResourceKey,
    execution: Resource,
    plan: Resource,
    goal: Option<Resource>,
    pins: Vec<(PinKind, ObjectId)>,
) -> Result<(CompiledPlan, Vec<(PinKind, ObjectId)>), MissingPrerequisite> {
    let plan_key = plan.key();
    match assemble(key, execution, plan, goal) {
        Ok(compiled) => Ok((compiled, pins)),
        // The plan is sound; it is the execution that gives something else than the plan asks for.
        Err(error @ CompileError::Parameters(_)) => {
            Err(("ParametersInvalid", error.to_string(), vec![plan_key]))
        }
        Err(error) => Err(("PlanInvalid", format!("{plan_key}: {error}"), vec![plan_key])),
    }
}

fn assemble(
    key: &ResourceKey,
    execution: Resource,
    plan: Resource,
    goal: Option<Resource>,
) -> Result<CompiledPlan, CompileError> {
    let plan_key = plan.key();
    let goal_key = goal.as_ref().map(Resource::key);
    let goal = goal.and_then(|goal| match goal.spec {
        Spec::Goal(spec) => goal_key.map(|key| (key, spec)),
        _ => None,
    });
    match (execution.spec, plan.spec) {
        (Spec::Execution(spec), Spec::Plan(plan_spec)) => CompiledPlan::build(PlanSources {
            key: key.clone(),
            spec,
            plan_key,
            plan_labels: plan.metadata.labels,
            plan: plan_spec,
            goal,
            annotations: execution.metadata.annotations,
        }),
        _ => Err(CompileError::Graph(GraphError::Cycle { path: Vec::new() })),
    }
}
