//! What becomes of the files that an attempt changed which goes on later, until an attempt succeeds or somebody begins anew.

use super::UnfinishedChanges;
use crate::model::{ExecutionStatus, NodeId, NodeStatus};

/// Changes to other files than those that the attempt works on would undo what came since. Dropped, and said (Invariant 15).
pub(super) fn drop_on_another_base(status: &mut ExecutionStatus, id: &NodeId) {
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
pub(super) fn leave(node: &mut NodeStatus, changes: &UnfinishedChanges) {
    if let UnfinishedChanges::Left(left) = changes {
        node.extensions.unfinished.clone_from(left);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::Timestamp;

    use super::*;
    use crate::model::{NodeReason, UnfinishedWork};
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
