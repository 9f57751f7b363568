//! What an attempt changed on another machine, on its way to the one that takes it in.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A file that an attempt changed on another machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandedOverChange {
    /// The path from the root, with `/`.
    pub path: String,
    /// What it is now; none where it is gone.
    pub now: Option<HandedOverContent>,
}

/// What a file is that an attempt changed on another machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandedOverContent {
    /// What kind of file.
    pub kind: FileKind,
    /// A file here that holds the content, or where a link leads.
    pub file: PathBuf,
}

/// The kinds of files that work may leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileKind {
    /// An ordinary one.
    Plain,
    /// One that may be run.
    Executable,
    /// A symbolic link.
    Link,
}
