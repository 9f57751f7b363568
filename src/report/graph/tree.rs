//! The graph as an indented tree, for graphs that are too wide for rails, and the label that a node has in both. Every
//! node stands once, below the last of its sources; a chain goes straight down, so that a long plan does not run off
//! the screen; all other sources are named.

use super::{EdgeType, GraphNodeView, GraphView, NodeIx, NodeKind, kind_name};
use crate::report::style::{Tone, node_sign};

/// How many names stand beside a node: one that comes after forty others would fill the screen with them.
const MOST_NAMES: usize = 6;

/// A line to come: the node, and what stands before it.
struct TreeRow {
    node: NodeIx,
    branch: String,
    below: String,
}

pub(super) fn render(view: &GraphView) -> String {
    let mut out = format!("{}\n", Tone::Strong.paint(&view.title));
    let forest = NodeForest::of(view);
    let mut above: Option<NodeIx> = None;
    let mut stack: Vec<TreeRow> = Vec::new();
    for &root in forest.roots.iter().rev() {
        stack.push(TreeRow { node: root, branch: String::new(), below: String::new() });
    }
    // A stack of our own: a plan may be a chain of any length.
    while let Some(TreeRow { node, branch, below }) = stack.pop() {
        let Some(shown) = view.node(node) else { continue };
        let mut sources = view.edges.iter().filter(|edge| edge.to == node).map(|edge| edge.from);
        let first = sources.next();
        let more = sources.next().is_some();
        // Going straight down says what the source is, unless a branch ended in between.
        let far = first.is_some() && branch.is_empty() && above != first;
        let tone = shown.phase.map_or(Tone::Plain, |phase| Tone::of_phase(phase.as_str()));
        let rails = Tone::Muted.paint(branch);
        let sign = tone.paint(sign(shown));
        out.push_str(&format!("{rails}{sign}{}\n", label(view, node, more || far)));
        above = Some(node);
        let below_ids = forest.below.get(node).map_or(&[][..], Vec::as_slice);
        if let [only] = below_ids {
            stack.push(TreeRow { node: *only, branch: below.clone(), below });
            continue;
        }
        // Pushed backwards, to be popped in order.
        for (i, &child) in below_ids.iter().enumerate().rev() {
            let last = i + 1 == below_ids.len();
            let (knee, rail) = if last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            stack.push(TreeRow {
                node: child,
                branch: format!("{below}{knee}"),
                below: format!("{below}{rail}"),
            });
        }
    }
    out
}

/// Each node below the last of its sources.
struct NodeForest {
    roots: Vec<NodeIx>,
    below: Vec<Vec<NodeIx>>,
}

impl NodeForest {
    fn of(view: &GraphView) -> Self {
        let mut place = vec![0usize; view.nodes.len()];
        for (position, &node) in view.order.iter().enumerate() {
            if let Some(slot) = place.get_mut(node) {
                *slot = position;
            }
        }
        let place_of = |node: NodeIx| place.get(node).copied().unwrap_or(0);
        let mut parent: Vec<Option<NodeIx>> = vec![None; view.nodes.len()];
        for edge in &view.edges {
            if let Some(slot) = parent.get_mut(edge.to)
                // The last source in the order of the graph: a node then stands below everything that it
                // waits for.
                && slot.is_none_or(|old| place_of(old) < place_of(edge.from))
            {
                *slot = Some(edge.from);
            }
        }
        let mut forest = Self { roots: Vec::new(), below: vec![Vec::new(); view.nodes.len()] };
        for (node, parent) in parent.into_iter().enumerate() {
            match parent.and_then(|parent| forest.below.get_mut(parent)) {
                Some(list) => list.push(node),
                None => forest.roots.push(node),
            }
        }
        forest
    }
}

/// What a node is, on one line: id, kind, phase, and what its place in the drawing does not show.
pub(super) fn label(view: &GraphView, node: NodeIx, with_sources: bool) -> String {
    let Some(shown) = view.node(node) else { return String::new() };
    let width = view.nodes.iter().map(|node| node.id.chars().count()).max().unwrap_or(0);
    let mut out = format!(" {:width$}  {:8}", shown.id, kind_name(shown.kind));
    if let Some(phase) = shown.phase {
        out.push_str(&format!("  {}", Tone::of_phase(phase.as_str()).paint(phase)));
    }
    if !shown.detail.is_empty() {
        out.push_str(&format!(" {}", shown.detail));
    }
    let mut notes = Vec::new();
    notes.extend(shown.name.clone());
    if !shown.children.is_empty() {
        notes.push(format!("of {}", names(view, &shown.children)));
    }
    let to_here = view.edges.iter().filter(|edge| edge.to == node);
    // A tree draws soft edges like hard ones, so that they are named in any case.
    let sources = to_here.filter(|edge| with_sources || edge.kind == EdgeType::Soft).filter_map(|edge| {
        let soft = if edge.kind == EdgeType::Soft { " (soft)" } else { "" };
        Some(format!("{}{soft}", view.node(edge.from)?.id))
    });
    let sources: Vec<String> = sources.collect();
    if !sources.is_empty() {
        notes.push(format!("after {}", listed(&sources)));
    }
    if !notes.is_empty() {
        out.push_str(&format!("  {}", Tone::Muted.paint(notes.join("; "))));
    }
    out.trim_end().to_owned()
}

fn names(view: &GraphView, nodes: &[NodeIx]) -> String {
    let names = nodes.iter().filter_map(|&node| view.node(node)).map(|node| node.id.clone());
    listed(&names.collect::<Vec<String>>())
}

/// The names, as far as they fit on a line beside everything else.
pub(super) fn listed(names: &[String]) -> String {
    match names.get(..MOST_NAMES) {
        Some(first) if names.len() > MOST_NAMES + 1 => {
            format!("{} and {} more", first.join(", "), names.len() - MOST_NAMES)
        }
        _ => names.join(", "),
    }
}

/// The sign of a node: of its phase, or of its kind while it has none.
pub(super) fn sign(shown: &GraphNodeView) -> &'static str {
    if let Some(phase) = shown.phase {
        return node_sign(phase);
    }
    match shown.kind {
        NodeKind::Task => "□",
        NodeKind::Gate => "◇",
        NodeKind::Group => "▣",
        NodeKind::External => "◎",
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn branches_are_indented_and_joins_name_all_their_sources() {
        insta::assert_snapshot!(plain(&render(&samples::plain())), @r#"
        demo
        □ design    Task
        ├─ □ backend   Task
        │  ◇ review    Gate      after backend, frontend
        ├─ □ frontend  Task      The "front" <end>
        └─ □ docs      Task      after design (soft)
        ▣ all       Group     of backend, frontend
        "#);
    }

    #[test]
    fn phases_and_elapsed_times_are_shown() {
        insta::assert_snapshot!(plain(&render(&samples::running())), @r#"
        demo
        ✔ design    Task      Succeeded 12s, attempt 2
        ├─ ● backend   Task      Running 18s
        │  ○ review    Gate      Pending  after backend, frontend
        ├─ ✘ frontend  Task      Failed 3s  The "front" <end>
        └─ ○ docs      Task      Pending  after design (soft)
        ○ all       Group     Pending  of backend, frontend
        "#);
    }

    #[test]
    fn a_node_after_many_others_names_the_first_of_them() {
        let mut nodes: Vec<_> =
            (0..40).map(|i| serde_json::json!({"id": format!("n{i}"), "kind": "Task"})).collect();
        nodes.push(serde_json::json!({"id": "last", "kind": "Task", "finally": true}));
        let graph = serde_json::from_value(serde_json::json!({ "nodes": nodes })).unwrap();
        let view = GraphView::new("wide", &graph, None, samples::now()).unwrap();
        let text = plain(&render(&view));
        assert!(
            text.contains(
                "after n0 (soft), n1 (soft), n2 (soft), n3 (soft), n4 (soft), n5 (soft) and 34 more\n"
            ),
            "{text}"
        );
    }

    #[test]
    fn a_chain_of_a_thousand_nodes_is_not_indented() {
        let nodes: Vec<_> =
            (0..1000).map(|i| serde_json::json!({"id": format!("n{i}"), "kind": "Task"})).collect();
        let edges: Vec<_> = (1..1000)
            .map(|i| serde_json::json!({"from": format!("n{}", i - 1), "to": format!("n{i}")}))
            .collect();
        let graph = serde_json::from_value(serde_json::json!({"nodes": nodes, "edges": edges})).unwrap();
        let view = GraphView::new("chain", &graph, None, samples::now()).unwrap();
        assert!(plain(&render(&view)).lines().skip(1).all(|line| line.starts_with("□ n")));
    }
}
