//! Blobs and single trees, read by id and by path and written, straight from and to the object database.

use git2::Odb;

use super::raw_tree::{RawEntries, RawEntry};
use crate::git::error::printable;
use crate::git::{EntryMode, GitError, ObjectId, Repo, TreeEntry};

impl Repo {
    /// The entry at a path of a tree, if there is one. Symbolic links are not followed.
    ///
    /// # Errors
    /// When a tree on the way is missing or broken.
    pub fn entry(&self, tree: ObjectId, path: &str) -> Result<Option<TreeEntry>, GitError> {
        let mut directory = tree;
        let mut names = path.split('/').filter(|name| !name.is_empty()).peekable();
        while let Some(name) = names.next() {
            let found = self.with_tree(directory, |bytes| {
                // Linear: Git's order puts a file and a directory of one name in different places, so a binary search
                // would have to search twice, and gains nothing on trees of at most 1,000 entries.
                let entry = RawEntries::new(bytes).find(|entry| entry.name == name.as_bytes());
                Ok(entry.and_then(RawEntry::to_entry))
            })?;
            match found {
                Some(entry) if names.peek().is_none() => return Ok(Some(entry)),
                Some(entry) if entry.mode == EntryMode::Tree => directory = entry.id,
                // A file or a link in the middle of the path: nothing is below it, and a link is not followed out of
                // the tree (Invariant 7).
                _ => return Ok(None),
            }
        }
        Ok(None)
    }

    /// The entries of one tree, in Git's order.
    ///
    /// # Errors
    /// When the tree is missing or broken.
    pub fn entries(&self, tree: ObjectId) -> Result<Vec<TreeEntry>, GitError> {
        self.with_tree(tree, |bytes| {
            let mut entries = RawEntries::new(bytes);
            let list = entries.by_ref().filter_map(RawEntry::to_entry).collect();
            if entries.is_exhausted() {
                Ok(list)
            } else {
                Err(GitError::BadTree { id: tree, problem: "is broken" })
            }
        })
    }

    /// The size of a blob, from its header: nothing is inflated.
    ///
    /// # Errors
    /// When the blob is missing.
    pub fn blob_size(&self, id: ObjectId) -> Result<u64, GitError> {
        self.size_in(&self.odb()?, id)
    }

    fn size_in(&self, odb: &Odb<'_>, id: ObjectId) -> Result<u64, GitError> {
        let oid = id.oid().map_err(GitError::doing("bad object id"))?;
        let header = odb.read_header(oid).or_else(|error| self.promised(id, error, || odb.read_header(oid)));
        let (size, kind) = header.map_err(|error| self.missing("blob", id, error))?;
        // A tree under the name of a file would be parsed as a manifest.
        if kind != git2::ObjectType::Blob {
            return Err(GitError::BadPath { path: id.to_string(), problem: "is not a blob" });
        }
        Ok(u64::try_from(size).unwrap_or(u64::MAX))
    }

    /// The content of a blob. Its size is looked up before anything is inflated.
    ///
    /// # Errors
    /// [`GitError::TooLarge`] over `limit` bytes; or the blob is missing.
    pub fn blob(&self, id: ObjectId, limit: u64) -> Result<Vec<u8>, GitError> {
        let oid = id.oid().map_err(GitError::doing("bad object id"))?;
        let odb = self.odb()?;
        // The header first: a blob of some gigabytes, or a small one that inflates to as many, is never in memory.
        let size = self.size_in(&odb, id)?;
        if size > limit {
            tracing::debug!(blob = %id, size, limit, "blob is over the limit and was not read");
            return Err(GitError::TooLarge { size, limit });
        }
        let object = odb.read(oid).map_err(|error| self.missing("blob", id, error))?;
        Ok(object.data().to_vec())
    }

    /// The regular file at a path of a tree: its blob. `None` when nothing is there.
    ///
    /// # Errors
    /// [`GitError::RefusedEntry`] for a symbolic link, a submodule or a directory.
    pub fn file(&self, tree: ObjectId, path: &str) -> Result<Option<ObjectId>, GitError> {
        match self.entry(tree, path)? {
            None => Ok(None),
            Some(entry) if entry.mode.is_file() => Ok(Some(entry.id)),
            Some(entry) => Err(GitError::RefusedEntry { path: printable(path.as_bytes()), mode: entry.mode }),
        }
    }

    /// Whether an object is here.
    ///
    /// # Errors
    /// When the object database cannot be opened.
    pub fn contains(&self, id: ObjectId) -> Result<bool, GitError> {
        if self.gathered().contains(id) {
            return Ok(true);
        }
        let oid = id.oid().map_err(GitError::doing("bad object id"))?;
        Ok(self.odb()?.exists(oid))
    }

    /// Writes a blob.
    ///
    /// # Errors
    /// When the object database cannot be written.
    pub fn write_blob(&self, bytes: &[u8]) -> Result<ObjectId, GitError> {
        self.write_object(git2::ObjectType::Blob, bytes)
    }

    pub(super) fn write_object(&self, kind: git2::ObjectType, bytes: &[u8]) -> Result<ObjectId, GitError> {
        if let Some(id) = self.gathered().keep(kind, bytes)? {
            return Ok(id);
        }
        let id = self
            .odb()?
            .write(kind, bytes)
            .map_err(GitError::doing(format!("cannot write a {kind} to the object database")))?;
        Ok(ObjectId::from_oid(id))
    }
}
