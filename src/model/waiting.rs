//! What a resource waits for that cannot continue by itself: kept by the index, shown in events.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{NodeId, ResourceKey};

/// Something that cannot continue by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Waiting {
    /// The execution, or another resource.
    pub key: ResourceKey,
    /// The node, when it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    /// The reason for programs: a [`NodeReason`](super::NodeReason), or `Leased`, `Suspended`, `PlanNotFound`.
    pub reason: String,
    /// What it waits for, as text.
    pub message: String,
    /// The command that lets it continue, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// When it continues by itself, if it does.
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
