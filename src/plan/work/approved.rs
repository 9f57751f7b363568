//! What people saw of a delivery: the branch that a Gate before it shows, and what nobody approved.

use super::bases::changed_nodes;
use crate::graph::NodeIx;
use crate::model::{ExecutionStatus, NodeId, NodeKind, NodePhase, is_work_branch};
use crate::run::CompiledPlan;

/// The nodes before `node` whose changes no approved Gate between the two has seen.
///
/// A Gate that is skipped, or passed by a soft edge, approves nothing; one that comes before a change has not seen it.
#[must_use]
pub(crate) fn unapproved(compiled: &CompiledPlan, status: &ExecutionStatus, node: usize) -> Vec<NodeId> {
    let mut changed: Vec<NodeIx> = changed_nodes(&compiled.topology, status).map(|(ix, ..)| ix).collect();
    if changed.is_empty() {
        return Vec::new();
    }
    let before = compiled.topology.upstream(node);
    let is_before = |ix: &NodeIx| before.get(*ix).copied().unwrap_or(false);
    let mut seen = vec![false; before.len()];
    for &gate in compiled.gates().iter().filter(|gate| is_before(gate)) {
        let state = compiled.ids.get(gate).and_then(|id| status.node_statuses.get(id));
        // By its phase: an approval that was voided has reset the node (Invariant 11).
        if state.is_some_and(|state| state.phase == NodePhase::Succeeded) {
            for (flag, shown) in seen.iter_mut().zip(compiled.topology.upstream(gate)) {
                *flag |= shown;
            }
        }
    }
    changed.sort_unstable();
    let unseen = |ix: &NodeIx| !seen.get(*ix).copied().unwrap_or(false);
    let found = changed.into_iter().filter(is_before).filter(unseen);
    found.filter_map(|ix| compiled.ids.get(ix).cloned()).collect()
}

/// The branch on which a Gate before `node` shows exactly the commit `base`, that of the first such Gate.
///
/// A delivery of it offers the same branch, so that what people reviewed and what is merged are one pull request. By the
/// records alone, so that every runner and every attempt comes to the same.
#[must_use]
pub(crate) fn shown_branch<'s>(
    compiled: &CompiledPlan,
    status: &'s ExecutionStatus,
    node: usize,
    base: &str,
) -> Option<&'s str> {
    let before = compiled.topology.upstream(node);
    let is_gate = |ix: &NodeIx| {
        let kind = compiled.node(*ix).map(|node| node.kind);
        before.get(*ix).copied().unwrap_or(false) && kind == Some(NodeKind::Gate)
    };
    let gates = compiled.topology.order().iter().copied().filter(is_gate);
    let shown = gates.filter_map(|ix| status.node_statuses.get(compiled.ids.get(ix)?));
    let mut shown = shown.filter(|state| state.extensions.base.as_deref() == Some(base));
    let branch = shown.find_map(|state| state.extensions.work_branch.as_deref());
    // One of somebody else's would be offered in the name of this account, with who approved it.
    branch.filter(|branch| is_work_branch(&compiled.key, branch))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Tasks `a` and `b` with results, the gate `g`, and the delivery `d`.
    #[track_caller]
    fn check(edges: &[(&str, &str)], gate: &str, expected: &[&str]) {
        let node = |id: &str| match id {
            "g" => json!({ "id": id, "kind": "Gate", "gateRef": { "name": "g" } }),
            _ => json!({ "id": id, "kind": "Task" }),
        };
        let edges: Vec<Value> = edges.iter().map(|(from, to)| json!({ "from": from, "to": to })).collect();
        let nodes = ["a", "b", "g", "d"].map(node);
        let graph = json!({ "nodes": nodes, "edges": edges });
        let compiled = CompiledPlan::of_graph(&graph);
        let result = json!({ "commit": "c", "base": "p", "files": 1, "insertions": 1, "deletions": 0 });
        let done = json!({ "phase": "Succeeded", "extensions": { "result": result } });
        let nodes = json!({ "a": done, "b": done, "g": { "phase": gate }, "d": { "phase": "Pending" } });
        let status = json!({ "phase": "Running", "nodeStatuses": nodes });
        let status: ExecutionStatus = serde_json::from_value(status).unwrap();
        let found = unapproved(&compiled, &status, compiled.topology.find("d").unwrap());
        let found: Vec<&str> = found.iter().map(NodeId::as_str).collect();
        assert_eq!(found, expected, "{edges:?}");
    }

    #[test]
    fn a_gate_approves_what_comes_before_it_and_nothing_else() {
        check(&[("a", "b"), ("b", "g"), ("g", "d")], "Succeeded", &[]);
        check(&[("a", "b"), ("b", "g"), ("g", "d")], "Skipped", &["a", "b"]);
        check(&[("a", "g"), ("g", "b"), ("b", "d")], "Succeeded", &["b"]);
        check(&[("a", "g"), ("g", "d"), ("b", "d")], "Succeeded", &["b"]);
        // A gate beside the delivery says nothing about it.
        check(&[("a", "g"), ("a", "d")], "Succeeded", &["a"]);
    }
}
