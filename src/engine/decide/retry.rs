//! `retry`: which nodes run again, and which instances of repeated nodes go with that.

use std::sync::Arc;

use jiff::Timestamp;

use super::execution::{names, request};
use super::target::DecisionTarget;
use super::{Actor, DecisionEffect, refuse};
use crate::engine::EngineError;
use crate::engine::snapshot::Snapshot;
use crate::graph::NodeIx;
use crate::model::{
    NextStep, NodeId, NodeKind, NodePhase, NodeReason, NodeStatus, ResourceKey, UnfinishedWork,
};
use crate::plan::built_on;
use crate::run::{CompiledPlan, ExecutionChange, NodeChange};

/// Runs nodes again: what did not succeed and what follows it, or a node and everything after it.
pub(super) fn retry(
    snapshot: &Snapshot,
    actor: &Actor<'_>,
    key: &ResourceKey,
    from: Option<&NodeId>,
    comment: Option<&str>,
) -> Result<DecisionEffect, EngineError> {
    let mut case = DecisionTarget::open(snapshot, key)?;
    let compiled = Arc::clone(case.compiled()?);
    // An old comment that is found again must not start what has failed since then anew (Invariant 10).
    actor.answers(ended(&case, &compiled, from), "the end of what it would rerun")?;
    let chosen = chosen(&case, &compiled, from)?;
    let again: Vec<NodeId> = chosen
        .iter()
        .zip(compiled.ids.iter())
        .filter(|(wanted, _)| **wanted)
        .map(|(_, id)| id.clone())
        .filter(|id| {
            compiled
                .topology
                .find(id.as_str())
                .and_then(|ix| compiled.node(ix))
                .is_some_and(|node| node.kind != NodeKind::Group)
        })
        .collect();
    let phase = |id: &NodeId| case.status().node_statuses.get(id).map(|state| state.phase);
    // A node that is reset while its attempt runs would get a second one beside it.
    if let Some(running) = again.iter().find(|id| phase(id) == Some(NodePhase::Running)) {
        return refuse(format!("node `{running}` is running; cancel the execution first, or wait for it"));
    }
    let elsewhere = |id: &&NodeId| case.status().node_statuses.get(*id).is_some_and(NodeStatus::is_remote);
    // Its handle would be lost, and with it the only way to end the remote work.
    if let Some(away) = again.iter().find(elsewhere) {
        return refuse(still_open(&case, key, away));
    }
    if again.is_empty() {
        return refuse(nothing_to_retry(key, &case));
    }
    // Before the nodes: it takes a recorded cancellation back, which would end them again.
    case.draft.execution(ExecutionChange::Retry(request(actor, comment)), actor.at);
    let anew = collapse(&mut case, &compiled, &chosen, actor.at);
    for id in again.iter().chain(&anew) {
        // Instances whose list is computed again are gone.
        if let Some(state) = case.status().node_statuses.get(id) {
            let dropped = state.extensions.unfinished.as_deref().map(UnfinishedWork::summary);
            let dropped = dropped.map(|what| format!("{what} is dropped"));
            let words: Vec<&str> = comment.into_iter().chain(dropped.as_deref()).collect();
            let gap = if words.is_empty() { "" } else { ": " };
            let message = format!("retried by {}{gap}{}", actor.name, words.join("; "));
            case.draft.node(id, NodeChange::Reset { message }, actor.at);
        }
    }
    // Before the phases are summed up, of which the instances that are gone have none.
    if let Ok(compiled) = compiled.of_status(case.status()) {
        case.compiled = Some(compiled);
    }
    let said = format!("retried: {}", again.iter().map(NodeId::as_str).collect::<Vec<_>>().join(", "));
    let mut verdict = DecisionEffect::default();
    case.close_because(&mut verdict, actor, ("Retried", &said), comment);
    Ok(verdict)
}

/// Why a node is not made again that goes on elsewhere, or whose question waits for an answer.
fn still_open(case: &DecisionTarget, key: &ResourceKey, node: &NodeId) -> String {
    let reason = case.status().node_statuses.get(node).and_then(|state| state.extensions.reason);
    if reason == Some(NodeReason::InputRequired) {
        let step = NextStep::answer(key, node);
        return format!(
            "the question of node `{node}` is still open; answer it first (`{step}`), or cancel the execution"
        );
    }
    format!("the remote work of node `{node}` is still running; cancel the execution first, or wait for it")
}

/// Why there is nothing to retry.
fn nothing_to_retry(key: &ResourceKey, case: &DecisionTarget) -> String {
    let ended = |state: &NodeStatus| state.phase.is_terminal();
    let nodes = &case.status().node_statuses;
    let states = || nodes.iter().map(|(_, state)| state);
    if !states().any(ended) {
        // After a retry nothing has ended either.
        return match states().any(|state| state.attempt > 0) {
            true => format!(
                "{key} is under way and nothing of it has failed; the next `planspec reconcile` goes on"
            ),
            false => format!("{key} has not run yet, so there is nothing to retry"),
        };
    }
    match states().all(ended) {
        true => format!("every node of {key} succeeded; name one to rerun with --from"),
        false => format!("no node of {key} has failed; name one to rerun with --from"),
    }
}

/// Takes the instances of those nodes back whose list is computed from something that runs again; gives these nodes. The same
/// items for another list would be work for what is no longer asked for.
fn collapse(
    case: &mut DecisionTarget,
    compiled: &CompiledPlan,
    chosen: &[bool],
    at: Timestamp,
) -> Vec<NodeId> {
    let is_chosen = |ix: NodeIx| chosen.get(ix).copied().unwrap_or(false);
    let mut anew = Vec::new();
    for (root, repeated) in compiled.expansion.all().filter(|(_, repeated)| repeated.is_computed) {
        let Some(ix) = compiled.topology.find(root.as_str()).filter(|_| repeated.items.is_some()) else {
            continue;
        };
        if compiled.topology.sources(ix).any(|(source, _)| is_chosen(source)) {
            let instances = compiled.expansion.nodes_of(root).cloned().collect();
            case.draft.execution(ExecutionChange::Collapse { node: root.clone(), instances }, at);
            anew.push(root.clone());
        }
    }
    anew
}

/// When the first of what is retried came to an end: a comment from before that asked to retry an earlier run of it.
fn ended(case: &DecisionTarget, compiled: &CompiledPlan, from: Option<&NodeId>) -> Option<Timestamp> {
    let ids = compiled.ids.iter().enumerate().filter(|(ix, id)| match from {
        Some(from) => *id == from,
        None => wants_retry(case, compiled, *ix),
    });
    let states = ids.filter_map(|(_, id)| case.status().node_statuses.get(id));
    let ends = states
        .map(|state| state.completion_time.or(state.extensions.blocked_since).max(state.extensions.reset_at));
    ends.min().flatten()
}

/// Which nodes run again, by index.
fn chosen(
    case: &DecisionTarget,
    compiled: &CompiledPlan,
    from: Option<&NodeId>,
) -> Result<Vec<bool>, EngineError> {
    let mut chosen = vec![false; compiled.ids.len()];
    let starts: Vec<usize> = match from {
        Some(id) => match compiled.topology.find(id.as_str()) {
            Some(ix) => vec![ix],
            None => {
                return refuse(format!("{} has no node `{id}`; its nodes: {}", case.key, names(compiled)));
            }
        },
        None => (0..compiled.ids.len()).filter(|&ix| wants_retry(case, compiled, ix)).collect(),
    };
    for start in with_members(compiled, starts) {
        // What follows worked with outputs and files that are about to change.
        for (flag, again) in chosen.iter_mut().zip(built_on(compiled, case.status(), start)) {
            *flag |= again;
        }
    }
    Ok(chosen)
}

/// Groups run nothing themselves: to rerun one, as all instances of a node, is to rerun what is in it.
fn with_members(compiled: &CompiledPlan, starts: Vec<NodeIx>) -> Vec<NodeIx> {
    let mut all = starts;
    let mut next = 0;
    while let Some(&ix) = all.get(next) {
        next += 1;
        all.extend(compiled.topology.children(ix));
    }
    all.sort_unstable();
    all.dedup();
    all
}

fn wants_retry(case: &DecisionTarget, compiled: &CompiledPlan, ix: usize) -> bool {
    let Some(node) = compiled.node(ix).filter(|node| node.kind != NodeKind::Group) else { return false };
    case.status().node_statuses.get(&node.id).is_some_and(|state| match state.phase {
        NodePhase::Failed | NodePhase::Cancelled => true,
        NodePhase::Blocked => {
            // These two wait for a person. Every other blocked node goes on by itself, or by a command of its
            // own.
            state.extensions.reason.is_some_and(NodeReason::needs_decision)
        }
        _ => false,
    })
}
