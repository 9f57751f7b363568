//! Large graphs in fewer nodes: what a picture of more than a hundred nodes puts together, and what it says of it. Each step is
//! taken only while the picture is still too large: groups, nodes that are alike, chains, and in the end whatever is equally
//! deep in the graph, so that there is no graph that it cannot make small enough.

use std::collections::{BTreeMap, BTreeSet};

use super::{EdgeType, GraphEdgeView, GraphNodeView, GraphView, NodeIx, NodeKind, NodePhase};

/// The most nodes that a picture shows one by one. A hundred fill a screen at a size at which labels can be read.
const MOST_DRAWN: usize = 100;

/// How often nodes are compared by their neighbours. Nodes that differ only in what is further away than this are put together
/// too, which a picture of so many can afford.
const ROUNDS: usize = 16;

/// The most nodes of a chain that are put together: one node for all of them would say nothing.
const LONGEST_PIECE: usize = 10;

/// For each node the one whose place it takes.
type Parts = Vec<NodeIx>;

/// The picture in at most a hundred nodes; none where it is not larger than that.
pub(super) fn folded(view: &GraphView) -> Option<GraphView> {
    if view.nodes.len() <= MOST_DRAWN {
        return None;
    }
    let steps: [fn(&GraphView) -> Parts; 5] = [groups, alike, chains, alike, bands];
    let mut folding = Folding::new(view);
    for step in steps {
        if folding.view.nodes.len() > MOST_DRAWN {
            folding.put_together(&step(&folding.view));
        }
    }
    let mut small = folding.view;
    small.title = format!("{} · {} nodes drawn as {}", view.title, view.nodes.len(), small.nodes.len());
    Some(small)
}

/// A graph that gets smaller, and the nodes of the whole that each of its nodes stands for.
struct Folding<'v> {
    whole: &'v GraphView,
    view: GraphView,
    members: Vec<Vec<NodeIx>>,
}

impl<'v> Folding<'v> {
    fn new(whole: &'v GraphView) -> Self {
        // A group is counted by what is in it.
        let own = |(ix, node): (NodeIx, &GraphNodeView)| match node.kind {
            NodeKind::Group => Vec::new(),
            _ => vec![ix],
        };
        Self { whole, view: whole.clone(), members: whole.nodes.iter().enumerate().map(own).collect() }
    }

    fn put_together(&mut self, parts: &Parts) {
        let mut members: BTreeMap<NodeIx, Vec<NodeIx>> = BTreeMap::new();
        let mut sizes: BTreeMap<NodeIx, usize> = BTreeMap::new();
        for node in 0..self.view.nodes.len() {
            let part = parts.get(node).copied().unwrap_or(node);
            *sizes.entry(part).or_default() += 1;
            members.entry(part).or_default().extend(self.members.get(node).into_iter().flatten());
        }
        // In the order of the plan, so that the first and the last name say from where to where it goes.
        members.values_mut().for_each(|members| members.sort_unstable());
        let place: BTreeMap<NodeIx, usize> = sizes.keys().enumerate().map(|(at, part)| (*part, at)).collect();
        let nodes = sizes.iter().filter_map(|(part, size)| {
            let node = self.view.node(*part)?;
            Some(if *size == 1 { node.clone() } else { self.whole.sum(node, members.get(part)?) })
        });
        let nodes = nodes.collect();
        let of = |node: NodeIx| parts.get(node).and_then(|part| place.get(part)).copied();
        let mut edges: BTreeMap<(NodeIx, NodeIx), EdgeType> = BTreeMap::new();
        for edge in &self.view.edges {
            let (Some(from), Some(to)) = (of(edge.from), of(edge.to)) else { continue };
            if from != to {
                // One line for all that lead from one to the other; a hard one among them means that success is needed.
                let kind = edges.entry((from, to)).or_insert(edge.kind);
                *kind = if edge.kind == EdgeType::Hard { EdgeType::Hard } else { *kind };
            }
        }
        let first_seen: Vec<NodeIx> = self.view.order.iter().filter_map(|&node| of(node)).collect();
        let edges: Vec<GraphEdgeView> =
            edges.into_iter().map(|((from, to), kind)| GraphEdgeView { from, to, kind }).collect();
        let order = sorted(&first_seen, &edges);
        self.view = GraphView { title: self.view.title.clone(), nodes, edges, order };
        self.members = members.into_values().collect();
    }
}

/// Every outermost group with all that is in it.
fn groups(view: &GraphView) -> Parts {
    view.outermost().into_iter().enumerate().map(|(node, group)| group.unwrap_or(node)).collect()
}

/// Nodes of one kind and depth whose neighbours on both sides are alike in turn: forty services with the same three steps
/// each become three nodes. Gates and groups stay by themselves, since people look for them.
fn alike(view: &GraphView) -> Parts {
    let depths = depths(view);
    let own = |(node, depth): (NodeIx, &usize)| match view.node(node).map(|node| node.kind) {
        Some(NodeKind::Task) => (0, *depth, 0),
        Some(NodeKind::External) => (1, *depth, 0),
        _ => (2, *depth, node),
    };
    let mut class = numbered(&depths.iter().enumerate().map(own).collect::<Vec<_>>());
    for _ in 0..ROUNDS {
        let mut around: Vec<BTreeSet<(bool, usize, bool)>> = vec![BTreeSet::new(); view.nodes.len()];
        for edge in &view.edges {
            let soft = edge.kind == EdgeType::Soft;
            for (node, other, after) in [(edge.from, edge.to, true), (edge.to, edge.from, false)] {
                if let (Some(list), Some(other)) = (around.get_mut(node), class.get(other)) {
                    list.insert((after, *other, soft));
                }
            }
        }
        // With the class so far, so that what was told apart stays apart.
        let finer = numbered(&class.iter().zip(&around).collect::<Vec<_>>());
        if finer.iter().max() == class.iter().max() {
            break;
        }
        class = finer;
    }
    firsts(&class)
}

/// Tasks of which each waits for nothing but the one before it, which nothing else waits for, in pieces.
fn chains(view: &GraphView) -> Parts {
    let mut sources: Vec<Vec<NodeIx>> = vec![Vec::new(); view.nodes.len()];
    let mut targets = vec![0usize; view.nodes.len()];
    for edge in &view.edges {
        if let (Some(list), Some(count)) = (sources.get_mut(edge.to), targets.get_mut(edge.from)) {
            list.push(edge.from);
            *count += 1;
        }
    }
    let is_task = |node: NodeIx| view.node(node).is_some_and(|node| node.kind == NodeKind::Task);
    let mut parts: Parts = (0..view.nodes.len()).collect();
    let mut lengths = vec![1usize; view.nodes.len()];
    // In the order of the graph: by then the node before has the place of its piece.
    for &node in &view.order {
        if let Some(&[before]) = sources.get(node).map(Vec::as_slice)
            && targets.get(before) == Some(&1)
            && is_task(node)
            && is_task(before)
            && let Some(start) = parts.get(before).copied()
            && let Some(length) = lengths.get_mut(start).filter(|length| **length < LONGEST_PIECE)
            && let Some(slot) = parts.get_mut(node)
        {
            *length += 1;
            *slot = start;
        }
    }
    parts
}

/// What is equally deep, and where the graph is deeper than the picture may be, what is nearly so.
fn bands(view: &GraphView) -> Parts {
    let depths = depths(view);
    let deep = depths.iter().max().map_or(1, |deepest| deepest + 1);
    let band = |depth: &usize| if deep <= MOST_DRAWN { *depth } else { depth * MOST_DRAWN / deep };
    firsts(&depths.iter().map(band).collect::<Vec<_>>())
}

/// The longest way to each node.
fn depths(view: &GraphView) -> Vec<usize> {
    let mut sources: Vec<Vec<NodeIx>> = vec![Vec::new(); view.nodes.len()];
    for edge in &view.edges {
        if let Some(list) = sources.get_mut(edge.to) {
            list.push(edge.from);
        }
    }
    let mut depths = vec![0usize; view.nodes.len()];
    for &node in &view.order {
        let before = sources.get(node).into_iter().flatten().filter_map(|&source| depths.get(source));
        let depth = before.map(|depth| depth + 1).max().unwrap_or(0);
        if let Some(slot) = depths.get_mut(node) {
            *slot = depth;
        }
    }
    depths
}

/// Equal keys as equal numbers.
fn numbered<K: Ord>(keys: &[K]) -> Vec<usize> {
    let distinct: BTreeMap<&K, usize> =
        keys.iter().collect::<BTreeSet<_>>().into_iter().enumerate().map(|(at, key)| (key, at)).collect();
    keys.iter().filter_map(|key| distinct.get(key).copied()).collect()
}

/// For each node the first one of its class.
fn firsts(class: &[usize]) -> Parts {
    let mut first: BTreeMap<usize, NodeIx> = BTreeMap::new();
    class.iter().enumerate().map(|(node, class)| *first.entry(*class).or_insert(node)).collect()
}

/// Sources before targets, else as they were seen first. Groups may wait for each other in a circle once they are single nodes;
/// there the first of them comes first.
pub(super) fn sorted(seen: &[NodeIx], edges: &[GraphEdgeView]) -> Vec<NodeIx> {
    let mut rank: BTreeMap<NodeIx, usize> = BTreeMap::new();
    for &node in seen {
        let next = rank.len();
        rank.entry(node).or_insert(next);
    }
    let mut missing: BTreeMap<NodeIx, usize> = rank.keys().map(|node| (*node, 0)).collect();
    for edge in edges {
        *missing.entry(edge.to).or_default() += 1;
    }
    let ranked = |node: NodeIx| (rank.get(&node).copied().unwrap_or_default(), node);
    let mut open: BTreeSet<(usize, NodeIx)> = rank.keys().map(|node| ranked(*node)).collect();
    let free = missing.iter().filter(|(_, count)| **count == 0);
    let mut free: BTreeSet<(usize, NodeIx)> = free.map(|(node, _)| ranked(*node)).collect();
    let mut order = Vec::new();
    while let Some(next) = free.pop_first().or_else(|| open.first().copied()) {
        if !open.remove(&next) {
            continue;
        }
        order.push(next.1);
        for edge in edges.iter().filter(|edge| edge.from == next.1) {
            if let Some(count) = missing.get_mut(&edge.to) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    free.insert(ranked(edge.to));
                }
            }
        }
    }
    order
}

impl GraphView {
    /// One node for several of this graph, in the place of `first`.
    fn sum(&self, first: &GraphNodeView, members: &[NodeIx]) -> GraphNodeView {
        let nodes: Vec<&GraphNodeView> = members.iter().filter_map(|&node| self.node(node)).collect();
        let mut sum = GraphNodeView { detail: summary(&nodes), children: Vec::new(), ..first.clone() };
        // A group has its own name and phase; others are named by where they begin and end.
        if first.kind != NodeKind::Group
            && let (Some(begin), Some(end)) = (nodes.first(), nodes.last())
        {
            sum.id = format!("{} … {}", begin.id, end.id);
            sum.name = None;
            sum.phase = worst(&nodes);
        }
        sum
    }
}

/// The phase that a person has to know about first.
fn worst(nodes: &[&GraphNodeView]) -> Option<NodePhase> {
    let urgent = [
        NodePhase::Failed,
        NodePhase::Running,
        NodePhase::Blocked,
        NodePhase::Cancelled,
        NodePhase::Pending,
        NodePhase::Succeeded,
    ];
    let has = |phase: &NodePhase| nodes.iter().any(|node| node.phase == Some(*phase));
    urgent.into_iter().find(has).or_else(|| nodes.first().and_then(|node| node.phase))
}

/// How many nodes there are, and how they ended: `12 nodes: 11 ✓ 1 ✘`.
fn summary(nodes: &[&GraphNodeView]) -> String {
    let count = |phase| nodes.iter().filter(|node| node.phase == Some(phase)).count();
    let words = [(NodePhase::Succeeded, "✓"), (NodePhase::Failed, "✘"), (NodePhase::Running, "running")];
    let parts: Vec<String> = words
        .iter()
        .map(|(phase, sign)| (count(*phase), sign))
        .filter(|(count, _)| *count > 0)
        .map(|(count, sign)| format!("{count} {sign}"))
        .collect();
    let all = if nodes.len() == 1 { "1 node".to_owned() } else { format!("{} nodes", nodes.len()) };
    if parts.is_empty() { all } else { format!("{all}: {}", parts.join(" ")) }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::{GraphFormat, samples};
    use super::*;

    fn view(nodes: &[Value]) -> GraphView {
        let graph = serde_json::from_value(json!({ "nodes": nodes })).unwrap();
        GraphView::new("t", &graph, None, samples::now()).unwrap()
    }

    fn task(id: &str, after: &[String]) -> Value {
        json!({ "id": id, "kind": "Task", "dependsOn": after })
    }

    fn shown(view: &GraphView) -> Vec<String> {
        view.order
            .iter()
            .map(|&node| format!("{} ({})", view.nodes[node].id, view.nodes[node].detail))
            .collect()
    }

    #[test]
    fn a_large_plan_is_folded_by_its_groups_and_a_small_one_is_not() {
        assert!(folded(&samples::plain()).is_none());
        let mut nodes: Vec<Value> = (0..120).map(|ix| task(&format!("n{ix}"), &[])).collect();
        for (group, range) in [("first", 0..60), ("second", 60..120)] {
            let children: Vec<String> = range.map(|ix| format!("n{ix}")).collect();
            nodes.push(json!({ "id": group, "kind": "Group", "children": children }));
        }
        nodes[60]["dependsOn"] = json!(["n0"]);
        let folded = folded(&view(&nodes)).unwrap();
        assert_eq!(shown(&folded), ["first (60 nodes)", "second (60 nodes)"]);
        assert_eq!(folded.edges.len(), 1);
        assert_eq!((folded.edges[0].from, folded.edges[0].to), (0, 1));
        assert_eq!(folded.title, "t · 122 nodes drawn as 2");
    }

    #[test]
    fn nodes_that_are_alike_are_one_and_a_gate_stays_by_itself() {
        let mut nodes = vec![task("plan", &[])];
        for service in 0..40 {
            nodes.push(task(&format!("build-{service}"), &["plan".to_owned()]));
            nodes.push(task(&format!("test-{service}"), &[format!("build-{service}")]));
            nodes.push(task(&format!("deploy-{service}"), &["approve".to_owned()]));
        }
        let tests: Vec<String> = (0..40).map(|service| format!("test-{service}")).collect();
        nodes
            .push(json!({ "id": "approve", "kind": "Gate", "gateRef": { "name": "g" }, "dependsOn": tests }));
        let view = view(&nodes);
        let small = folded(&view).unwrap();
        let expected = [
            "plan ()",
            "build-0 … build-39 (40 nodes)",
            "test-0 … test-39 (40 nodes)",
            "approve ()",
            "deploy-0 … deploy-39 (40 nodes)",
        ];
        assert_eq!(shown(&small), expected);
        let text = anstream::adapter::strip_str(&view.render(GraphFormat::Text)).to_string();
        assert!(text.starts_with("t · 122 nodes drawn as 5\n"), "{text}");
        assert_eq!(text.lines().count(), 6, "{text}");
        assert_eq!(view.render(GraphFormat::Mermaid).matches("-->").count(), 4);
    }

    #[test]
    fn a_chain_is_cut_into_pieces_and_any_other_graph_is_drawn_by_its_depth() {
        let mut chain = vec![task("n0", &[])];
        chain.extend((1..150).map(|ix| task(&format!("n{ix}"), &[format!("n{}", ix - 1)])));
        let pieces = shown(&folded(&view(&chain)).unwrap());
        assert_eq!((pieces.len(), pieces[1].as_str()), (15, "n10 … n19 (10 nodes)"));
        // Each waits for the two before it: no two are alike, and none is a chain.
        let mut ladder = vec![task("n0", &[]), task("n1", &[])];
        ladder.extend(
            (2..400).map(|ix| task(&format!("n{ix}"), &[format!("n{}", ix - 1), format!("n{}", ix - 2)])),
        );
        let small = folded(&view(&ladder)).unwrap();
        assert!(
            small.nodes.len() <= MOST_DRAWN && small.nodes.len() > MOST_DRAWN / 2,
            "{}",
            small.nodes.len()
        );
        assert!(small.nodes.iter().all(|node| node.detail.ends_with("nodes")), "{:?}", shown(&small));
    }

    #[test]
    fn what_failed_gives_its_phase_to_all_that_it_is_folded_with() {
        let graph = json!({ "nodes": (0..120).map(|ix| task(&format!("n{ix}"), &[])).collect::<Vec<_>>() });
        let mut states: BTreeMap<String, Value> =
            (0..120).map(|ix| (format!("n{ix}"), json!({ "phase": "Succeeded" }))).collect();
        states.insert("n7".to_owned(), json!({ "phase": "Failed" }));
        let status = serde_json::from_value(json!({ "phase": "Failed", "nodeStatuses": states })).unwrap();
        let graph = serde_json::from_value(graph).unwrap();
        let view = GraphView::new("t", &graph, Some(&status), samples::now()).unwrap();
        let small = folded(&view).unwrap();
        assert_eq!(small.nodes[0].phase, Some(NodePhase::Failed));
        assert_eq!(shown(&small), ["n0 … n119 (120 nodes: 119 ✓ 1 ✘)"]);
    }
}
