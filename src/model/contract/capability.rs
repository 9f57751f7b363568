//! Capability: what a provider can do.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::{Condition, JsonMap, Name, Reference};

// Annotations, because the published spec has no field for either; only the status does.
/// Annotation of a Capability: that it should no longer be used; `true`, or why.
pub const DEPRECATED: &str = "planspec.io/deprecated";

/// Annotation of a deprecated Capability: `NAME` or `NAMESPACE/NAME` of what to use in its place.
pub const REPLACEMENT: &str = "planspec.io/replacement";

/// The spec of a Capability.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CapabilitySpec {
    /// What it does, as text.
    pub description: String,
    /// A name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// A kebab-case category.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// What it takes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<CapabilityParameter>,
    /// What it gives.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<CapabilityParameter>,
    /// Other capabilities that it needs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requirements: Vec<CapabilityRequirement>,
}

/// An input or output of a capability.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CapabilityParameter {
    /// The name, `^[a-zA-Z][a-zA-Z0-9_]*$`.
    pub name: String,
    /// The JSON type.
    #[serde(rename = "type")]
    pub kind: ParameterType,
    /// What it means, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whether it must be given.
    #[serde(default)]
    pub required: bool,
    /// The value when it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// A string format, as in JSON Schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// The values it may take.
    #[serde(default, rename = "enum", skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<Value>,
    /// The type of an array's items.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item_type: Option<ParameterType>,
    /// A regular expression that a string must match. Only parameters of a Plan have one; the schema sees to that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// The properties of an object.
    #[serde(default, skip_serializing_if = "JsonMap::is_empty")]
    pub properties: JsonMap,
}

/// A JSON type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ParameterType {
    /// A string.
    String,
    /// A number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// A mapping.
    Object,
    /// A list.
    Array,
}

/// A capability that another one needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapabilityRequirement {
    /// The name of the needed capability.
    pub name: Name,
    /// Its namespace; the referrer's when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Name>,
    /// Whether it may be missing.
    #[serde(default)]
    pub optional: bool,
}

impl CapabilityRequirement {
    /// The requirement as a plain reference.
    #[must_use]
    pub fn reference(&self) -> Reference {
        Reference { name: self.name.clone(), namespace: self.namespace.clone(), uid: None }
    }
}

/// The phase of a Capability.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum CapabilityPhase {
    /// It can be used.
    #[default]
    Available,
    /// A required capability is missing.
    Unavailable,
    /// It still works, and something else should be used.
    Deprecated,
}

/// The status of a Capability.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CapabilityStatus {
    /// Its phase.
    pub phase: CapabilityPhase,
    /// Observations.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The generation of the spec that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<u64>,
    /// What to use in place of a deprecated one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replacement: Option<Reference>,
    /// Why it is deprecated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deprecation_message: Option<String>,
}

/// A capability as it was when an attempt started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResolvedCapability {
    /// `NAMESPACE/NAME` of the Capability.
    pub name: String,
    /// Its generation.
    pub generation: u64,
}
