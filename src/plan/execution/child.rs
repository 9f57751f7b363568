//! Planning a task that a plan does: an Execution of its own, which is recorded in the commit that starts the node.

use std::sync::Arc;
use std::time::Duration;

use super::approval;
use super::context::PlanContext;
use super::draft::{ChildRequest, Dependency};
use super::fingerprint::inputs;
use super::held_back::awaits_execution;
use super::lookup::ChildProgress;
use super::outcome::after_attempt;
use crate::graph::NodeIx;
use crate::model::{
    BindingTarget, DerivedExecution, ExecutionSpec, ExecutionStatus, JsonMap, Name, Node, NodeId, NodeReason,
    Reference, ResolvedBinding, ResourceKey, after,
};
use crate::run::{AttemptOutcome, CompiledPlan, Evidence, NodeChange};

/// The scheme of the provider whose work is an Execution of a plan.
const PLAN: &str = "plan://";

/// After how long results are brought together again that could not be here, such as without a network.
const UNMERGED_PAUSE: Duration = Duration::from_secs(30);

/// The plan that a provider string names.
#[must_use]
pub(crate) fn plan_named(provider: &str) -> Option<Result<Name, String>> {
    let name = provider.strip_prefix(PLAN)?;
    Some(Name::new(name).map_err(|error| format!("`{provider}` names no plan: the name {error}")))
}

/// What the Execution of a node runs: the plan, with the node's inputs as parameters.
///
/// # Errors
/// An input cannot be evaluated; says which and why.
pub(crate) fn child_spec(
    compiled: &CompiledPlan,
    status: &ExecutionStatus,
    ix: NodeIx,
    plan: Name,
) -> Result<ExecutionSpec, String> {
    Ok(ExecutionSpec { parameters: inputs(compiled, status, ix)?, ..spec_below(&compiled.spec, plan) })
}

/// The same without the inputs, which are known only when the node starts.
#[must_use]
pub(crate) fn spec_below(owner: &ExecutionSpec, plan: Name) -> ExecutionSpec {
    ExecutionSpec {
        plan_ref: Reference::to(plan),
        // None of its own: it would count as one that serves the goal, which its owner does.
        goal_ref: None,
        binding_ref: owner.binding_ref.clone(),
        node_bindings: std::collections::BTreeMap::new(),
        runtime_ref: None,
        parameters: JsonMap::new(),
        context: Vec::new(),
        // For itself: what it uses up is in its own record.
        budget: owner.budget.clone(),
    }
}

/// The attempt of a node that an Execution does now; none where nothing is waited for.
#[must_use]
pub(crate) fn attempt_at_work(status: &ExecutionStatus, node: &NodeId) -> Option<u32> {
    status.node_statuses.get(node).filter(|state| awaits_execution(state)).map(|state| state.attempt)
}

pub(super) fn plan(
    context: &mut PlanContext<'_>,
    ix: NodeIx,
    node: &Node,
    (binding, target): (Arc<ResolvedBinding>, &BindingTarget),
    plan: Result<Name, String>,
) {
    let plan = match plan {
        Ok(plan) => plan,
        Err(why) => return context.block(&node.id, NodeReason::ProviderUnavailable, why),
    };
    if !node.acceptance_criteria.is_empty() {
        // Said and not passed over: work would count as checked that nobody has looked at.
        let message =
            format!("a node that `{}` does has its acceptance criteria in that plan", target.provider);
        return context.block(&node.id, NodeReason::ProviderUnavailable, message);
    }
    let Some(state) = context.state(&node.id) else { return };
    let begun = awaits_execution(state);
    let attempt = if begun { state.attempt } else { state.attempt.saturating_add(1) };
    let (child, progress) =
        context.lookup.child((context.compiled(), context.view.uid), (&node.id, attempt), &plan);
    match progress {
        ChildProgress::Missing if begun => {
            failed(context, node, format!("the record of execution/{} is gone", child.name), true);
        }
        // What has begun goes on: only a start is compared with what was approved.
        ChildProgress::Missing if approval::lacks_required_gate(context, ix, node, target) => {}
        ChildProgress::Missing if approval::hold_back(context, ix, node) => {}
        ChildProgress::Missing => ask(context, (ix, node), binding, (plan, attempt, child)),
        ChildProgress::Refused(why) => context.fail(&node.id, NodeReason::ProviderFailed, why),
        ChildProgress::Ongoing(phase) => {
            let mut message = format!("waits for execution/{}, which is {phase}", child.name);
            if let Some(why) = approval::ask_again(context, ix, node) {
                message = format!("{message}; {why}");
            }
            context.draft.on.push(Dependency::Resource(child));
            context.block(&node.id, NodeReason::AwaitingEvent, message);
        }
        ChildProgress::Succeeded { outputs, result } => {
            let message = format!("execution/{} succeeded", child.name);
            let result = result.map(|result| *result);
            let evidence = Evidence { result, ..Evidence::default() };
            context.change(&node.id, NodeChange::Succeed { reason: None, message, outputs, evidence });
        }
        ChildProgress::Unusable(why) => {
            failed(context, node, format!("execution/{}: {why}", child.name), false);
        }
        // This machine's fault and not the work's: another pass, or another runner, comes to the same result.
        ChildProgress::Unmerged => context.draft.wake_at(after(context.now, UNMERGED_PAUSE)),
        ChildProgress::Failed { message, retryable } => {
            failed(context, node, format!("execution/{} {message}", child.name), retryable);
        }
    }
}

/// Asks for the Execution of the node. The node starts when its base is known, which takes merging.
fn ask(
    context: &mut PlanContext<'_>,
    (ix, node): (NodeIx, &Node),
    binding: Arc<ResolvedBinding>,
    (plan, attempt, child): (Name, u32, ResourceKey),
) {
    // A suspended Execution goes on with what runs and starts nothing.
    if context.draft.status.extensions.suspend.is_some() {
        return;
    }
    let spec = match child_spec(context.compiled(), &context.draft.status, ix, plan) {
        Ok(spec) => spec,
        Err(why) => return context.fail(&node.id, NodeReason::ExpressionError, why),
    };
    let node = node.id.clone();
    // No record says yet whose it is.
    let is_taken = context.draft.children.iter().any(|other| other.child == child);
    let [_, apart] = DerivedExecution::keys(&context.compiled().key, &node, attempt);
    let child = if is_taken { apart } else { child };
    context.draft.children.push(ChildRequest { ix, node, attempt, spec, binding, child, base: None });
}

fn failed(context: &mut PlanContext<'_>, node: &Node, message: String, retryable: bool) {
    let Some(state) = context.state(&node.id) else { return };
    let reason = NodeReason::ProviderFailed;
    let report = AttemptOutcome::Failed { reason, message, retryable, retry_after: None }.into();
    let key = state.attempt_name(context.view.uid, &node.id);
    let change = after_attempt(node, state, report, &key, context.now);
    if let NodeChange::Retry { at, .. } = &change {
        context.draft.wake_at(*at);
    }
    context.change(&node.id, change);
}
