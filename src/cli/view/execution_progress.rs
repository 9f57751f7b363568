//! The progress of executions, gathered for the comment on the pull request that brought them.

use crate::cli::error::CliError;
use crate::cli::repo_context::RepoContext;
use crate::cli::view::pinned_plan::pinned_graph;
use crate::config::Config;
use crate::model::{
    ExecutionPhase, ExecutionStatus, NextStep, NodePhase, NodeReason, NodeSituation, PlanGraph, ResourceKey,
    next_steps, required_step,
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
    // References to gates are relative to the Plan, which may be in another namespace than the Execution.
    let home = execution.extensions.pinned.as_ref().map_or(&key.namespace, |pin| &pin.plan.namespace);
    for (id, node) in execution.node_statuses.iter().filter(|(_, node)| node.phase == NodePhase::Blocked) {
        let reason = node.extensions.reason;
        let gate = graph
            .filter(|_| reason == Some(NodeReason::AwaitingApproval))
            .and_then(|graph| graph.gate_of(id, home));
        let situation =
            NodeSituation { execution: key, node: id, phase: node.phase, reason, gate: gate.as_ref() };
        // A step that only explains has no form as a comment; the next one that changes something has.
        let required = required_step(&situation).is_some();
        let command = next_steps(&situation).iter().filter(|_| required).find_map(NextStep::comment);
        let (node, message) = (Some(id.clone()), node.message.clone());
        waits.push(WaitLine { node, message, command, gate, ..WaitLine::default() });
    }
    waits
}
