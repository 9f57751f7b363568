//! Planning one node: what its phase, its edges and its condition allow, and then what its kind asks for.

use jiff::Timestamp;

use super::approval;
use super::child::{self, plan_named};
use super::context::PlanContext;
use super::draft::{Dependency, Draft};
use super::lookup::{GateVerdict, ProviderResolution};
use super::readiness::{EdgeState, condition, edge_state, is_over_budget};
use super::{external, remote_work, repeat};
use crate::graph::NodeIx;
use crate::model::{Node, NodeKind, NodePhase, NodeReason, NodeStatus, after};
use crate::run::{AttemptName, CompiledPlan, Evidence, NodeChange};

/// Decides everything about a node that can be decided now.
pub(super) fn plan_node(context: &mut PlanContext<'_>, ix: NodeIx) {
    let Some(node) = context.node(ix) else { return };
    if node.kind == NodeKind::Group {
        // Right away, whatever its phase: what depends on a group that has just ended is planned next.
        return sum_group(context.compiled(), context.draft, ix, context.now);
    }
    // Only nodes other than groups get here, so Running means an attempt.
    if context.phase(ix) == NodePhase::Running {
        recover_lost_runner(context, node);
    }
    if is_remote(context, node) {
        remote_work::plan(context, ix, node);
        if is_remote(context, node) {
            return;
        }
        // Its time was up or a person decided: what follows, such as the pause before a retry, is planned at once.
    }
    if !matches!(context.phase(ix), NodePhase::Pending | NodePhase::Blocked) {
        return;
    }
    if repeat::is_superfluous(context, node) {
        let message = "another instance succeeded, and one is enough".to_owned();
        return context.skip(&node.id, NodeReason::NotNeeded, message);
    }
    match edge_state(context.compiled(), &context.draft.status, ix) {
        EdgeState::Waiting => {}
        // Skipped and not Failed: nothing of the node was tried. What depends on it is skipped in turn, each with its
        // own source as the reason, so the way to the failure can be followed.
        EdgeState::Blocked { source, phase } => {
            let source = context.compiled().ids.get(source).map(ToString::to_string).unwrap_or_default();
            // What people were shown of it is taken back first: a node that has ended is not asked about again.
            let Some(note) = remote_work::cancel_remote(context, ix) else { return };
            let message = format!("`{source}` is {phase}{note}");
            context.skip(&node.id, NodeReason::UpstreamNotSucceeded, message);
        }
        EdgeState::Open => plan_open(context, ix, node),
    }
}

fn is_remote(context: &PlanContext<'_>, node: &Node) -> bool {
    context.state(&node.id).is_some_and(NodeStatus::is_remote)
}

/// A group takes the phase of its children.
pub(super) fn sum_group(compiled: &CompiledPlan, draft: &mut Draft, ix: NodeIx, now: Timestamp) {
    let Some(id) = compiled.ids.get(ix) else { return };
    let phase_of = |ix: NodeIx| compiled.phase_of(&draft.status, ix);
    // Only direct children: an inner group has already been summed up, and its own phase stands for its members.
    let children = compiled.topology.children(ix);
    let phase = repeat::sum(compiled, id, children.iter().map(|&child| phase_of(child)));
    if phase == phase_of(ix) {
        return;
    }
    let succeeded = children.iter().filter(|&&child| phase_of(child) == NodePhase::Succeeded).count();
    // Only at the end: on the way the count would change with every child, and each change would be recorded.
    let message = if phase.is_terminal() {
        format!("{succeeded} of {} succeeded", children.len())
    } else {
        String::new()
    };
    draft.node(id, NodeChange::Sum { phase, message }, now);
}

/// An attempt that this process does not run is lost: whoever plans holds the lease (Invariant 4), so nobody else may go on
/// with it. That its record names this very runner makes no difference: a start that was never followed up would otherwise
/// stay Running for ever, since nobody but its runner would be asked.
fn recover_lost_runner(context: &mut PlanContext<'_>, node: &Node) {
    let Some(state) = context.state(&node.id) else { return };
    // The whole id with its token, not the number: after a takeover and back, the number alone could name the attempt
    // of another runner.
    let name = AttemptName::of(context.view.uid, &node.id, state);
    if context.view.local_attempts.contains(&name) {
        return;
    }
    let runner = state.extensions.runner.as_deref().unwrap_or("unknown");
    let message = format!("runner {runner} was lost during attempt {}", state.attempt);
    tracing::debug!(
        execution = %context.compiled().key, node = %node.id, attempt = state.attempt, runner,
        repeatable = node.repeatable(), "runner lost"
    );
    let reason = NodeReason::RunnerLost;
    let change = if node.repeatable() {
        // Uncounted: a node must not run out of retries because machines are taken away.
        NodeChange::Retry { reason, message, at: context.now, counted: false, evidence: Evidence::default() }
    } else {
        let message = format!("{message}; not repeatable, so a person must decide");
        NodeChange::block(reason, message)
    };
    context.change(&node.id, change);
}

/// A node whose sources are done with: its condition, then what its kind asks for.
fn plan_open(context: &mut PlanContext<'_>, ix: NodeIx, node: &Node) {
    match condition(context.compiled(), &context.draft.status, ix) {
        // Its sources and all that it reads have ended by now, so it gives the same answer in each pass that follows.
        Ok(true) => {}
        Ok(false) => {
            let message = "its condition `when` is false".to_owned();
            return context.skip(&node.id, NodeReason::ConditionFalse, message);
        }
        // Not Blocked: the plan is pinned, so no commit can repair the expression for this Execution.
        Err(message) => return context.fail(&node.id, NodeReason::ExpressionError, message),
    }
    if timed_out(context, node) {
        return;
    }
    if context.compiled().expansion.awaits_list(&node.id) {
        return repeat::plan_list(context, ix, node);
    }
    match node.kind {
        NodeKind::Task => plan_task(context, ix, node),
        NodeKind::Gate => plan_gate(context, ix, node),
        NodeKind::External => external::plan(context, ix, node),
        NodeKind::Group => {}
    }
}

/// A timeout covers one attempt; for a node that waits outside any attempt, it covers the wait.
fn timed_out(context: &mut PlanContext<'_>, node: &Node) -> bool {
    let Some(state) = context.state(&node.id) else { return false };
    let (Some(timeout), Some(since)) = (&node.timeout, state.extensions.blocked_since) else { return false };
    // What is blocked for want of a Binding has not begun, and a person is to decide about a lost runner without haste. Nor has a
    // task behind a gate that is closed since.
    let has_begun = node.kind == NodeKind::Gate || state.extensions.reason != Some(NodeReason::GateClosed);
    if !has_begun {
        return false;
    }
    if !matches!(
        state.extensions.reason,
        Some(
            NodeReason::AwaitingApproval
                | NodeReason::GateClosed
                | NodeReason::AwaitingEvent
                | NodeReason::AwaitingPerson
        )
    ) {
        return false;
    }
    // From the start of the wait as recorded, so the time goes on across runners and while none is running.
    let end = after(since, timeout.span());
    if context.now < end {
        context.draft.wake_at(end);
        return false;
    }
    context.fail(&node.id, NodeReason::Timeout, format!("waited longer than {timeout}"));
    true
}

fn plan_gate(context: &mut PlanContext<'_>, ix: NodeIx, node: &Node) {
    // The schema demands the reference. Without one there is nobody to ask, and a gate fails closed: the node fails and
    // does not pass.
    let Some(gate) = approval::gate_key(context, ix) else {
        let message = "the node names no gate".to_owned();
        return context.fail(&node.id, NodeReason::ExpressionError, message);
    };
    // Without a pin there is nothing that an approval could be bound to (Invariant 11), so the node stays as it is.
    let Some(demand) = approval::request(context, gate.clone(), ix, &node.id) else { return };
    let verdict = approval::verdict(context, &demand, ix);
    // Nobody is asked for what they could not answer; the manifest wakes the Execution as a decision does.
    let closed = matches!(verdict, GateVerdict::Closed(_));
    let reason = if closed { NodeReason::GateClosed } else { NodeReason::AwaitingApproval };
    match verdict {
        GateVerdict::Approved(by) => context.succeed(&node.id, format!("approved by {}", by.join(", "))),
        GateVerdict::Rejected(by) => {
            context.fail(&node.id, NodeReason::Rejected, format!("rejected by {by}"));
        }
        // Named as a dependency although it may have no manifest: a decision is recorded on the Gate, and has to wake
        // this Execution.
        GateVerdict::Waiting(message) | GateVerdict::Closed(message) => {
            context.draft.on.push(Dependency::Resource(gate));
            context.draft.gates.push(demand);
            // What would run after the gate is part of what is asked, and shown with it.
            context.wait_for_all_bindings();
            let message = approval::with_request(context, ix, message);
            let state = context.state(&node.id);
            let conflict = state.and_then(|state| state.extensions.conflict.as_deref());
            let message = approval::with_conflict(&message, conflict);
            context.block(&node.id, reason, message);
            approval::propose(context, ix);
        }
    }
}

/// Plans a task that nobody works on: whether its next attempt may start, and who would do it.
fn plan_task(context: &mut PlanContext<'_>, ix: NodeIx, node: &Node) {
    let Some(state) = context.state(&node.id) else { return };
    // These reasons end by a recorded decision alone. Anything else that blocks a task, such as a missing Binding, is
    // tried again in each pass.
    let waits_for_person = state.extensions.reason.is_some_and(|reason| {
        reason.needs_decision() || matches!(reason, NodeReason::AwaitingPerson | NodeReason::InputRequired)
    });
    if state.phase == NodePhase::Blocked && waits_for_person {
        return;
    }
    // Before the Binding is resolved: during a pause nothing of it would be used.
    if let Some(at) = context.due(state).filter(|&at| at > context.now) {
        // The time goes into the wait set, so no process has to live through the pause: any runner's next pass finds
        // the node due.
        context.draft.wake_at(at);
        return;
    }
    plan_start(context, ix);
}

/// Plans a task that may start as far as nodes and time have a say: who would do it, and whether that may be done now. Asked in each
/// step, since Bindings, approvals and what may be used up change without the node.
pub(super) fn plan_start(context: &mut PlanContext<'_>, ix: NodeIx) {
    let Some(node) = context.node(ix) else { return };
    match context.lookup.resolve(context.compiled(), ix) {
        ProviderResolution::Bound(binding, target) => match plan_named(&target.provider) {
            Some(named) => child::plan(context, ix, node, (binding, &target), named),
            None if approval::lacks_required_gate(context, ix, node, &target) => {}
            None if approval::hold_back(context, ix, node) => {}
            None if is_over_budget(context, node, &target.provider) => {}
            None => context.offer(ix, node, binding, target),
        },
        // Nothing is recorded: a moment later the node would be found to be bound after all.
        ProviderResolution::Later(why) => {
            tracing::debug!(execution = %context.compiled().key, node = %node.id, why, "provider not known yet");
            context.wait_for_history(node);
        }
        ProviderResolution::Not(reason, message) => {
            tracing::debug!(execution = %context.compiled().key, node = %node.id, %reason, message, "no provider");
            // Before the block, and also when nothing new is recorded: what the Execution waits for is worked out anew
            // in each pass.
            context.wait_for_bindings(node);
            context.block(&node.id, reason, message);
        }
    }
}
