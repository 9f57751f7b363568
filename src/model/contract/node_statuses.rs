//! The nodes of an Execution, by id: a sorted map whose copies share everything that neither of them changed. A status is
//! copied for each draft, each record and each commit, and a plan may have 100,000 nodes.

use std::borrow::Borrow;
use std::fmt;
use std::sync::{Arc, OnceLock};

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::node_trait::NodeTraits;
use super::{NodePhase, NodeStatus, NodeTrait};
use crate::model::NodeId;

/// How many nodes share a chunk, at most. A change copies one chunk of pointers, and a copy of the map all pointers to
/// chunks: for 10,000 nodes both are about a hundred.
const CHUNK: usize = 128;

type Entry = (NodeId, Arc<NodeStatus>);

/// The nodes of an Execution, by id.
// Not a map from a crate of persistent maps: the ids are fixed once the plan is pinned, so nearly all that happens are copies,
// look-ups and changes in place, and for those two levels of sorted arrays need a page of code.
#[derive(Clone, Default)]
pub struct NodeStatuses {
    chunks: Arc<Vec<Arc<Chunk>>>,
    len: usize,
}

/// Some of the nodes, by id.
#[derive(Clone, Default)]
struct Chunk {
    entries: Vec<Entry>,
    /// What is true of at least one of them; unknown until somebody asks.
    traits: OnceLock<NodeTraits>,
}

impl Chunk {
    /// The nodes, to change them.
    fn change(&mut self) -> &mut Vec<Entry> {
        self.traits = OnceLock::new();
        &mut self.entries
    }

    fn has(&self, wanted: NodeTrait) -> bool {
        let all = || {
            let mut traits = NodeTraits::default();
            self.entries.iter().for_each(|(_, node)| traits.add(node));
            traits
        };
        self.traits.get_or_init(all).contains(wanted)
    }
}

impl NodeStatus {
    /// Whether its phase only sums up those of other nodes, as that of a group or of a repeated node does: whatever fails by
    /// itself has a reason.
    #[must_use]
    pub fn is_summary(&self) -> bool {
        self.extensions.reason.is_none() && self.attempt == 0
    }

    /// Whether it failed itself, and does not only sum up others that did.
    #[must_use]
    pub fn has_failed_itself(&self) -> bool {
        self.phase == NodePhase::Failed && !self.is_summary()
    }
}

impl NodeStatuses {
    /// No nodes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// One node.
    pub fn get<Q: Ord + ?Sized>(&self, id: &Q) -> Option<&NodeStatus>
    where
        NodeId: Borrow<Q>,
    {
        let chunk = &self.chunks.get(self.chunk_of(id)?)?.entries;
        let place = chunk.binary_search_by(|entry| entry.0.borrow().cmp(id)).ok()?;
        chunk.get(place).map(|entry| &*entry.1)
    }

    /// Whether there is a node of this id.
    pub fn contains_key<Q: Ord + ?Sized>(&self, id: &Q) -> bool
    where
        NodeId: Borrow<Q>,
    {
        self.get(id).is_some()
    }

    /// One node, to change it. Where a copy of the map has it too, it is copied first.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, id: &Q) -> Option<&mut NodeStatus>
    where
        NodeId: Borrow<Q>,
    {
        let index = self.chunk_of(id)?;
        // Looked up before anything is made this map's own: asking for a node that is not there copies nothing.
        let entries = &self.chunks.get(index)?.entries;
        let place = entries.binary_search_by(|entry| entry.0.borrow().cmp(id)).ok()?;
        let chunk = Arc::make_mut(Arc::make_mut(&mut self.chunks).get_mut(index)?).change();
        chunk.get_mut(place).map(|entry| Arc::make_mut(&mut entry.1))
    }

    /// Sets a node; gives the one that was there.
    pub fn insert(&mut self, id: NodeId, node: NodeStatus) -> Option<NodeStatus> {
        self.share(id, Arc::new(node)).map(Arc::unwrap_or_clone)
    }

    /// Sets a node to a status that others may have too.
    pub(crate) fn share(&mut self, id: NodeId, node: Arc<NodeStatus>) -> Option<Arc<NodeStatus>> {
        let index = self.chunk_of(&id).unwrap_or_default();
        let chunks = Arc::make_mut(&mut self.chunks);
        if chunks.is_empty() {
            chunks.push(Arc::default());
        }
        let chunk = Arc::make_mut(chunks.get_mut(index)?).change();
        match chunk.binary_search_by(|entry| entry.0.cmp(&id)) {
            Ok(place) => chunk.get_mut(place).map(|entry| std::mem::replace(&mut entry.1, node)),
            Err(place) => {
                chunk.insert(place, (id, node));
                if chunk.len() > CHUNK {
                    let second = chunk.split_off(chunk.len() / 2);
                    chunks.insert(index + 1, Arc::new(Chunk { entries: second, ..Chunk::default() }));
                }
                self.len += 1;
                None
            }
        }
    }

    /// Takes a node out: an instance of a node whose list is computed again.
    pub fn remove(&mut self, id: &NodeId) -> Option<NodeStatus> {
        let index = self.chunk_of(id)?;
        let place = self.chunks.get(index)?.entries.binary_search_by(|entry| entry.0.cmp(id)).ok()?;
        let chunks = Arc::make_mut(&mut self.chunks);
        let chunk = Arc::make_mut(chunks.get_mut(index)?).change();
        let (_, node) = chunk.remove(place);
        // A chunk without a first id would be found by no search.
        if chunk.is_empty() {
            chunks.remove(index);
        }
        self.len -= 1;
        Some(Arc::unwrap_or_clone(node))
    }

    /// All of them, by id.
    pub fn iter(&self) -> Iter<'_> {
        Box::new(self.entries().map(|entry| (&entry.0, &*entry.1)))
    }

    /// The ids, in their order.
    pub fn keys(&self) -> impl Iterator<Item = &NodeId> {
        self.entries().map(|entry| &entry.0)
    }

    /// The nodes, in the order of their ids.
    pub fn values(&self) -> impl Iterator<Item = &NodeStatus> {
        self.entries().map(|entry| &*entry.1)
    }

    /// The nodes, to change them.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut NodeStatus> {
        let chunks = Arc::make_mut(&mut self.chunks).iter_mut();
        let entries = chunks.flat_map(|chunk| Arc::make_mut(chunk).change());
        entries.map(|entry| Arc::make_mut(&mut entry.1))
    }

    /// Those of which this is true, by id. Asked after each change, as the phase of the whole is, it looks at few nodes of
    /// a large plan: those near a change, and those that it finds.
    pub(crate) fn having(&self, wanted: NodeTrait) -> impl Iterator<Item = (&NodeId, &NodeStatus)> {
        let entries =
            self.chunks.iter().filter(move |chunk| chunk.has(wanted)).flat_map(|chunk| &chunk.entries);
        entries.map(|entry| (&entry.0, &*entry.1)).filter(move |(_, node)| wanted.is_of(node))
    }

    /// Whether this is true of one of them.
    pub(crate) fn has(&self, wanted: NodeTrait) -> bool {
        self.chunks.iter().any(|chunk| chunk.has(wanted))
    }

    /// Whether these are the same nodes, in whatever state.
    // By pointer as far as possible, as below.
    pub(crate) fn has_ids_of(&self, other: &Self) -> bool {
        let same_chunk = |(mine, theirs): (&Arc<Chunk>, &Arc<Chunk>)| {
            let ids = |chunk: &Chunk| chunk.entries.len();
            Arc::ptr_eq(mine, theirs)
                || (ids(mine) == ids(theirs)
                    && mine.entries.iter().zip(&theirs.entries).all(|(mine, theirs)| mine.0 == theirs.0))
        };
        let chunks = self.chunks.len() == other.chunks.len();
        // Where the chunks were cut elsewhere it says no, although the ids may be the same: whoever asks then looks closer.
        chunks && self.chunks.iter().zip(other.chunks.iter()).all(same_chunk)
    }

    /// The nodes that are not the same in `before`: new, or changed since one was copied from the other. None where the ids
    /// differ, so that there is nothing to compare.
    // By pointer as far as possible: what neither copy touched is skipped by the chunk.
    #[must_use]
    pub fn changed_since(&self, before: &Self) -> Option<Vec<(&NodeId, &NodeStatus)>> {
        if self.len != before.len || self.chunks.len() != before.chunks.len() {
            return None;
        }
        let mut changed = Vec::new();
        for (new, old) in self.chunks.iter().zip(before.chunks.iter()) {
            if Arc::ptr_eq(new, old) {
                continue;
            }
            if new.entries.len() != old.entries.len() {
                return None;
            }
            for (new, old) in new.entries.iter().zip(&old.entries) {
                if new.0 != old.0 {
                    return None;
                }
                if !same(&new.1, &old.1) {
                    changed.push((&new.0, &*new.1));
                }
            }
        }
        Some(changed)
    }

    /// The nodes with the pointers that copies share.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.chunks.iter().flat_map(|chunk| &chunk.entries)
    }

    /// The chunk that a node is in, or would be in; nothing when there is none.
    fn chunk_of<Q: Ord + ?Sized>(&self, id: &Q) -> Option<usize>
    where
        NodeId: Borrow<Q>,
    {
        let starts_after =
            |chunk: &Arc<Chunk>| chunk.entries.first().is_none_or(|entry| entry.0.borrow() <= id);
        let after = self.chunks.partition_point(starts_after);
        // What comes before every chunk belongs to the first.
        (!self.chunks.is_empty()).then(|| after.saturating_sub(1))
    }
}

/// Whether two nodes are equal; at once when one is a copy of the other.
pub(crate) fn same(a: &Arc<NodeStatus>, b: &Arc<NodeStatus>) -> bool {
    Arc::ptr_eq(a, b) || a == b
}

/// The nodes of an Execution, one after the other.
// Boxed, so that `IntoIterator` can name it; walks over all nodes are not where the time goes.
type Iter<'a> = Box<dyn Iterator<Item = (&'a NodeId, &'a NodeStatus)> + 'a>;

impl<'a> IntoIterator for &'a NodeStatuses {
    type Item = (&'a NodeId, &'a NodeStatus);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl IntoIterator for NodeStatuses {
    type Item = (NodeId, NodeStatus);
    type IntoIter = std::vec::IntoIter<(NodeId, NodeStatus)>;

    fn into_iter(self) -> Self::IntoIter {
        let owned: Vec<_> = self.iter().map(|(id, node)| (id.clone(), node.clone())).collect();
        owned.into_iter()
    }
}

impl Extend<(NodeId, NodeStatus)> for NodeStatuses {
    fn extend<T: IntoIterator<Item = (NodeId, NodeStatus)>>(&mut self, nodes: T) {
        for (id, node) in nodes {
            self.insert(id, node);
        }
    }
}

impl FromIterator<(NodeId, NodeStatus)> for NodeStatuses {
    fn from_iter<T: IntoIterator<Item = (NodeId, NodeStatus)>>(nodes: T) -> Self {
        let mut all = Self::default();
        all.extend(nodes);
        all
    }
}

impl<const N: usize> From<[(NodeId, NodeStatus); N]> for NodeStatuses {
    fn from(nodes: [(NodeId, NodeStatus); N]) -> Self {
        nodes.into_iter().collect()
    }
}

impl PartialEq for NodeStatuses {
    fn eq(&self, other: &Self) -> bool {
        // By content: two maps with the same nodes may have been cut into chunks at different places.
        Arc::ptr_eq(&self.chunks, &other.chunks)
            || (self.len == other.len
                && self.entries().zip(other.entries()).all(|(a, b)| a.0 == b.0 && same(&a.1, &b.1)))
    }
}

impl fmt::Debug for NodeStatuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl Serialize for NodeStatuses {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for NodeStatuses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Nodes;
        impl<'de> Visitor<'de> for Nodes {
            type Value = NodeStatuses;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of nodes")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<NodeStatuses, A::Error> {
                let mut nodes = NodeStatuses::default();
                while let Some((id, node)) = map.next_entry()? {
                    nodes.insert(id, node);
                }
                Ok(nodes)
            }
        }
        deserializer.deserialize_map(Nodes)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::model::NodeResult;

    // For tests alone: in the program no node is so certain to be there that its absence may end the process.
    impl<Q: Ord + ?Sized> std::ops::Index<&Q> for NodeStatuses
    where
        NodeId: Borrow<Q>,
    {
        type Output = NodeStatus;

        fn index(&self, id: &Q) -> &NodeStatus {
            self.get(id).unwrap()
        }
    }

    fn id(number: usize) -> NodeId {
        NodeId::new(&format!("n{number}")).unwrap()
    }

    fn node(attempt: u32) -> NodeStatus {
        NodeStatus { attempt, ..NodeStatus::default() }
    }

    fn some_result() -> Arc<NodeResult> {
        let result = r#"{"commit": "c", "base": "b", "files": 1, "insertions": 1, "deletions": 0}"#;
        serde_json::from_str(result).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn it_is_the_map_that_a_tree_would_be(edits in prop::collection::vec((0..400_usize, 0..9_u32), 0..900)) {
            let mut tree = BTreeMap::new();
            let mut nodes = NodeStatuses::new();
            for (number, attempt) in edits {
                prop_assert_eq!(nodes.insert(id(number), node(attempt)), tree.insert(id(number), node(attempt)));
                let other = id((number * 7) % 400);
                if attempt > 5 && let Some(node) = nodes.get_mut(&other) {
                    node.extensions.result = (attempt == 7).then(some_result);
                    node.phase = if attempt == 6 { NodePhase::Running } else { NodePhase::Failed };
                    tree.insert(other.clone(), node.clone());
                }
                // Not after each edit, as the answer takes a look at all of the tree.
                if attempt > 6 {
                    let wanted = [NodeTrait::HasResult, NodeTrait::Begun, NodeTrait::UnderWay][number % 3];
                    prop_assert!(nodes.having(wanted).eq(tree.iter().filter(|(_, node)| wanted.is_of(node))));
                    prop_assert_eq!(nodes.has(wanted), tree.values().any(|node| wanted.is_of(node)));
                }
                prop_assert_eq!(nodes.get(&other), tree.get(&other));
                prop_assert_eq!(nodes.get_mut(&other).is_some(), tree.contains_key(&other));
                if attempt == 8 {
                    prop_assert_eq!(nodes.remove(&other), tree.remove(&other));
                }
            }
            prop_assert_eq!(nodes.len(), tree.len());
            prop_assert!(nodes.iter().eq(tree.iter()));
            prop_assert_eq!(&nodes, &tree.into_iter().collect::<NodeStatuses>());
        }
    }

    /// How many nodes of `copy` are not shared with `nodes`.
    fn own(nodes: &NodeStatuses, copy: &NodeStatuses) -> usize {
        nodes.entries().zip(copy.entries()).filter(|(a, b)| !Arc::ptr_eq(&a.1, &b.1)).count()
    }

    #[test]
    fn a_change_copies_the_node_that_it_changes_however_many_there_are() {
        for count in [1_000, 10_000] {
            let nodes: NodeStatuses = (0..count).map(|number| (id(number), node(0))).collect();
            let mut copy = nodes.clone();
            assert!(copy.get_mut(&id(count)).is_none());
            assert!(Arc::ptr_eq(&nodes.chunks, &copy.chunks), "nothing was changed");
            copy.get_mut(&id(7)).unwrap().attempt = 1;
            copy.get_mut(&id(8)).unwrap().attempt = 0;
            assert_eq!(own(&nodes, &copy), 2);
            let changed = copy.changed_since(&nodes).unwrap();
            assert_eq!(
                changed,
                [(&id(7), &node(1))],
                "one that was touched and stayed the same is no change"
            );
            assert_eq!(nodes[&id(7)].attempt, 0);
        }
    }

    #[test]
    fn other_nodes_are_another_map() {
        let nodes: NodeStatuses = (0..3).map(|number| (id(number), node(0))).collect();
        let mut more = nodes.clone();
        more.insert(id(9), node(0));
        assert_eq!(more.changed_since(&nodes), None);
        let others: NodeStatuses = (1..4).map(|number| (id(number), node(0))).collect();
        assert_eq!(others.changed_since(&nodes), None);
        assert_ne!(others, nodes);
        assert!(!more.has_ids_of(&nodes) && !others.has_ids_of(&nodes));
        let mut changed = nodes.clone();
        changed.get_mut(&id(1)).unwrap().attempt = 4;
        assert!(changed.has_ids_of(&nodes) && changed != nodes);
    }
}
