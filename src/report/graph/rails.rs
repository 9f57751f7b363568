//! The graph beside its rails: one line per node, sources above targets, and to the left the edges as rails that fork and
//! join. A rail stands for a node that is still to come, so two edges to one node share it.

use super::tree::label;
use super::{EdgeType, GraphView, NodeIx, NodeKind};
use crate::report::style::Tone;

/// The most rails beside each other; a wider graph is drawn as a tree.
const MOST_RAILS: usize = 16;

/// A rail: the node that it leads to, and whether only soft edges lead there so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rail {
    to: NodeIx,
    soft: bool,
}

/// A line of the drawing: what stands on the rails, and the node whose label follows.
struct Row {
    rails: String,
    node: Option<NodeIx>,
}

/// The drawing, or nothing when it would be too wide.
pub(super) fn render(view: &GraphView) -> Option<String> {
    let mut drawing = Drawing::new(view);
    while let Some(node) = drawing.next() {
        drawing.put(node);
        if drawing.rails.len() > MOST_RAILS {
            return None;
        }
    }
    Some(drawing.text())
}

/// A drawing in the making.
struct Drawing<'v> {
    view: &'v GraphView,
    targets: Vec<Vec<(NodeIx, bool)>>,
    /// How many sources of each node are not drawn yet.
    missing: Vec<usize>,
    /// Nodes that can be drawn and have no rail, the first last.
    starts: Vec<NodeIx>,
    rails: Vec<Option<Rail>>,
    rows: Vec<Row>,
    /// Nodes without edges, and groups: they follow at the end.
    alone: Vec<NodeIx>,
}

impl<'v> Drawing<'v> {
    fn new(view: &'v GraphView) -> Self {
        let count = view.nodes.len();
        let mut targets = vec![Vec::new(); count];
        let mut missing = vec![0usize; count];
        for edge in &view.edges {
            if let (Some(list), Some(sources)) = (targets.get_mut(edge.from), missing.get_mut(edge.to)) {
                list.push((edge.to, edge.kind == EdgeType::Soft));
                *sources += 1;
            }
        }
        // Backwards, because the next one is popped from the end.
        let roots = (0..count).rev().filter(|&node| missing.get(node) == Some(&0));
        let edges = |node: &NodeIx| targets.get(*node).is_some_and(|list| !list.is_empty());
        let (starts, mut alone): (Vec<_>, Vec<_>) = roots.partition(edges);
        alone.reverse();
        // A stable sort: groups go last, and both parts stay in the order of the plan.
        alone.sort_by_key(|&node| view.node(node).is_some_and(|node| node.kind == NodeKind::Group));
        Self { view, targets, missing, starts, rails: Vec::new(), rows: Vec::new(), alone }
    }

    /// The node on the leftmost rail that waits for nothing more; else the next one that begins a rail.
    fn next(&mut self) -> Option<NodeIx> {
        let ready = |rail: &Rail| self.missing.get(rail.to) == Some(&0);
        let on_rail = self.rails.iter().flatten().find(|rail| ready(rail)).map(|rail| rail.to);
        // Rails that are open come first, so that they end early and few stand side by side.
        on_rail.or_else(|| self.starts.pop())
    }

    fn put(&mut self, node: NodeIx) {
        let waiting = self.rails.iter().position(|rail| rail.is_some_and(|rail| rail.to == node));
        // Parts without an edge between them are kept apart: one right below the other would read as a chain.
        let apart = waiting.is_none() && !self.rows.is_empty() && self.rails.iter().all(Option::is_none);
        if apart && !self.ends_below_its_children(node) {
            self.rows.push(Row { rails: String::new(), node: None });
        }
        let at = waiting.unwrap_or_else(|| self.free(None));
        let sign = self.view.node(node).map_or("□", super::tree::sign);
        let above: Vec<bool> =
            (0..self.rails.len()).map(|place| place == at || self.occupied(place)).collect();
        let signs = (0..self.rails.len()).map(|place| if place == at { sign } else { self.upright(place) });
        let row = Row { rails: signs.collect::<Vec<_>>().join(" "), node: Some(node) };
        self.rows.push(row);
        // Freed before the targets are placed, so that one of them can go straight down.
        self.set(at, None);
        let mut ends = Vec::new();
        for (to, soft) in self.targets.get(node).cloned().unwrap_or_default() {
            if let Some(sources) = self.missing.get_mut(to) {
                *sources -= 1;
            }
            ends.push(self.lead(to, soft, at));
        }
        if ends.iter().any(|&end| end != at) {
            self.fork(at, &ends, &above);
        }
        // Free rails on the right would only widen the drawing.
        while self.rails.last() == Some(&None) {
            self.rails.pop();
        }
    }

    /// Whether the line above is that of a child of this group, which does come after it: no edge says so.
    fn ends_below_its_children(&self, node: NodeIx) -> bool {
        let above = self.rows.last().and_then(|row| row.node);
        above.is_some_and(|above| self.view.node(node).is_some_and(|shown| shown.children.contains(&above)))
    }

    /// The rail to a node: the one that there is, else a new one, straight down if that is free.
    fn lead(&mut self, to: NodeIx, soft: bool, from: usize) -> usize {
        let there = self.rails.iter().position(|rail| rail.is_some_and(|rail| rail.to == to));
        let place = there.unwrap_or_else(|| self.free(Some(from)));
        // One hard edge among those that share a rail is enough: the node then needs a success.
        let soft = soft && self.rails.get(place).copied().flatten().is_none_or(|rail| rail.soft);
        self.set(place, Some(Rail { to, soft }));
        place
    }

    fn free(&mut self, wanted: Option<usize>) -> usize {
        if let Some(place) = wanted.filter(|&place| !self.occupied(place)) {
            return place;
        }
        // The leftmost free place keeps the drawing narrow.
        let place = self.rails.iter().position(Option::is_none);
        place.unwrap_or_else(|| {
            self.rails.push(None);
            self.rails.len() - 1
        })
    }

    fn occupied(&self, place: usize) -> bool {
        self.rails.get(place).is_some_and(Option::is_some)
    }

    fn set(&mut self, place: usize, rail: Option<Rail>) {
        if let Some(slot) = self.rails.get_mut(place) {
            *slot = rail;
        }
    }

    fn upright(&self, place: usize) -> &'static str {
        match self.rails.get(place).copied().flatten() {
            None => " ",
            Some(Rail { soft: true, .. }) => "┊",
            Some(_) => "│",
        }
    }

    /// The line below a node whose rail does not go straight down.
    fn fork(&mut self, at: usize, ends: &[usize], above: &[bool]) {
        let mut first = at;
        let mut last = at;
        for &end in ends {
            (first, last) = (first.min(end), last.max(end));
        }
        let mut text = String::new();
        for place in 0..self.rails.len() {
            let within = place >= first && place <= last;
            let turns = place == at || ends.contains(&place);
            let up = above.get(place) == Some(&true);
            let piece = match (within && turns, place > first, place < last) {
                (true, left, right) => corner(up, self.occupied(place), left, right),
                (false, ..) if within && !self.occupied(place) => "─",
                (false, ..) => self.upright(place),
            };
            text.push_str(piece);
            text.push_str(if place >= first && place < last { "─" } else { " " });
        }
        self.rows.push(Row { rails: text.trim_end().to_owned(), node: None });
    }

    fn text(self) -> String {
        let mut out = format!("{}\n", Tone::Strong.paint(&self.view.title));
        let width = |row: &Row| row.rails.chars().count();
        // All labels begin in one column, as in a table.
        let rails = self.rows.iter().map(width).max().unwrap_or(0);
        for row in &self.rows {
            let Some(node) = row.node else {
                out.push_str(&format!("{}\n", Tone::Muted.paint(&row.rails)));
                continue;
            };
            let room = " ".repeat(rails - width(row));
            out.push_str(&format!(
                "{}{room}{}\n",
                painted(&row.rails, self.view, node),
                label(self.view, node, false)
            ));
        }
        if !self.rows.is_empty() && !self.alone.is_empty() {
            out.push('\n');
        }
        let room = " ".repeat(rails.saturating_sub(1));
        for &node in &self.alone {
            let sign = self.view.node(node).map_or("□", super::tree::sign);
            // One below the other they would read as a chain.
            let task = self.view.node(node).is_some_and(|node| node.kind != NodeKind::Group);
            let note = if task && self.view.nodes.len() > 1 {
                Tone::Muted.paint("  no edges")
            } else {
                String::new()
            };
            let label = label(self.view, node, false);
            out.push_str(&format!("{}{room}{label}{note}\n", painted(sign, self.view, node)));
        }
        out
    }
}

/// The rails of a node's line, its sign in the colour of its phase.
fn painted(rails: &str, view: &GraphView, node: NodeIx) -> String {
    let Some(shown) = view.node(node) else { return rails.to_owned() };
    let sign = super::tree::sign(shown);
    let tone = shown.phase.map_or(Tone::Plain, |phase| Tone::of_phase(phase.as_str()));
    match rails.split_once(sign) {
        Some((before, after)) => {
            let quiet = |text: &str| if text.is_empty() { String::new() } else { Tone::Muted.paint(text) };
            format!("{}{}{}", quiet(before), tone.paint(sign), quiet(after))
        }
        None => rails.to_owned(),
    }
}

/// The piece of a rail that has these neighbours.
fn corner(up: bool, down: bool, left: bool, right: bool) -> &'static str {
    match (up, down, left, right) {
        (true, true, false, true) => "├",
        (true, true, true, false) => "┤",
        (true, true, true, true) => "┼",
        (true, true, false, false) => "│",
        (false, true, false, _) => "╭",
        (false, true, true, false) => "╮",
        (false, true, true, true) => "┬",
        (true, false, false, _) => "╰",
        (true, false, true, false) => "╯",
        (true, false, true, true) => "┴",
        (false, false, ..) => "─",
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    fn drawn(graph: serde_json::Value) -> String {
        let graph = serde_json::from_value(graph).unwrap();
        let view = GraphView::new("demo", &graph, None, samples::now()).unwrap();
        let text = render(&view).unwrap();
        anstream::adapter::strip_str(&text).to_string()
    }

    fn tasks(edges: &[(&str, &str)]) -> serde_json::Value {
        let mut ids: Vec<&str> = edges.iter().flat_map(|(from, to)| [*from, *to]).collect();
        ids.sort_unstable();
        ids.dedup();
        let nodes: Vec<_> = ids.iter().map(|id| serde_json::json!({"id": id, "kind": "Task"})).collect();
        let edges: Vec<_> =
            edges.iter().map(|(from, to)| serde_json::json!({"from": from, "to": to})).collect();
        serde_json::json!({"nodes": nodes, "edges": edges})
    }

    #[test]
    fn rails_fork_at_a_source_and_join_at_a_target() {
        insta::assert_snapshot!(drawn(tasks(&[("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")])), @r#"
        demo
        □   a  Task
        ├─╮
        □ │ b  Task
        │ □ c  Task
        ├─╯
        □   d  Task
        "#);
    }

    #[test]
    fn a_rail_is_shared_by_all_edges_to_its_node() {
        let edges = [
            ("a", "b"),
            ("a", "c"),
            ("a", "d"),
            ("b", "x"),
            ("b", "y"),
            ("c", "x"),
            ("c", "y"),
            ("d", "x"),
            ("d", "y"),
            ("x", "z"),
            ("y", "z"),
        ];
        insta::assert_snapshot!(drawn(tasks(&edges)), @r#"
        demo
        □       a  Task
        ├─┬─╮
        □ │ │   b  Task
        ├─│─│─╮
        │ □ │ │ c  Task
        ├─┴─│─┤
        │   □ │ d  Task
        ├───┴─┤
        □     │ x  Task
        │     □ y  Task
        ├─────╯
        □       z  Task
        "#);
    }

    #[test]
    fn a_rail_passes_behind_those_that_it_does_not_meet() {
        insta::assert_snapshot!(drawn(tasks(&[("a", "m"), ("b", "n"), ("c", "m"), ("c", "n")])), @r#"
        demo
        □     a  Task
        │ □   b  Task
        │ │ □ c  Task
        ├─┼─╯
        □ │   m  Task
          □   n  Task
        "#);
    }

    #[test]
    fn a_long_edge_has_a_rail_all_the_way_down() {
        insta::assert_snapshot!(drawn(tasks(&[("a", "b"), ("b", "c"), ("c", "d"), ("a", "d")])), @r#"
        demo
        □   a  Task
        ├─╮
        □ │ b  Task
        □ │ c  Task
        ╰─┤
          □ d  Task
        "#);
    }

    #[test]
    fn parts_that_do_not_touch_are_set_apart() {
        insta::assert_snapshot!(drawn(tasks(&[("a", "b"), ("c", "d")])), @r#"
        demo
        □ a  Task
        □ b  Task

        □ c  Task
        □ d  Task
        "#);
    }

    #[test]
    fn a_group_stands_right_below_its_last_child() {
        let graph = serde_json::json!({"nodes": [
            {"id": "c", "kind": "Task"}, {"id": "d", "kind": "Task", "dependsOn": ["c"]},
            {"id": "both", "kind": "Group", "children": ["c", "d"]},
            {"id": "last", "kind": "Task", "dependsOn": ["both"]},
        ]});
        insta::assert_snapshot!(drawn(graph), @r#"
        demo
        □ c     Task
        □ d     Task
        ▣ both  Group     of c, d
        □ last  Task
        "#);
    }

    #[test]
    fn nodes_without_edges_do_not_look_like_a_chain() {
        let graph = serde_json::json!({"nodes": [{"id": "a", "kind": "Task"}, {"id": "b", "kind": "Task"}]});
        insta::assert_snapshot!(drawn(graph), @r#"
        demo
        □ a  Task  no edges
        □ b  Task  no edges
        "#);
    }

    #[test]
    fn soft_edges_and_groups_are_shown() {
        insta::assert_snapshot!(anstream::adapter::strip_str(&render(&samples::plain()).unwrap()), @r#"
        demo
        □     design    Task
        ├─┬─╮
        □ │ ┊ backend   Task
        │ □ ┊ frontend  Task      The "front" <end>
        ├─╯ ┊
        ◇   ┊ review    Gate
            □ docs      Task      after design (soft)

        ▣     all       Group     of backend, frontend
        "#);
    }

    #[test]
    fn phases_and_elapsed_times_are_shown() {
        insta::assert_snapshot!(anstream::adapter::strip_str(&render(&samples::running()).unwrap()), @r#"
        demo
        ✔     design    Task      Succeeded 12s, attempt 2
        ├─┬─╮
        ● │ ┊ backend   Task      Running 18s
        │ ✘ ┊ frontend  Task      Failed 3s  The "front" <end>
        ├─╯ ┊
        ○   ┊ review    Gate      Pending
            ○ docs      Task      Pending  after design (soft)

        ○     all       Group     Pending  of backend, frontend
        "#);
    }

    #[test]
    fn a_graph_that_is_too_wide_is_left_to_the_tree() {
        let ids: Vec<String> = (0..20).map(|i| format!("n{i}")).collect();
        let edges: Vec<(&str, &str)> = ids.iter().map(|id| ("a", id.as_str())).collect();
        let graph = serde_json::from_value(tasks(&edges)).unwrap();
        let view = GraphView::new("wide", &graph, None, samples::now()).unwrap();
        assert_eq!(render(&view), None);
        assert!(view.render(super::super::GraphFormat::Text).contains("├─ "));
    }
}
