//! The graphs of a preview, each with what comes, changes or goes.

use std::collections::HashSet;

use super::wire::{ChangeMark, GraphEdge, PreviewGraph};
use crate::markup::{code, grouped, markdown};
use crate::report::chart::{ChartEdge, ChartNode, NodeStyle, flowchart};
use crate::report::markdown::PageSection;

/// How much of a plan's name is shown.
const NAME: usize = 200;

/// A graph with more nodes than this is folded.
const OPEN_NODES: usize = 25;

pub(super) fn graphs(graphs: &[PreviewGraph], sections: &mut Vec<PageSection>) {
    if graphs.is_empty() {
        return;
    }
    sections.push(PageSection::heading("Graphs"));
    for graph in graphs {
        let tally = |mark| graph.nodes.iter().filter(|node| node.mark == mark).count();
        let counts = [
            (ChangeMark::Added, "added"),
            (ChangeMark::Changed, "changed"),
            (ChangeMark::Removed, "removed"),
        ]
        .map(|(mark, word)| (tally(mark), word));
        let counts: Vec<String> = counts
            .iter()
            .filter(|(n, _)| *n > 0)
            .map(|(n, word)| format!("{} {word}", grouped(*n)))
            .collect();
        // The graph of a plan that is there already is shown because an Execution of it starts.
        let same = graph.edges.iter().all(|edge| edge.mark == ChangeMark::Kept);
        let counts = match (counts.is_empty(), same) {
            (true, true) => "unchanged".to_owned(),
            (true, false) => "edges changed".to_owned(),
            _ => counts.join(", "),
        };
        let chart = chart(graph);
        if graph.nodes.len() > OPEN_NODES {
            let title = format!("<code>{}</code>: {counts}", markdown(&graph.plan, NAME));
            sections.push(PageSection { folded: Some(title), items: vec![chart], ..PageSection::default() });
        } else {
            let lead = format!("{}: {counts}\n\n", code(&graph.plan, NAME));
            sections.push(PageSection { lead, items: vec![chart], ..PageSection::default() });
        }
    }
}

fn chart(graph: &PreviewGraph) -> String {
    let nodes: Vec<ChartNode<'_>> = graph
        .nodes
        .iter()
        .map(|node| ChartNode {
            id: &node.id,
            name: node.name.as_deref(),
            kind: node.kind,
            look: look(node.mark),
        })
        .collect();
    // The edges of a node that comes or goes do so with it: a word on each of them only hides the few that do not.
    let of_mark =
        |mark| graph.nodes.iter().filter(move |node| node.mark == mark).map(|node| node.id.as_str());
    let new: HashSet<&str> = of_mark(ChangeMark::Added).collect();
    let gone: HashSet<&str> = of_mark(ChangeMark::Removed).collect();
    let with = |nodes: &HashSet<&str>, edge: &GraphEdge| {
        nodes.contains(edge.from.as_str()) || nodes.contains(edge.to.as_str())
    };
    let edges = graph.edges.iter().map(|edge| ChartEdge {
        from: &edge.from,
        to: &edge.to,
        arrow: match (edge.mark, edge.soft) {
            _ if edge.member => "-.-",
            (ChangeMark::Added, false) if with(&new, edge) => "-->",
            (ChangeMark::Added, true) if with(&new, edge) => "-.->",
            (ChangeMark::Added, false) => "-->|added|",
            (ChangeMark::Added, true) => "-.->|added|",
            (ChangeMark::Removed, _) if with(&gone, edge) => "-.-x",
            // With a word on the edge, because colour alone is not for everybody.
            (ChangeMark::Removed, _) => "-.-x|removed|",
            (_, false) => "-->",
            (_, true) => "-.->",
        },
    });
    flowchart(&nodes, edges)
}

fn look(mark: ChangeMark) -> NodeStyle {
    let (rank, class, mark, style) = match mark {
        ChangeMark::Removed => {
            (0, "removed", "−", "fill:#ffd7d5,stroke:#cf222e,color:#82071e,stroke-dasharray:5 3")
        }
        ChangeMark::Added => (1, "added", "+", "fill:#dafbe1,stroke:#1a7f37,color:#044f1e"),
        ChangeMark::Changed => (2, "changed", "~", "fill:#fff8c5,stroke:#bf8700,color:#4d2d00"),
        ChangeMark::Kept => (3, "kept", "", "fill:transparent,stroke:#8c959f"),
    };
    NodeStyle { rank, class, mark, style }
}
