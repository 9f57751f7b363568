//! What changed in the graph of a plan, as a reader of a review wants to know it.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use crate::model::{Edge, EdgeType, Node, NodeId, PlanGraph};

/// What changed in a graph. `dependsOn` counts as edges: writing one as the other changes nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GraphChange {
    /// Nodes that are new, in the order of the new graph.
    pub nodes_added: Vec<NodeId>,
    /// Nodes that are gone, in the order of the old graph.
    pub nodes_removed: Vec<NodeId>,
    /// Nodes that are there in both and differ in more than `dependsOn`.
    pub nodes_changed: Vec<NodeId>,
    /// Edges that are new, or of a new type.
    pub edges_added: Vec<Edge>,
    /// Edges that are gone, or were of another type.
    pub edges_removed: Vec<Edge>,
}

impl GraphChange {
    /// Whether the graphs mean the same.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Compares two graphs.
#[must_use]
pub(crate) fn compare_graphs(old: &PlanGraph, new: &PlanGraph) -> GraphChange {
    let nodes_old = by_id(old);
    let nodes_new = by_id(new);
    let missing = |graph: &PlanGraph, other: &HashMap<&NodeId, &Node>| -> Vec<NodeId> {
        graph.nodes.iter().map(|node| &node.id).filter(|id| !other.contains_key(id)).cloned().collect()
    };
    let changed = |node: &&Node| nodes_old.get(&node.id).is_some_and(|before| differs(before, node));
    // By meaning and not by spelling: reviewers should see only what changes what runs.
    let edges_old = edges(old);
    let edges_new = edges(new);
    GraphChange {
        nodes_added: missing(new, &nodes_old),
        nodes_removed: missing(old, &nodes_new),
        nodes_changed: new.nodes.iter().filter(changed).map(|node| node.id.clone()).collect(),
        edges_added: without(&edges_new, &edges_old),
        edges_removed: without(&edges_old, &edges_new),
    }
}

fn by_id(graph: &PlanGraph) -> HashMap<&NodeId, &Node> {
    graph.nodes.iter().map(|node| (&node.id, node)).collect()
}

fn differs(old: &Node, new: &Node) -> bool {
    // Most nodes stay as they are, and are not copied for the comparison.
    if old == new {
        return false;
    }
    // `dependsOn` is compared as edges.
    let plain = |node: &Node| Node { depends_on: Vec::new(), ..node.clone() };
    plain(old) != plain(new)
}

/// Every edge once; where a soft and a hard one meet, the hard one says more.
fn edges(graph: &PlanGraph) -> BTreeMap<(NodeId, NodeId), EdgeType> {
    // Sorted by its ends, so that the lists come out the same whatever the order in the file.
    let mut all: BTreeMap<(NodeId, NodeId), EdgeType> = BTreeMap::new();
    let depends = graph.nodes.iter().flat_map(|node| {
        node.depends_on.iter().map(|source| (source.clone(), node.id.clone(), EdgeType::Hard))
    });
    let written = graph.edges.iter().map(|edge| (edge.from.clone(), edge.to.clone(), edge.kind));
    for (from, to, kind) in written.chain(depends) {
        let known = all.entry((from, to)).or_insert(kind);
        if kind == EdgeType::Hard {
            *known = kind;
        }
    }
    all
}

fn without(
    these: &BTreeMap<(NodeId, NodeId), EdgeType>,
    others: &BTreeMap<(NodeId, NodeId), EdgeType>,
) -> Vec<Edge> {
    let rest = these.iter().filter(|(ends, kind)| others.get(ends) != Some(kind));
    rest.map(|((from, to), kind)| Edge { from: from.clone(), to: to.clone(), kind: *kind }).collect()
}

#[cfg(test)]
#[allow(clippy::needless_pass_by_value, reason = "a literal value reads best without a borrow")]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn graph(nodes: Value, edges: Value) -> PlanGraph {
        serde_json::from_value(json!({ "nodes": nodes, "edges": edges })).unwrap()
    }

    fn shown(change: &GraphChange) -> String {
        let nodes =
            |sign: char, ids: &[NodeId]| ids.iter().map(|id| format!("{sign}{id}")).collect::<Vec<_>>();
        let edges = |sign: char, edges: &[Edge]| {
            let mark = |kind| if kind == EdgeType::Hard { "→" } else { "⇢" };
            edges
                .iter()
                .map(|edge| format!("{sign}{}{}{}", edge.from, mark(edge.kind), edge.to))
                .collect::<Vec<_>>()
        };
        let parts = [
            nodes('+', &change.nodes_added),
            nodes('-', &change.nodes_removed),
            nodes('~', &change.nodes_changed),
            edges('+', &change.edges_added),
            edges('-', &change.edges_removed),
        ];
        parts.concat().join(" ")
    }

    #[test]
    fn nodes_and_edges_come_and_go() {
        let task = |id: &str| json!({ "id": id, "kind": "Task" });
        let old = graph(
            json!([task("a"), task("b"), task("c")]),
            json!([{ "from": "a", "to": "b", "type": "soft" }]),
        );
        let new = graph(
            json!([task("d"), { "id": "b", "kind": "Task", "retries": 1 }, task("a")]),
            json!([{ "from": "a", "to": "b" }, { "from": "b", "to": "d" }]),
        );
        let change = compare_graphs(&old, &new);
        assert_eq!(shown(&change), "+d -c ~b +a→b +b→d -a⇢b");
    }

    #[test]
    fn order_and_spelling_do_not_count() {
        let task = |id: &str| json!({ "id": id, "kind": "Task" });
        let old = graph(json!([task("a"), { "id": "b", "kind": "Task", "dependsOn": ["a"] }]), json!([]));
        let edge = json!({ "from": "a", "to": "b" });
        let new = graph(json!([task("b"), task("a")]), json!([edge, edge]));
        assert!(compare_graphs(&old, &new).is_empty());
        assert!(compare_graphs(&new, &old).is_empty());
    }
}
