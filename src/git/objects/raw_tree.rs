//! The bytes of a tree object: an iterator that allocates nothing, and the order that Git sorts by.

use std::cmp::Ordering;

use crate::git::{EntryMode, GitError, ObjectId, Repo, TreeEntry};

/// One entry, borrowed from the bytes of its tree.
#[derive(Clone, Copy)]
pub(super) struct RawEntry<'a> {
    /// The mode's octal digits, unparsed.
    pub(super) mode: &'a [u8],
    pub(super) name: &'a [u8],
    pub(super) id: &'a [u8],
}

impl RawEntry<'_> {
    pub(super) fn mode(&self) -> EntryMode {
        EntryMode::from_octal(self.mode)
    }

    pub(super) fn is_tree(&self) -> bool {
        self.mode() == EntryMode::Tree
    }

    pub(super) fn to_entry(self) -> Option<TreeEntry> {
        Some(TreeEntry { name: self.name.to_vec(), id: ObjectId::from_slice(self.id)?, mode: self.mode() })
    }

    /// The order of entries in a tree: by bytes, a directory as if its name ended in `/`.
    pub(super) fn order(&self, other: &RawEntry<'_>) -> Ordering {
        order(self.name, self.is_tree(), other.name, other.is_tree())
    }
}

/// See [`RawEntry::order`].
pub(super) fn order(left: &[u8], left_is_tree: bool, right: &[u8], right_is_tree: bool) -> Ordering {
    // Not a plain comparison of names: `a.b` goes before the directory `a`, and `a0` after it, because `/` lies between
    // them.
    let shared = left.len().min(right.len());
    let (left_head, left_rest) = left.split_at(shared);
    let (right_head, right_rest) = right.split_at(shared);
    let next = |rest: &[u8], is_tree: bool| rest.first().copied().unwrap_or(if is_tree { b'/' } else { 0 });
    left_head
        .cmp(right_head)
        .then_with(|| next(left_rest, left_is_tree).cmp(&next(right_rest, right_is_tree)))
}

/// Walks the entries of a tree's bytes; `None` in the middle of an entry means that the tree is broken.
// Allocates nothing: `git2::Tree` makes an object per entry, which is most of the cost of comparing large directories.
pub(super) struct RawEntries<'a> {
    rest: &'a [u8],
}

impl<'a> RawEntries<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Whether every byte was parsed.
    pub(super) fn is_exhausted(&self) -> bool {
        self.rest.is_empty()
    }

    fn take(&mut self) -> Option<RawEntry<'a>> {
        let rest = self.rest;
        // The longest mode has six digits; a broken tree is not searched to its end for a space.
        let space = rest.iter().take(8).position(|byte| *byte == b' ')?;
        let mode = rest.get(..space)?;
        let after_mode = rest.get(space + 1..)?;
        let end = after_mode.iter().position(|byte| *byte == 0)?;
        let name = after_mode.get(..end)?;
        let after_name = after_mode.get(end + 1..)?;
        // SHA-1 alone. A repository with another object format is refused when it is opened.
        let (id, after_id) = after_name.split_at_checked(20)?;
        self.rest = after_id;
        Some(RawEntry { mode, name, id })
    }
}

impl<'a> Iterator for RawEntries<'a> {
    type Item = RawEntry<'a>;

    fn next(&mut self) -> Option<RawEntry<'a>> {
        self.take()
    }
}

impl Repo {
    /// Hands the bytes of a tree to `read`; those of the empty tree for `None`.
    pub(super) fn with_tree<T>(
        &self,
        id: ObjectId,
        read: impl FnOnce(&[u8]) -> Result<T, GitError>,
    ) -> Result<T, GitError> {
        if let Some(bytes) = self.gathered().tree(id) {
            return read(&bytes);
        }
        let odb = self.odb()?;
        let oid = id.oid().map_err(GitError::doing("bad object id"))?;
        let object = odb.read(oid).or_else(|error| self.promised(id, error, || odb.read(oid)));
        let object = object.map_err(|error| self.missing("tree", id, error))?;
        // An entry may call a blob a tree; its bytes would be taken for entries.
        if object.kind() != git2::ObjectType::Tree {
            return Err(GitError::BadTree { id, problem: "is not a tree" });
        }
        read(object.data())
    }
}
