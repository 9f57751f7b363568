//! Planning one Execution: cancellation, every node in the order of the graph, and the state of the whole.

mod context;
mod draft;
pub(crate) mod explain;
mod external;
mod fingerprint;
mod lookup;
mod node;
mod outcome;
mod readiness;
mod remote_work;
mod reuse;
mod task;

use jiff::Timestamp;

pub(crate) use self::draft::{CancelResult, Dependency, Draft, GateRequest, RemoteWork};
pub(crate) use self::fingerprint::{fingerprint, inputs, settings};
pub(crate) use self::lookup::{
    ExecutionView, GateVerdict, PlanLookup, ProviderResolution, ResourceProgress, ReuseSource,
};
pub(crate) use self::outcome::{after_attempt, after_poll};
pub(crate) use self::remote_work::poll_applies;

use self::context::PlanContext;
use self::node::plan_node;
use self::remote_work::cancel_remote;
use self::reuse::ReuseDecision;
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
    let compiled = view.compiled;
    let span = tracing::debug_span!("plan", execution = %compiled.key, nodes = compiled.ids.len());
    let _entered = span.enter();
    let mut context = PlanContext { view, lookup, draft: &mut *draft, now };
    if let Some((reason, message)) = cancellation(&context.view, &context.draft.status) {
        tracing::debug!(%reason, message, "cancelling");
        cancel_nodes(&mut context, reason, &message);
    } else {
        let mut reuse = view.reuse.map(ReuseDecision::new);
        for &ix in compiled.topology.order() {
            // Before the node is planned: what is reused must never have been offered to the scheduler.
            if let Some(reuse) = &mut reuse {
                reuse.consider(&mut context, ix);
            }
            plan_node(&mut context, ix);
        }
        if let Some(reuse) = reuse {
            reuse.close(context.draft, now);
        }
    }
    tracing::debug!(
        changes = draft.changes.len(), ready = draft.ready.len(), polls = draft.polls.len(),
        cancels = draft.remote_cancels.len(), wake = ?draft.wake, "planned"
    );
}

/// Cancels every node that has not ended. One with remote work is left until that is cancelled: afterwards nobody would
/// know its handle any more.
fn cancel_nodes(context: &mut PlanContext<'_>, reason: NodeReason, message: &str) {
    for (ix, node) in context.compiled().plan.graph.nodes.iter().enumerate() {
        let ended = context.state(&node.id).is_none_or(|state| state.phase.is_terminal());
        if node.kind == NodeKind::Group || ended {
            continue;
        }
        let Some(note) = cancel_remote(context, ix) else { continue };
        let message = format!("{message}{note}");
        context.change(&node.id, NodeChange::Cancel { reason, message });
    }
}

/// Completes a draft after the scheduler added its starts: the phases of groups and of the execution, and the lease,
/// which is given back as soon as nothing is left that this runner could do; when it is `leaving`, as soon as nothing
/// of its own runs any more. Says whether the phase of the execution changed: a record whose nodes have all ended and that
/// is Running nevertheless is healed by a commit, although no change leads there.
pub(crate) fn finish(draft: &mut Draft, compiled: &CompiledPlan, leaving: bool, now: Timestamp) -> bool {
    sum_groups(compiled, draft, now);
    let moved = derive_phase(Some(compiled), &mut draft.status, now);
    let running = draft.status.node_statuses.values().any(NodeStatus::is_under_way);
    let idle = !running && (leaving || draft.ready.is_empty());
    if (idle || draft.status.phase.is_terminal())
        && let Some(lease) = &draft.status.extensions.lease
    {
        let token = lease.token;
        tracing::debug!(execution = %compiled.key, token, phase = %draft.status.phase, idle, "releasing the lease");
        draft.execution(ExecutionChange::ReleaseLease { token }, now);
    }
    moved
}

/// Whether, and why, everything is to be cancelled.
fn cancellation(view: &ExecutionView<'_>, status: &ExecutionStatus) -> Option<(NodeReason, String)> {
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
            node::sum_group(compiled, draft, ix, now);
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
