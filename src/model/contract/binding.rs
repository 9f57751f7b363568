//! Binding: which provider does the work.

use serde::{Deserialize, Serialize};

use crate::model::{Condition, JsonMap, Name, NodeId, Reference, StringMap};

/// The spec of a Binding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BindingSpec {
    /// How a rule is chosen among those that match.
    #[serde(default)]
    pub strategy: BindingStrategy,
    /// The rules; at least one.
    pub rules: Vec<BindingRule>,
}

/// How a rule is chosen among those that match with equal priority.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum BindingStrategy {
    /// The first in the order of the array.
    #[default]
    FirstMatch,
    /// The most specific; then the first.
    MostSpecific,
    /// Two equally good matches are an error.
    ErrorOnConflict,
}

/// One rule of a Binding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BindingRule {
    /// 0 to 1000; higher wins.
    #[serde(default)]
    pub priority: u16,
    /// What the rule applies to.
    pub selector: BindingSelector,
    /// What then does the work.
    pub target: BindingTarget,
}

/// What a rule applies to: exactly one of the five shapes of the contract.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BindingSelector {
    // Options and no `enum`: a selector of no valid shape has to load, so that `explain` can say why its rule never
    // matches.
    /// Tasks that need this capability.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capability_ref: Option<Reference>,
    /// Tasks of this plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_ref: Option<Reference>,
    /// This node of `planRef`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_id: Option<NodeId>,
    /// Tasks of plans with these labels.
    #[serde(default, skip_serializing_if = "StringMap::is_empty")]
    pub match_labels: StringMap,
}

/// The provider that a rule names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BindingTarget {
    /// `scheme://rest`, or a plain word for a local command; at most 512 bytes.
    pub provider: String,
    /// The provider's settings.
    #[serde(default, skip_serializing_if = "JsonMap::is_empty")]
    pub config: JsonMap,
}

/// Where a Binding stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum BindingPhase {
    /// Every rule's provider can be used.
    #[default]
    Ready,
    /// Some can.
    PartiallyBound,
    /// None can.
    Unresolved,
}

/// The status of a Binding.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BindingStatus {
    /// Where it stands.
    pub phase: BindingPhase,
    /// The number of rules.
    pub total_count: u32,
    /// The number of rules whose provider can be used.
    pub bound_count: u32,
    /// The rules whose provider cannot be used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unbound_capabilities: Vec<UnboundCapability>,
    /// Observations.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The generation of the spec that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<u64>,
}

/// Something that stays unbound.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UnboundCapability {
    /// The capability, when the rule names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capability_ref: Option<Name>,
    /// The node, when the rule names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_id: Option<NodeId>,
    /// Why.
    pub reason: UnboundReason,
    /// Why, in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// Why something stays unbound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum UnboundReason {
    /// No rule matches.
    NoMatchingRule,
    /// The provider is unknown here, or not allowed.
    ProviderUnavailable,
    /// The provider refuses the settings.
    ConfigInvalid,
}
