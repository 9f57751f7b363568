//! Metadata: what a manifest says of itself, and what the reconciler derives from Git.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Kind, Name, StringMap};

/// The metadata that people write in a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// The name, unique within namespace and kind.
    pub name: Name,
    /// The namespace.
    pub namespace: Name,
    /// Labels, for selectors.
    #[serde(default, skip_serializing_if = "StringMap::is_empty")]
    pub labels: StringMap,
    /// Annotations, for people and tools.
    #[serde(default, skip_serializing_if = "StringMap::is_empty")]
    pub annotations: StringMap,
    /// Whom this resource belongs to; it is removed with its owner.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub owner_references: Vec<OwnerReference>,
    /// Names of parties that must act before a removal; carried, not acted on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub finalizers: Vec<String>,
}

/// A reference to an owner in the same namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OwnerReference {
    /// The owner's API version.
    pub api_version: String,
    /// The owner's kind.
    pub kind: Kind,
    /// The owner's name.
    pub name: Name,
    /// The owner's uid. Manifests in Git cannot know it, so an empty one is accepted.
    #[serde(default)]
    pub uid: String,
    /// Whether the owner is the managing controller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controller: Option<bool>,
    /// Whether the owner's removal waits for this resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block_owner_deletion: Option<bool>,
}

/// The metadata in a status record: identity, and what is derived from Git.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusMetadata {
    /// The name of the resource.
    pub name: Name,
    /// The namespace of the resource.
    pub namespace: Name,
    /// UUIDv5 of kind, namespace, name and the desired commit that first held the resource.
    pub uid: String,
    /// Grows by one when the spec changes; starts at 1.
    pub generation: u64,
    /// The committer time of the desired commit that first held the resource.
    pub creation_timestamp: Timestamp,
    /// Ours, under `planspec.io/`: the digest of the observed spec, and where the manifest stands.
    #[serde(default, skip_serializing_if = "StringMap::is_empty")]
    pub annotations: StringMap,
    /// What made a derived Execution, which no manifest declares; empty for everything else.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub owner_references: Vec<OwnerReference>,
}

impl StatusMetadata {
    /// Annotation: the digest of the spec that `generation` counts.
    pub const SPEC_DIGEST: &'static str = "planspec.io/spec-digest";
    /// Annotation: the path of the manifest in the desired tree.
    pub const SOURCE: &'static str = "planspec.io/source";
    /// Annotation: `true` on the record of a Gate that a plan names but no manifest defines.
    pub const IMPLICIT: &'static str = "planspec.io/implicit";
    /// Annotation: why the newest manifest is not in force (the resource is quarantined).
    pub const QUARANTINED: &'static str = "planspec.io/quarantined";

    /// The digest of the spec that was last observed.
    #[must_use]
    pub fn spec_digest(&self) -> Option<&str> {
        self.annotations.get(Self::SPEC_DIGEST).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ResourceKey;

    impl StatusMetadata {
        /// That of a resource of which nothing else is known.
        pub(crate) fn bare(key: &ResourceKey, uid: &str) -> Self {
            Self {
                name: key.name.clone(),
                namespace: key.namespace.clone(),
                uid: uid.to_owned(),
                generation: 1,
                creation_timestamp: Timestamp::UNIX_EPOCH,
                annotations: StringMap::new(),
                owner_references: Vec::new(),
            }
        }
    }
}
