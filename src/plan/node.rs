//! Planning one node: readiness by its edges, its condition, and what its kind asks for.

use jiff::Timestamp;

use super::draft::{Dependency, Draft, ReadyNode};
use super::remote_work::{awaits_binding, plan_remote_work, poll_address};
use super::view::{ExecutionView, GateVerdict, PlanLookup, ProviderResolution, ResourceProgress, demand};
use crate::graph::NodeIx;
use crate::model::{
    EdgeType, ExternalRef, JsonMap, Kind, Node, NodeKind, NodePhase, NodeReason, NodeStatus, ResourceKey,
    after,
};
use crate::run::{CompiledPlan, Evidence, NodeChange, group_phase};

/// Whether the edges let a node go on.
enum EdgeState {
    /// They do.
    Open,
    /// A source, or a node that its expressions read, has not ended.
    Waiting,
    /// A hard source did not succeed, and the node's condition does not care.
    Blocked { source: NodeIx, phase: NodePhase },
}

/// Decides everything about a node that can be decided now.
pub(super) fn plan_node(
    view: &ExecutionView<'_>,
    lookup: &dyn PlanLookup,
    draft: &mut Draft,
    ix: NodeIx,
    now: Timestamp,
) {
    let Some(node) = view.compiled.node(ix) else { return };
    if node.kind == NodeKind::Group {
        // Right away, whatever its phase: what depends on a group that has just ended is planned next.
        return plan_group(view.compiled, draft, ix, now);
    }
    if view.compiled.phase_of(&draft.status, ix) == NodePhase::Running {
        lost_runner(view, draft, node, now);
    }
    let elsewhere =
        |draft: &Draft| draft.status.node_statuses.get(&node.id).is_some_and(NodeStatus::goes_on_elsewhere);
    if elsewhere(draft) {
        plan_remote_work(view, lookup, draft, ix, now);
        if elsewhere(draft) {
            return;
        }
    }
    match view.compiled.phase_of(&draft.status, ix) {
        NodePhase::Pending | NodePhase::Blocked => match edges(view.compiled, draft, ix) {
            EdgeState::Waiting => {}
            EdgeState::Blocked { source, phase } => {
                let source = view.compiled.ids.get(source).map(ToString::to_string).unwrap_or_default();
                let message = format!("`{source}` is {phase}");
                draft.node(
                    &node.id,
                    NodeChange::Skip { reason: NodeReason::UpstreamNotSucceeded, message },
                    now,
                );
            }
            EdgeState::Open => open(view, lookup, draft, ix, now),
        },
        _ => {}
    }
}

/// A group takes the phase of its children.
pub(super) fn plan_group(compiled: &CompiledPlan, draft: &mut Draft, ix: NodeIx, now: Timestamp) {
    let Some(id) = compiled.ids.get(ix) else { return };
    let children = compiled.topology.children(ix);
    let phase = group_phase(children.iter().map(|&child| compiled.phase_of(&draft.status, child)));
    if phase == compiled.phase_of(&draft.status, ix) {
        return;
    }
    let count =
        |wanted| children.iter().filter(|&&child| compiled.phase_of(&draft.status, child) == wanted).count();
    let message = format!("{} of {} succeeded", count(NodePhase::Succeeded), children.len());
    let message = if phase.is_terminal() { message } else { String::new() };
    draft.node(id, NodeChange::Sum { phase, message }, now);
}

/// An attempt of a runner that no longer holds the lease is lost: its result can never be recorded.
fn lost_runner(view: &ExecutionView<'_>, draft: &mut Draft, node: &Node, now: Timestamp) {
    let Some(state) = draft.status.node_statuses.get(&node.id) else { return };
    if state.extensions.runner.as_deref() == Some(view.runner) {
        return;
    }
    let runner = state.extensions.runner.as_deref().unwrap_or("unknown");
    let message = format!("runner {runner} was lost during attempt {}", state.attempt);
    let change = if node.repeatable() {
        let (reason, evidence) = (NodeReason::RunnerLost, Evidence::default());
        NodeChange::Retry { reason, message, at: now, counted: false, evidence }
    } else {
        let message = format!("{message}; not repeatable, so a person must decide");
        NodeChange::Block { reason: NodeReason::RunnerLost, message, retry_at: None, handle: None }
    };
    draft.node(&node.id, change, now);
}

/// Whether the edges let a node go on now.
pub(super) fn is_open(compiled: &CompiledPlan, draft: &Draft, ix: NodeIx) -> bool {
    matches!(edges(compiled, draft, ix), EdgeState::Open)
}

fn edges(compiled: &CompiledPlan, draft: &Draft, ix: NodeIx) -> EdgeState {
    let mut verdict = EdgeState::Open;
    for (source, kind) in compiled.topology.sources(ix) {
        let phase = compiled.phase_of(&draft.status, source);
        if !phase.is_terminal() {
            if matches!(verdict, EdgeState::Open) {
                verdict = EdgeState::Waiting;
            }
            continue;
        }
        let asked = || {
            let id = compiled.ids.get(source)?;
            compiled.when(ix).map(|when| when.refers_to_phase_of(id.as_str()))
        };
        if kind == EdgeType::Hard && phase != NodePhase::Succeeded && !asked().unwrap_or(false) {
            return EdgeState::Blocked { source, phase };
        }
    }
    let ended = |ix: &NodeIx| compiled.phase_of(&draft.status, *ix).is_terminal();
    if compiled.reads(ix).iter().all(ended) { verdict } else { EdgeState::Waiting }
}

/// A node whose sources are done with: its condition, then what its kind asks for.
fn open(view: &ExecutionView<'_>, lookup: &dyn PlanLookup, draft: &mut Draft, ix: NodeIx, now: Timestamp) {
    let Some(node) = view.compiled.node(ix) else { return };
    match condition(view.compiled, draft, ix) {
        Ok(true) => {}
        Ok(false) => {
            let message = "its condition `when` is false".to_owned();
            draft.node(&node.id, NodeChange::Skip { reason: NodeReason::ConditionFalse, message }, now);
            return;
        }
        Err(message) => return fail(draft, node, NodeReason::ExpressionError, message, now),
    }
    let Some(state) = draft.status.node_statuses.get(&node.id).cloned() else { return };
    if timed_out(draft, node, &state, now) {
        return;
    }
    match node.kind {
        NodeKind::Task => plan_task(view, lookup, draft, ix, &state, now),
        NodeKind::Gate => plan_gate(view, lookup, draft, ix, now),
        NodeKind::External => plan_external(view, lookup, draft, ix, now),
        NodeKind::Group => {}
    }
}

fn fail(draft: &mut Draft, node: &Node, reason: NodeReason, message: String, now: Timestamp) {
    draft.node(&node.id, NodeChange::Fail { reason, message, evidence: Evidence::default() }, now);
}

pub(super) fn condition(compiled: &CompiledPlan, draft: &Draft, ix: NodeIx) -> Result<bool, String> {
    let Some(when) = compiled.when(ix) else { return Ok(true) };
    when.holds(&compiled.scope(&draft.status)).map_err(|error| format!("`when`: {error}"))
}

/// The inputs of a node with every expression replaced.
///
/// # Errors
/// An expression cannot be evaluated; says which and why.
pub(crate) fn inputs(
    compiled: &CompiledPlan,
    status: &crate::model::ExecutionStatus,
    ix: NodeIx,
) -> Result<JsonMap, String> {
    let Some(template) = compiled.inputs(ix) else { return Ok(JsonMap::new()) };
    template.render_map(&compiled.scope(status)).map_err(|error| format!("inputs: {error}"))
}

/// A timeout covers one attempt; for a node that waits outside any attempt, it covers the wait.
fn timed_out(draft: &mut Draft, node: &Node, state: &NodeStatus, now: Timestamp) -> bool {
    let (Some(timeout), Some(since)) = (&node.timeout, state.extensions.blocked_since) else { return false };
    if !matches!(
        state.extensions.reason,
        Some(NodeReason::AwaitingApproval | NodeReason::AwaitingEvent | NodeReason::AwaitingPerson)
    ) {
        return false;
    }
    let end = after(since, timeout.span());
    if now < end {
        draft.wake_at(end);
        return false;
    }
    fail(draft, node, NodeReason::Timeout, format!("waited for longer than {timeout}"), now);
    true
}

fn plan_task(
    view: &ExecutionView<'_>,
    lookup: &dyn PlanLookup,
    draft: &mut Draft,
    ix: NodeIx,
    state: &NodeStatus,
    now: Timestamp,
) {
    let Some(node) = view.compiled.node(ix) else { return };
    let waits_for_person = matches!(
        state.extensions.reason,
        Some(NodeReason::AwaitingPerson | NodeReason::RunnerLost | NodeReason::InputRequired)
    );
    if state.phase == NodePhase::Blocked && waits_for_person {
        return;
    }
    if let Some(at) = state.extensions.retry_at.filter(|&at| at > now) {
        draft.wake_at(at);
        return;
    }
    match lookup.resolve(view.compiled, ix) {
        ProviderResolution::Bound(binding, target) => {
            if draft.status.extensions.suspend.is_none() {
                let rank = view.compiled.topology.rank(ix);
                draft.ready.push(ReadyNode { node: ix, id: node.id.clone(), rank, binding, target });
            }
        }
        ProviderResolution::Not(reason, message) => {
            awaits_binding(view.compiled, draft, node);
            draft.block(&node.id, reason, message, now);
        }
    }
}

fn plan_gate(
    view: &ExecutionView<'_>,
    lookup: &dyn PlanLookup,
    draft: &mut Draft,
    ix: NodeIx,
    now: Timestamp,
) {
    let Some(node) = view.compiled.node(ix) else { return };
    let Some(gate) =
        node.gate_ref.as_ref().map(|gate| gate.key(Kind::Gate, &view.compiled.plan_key.namespace))
    else {
        return fail(draft, node, NodeReason::ExpressionError, "the node names no gate".to_owned(), now);
    };
    let Some(demand) = demand(view, &draft.status, gate.clone(), ix) else { return };
    let since = draft.status.node_statuses.get(&node.id).and_then(|state| state.extensions.reset_at);
    match lookup.gate(&gate, &demand.binding, since) {
        GateVerdict::Approved(by) => {
            let message = format!("approved by {}", by.join(", "));
            let (outputs, evidence) = (JsonMap::new(), Evidence::default());
            draft.node(&node.id, NodeChange::Succeed { reason: None, message, outputs, evidence }, now);
        }
        GateVerdict::Rejected(by) => {
            fail(draft, node, NodeReason::Rejected, format!("rejected by {by}"), now);
        }
        GateVerdict::Waiting(message) => {
            draft.on.push(Dependency::Resource(gate));
            draft.gates.push(demand);
            draft.block(&node.id, NodeReason::AwaitingApproval, message, now);
        }
    }
}

fn plan_external(
    view: &ExecutionView<'_>,
    lookup: &dyn PlanLookup,
    draft: &mut Draft,
    ix: NodeIx,
    now: Timestamp,
) {
    let Some(node) = view.compiled.node(ix) else { return };
    let suspended = draft.status.extensions.suspend.is_some();
    let first = view.compiled.phase_of(&draft.status, ix) == NodePhase::Pending;
    match &node.external_ref {
        // Nothing new begins, looking included.
        Some(ExternalRef::Uri { .. } | ExternalRef::Webhook { .. }) if suspended && first => {}
        Some(ExternalRef::Resource { resource_ref, .. }) => {
            let home = &view.compiled.plan_key.namespace;
            let key = ResourceKey::new(
                resource_ref.kind.unwrap_or(Kind::Execution),
                resource_ref.namespace.clone().unwrap_or_else(|| home.clone()),
                resource_ref.name.clone(),
            );
            plan_resource(lookup, draft, node, key, now);
        }
        Some(ExternalRef::Uri { uri, poll_interval }) if lookup.can_poll_addresses() => {
            poll_address(draft, ix, node, ("uri", uri), poll_interval.as_ref(), now);
        }
        Some(ExternalRef::Webhook { webhook_url, poll_interval }) if lookup.can_poll_addresses() => {
            poll_address(draft, ix, node, ("webhook", webhook_url), poll_interval.as_ref(), now);
        }
        _ => {
            let message = "nothing here can look at an address yet".to_owned();
            draft.block(&node.id, NodeReason::ProviderUnavailable, message, now);
        }
    }
}

fn plan_resource(lookup: &dyn PlanLookup, draft: &mut Draft, node: &Node, key: ResourceKey, now: Timestamp) {
    let message = match lookup.progress(&key) {
        ResourceProgress::Succeeded => {
            let (outputs, evidence) = (JsonMap::new(), Evidence::default());
            let message = format!("{key} succeeded");
            draft.node(&node.id, NodeChange::Succeed { reason: None, message, outputs, evidence }, now);
            return;
        }
        ResourceProgress::Failed(phase) => {
            return fail(draft, node, NodeReason::ProviderFailed, format!("{key} is {phase}"), now);
        }
        ResourceProgress::Missing => format!("waits for {key}, which does not exist"),
        ResourceProgress::Ongoing(phase) => format!("waits for {key}, which is {phase}"),
    };
    draft.on.push(Dependency::Resource(key));
    draft.block(&node.id, NodeReason::AwaitingEvent, message, now);
}
