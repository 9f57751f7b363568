//! The graph of a plan: nodes and edges resolved to indexes, cycles with their path, ranks.
//! Knows nothing of phases; `run` folds those over a [`Topology`].

mod error;
mod expand;
mod walk;

use std::collections::HashMap;
use std::sync::Arc;

use petgraph::Direction;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef as _;

pub(crate) use self::error::GraphError;
pub(crate) use self::expand::{Expansion, ItemList, NodeInstance, below, expand};
pub(crate) use self::walk::cycles;
use crate::model::{EdgeType, Node, NodeId, NodeKind, PlanGraph};

/// The index of a node within its plan: its position in `graph.nodes`.
pub(crate) type NodeIx = usize;

/// A checked graph.
#[derive(Debug, Clone)]
pub(crate) struct Topology {
    graph: DiGraph<NodeId, EdgeType, u32>,
    index: HashMap<NodeId, NodeIx>,
    order: Vec<NodeIx>,
    groups: Vec<NodeIx>,
    rank: Vec<u32>,
    children: Vec<Vec<NodeIx>>,
}

impl Topology {
    /// Builds and checks the graph: ids, edges, `dependsOn`, `children`, cycles.
    /// A group waits for its children, so the way from a child to its group counts when cycles are sought.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub(crate) fn build(plan: &PlanGraph) -> Result<Self, Vec<GraphError>> {
        let mut errors = Vec::new();
        let index = index_nodes(&plan.nodes, &mut errors);
        let mut graph = DiGraph::with_capacity(plan.nodes.len(), plan.edges.len());
        for node in &plan.nodes {
            // Duplicates too: the index of a node is its position in `graph.nodes`.
            graph.add_node(node.id.clone());
        }
        let mut builder = TopologyBuilder { graph, index, errors };
        builder.add_edges(plan);
        let children = builder.add_children(plan);
        let TopologyBuilder { graph, index, mut errors } = builder;
        // Where edges are missing, the path of a cycle could not be trusted.
        if !errors.is_empty() {
            return Err(errors);
        }
        // A group waits for its children, but adds no edges (contract), so that only the copy has these.
        let mut waits = graph.clone();
        for (group, members) in children.iter().enumerate() {
            for &member in members {
                waits.add_edge(NodeIndex::new(member), NodeIndex::new(group), EdgeType::Hard);
            }
        }
        match petgraph::algo::toposort(&waits, None) {
            Ok(order) => {
                let order: Vec<NodeIx> = order.into_iter().map(NodeIndex::index).collect();
                let rank = ranks(&waits, &order);
                let is_group =
                    |ix: &&NodeIx| plan.nodes.get(**ix).is_some_and(|node| node.kind == NodeKind::Group);
                let groups = order.iter().filter(is_group).copied().collect();
                Ok(Self { graph, index, order, groups, rank, children })
            }
            Err(cycle) => {
                // The sort stops at the first cycle; the next one shows once this is gone.
                errors.push(GraphError::Cycle { path: cycle_path(&waits, cycle.node_id()) });
                Err(errors)
            }
        }
    }

    /// The number of nodes.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.graph.node_count()
    }

    /// The index of a node.
    #[must_use]
    pub(crate) fn find(&self, id: &str) -> Option<NodeIx> {
        self.index.get(id).copied()
    }

    /// The nodes that `node` waits for, each once, with what it waits for.
    pub(crate) fn sources(&self, node: NodeIx) -> impl Iterator<Item = (NodeIx, EdgeType)> + '_ {
        self.graph
            .edges_directed(NodeIndex::new(node), Direction::Incoming)
            .map(|edge| (edge.source().index(), *edge.weight()))
    }

    /// The nodes that wait for `node`.
    pub(crate) fn targets(&self, node: NodeIx) -> impl Iterator<Item = (NodeIx, EdgeType)> + '_ {
        self.graph
            .edges_directed(NodeIndex::new(node), Direction::Outgoing)
            .map(|edge| (edge.target().index(), *edge.weight()))
    }

    /// The members of a group; empty for every other node.
    #[must_use]
    pub(crate) fn children(&self, node: NodeIx) -> &[NodeIx] {
        self.children.get(node).map_or(&[], Vec::as_slice)
    }

    /// All nodes, each after everything that it waits for (for a group: after its children).
    #[must_use]
    pub(crate) fn order(&self) -> &[NodeIx] {
        &self.order
    }

    /// The groups, each after those in it.
    #[must_use]
    pub(crate) fn groups(&self) -> &[NodeIx] {
        &self.groups
    }

    /// The number of nodes on the longest way that starts at `node`: what is scheduled first.
    #[must_use]
    pub(crate) fn rank(&self, node: NodeIx) -> u32 {
        self.rank.get(node).copied().unwrap_or(0)
    }

    /// Everything from which a way leads to `node`, without `node` itself. Groups count as sources of
    /// what follows them, and bring their children along.
    #[must_use]
    pub(crate) fn upstream(&self, node: NodeIx) -> Vec<bool> {
        self.reach(node, |at| {
            let sources = self.sources(at).map(|(source, _)| source);
            // What a group ends with is upstream of all that follows the group.
            sources.chain(self.children(at).iter().copied()).collect()
        })
    }

    /// Everything to which a way leads from `node`, without `node` itself; groups that hold it included.
    #[must_use]
    pub(crate) fn downstream(&self, node: NodeIx) -> Vec<bool> {
        let holders = self.holders();
        self.reach(node, |at| {
            let targets = self.targets(at).map(|(target, _)| target);
            targets.chain(holders.get(at).into_iter().flatten().copied()).collect()
        })
    }

    /// For every node, the groups that hold it.
    #[must_use]
    pub(crate) fn holders(&self) -> Vec<Vec<NodeIx>> {
        let mut holders: Vec<Vec<NodeIx>> = vec![Vec::new(); self.len()];
        for (group, members) in self.children.iter().enumerate() {
            for &member in members {
                if let Some(list) = holders.get_mut(member) {
                    list.push(group);
                }
            }
        }
        holders
    }

    /// For every node, the nodes that `is` accepts on the ways to it, as far as no other one lies between; in their order.
    #[must_use]
    pub(crate) fn nearest_before(&self, is: impl Fn(NodeIx) -> bool) -> Vec<Arc<[NodeIx]>> {
        let mut found: Vec<Arc<[NodeIx]>> = (0..self.len()).map(|_| Arc::from([])).collect();
        for &at in &self.order {
            let mut nearest: Arc<[NodeIx]> = Arc::new([]);
            let before = self.sources(at).map(|(source, _)| source).chain(self.children(at).iter().copied());
            for source in before {
                let more = match found.get(source) {
                    _ if is(source) => Arc::new([source]),
                    Some(more) => Arc::clone(more),
                    None => continue,
                };
                // Shared where it is the same: a copy for each node would take the number of gates times that of nodes.
                if nearest.is_empty() {
                    nearest = more;
                } else if more.iter().any(|ix| !nearest.contains(ix)) {
                    let mut all: Vec<NodeIx> = nearest.iter().chain(more.iter()).copied().collect();
                    all.sort_unstable();
                    all.dedup();
                    nearest = all.into();
                }
            }
            if let Some(slot) = found.get_mut(at) {
                *slot = nearest;
            }
        }
        found
    }

    fn reach(&self, start: NodeIx, next: impl Fn(NodeIx) -> Vec<NodeIx>) -> Vec<bool> {
        let mut seen = vec![false; self.len()];
        // A stack of our own: a plan may be a chain of any length.
        let mut stack = next(start);
        while let Some(at) = stack.pop() {
            if let Some(flag) = seen.get_mut(at)
                && !*flag
            {
                *flag = true;
                stack.extend(next(at));
            }
        }
        seen
    }
}

fn index_nodes(nodes: &[Node], errors: &mut Vec<GraphError>) -> HashMap<NodeId, NodeIx> {
    let mut index = HashMap::with_capacity(nodes.len());
    for (node, entry) in nodes.iter().enumerate() {
        // The first node keeps the id, so that edges still resolve, and further errors are real ones.
        if let Some(&first) = index.get(&entry.id) {
            errors.push(GraphError::DuplicateNode { id: entry.id.clone(), node, first });
        } else {
            index.insert(entry.id.clone(), node);
        }
    }
    index
}

struct TopologyBuilder {
    graph: DiGraph<NodeId, EdgeType, u32>,
    index: HashMap<NodeId, NodeIx>,
    errors: Vec<GraphError>,
}

impl TopologyBuilder {
    fn lookup(&mut self, id: &NodeId, pointer: impl Fn() -> String) -> Option<NodeIx> {
        let found = self.index.get(id).copied();
        if found.is_none() {
            self.errors.push(GraphError::UnknownNode { id: id.clone(), pointer: pointer() });
        }
        found
    }

    fn add_edges(&mut self, plan: &PlanGraph) {
        let mut strongest: HashMap<(NodeIx, NodeIx), EdgeType> = HashMap::new();
        let mut misplaced = Vec::new();
        // A hash table has no order, and the same plan has to give the same schedule (Invariant 5).
        let mut order = Vec::new();
        let mut note = |from, to, kind| match strongest.entry((from, to)) {
            std::collections::hash_map::Entry::Vacant(slot) => {
                slot.insert(kind);
                order.push((from, to));
            }
            // Equal edges count once; where a soft and a hard edge meet, the hard one says more.
            std::collections::hash_map::Entry::Occupied(mut slot) => {
                if kind == EdgeType::Hard {
                    slot.insert(kind);
                }
            }
        };
        for (i, edge) in plan.edges.iter().enumerate() {
            let from = self.lookup(&edge.from, || format!("/edges/{i}/from"));
            // Both ends before anything is decided, so that both errors are found in one run.
            let to = self.lookup(&edge.to, || format!("/edges/{i}/to"));
            if edge.from == edge.to {
                let pointer = format!("/edges/{i}");
                self.errors.push(GraphError::SelfLoop { id: edge.from.clone(), pointer });
            } else if let (Some(from), Some(to)) = (from, to) {
                misplaced.extend(before_finally(plan, from, to, format!("/edges/{i}")));
                note(from, to, edge.kind);
            }
        }
        for (i, node) in plan.nodes.iter().enumerate() {
            for (j, source) in node.depends_on.iter().enumerate() {
                let pointer = || format!("/nodes/{i}/dependsOn/{j}");
                let from = self.lookup(source, pointer);
                if *source == node.id {
                    let id = node.id.clone();
                    self.errors.push(GraphError::SelfLoop { id, pointer: pointer() });
                } else if let Some(from) = from {
                    misplaced.extend(before_finally(plan, from, i, pointer()));
                    note(from, i, EdgeType::Hard);
                }
            }
        }
        // An edge from each of the others, and not from the last ones alone: a node that is skipped ends while what is
        // upstream of it still runs.
        // Groups are left out, since their phase is that of children which count themselves.
        let others = || {
            plan.nodes.iter().enumerate().filter(|(_, node)| !node.finally && node.kind != NodeKind::Group)
        };
        for (last, _) in plan.nodes.iter().enumerate().filter(|(_, node)| node.finally) {
            others().for_each(|(other, _)| note(other, last, EdgeType::Soft));
        }
        self.errors.extend(misplaced);
        for (from, to) in order {
            let kind = strongest.get(&(from, to)).copied().unwrap_or_default();
            self.graph.add_edge(NodeIndex::new(from), NodeIndex::new(to), kind);
        }
    }

    fn add_children(&mut self, plan: &PlanGraph) -> Vec<Vec<NodeIx>> {
        let mut all = vec![Vec::new(); plan.nodes.len()];
        for (i, node) in plan.nodes.iter().enumerate() {
            // `children` of any other kind is an error of the schema already.
            if node.kind != NodeKind::Group {
                continue;
            }
            for (j, child) in node.children.iter().enumerate() {
                let pointer = || format!("/nodes/{i}/children/{j}");
                if *child == node.id {
                    let id = node.id.clone();
                    self.errors.push(GraphError::SelfLoop { id, pointer: pointer() });
                } else if let Some(member) = self.lookup(child, pointer) {
                    // The group would end after what runs after the group.
                    if plan.nodes.get(member).is_some_and(|node| node.finally) {
                        self.errors
                            .push(GraphError::FinallyInGroup { id: child.clone(), pointer: pointer() });
                    }
                    if let Some(list) = all.get_mut(i) {
                        list.push(member);
                    }
                }
            }
        }
        all
    }
}

/// The error of an edge from a node that runs after everything else to one that does not.
fn before_finally(plan: &PlanGraph, from: NodeIx, to: NodeIx, pointer: String) -> Option<GraphError> {
    let source = plan.nodes.get(from).filter(|node| node.finally)?;
    let target = plan.nodes.get(to).filter(|node| !node.finally)?;
    Some(GraphError::BeforeFinally { id: target.id.clone(), source_id: source.id.clone(), pointer })
}

fn ranks(waits: &DiGraph<NodeId, EdgeType, u32>, order: &[NodeIx]) -> Vec<u32> {
    let mut rank = vec![1u32; order.len()];
    // Backwards, because a rank needs those of all targets.
    for &node in order.iter().rev() {
        let longest = waits
            .neighbors_directed(NodeIndex::new(node), Direction::Outgoing)
            .filter_map(|target| rank.get(target.index()).copied())
            .max()
            .unwrap_or(0);
        if let Some(own) = rank.get_mut(node) {
            *own = longest.saturating_add(1);
        }
    }
    rank
}

/// A shortest cycle through a node that `toposort` found on one: breadth first back to itself.
fn cycle_path(waits: &DiGraph<NodeId, EdgeType, u32>, start: NodeIndex<u32>) -> Vec<NodeId> {
    // The sort names one node of a cycle and not its path. Breadth first finds a shortest one, which is the
    // easiest to fix.
    let mut previous: HashMap<NodeIndex<u32>, NodeIndex<u32>> = HashMap::new();
    let mut queue = std::collections::VecDeque::from([start]);
    while let Some(at) = queue.pop_front() {
        for next in waits.neighbors(at) {
            if next == start {
                let mut path = vec![start, at];
                let mut step = at;
                while let Some(&before) = previous.get(&step) {
                    path.push(before);
                    step = before;
                }
                if step != start {
                    path.push(start);
                }
                path.reverse();
                path.dedup();
                if path.len() == 1 {
                    path.push(start);
                }
                return path.into_iter().map(|node| waits[node].clone()).collect();
            }
            if next != start && !previous.contains_key(&next) {
                previous.insert(next, at);
                queue.push_back(next);
            }
        }
    }
    vec![waits[start].clone()]
}

#[cfg(test)]
#[allow(clippy::needless_pass_by_value, reason = "a literal value reads best without a borrow")]
mod tests {
    use super::*;
    use serde_json::json;

    fn graph(nodes: serde_json::Value, edges: serde_json::Value) -> PlanGraph {
        serde_json::from_value(json!({ "nodes": nodes, "edges": edges })).unwrap()
    }

    fn task(id: &str) -> serde_json::Value {
        json!({ "id": id, "kind": "Task" })
    }

    fn check_error(plan: &PlanGraph, expected: &str) {
        let errors = Topology::build(plan).unwrap_err();
        let text: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(text.join("; "), expected);
    }

    #[test]
    fn a_cycle_is_reported_with_its_path() {
        let nodes = json!([task("a"), task("b"), task("c"), task("d")]);
        let edges = json!([
            {"from": "a", "to": "b"}, {"from": "b", "to": "c"}, {"from": "c", "to": "d"},
            {"from": "d", "to": "b"},
        ]);
        let errors = Topology::build(&graph(nodes, edges)).unwrap_err();
        let [GraphError::Cycle { path }] = errors.as_slice() else { panic!("{errors:?}") };
        assert_eq!(path.len(), 4);
        assert_eq!(path.first(), path.last());
        assert!(!path.iter().any(|id| id.as_str() == "a"));
    }

    #[test]
    fn an_edge_from_a_group_to_its_own_child_is_a_cycle() {
        let nodes = json!([task("a"), {"id": "g", "kind": "Group", "children": ["a"]}]);
        check_error(&graph(nodes, json!([{"from": "g", "to": "a"}])), "cycle: g → a → g");
    }

    #[test]
    fn everything_wrong_is_reported_at_once() {
        let nodes = json!([task("a"), task("a"), {"id": "b", "kind": "Task", "dependsOn": ["x", "b"]}]);
        check_error(
            &graph(nodes, json!([{"from": "a", "to": "y"}])),
            "node id `a` is used twice; there is no node `y`; there is no node `x`; node `b` depends on itself",
        );
    }

    #[test]
    fn the_rank_is_the_longest_way_onward() {
        let nodes = json!([task("a"), task("b"), task("c")]);
        let edges = json!([{"from": "a", "to": "b"}, {"from": "b", "to": "c"}, {"from": "a", "to": "c", "type": "soft"}]);
        let topology = Topology::build(&graph(nodes, edges)).unwrap();
        assert_eq!([0, 1, 2].map(|node| topology.rank(node)), [3, 2, 1]);
        assert_eq!(topology.upstream(2), [true, true, false]);
        assert_eq!(topology.downstream(0), [false, true, true]);
    }
}
