//! What an Execution takes over from an earlier one that did the same work.

use crate::model::{ExecutionStatus, NodePhase, NodeReason, NodeStatus, Reuse};

/// Keeps what was decided about reuse; a node that is still to come says for itself why it was not reused.
pub(super) fn take_note(status: &mut ExecutionStatus, reuse: &Reuse) {
    for (id, verdict) in &reuse.nodes {
        if let Some(node) = status.node_statuses.get_mut(id)
            && node.phase == NodePhase::Pending
            // A node that already says something more important, such as what it waits for, keeps that.
            && node.message.is_empty()
        {
            node.message = format!("not reused: {verdict}");
        }
    }
    status.extensions.reuse = Some(reuse.clone());
}

/// What came of the node in an earlier execution comes along, but for its times and its runner.
pub(super) fn take_over(node: &mut NodeStatus, state: &NodeStatus, message: &str) {
    node.extensions.reason = Some(NodeReason::Reused);
    message.clone_into(&mut node.message);
    node.outputs.clone_from(&state.outputs);
    let there = &state.extensions;
    node.extensions.binding.clone_from(&there.binding);
    // The fingerprint comes along, so that a third Execution can compare itself with the work that was really done.
    node.extensions.basis.clone_from(&there.basis);
    node.extensions.exit_code = there.exit_code;
    node.extensions.log.clone_from(&there.log);
    node.extensions.stored.clone_from(&there.stored);
    node.extensions.criteria.clone_from(&there.criteria);
    node.extensions.result.clone_from(&there.result);
    node.extensions.discarded = there.discarded;
}
