//! How an Execution went, as a graph with the phases of its nodes and as a timeline.

use std::collections::{BTreeMap, HashSet};

use jiff::Timestamp;

use super::ExecutionProgress;
use crate::markup::{code, grouped, markdown};
use crate::model::{EdgeType, NodeId, NodePhase};
use crate::report::age;
use crate::report::chart::{ChartEdge, ChartNode, NodeStyle, flowchart};
use crate::report::markdown::{PageSection, counted};

/// A graph with more nodes than this is folded.
const OPEN_NODES: usize = 25;

/// The graph of an Execution; `open` says that it may stand there unfolded.
pub(super) fn graph(standing: &ExecutionProgress, open: bool) -> Option<PageSection> {
    let graph = standing.graph.as_ref().filter(|graph| !graph.nodes.is_empty())?;
    let phase =
        |id: &NodeId| standing.status.node_statuses.get(id).map(|node| node.phase).unwrap_or_default();
    let names: Vec<Option<String>> = graph
        .nodes
        .iter()
        .map(|node| {
            let instances = graph.instance_summary(node, Some(&standing.status));
            instances.or_else(|| node.name.clone())
        })
        .collect();
    let nodes: Vec<ChartNode<'_>> = graph
        .nodes
        .iter()
        .zip(&names)
        .map(|(node, name)| ChartNode {
            id: node.id.as_str(),
            name: name.as_deref(),
            kind: node.kind,
            look: look(phase(&node.id)),
        })
        .collect();
    let written = graph.edges.iter().map(|edge| ChartEdge {
        from: edge.from.as_str(),
        to: edge.to.as_str(),
        arrow: if edge.kind == EdgeType::Soft { "-.->" } else { "-->" },
    });
    let depends = graph.nodes.iter().flat_map(|node| {
        let to = node.id.as_str();
        node.depends_on.iter().map(move |from| ChartEdge { from: from.as_str(), to, arrow: "-->" })
    });
    // Without an arrow: belonging to a group orders nothing.
    let members = graph.nodes.iter().flat_map(|group| {
        let to = group.id.as_str();
        group.children.iter().map(move |child| ChartEdge { from: child.as_str(), to, arrow: "-.-" })
    });
    // Edges first: where `dependsOn` repeats one, the first says how it is drawn.
    let mut drawn = HashSet::new();
    let edges = written.chain(depends).chain(members).filter(|edge| drawn.insert((edge.from, edge.to)));
    let chart = flowchart(&nodes, edges);
    let name = standing.key.to_string();
    Some(if !open || graph.nodes.len() > OPEN_NODES {
        // In the line of a fold, a host reads HTML and no Markdown.
        let title =
            format!("Graph of <code>{}</code>: {}", markdown(&name, 200), counted(graph.nodes.len(), "node"));
        PageSection { folded: Some(title), items: vec![chart], ..PageSection::default() }
    } else {
        PageSection {
            lead: format!("{}\n\n", code(&name, 200)),
            items: vec![chart],
            ..PageSection::default()
        }
    })
}

pub(super) fn timeline(standing: &ExecutionProgress) -> Option<PageSection> {
    let mut events: Vec<(Timestamp, u8, &NodeId, String)> = Vec::new();
    for (id, node) in &standing.status.node_statuses {
        events.extend(node.start_time.map(|at| (at, 0, id, "started".to_owned())));
        let took = node.start_time.zip(node.completion_time);
        let took =
            took.map(|(start, end)| format!(" after {}", age::between(start, end))).unwrap_or_default();
        events.extend(node.completion_time.map(|at| (at, 1, id, format!("{}{took}", node.phase))));
    }
    // Also ordered within one moment, so that a page with the same content is the same text, and is not
    // edited.
    events.sort_by_key(|(at, order, id, _)| (*at, *order, *id));
    let items: Vec<String> = events
        .iter()
        .map(|(at, _, id, what)| format!("| {} | {} | {what} |\n", time(*at), code(id.as_str(), 63)))
        .collect();
    (!items.is_empty()).then(|| PageSection {
        folded: Some(format!("Timeline of <code>{}</code>", markdown(&standing.key.to_string(), 200))),
        lead: "| Time | Node | What |\n| --- | --- | --- |\n".to_owned(),
        items,
        ..PageSection::default()
    })
}

/// A recorded time, to the second.
pub(super) fn time(at: Timestamp) -> String {
    // In UTC, because one page is read in many places.
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

pub(super) fn tally(phases: impl Iterator<Item = NodePhase>) -> String {
    let mut counts: BTreeMap<u8, (NodePhase, usize)> = BTreeMap::new();
    for phase in phases {
        counts.entry(look(phase).rank).or_insert((phase, 0)).1 += 1;
    }
    let words: Vec<String> =
        counts.into_values().map(|(phase, count)| format!("{} {phase}", grouped(count))).collect();
    words.join(", ")
}

fn look(phase: NodePhase) -> NodeStyle {
    // What is still to come takes the colours of the page: on a dark one, a white box would be what is seen first.
    let (rank, class, mark, style) = match phase {
        NodePhase::Failed => (0, "failed", "✗", "fill:#ffd7d5,stroke:#cf222e,color:#82071e"),
        NodePhase::Running => (1, "running", "▶", "fill:#ddf4ff,stroke:#0969da,color:#0a3069"),
        NodePhase::Blocked => (2, "blocked", "⏸", "fill:#fff8c5,stroke:#bf8700,color:#4d2d00"),
        NodePhase::Cancelled => (3, "cancelled", "⊘", "fill:#eaeef2,stroke:#57606a,color:#24292f"),
        NodePhase::Pending => (4, "pending", "○", "fill:transparent,stroke:#8c959f"),
        NodePhase::Succeeded => (5, "succeeded", "✓", "fill:#dafbe1,stroke:#1a7f37,color:#044f1e"),
        NodePhase::Skipped => (6, "skipped", "–", "fill:transparent,stroke:#8c959f,stroke-dasharray:3 3"),
    };
    NodeStyle { rank, class, mark, style }
}
