//! Planning one Execution: cancellation, every node in the order of the graph, and the state of the whole.

use jiff::Timestamp;

use super::draft::{Dependency, Draft};
use super::node::{plan_group, plan_node};
use super::remote_work::call_off;
use super::reuse::ReuseDecision;
use super::view::{ExecutionView, PlanLookup};
use crate::model::{ExecutionPhase, ExecutionStatus, NodeKind, NodeReason, NodeStatus, ResourceKey};
use crate::run::{Change, CompiledPlan, ExecutionChange, NodeChange, derive_phase};

/// Plans an Execution whose lease this runner holds: everything that can be decided now, but for starts, which the
/// scheduler chooses among [`Draft::ready`]. Follow with [`finish`].
pub(crate) fn plan_execution(
    view: ExecutionView<'_>,
    draft: &mut Draft,
    lookup: &dyn PlanLookup,
    now: Timestamp,
) {
    if let Some((reason, message)) = called_off(&view, &draft.status) {
        for (ix, node) in view.compiled.plan.graph.nodes.iter().enumerate() {
            let phase = draft.status.node_statuses.get(&node.id).map(|state| state.phase);
            if node.kind != NodeKind::Group && phase.is_some_and(|phase| !phase.is_terminal()) {
                let Some(said) = call_off(&view, lookup, draft, ix, now) else { continue };
                let message = format!("{message}{said}");
                draft.node(&node.id, NodeChange::Cancel { reason, message }, now);
            }
        }
        sum_groups(view.compiled, draft, now);
        return;
    }
    let mut takeover = view.reuse.map(ReuseDecision::new);
    for &ix in view.compiled.topology.order() {
        if let Some(takeover) = &mut takeover {
            takeover.consider(&view, lookup, draft, ix, now);
        }
        plan_node(&view, lookup, draft, ix, now);
    }
    if let Some(takeover) = takeover {
        takeover.close(draft, now);
    }
}

/// Completes a draft after the scheduler added its starts: the phases of groups and of the execution, and the lease,
/// which is given back as soon as nothing is left that this runner could do; when it is `leaving`, as soon as nothing
/// of its own runs any more.
pub(crate) fn finish(draft: &mut Draft, compiled: &CompiledPlan, leaving: bool, now: Timestamp) {
    sum_groups(compiled, draft, now);
    derive_phase(Some(compiled), &mut draft.status, now);
    let running = draft.status.node_statuses.values().any(NodeStatus::is_under_way);
    let idle = !running && (leaving || draft.ready.is_empty());
    if (idle || draft.status.phase.is_terminal())
        && let Some(lease) = &draft.status.extensions.lease
    {
        let token = lease.token;
        draft.execution(ExecutionChange::ReleaseLease { token }, now);
    }
}

/// Whether, and why, everything is to be cancelled.
fn called_off(view: &ExecutionView<'_>, status: &ExecutionStatus) -> Option<(NodeReason, String)> {
    if let Some(request) = &status.extensions.cancel {
        let comment = request.comment.as_deref().map(|text| format!(": {text}")).unwrap_or_default();
        return Some((NodeReason::CancelRequested, format!("cancelled by {}{comment}", request.by)));
    }
    if view.removed {
        return Some((NodeReason::ManifestRemoved, "the manifest of the execution was removed".to_owned()));
    }
    view.overdue
        .map(|since| (NodeReason::DeadlineExceeded, format!("the deadline of the goal passed at {since}")))
}

/// Groups take the phase of their children, innermost first.
pub(crate) fn sum_groups(compiled: &CompiledPlan, draft: &mut Draft, now: Timestamp) {
    for &ix in compiled.topology.order() {
        if compiled.node(ix).is_some_and(|node| node.kind == NodeKind::Group) {
            plan_group(compiled, draft, ix, now);
        }
    }
}

/// Records that an Execution cannot start because something it names is missing or broken.
#[must_use]
pub(crate) fn hold(
    status: &ExecutionStatus,
    reason: &str,
    message: &str,
    on: Vec<ResourceKey>,
    now: Timestamp,
) -> Draft {
    let mut draft = Draft::new(status.clone());
    draft.on = on.into_iter().map(Dependency::Resource).collect();
    let same = status.reason.as_deref() == Some(reason) && status.message.as_deref() == Some(message);
    if !same {
        draft.push(
            Change::Execution(ExecutionChange::Hold {
                reason: reason.to_owned(),
                message: message.to_owned(),
            }),
            now,
        );
    }
    derive_phase(None, &mut draft.status, now);
    if draft.status.phase == ExecutionPhase::Cancelled {
        draft.on.clear();
    }
    draft
}
