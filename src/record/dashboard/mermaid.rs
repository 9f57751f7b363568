//! The graph of an execution as a Mermaid flowchart, coloured by phase. Large graphs are summed up: what
//! failed, runs or waits is shown first.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;

use crate::markup::{grouped, label};
use crate::model::{EdgeType, ExecutionStatus, Node, NodeId, NodeKind, NodePhase, PlanGraph};

/// The most nodes that are drawn.
pub(super) const NODE_LIMIT: usize = 60;

/// The most edges that are drawn (Mermaid itself refuses more than 500).
const EDGE_LIMIT: usize = 200;

/// A phase's name as a class, its mark (colour alone is not for everybody), its colours, and how early it
/// is shown when there is no room for all.
struct PhaseStyle {
    phase: NodePhase,
    class: &'static str,
    mark: &'static str,
    style: &'static str,
}

// What is still to come takes the colours of the page: on a dark one, a white box would be what is seen first.
const STYLES: [PhaseStyle; 7] = [
    style(NodePhase::Failed, "failed", "✗", "fill:#ffd7d5,stroke:#cf222e,color:#82071e"),
    style(NodePhase::Running, "running", "▶", "fill:#ddf4ff,stroke:#0969da,color:#0a3069"),
    style(NodePhase::Blocked, "blocked", "⏸", "fill:#fff8c5,stroke:#bf8700,color:#4d2d00"),
    style(NodePhase::Cancelled, "cancelled", "⊘", "fill:#eaeef2,stroke:#57606a,color:#24292f"),
    style(NodePhase::Pending, "pending", "○", "fill:transparent,stroke:#8c959f"),
    style(NodePhase::Succeeded, "succeeded", "✓", "fill:#dafbe1,stroke:#1a7f37,color:#044f1e"),
    style(NodePhase::Skipped, "skipped", "–", "fill:transparent,stroke:#8c959f,stroke-dasharray:3 3"),
];

const fn style(phase: NodePhase, class: &'static str, mark: &'static str, style: &'static str) -> PhaseStyle {
    PhaseStyle { phase, class, mark, style }
}

fn rank(phase: NodePhase) -> usize {
    STYLES.iter().position(|style| style.phase == phase).unwrap_or(STYLES.len())
}

/// How many nodes are in each phase, as text: `3 Succeeded, 1 Running`.
pub(super) fn tally(phases: impl Iterator<Item = NodePhase>) -> String {
    let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
    for phase in phases {
        // By rank, so that failures are named first.
        *counts.entry(rank(phase)).or_default() += 1;
    }
    let words = counts.into_iter().filter_map(|(rank, count)| {
        STYLES.get(rank).map(|style| format!("{} {}", grouped(count), style.phase))
    });
    words.collect::<Vec<_>>().join(", ")
}

/// The flowchart, without the fence around it.
pub(super) fn flowchart(graph: &PlanGraph, status: &ExecutionStatus) -> String {
    let phase = |node: &Node| status.node_statuses.get(&node.id).map(|node| node.phase).unwrap_or_default();
    let mut order: Vec<(usize, &Node)> = graph.nodes.iter().enumerate().collect();
    // Cached, as each phase is looked up among all.
    order.sort_by_cached_key(|(index, node)| (rank(phase(node)), *index));
    // One place less where not all fit: it goes to the node that says how many are left out.
    let room = if order.len() > NODE_LIMIT { NODE_LIMIT - 1 } else { NODE_LIMIT };
    let rest = order.split_off(room.min(order.len()));
    // Chosen by urgency, drawn in the order of the plan: with each change of a phase the picture would otherwise be
    // laid out again.
    order.sort_by_key(|(index, _)| *index);

    let mut text = String::from("flowchart LR\n");
    for (index, node) in &order {
        let attempt = status.node_statuses.get(&node.id).map_or(0, |status| status.attempt);
        // Numbers as ids, since a node id such as `end` is a word of Mermaid and breaks the whole picture.
        let instances = graph.instance_summary(node, Some(status));
        let _ = writeln!(text, "  n{index}{}", shape(node, phase(node), attempt, instances.as_deref()));
    }
    if !rest.is_empty() {
        let phases = tally(rest.iter().map(|(_, node)| phase(node)));
        let more = label(&format!("… and {} more: {phases}", grouped(rest.len())), 200);
        let _ = writeln!(text, "  more[\"{more}\"]");
    }
    let shown: HashMap<&NodeId, usize> = order.iter().map(|(index, node)| (&node.id, *index)).collect();
    arrows(graph, &shown, &mut text);
    for style in &STYLES {
        let of_phase: Vec<String> = order
            .iter()
            .filter(|(_, node)| phase(node) == style.phase)
            .map(|(index, _)| format!("n{index}"))
            .collect();
        if !of_phase.is_empty() {
            let _ = writeln!(text, "  classDef {} {}", style.class, style.style);
            let _ = writeln!(text, "  class {} {}", of_phase.join(","), style.class);
        }
    }
    text
}

/// The shape shows the kind of the node, the label its name and phase.
fn shape(node: &Node, phase: NodePhase, attempt: u32, instances: Option<&str>) -> String {
    let (open, close) = match node.kind {
        NodeKind::Task => ("[\"", "\"]"),
        NodeKind::Gate => ("{{\"", "\"}}"),
        NodeKind::Group => ("[[\"", "\"]]"),
        NodeKind::External => ("([\"", "\"])"),
    };
    let mark = STYLES.get(rank(phase)).map(|style| style.mark).unwrap_or_default();
    let mut text = format!("{open}{mark} {}", label(node.id.as_str(), 63));
    if attempt > 1 {
        let _ = write!(text, " ×{attempt}");
    }
    if let Some(instances) = instances {
        let _ = write!(text, " {instances}");
    }
    if let Some(name) = node.name.as_ref().filter(|name| name.as_str() != node.id.as_str()) {
        let _ = write!(text, "<br/>{}", label(name, 40));
    }
    text.push_str(close);
    text
}

fn arrows(graph: &PlanGraph, shown: &HashMap<&NodeId, usize>, text: &mut String) {
    let edges = graph.edges.iter().map(|edge| (&edge.from, &edge.to, arrow(edge.kind)));
    let depends = graph
        .nodes
        .iter()
        .flat_map(|node| node.depends_on.iter().map(move |source| (source, &node.id, arrow(EdgeType::Hard))));
    let members =
        graph.nodes.iter().flat_map(|node| node.children.iter().map(move |child| (child, &node.id, "-.-")));
    let mut drawn = HashSet::new();
    // Edges first: where `dependsOn` repeats one, the first decides how it is drawn.
    for (from, to, arrow) in edges.chain(depends).chain(members) {
        if let (Some(from), Some(to)) = (shown.get(from), shown.get(to))
            && drawn.insert((*from, *to))
            && drawn.len() <= EDGE_LIMIT
        {
            let _ = writeln!(text, "  n{from} {arrow} n{to}");
        }
    }
    // An arrow that is missing without a word would read as "may run at once".
    if let Some(left @ 1..) = drawn.len().checked_sub(EDGE_LIMIT) {
        let more = label(&format!("… and {} more edges", grouped(left)), 60);
        let _ = writeln!(text, "  edges[\"{more}\"]");
    }
}

fn arrow(kind: EdgeType) -> &'static str {
    match kind {
        EdgeType::Hard => "-->",
        EdgeType::Soft => "-.->",
    }
}
