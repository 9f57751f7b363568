//! Approvals while an Execution is planned: what a gate asks about, and whether what was approved is what a node would do now
//! (Invariant 11).

use super::context::PlanContext;
use super::draft::{Dependency, GateRequest};
use super::lookup::{GateVerdict, demand};
use crate::graph::NodeIx;
use crate::model::{Kind, Node, NodeId, NodePhase, NodeReason, ResourceKey};
use crate::plan::required_gates::is_behind;

/// The Gate resource of a gate node.
pub(super) fn gate_key(context: &PlanContext<'_>, node: &Node) -> Option<ResourceKey> {
    let home = &context.compiled().plan_key.namespace;
    node.gate_ref.as_ref().map(|gate| gate.key(Kind::Gate, home))
}

/// What a gate node asks of its Gate; `blocked` is the node that cannot go on without.
pub(super) fn request(
    context: &PlanContext<'_>,
    gate: ResourceKey,
    ix: NodeIx,
    blocked: &NodeId,
) -> Option<GateRequest> {
    demand(&context.view, &context.draft.status, context.lookup, gate, (ix, blocked))
}

/// The decision about a gate, for what stands before and after it now.
pub(super) fn verdict(context: &PlanContext<'_>, request: &GateRequest, node: &Node) -> GateVerdict {
    // After a `retry` the gate is asked anew: an approval from before it was for a run that is over.
    let since = context.state(&node.id).and_then(|state| state.extensions.reset_at);
    context.lookup.gate(&request.gate, &request.binding, since)
}

/// Blocks a node whose provider needs a gate that was not approved before it. Says whether the node is held back.
pub(super) fn lacks_required_gate(
    context: &mut PlanContext<'_>,
    ix: NodeIx,
    node: &Node,
    provider: &str,
) -> bool {
    let compiled = context.compiled();
    let home = &compiled.plan_key.namespace;
    // Passed, and not only written down: a gate that was skipped asked nobody.
    let passed = |at| context.phase(at) == NodePhase::Succeeded;
    let graph = (&compiled.topology, compiled.plan.graph.nodes.as_slice());
    let mut required = context.lookup.required_gates(provider).into_iter();
    let Some(gate) = required.find(|gate| !is_behind(gate, home, graph, ix, passed)) else { return false };
    let message = format!(
        "`gates.require` asks for gate `{gate}` before {provider}, and none was approved before the node"
    );
    // What lets it go on is a commit: another plan, another Binding, or another configuration.
    context.wait_for_bindings(node);
    context.block(&node.id, NodeReason::GateRequired, message);
    true
}

/// Blocks a node that is about to start where a gate before it was approved for something else: a Binding may have been
/// merged after the approval, or before a `retry`. The gate stays Succeeded (Invariant 10), and its reviewers are asked again.
/// Says whether the node is held back.
pub(super) fn hold_back(context: &mut PlanContext<'_>, ix: NodeIx, node: &Node) -> bool {
    for &gate_ix in context.compiled().gates_before(ix) {
        let Some(gate_node) = context.node(gate_ix) else { continue };
        // One that was skipped asked nobody, and one that was rejected holds its nodes back by its edges.
        if context.phase(gate_ix) != NodePhase::Succeeded {
            continue;
        }
        let Some(gate) = gate_key(context, gate_node) else { continue };
        // Once for all nodes behind it: thousands may be ready at once, and each question reads the gate and its record.
        let known = context.passed.get(&gate_ix).cloned();
        let message = known.unwrap_or_else(|| {
            let why = request(context, gate.clone(), gate_ix, &node.id)
                .and_then(|request| void_message(verdict(context, &request, gate_node)));
            context.passed.insert(gate_ix, why.clone());
            why
        });
        let Some(message) = message else { continue };
        tracing::info!(execution = %context.compiled().key, node = %node.id, gate = %gate, message, "approval is void");
        // One request for all of them, since each is compared and written down.
        let asked = context.draft.gates.iter_mut().find(|request| request.node == gate_node.id);
        match asked {
            Some(asked) => asked.blocked.push(node.id.clone()),
            None => {
                let request = request(context, gate.clone(), gate_ix, &node.id);
                context.draft.gates.extend(request);
            }
        }
        context.draft.on.push(Dependency::Resource(gate));
        // A Binding that comes back to what was approved lets it go on as well.
        context.wait_for_bindings(node);
        context.block(&node.id, NodeReason::ApprovalVoid, message);
        return true;
    }
    false
}

fn void_message(verdict: GateVerdict) -> Option<String> {
    match verdict {
        GateVerdict::Approved(_) => None,
        GateVerdict::Rejected(by) => Some(format!("the gate was rejected since, by {by}")),
        GateVerdict::Waiting(message) => Some(message),
    }
}
