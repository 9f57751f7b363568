//! A resource as a manifest declares it, and where it was read.

use serde::{Deserialize, Serialize};

use super::{
    BindingSpec, CapabilitySpec, Digest, ExecutionSpec, GateSpec, GoalSpec, Kind, Metadata, PlanSpec,
    ResourceKey, ScheduleSpec,
};

/// One declared resource.
#[derive(Debug, Clone, PartialEq)]
pub struct Resource {
    /// Its metadata.
    pub metadata: Metadata,
    /// Its spec.
    pub spec: Spec,
    /// The digest of the spec as written: changes exactly when the generation grows.
    pub spec_digest: Digest,
    /// Where it was read.
    pub source: SourceLocation,
}

/// Where a resource was read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SourceLocation {
    /// The path in the tree, or of the file; `-` for standard input.
    pub path: String,
    /// The index of the document in the file, from 0.
    pub document: u32,
}

/// The spec of a resource, by kind.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "one variant a kind")]
pub enum Spec {
    Goal(GoalSpec),
    Plan(PlanSpec),
    Capability(CapabilitySpec),
    Binding(BindingSpec),
    Gate(GateSpec),
    Execution(ExecutionSpec),
    Schedule(ScheduleSpec),
}

impl Spec {
    /// The kind that has this spec.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Goal(_) => Kind::Goal,
            Self::Plan(_) => Kind::Plan,
            Self::Capability(_) => Kind::Capability,
            Self::Binding(_) => Kind::Binding,
            Self::Gate(_) => Kind::Gate,
            Self::Execution(_) => Kind::Execution,
            Self::Schedule(_) => Kind::Schedule,
        }
    }
}

impl Resource {
    /// What identifies it.
    #[must_use]
    pub fn key(&self) -> ResourceKey {
        ResourceKey::new(self.spec.kind(), self.metadata.namespace.clone(), self.metadata.name.clone())
    }
}
