//! A plan's graph, with the phases of an execution where there is one, as text, DOT, Mermaid or SVG.
//! Here is what all four see; each format has its own file.

mod dot;
pub(crate) mod failures;
mod fold;
mod frames;
mod layout;
mod mermaid;
mod rails;
mod svg;
mod tree;

use jiff::Timestamp;

use super::{age, text};
use crate::graph::{GraphError, NodeIx, Topology};
use crate::model::{EdgeType, ExecutionStatus, Node, NodeKind, NodePhase, NodeStatus, PlanGraph};

/// How a graph is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum GraphFormat {
    /// Lines for a terminal, with colours: nodes beside rails, or an indented tree when that is too wide.
    #[default]
    Text,
    /// The language of Graphviz.
    Dot,
    /// The language that Git hosts draw in Markdown.
    Mermaid,
    /// An image of its own.
    Svg,
}

/// A graph that is ready to be drawn. All text in it is safe for a terminal.
#[derive(Debug, Clone)]
pub(crate) struct GraphView {
    title: String,
    nodes: Vec<GraphNodeView>,
    edges: Vec<GraphEdgeView>,
    order: Vec<NodeIx>,
}

/// A node that is ready to be drawn.
#[derive(Debug, Clone)]
struct GraphNodeView {
    id: String,
    name: Option<String>,
    kind: NodeKind,
    phase: Option<NodePhase>,
    /// What there is to say beside the phase: elapsed time, attempt, message.
    detail: String,
    children: Vec<NodeIx>,
    /// Whether there are several instances of it.
    repeated: bool,
}

/// An edge that is ready to be drawn.
#[derive(Debug, Clone, Copy)]
struct GraphEdgeView {
    from: NodeIx,
    to: NodeIx,
    kind: EdgeType,
}

impl GraphView {
    /// Prepares a graph. With an execution's status, nodes have phases; `now` ends what still runs.
    ///
    /// # Errors
    /// Everything that is wrong with the graph.
    pub(crate) fn new(
        title: &str,
        plan: &PlanGraph,
        execution: Option<&ExecutionStatus>,
        now: Timestamp,
    ) -> Result<Self, Vec<GraphError>> {
        let topology = Topology::build(plan)?;
        let view = |(i, node): (NodeIx, &Node)| {
            let status = execution.map(|status| status.node_statuses.get(node.id.as_str()));
            GraphNodeView {
                id: node.id.to_string(),
                name: node.name.as_deref().map(|name| text::line(name).into_owned()),
                kind: node.kind,
                // Without an execution there are no phases; a node that an execution has not recorded yet is
                // Pending.
                phase: status.map(|status| status.map_or(NodePhase::Pending, |status| status.phase)),
                detail: match (plan.instance_summary(node, execution), status.flatten()) {
                    (Some(instances), _) => instances,
                    (None, status) => status.map(|status| detail(status, now)).unwrap_or_default(),
                },
                children: topology.children(i).to_vec(),
                repeated: node.is_repeated(),
            }
        };
        let mut edges: Vec<GraphEdgeView> = (0..topology.len())
            .flat_map(|from| topology.targets(from).map(move |(to, kind)| GraphEdgeView { from, to, kind }))
            .collect();
        // A node that runs after everything else waits for each of the others. Only the last ones of those are drawn, or
        // every node would have a line to it.
        let is_last = |ix: NodeIx| plan.nodes.get(ix).is_some_and(|node| node.finally);
        let leads_on = |ix: NodeIx| topology.targets(ix).any(|(to, _)| !is_last(to));
        // What comes after a group comes after what it holds.
        let holders = topology.holders();
        let goes_on = |ix: NodeIx| {
            let mut open = vec![ix];
            while let Some(at) = open.pop() {
                if leads_on(at) {
                    return true;
                }
                open.extend(holders.get(at).into_iter().flatten());
            }
            false
        };
        edges.retain(|edge| {
            edge.kind == EdgeType::Hard || !is_last(edge.to) || is_last(edge.from) || !goes_on(edge.from)
        });
        // The same plan has to give the same drawing, whatever order the graph library keeps.
        edges.sort_by_key(|edge| (edge.from, edge.to));
        Ok(Self {
            title: text::line(title).into_owned(),
            nodes: plan.nodes.iter().enumerate().map(view).collect(),
            edges,
            order: topology.order().to_vec(),
        })
    }

    /// The ids of a graph as they are read: each after everything that it waits for, a group after what it holds.
    ///
    /// # Errors
    /// Everything that is wrong with the graph.
    pub(crate) fn reading_order(plan: &PlanGraph) -> Result<Vec<String>, Vec<GraphError>> {
        let view = frames::entered(&Self::new("", plan, None, Timestamp::UNIX_EPOCH)?);
        Ok(view.order.iter().filter_map(|&node| view.node(node)).map(|node| node.id.clone()).collect())
    }

    /// The graph in a format, with a line end at its end. A large one is drawn folded, except for Graphviz, which draws whatever it
    /// is given at a size of its own.
    #[must_use]
    pub(crate) fn render(&self, format: GraphFormat) -> String {
        let small = (format != GraphFormat::Dot).then(|| fold::folded(self)).flatten();
        small.as_ref().unwrap_or(self).render_all(format)
    }

    /// As [`Self::render`], with every node however many there are.
    #[must_use]
    pub(crate) fn render_all(&self, format: GraphFormat) -> String {
        match format {
            // Rails show every join, but a wide graph would not fit on a screen.
            GraphFormat::Text => {
                let view = frames::entered(self);
                rails::render(&view).unwrap_or_else(|| tree::render(&view))
            }
            GraphFormat::Dot => dot::render(self),
            GraphFormat::Mermaid => mermaid::render(self),
            GraphFormat::Svg => svg::render(self),
        }
    }

    fn node(&self, node: NodeIx) -> Option<&GraphNodeView> {
        self.nodes.get(node)
    }
}

impl GraphNodeView {
    /// What stands on the node's second line in a picture.
    fn caption(&self) -> String {
        match self.phase {
            Some(phase) if self.detail.is_empty() => phase.to_string(),
            Some(phase) => format!("{phase} {}", self.detail),
            None if self.detail.is_empty() => kind_name(self.kind).to_owned(),
            None => format!("{} {}", kind_name(self.kind), self.detail),
        }
    }
}

// Messages are left out: a drawing has one line for a node, and `describe` has the room.
fn detail(status: &NodeStatus, now: Timestamp) -> String {
    let mut parts = Vec::new();
    if let Some(start) = status.start_time
        && status.phase != NodePhase::Pending
    {
        parts.push(age::between(start, status.completion_time.unwrap_or(now)));
    }
    if status.attempt > 1 {
        parts.push(format!("attempt {}", status.attempt));
    }
    parts.join(", ")
}

/// The name of a node's kind as written in a plan.
fn kind_name(kind: NodeKind) -> &'static str {
    match kind {
        NodeKind::Task => "Task",
        NodeKind::Gate => "Gate",
        NodeKind::Group => "Group",
        NodeKind::External => "External",
    }
}

/// The colours of a phase in pictures: fill and stroke, readable on a light and on a dark page.
fn colours(phase: Option<NodePhase>) -> (&'static str, &'static str) {
    match phase {
        None => ("#eef2f7", "#64748b"),
        Some(NodePhase::Pending) => ("#f1f5f9", "#94a3b8"),
        Some(NodePhase::Running) => ("#dbeafe", "#2563eb"),
        Some(NodePhase::Blocked) => ("#fef3c7", "#b45309"),
        Some(NodePhase::Succeeded) => ("#dcfce7", "#15803d"),
        Some(NodePhase::Failed) => ("#fee2e2", "#b91c1c"),
        Some(NodePhase::Skipped) => ("#f8fafc", "#cbd5e1"),
        Some(NodePhase::Cancelled) => ("#f3e8ff", "#7e22ce"),
    }
}

#[cfg(test)]
mod samples;
