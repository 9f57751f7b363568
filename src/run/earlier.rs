//! What an Execution takes over from an earlier one that did the same work, and an attempt from an earlier one that goes on in it.

use super::UnfinishedChanges;
use crate::model::{ExecutionStatus, NodeId, NodePhase, NodeReason, NodeStatus, Reuse};

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

/// Changes to other files than those that the attempt works on would undo what came since. Dropped, and said (Invariant 15).
pub(super) fn drop_unfinished_on_another_base(status: &mut ExecutionStatus, id: &NodeId) {
    let Some(node) = status.node_statuses.get(id) else { return };
    let Some(unfinished) = node.extensions.unfinished.as_deref() else { return };
    let base = node.extensions.base.as_deref().or(status.start_commit());
    if base == Some(&unfinished.base) {
        return;
    }
    let message = format!("{} is dropped: it was made on other files", unfinished.summary());
    if let Some(node) = status.node_statuses.get_mut(id) {
        (node.message, node.extensions.unfinished) = (message, None);
    }
}

/// Keeps what an attempt had changed that goes on later.
pub(super) fn leave_unfinished(node: &mut NodeStatus, changes: &UnfinishedChanges) {
    if let UnfinishedChanges::Left(left) = changes {
        node.extensions.unfinished.clone_from(left);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::Timestamp;

    use super::*;
    use crate::model::UnfinishedWork;
    use crate::run::{Change, Evidence, NodeChange, apply};

    #[test]
    fn unfinished_changes_outlive_lost_runners_and_go_when_the_base_is_another_one() {
        let id = NodeId::new("a").unwrap();
        let mut status = ExecutionStatus::default();
        status.node_statuses.insert(id.clone(), NodeStatus::default());
        let at = Timestamp::UNIX_EPOCH;
        let mut change = |change: NodeChange| {
            apply(&mut status, &Change::Node(id.clone(), change), at).unwrap();
            status.node_statuses[&id].clone()
        };
        let start = |base: &str| {
            let base = Some(base.to_owned());
            NodeChange::Start { binding: None, basis: None, base, runner: "r".into(), token: None }
        };
        let retry = |unfinished| {
            let (reason, message) = (NodeReason::RetryBackoff, String::new());
            let evidence = Evidence { unfinished, ..Evidence::default() };
            NodeChange::Retry { reason, message, at, counted: false, evidence }
        };
        let work = Arc::new(UnfinishedWork { commit: "c".into(), base: "b".into(), files: 2, attempt: 1 });
        change(start("b"));
        change(retry(UnfinishedChanges::Left(Some(work.clone()))));
        change(start("b"));
        let lost = change(retry(UnfinishedChanges::AsFound));
        assert_eq!(lost.extensions.unfinished.as_ref(), Some(&work));
        let begun = change(start("d"));
        assert_eq!(begun.extensions.unfinished, None);
        let said = "what attempt 1 had left unfinished (2 files) is dropped: it was made on other files";
        assert_eq!(begun.message, said);
        change(retry(UnfinishedChanges::Left(Some(work))));
        change(start("b"));
        assert_eq!(change(retry(UnfinishedChanges::Left(None))).extensions.unfinished, None, "put back");
    }
}
