//! Planning nodes with `forEach` or `matrix`: when their list becomes known, how many instances run at once, and which of them
//! are enough.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use super::context::PlanContext;
use super::sum_groups;
use crate::graph;
use crate::graph::NodeIx;
use crate::model::{InstanceJoin, Node, NodeId, NodePhase, NodeReason, NodeStatus};
use crate::run::{CompiledPlan, ExecutionChange, group_phase, joined_phase};

/// The largest list that is recorded, as JSON. It is a part of every later version of the record.
const LARGEST_LIST: usize = 1024 * 1024;

/// A repeated node whose sources have ended: its list is computed and recorded, once (Invariant 9).
pub(super) fn plan_list(context: &mut PlanContext<'_>, ix: NodeIx, node: &Node) {
    let items = match items(context, ix, node) {
        Ok(items) => items,
        // The plan and the outputs are what they are, so no later pass comes to another list.
        Err(message) => return context.fail(&node.id, NodeReason::ExpressionError, message),
    };
    tracing::debug!(execution = %context.compiled().key, node = %node.id, items = items.len(), "list known");
    if items.is_empty() {
        return context.succeed(&node.id, "its list is empty".to_owned());
    }
    let items = Arc::new(items);
    // By the very function by which any other runner reads the record, so that nothing else is ever in it.
    let list = |id: &NodeId| (*id == node.id).then(|| Arc::clone(&items));
    let instances = match graph::expand(context.compiled().declared_graph(), list) {
        Ok(Some(expanded)) => expanded.expansion.nodes_of(&node.id).cloned().collect(),
        Ok(None) => return,
        Err(error) => return context.fail(&node.id, NodeReason::ExpressionError, error.to_string()),
    };
    let change = ExecutionChange::Expand { node: node.id.clone(), items, instances };
    context.draft.expanded |= context.draft.execution(change, context.now);
}

fn items(context: &PlanContext<'_>, ix: NodeIx, node: &Node) -> Result<Vec<Value>, String> {
    let compiled = context.compiled();
    // What is written and has instances never comes here.
    let Some(template) = compiled.inputs(ix).filter(|_| node.computed_items().is_some()) else {
        return Ok(Vec::new());
    };
    let scope = compiled.scope(&context.draft.status, ix);
    let items = match template.render(&scope).map_err(|error| format!("`forEach.items`: {error}"))? {
        Value::Array(items) => items,
        // The usual reason: an output that is written as `NAME=VALUE` is text, whatever it looks like.
        Value::String(_) => {
            let how = "a command gives one by writing its outputs as a JSON object";
            return Err(format!("`forEach.items` is a string, and must be a list; {how}"));
        }
        other => return Err(format!("`forEach.items` is {}, and must be a list", kind_of(&other))),
    };
    let count = items.len();
    let most = node.max_items();
    if count > most {
        return Err(format!("`forEach.items` has {count} items, and `maxItems` is {most}"));
    }
    let size = Value::from(items.as_slice()).to_string().len();
    if size > LARGEST_LIST {
        return Err(format!(
            "`forEach.items` has {size} bytes as JSON, and must have at most {LARGEST_LIST}"
        ));
    }
    Ok(items)
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// What the phases of a group's children add up to; a repeated node says how many of its instances have to succeed.
pub(super) fn sum(
    compiled: &CompiledPlan,
    id: &NodeId,
    children: impl Iterator<Item = NodePhase> + Clone,
) -> NodePhase {
    let root = compiled.expansion.root_of(id).and_then(|root| compiled.expansion.repeated(root));
    match root {
        Some(repeated) => joined_phase(repeated.join, children),
        None => group_phase(children),
    }
}

/// Sums up before anything is planned where one instance is enough: those that are left must not start in the pass that
/// learns of it.
pub(super) fn begin(context: &mut PlanContext<'_>) {
    let compiled = context.compiled();
    if compiled.expansion.all().any(|(_, repeated)| repeated.join == InstanceJoin::Any) {
        sum_groups(compiled, context.draft, context.now);
    }
}

/// Whether a node that has not begun is not needed any more: one instance is enough, and another one succeeded.
pub(super) fn is_superfluous(context: &PlanContext<'_>, node: &Node) -> bool {
    let expansion = &context.compiled().expansion;
    let Some(instance) = expansion.instance(&node.id) else { return false };
    let any = expansion.repeated_of(instance).is_some_and(|repeated| repeated.join == InstanceJoin::Any);
    let succeeded = |id: &NodeId| context.state(id).is_some_and(|state| state.phase == NodePhase::Succeeded);
    any && expansion.instances_of(instance.root.as_str()).is_some_and(|all| all.iter().any(succeeded))
}

/// Leaves as many instances ready as may run at once, in the order of the items.
pub(super) fn bound(context: &mut PlanContext<'_>) {
    let compiled = context.compiled();
    for (root, repeated) in compiled.expansion.all() {
        let Some(most) = repeated.max_parallel.and_then(|most| usize::try_from(most).ok()) else { continue };
        let active = active_instances(compiled, context, root);
        let index_of = |id: &NodeId| {
            compiled.expansion.instance(id).filter(|at| at.root == *root).map(|instance| instance.index)
        };
        // What is under way goes on: a node of it that is ready is not another instance.
        let new: BTreeSet<usize> =
            context.draft.ready.iter().filter_map(|ready| index_of(&ready.id)).collect();
        let room = most.saturating_sub(active.len());
        let chosen: BTreeSet<usize> = new.difference(&active).copied().take(room).collect();
        context.draft.ready.retain(|ready| {
            index_of(&ready.id).is_none_or(|index| active.contains(&index) || chosen.contains(&index))
        });
    }
}

/// The instances that count as running: for which something was begun that has not ended.
fn active_instances(compiled: &CompiledPlan, context: &PlanContext<'_>, root: &NodeId) -> BTreeSet<usize> {
    let all = compiled.expansion.instances_of(root.as_str()).unwrap_or_default();
    let is_active = |id: &NodeId| {
        let Some(state) = context.state(id) else { return false };
        let members = compiled.topology.find(id.as_str()).map(|ix| compiled.topology.children(ix));
        match members.filter(|members| !members.is_empty()) {
            // Of a Group also between two of its tasks; a Gate that nobody has answered runs nothing.
            Some(members) => {
                !state.phase.is_terminal() && members.iter().any(|&ix| has_begun(compiled, context, ix))
            }
            None => is_under_way(state),
        }
    };
    all.iter().enumerate().filter(|(_, id)| is_active(id)).map(|(index, _)| index).collect()
}

fn has_begun(compiled: &CompiledPlan, context: &PlanContext<'_>, ix: NodeIx) -> bool {
    let own = compiled.ids.get(ix).and_then(|id| context.state(id)).is_some_and(|state| state.attempt > 0);
    own || compiled.topology.children(ix).iter().any(|&child| has_begun(compiled, context, child))
}

/// Whether work goes on here, remotely or with a person. What waits for a decision or a Binding would else keep all others
/// from starting.
fn is_under_way(state: &NodeStatus) -> bool {
    let people = || {
        let reason = state.extensions.reason;
        matches!(reason, Some(NodeReason::AwaitingPerson | NodeReason::InputRequired))
    };
    state.is_under_way() || state.is_remote() || (state.phase == NodePhase::Blocked && people())
}
