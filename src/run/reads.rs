//! What a node reads of nodes further up than its sources. It waits for those too: a source that is skipped ends before
//! what is upstream of it may have, and an expression must not depend on who is faster.

use super::expression::{Expression, Segment, Template};
use crate::graph::{NodeIx, Topology};
use crate::model::{ExternalRef, Node};

/// The nodes upstream that the expressions of a node name, besides its sources. What does not compile names nothing.
#[must_use]
pub(crate) fn reads(node: &Node, ix: NodeIx, topology: &Topology) -> Vec<NodeIx> {
    let when = node.when.as_deref().and_then(|text| Expression::compile(text).ok());
    let inputs = Template::compile_map(&node.inputs).ok();
    let find = |id: &str| topology.find(id);
    named((node, ix), when.as_ref(), inputs.as_ref(), topology, &find)
}

/// As [`reads`], for a node whose expressions are compiled. `find` says what the node means by an id.
pub(super) fn named(
    (node, ix): (&Node, NodeIx),
    when: Option<&Expression>,
    inputs: Option<&Template>,
    topology: &Topology,
    find: &dyn Fn(&str) -> Option<NodeIx>,
) -> Vec<NodeIx> {
    let awaited = node.external_ref.iter().flat_map(ExternalRef::templates);
    let awaited: Vec<Template> = awaited
        .filter_map(|(_, text)| Template::compile(&serde_json::Value::String(text.to_owned())).ok())
        .collect();
    let placed = inputs.into_iter().chain(&awaited).flat_map(Template::expressions);
    let expressions: Vec<&Expression> =
        when.into_iter().chain(placed.map(|placed| &placed.expression)).collect();
    let mut found = Vec::new();
    let mut upstream: Option<Vec<bool>> = None;
    let mentions = expressions.into_iter().flat_map(Expression::mentions);
    for mention in mentions.filter(|mention| mention.root == "nodes") {
        let one = match mention.path.first() {
            Some(Segment::Field(id)) => match find(id) {
                Some(one) => Some(one),
                None => continue,
            },
            // A computed index may mean every node.
            Some(Segment::Computed) | None => None,
        };
        // A source is waited for anyway.
        if one.is_some_and(|one| topology.sources(ix).any(|(source, _)| source == one)) {
            continue;
        }
        let upstream = upstream.get_or_insert_with(|| topology.upstream(ix));
        let above = upstream.iter().enumerate().filter(|(_, above)| **above).map(|(above, _)| above);
        found.extend(above.filter(|above| one.is_none_or(|one| one == *above)));
    }
    found.sort_unstable();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::PlanGraph;
    use serde_json::json;

    #[track_caller]
    fn check(node: serde_json::Value, expected: &[NodeIx]) {
        let mut last = node;
        last["id"] = json!("d");
        last["dependsOn"] = json!(["c"]);
        let graph: PlanGraph = serde_json::from_value(json!({ "nodes": [
            { "id": "a", "kind": "Task" }, { "id": "b", "kind": "Task", "dependsOn": ["a"] },
            { "id": "c", "kind": "Task", "dependsOn": ["b"] }, last,
            { "id": "e", "kind": "Task" },
        ] }))
        .unwrap();
        let topology = Topology::build(&graph).unwrap();
        assert_eq!(reads(&graph.nodes[3], 3, &topology), expected);
    }

    #[test]
    fn what_a_condition_an_input_and_an_address_name_is_read() {
        check(json!({ "kind": "Task" }), &[]);
        check(json!({ "kind": "Task", "when": "nodes.c.phase == 'Failed'" }), &[]);
        check(json!({ "kind": "Task", "when": "nodes.a.phase == 'Failed'" }), &[0]);
        check(
            json!({ "kind": "Task", "inputs": { "x": ["${{ nodes.b.outputs.x }} ${{ nodes.a.attempt }}"] } }),
            &[0, 1],
        );
        let uri = "https://x.example/${{ nodes['a'].outputs.x }}";
        check(json!({ "kind": "External", "externalRef": { "type": "uri", "uri": uri } }), &[0]);
    }

    #[test]
    fn a_computed_name_may_mean_every_node_upstream_and_no_other() {
        check(json!({ "kind": "Task", "when": "nodes.exists(id, nodes[id].phase == 'Failed')" }), &[0, 1, 2]);
        check(json!({ "kind": "Task", "when": "nodes.e.phase == 'Failed' || parameters.nodes.a" }), &[]);
    }
}
