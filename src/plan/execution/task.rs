//! Planning a task that nobody works on: whether its next attempt may start, and who would do it.

use super::approval;
use super::context::PlanContext;
use super::lookup::ProviderResolution;
use crate::graph::NodeIx;
use crate::model::{Node, NodePhase, NodeReason};

pub(super) fn plan(context: &mut PlanContext<'_>, ix: NodeIx, node: &Node) {
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
    match context.lookup.resolve(context.compiled(), ix) {
        ProviderResolution::Bound(_, target)
            if approval::lacks_required_gate(context, ix, node, &target.provider) => {}
        ProviderResolution::Bound(..) if approval::hold_back(context, ix, node) => {}
        ProviderResolution::Bound(binding, target) => context.offer(ix, node, binding, target),
        ProviderResolution::Not(reason, message) => {
            tracing::debug!(execution = %context.compiled().key, node = %node.id, %reason, message, "no provider");
            // Before the block, and also when nothing new is recorded: what the Execution waits for is worked out anew
            // in each pass.
            context.wait_for_bindings(node);
            context.block(&node.id, reason, message);
        }
    }
}
