//! The rules of `forEach` and `matrix`: what may be repeated, how often, and that no instance takes the id of another node.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use crate::graph::{GraphError, Topology, below, expand};
use crate::manifest::codes;
use crate::manifest::problem::Problem;
use crate::model::{ForEachItems, INDEX, MAX_INSTANCES, Node, NodeId, PlanGraph};
use crate::run::expression::ROOTS;

/// The longest id of a node (contract).
const LONGEST_ID: usize = 63;

/// What has a meaning of its own in CEL, so that no item can be read by it.
const WORDS: [&str; 4] = ["true", "false", "null", "in"];

/// Checks the repeated nodes of a graph; `is_sound` says that the graph as it is written has no error.
pub(super) fn check(graph: &PlanGraph, is_sound: bool, problems: &mut Vec<Problem>) {
    let before = problems.len();
    let mut any = false;
    for (index, node) in graph.nodes.iter().enumerate().filter(|(_, node)| node.is_repeated()) {
        any = true;
        fields(node, &format!("/spec/graph/nodes/{index}"), problems);
    }
    if !any {
        return;
    }
    let by_id = graph.nodes.iter().map(|node| (&node.id, node)).collect();
    nesting(graph, &by_id, problems);
    names(graph, &by_id, problems);
    // What was found already would be found again in the graph with its instances.
    if is_sound && problems.len() == before {
        instances(graph, problems);
    }
}

fn fields(node: &Node, at: &str, problems: &mut Vec<Problem>) {
    if node.for_each.is_some() && node.matrix.is_some() {
        let message = "`forEach` and `matrix` exclude each other";
        problems.push(
            Problem::new(codes::CONFLICTING_FIELDS, format!("{at}/matrix"), message)
                .at_key()
                .hint("remove one of them".to_owned()),
        );
    }
    if node.finally {
        let message = "a node that runs after everything else cannot be repeated";
        problems.push(Problem::new(codes::CONFLICTING_FIELDS, format!("{at}/finally"), message).at_key());
    }
    if let Some(matrix) = node.matrix.as_ref().filter(|matrix| matrix.size() > MAX_INSTANCES) {
        let message =
            format!("the matrix has {} combinations, and may have {MAX_INSTANCES} at most", matrix.size());
        problems.push(Problem::new(codes::OUT_OF_RANGE, format!("{at}/matrix"), message).at_key());
    }
    let Some(for_each) = &node.for_each else { return };
    match &for_each.items {
        ForEachItems::Written(items) => written(node, items, &format!("{at}/forEach"), problems),
        ForEachItems::Computed(text) => {
            let whole = text.trim();
            if !(whole.starts_with("${{") && whole.ends_with("}}")) {
                let message = "the items are a list, or one expression that gives it";
                problems.push(
                    Problem::new(codes::BAD_EXPRESSION, format!("{at}/forEach/items"), message)
                        .hint("write `[a, b]`, or `${{ nodes.NODE.outputs.NAME }}`".to_owned()),
                );
            }
            if for_each.max_items.is_none() {
                let message = "a computed list needs `maxItems`";
                problems.push(
                    Problem::new(codes::MISSING_FIELD, format!("{at}/forEach"), message)
                        .at_key()
                        .hint("say how many items there may be, as in `maxItems: 100`".to_owned()),
                );
            }
        }
    }
    let name = node.item_name();
    if ROOTS.contains(&name) || WORDS.contains(&name) || name == INDEX {
        let message = format!("`{name}` means something else in expressions");
        problems.push(
            Problem::new(codes::CONFLICTING_FIELDS, format!("{at}/forEach/as"), message)
                .hint("choose another name for the item".to_owned()),
        );
    }
}

fn written(node: &Node, items: &[Value], at: &str, problems: &mut Vec<Problem>) {
    if items.len() > node.max_items() {
        let message = format!("the list has {} items, and `maxItems` is {}", items.len(), node.max_items());
        problems.push(Problem::new(codes::OUT_OF_RANGE, format!("{at}/items"), message).at_key());
    }
    for (index, item) in items.iter().enumerate() {
        // As text it would reach the tasks unread, which nobody means.
        if item.to_string().contains("${{") {
            let message = "an item of a written list cannot hold an expression";
            problems.push(
                Problem::new(codes::BAD_EXPRESSION, format!("{at}/items/{index}"), message)
                    .hint("compute the whole list: `items: ${{ [parameters.first, 'second'] }}`".to_owned()),
            );
        }
    }
}

/// A repeated node within another one, which would need instances of instances.
fn nesting(graph: &PlanGraph, by_id: &HashMap<&NodeId, &Node>, problems: &mut Vec<Problem>) {
    let mut around: HashMap<&NodeId, &NodeId> = HashMap::new();
    for root in graph.nodes.iter().filter(|node| node.is_repeated()) {
        for member in below(root, by_id) {
            let index = graph.nodes.iter().position(|node| node.id == member.id).unwrap_or_default();
            if let Some(other) = around.insert(&member.id, &root.id).filter(|other| **other != root.id) {
                let message =
                    format!("node `{}` is in two repeated nodes, `{other}` and `{}`", member.id, root.id);
                problems.push(
                    Problem::new(codes::CONFLICTING_FIELDS, format!("/spec/graph/nodes/{index}/id"), message)
                        .hint("repeat one node over all combinations with `matrix`".to_owned()),
                );
            }
        }
    }
}

/// The ids of instances: valid, and nobody else's.
fn names(graph: &PlanGraph, by_id: &HashMap<&NodeId, &Node>, problems: &mut Vec<Problem>) {
    let index: HashMap<&str, usize> =
        graph.nodes.iter().enumerate().map(|(index, node)| (node.id.as_str(), index)).collect();
    for (at, root) in graph.nodes.iter().enumerate().filter(|(_, node)| node.is_repeated()) {
        let members = below(root, by_id);
        let count = root.written_items().map_or(root.max_items(), |items| items.len());
        if count.saturating_mul(members.len()) > MAX_INSTANCES {
            let message = format!(
                "`{}` could have {count} times {} nodes, and may have {MAX_INSTANCES} at most",
                root.id,
                members.len()
            );
            problems.push(
                Problem::new(codes::OUT_OF_RANGE, format!("/spec/graph/nodes/{at}/forEach"), message)
                    .at_key()
                    .hint("lower `maxItems`, or put fewer nodes into the group".to_owned()),
            );
        }
        for member in members {
            let last = format!("{}-{}", member.id, count.saturating_sub(1));
            let place = index.get(member.id.as_str()).copied().unwrap_or_default();
            if count > 0 && last.len() > LONGEST_ID {
                let message = format!(
                    "`{last}`, an instance of `{}`, has more than {LONGEST_ID} characters",
                    member.id
                );
                problems.push(
                    Problem::new(codes::BAD_FORMAT, format!("/spec/graph/nodes/{place}/id"), message)
                        .hint("give the node a shorter id".to_owned()),
                );
            }
            let prefix = format!("{}-", member.id);
            for (taken, other) in graph.nodes.iter().enumerate() {
                let number =
                    other.id.as_str().strip_prefix(&prefix).and_then(|rest| rest.parse::<usize>().ok());
                if number.is_some_and(|number| number < count) {
                    let message = format!("`{}` is the id of an instance of `{}`", other.id, member.id);
                    problems.push(
                        Problem::new(codes::DUPLICATE_NODE, format!("/spec/graph/nodes/{taken}/id"), message)
                            .related(format!("/spec/graph/nodes/{place}/id"), "repeated here")
                            .hint("rename one of the two".to_owned()),
                    );
                }
            }
        }
    }
}

/// Builds the graph with one instance of each node: an edge to a repeated Group holds its children back, by which a cycle may
/// close that the graph as it is written does not have.
fn instances(graph: &PlanGraph, problems: &mut Vec<Problem>) {
    let sample = Arc::new(vec![Value::Null]);
    let Ok(Some(expanded)) = expand(graph, |_| Some(Arc::clone(&sample))) else { return };
    let Err(errors) = Topology::build(&expanded.graph) else { return };
    for error in errors {
        let GraphError::Cycle { path } = &error else { continue };
        let first = path.iter().find_map(|id| graph.declared(id)).map(|node| &node.id);
        let index = graph.nodes.iter().position(|node| Some(&node.id) == first).unwrap_or_default();
        let problem = Problem::new(codes::CYCLE, format!("/spec/graph/nodes/{index}"), error.to_string());
        problems.push(
            problem.hint("what a repeated node waits for cannot wait for one of its instances".to_owned()),
        );
    }
}
