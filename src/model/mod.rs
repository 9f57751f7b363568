//! The resource contract `planspec.io/v1alpha1` as Rust types: identifiers, metadata, one file per kind.
//! No I/O, no clock, no rendering; validation beyond what a type can express lives in `manifest`.

mod binding;
mod capability;
mod condition;
mod context;
mod digest;
mod duration;
mod execution;
mod gate;
mod goal;
mod kind;
mod metadata;
mod name;
mod node;
mod plan;
mod record;
mod reference;
mod resource;
mod selector;

pub use binding::{
    BindingPhase, BindingRule, BindingSelector, BindingSpec, BindingStatus, BindingStrategy, BindingTarget,
    UnboundCapability, UnboundReason,
};
pub use capability::{
    CapabilityParameter, CapabilityPhase, CapabilityRequirement, CapabilitySpec, CapabilityStatus,
    DEPRECATED, ParameterType, REPLACEMENT,
};
pub use condition::{Condition, ConditionStatus};
pub use context::{ContextFormat, ContextItem};
pub use digest::Digest;
pub(crate) use duration::after;
pub use duration::{Duration, DurationError};
pub use execution::{
    Artifact, ArtifactType, ExecutionExtensions, ExecutionPhase, ExecutionSpec, ExecutionStatus,
    FROM_EXECUTION, Lease, MUTEX, MutexHold, PersonRequest, PinnedGraph, Reuse,
};
pub use gate::{
    GateOutcome, GatePhase, GateResolution, GateSpec, GateStatus, GateTarget, GateType, Review, ReviewAction,
    ReviewBinding,
};
pub use goal::{GoalCriterion, GoalPhase, GoalSpec, GoalStatus};
pub use kind::{API_GROUP, API_VERSION, Kind, NotAKey, ResourceKey, UnknownKind};
pub use metadata::{Metadata, OwnerReference, StatusMetadata};
pub use name::{Name, NameError, NodeId};
pub use node::{
    CriterionResult, InputFingerprint, LogSummary, NodeDecision, NodeExtensions, NodePhase, NodeReason,
    NodeStatus, OMITTED, QuestionAnswer, ResolvedBinding, ResolvedCapability,
};
pub use plan::{
    AcceptanceCriterion, CriterionCheck, Edge, EdgeType, Effort, ExpectedResponse, ExternalRef, GroupMode,
    Node, NodeKind, PlanGraph, PlanPhase, PlanSpec, PlanStatus, ResourceRef,
};
pub use record::{ResourceStatus, StatusRecord};
pub use reference::Reference;
pub use resource::{Resource, SourceLocation, Spec};
pub use selector::{LabelSelector, SelectorOperator, SelectorRequirement};

/// A JSON object with its keys in the order of the document.
pub type JsonMap = serde_json::Map<String, serde_json::Value>;

/// Sorted string pairs: labels and annotations.
pub type StringMap = std::collections::BTreeMap<String, String>;
