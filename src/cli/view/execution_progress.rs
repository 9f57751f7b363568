//! The progress of executions, gathered for the comment on the pull request that introduced them.

use std::collections::BTreeSet;

use crate::cli::error::CliError;
use crate::cli::repo_context::RepoContext;
use crate::cli::view::pinned_plan::pinned_graph;
use crate::config::Config;
use crate::model::{
    AskedApproval, ExecutionPhase, ExecutionStatus, Kind, MutexHold, NextStep, NodePhase, NodeReason,
    NodeSituation, NodeStatus, PlanGraph, ResourceKey, ResourceStatus, step_on_host,
};
use crate::record::StatusTree;
use crate::report::progress_comment::{ExecutionProgress, ReviewLine, WaitLine};

/// The progress of these executions; those without a record are left out.
pub(crate) fn of(
    workspace: &RepoContext,
    config: &Config,
    status: &StatusTree,
    keys: &[ResourceKey],
) -> Result<Vec<ExecutionProgress>, CliError> {
    let mut progress = Vec::new();
    for key in keys {
        let Some(record) = status.get(&workspace.repo, key)? else { continue };
        let Some(execution) = record.execution().cloned() else { continue };
        let graph = pinned_graph(&workspace.repo, config, status, key, &execution)?;
        let mut waits = waits(key, &execution, graph.as_ref());
        for wait in &mut waits {
            wait.asked = asked(workspace, status, key, wait)?;
        }
        let uid = record.metadata.uid.as_str();
        let reviews = reviews(workspace, status, (key, uid), &execution, graph.as_ref())?;
        let key = key.clone();
        progress.push(ExecutionProgress {
            key,
            status: execution,
            graph,
            waits,
            reviews,
            address: None,
            is_removed: false,
        });
    }
    Ok(progress)
}

/// What was said at the gates of a plan about one execution of it, oldest first.
fn reviews(
    workspace: &RepoContext,
    status: &StatusTree,
    (key, uid): (&ResourceKey, &str),
    execution: &ExecutionStatus,
    graph: Option<&PlanGraph>,
) -> Result<Vec<ReviewLine>, CliError> {
    let home = execution.extensions.pinned.as_ref().map_or(&key.namespace, |pin| &pin.plan.namespace);
    let nodes = graph.into_iter().flat_map(|graph| &graph.nodes);
    let gates: BTreeSet<ResourceKey> =
        nodes.filter_map(|node| Some(node.gate_ref.as_ref()?.key(Kind::Gate, home))).collect();
    let mut found = Vec::new();
    for key in gates {
        let record = status.get(&workspace.repo, &key)?;
        let Some(ResourceStatus::Gate(gate)) = record.map(|record| record.status) else { continue };
        // One gate is asked by many executions; what was said about another one is nothing about this one.
        let about = gate.review_history.into_iter().filter_map(|review| {
            let binding = review.extensions.filter(|binding| binding.execution == uid)?;
            Some(ReviewLine {
                gate: format!("{}/{}", key.namespace, key.name),
                who: review.reviewer,
                action: review.action,
                at: review.timestamp,
                words: review.comment,
                commit: binding.commit,
            })
        });
        found.extend(about);
    }
    found.sort_by_key(|review| review.at);
    Ok(found)
}

/// What a gate asks about for a node, as its record shows it.
fn asked(
    workspace: &RepoContext,
    status: &StatusTree,
    key: &ResourceKey,
    wait: &WaitLine,
) -> Result<Option<AskedApproval>, CliError> {
    let Some(gate) = &wait.gate else { return Ok(None) };
    let record = status.get(&workspace.repo, gate)?;
    let Some(ResourceStatus::Gate(gate)) = record.map(|record| record.status) else { return Ok(None) };
    let execution = format!("{}/{}", key.namespace, key.name);
    let mut asked =
        gate.extensions.asked.into_iter().filter(|asked| asked.execution == execution).collect::<Vec<_>>();
    // The node's own entry; where a gate is asked again for nodes behind it, the node is another one.
    let own = asked.iter().position(|asked| Some(&asked.node) == wait.node.as_ref());
    Ok(own.or_else(|| asked.len().checked_sub(1)).map(|index| asked.swap_remove(index)))
}

fn waits(key: &ResourceKey, execution: &ExecutionStatus, graph: Option<&PlanGraph>) -> Vec<WaitLine> {
    let mut waits = Vec::new();
    if execution.phase == ExecutionPhase::Blocked && execution.node_statuses.is_empty() {
        let message = execution.message.clone().unwrap_or_default();
        waits.push(WaitLine { message, ..WaitLine::default() });
    }
    if !execution.phase.is_terminal() {
        waits.extend(holds(key, execution));
    }
    // References to gates are relative to the Plan, which may be in another namespace than the Execution.
    let home = execution.extensions.pinned.as_ref().map_or(&key.namespace, |pin| &pin.plan.namespace);
    // A group waits for what is in it, which is listed itself.
    let waits_itself = |node: &NodeStatus| node.phase == NodePhase::Blocked && !node.is_summary();
    for (id, node) in execution.node_statuses.iter().filter(|(_, node)| waits_itself(node)) {
        let reason = node.extensions.reason;
        let gate = graph
            .filter(|_| reason.is_some_and(NodeReason::asks_approval))
            .and_then(|graph| graph.asked_gate(id, reason, home));
        let situation =
            NodeSituation { execution: key, node: id, phase: node.phase, reason, gate: gate.as_ref() };
        let command = step_on_host(&situation);
        let (node, message) = (Some(id.clone()), node.message.clone());
        waits.push(WaitLine { node, message, command, gate, ..WaitLine::default() });
    }
    waits
}

/// What keeps the Execution as a whole: its phase says nothing of it, and who reads that it runs would wait for nothing.
fn holds(key: &ResourceKey, execution: &ExecutionStatus) -> impl Iterator<Item = WaitLine> {
    let suspended = execution.extensions.suspend.as_ref().map(|request| WaitLine {
        message: format!("suspended by {}, so that no further node starts", request.by),
        command: NextStep::resume(key).comment(),
        ..WaitLine::default()
    });
    let mutex = execution.extensions.mutex.as_ref().and_then(MutexHold::waiting);
    // The page says that it waits.
    let short = |message: String| message.strip_prefix("waits for ").map(str::to_owned).unwrap_or(message);
    let mutex = mutex.map(|message| WaitLine { message: short(message), ..WaitLine::default() });
    suspended.into_iter().chain(mutex)
}
