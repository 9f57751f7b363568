//! Groups in a picture: what each of them holds, and which of them get a frame around their children.

use super::fold::sorted;
use super::layout::{GridCell, Layout, arrange, arrange_around};
use super::{EdgeType, GraphEdgeView, GraphView, NodeIx, NodeKind};

/// The frame around a group and all that is in it, in cells.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct GroupFrame {
    /// The group.
    pub(super) group: NodeIx,
    /// The first and the last column.
    pub(super) columns: (usize, usize),
    /// The first and the last row.
    pub(super) rows: (f64, f64),
    /// How many frames lie within, one in the other.
    pub(super) inner: usize,
}

/// The picture with what a repeated group waits for leading to the first of its children: they are what starts then, and stand in
/// a frame behind it. The children of any other group start by themselves, whatever the group waits for.
pub(super) fn entered(view: &GraphView) -> GraphView {
    let is_held =
        |group: NodeIx| view.node(group).is_some_and(|node| node.repeated && !node.children.is_empty());
    let mut edges = Vec::new();
    for edge in &view.edges {
        if !is_held(edge.to) {
            edges.push(*edge);
            continue;
        }
        let members = view.within(edge.to);
        let waits =
            |node: NodeIx| view.edges.iter().any(|edge| edge.to == node && members.contains(&edge.from));
        let first = members.iter().copied().filter(|member| !view.is_group(*member) && !waits(*member));
        edges.extend(first.map(|to| GraphEdgeView { to, ..*edge }));
    }
    // A group comes after what it holds, as the layers of the picture have it.
    let held = view.nodes.iter().enumerate().flat_map(|(to, node)| {
        node.children.iter().map(move |&from| GraphEdgeView { from, to, kind: EdgeType::Hard })
    });
    let all: Vec<GraphEdgeView> = edges.iter().copied().chain(held).collect();
    let order = sorted(&view.order, &all);
    GraphView { title: view.title.clone(), nodes: view.nodes.clone(), edges, order }
}

/// A picture with its frames.
pub(super) fn with_frames(view: &GraphView) -> (Layout, Vec<GroupFrame>) {
    let first = arrange(view);
    let found = frames(view, &first);
    let groups: Vec<NodeIx> = found.iter().map(|frame| frame.group).collect();
    if groups.is_empty() {
        return (first, found);
    }
    // Which groups have frames is known only now, and what is laid out without the lines to them may leave one without.
    let again = arrange_around(view, &groups);
    let found_again = frames(view, &again);
    let has_all = groups.iter().all(|group| found_again.iter().any(|frame| frame.group == *group));
    if has_all { (again, found_again) } else { (first, found) }
}

/// The frames of a layout, outer ones first. A group gets one where nothing else lies between its children: a frame around
/// somebody else's node would say what is not so, and dotted lines to the group say the same without it.
fn frames(view: &GraphView, layout: &Layout) -> Vec<GroupFrame> {
    // Inner groups first, since the room around a group depends on the frames within.
    // What waits for something itself stays a node: its children may stand before that, and an edge to their frame would run
    // backwards.
    let waits = |group: NodeIx| view.edges.iter().any(|edge| edge.to == group);
    let groups = view.order.iter().copied().filter(|group| view.is_group(*group) && !waits(*group));
    let groups: Vec<NodeIx> = groups.collect();
    let mut found: Vec<GroupFrame> = groups.iter().filter_map(|&group| around(view, layout, group)).collect();
    loop {
        // A group with a frame has no place of its own; one that lost it is drawn, and may stand in the way of others.
        let framed: Vec<NodeIx> = found.iter().map(|frame| frame.group).collect();
        let is_clear = |frame: &GroupFrame| {
            let members = view.within(frame.group);
            layout.cells.iter().enumerate().all(|(node, cell)| {
                members.contains(&node) || framed.contains(&node) || !frame.touches(*cell)
            })
        };
        let before = found.len();
        found.retain(is_clear);
        if found.len() == before {
            break;
        }
    }
    for at in 0..found.len() {
        let Some(frame) = found.get(at) else { continue };
        let members = view.within(frame.group);
        let within = found.iter().filter(|inner| members.contains(&inner.group));
        let inner = within.map(|inner| inner.inner + 1).max().unwrap_or(0);
        if let Some(frame) = found.get_mut(at) {
            frame.inner = inner;
        }
    }
    found.reverse();
    found
}

/// What holds everything in a group; none for one that holds nothing but groups without content.
fn around(view: &GraphView, layout: &Layout, group: NodeIx) -> Option<GroupFrame> {
    let nodes = view.within(group).into_iter().filter(|node| !view.is_group(*node));
    let cells: Vec<GridCell> = nodes.filter_map(|node| layout.cells.get(node).copied()).collect();
    let first = cells.first()?;
    let whole =
        GroupFrame { group, columns: (first.column, first.column), rows: (first.row, first.row), inner: 0 };
    Some(cells.iter().fold(whole, |frame, cell| GroupFrame {
        columns: (frame.columns.0.min(cell.column), frame.columns.1.max(cell.column)),
        rows: (frame.rows.0.min(cell.row), frame.rows.1.max(cell.row)),
        ..frame
    }))
}

impl GroupFrame {
    /// Whether a node there would lie on the frame or within it.
    fn touches(&self, cell: GridCell) -> bool {
        (self.columns.0..=self.columns.1).contains(&cell.column)
            && cell.row > self.rows.0 - 1.0
            && cell.row < self.rows.1 + 1.0
    }

    /// Whether another frame lies within this one.
    pub(super) fn holds(&self, other: &Self) -> bool {
        self.inner > other.inner
            && self.columns.0 <= other.columns.0
            && self.columns.1 >= other.columns.1
            && self.rows.0 <= other.rows.0
            && self.rows.1 >= other.rows.1
    }

    /// Where an edge from the group begins: at the middle of its right side.
    pub(super) fn exit(&self) -> GridCell {
        GridCell { column: self.columns.1, row: f64::midpoint(self.rows.0, self.rows.1) }
    }
}

impl GraphView {
    fn is_group(&self, node: NodeIx) -> bool {
        self.node(node).is_some_and(|node| node.kind == NodeKind::Group)
    }

    /// Everything in a group, at any depth.
    fn within(&self, group: NodeIx) -> Vec<NodeIx> {
        let mut found: Vec<NodeIx> = Vec::new();
        let mut next = vec![group];
        while let Some(node) = next.pop() {
            let children = self.node(node).map_or(&[][..], |node| node.children.as_slice());
            // Once each, so that groups which hold each other end here too.
            let new: Vec<NodeIx> =
                children.iter().copied().filter(|child| *child != group && !found.contains(child)).collect();
            found.extend(&new);
            next.extend(new);
        }
        found
    }

    /// For each node the outermost group that holds it.
    pub(super) fn outermost(&self) -> Vec<Option<NodeIx>> {
        let mut outer: Vec<Option<NodeIx>> = vec![None; self.nodes.len()];
        for group in (0..self.nodes.len()).filter(|node| self.is_group(*node)) {
            let held = (0..self.nodes.len())
                .any(|other| self.nodes.get(other).is_some_and(|node| node.children.contains(&group)));
            if held {
                continue;
            }
            for node in self.within(group) {
                if let Some(slot) = outer.get_mut(node) {
                    slot.get_or_insert(group);
                }
            }
        }
        outer
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::samples;
    use super::*;

    fn view(nodes: &[Value]) -> GraphView {
        let graph = serde_json::from_value(json!({ "nodes": nodes })).unwrap();
        GraphView::new("t", &graph, None, samples::now()).unwrap()
    }

    #[test]
    fn a_group_has_a_frame_around_its_children_and_nothing_else() {
        let view = samples::plain();
        let found = frames(&view, &arrange(&view));
        let ids: Vec<&str> = found.iter().map(|frame| view.nodes[frame.group].id.as_str()).collect();
        assert_eq!(ids, ["all"]);
        for (node, cell) in arrange(&view).cells.iter().enumerate() {
            let frame = found[0];
            let inside = (frame.columns.0..=frame.columns.1).contains(&cell.column)
                && (frame.rows.0..=frame.rows.1).contains(&cell.row);
            assert_eq!(inside, ["backend", "frontend"].contains(&view.nodes[node].id.as_str()));
        }
    }

    /// The line from the first child to its group passed beside the second one, and moved it although nobody saw that line.
    #[test]
    fn children_in_a_row_stand_in_a_line() {
        let view = view(&[
            json!({ "id": "prepare", "kind": "Task" }),
            json!({ "id": "regions", "kind": "Group", "children": ["eu", "us"] }),
            json!({ "id": "eu", "kind": "Task", "dependsOn": ["prepare"] }),
            json!({ "id": "us", "kind": "Task", "dependsOn": ["eu"] }),
            json!({ "id": "ship", "kind": "Task", "dependsOn": ["regions"] }),
        ]);
        let (layout, found) = with_frames(&view);
        assert_eq!(found.len(), 1);
        let rows: Vec<f64> = [0, 2, 3, 4].map(|node: usize| layout.cells[node].row).into();
        assert!(rows.windows(2).all(|pair| (pair[0] - pair[1]).abs() < 0.01), "{rows:?}");
    }

    #[test]
    fn the_children_of_a_repeated_group_stand_behind_what_it_waits_for() {
        let view = view(&[
            json!({ "id": "copy", "kind": "Task" }),
            json!({ "id": "check", "kind": "Task", "dependsOn": ["copy"] }),
            json!({ "id": "each", "kind": "Group", "children": ["copy", "check"], "dependsOn": ["approve"],
                    "forEach": { "items": ["a", "b"] } }),
            json!({ "id": "approve", "kind": "Gate", "gateRef": { "name": "g" } }),
        ]);
        let view = entered(&view);
        let layout = arrange(&view);
        let columns: Vec<usize> = layout.cells.iter().map(|cell| cell.column).collect();
        assert_eq!((columns[0], columns[1], columns[3]), (1, 2, 0));
        assert_eq!(frames(&view, &layout).len(), 1);
    }

    #[test]
    fn groups_in_groups_have_frames_in_frames() {
        let view = view(&[
            json!({ "id": "a", "kind": "Task" }),
            json!({ "id": "b", "kind": "Task" }),
            json!({ "id": "inner", "kind": "Group", "children": ["a"] }),
            json!({ "id": "outer", "kind": "Group", "children": ["inner", "b"] }),
        ]);
        let found = frames(&view, &arrange(&view));
        let shown: Vec<(&str, usize)> =
            found.iter().map(|frame| (view.nodes[frame.group].id.as_str(), frame.inner)).collect();
        assert_eq!(shown, [("outer", 1), ("inner", 0)]);
    }
}
