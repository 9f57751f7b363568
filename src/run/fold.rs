//! The fold: one change applied to the status of an Execution. The status is the sum of its changes.

use std::sync::Arc;

use jiff::Timestamp;

use super::{
    Change, Evidence, ExecutionChange, IllegalTransition, NodeChange, next_phase, reused, unfinished,
};
use crate::model::{
    BudgetGrant, ExecutionPhase, ExecutionStatus, JsonMap, Lease, NodeDecision, NodeExtensions, NodeId,
    NodeReason, NodeStatus, PIN_MISMATCH, Rework, Usage, WorkProposal,
};

/// A change that does not fit the status.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum IllegalChange {
    /// The node's phase does not allow it.
    #[error("node `{node}`: {source}")]
    Transition {
        /// The node.
        node: NodeId,
        /// Why.
        source: IllegalTransition,
    },
    /// There is no such node.
    #[error("there is no node `{0}`")]
    UnknownNode(NodeId),
    /// The lease is somebody else's, or none.
    #[error("the lease with token {0} is not held")]
    LeaseNotHeld(u64),
    /// The token does not grow.
    #[error("fencing token {new} is not higher than {last}")]
    TokenNotHigher {
        /// The refused token.
        new: u64,
        /// The highest so far.
        last: u64,
    },
    /// The execution is pinned already.
    #[error("the execution is already pinned")]
    AlreadyPinned,
    /// The instances of the node are known already, or they are not known.
    #[error("the instances of node `{0}` were fixed before, or never")]
    Instances(NodeId),
    /// The execution is over.
    #[error("the execution is already {0}")]
    Over(ExecutionPhase),
}

/// Applies `change`, which happens `at` this time. The execution's phase is derived afterwards, by
/// [`super::derive_phase`], once for a batch.
///
/// # Errors
/// The change does not fit; then the status is as it was.
pub(crate) fn apply(
    status: &mut ExecutionStatus,
    change: &Change,
    at: Timestamp,
) -> Result<(), IllegalChange> {
    match change {
        Change::Execution(change) => apply_execution(status, change, at),
        Change::Node(node, change) => apply_node(status, node, change, at),
    }
}

fn apply_execution(
    status: &mut ExecutionStatus,
    change: &ExecutionChange,
    at: Timestamp,
) -> Result<(), IllegalChange> {
    let over = status.phase.is_terminal();
    match change {
        ExecutionChange::Queue { spec_hash, run_id } => {
            status.spec_hash = Some(spec_hash.clone());
            status.run_id = Some(run_id.clone());
            status.queued_time = Some(at);
            status.last_phase_transition_time = Some(at);
        }
        ExecutionChange::Pin { graph, nodes } => {
            // Invariant 9: the graph of an Execution is decided once. A second runner that pinned another commit in the
            // meantime loses here, not later.
            if status.extensions.pinned.is_some() {
                return Err(IllegalChange::AlreadyPinned);
            }
            status.extensions.pinned = Some(graph.clone());
            // Every node has a record from the first commit on, so a node that somebody adds to or takes from a record
            // by hand can be distinguished from one that has not started.
            status.node_statuses = nodes.iter().map(|id| (id.clone(), NodeStatus::default())).collect();
            (status.reason, status.message) = (None, None);
        }
        ExecutionChange::Expand { node, items, instances } => expand(status, node, items, instances)?,
        ExecutionChange::Collapse { node, instances } => collapse(status, node, instances)?,
        ExecutionChange::Hold { reason, message } => {
            status.reason = Some(reason.clone());
            status.message = Some(message.clone());
        }
        ExecutionChange::AcquireLease(_)
        | ExecutionChange::RenewLease { .. }
        | ExecutionChange::ReleaseLease { .. } => return apply_lease(status, change),
        ExecutionChange::Unlock(request) => {
            status.extensions.lease = None;
            status.extensions.unlocked = Some(request.clone());
        }
        ExecutionChange::AcceptPin { graph, request } => {
            status.extensions.pinned = Some(graph.clone());
            status.extensions.pin_accepted = Some(request.clone());
            status.conditions.retain(|condition| condition.kind != PIN_MISMATCH);
            (status.reason, status.message) = (None, None);
        }
        // Invariant 10: a request that arrives after the end must not look as if it had an effect.
        ExecutionChange::RequestCancel(_) | ExecutionChange::Suspend(_) if over => {
            return Err(IllegalChange::Over(status.phase));
        }
        ExecutionChange::RequestCancel(request) => status.extensions.cancel = Some(request.clone()),
        ExecutionChange::Suspend(request) => status.extensions.suspend = Some(request.clone()),
        ExecutionChange::Exclude(mutex) => status.extensions.mutex = Some(mutex.clone()),
        ExecutionChange::Reuse(reuse) => reused::take_note(status, reuse),
        ExecutionChange::Resume(request) => {
            status.extensions.suspend = None;
            status.extensions.resumed = Some(request.clone());
        }
        ExecutionChange::Retry(_) => {
            status.extensions.retries = status.extensions.retries.saturating_add(1);
            // A retry of a cancelled Execution would otherwise be cancelled again by the request that already had its
            // effect.
            status.extensions.cancel = None;
            if over {
                // It gave the mutex up when it ended, and has to wait for it again.
                status.extensions.mutex = None;
            }
            status.completion_time = None;
        }
    }
    Ok(())
}

/// Fixes the instances of a repeated node, each with a record of its own from the same commit on.
fn expand(
    status: &mut ExecutionStatus,
    id: &NodeId,
    items: &Arc<Vec<serde_json::Value>>,
    instances: &[NodeId],
) -> Result<(), IllegalChange> {
    let taken = instances.iter().any(|instance| status.node_statuses.contains_key(instance));
    let node = status.node_statuses.get_mut(id).ok_or_else(|| IllegalChange::UnknownNode(id.clone()))?;
    // Invariant 9: a list is fixed once. Of two runners that computed it, the second finds the instances of the first.
    if node.extensions.instances.is_some() || taken || node.phase.is_terminal() {
        return Err(IllegalChange::Instances(id.clone()));
    }
    node.extensions.instances = Some(Arc::clone(items));
    // On top of what instances of these names had before, so that no attempt has the name of another one.
    let begun = NodeStatus { attempt: node.extensions.instance_attempts, ..NodeStatus::default() };
    status.node_statuses.extend(instances.iter().map(|id| (id.clone(), begun.clone())));
    Ok(())
}

/// Takes the instances of a repeated node back, because what its list is computed from runs again.
fn collapse(status: &mut ExecutionStatus, id: &NodeId, instances: &[NodeId]) -> Result<(), IllegalChange> {
    let known = status.node_statuses.get(id).is_some_and(|node| node.extensions.instances.is_some());
    if !known {
        return Err(IllegalChange::Instances(id.clone()));
    }
    let gone = instances.iter().filter_map(|id| status.node_statuses.remove(id));
    let attempts = gone.map(|node| node.attempt).max().unwrap_or_default();
    if let Some(node) = status.node_statuses.get_mut(id) {
        node.extensions.instances = None;
        node.extensions.instance_attempts = node.extensions.instance_attempts.max(attempts);
    }
    Ok(())
}

fn apply_lease(status: &mut ExecutionStatus, change: &ExecutionChange) -> Result<(), IllegalChange> {
    let held =
        |lease: &Option<Lease>, token: u64| lease.as_ref().filter(|lease| lease.token == token).is_some();
    let extensions = &mut status.extensions;
    match change {
        ExecutionChange::AcquireLease(lease) => {
            // Tokens only grow, also over a released lease: a runner that slept for a while must find that its own
            // token is no longer the highest.
            if lease.token <= extensions.last_token {
                return Err(IllegalChange::TokenNotHigher { new: lease.token, last: extensions.last_token });
            }
            extensions.last_token = lease.token;
            extensions.lease = Some(lease.clone());
        }
        ExecutionChange::RenewLease { token, at } => {
            if !held(&extensions.lease, *token) {
                return Err(IllegalChange::LeaseNotHeld(*token));
            }
            if let Some(lease) = &mut extensions.lease {
                // Only the time moves. With a new token, work that is under way would count as that of a lost runner.
                lease.renew_time = *at;
            }
        }
        ExecutionChange::ReleaseLease { token } => {
            if !held(&extensions.lease, *token) {
                return Err(IllegalChange::LeaseNotHeld(*token));
            }
            extensions.lease = None;
        }
        _ => {}
    }
    Ok(())
}

fn apply_node(
    status: &mut ExecutionStatus,
    id: &NodeId,
    change: &NodeChange,
    at: Timestamp,
) -> Result<(), IllegalChange> {
    // A record that was edited by hand may lack nodes of its plan; the caller decides, the fold never invents one.
    let Some(node) = status.node_statuses.get_mut(id) else {
        return Err(IllegalChange::UnknownNode(id.clone()));
    };
    let to = next_phase(node.phase, change)
        .map_err(|source| IllegalChange::Transition { node: id.clone(), source })?;
    // After the transition was found legal: a change that is refused leaves the node as it was.
    change_node(node, change, at);
    node.phase = to;
    node.completion_time = to.is_terminal().then(|| node.completion_time.unwrap_or(at));
    if matches!(change, NodeChange::Start { .. }) {
        // The first start of any node starts the Execution; queueing and pinning do not count as running.
        status.start_time = status.start_time.or(Some(at));
        unfinished::drop_on_another_base(status, id);
    }
    // Artifacts are listed on the Execution by contract, not on the node, and those of a reused node are as good as its
    // own.
    if let NodeChange::Reuse { artifacts, .. } = change {
        status.artifacts.extend(artifacts.iter().cloned());
    }
    // Once a node is to run again, `describe` must not continue calling it reused.
    if let (NodeChange::Reset { .. } | NodeChange::Rework { .. }, Some(reuse)) =
        (change, &mut status.extensions.reuse)
    {
        reuse.forget(id);
    }
    if let NodeChange::Succeed { evidence, .. } | NodeChange::Fail { evidence, .. } = change {
        status.artifacts.extend(evidence.artifacts.iter().cloned());
    }
    if let NodeChange::Succeed { evidence, .. }
    | NodeChange::Fail { evidence, .. }
    | NodeChange::Retry { evidence, .. } = change
    {
        let bytes = evidence.stored.as_ref().map_or(0, |stored| stored.bytes);
        status.extensions.stored_bytes = status.extensions.stored_bytes.saturating_add(bytes);
    }
    Ok(())
}

fn change_node(node: &mut NodeStatus, change: &NodeChange, at: Timestamp) {
    let say = |node: &mut NodeStatus, reason: Option<NodeReason>, message: &str| {
        node.extensions.reason = reason;
        message.clone_into(&mut node.message);
    };
    match change {
        NodeChange::Start { binding, basis, base, runner, token } => {
            start(node, at);
            let begun = &mut node.extensions;
            (begun.binding, begun.basis, begun.base) = (binding.clone(), basis.clone(), base.clone());
            (begun.runner, begun.token) = (Some(runner.clone()), *token);
        }
        NodeChange::Succeed { reason, message, outputs, evidence } => {
            say(node, *reason, message);
            succeed(node, outputs, evidence);
        }
        NodeChange::Reuse { message, state, .. } => reused::take_over(node, state, message),
        NodeChange::Fail { reason, message, evidence } => {
            say(node, Some(*reason), message);
            keep(node, evidence);
            node.extensions.answer = None;
        }
        NodeChange::Retry { message, at: due, counted, evidence, .. } => {
            say(node, Some(NodeReason::RetryBackoff), message);
            keep(node, evidence);
            // Due at once is no time: read by a machine whose clock is behind that of the writer, it would be hours ahead
            // (Invariant 16).
            node.extensions.retry_at = (*due > at).then_some(*due);
            // A lost runner is not the work's failure: it uses up no retry, and the next attempt may still use the
            // answer that a person gave.
            if *counted {
                node.extensions.answer = None;
                node.extensions.failures = node.extensions.failures.saturating_add(1);
            }
        }
        NodeChange::Block { reason, message, retry_at, handle, usage, unfinished } => {
            spend(node, *usage);
            unfinished::leave(node, unfinished);
            // Timeouts of waits count from when the wait began. A new message for the same reason (1 of 2 approvals)
            // does not begin it again.
            let same = node.extensions.reason == Some(*reason);
            say(node, Some(*reason), message);
            node.extensions.retry_at = *retry_at;
            node.extensions.handle.clone_from(handle);
            // What was asked before may have been taken back; whoever polls says it again.
            (node.extensions.answer, node.extensions.requested) = (None, None);
            node.extensions.blocked_since = node.extensions.blocked_since.filter(|_| same).or(Some(at));
        }
        NodeChange::Propose { proposal, message } => propose(node, proposal, message),
        NodeChange::Request(request) => node.extensions.requested = Some(request.clone()),
        NodeChange::Rework { rework, onto, message } => run_again(node, rework, onto, message, at),
        NodeChange::Decide(decided) => decide(node, decided),
        NodeChange::Answer(answer) => {
            let message = format!("answered by {}; the next reconcile passes it on", answer.by);
            say(node, node.extensions.reason, &message);
            node.extensions.answer = Some(answer.clone());
        }
        NodeChange::Grant(granted) => grant(node, granted),
        NodeChange::Skip { reason, message } | NodeChange::Cancel { reason, message } => {
            say(node, Some(*reason), message);
            node.extensions.retry_at = None;
        }
        NodeChange::Sum { message, .. } => message.clone_into(&mut node.message),
        NodeChange::Reset { message } => reset(node, message, at),
    }
}

/// What came of work that is done.
fn succeed(node: &mut NodeStatus, outputs: &JsonMap, evidence: &Evidence) {
    keep(node, evidence);
    node.outputs.clone_from(outputs);
    // Only of work that succeeded: what a failed attempt changed is nobody's base.
    node.extensions.result = evidence.result.clone().map(Arc::new);
    // What was unfinished is part of the result by now, or was taken back.
    (node.extensions.unfinished, node.extensions.answer) = (None, None);
}

/// What was used up counts anew from here.
fn grant(node: &mut NodeStatus, granted: &BudgetGrant) {
    node.message = format!("granted by {}; the next reconcile continues", granted.by);
    node.extensions.granted = Some(Box::new(granted.clone()));
}

/// People are shown something new, of which nobody has wanted anything changed yet.
fn propose(node: &mut NodeStatus, proposal: &WorkProposal, message: &str) {
    message.clone_into(&mut node.message);
    node.extensions.proposal = Some(Box::new(proposal.clone()));
    node.extensions.requested = None;
}

/// Back to the beginning, but on top of what was reviewed, and with what is asked of it.
fn run_again(node: &mut NodeStatus, rework: &Rework, onto: &[NodeId], message: &str, at: Timestamp) {
    reset(node, message, at);
    node.extensions.rework = Some(Box::new(rework.clone()));
    node.extensions.onto = onto.to_vec();
}

/// Keeps what a person decided until the remote work is cancelled.
fn decide(node: &mut NodeStatus, decided: &NodeDecision) {
    node.message = format!("{}; its remote work is cancelled first", decided.message);
    node.extensions.decided = Some(decided.clone());
}

/// Back to the beginning, with the number of attempts kept.
fn reset(node: &mut NodeStatus, message: &str, at: Timestamp) {
    // `reset_at` is kept apart from the rest because reviews from before it must not count again (Invariant 11).
    // What was spent stays spent.
    let extensions = NodeExtensions {
        reset_at: Some(at),
        instance_attempts: node.extensions.instance_attempts,
        usage: node.extensions.usage,
        granted: node.extensions.granted.take(),
        ..NodeExtensions::default()
    };
    let message = message.to_owned();
    *node = NodeStatus { attempt: node.attempt, message, extensions, ..NodeStatus::default() };
}

/// What an attempt before it left for this one stays: its handle, and the answer to its question.
fn start(node: &mut NodeStatus, at: Timestamp) {
    // The number never goes back, not even over a reset: logs and run folders of different attempts must not collide.
    node.attempt = node.attempt.saturating_add(1);
    node.start_time = Some(at);
    node.message.clear();
    node.extensions = NodeExtensions {
        failures: node.extensions.failures,
        reset_at: node.extensions.reset_at,
        // The provider that was asked before finds its remote work again by the handle instead of beginning it twice.
        handle: node.extensions.handle.take(),
        answer: node.extensions.answer.take(),
        // Each attempt at it works on top of what was reviewed, also after a failure.
        rework: node.extensions.rework.take(),
        // Until it has changed them further: should its runner be lost, the next one begins with the same.
        unfinished: node.extensions.unfinished.take(),
        usage: node.extensions.usage,
        granted: node.extensions.granted.take(),
        onto: std::mem::take(&mut node.extensions.onto),
        reruns: node.extensions.reruns,
        ..NodeExtensions::default()
    };
}

/// Adds what an attempt used up.
fn spend(node: &mut NodeStatus, usage: Option<Usage>) {
    let before = node.extensions.usage;
    node.extensions.usage = usage.map(|usage| before.unwrap_or_default().plus(usage)).or(before);
}

fn keep(node: &mut NodeStatus, evidence: &Evidence) {
    spend(node, evidence.usage);
    unfinished::leave(node, &evidence.unfinished);
    (node.extensions.exit_code, node.extensions.discarded) = (evidence.exit_code, evidence.discarded);
    node.extensions.log.clone_from(&evidence.log);
    node.extensions.stored.clone_from(&evidence.stored);
    node.extensions.criteria.clone_from(&evidence.criteria);
    (node.extensions.retry_at, node.extensions.blocked_since) = (None, None);
    (node.extensions.handle, node.extensions.decided) = (None, None);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::NodePhase;

    fn status() -> (ExecutionStatus, NodeId) {
        let id = NodeId::new("a").unwrap();
        let mut status = ExecutionStatus::default();
        status.node_statuses.insert(id.clone(), NodeStatus::default());
        (status, id)
    }

    fn lease(token: u64) -> Lease {
        let at = Timestamp::UNIX_EPOCH;
        Lease { holder: "r".into(), acquire_time: at, renew_time: at, duration_millis: 1, token }
    }

    #[test]
    fn a_fencing_token_only_grows_even_after_a_release() {
        let (mut status, _) = status();
        let at = Timestamp::UNIX_EPOCH;
        let acquire = |token| Change::Execution(ExecutionChange::AcquireLease(lease(token)));
        apply(&mut status, &acquire(1), at).unwrap();
        apply(&mut status, &Change::Execution(ExecutionChange::ReleaseLease { token: 1 }), at).unwrap();
        assert!(apply(&mut status, &acquire(1), at).is_err());
        apply(&mut status, &acquire(2), at).unwrap();
        let stale = Change::Execution(ExecutionChange::RenewLease { token: 1, at });
        assert_eq!(apply(&mut status, &stale, at), Err(IllegalChange::LeaseNotHeld(1)));
    }

    #[test]
    fn an_illegal_change_leaves_the_status_as_it_was() {
        let (mut status, id) = status();
        let at = Timestamp::UNIX_EPOCH;
        let skip = NodeChange::Skip { reason: NodeReason::ConditionFalse, message: "no".into() };
        apply(&mut status, &Change::Node(id.clone(), skip.clone()), at).unwrap();
        let before = status.clone();
        assert!(apply(&mut status, &Change::Node(id.clone(), skip), at).is_err());
        assert_eq!(status, before);
        assert_eq!(status.node_statuses[&id].phase, NodePhase::Skipped);
    }

    #[test]
    fn attempts_count_on_through_retries_and_resets() {
        let (mut status, id) = status();
        let at = Timestamp::UNIX_EPOCH;
        let start = || {
            Change::Node(
                id.clone(),
                NodeChange::Start { binding: None, basis: None, base: None, runner: "r".into(), token: None },
            )
        };
        let retry = |counted| {
            let reason = NodeReason::ProviderFailed;
            let evidence = Evidence::default();
            Change::Node(
                id.clone(),
                NodeChange::Retry { reason, message: String::new(), at, counted, evidence },
            )
        };
        for (change, attempt, failures) in
            [(start(), 1, 0), (retry(true), 1, 1), (start(), 2, 1), (retry(false), 2, 1)]
        {
            apply(&mut status, &change, at).unwrap();
            let node = &status.node_statuses[&id];
            assert_eq!((node.attempt, node.extensions.failures), (attempt, failures));
        }
        apply(&mut status, &Change::Node(id.clone(), NodeChange::Reset { message: "again".into() }), at)
            .unwrap();
        assert_eq!(status.node_statuses[&id].attempt, 2);
        assert_eq!(status.node_statuses[&id].extensions.failures, 0);
    }
}
