//! `forEach` and `matrix`: a node that is run once for each item of a list, and how the instances count together.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::plan::declared_among;
use crate::model::{ExecutionStatus, JsonMap, Node, NodeId, NodeKind, NodePhase, PlanGraph};

/// The most instances of one node. A record holds every instance, and a host shows no file of more than a few megabytes.
pub const MAX_INSTANCES: usize = 10_000;

/// The name by which expressions read the item, unless `as` gives another one.
const ITEM: &str = "item";

/// The name by which expressions read the combination of a matrix.
const MATRIX: &str = "matrix";

/// The name by which expressions read the number of the instance, from 0.
pub const INDEX: &str = "index";

/// A node is run once for each item of a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ForEach {
    /// The items.
    pub items: ForEachItems,
    /// The name by which expressions read the item.
    #[serde(default, rename = "as", skip_serializing_if = "Option::is_none")]
    pub as_name: Option<String>,
    /// The most items that a computed list may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_items: Option<u32>,
    /// How many instances run at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_parallel: Option<u32>,
    /// How many instances have to succeed.
    #[serde(default, skip_serializing_if = "InstanceJoin::is_all")]
    pub join: InstanceJoin,
}

/// The items of `forEach`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ForEachItems {
    /// As they are written in the plan.
    Written(Vec<Value>),
    /// An expression that gives the list once the nodes before it have ended.
    Computed(String),
}

/// How many instances of a node have to succeed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InstanceJoin {
    /// All that are not skipped.
    #[default]
    All,
    /// One; instances that have not started by then are skipped.
    Any,
}

impl InstanceJoin {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
    fn is_all(&self) -> bool {
        *self == Self::All
    }
}

/// A node is run once for each combination of some lists.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Matrix {
    /// Values that are added to the combinations they agree with; one that agrees with none is a combination of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub include: Vec<JsonMap>,
    /// Combinations that are left out, given by some of their values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<JsonMap>,
    /// How many instances run at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_parallel: Option<u32>,
    /// How many instances have to succeed.
    #[serde(default, skip_serializing_if = "InstanceJoin::is_all")]
    pub join: InstanceJoin,
    // By name and not as written: the digest of a graph does not know the order of fields either, and equal digests must
    // mean equal instances (Invariant 9).
    /// The lists, by the name of their axis.
    #[serde(flatten)]
    pub axes: BTreeMap<String, Vec<Value>>,
}

impl Matrix {
    /// How many combinations the axes have, before `exclude` and `include`.
    #[must_use]
    pub fn size(&self) -> usize {
        self.axes
            .values()
            .fold(usize::from(!self.axes.is_empty()), |size, axis| size.saturating_mul(axis.len()))
    }

    /// The combinations, the last axis fastest; no more than a node may have instances.
    #[must_use]
    pub fn combinations(&self) -> Vec<JsonMap> {
        // What is larger is refused by `validate`; here it must only not take all memory.
        let size = self.size().min(MAX_INSTANCES);
        let mut all: Vec<JsonMap> = (0..size).map(|number| self.combination(number)).collect();
        all.retain(|one| !self.exclude.iter().any(|left_out| agrees(one, left_out)));
        let own = all.len();
        for more in &self.include {
            // Only with what the axes say: what another `include` added may be replaced, as CI services do it.
            let on_axes: JsonMap = more
                .iter()
                .filter(|(name, _)| self.axes.contains_key(*name))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect();
            let mut added = false;
            for one in all.iter_mut().take(own).filter(|one| agrees(one, &on_axes)) {
                one.extend(more.clone());
                added = true;
            }
            if !added {
                all.push(more.clone());
            }
        }
        all
    }

    fn combination(&self, number: usize) -> JsonMap {
        let mut rest = number;
        let mut reversed = Vec::with_capacity(self.axes.len());
        for (name, axis) in self.axes.iter().rev() {
            let value = axis.get(rest % axis.len().max(1)).cloned().unwrap_or(Value::Null);
            rest /= axis.len().max(1);
            reversed.push((name.clone(), value));
        }
        reversed.into_iter().rev().collect()
    }
}

/// Whether a combination has all these values.
fn agrees(one: &JsonMap, values: &JsonMap) -> bool {
    values.iter().all(|(name, value)| one.get(name) == Some(value))
}

impl Node {
    /// Whether it is run once for each item of a list.
    #[must_use]
    pub fn is_repeated(&self) -> bool {
        self.for_each.is_some() || self.matrix.is_some()
    }

    /// The items, where the plan has them; none where they are computed, or where there are none.
    #[must_use]
    pub fn written_items(&self) -> Option<Vec<Value>> {
        match (&self.for_each, &self.matrix) {
            (Some(ForEach { items: ForEachItems::Written(items), .. }), _) => Some(items.clone()),
            (None, Some(matrix)) => Some(matrix.combinations().into_iter().map(Value::Object).collect()),
            _ => None,
        }
    }

    /// The expression that gives the items.
    #[must_use]
    pub fn computed_items(&self) -> Option<&str> {
        match &self.for_each.as_ref()?.items {
            ForEachItems::Computed(text) => Some(text),
            ForEachItems::Written(_) => None,
        }
    }

    /// The most items that a computed list may have.
    #[must_use]
    pub fn max_items(&self) -> usize {
        let given = self.for_each.as_ref().and_then(|for_each| for_each.max_items);
        given.and_then(|most| usize::try_from(most).ok()).unwrap_or(MAX_INSTANCES).min(MAX_INSTANCES)
    }

    /// The name by which expressions of its instances read the item.
    #[must_use]
    pub fn item_name(&self) -> &str {
        match &self.for_each {
            Some(for_each) => for_each.as_name.as_deref().unwrap_or(ITEM),
            None => MATRIX,
        }
    }

    /// How many of its instances have to succeed.
    #[must_use]
    pub fn join(&self) -> InstanceJoin {
        let own = self.for_each.as_ref().map(|for_each| for_each.join);
        own.or_else(|| self.matrix.as_ref().map(|matrix| matrix.join)).unwrap_or_default()
    }

    /// How many of its instances run at once, where that is bounded.
    #[must_use]
    pub fn max_parallel(&self) -> Option<u32> {
        match &self.for_each {
            Some(for_each) => for_each.max_parallel,
            None => self.matrix.as_ref().and_then(|matrix| matrix.max_parallel),
        }
    }
}

impl PlanGraph {
    /// Whether a node has instances: it is repeated, or below a node that is.
    #[must_use]
    pub fn has_instances(&self, node: &Node) -> bool {
        let mut above = vec![node];
        let mut next = 0;
        while let Some(at) = above.get(next).copied() {
            next += 1;
            if at.is_repeated() {
                return true;
            }
            let parents = self.nodes.iter().filter(|parent| parent.children.contains(&at.id));
            above.extend(
                parents.filter(|parent| !above.iter().any(|known| known.id == parent.id)).collect::<Vec<_>>(),
            );
        }
        false
    }

    /// The ids of all nodes that have instances.
    fn with_instances<'n>(&'n self, by_id: &HashMap<&str, &'n Node>) -> HashSet<&'n str> {
        let mut open: Vec<&Node> = self.nodes.iter().filter(|node| node.is_repeated()).collect();
        let mut found = HashSet::new();
        while let Some(node) = open.pop() {
            if found.insert(node.id.as_str()) {
                open.extend(node.children.iter().filter_map(|child| by_id.get(child.as_str())));
            }
        }
        found
    }

    /// The item that an instance is for, as text; none for any other node.
    #[must_use]
    pub fn item_of(&self, id: &NodeId, status: &ExecutionStatus) -> Option<String> {
        let index: usize = id.as_str().rsplit_once('-')?.1.parse().ok()?;
        let mut root = self.declared(id).filter(|node| node.id != *id)?;
        // As often as there are nodes at most: what contains itself is no plan, and may have been recorded all the same.
        for _ in 0..self.nodes.len() {
            if root.is_repeated() {
                break;
            }
            root = self.nodes.iter().find(|parent| parent.children.contains(&root.id))?;
        }
        let recorded =
            status.node_statuses.get(&root.id).and_then(|node| node.extensions.instances.as_deref());
        let item = match recorded {
            Some(items) => items.get(index)?.clone(),
            None => root.written_items()?.get(index)?.clone(),
        };
        Some(item.as_str().map_or_else(|| item.to_string(), str::to_owned))
    }

    /// The nodes that are not counted, since they only sum up others: groups, and repeated nodes whose instances are there.
    #[must_use]
    pub fn summaries(&self, status: &ExecutionStatus) -> BTreeSet<NodeId> {
        // By id, and those below a repeated node once for all: a search through the plan for each node of a large one would take
        // the square of its size. The first of an id counts, as everywhere.
        let by_id: HashMap<&str, &Node> =
            self.nodes.iter().rev().map(|node| (node.id.as_str(), node)).collect();
        let repeated = self.with_instances(&by_id);
        let has_first = |id: &NodeId| status.node_statuses.contains_key(format!("{id}-0").as_str());
        let sums_up = |node: &&Node| {
            node.kind == NodeKind::Group || repeated.contains(node.id.as_str()) && has_first(&node.id)
        };
        let mut found: BTreeSet<NodeId> =
            self.nodes.iter().filter(sums_up).map(|node| node.id.clone()).collect();
        // The instances of a group in a repeated group are groups as well.
        let of_group = |id: &NodeId| {
            declared_among(id, |id| by_id.get(id).copied()).is_some_and(|node| node.kind == NodeKind::Group)
        };
        found.extend(status.node_statuses.keys().filter(|id| of_group(id)).cloned());
        found
    }

    /// How the instances of a node are doing, for pictures that fold them: `×12: 11 ✓ 1 ✘`; none for a node without any.
    #[must_use]
    pub fn instance_summary(&self, node: &Node, status: Option<&ExecutionStatus>) -> Option<String> {
        let statuses = status.map(|status| &status.node_statuses);
        // Numbered from 0 without a gap, so the first that is not there ends them.
        let instances: Vec<NodePhase> = (0..MAX_INSTANCES)
            .map_while(|index| Some(statuses?.get(format!("{}-{index}", node.id).as_str())?.phase))
            .collect();
        if instances.is_empty() {
            let bound = node.is_repeated().then(|| node.written_items().map(|items| items.len()))?;
            return Some(
                bound.map_or_else(|| format!("×≤{}", node.max_items()), |count| format!("×{count}")),
            );
        }
        // Asked last, as it searches the whole plan: of nearly all nodes it is known by now.
        if !self.has_instances(node) {
            return None;
        }
        let counts = MARKS.iter().filter_map(|(phase, mark)| {
            let count = instances.iter().filter(|other| *other == phase).count();
            (count > 0).then(|| format!("{count} {mark}"))
        });
        Some(format!("×{}: {}", instances.len(), counts.collect::<Vec<_>>().join(" ")))
    }
}

/// What stands for a phase behind a number, in the order in which they are named.
const MARKS: [(NodePhase, char); 7] = [
    (NodePhase::Succeeded, '✓'),
    (NodePhase::Failed, '✘'),
    (NodePhase::Running, '▶'),
    (NodePhase::Blocked, '⏸'),
    (NodePhase::Pending, '○'),
    (NodePhase::Cancelled, '⊗'),
    (NodePhase::Skipped, '–'),
];

#[cfg(test)]
#[allow(clippy::needless_pass_by_value, reason = "a literal value reads best without a borrow")]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::NodeStatus;

    #[track_caller]
    fn check(matrix: Value, expected: Value) {
        let matrix: Matrix = serde_json::from_value(matrix).unwrap();
        let all: Vec<Value> = matrix.combinations().into_iter().map(Value::Object).collect();
        assert_eq!(Value::from(all), expected);
    }

    #[test]
    fn a_matrix_is_the_product_of_its_axes() {
        check(
            json!({ "os": ["a", "b"], "version": [1, 2] }),
            json!([
                { "os": "a", "version": 1 }, { "os": "a", "version": 2 },
                { "os": "b", "version": 1 }, { "os": "b", "version": 2 },
            ]),
        );
        check(
            json!({ "version": [1, 2], "os": ["a"] }),
            json!([{ "os": "a", "version": 1 }, { "os": "a", "version": 2 }]),
        );
        check(json!({ "os": ["a"], "none": [] }), json!([]));
        check(json!({}), json!([]));
    }

    #[test]
    fn combinations_are_left_out_completed_and_added() {
        check(
            json!({ "os": ["a", "b"], "version": [1, 2],
                    "exclude": [{ "os": "b", "version": 2 }],
                    "include": [{ "os": "a", "fast": true }, { "os": "c", "version": 9 }] }),
            json!([
                { "os": "a", "version": 1, "fast": true }, { "os": "a", "version": 2, "fast": true },
                { "os": "b", "version": 1 }, { "os": "c", "version": 9 },
            ]),
        );
        check(
            json!({ "include": [{ "site": "x" }, { "site": "y" }] }),
            json!([{ "site": "x" }, { "site": "y" }]),
        );
    }

    #[test]
    fn only_groups_and_repeated_nodes_whose_instances_are_there_sum_up_others() {
        let graph: PlanGraph = serde_json::from_value(json!({ "nodes": [
            { "id": "each", "kind": "Group", "children": ["part", "inner"], "forEach": { "items": [1] } },
            { "id": "part", "kind": "Task" },
            { "id": "inner", "kind": "Group", "children": ["deep"] },
            { "id": "deep", "kind": "Task" },
            { "id": "later", "kind": "Task", "forEach": { "items": "${{ inputs.all }}" } },
            { "id": "plain", "kind": "Task" },
            // No instance, although it has the name of one.
            { "id": "plain-0", "kind": "Task" },
        ]}))
        .unwrap();
        let mut status = ExecutionStatus::default();
        let ids = "each each-0 part part-0 inner inner-0 deep deep-0 later plain plain-0";
        for id in ids.split(' ') {
            status.node_statuses.insert(NodeId::new(id).unwrap(), NodeStatus::default());
        }
        let found = graph.summaries(&status);
        let found: Vec<&str> = found.iter().map(NodeId::as_str).collect();
        assert_eq!(found, ["deep", "each", "each-0", "inner", "inner-0", "part"]);
        let folded = |id: &str| {
            let node = graph.nodes.iter().find(|node| node.id.as_str() == id).unwrap();
            graph.instance_summary(node, Some(&status))
        };
        assert_eq!(folded("deep").as_deref(), Some("×1: 1 ○"));
        assert_eq!(folded("later").as_deref(), Some("×≤10000"));
        assert_eq!(folded("plain"), None);
    }

    #[test]
    fn a_huge_matrix_takes_no_memory() {
        let axis: Vec<u32> = (0..1_000).collect();
        let matrix: Matrix = serde_json::from_value(json!({ "a": axis, "b": axis, "c": axis })).unwrap();
        assert_eq!((matrix.size(), matrix.combinations().len()), (1_000_000_000, MAX_INSTANCES));
    }
}
