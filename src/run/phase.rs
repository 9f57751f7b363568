//! Phases that follow from others: a group's from its children, an Execution's from its nodes.

use jiff::Timestamp;

use super::CompiledPlan;
use crate::graph::NodeIx;
use crate::model::{
    Condition, ConditionStatus, ExecutionPhase, ExecutionStatus, InstanceJoin, MutexHold, Node, NodeKind,
    NodePhase, NodeReason, NodeStatus, NodeTrait, PIN_MISMATCH,
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

/// The phase that the phases of a node's instances add up to. One that is enough does not end the node while others are
/// under way: what follows builds on the files of all of them (Invariant 15).
pub(crate) fn joined_phase(
    join: InstanceJoin,
    instances: impl Iterator<Item = NodePhase> + Clone,
) -> NodePhase {
    let mut phases = instances.clone();
    let enough = join == InstanceJoin::Any && phases.any(|phase| phase == NodePhase::Succeeded);
    if enough && instances.clone().all(NodePhase::is_terminal) {
        return NodePhase::Succeeded;
    }
    group_phase(instances)
}

/// Whether a failure of the node leaves its execution's outcome alone: that is allowed, or another instance was enough.
fn is_tolerated(compiled: &CompiledPlan, status: &ExecutionStatus, node: &Node) -> bool {
    let enough = || {
        let instance = compiled.expansion.instance(&node.id)?;
        let join = compiled.expansion.repeated_of(instance)?.join;
        let root = status.node_statuses.get(&instance.root)?;
        Some(join == InstanceJoin::Any && root.phase == NodePhase::Succeeded)
    };
    allows_failure(node) || enough().unwrap_or(false)
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
    // Without groups, whose phase is the sum of their children, which are counted themselves; by traits of the nodes, since this
    // is asked after each change, and a plan may have 100,000.
    let having = |wanted| {
        let nodes = status.node_statuses.having(wanted);
        nodes.filter_map(|(id, _)| compiled.topology.find(id.as_str())).filter_map(|ix| {
            let node = compiled.node(ix).filter(|node| node.kind != NodeKind::Group)?;
            Some((ix, node))
        })
    };
    let in_phase = |phase| having(NodeTrait::InPhase(phase));
    let is_any = |phase| in_phase(phase).next().is_some();
    let open = [NodePhase::Running, NodePhase::Blocked, NodePhase::Pending];
    if !open.into_iter().any(is_any) {
        let failed = |(_, node): (NodeIx, &Node)| !is_tolerated(compiled, status, node);
        if is_any(NodePhase::Cancelled) {
            return ExecutionPhase::Cancelled;
        }
        let any_failed = in_phase(NodePhase::Failed).any(failed);
        return if any_failed { ExecutionPhase::Failed } else { ExecutionPhase::Succeeded };
    }
    // In this order: while one runs, nobody has to look for one that is ready among all that are Pending.
    let ready = |(ix, _): (NodeIx, &Node)| ready(compiled, status, ix);
    if !is_any(NodePhase::Running) && !in_phase(NodePhase::Pending).any(ready) {
        return ExecutionPhase::Blocked;
    }
    if having(NodeTrait::Begun).next().is_some() { ExecutionPhase::Running } else { ExecutionPhase::Pending }
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
            let first = nodes().find(|(node, state)| {
                state.phase == NodePhase::Failed && !is_tolerated(compiled, status, node)
            });
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// The phase of the whole, by looking at each node of the plan.
    fn recounted(compiled: &CompiledPlan, status: &ExecutionStatus) -> ExecutionPhase {
        let nodes = compiled.plan.graph.nodes.iter().enumerate();
        let nodes = nodes.filter(|(_, node)| node.kind != NodeKind::Group);
        let states: Vec<_> =
            nodes.filter_map(|(ix, node)| Some((ix, node, status.node_statuses.get(&node.id)?))).collect();
        let any = |is: &dyn Fn(NodeIx, &Node, &NodeStatus) -> bool| {
            states.iter().any(|(ix, node, state)| is(*ix, node, state))
        };
        let moving = |ix, _: &Node, state: &NodeStatus| {
            let is_ready = || ready(compiled, status, ix);
            state.phase == NodePhase::Running || (state.phase == NodePhase::Pending && is_ready())
        };
        if !any(&|_, _, state| !state.phase.is_terminal()) {
            if any(&|_, _, state| state.phase == NodePhase::Cancelled) {
                ExecutionPhase::Cancelled
            } else if any(&|_, node, state| state.phase == NodePhase::Failed && !allows_failure(node)) {
                ExecutionPhase::Failed
            } else {
                ExecutionPhase::Succeeded
            }
        } else if !any(&moving) {
            ExecutionPhase::Blocked
        } else if any(&|_, _, state| state.phase != NodePhase::Pending || state.attempt > 0) {
            ExecutionPhase::Running
        } else {
            ExecutionPhase::Pending
        }
    }

    /// Enough for several chunks of nodes; each waits for another one, and every tenth is a group of two before it.
    fn plan(count: usize) -> CompiledPlan {
        let node = |number: usize| {
            let id = format!("n{number}");
            if number % 10 == 9 {
                let children = [format!("n{}", number - 1), format!("n{}", number - 2)];
                return json!({ "id": id, "kind": "Group", "children": children });
            }
            let after: Vec<String> =
                (number % 10 > 2).then(|| format!("n{}", number - 1)).into_iter().collect();
            let allowed = if number.is_multiple_of(4) { "true" } else { "false" };
            json!({ "id": id, "kind": "Task", "dependsOn": after, "annotations": { ALLOW_FAILURE: allowed } })
        };
        CompiledPlan::of_graph(&json!({ "nodes": (0..count).map(node).collect::<Vec<_>>() }))
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

        #[test]
        fn the_phase_of_the_whole_is_that_of_all_its_nodes(
            usual in 0..NodePhase::ALL.len(),
            changes in prop::collection::vec((0..300_usize, 0..NodePhase::ALL.len(), 0..2_u32), 0..12),
        ) {
            let compiled = plan(300);
            let node = |phase: usize, attempt| NodeStatus {
                phase: NodePhase::ALL[phase],
                attempt,
                ..NodeStatus::default()
            };
            let node_statuses = compiled.ids.iter().map(|id| (id.clone(), node(usual, 0))).collect();
            let mut status = ExecutionStatus { node_statuses, ..ExecutionStatus::default() };
            prop_assert_eq!(of_nodes(&compiled, &status), recounted(&compiled, &status));
            // Asked after each change: what a chunk remembers must not outlive it.
            for (number, phase, attempt) in changes {
                status.node_statuses.insert(compiled.ids[number].clone(), node(phase, attempt));
                prop_assert_eq!(of_nodes(&compiled, &status), recounted(&compiled, &status));
            }
        }
    }
}
