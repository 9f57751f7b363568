//! Objects that a repository holds back for a while, to be written together.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use git2::Oid;

use super::{GitError, ObjectId};

/// How many bytes are held back at most; what goes beyond is written as it comes.
pub(super) const MOST_BYTES: usize = 64 << 20;

/// An object that is held back.
pub(super) struct GatheredObject {
    pub(super) kind: git2::ObjectType,
    // Shared, as a tree is read while others are added.
    pub(super) bytes: Arc<[u8]>,
}

#[derive(Default)]
struct Gathering {
    objects: HashMap<ObjectId, GatheredObject>,
    size: usize,
}

/// What a repository holds back while its objects are gathered; nothing at other times.
#[derive(Default)]
pub(super) struct GatheredObjects(RefCell<Option<Gathering>>);

impl GatheredObjects {
    /// Holds an object back and gives its id; none when objects are to be written at once.
    pub(super) fn keep(&self, kind: git2::ObjectType, bytes: &[u8]) -> Result<Option<ObjectId>, GitError> {
        let mut gathering = self.0.borrow_mut();
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
        self.0.borrow().as_ref().is_some_and(|gathering| gathering.objects.contains_key(&id))
    }

    /// The bytes of a tree that is held back.
    pub(super) fn tree(&self, id: ObjectId) -> Option<Arc<[u8]>> {
        let gathering = self.0.borrow();
        let object = gathering.as_ref()?.objects.get(&id)?;
        (object.kind == git2::ObjectType::Tree).then(|| Arc::clone(&object.bytes))
    }

    /// Whether objects are held back.
    pub(super) fn is_on(&self) -> bool {
        self.0.borrow().is_some()
    }

    /// Holds back what is written from here on.
    pub(super) fn begin(&self) {
        *self.0.borrow_mut() = Some(Gathering::default());
    }

    /// Ends that, and gives what was held back.
    pub(super) fn end(&self) -> HashMap<ObjectId, GatheredObject> {
        self.0.take().map(|gathering| gathering.objects).unwrap_or_default()
    }
}
