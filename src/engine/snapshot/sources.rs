//! The compiled plan of what is declared now, and what has to be pinned with it.

use super::Snapshot;
use super::pin::assemble;
use super::pin_check::{PinCheck, expected_of_owner};
use crate::engine::EngineError;
use crate::engine::merged::expected_spec;
use crate::git::ObjectId;
use crate::index::Declaration;
use crate::model::{DerivedExecution, Kind, Origin, PIN_MISMATCH, Resource, ResourceKey, Spec};
use crate::record::PinKind;
use crate::run::{CompileError, CompiledPlan};

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
    let named = (key, record.metadata.uid.as_str());
    let base = record.execution().and_then(|status| status.extensions.base.as_deref());
    let mut execution = derived.clone().resource(&record.metadata);
    if matches!(derived.origin, Origin::Node(..)) {
        match expected_of_owner(snapshot, named, &derived, base)? {
            Ok(spec) => execution.spec = Spec::Execution(spec),
            Err(PinCheck::Unknown(why) | PinCheck::Lost(why)) => {
                return Ok(Err(("OwnerUnknown", why, vec![owner_key])));
            }
            Err(PinCheck::Mismatch(why)) => return Ok(Err((PIN_MISMATCH, why, vec![owner_key]))),
            Err(PinCheck::Holds(_)) => {}
        }
        let found = plan_and_goal(snapshot, key, &execution)?;
        return Ok(found.and_then(|(plan, goal, pins)| compile(key, execution, plan, goal, pins)));
    }
    let Some(owner) = snapshot.resource(&owner_key)? else {
        return Ok(Err(("OwnerNotFound", snapshot.why_missing(&owner_key)?, vec![owner_key])));
    };
    let found = plan_and_goal(snapshot, key, &execution)?;
    Ok(found.and_then(|(plan, goal, mut pins)| {
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
        return Ok(Err(("PlanNotFound", snapshot.why_missing(&plan_key)?, vec![plan_key])));
    };
    let mut pins = vec![(PinKind::Plan, plan.declared.blob)];
    let mut goal = None;
    if let Some(reference) = &spec.goal_ref {
        let goal_key = reference.key(Kind::Goal, &key.namespace);
        let Some(found) = snapshot.resource(&goal_key)? else {
            return Ok(Err(("GoalNotFound", snapshot.why_missing(&goal_key)?, vec![goal_key])));
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
