//! The one total transition function of a node: every legal move is here, and nowhere else.

use super::NodeChange;
use crate::model::NodePhase;

/// A move that is not legal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cannot {change} a node that is {from}")]
pub(crate) struct IllegalTransition {
    /// The phase.
    pub from: NodePhase,
    /// The name of the change.
    pub change: &'static str,
}

/// The phase after `change`.
///
/// # Errors
/// The move is not legal; above all, nothing but `Reset`, and `Rework` after a review, leaves a terminal phase (Invariant 10).
pub(crate) fn next_phase(from: NodePhase, change: &NodeChange) -> Result<NodePhase, IllegalTransition> {
    use NodePhase::{Blocked, Cancelled, Failed, Pending, Running, Skipped, Succeeded};
    let to = match (from, change) {
        // A group is a pure function of its children, which may be retried.
        (_, NodeChange::Sum { phase, .. }) => *phase,
        // Not from Running: the attempt that continues would report its end to a node that begins again.
        (Succeeded | Failed | Skipped | Cancelled | Blocked | Pending, NodeChange::Reset { .. }) => Pending,
        // Only of work that was done: what failed is not what was reviewed.
        (Succeeded, NodeChange::Rework { .. }) => Pending,
        (Pending | Blocked, NodeChange::Start { .. }) => Running,
        // From Pending, too: a Gate has no attempt, and a person may complete a node that never started.
        (Running | Blocked | Pending, NodeChange::Succeed { .. }) => Succeeded,
        (Pending, NodeChange::Reuse { .. }) => Succeeded,
        (Running | Blocked | Pending, NodeChange::Fail { .. }) => Failed,
        (Running | Blocked, NodeChange::Retry { .. }) => Pending,
        (Pending | Running | Blocked, NodeChange::Block { .. }) => Blocked,
        // Before it starts, and no later: from then on the work itself says where it is.
        (Pending, NodeChange::Propose { .. }) => Pending,
        (Pending, NodeChange::Request(_)) => Pending,
        (Blocked, NodeChange::Request(_) | NodeChange::Decide(_)) => Blocked,
        (Blocked, NodeChange::Answer(_) | NodeChange::Grant(_)) => Blocked,
        (Pending | Blocked, NodeChange::Skip { .. }) => Skipped,
        (Pending | Running | Blocked, NodeChange::Cancel { .. }) => Cancelled,
        _ => return Err(IllegalTransition { from, change: change.name() }),
    };
    Ok(to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        BudgetGrant, ChangeRequest, NodeDecision, NodeId, NodeReason, QuestionAnswer, Rework, Usage,
        WorkProposal,
    };
    use crate::run::Evidence;

    fn request() -> ChangeRequest {
        let node = NodeId::new("a").ok();
        ChangeRequest { node, by: "r".into(), words: "w".into(), commit: "c".into(), conflicts_with: None }
    }

    fn changes() -> Vec<NodeChange> {
        let reason = NodeReason::ProviderFailed;
        let message = String::new();
        vec![
            NodeChange::Start { binding: None, basis: None, base: None, runner: "r".into(), token: None },
            NodeChange::Succeed {
                reason: None,
                message: message.clone(),
                outputs: Default::default(),
                evidence: Evidence::default(),
            },
            NodeChange::Fail { reason, message: message.clone(), evidence: Evidence::default() },
            NodeChange::Reuse { message: message.clone(), state: Box::default(), artifacts: Vec::new() },
            NodeChange::Retry {
                reason,
                message: message.clone(),
                at: jiff::Timestamp::UNIX_EPOCH,
                counted: true,
                evidence: Evidence::default(),
            },
            NodeChange::block(reason, message.clone()),
            NodeChange::Propose {
                proposal: WorkProposal { base: "c".into(), handle: None },
                message: message.clone(),
            },
            NodeChange::Request(Box::new(request())),
            NodeChange::Decide(Box::new(NodeDecision {
                result: None,
                failed: false,
                outputs: Default::default(),
                message: String::new(),
            })),
            NodeChange::Answer(QuestionAnswer {
                by: "r".into(),
                at: jiff::Timestamp::UNIX_EPOCH,
                text: "t".into(),
            }),
            NodeChange::Grant(Box::new(BudgetGrant {
                by: "r".into(),
                at: jiff::Timestamp::UNIX_EPOCH,
                text: "t".into(),
                node: Usage::default(),
                execution: Usage::default(),
            })),
            NodeChange::Skip { reason, message: message.clone() },
            NodeChange::Cancel { reason, message },
        ]
    }

    #[test]
    fn nothing_but_a_reset_leaves_a_terminal_phase() {
        for from in NodePhase::ALL.into_iter().filter(|phase| phase.is_terminal()) {
            for change in changes() {
                assert!(next_phase(from, &change).is_err(), "{from} {}", change.name());
            }
            assert_eq!(
                next_phase(from, &NodeChange::Reset { message: String::new() }),
                Ok(NodePhase::Pending)
            );
        }
    }

    #[test]
    fn only_work_that_was_done_is_done_again_for_a_reviewer() {
        for from in NodePhase::ALL {
            let rework = Box::new(Rework { count: 1, request: request() });
            let again = NodeChange::Rework { rework, onto: Vec::new(), message: String::new() };
            assert_eq!(next_phase(from, &again).is_ok(), from == NodePhase::Succeeded, "{from}");
        }
    }

    #[test]
    fn a_running_node_is_not_started_skipped_or_reset() {
        for change in changes() {
            let refused = matches!(
                change,
                NodeChange::Start { .. }
                    | NodeChange::Reuse { .. }
                    | NodeChange::Skip { .. }
                    | NodeChange::Propose { .. }
                    | NodeChange::Request(_)
                    | NodeChange::Decide(_)
                    | NodeChange::Answer(_)
                    | NodeChange::Grant(_)
            );
            assert_eq!(next_phase(NodePhase::Running, &change).is_err(), refused, "{}", change.name());
        }
        assert!(next_phase(NodePhase::Running, &NodeChange::Reset { message: String::new() }).is_err());
    }
}
