//! What becomes of the files that a task changed, and what another machine says of those that changed there.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::{DiscardedChanges, NodeResult};

/// What becomes of the files that a task changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ChangePolicy {
    /// They are kept as a commit, and what comes after builds on it.
    Commit,
    /// They are dropped, and counted.
    #[default]
    Discard,
    /// There must be none.
    Forbid,
}

/// Whether content must not be in a result, such as a secret.
pub type ContentCheck = Arc<dyn Fn(&[u8]) -> bool + Send + Sync>;

/// What a task may change, and what becomes of it.
#[derive(Clone)]
pub struct ChangeRules {
    /// What becomes of it.
    pub policy: ChangePolicy,
    /// Globs of the only paths that may change; any when empty. A path that is denied by default may change when it is
    /// named here literally.
    pub allow: Vec<String>,
    /// Globs of paths that may not change.
    pub deny: Vec<String>,
    /// Globs of paths that the work is judged by, and that may not change whatever `allow` says.
    pub forbid: Vec<String>,
    /// Content that must not be in a result.
    pub is_secret: ContentCheck,
    /// Whether the work goes on later: then what is kept is for the next attempt at it, and conflicts may still be marked.
    pub is_unfinished: bool,
}

impl ChangeRules {
    /// Nothing is kept.
    pub(super) fn discarding() -> Self {
        Self {
            policy: ChangePolicy::Discard,
            allow: Vec::new(),
            deny: Vec::new(),
            forbid: Vec::new(),
            is_secret: Arc::new(|_| false),
            is_unfinished: false,
        }
    }
}

/// What was found of the changes of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CollectedChanges {
    /// There were none.
    None,
    /// They are dropped.
    Discarded(DiscardedChanges),
    /// They are a commit now.
    Result(NodeResult),
}

/// Why the changes of a task are not taken.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// Something changed that may not.
    #[error("{0}")]
    Refused(String),
    /// This machine could not take them in; the work itself may be as good as any.
    #[error("what it changed cannot be taken in")]
    Runner(#[source] Box<dyn std::error::Error + Send + Sync>),
}

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
