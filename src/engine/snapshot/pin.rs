//! The compiled plan of an Execution from what is pinned on the status branch.

use std::sync::Arc;

use crate::engine::EngineError;
use crate::engine::snapshot::Snapshot;
use crate::git::ObjectId;
use crate::graph::GraphError;
use crate::model::{DerivedExecution, ExecutionStatus, Origin, PinnedGraph, Resource, ResourceKey};
use crate::run::{CompileError, CompiledPlan, PlanSources};

/// Why there is nothing to compile.
pub(crate) const NOT_THERE: &str = "its pinned manifests are no longer on the status branch";

/// What is pinned beside the record of an Execution, as it was read.
pub(crate) struct PinnedManifests {
    pub(crate) execution: Resource,
    pub(crate) plan: Resource,
    pub(crate) goal: Option<Resource>,
    /// What made it, where it is a derived one; with the manifest of that, unless it is an Execution, which is checked itself.
    pub(crate) owner: Option<(DerivedExecution, Option<Resource>)>,
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
            let owner = match derived.origin {
                Origin::Time(_) => match read(blobs.owner, &derived.owner_key(&key.namespace))? {
                    Some(owner) => Some(owner),
                    None => return Ok(None),
                },
                Origin::Node(..) => None,
            };
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
    (pinned, status): (&PinnedGraph, &ExecutionStatus),
) -> Result<Result<Arc<CompiledPlan>, String>, EngineError> {
    Ok(match manifests_of(snapshot, key, pinned)? {
        Some(manifests) => {
            let compiled = manifests.compile(key).and_then(|compiled| compiled.of_status(status));
            compiled.map_err(|error| error.to_string())
        }
        // In words, because it holds this Execution alone and no other (Invariant 6).
        None => Err(NOT_THERE.to_owned()),
    })
}

pub(super) fn assemble(
    key: &ResourceKey,
    execution: Resource,
    plan: Resource,
    goal: Option<Resource>,
) -> Result<CompiledPlan, CompileError> {
    match PlanSources::of(key.clone(), execution, plan, goal) {
        Some(sources) => CompiledPlan::build(sources),
        None => Err(CompileError::Graph(GraphError::Cycle { path: Vec::new() })),
    }
}
