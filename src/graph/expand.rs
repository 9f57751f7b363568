//! Nodes with `forEach` or `matrix`, and their instances: from the graph of a plan and the lists that are known, the graph
//! that is run.
//!
//! A repeated node stays in the graph and becomes a group over its instances `NODE-0`, `NODE-1`, …, so that edges out of it,
//! its phase and its place in pictures need nothing of their own. So does each node below a repeated Group: `CHILD` is a group
//! over `CHILD-0`, … While its list is not known, a repeated node is a task that nobody is asked to do; planning finds the list
//! and expands it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::Value;

use super::error::GraphError;
use crate::model::{Edge, EdgeType, InstanceJoin, MAX_INSTANCES, Node, NodeId, NodeKind, PlanGraph};

/// The items of a repeated node. Shared, since every copy of a status and of a graph has them.
pub(crate) type ItemList = Arc<Vec<Value>>;

/// A graph with the instances of its repeated nodes.
#[derive(Debug)]
pub(crate) struct ExpandedGraph {
    /// The nodes of the plan, at their places, and behind them the instances.
    pub graph: PlanGraph,
    /// Which is which.
    pub expansion: Expansion,
}

/// Which nodes of an expanded graph are instances, and of what.
#[derive(Debug, Default)]
pub(crate) struct Expansion {
    repeated: BTreeMap<NodeId, RepeatedNode>,
    /// The repeated nodes and all that is below them, by the id in the plan.
    members: HashMap<NodeId, MemberNode>,
    instances: HashMap<NodeId, NodeInstance>,
}

/// A node with `forEach` or `matrix`.
#[derive(Debug)]
pub(crate) struct RepeatedNode {
    /// Its items; none while they are not known.
    pub items: Option<ItemList>,
    /// Whether they are computed, and therefore in the record.
    pub is_computed: bool,
    /// The name by which expressions read the item.
    pub item_name: String,
    /// How many instances have to succeed.
    pub join: InstanceJoin,
    /// How many instances run at once.
    pub max_parallel: Option<u32>,
    /// The node and all that is below it.
    members: Vec<NodeId>,
}

/// A node of the plan that every instance has of its own.
#[derive(Debug)]
struct MemberNode {
    root: NodeId,
    outputs: Vec<String>,
    instances: Vec<NodeId>,
}

/// A node that is there once for an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodeInstance {
    /// The repeated node.
    pub root: NodeId,
    /// The node of the plan that this is an instance of: `root`, or one below it.
    pub member: NodeId,
    /// Which item it is for, from 0.
    pub index: usize,
}

impl Expansion {
    /// The repeated node of this id.
    #[must_use]
    pub(crate) fn repeated(&self, id: &NodeId) -> Option<&RepeatedNode> {
        self.repeated.get(id)
    }

    /// Every repeated node.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&NodeId, &RepeatedNode)> {
        self.repeated.iter()
    }

    /// The repeated node that a node of the plan is or belongs to.
    #[must_use]
    pub(crate) fn root_of(&self, id: &NodeId) -> Option<&NodeId> {
        self.members.get(id).map(|member| &member.root)
    }

    /// What a node is an instance of.
    #[must_use]
    pub(crate) fn instance(&self, id: &NodeId) -> Option<&NodeInstance> {
        self.instances.get(id)
    }

    /// The repeated node of an instance.
    #[must_use]
    pub(crate) fn repeated_of(&self, instance: &NodeInstance) -> Option<&RepeatedNode> {
        self.repeated.get(&instance.root)
    }

    /// The item that an instance is for.
    #[must_use]
    pub(crate) fn item(&self, instance: &NodeInstance) -> Option<&Value> {
        self.repeated_of(instance)?.items.as_deref()?.get(instance.index)
    }

    /// Whether a node is repeated and has no instances, because its list is empty or not known yet.
    #[must_use]
    pub(crate) fn awaits_list(&self, id: &NodeId) -> bool {
        self.repeated.get(id).is_some_and(|repeated| !repeated.is_expanded())
    }

    /// The instances of a node of the plan, in the order of the items; none for a node that has no part in this.
    #[must_use]
    pub(crate) fn instances_of(&self, id: &str) -> Option<&[NodeId]> {
        self.members.get(id).map(|member| member.instances.as_slice())
    }

    /// The outputs that a node of the plan declares and its instances give.
    #[must_use]
    pub(crate) fn outputs_of(&self, id: &str) -> &[String] {
        self.members.get(id).map(|member| member.outputs.as_slice()).unwrap_or_default()
    }

    /// Every node that is there because of the instances of a repeated node.
    pub(crate) fn nodes_of(&self, root: &NodeId) -> impl Iterator<Item = &NodeId> {
        let members = self.repeated.get(root).into_iter().flat_map(|repeated| &repeated.members);
        members.filter_map(|id| self.members.get(id)).flat_map(|member| &member.instances)
    }

    /// What an instance means by the id of a node of the plan: inside of a repeated Group the one of the same item.
    #[must_use]
    pub(crate) fn beside(&self, instance: &NodeInstance, id: &str) -> Option<&NodeId> {
        let member = self.members.get(id).filter(|member| member.root == instance.root)?;
        member.instances.get(instance.index)
    }

    /// Whether the graph was expanded with these lists.
    #[must_use]
    pub(crate) fn is_of(&self, list: impl Fn(&NodeId) -> Option<ItemList>) -> bool {
        self.repeated.iter().filter(|(_, repeated)| repeated.is_computed).all(|(id, repeated)| {
            match (&repeated.items, list(id)) {
                // Mostly the very same, since a status is copied with each draft and its lists are shared.
                (Some(old), Some(new)) => Arc::ptr_eq(old, &new) || *old == new,
                (None, None) => true,
                _ => false,
            }
        })
    }
}

impl RepeatedNode {
    fn is_expanded(&self) -> bool {
        self.items.as_ref().is_some_and(|items| !items.is_empty())
    }
}

/// The graph that is run; none where nothing is repeated. `list` gives the items of a node whose list is computed, once it
/// is known.
///
/// # Errors
/// An instance has no valid id.
pub(crate) fn expand(
    graph: &PlanGraph,
    list: impl Fn(&NodeId) -> Option<ItemList>,
) -> Result<Option<ExpandedGraph>, GraphError> {
    if !graph.nodes.iter().any(Node::is_repeated) {
        return Ok(None);
    }
    let by_id: HashMap<&NodeId, &Node> = graph.nodes.iter().map(|node| (&node.id, node)).collect();
    let mut expansion = Expansion::default();
    for node in graph.nodes.iter().filter(|node| node.is_repeated()) {
        let is_computed = node.computed_items().is_some();
        let items = if is_computed { list(&node.id) } else { node.written_items().map(Arc::new) };
        let members = below(node, &by_id);
        let repeated = RepeatedNode {
            items,
            is_computed,
            item_name: node.item_name().to_owned(),
            join: node.join(),
            max_parallel: node.max_parallel(),
            members: members.iter().map(|member| member.id.clone()).collect(),
        };
        expansion.add(&node.id, repeated, &members)?;
    }
    Ok(Some(Builder { by_id, expansion }.build(graph)))
}

/// A repeated node and all that is below it.
pub(crate) fn below<'g>(root: &'g Node, by_id: &HashMap<&NodeId, &'g Node>) -> Vec<&'g Node> {
    let mut found: Vec<&Node> = vec![root];
    let mut next = 0;
    while let Some(node) = found.get(next).copied() {
        next += 1;
        for child in node.children.iter().filter_map(|child| by_id.get(child)) {
            // A group may be named twice, and by mistake by itself.
            if !found.iter().any(|known| known.id == child.id) {
                found.push(child);
            }
        }
    }
    found
}

impl Expansion {
    fn add(&mut self, root: &NodeId, repeated: RepeatedNode, members: &[&Node]) -> Result<(), GraphError> {
        let count = repeated.items.as_ref().map_or(0, |items| items.len().min(MAX_INSTANCES));
        for node in members {
            let mut instances = Vec::with_capacity(count);
            for index in 0..count {
                let name = format!("{}-{index}", node.id);
                let id = NodeId::new(&name)
                    .map_err(|_| GraphError::InstanceName { id: node.id.clone(), name: name.clone() })?;
                let root = root.clone();
                let member = node.id.clone();
                self.instances.insert(id.clone(), NodeInstance { root, member, index });
                instances.push(id);
            }
            let outputs = node.outputs.clone();
            let member = MemberNode { root: root.clone(), outputs, instances };
            // Of two repeated nodes one around the other, which `validate` refuses, the first keeps its nodes.
            self.members.entry(node.id.clone()).or_insert(member);
        }
        self.repeated.insert(root.clone(), repeated);
        Ok(())
    }
}

struct Builder<'g> {
    by_id: HashMap<&'g NodeId, &'g Node>,
    expansion: Expansion,
}

impl Builder<'_> {
    fn build(self, graph: &PlanGraph) -> ExpandedGraph {
        let mut nodes: Vec<Node> = graph.nodes.iter().map(|node| self.standing(node)).collect();
        let mut edges = Vec::with_capacity(graph.edges.len());
        for (root, repeated) in &self.expansion.repeated {
            let count = repeated.items.as_ref().map_or(0, |items| items.len().min(MAX_INSTANCES));
            for index in 0..count {
                let members = repeated.members.iter().filter_map(|id| self.by_id.get(id));
                nodes.extend(members.filter_map(|node| self.instance(root, node, index)));
            }
        }
        for edge in &graph.edges {
            self.add_edge(edge, &mut edges);
        }
        ExpandedGraph { graph: PlanGraph { nodes, edges }, expansion: self.expansion }
    }

    fn is_in(&self, id: &NodeId, root: &NodeId) -> bool {
        self.expansion.root_of(id) == Some(root)
    }

    /// What stands at the place of a node of the plan.
    fn standing(&self, node: &Node) -> Node {
        let Some(member) = self.expansion.members.get(&node.id) else { return node.clone() };
        let root = &member.root;
        let mut standing = node.clone();
        standing.depends_on.retain(|source| *root == node.id && !self.is_in(source, root));
        standing.run = None;
        standing.mode = None;
        standing.timeout = None;
        standing.retries = 0;
        standing.inputs.clear();
        standing.capability_refs.clear();
        standing.acceptance_criteria.clear();
        standing.external_ref = None;
        if *root == node.id && member.instances.is_empty() {
            // With its condition and its list, which are evaluated when its sources have ended.
            standing.kind = NodeKind::Task;
            standing.children.clear();
            return standing;
        }
        standing.kind = NodeKind::Group;
        (standing.when, standing.for_each, standing.matrix) = (None, None, None);
        // What is below a node whose list is not known comes to whatever that node comes to.
        standing.children =
            if member.instances.is_empty() { vec![root.clone()] } else { member.instances.clone() };
        standing
    }

    /// The node that is there for an item.
    fn instance(&self, root: &NodeId, node: &Node, index: usize) -> Option<Node> {
        let own = |id: &NodeId| self.expansion.members.get(id)?.instances.get(index).cloned();
        let mut instance = node.clone();
        instance.id = own(&node.id)?;
        (instance.for_each, instance.matrix) = (None, None);
        instance.children = node.children.iter().filter_map(own).collect();
        // A group adds no edges, but what is repeated only begins once its list is known; a written list must not make a
        // difference to that.
        let of_root =
            self.by_id.get(root).filter(|above| above.id != node.id && node.kind != NodeKind::Group);
        let sources = node.depends_on.iter().chain(of_root.into_iter().flat_map(|root| &root.depends_on));
        instance.depends_on = sources
            .filter(|source| *source != root)
            .filter_map(|source| if self.is_in(source, root) { own(source) } else { Some(source.clone()) })
            .collect();
        Some(instance)
    }

    fn add_edge(&self, edge: &Edge, edges: &mut Vec<Edge>) {
        let Some(root) = self.expansion.root_of(&edge.to) else { return edges.push(edge.clone()) };
        let Some(repeated) = self.expansion.repeated.get(root) else { return };
        let mut add = |from: &NodeId, to: &NodeId, kind: EdgeType| {
            edges.push(Edge { from: from.clone(), to: to.clone(), kind });
        };
        if self.is_in(&edge.from, root) {
            // Within an item. An edge from or to the whole adds nothing: it waits for its instances anyway.
            if edge.from == *root || edge.to == *root {
                return;
            }
            let instances = |id: &NodeId| self.expansion.instances_of(id.as_str()).unwrap_or_default();
            for (from, to) in instances(&edge.from).iter().zip(instances(&edge.to)) {
                add(from, to, edge.kind);
            }
            return;
        }
        if edge.to == *root {
            add(&edge.from, root, edge.kind);
        }
        let is_target = |id: &&NodeId| {
            let leaf = self.by_id.get(*id).is_some_and(|node| node.kind != NodeKind::Group);
            **id == edge.to || (edge.to == *root && leaf)
        };
        for member in repeated.members.iter().filter(is_target) {
            for to in self.expansion.instances_of(member.as_str()).unwrap_or_default() {
                add(&edge.from, to, edge.kind);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::needless_pass_by_value, reason = "a literal value reads best without a borrow")]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::graph::Topology;

    fn graph(nodes: Value, edges: Value) -> PlanGraph {
        serde_json::from_value(json!({ "nodes": nodes, "edges": edges })).unwrap()
    }

    /// Each node as `id(kind) <- sources [children]`, in the order of the graph.
    fn shown(graph: &PlanGraph, lists: &[(&str, Value)]) -> Vec<String> {
        let list = |id: &NodeId| {
            let found = lists.iter().find(|(name, _)| *name == id.as_str());
            found.map(|(_, items)| Arc::new(items.as_array().unwrap().clone()))
        };
        let expanded = expand(graph, list).unwrap().unwrap();
        let topology = Topology::build(&expanded.graph).unwrap();
        let ids = |list: Vec<usize>| {
            let mut ids: Vec<&str> = list.iter().map(|ix| expanded.graph.nodes[*ix].id.as_str()).collect();
            ids.sort_unstable();
            ids.join(" ")
        };
        let line = |(ix, node): (usize, &Node)| {
            let sources = ids(topology.sources(ix).map(|(source, _)| source).collect());
            let children = ids(topology.children(ix).to_vec());
            let sources = if sources.is_empty() { sources } else { format!(" <- {sources}") };
            let children = if children.is_empty() { children } else { format!(" [{children}]") };
            format!("{}({:?}){sources}{children}", node.id, node.kind)
        };
        expanded.graph.nodes.iter().enumerate().map(line).collect()
    }

    #[test]
    fn a_repeated_task_becomes_a_group_over_its_instances() {
        let plan = graph(
            json!([
                { "id": "list", "kind": "Task" },
                { "id": "load", "kind": "Task", "dependsOn": ["list"], "forEach": { "items": ["a", "b"] } },
                { "id": "report", "kind": "Task", "dependsOn": ["load"] },
            ]),
            json!([]),
        );
        assert_eq!(
            shown(&plan, &[]),
            [
                "list(Task)",
                "load(Group) <- list [load-0 load-1]",
                "report(Task) <- load",
                "load-0(Task) <- list",
                "load-1(Task) <- list",
            ]
        );
    }

    #[test]
    fn a_list_that_is_not_known_leaves_a_task_in_its_place() {
        let plan = graph(
            json!([
                { "id": "list", "kind": "Task" },
                { "id": "load", "kind": "Task", "forEach": { "items": "${{ x }}", "maxItems": 5 } },
            ]),
            json!([{ "from": "list", "to": "load" }]),
        );
        assert_eq!(shown(&plan, &[]), ["list(Task)", "load(Task) <- list"]);
        assert_eq!(shown(&plan, &[("load", json!([]))]), ["list(Task)", "load(Task) <- list"]);
        assert_eq!(
            shown(&plan, &[("load", json!([1]))]),
            ["list(Task)", "load(Group) <- list [load-0]", "load-0(Task) <- list"]
        );
    }

    #[test]
    fn edges_inside_of_a_repeated_group_stay_within_an_item() {
        let nodes = |items: Value| {
            json!([
                { "id": "list", "kind": "Task" },
                { "id": "all", "kind": "Group", "children": ["inner", "last"],
                  "forEach": { "items": items, "maxItems": 3 } },
                { "id": "inner", "kind": "Group", "children": ["copy"] },
                { "id": "copy", "kind": "Task" },
                { "id": "last", "kind": "Gate", "gateRef": { "name": "g" }, "dependsOn": ["copy"] },
                { "id": "after", "kind": "Task", "dependsOn": ["copy"] },
            ])
        };
        let edges =
            json!([{ "from": "list", "to": "all" }, { "from": "copy", "to": "last", "type": "soft" }]);
        assert_eq!(
            shown(&graph(nodes(json!("${{ x }}")), edges.clone()), &[]),
            [
                "list(Task)",
                "all(Task) <- list",
                "inner(Group) [all]",
                "copy(Group) [all]",
                "last(Group) [all]",
                "after(Task) <- copy",
            ]
        );
        assert_eq!(
            shown(&graph(nodes(json!(["a", "b"])), edges), &[]),
            [
                "list(Task)",
                "all(Group) <- list [all-0 all-1]",
                "inner(Group) [inner-0 inner-1]",
                "copy(Group) [copy-0 copy-1]",
                "last(Group) [last-0 last-1]",
                "after(Task) <- copy",
                "all-0(Group) <- list [inner-0 last-0]",
                "inner-0(Group) [copy-0]",
                "last-0(Gate) <- copy-0 list",
                "copy-0(Task) <- list",
                "all-1(Group) <- list [inner-1 last-1]",
                "inner-1(Group) [copy-1]",
                "last-1(Gate) <- copy-1 list",
                "copy-1(Task) <- list",
            ]
        );
    }

    #[test]
    fn an_id_without_room_for_its_number_is_an_error() {
        let id = "n".repeat(62);
        let plan = graph(json!([{ "id": id, "kind": "Task", "forEach": { "items": [1] } }]), json!([]));
        assert!(matches!(expand(&plan, |_| None), Err(GraphError::InstanceName { .. })));
    }

    #[test]
    fn a_plan_without_repeated_nodes_is_left_alone() {
        assert!(
            expand(&graph(json!([{ "id": "a", "kind": "Task" }]), json!([])), |_| None).unwrap().is_none()
        );
    }
}
