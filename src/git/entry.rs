//! Entries of trees as values: names, ids, modes.

use super::ObjectId;

/// What an entry of a tree is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntryMode {
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

impl EntryMode {
    pub(super) fn from_octal(digits: &[u8]) -> Self {
        match digits {
            // Git writes the first form; some old tools wrote the second, and hosts still carry such trees.
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
            // Without a leading zero, as `fsck` on hosts demands of new trees.
            Self::Tree => b"40000",
            Self::Symlink => b"120000",
            Self::Submodule => b"160000",
        }
    }

    /// For a message: `a symbolic link`.
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
pub struct TreeEntry {
    /// The name within its directory; hostile bytes.
    pub name: Vec<u8>,
    /// The object.
    pub id: ObjectId,
    /// What it is.
    pub mode: EntryMode,
}
