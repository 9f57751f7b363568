//! Whether a node may go on: its edges, what its expressions read, its condition, and what it may still use up.

pub(crate) mod settled;

use super::context::PlanContext;
use crate::graph::NodeIx;
use crate::model::{EdgeType, ExecutionStatus, NextStep, Node, NodePhase, NodeReason, Usage};
use crate::run::CompiledPlan;

/// Whether the edges let a node go on.
pub(super) enum EdgeState {
    /// They do.
    Open,
    /// A source, or a node that its expressions read, has not ended.
    Waiting,
    /// A hard source did not succeed, and the node's condition does not care.
    Blocked { source: NodeIx, phase: NodePhase },
}

pub(super) fn edge_state(compiled: &CompiledPlan, status: &ExecutionStatus, ix: NodeIx) -> EdgeState {
    let mut state = EdgeState::Open;
    for (source, kind) in compiled.topology.sources(ix) {
        let phase = compiled.phase_of(status, source);
        if !phase.is_terminal() {
            // A later source may have failed already, and then the node is skipped without waiting for this one.
            state = EdgeState::Waiting;
            continue;
        }
        // As `failure()` and `always()` do in CI: a condition that asks how the source ended decides by itself.
        let decides_itself = || {
            let id = compiled.name_for(ix, source)?;
            compiled.when(ix).map(|when| when.refers_to_phase_of(id.as_str()))
        };
        if kind == EdgeType::Hard && phase != NodePhase::Succeeded && !decides_itself().unwrap_or(false) {
            return EdgeState::Blocked { source, phase };
        }
    }
    // A skipped source ends before what is upstream of it may have; an expression must not depend on who is faster.
    let ended = |ix: &NodeIx| compiled.phase_of(status, *ix).is_terminal();
    if compiled.reads(ix).iter().all(ended) { state } else { EdgeState::Waiting }
}

/// Whether the condition of a node holds; one without a condition always runs.
///
/// # Errors
/// It cannot be evaluated; says why.
pub(super) fn condition(
    compiled: &CompiledPlan,
    status: &ExecutionStatus,
    ix: NodeIx,
) -> Result<bool, String> {
    let Some(when) = compiled.when(ix) else { return Ok(true) };
    when.holds(&compiled.scope(status, ix)).map_err(|error| format!("`when`: {error}"))
}

/// Whether a task is held back because what it, or its Execution, may use up is spent. It waits for a person then.
pub(super) fn is_over_budget(context: &mut PlanContext<'_>, node: &Node, provider: &str) -> bool {
    let Some(state) = context.state(&node.id) else { return false };
    // What never says what it uses up costs nothing that is counted: a test that follows an agent is not held back.
    if state.extensions.usage.is_none() && !provider.starts_with("agent://") {
        return false;
    }
    let of_node = node.budget.as_ref().and_then(|budget| {
        let granted = state.extensions.granted.as_ref().map(|granted| granted.node).unwrap_or_default();
        budget.spent(state.extensions.usage.unwrap_or_default(), granted)
    });
    let spent = of_node.map(|spent| ("it", spent)).or_else(|| {
        let status = &context.draft.status;
        let own = context.compiled().spec.budget.clone();
        let budget = own.or_else(|| context.lookup.budget())?;
        Some(("the execution", budget.spent(status.usage().unwrap_or_default(), granted(status))?))
    });
    let Some((who, spent)) = spent else { return false };
    let step = NextStep::answer(&context.compiled().key, &node.id);
    let message = format!("{who} has used {spent} of its budget; may it go on for as much again? (`{step}`)");
    context.block(&node.id, NodeReason::BudgetSpent, message);
    true
}

/// What an Execution had used up when somebody last let it go on: its budget counts from there.
fn granted(status: &ExecutionStatus) -> Usage {
    let grants = status.node_statuses.values().filter_map(|state| state.extensions.granted.as_ref());
    grants.map(|granted| granted.execution).fold(Usage::default(), Usage::larger)
}
