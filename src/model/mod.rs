//! The resource contract `planspec.io/v1alpha1` as Rust types: identifiers, metadata, one file per kind.
//! No I/O, no clock, no rendering; validation beyond what a type can express lives in `manifest`.

mod condition;
mod contract;
mod derived;
mod digest;
mod duration;
mod kind;
mod metadata;
mod name;
mod next_step;
mod record;
mod resource;
mod selector;

pub use condition::{Condition, ConditionStatus};
pub use contract::*;
pub(crate) use contract::{NodeTrait, same};
pub use derived::{DerivedExecution, Origin, spec_digest};
pub use digest::Digest;
pub(crate) use duration::after;
pub use duration::{Duration, DurationError};
pub use kind::{API_GROUP, API_VERSION, Kind, NotAKey, Reference, ResourceKey, UnknownKind};
pub use metadata::{Metadata, OwnerReference, StatusMetadata};
pub use name::{Name, NameError, NodeId, WORK_BRANCHES, is_work_branch, work_branch};
pub use next_step::{NextStep, NodeSituation, Waiting, next_steps, required_step, step_on_host};
pub use record::{RecordFile, RecordParts, ResourceStatus, StatusRecord};
pub use resource::{Resource, SourceLocation, Spec};
pub use selector::{LabelSelector, SelectorOperator, SelectorRequirement};

/// A JSON object with its keys in the order of the document.
pub type JsonMap = serde_json::Map<String, serde_json::Value>;

/// Sorted string pairs: labels and annotations.
pub type StringMap = std::collections::BTreeMap<String, String>;
