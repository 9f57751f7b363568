//! Planning one Execution: cancellation, every node in the order of the graph, and the state of the whole.

mod approval;
mod child;
mod context;
mod draft;
pub(crate) mod explain;
mod external;
mod fingerprint;
mod held_back;
mod lookup;
mod node;
mod outcome;
mod readiness;
mod remote_work;
mod repeat;
mod reuse;

use std::collections::HashMap;

use jiff::Timestamp;

pub(crate) use self::approval::{PULL_REQUEST, is_delivery, with_conflict};
pub(crate) use self::child::{attempt_at_work, child_spec, plan_named, spec_below};
pub(crate) use self::draft::{CancelResult, Dependency, Draft, GateProposal, GateRequest, RemoteWork};
pub(crate) use self::fingerprint::{dynamic_assignee, fingerprint, inputs, provider, settings};
pub(crate) use self::held_back::{ApprovalCase, HeldBack};
pub(crate) use self::lookup::{
    ApprovalAbove, ApprovalLookup, ChildProgress, EarlierWork, ExecutionView, GateVerdict, MADE_ELSEWHERE,
    PlanLookup, ProviderResolution, ResourceProgress, ReuseSource, VoidApproval,
};
pub(crate) use self::outcome::{after_attempt, after_poll};
pub(crate) use self::readiness::settled::SettledNodes;
pub(crate) use self::remote_work::poll_applies;

use self::context::PlanContext;
use self::node::{plan_node, plan_start};
use self::readiness::settled::Look;
use self::remote_work::cancel_remote;
use self::reuse::ReuseDecision;
use crate::model::{ExecutionPhase, ExecutionStatus, NodeKind, NodeReason, NodeTrait, ResourceKey};
use crate::run::{Change, CompiledPlan, ExecutionChange, NodeChange, derive_phase};

/// Plans an Execution whose lease this runner holds: everything that can be decided now, but for starts, which the
/// scheduler chooses among [`Draft::ready`]. Follow with [`finish`].
pub(crate) fn plan_execution(
    view: ExecutionView<'_>,
    draft: &mut Draft,
    lookup: &dyn PlanLookup,
    now: Timestamp,
) {
    plan_changed(view, draft, lookup, &mut SettledNodes::default(), now);
}

/// The same, looking only at nodes that could have something to decide. `settled` is what an earlier planning of the same
/// compiled plan left there. Says how many nodes were looked at, but for those that only wait for a slot.
pub(crate) fn plan_changed(
    view: ExecutionView<'_>,
    draft: &mut Draft,
    lookup: &dyn PlanLookup,
    settled: &mut SettledNodes,
    now: Timestamp,
) -> usize {
    let compiled = view.compiled;
    let span = tracing::debug_span!("plan", execution = %compiled.key, nodes = compiled.ids.len());
    let _entered = span.enter();
    let mut context =
        PlanContext { view, lookup, draft: &mut *draft, now, passed: HashMap::new(), above: None };
    let mut visited = 0_usize;
    // Before everything else, and in place of it: what is to end must not start another node in the same pass.
    if let Some((reason, message)) = cancellation(&context.view, &context.draft.status) {
        tracing::debug!(%reason, message, "cancelling");
        *settled = SettledNodes::default();
        let begun = has_begun(compiled, &context.draft.status);
        cancel_nodes(&mut context, reason, &message, begun);
        // What cleans up runs all the same, once everything else has ended: its edges see to that.
        for &ix in compiled.topology.order() {
            if begun && compiled.node(ix).is_some_and(|node| node.finally) {
                plan_node(&mut context, ix);
            }
        }
    } else {
        // Decided in the one pass that finds no decision recorded, and for new instances in the one that finds their list. Other
        // passes see `None`, so that a node that failed here is never replaced by an earlier result (Invariant 10).
        let decided = context.draft.status.extensions.reuse.clone();
        let mut reuse = view.reuse.map(|past| ReuseDecision::new(past, decided.as_ref()));
        // Before any node is planned, so that what runs again is ready in this very pass.
        remote_work::run_again(&mut context);
        repeat::begin(&mut context);
        let mut queue = settled.begin(&context);
        while let Some((ix, look)) = queue.next(compiled) {
            // Before the node is planned: what is reused must never have been offered to the scheduler.
            if let Some(reuse) = &mut reuse {
                reuse.consider(&mut context, ix);
            }
            // Also a node that was just taken over is planned: it is terminal by now, and planning leaves it alone.
            match look {
                Look::Whole => plan_node(&mut context, ix),
                Look::Start => plan_start(&mut context, ix),
            }
            queue.looked_at(&context, (ix, look));
            visited += usize::from(look == Look::Whole);
        }
        queue.end(compiled, context.draft);
        if let Some(reuse) = reuse {
            reuse.close(context.draft, now);
        }
        repeat::bound(&mut context);
    }
    tracing::debug!(
        visited, changes = draft.changes.len(), ready = draft.ready.len(), polls = draft.polls.len(),
        cancels = draft.remote_cancels.len(), wake = ?draft.wake, "planned"
    );
    visited
}

/// Whether any work was begun: what nothing was done for needs no clean-up after a cancellation.
#[must_use]
pub(crate) fn has_begun(compiled: &CompiledPlan, status: &ExecutionStatus) -> bool {
    let mut others = compiled.plan.graph.nodes.iter().filter(|node| !node.finally);
    others.any(|node| status.node_statuses.get(&node.id).is_some_and(|state| state.attempt > 0))
}

/// Cancels every node that has not ended. One with remote work is left until that is cancelled: afterwards nobody would
/// know its handle any more. The nodes that run after everything else are `spared` where there is something to clean up.
fn cancel_nodes(context: &mut PlanContext<'_>, reason: NodeReason, message: &str, spared: bool) {
    for (ix, node) in context.compiled().plan.graph.nodes.iter().enumerate() {
        if spared && node.finally {
            continue;
        }
        // A node without a record counts as ended: the fold would refuse the change anyway, and cancellation must not
        // hang on a record that was edited by hand.
        let ended = context.state(&node.id).is_none_or(|state| state.phase.is_terminal());
        // Groups take their phase from their children in `finish`. Cancelled here, a group would be terminal while
        // children with remote work still run.
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
    // Groups first: whether a pending node could go on by itself, which makes the whole Running, may hang on the phase
    // of a group before it.
    sum_groups(compiled, draft, now);
    let moved = derive_phase(Some(compiled), &mut draft.status, now);
    // Remote work and people do not hold the lease: a node may wait for weeks, and any runner can poll or take up the
    // decision.
    let running = draft.status.node_statuses.has(NodeTrait::UnderWay);
    // With ready nodes the lease is kept, though they got no slot: given back, it would be taken again in the next
    // pass, with a commit each time.
    let idle = !running && (leaving || draft.ready.is_empty());
    if (idle || draft.status.phase.is_terminal())
        && let Some(lease) = &draft.status.extensions.lease
    {
        // By token: the fold refuses the release if somebody else has the lease by now, instead of taking it from them.
        let token = lease.token;
        tracing::debug!(execution = %compiled.key, token, phase = %draft.status.phase, idle, "releasing the lease");
        draft.execution(ExecutionChange::ReleaseLease { token }, now);
    }
    moved
}

/// Whether, and why, everything is to be cancelled.
fn cancellation(view: &ExecutionView<'_>, status: &ExecutionStatus) -> Option<(NodeReason, String)> {
    // A person's request first: of several reasons that hold, it is the one with a name and words to record.
    if let Some(request) = &status.extensions.cancel {
        let comment = request.comment.as_deref().map(|text| format!(": {text}")).unwrap_or_default();
        return Some((NodeReason::CancelRequested, format!("cancelled by {}{comment}", request.by)));
    }
    // Recorded as a cancellation before the record itself may go, so that the history says what became of work under
    // way.
    if view.removed {
        return Some((NodeReason::ManifestRemoved, "the manifest of the execution was removed".to_owned()));
    }
    view.overdue
        .map(|since| (NodeReason::DeadlineExceeded, format!("the deadline of the goal passed at {since}")))
}

/// Groups take the phase of their children, innermost first.
pub(crate) fn sum_groups(compiled: &CompiledPlan, draft: &mut Draft, now: Timestamp) {
    for &ix in compiled.topology.groups() {
        node::sum_group(compiled, draft, ix, now);
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
    // Repeating itself makes no commit (Invariant 5): a missing plan may stay missing for days.
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
    // After a request to cancel, an Execution that never started ends here, although what it names never came.
    derive_phase(None, &mut draft.status, now);
    // It is over: a plan that arrives later must not bring it back into planning.
    if draft.status.phase == ExecutionPhase::Cancelled {
        draft.on.clear();
    }
    draft
}
