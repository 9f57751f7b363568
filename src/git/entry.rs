//! Reading trees and blobs by path, straight from the object database.

use super::error::printable;
use super::raw_tree::{RawEntries, RawEntry};
use super::{GitError, ObjectId, Repo};

/// What an entry of a tree is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// A regular file.
    Blob,
    /// A regular file that may be run.
    Executable,
    /// A directory.
    Tree,
    /// A symbolic link.
    Symlink,
    /// A commit of another repository.
    Submodule,
}

impl Mode {
    pub(super) fn from_octal(digits: &[u8]) -> Self {
        match digits {
            b"40000" | b"040000" => Self::Tree,
            b"120000" => Self::Symlink,
            b"160000" => Self::Submodule,
            // Old repositories hold 100664 and others; what counts is the owner's bit, as in Git itself.
            other if other.get(3).is_some_and(|digit| digit & 1 == 1) => Self::Executable,
            _ => Self::Blob,
        }
    }

    pub(super) fn octal(self) -> &'static [u8] {
        match self {
            Self::Blob => b"100644",
            Self::Executable => b"100755",
            Self::Tree => b"40000",
            Self::Symlink => b"120000",
            Self::Submodule => b"160000",
        }
    }

    /// What it is, for a message: `a symbolic link`.
    #[must_use]
    pub fn with_article(self) -> &'static str {
        match self {
            Self::Blob => "a file",
            Self::Executable => "an executable file",
            Self::Tree => "a directory",
            Self::Symlink => "a symbolic link",
            Self::Submodule => "a submodule",
        }
    }

    /// Whether it is a regular file.
    #[must_use]
    pub fn is_file(self) -> bool {
        matches!(self, Self::Blob | Self::Executable)
    }
}

/// An entry of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name within its directory; hostile bytes.
    pub name: Vec<u8>,
    /// The object.
    pub id: ObjectId,
    /// What it is.
    pub mode: Mode,
}

impl Repo {
    /// The entry at a path of a tree, if there is one. Symbolic links are not followed.
    ///
    /// # Errors
    /// When a tree on the way is missing or broken.
    pub fn entry(&self, tree: ObjectId, path: &str) -> Result<Option<Entry>, GitError> {
        let mut directory = tree;
        let mut names = path.split('/').filter(|name| !name.is_empty()).peekable();
        while let Some(name) = names.next() {
            let found = self.with_tree(directory, |bytes| {
                let entry = RawEntries::new(bytes).find(|entry| entry.name == name.as_bytes());
                Ok(entry.and_then(RawEntry::to_entry))
            })?;
            match found {
                Some(entry) if names.peek().is_none() => return Ok(Some(entry)),
                Some(entry) if entry.mode == Mode::Tree => directory = entry.id,
                _ => return Ok(None),
            }
        }
        Ok(None)
    }

    /// The entries of one tree, in Git's order.
    ///
    /// # Errors
    /// When the tree is missing or broken.
    pub fn entries(&self, tree: ObjectId) -> Result<Vec<Entry>, GitError> {
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

    /// The content of a blob. Its size is looked up before anything is inflated.
    ///
    /// # Errors
    /// [`GitError::TooLarge`] over `limit` bytes; or the blob is missing.
    pub fn blob(&self, id: ObjectId, limit: u64) -> Result<Vec<u8>, GitError> {
        let oid = id.oid().map_err(GitError::doing("bad object id"))?;
        let odb = self.odb()?;
        let (size, kind) = odb.read_header(oid).map_err(|error| self.missing("blob", id, error))?;
        if kind != git2::ObjectType::Blob {
            return Err(GitError::BadPath { path: id.to_string(), problem: "is not a blob" });
        }
        let size = u64::try_from(size).unwrap_or(u64::MAX);
        if size > limit {
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
}
