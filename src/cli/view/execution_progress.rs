//! The progress of executions, gathered for the comment on the pull request that brought them.

use crate::cli::error::CliError;
use crate::cli::repo_context::RepoContext;
use crate::cli::view::pinned_plan::pinned_graph;
use crate::config::Config;
use crate::model::{
    ExecutionPhase, ExecutionStatus, Kind, NodeId, NodePhase, NodeReason, PlanGraph, ResourceKey,
};
use crate::record::StatusTree;
use crate::report::progress_comment::{ExecutionProgress, WaitLine};

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
        let waits = waits(key, &execution, graph.as_ref());
        progress.push(ExecutionProgress { key: key.clone(), status: execution, graph, waits, address: None });
    }
    Ok(progress)
}

fn waits(key: &ResourceKey, execution: &ExecutionStatus, graph: Option<&PlanGraph>) -> Vec<WaitLine> {
    let mut waits = Vec::new();
    if execution.phase == ExecutionPhase::Blocked && execution.node_statuses.is_empty() {
        let message = execution.message.clone().unwrap_or_default();
        waits.push(WaitLine { message, ..WaitLine::default() });
    }
    for (id, node) in execution.node_statuses.iter().filter(|(_, node)| node.phase == NodePhase::Blocked) {
        let command = node.extensions.reason.and_then(|reason| command(key, id, reason, graph));
        let asks = node.extensions.reason == Some(NodeReason::AwaitingApproval);
        let gate = if asks { gate(execution, key, id, graph) } else { None };
        let (node, message) = (Some(id.clone()), node.message.clone());
        waits.push(WaitLine { node, message, command, gate, ..WaitLine::default() });
    }
    waits
}

/// The gate that a node waits at.
fn gate(
    execution: &ExecutionStatus,
    key: &ResourceKey,
    node: &NodeId,
    graph: Option<&PlanGraph>,
) -> Option<ResourceKey> {
    let home = execution.extensions.pinned.as_ref().map_or(&key.namespace, |pin| &pin.plan.namespace);
    let found = graph?.nodes.iter().find(|other| other.id == *node)?;
    Some(found.gate_ref.as_ref()?.key(Kind::Gate, home))
}

/// What somebody writes to let a node go on.
fn command(
    key: &ResourceKey,
    node: &NodeId,
    reason: NodeReason,
    graph: Option<&PlanGraph>,
) -> Option<String> {
    match reason {
        NodeReason::AwaitingApproval => {
            let found = graph?.nodes.iter().find(|other| other.id == *node)?;
            let gate = found.gate_ref.as_ref()?.key(Kind::Gate, &key.namespace);
            Some(format!("/planspec approve {}/{}", key.name, gate.name))
        }
        NodeReason::AwaitingPerson | NodeReason::InputRequired | NodeReason::Unbound => {
            Some(format!("/planspec complete {}/{node}", key.name))
        }
        NodeReason::RunnerLost | NodeReason::ContentRefused => {
            Some(format!("/planspec retry {} {node}", key.name))
        }
        _ => None,
    }
}
