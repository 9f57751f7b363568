//! A graph as a Mermaid flowchart of bounded size for a comment: every node has a mark and a class, for colour alone is
//! not for everybody. What matters most is drawn first, the rest is counted.

use std::collections::HashMap;
use std::fmt::Write as _;

use crate::markup::{grouped, label};
use crate::model::NodeKind;

/// The most nodes that are drawn.
const NODE_LIMIT: usize = 60;

/// The most edges that are drawn (Mermaid itself refuses more than 500).
const EDGE_LIMIT: usize = 200;

/// The style of a node. Styles with a smaller rank are drawn first when there is no room for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NodeStyle {
    pub(super) rank: u8,
    pub(super) class: &'static str,
    pub(super) mark: &'static str,
    pub(super) style: &'static str,
}

pub(super) struct ChartNode<'a> {
    pub(super) id: &'a str,
    pub(super) name: Option<&'a str>,
    pub(super) kind: NodeKind,
    pub(super) look: NodeStyle,
}

/// An edge between two ids; one that names no drawn node is left out.
pub(super) struct ChartEdge<'a> {
    pub(super) from: &'a str,
    pub(super) to: &'a str,
    /// A word of Mermaid.
    pub(super) arrow: &'static str,
}

/// The flowchart in its fence.
pub(super) fn flowchart<'a>(nodes: &[ChartNode<'a>], edges: impl Iterator<Item = ChartEdge<'a>>) -> String {
    let mut order: Vec<(usize, &ChartNode<'_>)> = nodes.iter().enumerate().collect();
    // By importance to choose what is drawn, then by position again, so that the chart follows the plan.
    order.sort_by_key(|(index, node)| (node.look.rank, *index));
    // One place is kept for the node that counts the others.
    let room = if order.len() > NODE_LIMIT { NODE_LIMIT - 1 } else { NODE_LIMIT };
    let rest = order.split_off(room.min(order.len())).len();
    order.sort_by_key(|(index, _)| *index);
    let mut text = String::from("```mermaid\nflowchart LR\n");
    for (index, node) in &order {
        // Numbered, because an id may be a word of Mermaid, such as `end`.
        let _ = writeln!(text, "  n{index}{}", shape(node));
    }
    if rest > 0 {
        let _ = writeln!(text, "  more[\"{}\"]", label(&format!("… and {} more", grouped(rest)), 40));
    }
    let shown: HashMap<&str, usize> = order.iter().map(|(index, node)| (node.id, *index)).collect();
    let drawn = edges.filter_map(|edge| Some((*shown.get(edge.from)?, edge.arrow, *shown.get(edge.to)?)));
    let mut left = 0;
    for (index, (from, arrow, to)) in drawn.enumerate() {
        if index < EDGE_LIMIT {
            let _ = writeln!(text, "  n{from} {arrow} n{to}");
        } else {
            left += 1;
        }
    }
    // An arrow that is missing without a word would read as "may run at once".
    if left > 0 {
        let _ = writeln!(text, "  edges[\"{}\"]", label(&format!("… and {} more edges", grouped(left)), 60));
    }
    let mut looks: Vec<NodeStyle> = order.iter().map(|(_, node)| node.look).collect();
    looks.sort_unstable();
    looks.dedup();
    for look in looks {
        let of_look = order.iter().filter(|(_, node)| node.look == look);
        let names: Vec<String> = of_look.map(|(index, _)| format!("n{index}")).collect();
        let _ = writeln!(
            text,
            "  classDef {} {}\n  class {} {}",
            look.class,
            look.style,
            names.join(","),
            look.class
        );
    }
    text.push_str("```\n");
    text
}

/// The shape says the kind of the node.
fn shape(node: &ChartNode<'_>) -> String {
    let (open, close) = match node.kind {
        NodeKind::Task => ("[\"", "\"]"),
        NodeKind::Gate => ("{{\"", "\"}}"),
        NodeKind::Group => ("[[\"", "\"]]"),
        NodeKind::External => ("([\"", "\"])"),
    };
    let mut text = open.to_owned();
    if !node.look.mark.is_empty() {
        let _ = write!(text, "{} ", node.look.mark);
    }
    text.push_str(&label(node.id, 63));
    if let Some(name) = node.name.filter(|name| *name != node.id) {
        let _ = write!(text, "<br/>{}", label(name, 40));
    }
    text + close
}
