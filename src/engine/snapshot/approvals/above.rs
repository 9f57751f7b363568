//! What people approved above an Execution that does a node of another one. A gate before that node approves the plan with all
//! that does its tasks, and these are bound as they start: what was compared when the node started may have been changed since
//! (Invariant 11).

use std::sync::Arc;

use jiff::Timestamp;

use crate::engine::EngineError;
use crate::engine::snapshot::Snapshot;
use crate::engine::snapshot::child::{MOST_NESTED, execution_at_work};
use crate::engine::snapshot::pin::program_of;
use crate::graph::NodeIx;
use crate::model::{
    DerivedExecution, ExecutionStatus, NodeId, NodeReason, Origin, ResourceKey, StatusRecord,
};
use crate::plan::{ApprovalAbove, ApprovalCase, ApprovalLookup};
use crate::run::CompiledPlan;

/// The node that an Execution works for.
struct NodeAbove {
    owner: Arc<StatusRecord>,
    compiled: Arc<CompiledPlan>,
    ix: NodeIx,
}

/// What was approved above an Execution, at the nearest gate; none where it works for no node, or for one behind no gate.
pub(crate) fn approval_above(
    snapshot: &Snapshot,
    key: &ResourceKey,
    lookup: &dyn ApprovalLookup,
) -> Result<Option<ApprovalAbove>, EngineError> {
    let mut below = key.clone();
    // Bounded: records that own each other could be written by whoever may push the status branch.
    for _ in 0..=MOST_NESTED {
        let Some(NodeAbove { owner, compiled, ix }) = node_above(snapshot, &below)? else { break };
        let Some(status) = owner.execution() else { break };
        let case = ApprovalCase { compiled: &compiled, uid: &owner.metadata.uid, status, lookup };
        if let Some(void) = case.void_for(ix) {
            return Ok(Some(ApprovalAbove { void: Some(void) }));
        }
        if case.passed_before(ix).next().is_some() {
            return Ok(Some(ApprovalAbove { void: None }));
        }
        below = owner.key();
    }
    Ok(None)
}

/// The node that an Execution works for. Whether the owner is what it seems is for the check of the pin, before anything starts.
fn node_above(snapshot: &Snapshot, key: &ResourceKey) -> Result<Option<NodeAbove>, EngineError> {
    let Some(record) = snapshot.record(key)? else { return Ok(None) };
    let Some(derived) = DerivedExecution::of(&record) else { return Ok(None) };
    let Origin::Node(node, _) = &derived.origin else { return Ok(None) };
    let owner_key = derived.owner_key(&key.namespace);
    let Some(owner) = snapshot.record(&owner_key)? else { return Ok(None) };
    let pinned = owner.execution().and_then(|status| Some((status.extensions.pinned.as_ref()?, status)));
    let Some(pinned) = pinned else { return Ok(None) };
    let Ok(compiled) = program_of(snapshot, &owner_key, pinned)? else { return Ok(None) };
    let Some(ix) = compiled.topology.find(node.as_str()) else { return Ok(None) };
    Ok(Some(NodeAbove { owner, compiled, ix }))
}

/// Since when something below a node waits for what was approved above it; none where nothing does.
pub(crate) fn void_below(
    snapshot: &Snapshot,
    owner: &ResourceKey,
    (status, node): (&ExecutionStatus, &NodeId),
) -> Result<Option<Timestamp>, EngineError> {
    let mut open: Vec<(ResourceKey, usize)> =
        execution_at_work(snapshot, owner, status, node)?.into_iter().map(|key| (key, 0)).collect();
    let mut since = None;
    while let Some((key, depth)) = open.pop().filter(|(_, depth)| *depth <= MOST_NESTED) {
        let Some(record) = snapshot.record(&key)? else { continue };
        let Some(status) = record.execution() else { continue };
        if status.extensions.pinned.is_none() && status.reason.as_deref() == Some(APPROVAL_VOID) {
            since = since.max(status.last_phase_transition_time);
        }
        for (node, state) in status.node_statuses.iter() {
            if state.extensions.reason == Some(NodeReason::ApprovalVoid) {
                since = since.max(state.extensions.blocked_since);
            }
            let below = execution_at_work(snapshot, &key, status, node)?;
            open.extend(below.map(|below| (below, depth + 1)));
        }
    }
    Ok(since)
}

/// The reason of an Execution that is not pinned because what was approved above it is not what it would be pinned to.
pub(crate) const APPROVAL_VOID: &str = "ApprovalVoid";
