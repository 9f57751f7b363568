//! What failed and why: each failed node with its reason and the end of its log, and what did not run because of it.

use super::tree::listed;
use crate::graph::Topology;
use crate::model::{ExecutionStatus, NodeId, NodePhase, NodeStatus, PlanGraph};
use crate::report::style::{Tone, node_sign};
use crate::report::text;

/// How many lines of a log are shown; `planspec logs` has the rest.
const LOG_LINES: usize = 5;

/// The text; a line that says so where nothing failed.
#[must_use]
pub(crate) fn render(title: &str, graph: &PlanGraph, status: &ExecutionStatus) -> String {
    let mut out = format!("{}\n", Tone::Strong.paint(text::line(title)));
    // A group that failed is the consequence of what failed in it, which is listed.
    let failed: Vec<(&NodeId, &NodeStatus)> =
        status.node_statuses.iter().filter(|(_, node)| node.has_failed_itself()).collect();
    if failed.is_empty() {
        out.push_str("nothing failed\n");
        return out;
    }
    let topology = Topology::build(graph).ok();
    let mut said = Vec::new();
    for (id, node) in failed {
        let why =
            if node.message.is_empty() { String::new() } else { format!("  {}", text::line(&node.message)) };
        let sign = node_sign(NodePhase::Failed);
        out.push_str(&format!("{} {id}{why}\n", Tone::Bad.paint(sign)));
        if let Some(log) = &node.extensions.log {
            let lines: Vec<&str> = log.tail.lines().collect();
            for line in lines.iter().skip(lines.len().saturating_sub(LOG_LINES)) {
                out.push_str(&format!("    {}\n", Tone::Muted.paint(text::line(line))));
            }
        }
        let stopped =
            topology.as_ref().map(|topology| not_run(id, topology, graph, status)).unwrap_or_default();
        // Instances of one node stop the same nodes; said of each, it would hide what else failed.
        if !stopped.is_empty() && !said.contains(&stopped) {
            out.push_str(&format!("  so these did not run: {}\n", listed(&stopped)));
            said.push(stopped);
        }
    }
    out
}

/// What comes after a node, or after a group that holds it, over any number of edges, and was skipped.
fn not_run(id: &NodeId, topology: &Topology, graph: &PlanGraph, status: &ExecutionStatus) -> Vec<String> {
    // What comes after an instance comes after its node.
    let declared = graph.declared(id).map_or(id, |node| &node.id);
    let after = topology.find(declared.as_str()).map(|ix| topology.downstream(ix)).unwrap_or_default();
    let ids = graph.nodes.iter().zip(after).filter(|(_, is_after)| *is_after).map(|(node, _)| &node.id);
    let skipped = |id: &&NodeId| {
        status.node_statuses.get(id.as_str()).is_some_and(|node| node.phase == NodePhase::Skipped)
    };
    ids.filter(skipped).map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use crate::model::Digest;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_group_that_failed_is_no_failure_of_its_own_and_what_comes_after_it_did_not_run() {
        let mut nodes = vec![
            json!({ "id": "a", "kind": "Task" }),
            json!({ "id": "g", "kind": "Group", "children": ["a"] }),
        ];
        let mut phases = serde_json::Map::new();
        phases.insert("a".into(), json!({ "phase": "Failed", "attempt": 1, "message": "exit code 1" }));
        phases.insert("g".into(), json!({ "phase": "Failed", "message": "0 of 1 succeeded" }));
        for at in 1..=9 {
            nodes.push(json!({ "id": format!("n{at}"), "kind": "Task", "dependsOn": ["g"] }));
            phases.insert(format!("n{at}"), json!({ "phase": "Skipped" }));
        }
        let graph: PlanGraph = serde_json::from_value(json!({ "nodes": nodes })).unwrap();
        let status: ExecutionStatus =
            serde_json::from_value(json!({ "phase": "Failed", "nodeStatuses": phases })).unwrap();
        let text = anstream::adapter::strip_str(&render("team/x", &graph, &status)).to_string();
        assert!(!text.contains("0 of 1"), "{text}");
        assert!(text.contains("did not run: n1, n2, n3, n4, n5, n6 and 3 more"), "{text}");
    }

    #[test]
    fn what_comes_after_failed_instances_did_not_run_and_is_said_once() {
        let graph: PlanGraph = serde_json::from_value(json!({ "nodes": [
            { "id": "a", "kind": "Task" },
            { "id": "g", "kind": "Group", "children": ["a"], "forEach": { "items": [1, 2, 3] } },
            { "id": "b", "kind": "Task", "dependsOn": ["g"] },
        ] }))
        .unwrap();
        let failed = json!({ "phase": "Failed", "attempt": 1, "message": "exit code 1" });
        let status: ExecutionStatus = serde_json::from_value(json!({ "phase": "Failed", "nodeStatuses": {
            "a-0": failed, "a-1": { "phase": "Succeeded", "attempt": 1 }, "a-2": failed, "b": { "phase": "Skipped" },
        } }))
        .unwrap();
        let text = anstream::adapter::strip_str(&render("team/x", &graph, &status)).to_string();
        assert_eq!(text.matches("a-").count(), 2, "{text}");
        assert_eq!(text.matches("so these did not run: b\n").count(), 1, "{text}");
    }

    #[test]
    fn a_failure_is_shown_with_its_log_and_what_it_stopped() {
        let graph: PlanGraph = serde_json::from_value(json!({ "nodes": [
            { "id": "a", "kind": "Task" }, { "id": "b", "kind": "Task", "dependsOn": ["a"] },
            { "id": "c", "kind": "Task", "dependsOn": ["b"] }, { "id": "d", "kind": "Task" },
        ] }))
        .unwrap();
        let status: ExecutionStatus = serde_json::from_value(json!({ "phase": "Failed", "nodeStatuses": {
            "a": { "phase": "Failed", "attempt": 1, "message": "exit code 1", "extensions": { "log": {
                "tail": "1\n2\n3\n4\n5\n6\n", "size": 12,
                "checksum": Digest::of_bytes(b"").to_string(),
            } } },
            "b": { "phase": "Skipped" }, "c": { "phase": "Skipped" }, "d": { "phase": "Succeeded", "attempt": 1 },
        } }))
        .unwrap();
        let text = anstream::adapter::strip_str(&render("team/x", &graph, &status)).to_string();
        let sign = node_sign(NodePhase::Failed);
        let expected = format!(
            "team/x\n{sign} a  exit code 1\n    2\n    3\n    4\n    5\n    6\n  so these did not run: b, c\n"
        );
        assert_eq!(text, expected);
    }
}
