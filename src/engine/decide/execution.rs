//! Decisions about executions and their nodes.

use std::sync::Arc;

use jiff::Timestamp;

use super::handed_in::handed_in;
use super::held_back::may_be_done;
use super::target::DecisionTarget;
use super::{Actor, DecisionEffect, refuse};
use crate::engine::EngineError;
use crate::engine::execution::active::terms;
use crate::engine::snapshot::Snapshot;
use crate::engine::snapshot::lookup::capabilities_of;
use crate::index::Topic;
use crate::model::{
    ExecutionPhase, ExecutionStatus, JsonMap, Kind, Node, NodeDecision, NodeId, NodeKind, NodePhase,
    NodeReason, NodeStatus, PersonRequest, ResourceKey,
};
use crate::plan::{LeaseState, capability, has_begun, lease_state};
use crate::run::{CompiledPlan, Evidence, ExecutionChange, NodeChange};

pub(super) fn request(actor: &Actor<'_>, comment: Option<&str>) -> PersonRequest {
    PersonRequest { by: actor.name.clone(), at: actor.at, comment: comment.map(ToOwned::to_owned) }
}

/// The same, dated by when it was said: the job of a comment may begin after that of a later one was written, which would else
/// seem to be the older of the two.
fn said_at(actor: &Actor<'_>, comment: Option<&str>) -> PersonRequest {
    PersonRequest { at: actor.made_at(), ..request(actor, comment) }
}

/// What a person says of the work of a node.
pub(super) enum HumanWork<'w> {
    /// It is done, with these outputs and, where it changed files, this commit.
    Done(&'w JsonMap, Option<&'w str>),
    /// It cannot be done.
    Failed,
}

/// A person did the work of a node, or says that it cannot be done.
pub(super) fn complete(
    snapshot: &Snapshot,
    actor: &Actor<'_>,
    (key, id): (&ResourceKey, &NodeId),
    work: &HumanWork<'_>,
    comment: Option<&str>,
) -> Result<DecisionEffect, EngineError> {
    let mut case = DecisionTarget::open(snapshot, key)?;
    let compiled = Arc::clone(case.compiled()?);
    let found = compiled.topology.find(id.as_str()).and_then(|ix| Some((ix, compiled.node(ix)?)));
    let Some((ix, node)) = found else {
        return refuse(format!("{key} has no node `{id}`; its nodes: {}", names(&compiled)));
    };
    may_complete(&case, node)?;
    case.is_merged(snapshot)?;
    if matches!(work, HumanWork::Done(..)) {
        may_be_done(snapshot, &case, (&compiled, ix, id))?;
    }
    let began = case.status().node_statuses.get(id).and_then(|state| state.extensions.blocked_since);
    actor.answers(began, "the wait of the node")?;
    let failed = matches!(work, HumanWork::Failed);
    let word = if failed { "failed" } else { "completed" };
    let words = comment.map(|comment| format!(": {comment}")).unwrap_or_default();
    let message = format!("{word} by {}{words}", actor.name);
    let (outputs, result) = match work {
        // What failed gives no outputs, so the declared ones are not asked for.
        HumanWork::Failed => (JsonMap::new(), None),
        HumanWork::Done(outputs, commit) => {
            let outputs = checked(snapshot, &compiled, ix, node, outputs)?;
            let hand_in = |commit: &&str| handed_in(snapshot, &case, (&compiled, ix, node), commit);
            (outputs, commit.as_ref().map(hand_in).transpose()?)
        }
    };
    let state = case.status().node_statuses.get(id);
    // Without a handle nothing was given to the provider that could be cancelled.
    let elsewhere = state.is_some_and(|state| state.is_remote() && state.extensions.handle.is_some());
    let reason = NodeReason::CompletedByPerson;
    let (change, said) = if elsewhere {
        // Only a reconcile knows the providers; and nothing that comes after may run beside work that is still to be
        // cancelled.
        let said = format!("{word}, as soon as the next reconcile has cancelled its remote work");
        (NodeChange::Decide(Box::new(NodeDecision { failed, outputs, message, result })), said)
    } else if failed {
        let evidence = Evidence::default();
        (NodeChange::Fail { reason, message, evidence }, word.to_owned())
    } else {
        let evidence = Evidence { result, ..Evidence::default() };
        (NodeChange::Succeed { reason: Some(reason), message, outputs, evidence }, word.to_owned())
    };
    if !case.draft.node(id, change, actor.at) {
        return refuse(format!("node `{id}` cannot be completed in its phase"));
    }
    let mut verdict = DecisionEffect::default();
    case.close(&mut verdict, actor, "Completed", &format!("node {id} {said}"));
    Ok(verdict)
}

fn group_ids(compiled: &CompiledPlan) -> Vec<NodeId> {
    let groups = compiled.plan.graph.nodes.iter().filter(|node| node.kind == NodeKind::Group);
    groups.map(|node| node.id.clone()).collect()
}

/// The nodes that a cancellation leaves as they are.
fn kept_by_cancel(compiled: &CompiledPlan, status: &ExecutionStatus) -> Vec<NodeId> {
    // Groups follow from their children when the decision is closed.
    let mut kept = group_ids(compiled);
    // What cleans up is left to the next reconcile, as planning does it.
    if has_begun(compiled, status) {
        let last = compiled.plan.graph.nodes.iter().filter(|node| node.finally);
        kept.extend(last.map(|node| node.id.clone()));
    }
    kept
}

pub(super) fn names(compiled: &CompiledPlan) -> String {
    compiled.ids.iter().map(NodeId::as_str).collect::<Vec<_>>().join(", ")
}

fn may_complete(case: &DecisionTarget, node: &Node) -> Result<(), EngineError> {
    let Some(state) = case.status().node_statuses.get(&node.id) else {
        return refuse(format!("{} has no status for node `{}`", case.key, node.id));
    };
    match (node.kind, state.phase) {
        (NodeKind::Gate, _) => refuse(format!("node `{}` is a gate; approve or reject it", node.id)),
        (NodeKind::Group, _) if state.extensions.instances.is_some() => {
            let count = state.extensions.instances.as_ref().map_or(0, |items| items.len());
            // By their names alone: a list of a thousand would hide what to do.
            let last = count.saturating_sub(1);
            refuse(format!("node `{0}` is repeated; complete one of `{0}-0` to `{0}-{last}`", node.id))
        }
        (NodeKind::Group, _) => refuse(format!("node `{}` is a group; complete its children", node.id)),
        (_, NodePhase::Blocked) => match &state.extensions.decided {
            Some(decided) => refuse(format!(
                "node `{}` is already {}; the next reconcile cancels its remote work",
                node.id, decided.message
            )),
            None => Ok(()),
        },
        // Its attempt and this decision would be two ends of one node (Invariant 10).
        (_, NodePhase::Running) => refuse(format!(
            "node `{}` is being worked on by {}",
            node.id,
            state.extensions.runner.as_deref().unwrap_or("a runner")
        )),
        // It may still be skipped, which its sources decide.
        (_, NodePhase::Pending) => {
            refuse(format!("node `{}` waits for other nodes, or for the next reconcile", node.id))
        }
        (_, phase) => refuse(format!("node `{}` is already {phase}; `planspec retry` reruns it", node.id)),
    }
}

/// The outputs, where they are what the node declares and what its capabilities promise; texts are read as the types that
/// these declare.
fn checked(
    snapshot: &Snapshot,
    compiled: &CompiledPlan,
    ix: usize,
    node: &Node,
    outputs: &JsonMap,
) -> Result<JsonMap, EngineError> {
    check_outputs(node, outputs)?;
    let capabilities = capabilities_of(snapshot, compiled, ix)?;
    capability::check_outputs(outputs.clone(), &capabilities)
        .or_else(|why| refuse(format!("{why}; pass outputs as NAME=TEXT, or NAME:=JSON for other types")))
}

fn check_outputs(node: &Node, outputs: &JsonMap) -> Result<(), EngineError> {
    let missing: Vec<&str> =
        node.outputs.iter().filter(|name| !outputs.contains_key(*name)).map(String::as_str).collect();
    if !missing.is_empty() {
        return refuse(format!(
            "node `{}` declares outputs that are missing: {}; pass outputs as NAME=TEXT, or NAME:=JSON for other types",
            node.id,
            missing.join(", ")
        ));
    }
    let unknown: Vec<&str> =
        outputs.keys().filter(|name| !node.outputs.contains(name)).map(String::as_str).collect();
    if !node.outputs.is_empty() && !unknown.is_empty() {
        let declared = node.outputs.join(", ");
        return refuse(format!(
            "node `{}` does not declare {}; it declares: {declared}",
            node.id,
            unknown.join(", ")
        ));
    }
    Ok(())
}

/// Cancels an execution, or every execution of a goal that is under way.
pub(super) fn cancel(
    snapshot: &Snapshot,
    actor: &Actor<'_>,
    target: &ResourceKey,
    comment: Option<&str>,
) -> Result<DecisionEffect, EngineError> {
    let mut verdict = DecisionEffect::default();
    let keys = match target.kind {
        Kind::Execution => vec![target.clone()],
        Kind::Goal => snapshot.index.mentions(&Topic::Resource(target.clone()))?,
        _ => return refuse("only executions and goals can be cancelled"),
    };
    for key in keys.into_iter().filter(|key| key.kind == Kind::Execution) {
        // Its manifest mentions the goal, but an owner of it is gone and no reconcile has begun it: there is
        // nothing to cancel.
        if target.kind == Kind::Goal && snapshot.record(&key)?.is_none() && snapshot.present(&key)?.is_none()
        {
            continue;
        }
        let case = DecisionTarget::open_any(snapshot, &key, actor.at)?;
        match case.status().phase {
            // Of a goal only what is under way is meant.
            phase if phase.is_terminal() && target.kind == Kind::Goal => {}
            // Asked for twice it is no error, as with a job that is run again.
            ExecutionPhase::Cancelled => {
                verdict.lines.push(format!("execution/{} is already cancelled", key.name));
            }
            phase if phase.is_terminal() => {
                return refuse(format!("{key} is already {phase}; there is nothing to cancel"));
            }
            _ => {
                // Comments on a host, which may be found again later, name Executions alone.
                if target.kind == Kind::Execution {
                    actor.answers(restarted(case.status()), "the last start of the execution")?;
                }
                cancel_one(snapshot, actor, case, comment, &mut verdict);
            }
        }
    }
    if verdict.lines.is_empty() {
        return refuse(format!("no execution of {target} is running"));
    }
    Ok(verdict)
}

/// When an execution was queued or last retried: a comment from before that asked to cancel something else.
fn restarted(status: &ExecutionStatus) -> Option<Timestamp> {
    let retried = status.node_statuses.values().filter_map(|state| state.extensions.reset_at).max();
    retried.max(status.queued_time)
}

fn cancel_one(
    snapshot: &Snapshot,
    actor: &Actor<'_>,
    mut case: DecisionTarget,
    comment: Option<&str>,
    verdict: &mut DecisionEffect,
) {
    if case.status().extensions.cancel.is_none() {
        case.draft.execution(ExecutionChange::RequestCancel(request(actor, comment)), actor.at);
    }
    let lease = case.status().extensions.lease.clone();
    // A command keeps no memory of leases, so it takes this for the first sight and grants the holder the
    // whole time.
    let held = lease_state(lease.as_ref(), actor.runner, terms(snapshot), actor.at, actor.at);
    let said = match (held, lease) {
        // Its runner ends what runs and records it; nobody else can.
        (LeaseState::Held(_), Some(lease)) => format!("cancellation requested; {} ends it", lease.holder),
        _ => {
            let words = comment.map(|comment| format!(": {comment}")).unwrap_or_default();
            let message = format!("cancelled by {}{words}", actor.name);
            let kept = case.compiled.as_ref().map(|compiled| kept_by_cancel(compiled, case.status()));
            let kept = kept.unwrap_or_default();
            let ids: Vec<NodeId> = case.status().node_statuses.keys().cloned().collect();
            let mut elsewhere = Vec::new();
            for id in ids.into_iter().filter(|id| !kept.contains(id)) {
                if case.status().node_statuses.get(&id).is_some_and(goes_on_elsewhere) {
                    elsewhere.push(id);
                    continue;
                }
                let reason = NodeReason::CancelRequested;
                case.draft.node(&id, NodeChange::Cancel { reason, message: message.clone() }, actor.at);
            }
            // Nobody drives it any more, so no runner has to wait for the lease to run out.
            case.draft.status.extensions.lease = None;
            if elsewhere.is_empty() {
                "cancelled".to_owned()
            } else {
                // Only a reconcile knows the providers.
                let ids = elsewhere.iter().map(NodeId::as_str).collect::<Vec<_>>().join(", ");
                format!("cancelled, except for remote work, which the next reconcile cancels: {ids}")
            }
        }
    };
    case.close_because(verdict, actor, ("CancelRequested", &said), comment);
}

/// Whether something of a node goes on, or is shown, at its provider, which only a reconcile can end.
fn goes_on_elsewhere(state: &NodeStatus) -> bool {
    let shown = state.extensions.proposal.as_ref().is_some_and(|proposal| proposal.handle.is_some());
    state.is_remote() || (shown && !state.phase.is_terminal())
}

/// The lease is nobody's any more. Its token stays used up, so what its runner still writes cannot count as the work of the
/// next one.
pub(super) fn unlock(
    snapshot: &Snapshot,
    actor: &Actor<'_>,
    key: &ResourceKey,
    comment: Option<&str>,
) -> Result<DecisionEffect, EngineError> {
    let mut target = DecisionTarget::open(snapshot, key)?;
    let mut effect = DecisionEffect::default();
    // No error: of two people who free it at once, the second has what they asked for.
    let Some(lease) = target.status().extensions.lease.clone() else {
        effect.lines.push(format!("execution/{} is not locked", key.name));
        return Ok(effect);
    };
    // Another runner drives it by now, or the same one again, whom nobody has asked about (Invariant 11).
    actor.answers(Some(lease.acquire_time), "the lease")?;
    target.draft.execution(ExecutionChange::Unlock(request(actor, comment)), actor.at);
    let said = format!("unlocked; runner {} held token {}", lease.holder, lease.token);
    target.close_because(&mut effect, actor, ("Unlocked", &said), comment);
    Ok(effect)
}

/// Nothing further starts; what runs goes on.
pub(super) fn suspend(
    snapshot: &Snapshot,
    actor: &Actor<'_>,
    key: &ResourceKey,
    comment: Option<&str>,
) -> Result<DecisionEffect, EngineError> {
    let mut case = DecisionTarget::open(snapshot, key)?;
    let mut verdict = DecisionEffect::default();
    if case.status().extensions.suspend.is_some() {
        verdict.lines.push(format!("execution/{} is already suspended", key.name));
        return Ok(verdict);
    }
    let resumed = case.status().extensions.resumed.as_ref().map(|request| request.at);
    let restarted = restarted(case.status());
    actor.answers(restarted.max(resumed), "the last time that the execution was started or resumed")?;
    // The fold refuses it for what is over (Invariant 10).
    if !case.draft.execution(ExecutionChange::Suspend(said_at(actor, comment)), actor.at) {
        return refuse(format!("{key} is already {}", case.status().phase));
    }
    case.close_because(&mut verdict, actor, ("Suspended", "suspended"), comment);
    Ok(verdict)
}

/// Things start again.
pub(super) fn resume(
    snapshot: &Snapshot,
    actor: &Actor<'_>,
    key: &ResourceKey,
) -> Result<DecisionEffect, EngineError> {
    let mut case = DecisionTarget::open(snapshot, key)?;
    let mut verdict = DecisionEffect::default();
    let Some(suspended) = case.status().extensions.suspend.as_ref().map(|request| request.at) else {
        verdict.lines.push(format!("execution/{} is not suspended", key.name));
        return Ok(verdict);
    };
    actor.answers(Some(suspended), "the suspension")?;
    case.draft.execution(ExecutionChange::Resume(said_at(actor, None)), actor.at);
    case.close(&mut verdict, actor, "Resumed", "resumed");
    Ok(verdict)
}
