//! Executions that work for a node of another one, as a pass sees them: how far one is, whether it may be made, and what its owner
//! asks of it.

use std::sync::Arc;

use tracing::warn;

use crate::engine::EngineError;
use crate::engine::snapshot::Snapshot;
use crate::engine::snapshot::pin::{manifests_of, program_of};
use crate::git::GitError;
use crate::graph::NodeIx;
use crate::model::{
    DerivedExecution, ExecutionPhase, ExecutionStatus, Kind, Name, NodeId, NodePhase, NodeResult, Origin,
    PersonRequest, Resource, ResourceKey, Spec, StatusRecord,
};
use crate::plan::binding::{BindingView, Resolution, TaskToBind, binding_for, resolve};
use crate::plan::{ChildProgress, EarlierWork, attempt_at_work, plan_named};
use crate::run::CompiledPlan;

/// How deep plans may be nested. Deeper ones are a mistake, or somebody's attempt to fill the branch.
pub(crate) const MOST_NESTED: usize = 8;

/// The plan that does a node, as its Binding says now; none where something else does.
pub(crate) fn bound_plan(
    snapshot: &Snapshot,
    compiled: &CompiledPlan,
    node: NodeIx,
) -> Result<Option<Name>, EngineError> {
    // As declared: what is bound to a repeated node is bound to all its instances.
    let Some((entry, _)) = compiled.declared(node) else { return Ok(None) };
    let task = TaskToBind::of(compiled, entry);
    let loaded = binding_for(&task).map(|key| snapshot.cached(&key)).transpose()?.flatten();
    // The last valid version of a broken one may come from the status branch, and says what is run (Invariant 14).
    let loaded = loaded.filter(|loaded| loaded.declared.quarantined.is_none());
    let explained = resolve(&task, |_| match loaded.as_ref().map(|loaded| &loaded.resource.spec) {
        Some(Spec::Binding(spec)) => Some(BindingView { spec, generation: 1 }),
        _ => None,
    });
    Ok(match explained.resolution {
        Resolution::Bound { target, .. } => plan_named(&target.provider).and_then(Result::ok),
        _ => None,
    })
}

/// How far the Execution of a node's attempt is.
pub(crate) fn child_progress(
    snapshot: &Snapshot,
    (compiled, uid): (&CompiledPlan, &str),
    (node, attempt): (&NodeId, u32),
    plan: &Name,
    merge: &dyn MergeResults,
) -> Result<(ResourceKey, ChildProgress), EngineError> {
    let key = child_of(snapshot, (&compiled.key, uid), node, attempt)?;
    let progress = progress_of(snapshot, (compiled, uid), (&key, node, attempt), plan, merge)?;
    Ok((key, progress))
}

/// The Execution of a node's attempt: the one that is recorded, or the one that would be made.
pub(crate) fn child_of(
    snapshot: &Snapshot,
    (owner, uid): (&ResourceKey, &str),
    node: &NodeId,
    attempt: u32,
) -> Result<ResourceKey, EngineError> {
    let [usual, apart] = DerivedExecution::keys(owner, node, attempt);
    // Where both are free, the usual one is meant. One that goes on keeps its own, also when the other one becomes free.
    if usual == apart || snapshot.record(&apart)?.is_some() {
        return Ok(apart);
    }
    // Only of the same Execution: a manifest, or somebody else's Execution, may be given another name by whoever wrote it.
    let is_of_sibling = snapshot
        .record(&usual)?
        .and_then(|record| DerivedExecution::of(&record))
        .is_some_and(|made| made.owner.uid == uid && made.origin != Origin::Node(node.clone(), attempt));
    Ok(if is_of_sibling { apart } else { usual })
}

/// The Execution that does a node now; none where nothing is waited for.
pub(crate) fn execution_at_work(
    snapshot: &Snapshot,
    owner: &ResourceKey,
    status: &ExecutionStatus,
    node: &NodeId,
) -> Result<Option<ResourceKey>, EngineError> {
    let Some(attempt) = attempt_at_work(status, node) else { return Ok(None) };
    let record = snapshot.record(owner)?;
    let uid = record.as_ref().map_or("", |record| record.metadata.uid.as_str());
    child_of(snapshot, (owner, uid), node, attempt).map(Some)
}

fn progress_of(
    snapshot: &Snapshot,
    (compiled, uid): (&CompiledPlan, &str),
    (key, node, attempt): (&ResourceKey, &NodeId, u32),
    plan: &Name,
    merge: &dyn MergeResults,
) -> Result<ChildProgress, EngineError> {
    let Some(record) = snapshot.record(key)? else {
        if snapshot.declared(key)?.is_some() {
            return Ok(taken(key, None));
        }
        let plan = ResourceKey::new(Kind::Plan, compiled.key.namespace.clone(), plan.clone());
        return Ok(
            too_deep(snapshot, compiled, &plan)?.map_or(ChildProgress::Missing, ChildProgress::Refused)
        );
    };
    let origin = Origin::Node(node.clone(), attempt);
    let made = DerivedExecution::of(&record);
    let ours = made.as_ref().is_some_and(|derived| derived.owner.uid == uid && derived.origin == origin);
    let (true, Some(status)) = (ours, record.execution()) else { return Ok(taken(key, made)) };
    let said = status.message.as_ref().map(|message| format!(": {message}")).unwrap_or_default();
    Ok(match (status.phase, &status.extensions.pinned) {
        (ExecutionPhase::Succeeded, Some(pinned)) => match program_of(snapshot, key, (pinned, status))? {
            Ok(compiled) => gives(&compiled, status, merge),
            Err(why) => ChildProgress::Unusable(why),
        },
        (ExecutionPhase::Succeeded, None) => ChildProgress::Unusable("its plan is not known".to_owned()),
        // Somebody ended it, and would have to end the next one as well.
        (ExecutionPhase::Cancelled, _) => {
            ChildProgress::Failed { message: format!("is Cancelled{said}"), retryable: false }
        }
        (ExecutionPhase::Failed, _) => {
            ChildProgress::Failed { message: format!("is Failed{said}"), retryable: true }
        }
        // Only what keeps it from starting: the messages of a run change with every node, and each would be a commit.
        (ExecutionPhase::Pending, None) => ChildProgress::Ongoing(format!("Pending{said}")),
        (phase, _) => ChildProgress::Ongoing(phase.to_string()),
    })
}

/// A result that was merged; nothing where no file was changed, and why where there cannot be one.
pub(crate) type MergedResult = Result<Option<NodeResult>, String>;

/// Why a result is made again that cannot be carried along.
pub(crate) fn not_brought(error: &GitError) -> String {
    format!("its files cannot be brought here: {error}")
}

/// Merges results, where workspaces are: a snapshot only reads.
pub(crate) trait MergeResults {
    /// Brings together what the nodes of an Execution changed.
    fn whole_result(
        &self,
        compiled: &CompiledPlan,
        status: &ExecutionStatus,
    ) -> Result<MergedResult, GitError>;
    /// Puts what a node changed in an earlier Execution on top of what comes before it here.
    fn carried(
        &self,
        here: (&CompiledPlan, &ExecutionStatus),
        ix: NodeIx,
        earlier: &EarlierWork<'_>,
    ) -> Result<MergedResult, GitError>;
}

/// What an Execution that succeeded gives to its node.
fn gives(compiled: &CompiledPlan, status: &ExecutionStatus, merge: &dyn MergeResults) -> ChildProgress {
    let outputs = match compiled.outputs(status) {
        Ok(outputs) => outputs,
        Err(why) => return ChildProgress::Unusable(why),
    };
    match merge.whole_result(compiled, status) {
        Ok(Ok(result)) => ChildProgress::Succeeded { outputs, result: result.map(Box::new) },
        Ok(Err(why)) => ChildProgress::Unusable(why),
        Err(error) => {
            warn!(execution = %compiled.key, %error, "the results of a plan cannot be brought together here");
            ChildProgress::Unmerged
        }
    }
}

/// Why an attempt can have no Execution: something else has its name.
fn taken(key: &ResourceKey, there: Option<DerivedExecution>) -> ChildProgress {
    let works = match there {
        Some(DerivedExecution { owner, origin: Origin::Node(node, _), .. }) => {
            format!("works for node `{node}` of execution/{}; rename a node or an Execution", owner.name)
        }
        Some(DerivedExecution { owner, .. }) => {
            format!("is a run of schedule/{}; rename the node", owner.name)
        }
        None => "is declared by a manifest; rename the node or that Execution".to_owned(),
    };
    ChildProgress::Refused(format!("execution/{} is there already, and {works}", key.name))
}

/// Why an Execution may not run a plan below this one.
fn too_deep(
    snapshot: &Snapshot,
    compiled: &CompiledPlan,
    plan: &ResourceKey,
) -> Result<Option<String>, EngineError> {
    let mut plans = vec![compiled.plan_key.clone()];
    for record in owners(snapshot, &compiled.key)? {
        let pinned = record.execution().and_then(|status| status.extensions.pinned.as_ref());
        plans.extend(pinned.map(|pinned| pinned.plan.clone()));
    }
    if plans.contains(plan) {
        let names: Vec<&str> = plans.iter().rev().chain([plan]).map(|plan| plan.name.as_str()).collect();
        return Ok(Some(format!("the plan `{}` would run itself: {}", plan.name, names.join(" → "))));
    }
    Ok((plans.len() >= MOST_NESTED).then(|| format!("plans are nested more than {MOST_NESTED} deep")))
}

/// The records of the Executions above this one, the nearest first; at most as many as plans may be nested.
pub(crate) fn owners(snapshot: &Snapshot, key: &ResourceKey) -> Result<Vec<Arc<StatusRecord>>, EngineError> {
    let mut found: Vec<Arc<StatusRecord>> = Vec::new();
    let mut next = Some(key.clone());
    // Bounded: records that own each other could be written by whoever may push the status branch.
    while let Some(key) = next.take().filter(|_| found.len() <= MOST_NESTED) {
        let Some(record) = snapshot.record(&key)? else { break };
        let owner = DerivedExecution::of(&record)
            .filter(|derived| matches!(derived.origin, Origin::Node(..)))
            .map(|derived| derived.owner_key(&key.namespace));
        if let Some(owner) = &owner
            && let Some(record) = snapshot.record(owner)?
        {
            found.push(record);
        }
        next = owner;
    }
    Ok(found)
}

/// What the owner of an Execution asks of it.
#[derive(Debug)]
pub(crate) enum OwnerRequest {
    /// Its node does not wait for it any more; says why.
    End(String),
    Suspend(PersonRequest),
    Resume(PersonRequest),
}

/// What an Execution that works for a node has to do because of its owner.
// The Execution asks, and is not told: whoever drives it holds its lease, and two steps of one record would overwrite each other.
pub(crate) fn owner_request(
    snapshot: &Snapshot,
    record: &StatusRecord,
    status: &ExecutionStatus,
) -> Result<Option<OwnerRequest>, EngineError> {
    let Some(derived) = DerivedExecution::of(record) else { return Ok(None) };
    let Origin::Node(node, attempt) = &derived.origin else { return Ok(None) };
    let Some(owner) = snapshot.record(&derived.owner_key(&record.metadata.namespace))? else {
        return Ok(None);
    };
    let Some(above) = owner.execution().filter(|_| owner.metadata.uid == derived.owner.uid) else {
        return Ok(None);
    };
    let state = above.node_statuses.get(node);
    if !state.is_some_and(|state| state.phase == NodePhase::Blocked && state.attempt == *attempt) {
        let phase = state.map_or_else(|| "gone".to_owned(), |state| state.phase.to_string());
        return Ok(Some(OwnerRequest::End(format!("node `{node}` of {} is {phase}", derived.owner.name))));
    }
    let mark = format!("with {}", derived.owner.name);
    Ok(match (&above.extensions.suspend, &status.extensions.suspend) {
        (Some(request), None) => {
            Some(OwnerRequest::Suspend(PersonRequest { comment: Some(mark), ..request.clone() }))
        }
        // Not what somebody suspended by itself.
        (None, Some(own)) if own.comment.as_ref() == Some(&mark) => Some(OwnerRequest::Resume(own.clone())),
        _ => None,
    })
}

/// An Execution at work for a node, with the plan that it is pinned to: what runs, whatever is declared by now.
pub(crate) struct PlanAtWork {
    pub(crate) record: Arc<StatusRecord>,
    pub(crate) plan: Resource,
}

/// The plan of an Execution at work; none where it is not pinned yet.
pub(crate) fn plan_at_work(
    snapshot: &Snapshot,
    execution: &ResourceKey,
) -> Result<Option<PlanAtWork>, EngineError> {
    let Some(record) = snapshot.record(execution)? else { return Ok(None) };
    let pinned = record.execution().and_then(|status| status.extensions.pinned.as_ref());
    let Some(pinned) = pinned else { return Ok(None) };
    let manifests = manifests_of(snapshot, execution, pinned)?;
    Ok(manifests.map(|manifests| PlanAtWork { record, plan: manifests.plan }))
}
