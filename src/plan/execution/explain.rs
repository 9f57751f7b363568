//! Why a node is where it is: the edges, decisions, times and limits that it waits for, in the order in which they have
//! to happen. Reads the record alone; changes nothing.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use crate::graph::{NodeIx, Topology};
use crate::model::{
    EdgeType, ExecutionStatus, MutexHold, Node, NodePhase, NodeReason, NodeStatus, PlanGraph,
};
use crate::run::reads;

/// One thing that a node waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct NodeWait {
    /// What kind of thing, as one word.
    pub on: &'static str,
    /// What exactly, in words.
    pub message: String,
    /// Until when at most, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

impl NodeWait {
    fn new(on: &'static str, message: String) -> Self {
        Self { on, message, until: None }
    }
}

/// What bounds how much runs at once, as far as it concerns a node.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConcurrencyLimits<'a> {
    /// The provider that would do the work.
    pub provider: Option<&'a str>,
    /// How many attempts a runner has at once, by provider.
    pub providers: &'a BTreeMap<String, u32>,
    /// The repeated node that the node is an instance of, and how many of those run at once.
    pub instances: Option<(&'a str, u32)>,
    /// The namespace, how many attempts are under way in it, and how many may be.
    pub namespace: Option<(&'a str, u32, u32)>,
}

/// What a node waits for; nothing when it is over.
#[must_use]
pub(crate) fn waits(
    graph: (&PlanGraph, &Topology),
    ix: NodeIx,
    status: &ExecutionStatus,
    bounds: ConcurrencyLimits<'_>,
    now: Timestamp,
) -> Vec<NodeWait> {
    let Some(node) = graph.0.nodes.get(ix) else { return Vec::new() };
    let state = status.node_statuses.get(&node.id).cloned().unwrap_or_default();
    // A node that ended waits for nothing, also in an Execution that is suspended.
    if state.phase.is_terminal() {
        return Vec::new();
    }
    // What holds back the whole comes first: none of the other waits can end before it.
    let mut waits = whole(status);
    if state.phase == NodePhase::Running {
        let runner = state.extensions.runner.as_deref().unwrap_or("unknown");
        let message = format!("attempt {} is running on {runner}", state.attempt);
        waits.push(NodeWait::new("attempt", message));
        // The edges are satisfied and the slot is taken. Only the end of the attempt is left to wait for.
        return waits;
    }
    let edges = edges(graph, ix, status);
    // What the node was blocked for is said only when no edge holds it back, as planning does it: a binding that is
    // missing may be there by the time the sources have ended.
    let free = edges.is_empty();
    waits.extend(edges);
    // A Blocked node has passed its condition already; it is evaluated before anything that blocks.
    if let (Some(when), NodePhase::Pending) = (&node.when, state.phase) {
        waits.push(NodeWait::new("condition", format!("then `{when}` decides whether it runs")));
    }
    if free {
        waits.extend(own(node, &state, now));
        // Last, and only where nothing else is named: a limit that does not apply yet would send people to the
        // configuration in vain.
        if state.phase == NodePhase::Pending && waits.is_empty() {
            waits.extend(slot(status, bounds));
            waits.extend(bounds.instances.map(|(node, most)| {
                NodeWait::new("limit", format!("at most {most} instances of `{node}` run at once"))
            }));
        }
    }
    waits
}

/// What holds back the execution as a whole.
fn whole(status: &ExecutionStatus) -> Vec<NodeWait> {
    let mut waits = Vec::new();
    // Before the pin there are no nodes in the record, so the reason stands on the Execution.
    if status.extensions.pinned.is_none() {
        let why = status.message.clone().unwrap_or_else(|| "the execution was not started yet".to_owned());
        waits.push(NodeWait::new("execution", why));
    }
    if let Some(message) = status.extensions.mutex.as_ref().and_then(MutexHold::waiting) {
        waits.push(NodeWait::new("mutex", message));
    }
    if let Some(request) = &status.extensions.suspend {
        waits.push(NodeWait::new("resume", format!("the execution was suspended by {}", request.by)));
    }
    waits
}

fn edges((graph, topology): (&PlanGraph, &Topology), ix: NodeIx, status: &ExecutionStatus) -> Vec<NodeWait> {
    let mut waits = Vec::new();
    let last = graph.nodes.get(ix).is_some_and(|node| node.finally);
    // One line for all of them: in a large plan the list would be the whole plan.
    let mut others = 0_usize;
    for (source, kind) in topology.sources(ix) {
        let Some(source) = graph.nodes.get(source) else { continue };
        let phase = status.node_statuses.get(&source.id).map(|state| state.phase).unwrap_or_default();
        if phase.is_terminal() {
            // A source that failed is not listed: it will not change, and the next pass skips the node or lets its
            // condition decide.
            continue;
        }
        if last && !source.finally {
            others += 1;
            continue;
        }
        let must = match kind {
            EdgeType::Hard => "must succeed",
            EdgeType::Soft => "must end",
        };
        waits.push(NodeWait::new("edge", format!("`{}` {must} first, and is {phase}", source.id)));
    }
    if others > 0 {
        waits.push(NodeWait::new("edge", format!("everything else must end first; {others} nodes have not")));
    }
    let Some(node) = graph.nodes.get(ix) else { return waits };
    // The same function that planning waits by, so that the two cannot come to different lists.
    for read in reads(node, ix, topology).into_iter().filter_map(|read| graph.nodes.get(read)) {
        let phase = status.node_statuses.get(&read.id).map(|state| state.phase).unwrap_or_default();
        if !phase.is_terminal() {
            let message = format!("`{}`, which an expression reads, must end first, and is {phase}", read.id);
            waits.push(NodeWait::new("expression", message));
        }
    }
    waits
}

/// What the node itself was blocked for, and the time of its next attempt or poll.
fn own(node: &Node, state: &NodeStatus, now: Timestamp) -> Option<NodeWait> {
    // A time that has passed is not shown as a wait: the next pass acts on it.
    let until = state.extensions.retry_at.filter(|&at| at > now);
    let message = state.message.clone();
    let mut wait = match (state.phase, state.extensions.reason) {
        (NodePhase::Blocked, Some(reason)) => NodeWait::new(on(reason), message),
        // Only a group is blocked without a reason of its own; its phase is that of its children.
        (NodePhase::Blocked, None) => {
            NodeWait::new("children", format!("its children decide: {}", ids(node)))
        }
        (_, Some(NodeReason::RetryBackoff)) if until.is_some() => NodeWait::new("retry", message),
        _ if until.is_some() => NodeWait::new("time", message),
        _ => return None,
    };
    wait.until = until;
    Some(wait)
}

fn ids(node: &Node) -> String {
    node.children.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn on(reason: NodeReason) -> &'static str {
    match reason {
        NodeReason::AwaitingApproval | NodeReason::GateClosed | NodeReason::ApprovalVoid => "approval",
        NodeReason::AwaitingPerson
        | NodeReason::InputRequired
        | NodeReason::BudgetSpent
        | NodeReason::RunnerLost
        | NodeReason::ContentRefused
        | NodeReason::ResultRefused
        | NodeReason::MergeConflict
        | NodeReason::BranchConflict
        | NodeReason::ArtifactUnavailable
        | NodeReason::DeliveryRefused
        | NodeReason::ChangesRequested
        | NodeReason::WorkBranchMoved
        | NodeReason::ChecksCannotStart => "person",
        NodeReason::AwaitingEvent => "event",
        NodeReason::AwaitingProvider => "provider",
        NodeReason::Unbound | NodeReason::BindingConflict | NodeReason::ProviderUnavailable => "binding",
        _ => "outside",
    }
}

/// A node that could start: who would start it, and what bounds that.
fn slot(status: &ExecutionStatus, bounds: ConcurrencyLimits<'_>) -> Vec<NodeWait> {
    let mut waits = match &status.extensions.lease {
        // The lease decides who may start the node: another runner that is idle does not help before it is given back.
        Some(lease) => {
            let message = format!("a free slot of runner {}, which drives the execution", lease.holder);
            vec![NodeWait::new("slot", message)]
        }
        None => vec![NodeWait::new("reconcile", "the next `planspec reconcile`".to_owned())],
    };
    // Limits are named even when there is room now: the record is of the last pass, and the next one may find them used
    // up.
    if let Some((name, under_way, limit)) = bounds.namespace {
        let message = format!("namespace {name} runs at most {limit} attempts at once, and has {under_way}");
        waits.push(NodeWait::new("limit", message));
    }
    let limit = bounds.provider.and_then(|name| Some((name, bounds.providers.get(name)?)));
    if let Some((provider, limit)) = limit {
        let message = format!("a runner has at most {limit} attempts of {provider} at once");
        waits.push(NodeWait::new("limit", message));
    }
    waits
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn said(id: &str, status: &serde_json::Value) -> Vec<String> {
        let graph: PlanGraph = serde_json::from_value(json!({
            "nodes": [
                { "id": "a", "kind": "Task" }, { "id": "b", "kind": "Task" },
                { "id": "c", "kind": "Task", "dependsOn": ["a"], "when": "parameters.go" },
                { "id": "d", "kind": "Task", "dependsOn": ["c"], "inputs": { "x": "${{ nodes.a.outputs.x }}" } },
            ],
            "edges": [{ "from": "b", "to": "c", "type": "soft" }],
        }))
        .unwrap();
        let topology = Topology::build(&graph).unwrap();
        let status: ExecutionStatus = serde_json::from_value(status.clone()).unwrap();
        let limits = BTreeMap::from([("tool://t".to_owned(), 2)]);
        let now = Timestamp::UNIX_EPOCH;
        let ix = topology.find(id).unwrap();
        let bounds = ConcurrencyLimits {
            provider: Some("tool://t"),
            providers: &limits,
            instances: None,
            namespace: Some(("n", 3, 3)),
        };
        let waits = waits((&graph, &topology), ix, &status, bounds, now);
        waits.into_iter().map(|wait| format!("{}: {}", wait.on, wait.message)).collect()
    }

    #[test]
    fn every_node_says_what_it_waits_for() {
        let pinned = json!({ "commit": "c", "plan": { "namespace": "n", "kind": "Plan", "name": "p" }, "graphDigest": format!("sha256:{}", "0".repeat(64)) });
        let status = json!({ "phase": "Running", "extensions": { "pinned": pinned }, "nodeStatuses": {
            "a": { "phase": "Running", "attempt": 2, "extensions": { "runner": "r1" } },
            "b": { "phase": "Pending" }, "c": { "phase": "Pending" }, "d": { "phase": "Pending" },
        } });
        assert_eq!(said("a", &status), ["attempt: attempt 2 is running on r1"]);
        assert_eq!(
            said("b", &status),
            [
                "reconcile: the next `planspec reconcile`",
                "limit: namespace n runs at most 3 attempts at once, and has 3",
                "limit: a runner has at most 2 attempts of tool://t at once"
            ]
        );
        assert_eq!(
            said("c", &status),
            [
                "edge: `a` must succeed first, and is Running",
                "edge: `b` must end first, and is Pending",
                "condition: then `parameters.go` decides whether it runs"
            ]
        );
        assert_eq!(
            said("d", &status),
            [
                "edge: `c` must succeed first, and is Pending",
                "expression: `a`, which an expression reads, must end first, and is Running",
            ]
        );
        let blocked = json!({ "phase": "Blocked", "message": "there is no plan", "nodeStatuses": {
            "a": { "phase": "Blocked", "message": "gate `g` has 1 of 2 approvals", "extensions": { "reason": "AwaitingApproval" } },
            "b": { "phase": "Succeeded" },
        } });
        assert_eq!(
            said("a", &blocked),
            ["execution: there is no plan", "approval: gate `g` has 1 of 2 approvals"]
        );
        assert!(said("b", &blocked).is_empty());
    }
}
