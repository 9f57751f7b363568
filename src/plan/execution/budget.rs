//! Budgets: before work that has used up what it may goes on, a person is asked.

use super::context::PlanContext;
use crate::model::{ExecutionStatus, NextStep, Node, NodeReason, Usage};

/// Whether a task is held back because what it, or its Execution, may use up is spent. It waits for a person then.
pub(super) fn is_spent(context: &mut PlanContext<'_>, node: &Node, provider: &str) -> bool {
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
