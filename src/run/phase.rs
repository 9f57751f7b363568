//! Phases that follow from others: a group's from its children, an Execution's from its nodes.

use jiff::Timestamp;

use super::CompiledPlan;
use crate::graph::NodeIx;
use crate::model::{
    Condition, ConditionStatus, ExecutionPhase, ExecutionStatus, MutexHold, Node, NodeKind, NodePhase,
    NodeReason, NodeStatus, PIN_MISMATCH,
};

/// Annotation: `"true"` on a node whose failure does not fail its execution.
const ALLOW_FAILURE: &str = "planspec.io/allow-failure";

/// Whether a failure of the node leaves its execution's outcome alone.
#[must_use]
pub(crate) fn allows_failure(node: &Node) -> bool {
    node.annotations.get(ALLOW_FAILURE).is_some_and(|value| value == "true")
}

/// The phase that the phases of a group's children add up to.
pub(crate) fn group_phase(children: impl Iterator<Item = NodePhase>) -> NodePhase {
    let mut any = false;
    let mut ended = false;
    let [mut pending, mut running, mut blocked, mut succeeded, mut failed, mut cancelled] = [false; 6];
    for phase in children {
        any = true;
        ended |= phase.is_terminal();
        match phase {
            NodePhase::Pending => pending = true,
            NodePhase::Running => running = true,
            NodePhase::Blocked => blocked = true,
            NodePhase::Succeeded => succeeded = true,
            NodePhase::Failed => failed = true,
            NodePhase::Cancelled => cancelled = true,
            NodePhase::Skipped => {}
        }
    }
    if !any {
        NodePhase::Succeeded
    // In this order because a person wants to see first what is moving, then what needs them, and an outcome only when
    // nothing can change it any more.
    } else if running {
        NodePhase::Running
    } else if blocked {
        NodePhase::Blocked
    } else if pending {
        // Between two children that run one after the other nothing runs for a moment; the group must not flicker back
        // to Pending.
        if ended { NodePhase::Running } else { NodePhase::Pending }
    } else if failed {
        NodePhase::Failed
    } else if cancelled {
        NodePhase::Cancelled
    } else if succeeded {
        NodePhase::Succeeded
    } else {
        NodePhase::Skipped
    }
}

/// Sets the phase of the execution, and what goes with it, from the phases of its nodes.
/// Says whether the phase changed.
pub(crate) fn derive_phase(
    compiled: Option<&CompiledPlan>,
    status: &mut ExecutionStatus,
    at: Timestamp,
) -> bool {
    let phase = match compiled {
        Some(compiled) if status.extensions.pinned.is_some() => of_nodes(compiled, status),
        // Nothing has been pinned, so nothing can be under way: there is nothing to wait for.
        _ if status.extensions.cancel.is_some() => ExecutionPhase::Cancelled,
        _ if status.reason.is_some() => ExecutionPhase::Blocked,
        _ => ExecutionPhase::Pending,
    };
    // Whatever its nodes say: they may have been written by whoever wrote the pin. Only a person's cancellation ends it.
    let mismatch = mismatch(status).filter(|_| phase != ExecutionPhase::Cancelled).map(str::to_owned);
    let phase = if mismatch.is_some() { ExecutionPhase::Blocked } else { phase };
    let changed = phase != status.phase || status.last_phase_transition_time.is_none();
    if changed {
        status.phase = phase;
        status.last_phase_transition_time = Some(at);
    }
    // Kept when it is there: deriving the phase again must change nothing, or every pass would make a commit (Invariant
    // 5).
    status.completion_time = phase.is_terminal().then(|| status.completion_time.unwrap_or(at));
    if let Some(compiled) = compiled.filter(|_| status.extensions.pinned.is_some()) {
        explain(compiled, status);
    }
    if let Some(why) = mismatch {
        (status.reason, status.message) = (Some(PIN_MISMATCH.to_owned()), Some(why));
    }
    if phase.is_terminal() {
        set_complete(status, phase, at);
    } else {
        status.conditions.retain(|condition| condition.kind != "Complete");
    }
    changed
}

/// Why the pin does not hold, as far as that was noted.
fn mismatch(status: &ExecutionStatus) -> Option<&str> {
    let noted = status.conditions.iter().find(|condition| condition.kind == PIN_MISMATCH)?;
    (noted.status == ConditionStatus::True).then_some(noted.message.as_str())
}

fn set_complete(status: &mut ExecutionStatus, phase: ExecutionPhase, at: Timestamp) {
    let complete = Condition {
        kind: "Complete".to_owned(),
        status: ConditionStatus::True,
        reason: phase.as_str().to_owned(),
        message: status.message.clone().unwrap_or_default(),
        last_transition_time: at,
        observed_generation: status.observed_generation,
    };
    Condition::set(&mut status.conditions, complete);
}

fn of_nodes(compiled: &CompiledPlan, status: &ExecutionStatus) -> ExecutionPhase {
    let mut terminal = true;
    let mut failed = false;
    let mut cancelled = false;
    let mut moving = false;
    let mut started = false;
    for (ix, node) in compiled.plan.graph.nodes.iter().enumerate() {
        // Its phase is the sum of its children, which are counted themselves.
        if node.kind == NodeKind::Group {
            continue;
        }
        let Some(state) = status.node_statuses.get(&node.id) else { continue };
        terminal &= state.phase.is_terminal();
        // A node that waits for its next attempt is Pending again, and has run all the same.
        started |= state.phase != NodePhase::Pending || state.attempt > 0;
        match state.phase {
            NodePhase::Running => moving = true,
            NodePhase::Pending => moving |= ready(compiled, status, ix),
            NodePhase::Failed => failed |= !allows_failure(node),
            NodePhase::Cancelled => cancelled = true,
            _ => {}
        }
    }
    match (terminal, moving) {
        (true, _) if cancelled => ExecutionPhase::Cancelled,
        (true, _) if failed => ExecutionPhase::Failed,
        (true, _) => ExecutionPhase::Succeeded,
        (false, true) if started => ExecutionPhase::Running,
        (false, true) => ExecutionPhase::Pending,
        (false, false) => ExecutionPhase::Blocked,
    }
}

/// Whether a pending node waits for no other node: it can continue by itself.
fn ready(compiled: &CompiledPlan, status: &ExecutionStatus, node: NodeIx) -> bool {
    let sources = compiled.topology.sources(node).map(|(source, _)| source);
    sources.chain(compiled.reads(node).iter().copied()).all(|ix| compiled.phase_of(status, ix).is_terminal())
}

/// Says in words why the execution is in its phase.
fn explain(compiled: &CompiledPlan, status: &mut ExecutionStatus) {
    let nodes = || {
        compiled
            .plan
            .graph
            .nodes
            .iter()
            .filter(|node| node.kind != NodeKind::Group)
            .filter_map(|node| status.node_statuses.get(&node.id).map(|state| (node, state)))
    };
    let name = |(node, state): (&Node, &NodeStatus)| {
        if state.message.is_empty() { node.id.to_string() } else { format!("{}: {}", node.id, state.message) }
    };
    let held_back = status.extensions.mutex.as_ref().and_then(MutexHold::waiting);
    let (reason, message) = match status.phase {
        // Its nodes are ready, so neither the phase nor any node says why nothing starts.
        ExecutionPhase::Pending | ExecutionPhase::Running if held_back.is_some() => {
            (Some("MutexHeld".to_owned()), held_back)
        }
        ExecutionPhase::Blocked => {
            let mut blocked = nodes().filter(|(_, state)| state.phase == NodePhase::Blocked);
            let first = blocked.next();
            let more = blocked.count();
            let reason = first.and_then(|(_, state)| state.extensions.reason);
            let text = first.map(name).unwrap_or_default();
            let text = if more == 0 { text } else { format!("{text} (and {more} more)") };
            (reason.map(|reason: NodeReason| reason.to_string()), Some(text))
        }
        ExecutionPhase::Failed => {
            let first =
                nodes().find(|(node, state)| state.phase == NodePhase::Failed && !allows_failure(node));
            let reason = first.and_then(|(_, state)| state.extensions.reason);
            (reason.map(|reason| reason.to_string()), first.map(name))
        }
        ExecutionPhase::Cancelled => {
            let first = nodes().find(|(_, state)| state.phase == NodePhase::Cancelled);
            let reason = first.and_then(|(_, state)| state.extensions.reason);
            (reason.map(|reason| reason.to_string()), first.map(|(_, state)| state.message.clone()))
        }
        _ => (None, None),
    };
    status.reason = reason;
    status.message = message.filter(|text| !text.is_empty());
}
