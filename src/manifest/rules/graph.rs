//! The graph of a Plan: what `graph` finds, said with pointers into the manifest.

use std::collections::HashMap;

use crate::graph::{GraphError, Topology};
use crate::manifest::problem::Problem;
use crate::manifest::{codes, suggest};
use crate::model::{Node, NodeId, NodeKind, PlanGraph, PlanSpec};

/// Checks ids, edges, cycles, and the digest; gives back the graph if it is sound.
pub(super) fn check(spec: &PlanSpec, problems: &mut Vec<Problem>) -> Option<Topology> {
    let graph = &spec.graph;
    // All of them at once, so that a plan can be fixed in one go.
    let topology = Topology::build(graph).map_err(|errors| {
        problems.extend(errors.iter().map(|error| explain(error, graph)));
    });
    edges_into_groups(graph, problems);
    if let Some(given) = &spec.graph_digest {
        let actual = spec.digest();
        // Whoever gives the digest wants exactly the graph that was reviewed, so that a difference is an
        // error.
        if *given != actual {
            let message = "the graph is not the one that `graphDigest` was computed for";
            let problem = Problem::new(codes::DIGEST_MISMATCH, "/spec/graphDigest", message);
            problems.push(problem.hint(format!("the digest of this graph is {actual}")));
        }
    }
    topology.ok()
}

fn explain(error: &GraphError, graph: &PlanGraph) -> Problem {
    let text = error.to_string();
    match error {
        GraphError::DuplicateNode { node, first, .. } => {
            Problem::new(codes::DUPLICATE_NODE, format!("/spec/graph/nodes/{node}/id"), text)
                .related(format!("/spec/graph/nodes/{first}/id"), "first here")
        }
        GraphError::UnknownNode { id, pointer } => {
            let hint = suggest::did_you_mean(id.as_str(), graph.nodes.iter().map(|node| node.id.as_str()));
            Problem::new(codes::UNKNOWN_NODE, format!("/spec/graph{pointer}"), text).hint(hint)
        }
        GraphError::SelfLoop { pointer, .. } => {
            Problem::new(codes::SELF_LOOP, format!("/spec/graph{pointer}"), text)
        }
        GraphError::BeforeFinally { pointer, .. } | GraphError::FinallyInGroup { pointer, .. } => {
            let problem = Problem::new(codes::CONFLICTING_FIELDS, format!("/spec/graph{pointer}"), text);
            problem.hint("only a node with `finally: true` outside of groups can follow one".to_owned())
        }
        GraphError::InstanceName { id, .. } => {
            let node = graph.nodes.iter().position(|node| node.id == *id).unwrap_or_default();
            Problem::new(codes::BAD_FORMAT, format!("/spec/graph/nodes/{node}/id"), text)
                .hint("give the node a shorter id".to_owned())
        }
        GraphError::Cycle { path } => cycle(path, graph, text),
    }
}

/// Points at the step that closes the cycle, and relates the others.
fn cycle(path: &[NodeId], graph: &PlanGraph, text: String) -> Problem {
    let mut steps: Vec<(String, String)> = path
        .windows(2)
        .filter_map(|pair| match pair {
            [from, to] => step(from, to, graph).map(|pointer| (pointer, format!("{from} → {to}"))),
            _ => None,
        })
        .collect();
    let pointer = steps.pop().map_or_else(|| "/spec/graph".to_owned(), |(pointer, _)| pointer);
    let mut problem = Problem::new(codes::CYCLE, pointer, text).hint("remove one of these steps".to_owned());
    for (pointer, message) in steps {
        problem = problem.related(pointer, message);
    }
    problem
}

/// Where it is written that `to` waits for `from`.
fn step(from: &NodeId, to: &NodeId, graph: &PlanGraph) -> Option<String> {
    let edge = graph.edges.iter().position(|edge| edge.from == *from && edge.to == *to);
    if let Some(edge) = edge {
        return Some(format!("/spec/graph/edges/{edge}"));
    }
    graph.nodes.iter().enumerate().find_map(|(index, node)| {
        let listed = |list: &[NodeId], wanted: &NodeId| list.iter().position(|id| id == wanted);
        if node.id != *to {
            return None;
        }
        listed(&node.depends_on, from).map(|at| format!("/spec/graph/nodes/{index}/dependsOn/{at}")).or_else(
            || listed(&node.children, from).map(|at| format!("/spec/graph/nodes/{index}/children/{at}")),
        )
    })
}

/// Whether what is in a node starts without it. A repeated Group has no children before its list is known.
fn holds_nothing_back(node: &Node) -> bool {
    node.kind == NodeKind::Group && !node.is_repeated()
}

/// A group runs nothing, so an edge into it holds nothing back: its children start all the same.
fn edges_into_groups(graph: &PlanGraph, problems: &mut Vec<Problem>) {
    let groups: HashMap<&NodeId, &Node> =
        graph.nodes.iter().filter(|node| holds_nothing_back(node)).map(|node| (&node.id, node)).collect();
    if groups.is_empty() {
        return;
    }
    // A warning, because the published contract takes such edges, and its manifests load here unchanged.
    let mut warn = |pointer: String, group: &NodeId| {
        let message =
            format!("this edge has no effect: `{group}` is a group, and its children do not wait for it");
        let problem = Problem::new(codes::EDGE_INTO_GROUP, pointer, message).warning();
        problems.push(problem.hint("let the group's children depend on it instead".to_owned()));
    };
    for (index, edge) in graph.edges.iter().enumerate() {
        if groups.contains_key(&edge.to) {
            warn(format!("/spec/graph/edges/{index}/to"), &edge.to);
        }
    }
    for (index, node) in graph.nodes.iter().enumerate() {
        if holds_nothing_back(node) && !node.depends_on.is_empty() {
            warn(format!("/spec/graph/nodes/{index}/dependsOn"), &node.id);
        }
    }
}
