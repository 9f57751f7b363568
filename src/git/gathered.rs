//! Objects that a repository holds back for a while, to be written together.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use git2::Oid;

use super::{GitError, ObjectId};

/// How many bytes are held back at most; what goes beyond is written as it comes.
pub(super) const MOST_BYTES: usize = 64 << 20;

/// How many bytes of trees are remembered at most. Those of a plan of 10,000 nodes are half a megabyte.
const MOST_KNOWN: usize = 8 << 20;

/// An object that is held back.
pub(super) struct GatheredObject {
    pub(super) kind: git2::ObjectType,
    // Shared, as a tree is read while others are added.
    pub(super) bytes: Arc<[u8]>,
}

impl GatheredObject {
    /// Its bytes, if it is a tree.
    fn tree(&self) -> Option<Arc<[u8]>> {
        (self.kind == git2::ObjectType::Tree).then(|| Arc::clone(&self.bytes))
    }
}

#[derive(Default)]
struct Gathering {
    objects: HashMap<ObjectId, GatheredObject>,
    size: usize,
}

/// Trees that were written a moment ago.
#[derive(Default)]
struct KnownTrees {
    trees: HashMap<ObjectId, Arc<[u8]>>,
    size: usize,
}

/// What a repository holds back while its objects are gathered; nothing at other times.
#[derive(Default)]
pub(super) struct GatheredObjects {
    held: RefCell<Option<Gathering>>,
    /// The trees of the last gatherings: the next commit begins by reading some of them, and each would be looked for, inflated and
    /// checked again. What the id of a tree says never changes, so nobody has to be asked whether it is still so.
    last_trees: RefCell<KnownTrees>,
}

impl GatheredObjects {
    /// Holds an object back and gives its id; none when objects are to be written at once.
    pub(super) fn keep(&self, kind: git2::ObjectType, bytes: &[u8]) -> Result<Option<ObjectId>, GitError> {
        let mut gathering = self.held.borrow_mut();
        let Some(gathering) = gathering.as_mut().filter(|held| held.size + bytes.len() <= MOST_BYTES) else {
            return Ok(None);
        };
        let id = Oid::hash_object(kind, bytes).map_err(GitError::doing(format!("cannot hash a {kind}")))?;
        let id = ObjectId::from_oid(id);
        gathering.objects.entry(id).or_insert_with(|| {
            gathering.size += bytes.len();
            GatheredObject { kind, bytes: bytes.into() }
        });
        Ok(Some(id))
    }

    pub(super) fn contains(&self, id: ObjectId) -> bool {
        self.held.borrow().as_ref().is_some_and(|gathering| gathering.objects.contains_key(&id))
    }

    /// The bytes of a tree that is held back, or was until a moment ago.
    pub(super) fn tree(&self, id: ObjectId) -> Option<Arc<[u8]>> {
        let gathering = self.held.borrow();
        let held = gathering.as_ref().and_then(|gathering| gathering.objects.get(&id)?.tree());
        held.or_else(|| self.last_trees.borrow().trees.get(&id).map(Arc::clone))
    }

    /// Remembers the trees among these objects, which are written by now.
    pub(super) fn remember(&self, objects: &HashMap<ObjectId, GatheredObject>) {
        let known = &mut *self.last_trees.borrow_mut();
        let trees = objects.iter().filter_map(|(id, object)| Some((*id, object.tree()?)));
        let trees: Vec<(ObjectId, Arc<[u8]>)> = trees.collect();
        let size: usize = trees.iter().map(|(_, bytes)| bytes.len()).sum();
        // Forgotten together: which of them the next commit builds upon is not known, and what is missing is read.
        if known.size + size > MOST_KNOWN {
            *known = KnownTrees::default();
        }
        if size <= MOST_KNOWN {
            known.size += size;
            known.trees.extend(trees);
        }
    }

    /// Whether objects are held back.
    pub(super) fn is_on(&self) -> bool {
        self.held.borrow().is_some()
    }

    /// Holds back what is written from here on.
    pub(super) fn begin(&self) {
        *self.held.borrow_mut() = Some(Gathering::default());
    }

    /// Ends that, and gives what was held back.
    pub(super) fn end(&self) -> HashMap<ObjectId, GatheredObject> {
        self.held.take().map(|gathering| gathering.objects).unwrap_or_default()
    }
}
