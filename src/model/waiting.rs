//! What a resource waits for that cannot go on by itself: kept by the index, shown in events.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{NodeId, ResourceKey};

/// Something that cannot go on by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Waiting {
    /// The execution, or another resource.
    pub key: ResourceKey,
    /// The node, when it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    /// What it waits for, for programs: a [`NodeReason`](super::NodeReason), or `Leased`, `Suspended`, `PlanNotFound`.
    pub reason: String,
    /// What it waits for, in words.
    pub message: String,
    /// What the user may run to let it go on, if there is something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// When it goes on by itself, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

impl Waiting {
    /// A resource as a whole that waits for this.
    #[must_use]
    pub(crate) fn of(key: ResourceKey, reason: impl Into<String>, message: String) -> Self {
        Self { key, node: None, reason: reason.into(), message, command: None, until: None }
    }
}
