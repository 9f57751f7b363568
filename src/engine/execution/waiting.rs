//! How an Execution is left when nothing more can be done for it now: what it waits for, and what lets it go on.

use jiff::Timestamp;

use crate::event::Waiting;
use crate::index::{Topic, WaitSet};
use crate::model::{
    ExecutionStatus, MutexHold, NextStep, NodeId, NodePhase, NodeSituation, PIN_MISMATCH, ResourceKey,
    required_step,
};
use crate::plan::{Dependency, Draft};

/// The reason of an Execution that another runner drives.
pub(crate) const LEASED: &str = "Leased";

/// The reason of a resource whose record no branch has, because the remote refuses it.
pub(crate) const RECORD_REFUSED: &str = "RecordRefused";

pub(crate) fn leased(key: &ResourceKey, status: &ExecutionStatus, until: Timestamp) -> WaitSet {
    let holder = status.extensions.lease.as_ref().map(|lease| lease.holder.as_str()).unwrap_or_default();
    let message = format!("runner {holder} drives it");
    let waiting = Waiting { until: Some(until), ..Waiting::of(key.clone(), LEASED, message) };
    // A lease that runs out makes no commit, so time alone can wake what waits for it.
    let mut waits = WaitSet { wake: Some(until), ..WaitSet::default() };
    waits.waiting.push(waiting);
    waits
}

/// Whether it is left to another runner.
pub(crate) fn is_leased(waits: &WaitSet) -> bool {
    waits.waiting.iter().any(|waiting| waiting.reason == LEASED)
}

/// How an execution is left after a draft: what would make it worth planning again, and what it waits for.
pub(crate) fn wait_set(draft: &Draft, key: Option<&ResourceKey>) -> WaitSet {
    let mut waits = WaitSet { wake: draft.wake, ..WaitSet::default() };
    for dependency in &draft.on {
        waits.on(&match dependency {
            Dependency::Resource(key) => Topic::Resource(key.clone()),
            Dependency::Bindings(namespace) => Topic::Bindings(namespace.clone()),
        });
    }
    let Some(key) = key else { return waits };
    let status = &draft.status;
    if let Some(request) = &status.extensions.suspend {
        let message = format!("suspended by {}", request.by);
        let command = NextStep::resume(key).to_string();
        push(&mut waits, key, None, "Suspended", message, Some(command), None);
    }
    let mutex = status.extensions.mutex.as_ref().filter(|_| !status.phase.is_terminal());
    if let Some(message) = mutex.and_then(MutexHold::waiting) {
        push(&mut waits, key, None, "MutexHeld", message, None, None);
    }
    if let Some(message) = &draft.crowded {
        push(&mut waits, key, None, "NamespaceLimit", message.clone(), None, None);
    }
    // Without a pin it has no nodes yet, so the reason is that of the Execution itself.
    let mismatched = status.reason.as_deref() == Some(PIN_MISMATCH);
    if (status.extensions.pinned.is_none() || mismatched) && !status.phase.is_terminal() {
        let reason = status.reason.clone().unwrap_or_default();
        let command = mismatched.then(|| NextStep::accept_pin(key).to_string());
        push(&mut waits, key, None, &reason, status.message.clone().unwrap_or_default(), command, None);
    }
    if mismatched {
        waits.on(&Topic::DesiredCommit);
        // Nothing that its nodes wait for matters before that.
        return waits;
    }
    for (node, state) in &status.node_statuses {
        // A Pending node that has a time waits for its retry. Every other one waits for its sources, which
        // say for themselves what they wait for.
        let blocked = state.phase == NodePhase::Blocked
            || (state.phase == NodePhase::Pending && state.extensions.retry_at.is_some());
        if let (true, Some(reason)) = (blocked, state.extensions.reason) {
            let gate =
                draft.gates.iter().find(|demand| demand.blocked.contains(node)).map(|demand| &demand.gate);
            let situation =
                NodeSituation { execution: key, node, phase: state.phase, reason: Some(reason), gate };
            let command = required_step(&situation).map(|step| step.to_string());
            // The time that this machine keeps goes before the recorded one, because a poll that learns
            // nothing is not recorded.
            let look = draft.polls.iter().find(|look| look.id == *node).map(|look| look.due);
            let until = look.or(state.extensions.retry_at);
            push(&mut waits, key, Some(node), &reason.to_string(), state.message.clone(), command, until);
        }
    }
    waits
}

fn push(
    waits: &mut WaitSet,
    key: &ResourceKey,
    node: Option<&NodeId>,
    reason: &str,
    message: String,
    command: Option<String>,
    until: Option<Timestamp>,
) {
    waits.waiting.push(Waiting {
        key: key.clone(),
        node: node.cloned(),
        reason: reason.to_owned(),
        message,
        command,
        until,
    });
}
