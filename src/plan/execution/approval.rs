//! Approvals while an Execution is planned: what a gate asks about and shows its reviewers, and whether what was approved is
//! what a node would do now (Invariant 11).

use std::sync::Arc;

use super::context::PlanContext;
use super::draft::{Dependency, GateProposal, GateRequest, RemoteWork};
use super::held_back::ApprovalCase;
use super::lookup::{ApprovalGap, ExecutionView, GateVerdict, ProviderResolution, VoidApproval};
use crate::graph::NodeIx;
use crate::markup::in_their_words;
use crate::model::{BindingTarget, Node, NodeId, NodeKind, NodePhase, NodeReason, ResourceKey};

/// The scheme of deliveries that people review at a Git host.
pub(crate) const PULL_REQUEST: &str = "pull-request://";

/// Whether a provider hands over what comes before its node.
pub(crate) fn is_delivery(provider: &str) -> bool {
    ["merge://", PULL_REQUEST].iter().any(|scheme| provider.starts_with(scheme))
}

/// How much of a reviewer's words is shown at a gate, in characters.
const REQUEST_SHOWN: usize = 200;

/// The Execution as approvals are about it.
fn case<'c>(context: &'c PlanContext<'_>) -> ApprovalCase<'c> {
    let ExecutionView { compiled, uid, .. } = context.view;
    ApprovalCase { compiled, uid, status: &context.draft.status, lookup: context.lookup }
}

/// The Gate resource of a gate node.
pub(super) fn gate_key(context: &PlanContext<'_>, gate: NodeIx) -> Option<ResourceKey> {
    case(context).gate_key(gate)
}

/// What a gate node asks of its Gate; `blocked` is the node that cannot go on without.
pub(super) fn request(
    context: &PlanContext<'_>,
    gate: ResourceKey,
    ix: NodeIx,
    blocked: &NodeId,
) -> Option<GateRequest> {
    let compiled = context.compiled();
    Some(GateRequest {
        gate,
        execution: compiled.key.clone(),
        // The node goes along, since one Execution may wait at one Gate with several nodes, and a comment names what is
        // held up.
        node: compiled.ids.get(ix)?.clone(),
        blocked: vec![blocked.clone()],
        binding: case(context).review_binding(ix)?,
    })
}

/// The decision about a gate, for what stands before and after it now.
pub(super) fn verdict(context: &PlanContext<'_>, request: &GateRequest, ix: NodeIx) -> GateVerdict {
    case(context).verdict(ix, (&request.gate, &request.binding))
}

/// Blocks a node whose provider needs a gate that was not approved before it. Says whether the node is held back.
pub(super) fn lacks_required_gate(
    context: &mut PlanContext<'_>,
    ix: NodeIx,
    node: &Node,
    target: &BindingTarget,
) -> bool {
    let Some((gate, provider)) = case(context).lacks(ix, target) else { return false };
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
    // One that was rejected holds its nodes back by its edges.
    let passed: Vec<NodeIx> = case(context).passed_before(ix).collect();
    for gate_ix in passed {
        let Some(gate) = gate_key(context, gate_ix) else { continue };
        let Some(void) = void(context, gate_ix) else { continue };
        tracing::info!(execution = %context.compiled().key, node = %node.id, gate = %gate, ?void, "approval is void");
        // Nobody is asked for what they could not answer; the manifest wakes the Execution.
        if !void.is_closed {
            ask(context, &gate, gate_ix, node);
        }
        context.draft.on.push(Dependency::Resource(gate));
        // A Binding that comes back to what was approved lets it go on as well.
        context.wait_for_bindings(node);
        context.block(&node.id, void.of_node(), void.why);
        return true;
    }
    hold_back_from_above(context, ix, node)
}

/// Why the approvals of a gate that was passed do not cover what is behind it. Once for all nodes behind it: thousands may be ready
/// at once, and each question reads the gate and its record.
fn void(context: &mut PlanContext<'_>, gate: NodeIx) -> Option<ApprovalGap> {
    if let Some(known) = context.passed.get(&gate) {
        return known.clone();
    }
    let why = case(context).void(gate);
    context.passed.insert(gate, why.clone());
    why
}

/// Asks a gate on behalf of a node that cannot go on without. One request for all such nodes, since each is compared and written
/// down.
fn ask(context: &mut PlanContext<'_>, gate: &ResourceKey, gate_ix: NodeIx, node: &Node) {
    let Some(gate_node) = context.node(gate_ix) else { return };
    match context.draft.gates.iter_mut().find(|request| request.node == gate_node.id) {
        Some(asked) => asked.blocked.push(node.id.clone()),
        None => {
            let request = request(context, gate.clone(), gate_ix, &node.id);
            context.draft.gates.extend(request);
        }
    }
}

/// Blocks a node of an Execution that does a node of another one, where the plan was approved with that node, and what would run
/// now is not what was approved: Bindings are looked up late here as well. The owner asks its gate again.
fn hold_back_from_above(context: &mut PlanContext<'_>, ix: NodeIx, node: &Node) -> bool {
    if !case(context).leans_above(ix) {
        return false;
    }
    // Once for all nodes: each question compiles the plan of the owner.
    if context.above.is_none() {
        context.above = Some(context.lookup.approval_above(context.compiled()));
    }
    let Some(above) = context.above.clone().flatten() else { return false };
    context.draft.gated_above = true;
    let Some(void) = above.void else { return false };
    tracing::info!(execution = %context.compiled().key, node = %node.id, ?void, "approval above is void");
    let (reason, message) = (void.void.of_node(), void.told_below());
    context.draft.on.push(Dependency::Resource(void.gate));
    context.wait_for_bindings(node);
    context.block(&node.id, reason, message);
    true
}

/// Asks the gate again that stands before a node whose plan goes on, where what that would run now is not what was approved.
/// Says why, for the message of the node.
pub(super) fn ask_again(context: &mut PlanContext<'_>, ix: NodeIx, node: &Node) -> Option<String> {
    // Mostly nothing has changed, and one question for all nodes behind a gate says so.
    let passed: Vec<NodeIx> = case(context).passed_before(ix).collect();
    if !passed.into_iter().any(|gate| void(context, gate).is_some()) {
        return None;
    }
    let VoidApproval { gate, void, .. } = case(context).void_for(ix)?;
    let gates = context.compiled().gates_before(ix).iter().copied();
    let gate_ix = gates.into_iter().find(|&at| gate_key(context, at).as_ref() == Some(&gate))?;
    if !void.is_closed {
        ask(context, &gate, gate_ix, node);
    }
    context.draft.on.push(Dependency::Resource(gate));
    context.wait_for_all_bindings();
    Some(void.why)
}

/// What a gate says while it waits, with what a reviewer of the delivery behind it wants changed: whoever decides there should
/// not have to find that out at the delivery.
pub(super) fn with_request(context: &PlanContext<'_>, gate: NodeIx, message: String) -> String {
    let state = delivery_behind(context, gate).and_then(|(ix, _)| context.state(&context.node(ix)?.id));
    let Some(request) = state.and_then(|state| state.extensions.requested.as_deref()) else { return message };
    let words = in_their_words(&request.words, REQUEST_SHOWN);
    format!("{message}; {}{words}", request.cause())
}

/// The message of a gate before which results conflict: whoever is asked has to know that there is nothing to see yet.
pub(crate) fn with_conflict(message: &str, conflict: Option<&str>) -> String {
    match conflict {
        Some(conflict) => {
            format!("{message}; there is nothing to show yet, because {conflict}: run one of them again")
        }
        None => message.to_owned(),
    }
}

/// Asks for the delivery behind a gate that waits to be shown. What the gate shows is known only once its results are merged,
/// so whoever acts on this compares it with what is shown already.
pub(super) fn propose(context: &mut PlanContext<'_>, gate: NodeIx) {
    // Opening something for people is a beginning, and a suspended Execution begins nothing.
    if context.draft.status.extensions.suspend.is_some() {
        return;
    }
    let Some((ix, target)) = delivery_behind(context, gate) else { return };
    let (Some(gate), Some(node)) = (context.node(gate), context.node(ix)) else { return };
    // Of several gates before one delivery, the first that waits asks: they show the same, and there is one pull request.
    if context.draft.proposals.iter().any(|proposal| proposal.work.node == ix) {
        return;
    }
    let attempt = context.state(&node.id).map_or(0, |state| state.attempt);
    let id = node.id.clone();
    let due = context.now;
    let interval = None;
    let work = RemoteWork { node: ix, id, attempt, due, interval, target };
    context.draft.proposals.push(GateProposal { gate: gate.id.clone(), work });
}

/// The delivery that would start next if the gate were approved, and that hands over just what the gate shows.
fn delivery_behind(context: &PlanContext<'_>, gate: NodeIx) -> Option<(NodeIx, Arc<BindingTarget>)> {
    let compiled = context.compiled();
    // Through gates alone, so that a plan with thousands of tasks behind a gate is not searched at each pass.
    let mut found: Vec<NodeIx> = compiled.topology.targets(gate).map(|(target, _)| target).collect();
    let mut next = 0;
    while let Some(&ix) = found.get(next) {
        next += 1;
        let Some(node) = context.node(ix) else { continue };
        if node.kind == NodeKind::Gate {
            let further = compiled.topology.targets(ix).map(|(target, _)| target);
            let further: Vec<NodeIx> = further.filter(|target| !found.contains(target)).collect();
            found.extend(further);
            continue;
        }
        let waits = node.kind == NodeKind::Task && context.phase(ix) == NodePhase::Pending;
        // Whether one with a condition is made at all is known only when its sources have ended.
        if !waits || compiled.when(ix).is_some() || compiled.expansion.awaits_list(&node.id) {
            continue;
        }
        let ProviderResolution::Bound(_, target) = context.lookup.resolve(compiled, ix) else { continue };
        if target.provider.starts_with(PULL_REQUEST) && delivers_what_is_shown(context, gate, ix) {
            return Some((ix, target));
        }
    }
    None
}

/// Whether nothing but people's decisions stands between what a gate shows and what a delivery behind it hands over.
fn delivers_what_is_shown(context: &PlanContext<'_>, gate: NodeIx, delivery: NodeIx) -> bool {
    let topology = &context.compiled().topology;
    let seen = topology.upstream(gate);
    let before = topology.upstream(delivery);
    let unseen = |ix: &NodeIx| {
        before.get(*ix).copied().unwrap_or(false) && !seen.get(*ix).copied().unwrap_or(false) && *ix != gate
    };
    (0..before.len()).filter(unseen).all(|ix| {
        let Some(node) = context.node(ix) else { return false };
        // A task that has yet to run may change files, and then another commit is delivered.
        let ended = context
            .state(&node.id)
            .is_some_and(|state| state.phase.is_terminal() && state.extensions.result.is_none());
        matches!(node.kind, NodeKind::Gate | NodeKind::Group) || ended
    })
}
