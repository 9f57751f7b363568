//! Goal: what should become true; and the context items that travel with a goal, plan, node or execution to whoever does the
//! work.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::{Condition, Duration, JsonMap, LabelSelector, Reference};

/// The spec of a Goal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GoalSpec {
    /// What should become true, as text.
    pub description: String,
    /// Constraints on how.
    #[serde(default, skip_serializing_if = "JsonMap::is_empty")]
    pub constraints: JsonMap,
    /// When the goal counts as reached, as text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub acceptance_criteria: Vec<GoalCriterion>,
    /// Which plans serve the goal; without it, those whose `goalRef` names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_selector: Option<LabelSelector>,
    /// The deadline, counted from creation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// 0 to 1000; higher goes first.
    #[serde(default)]
    pub priority: u16,
    /// Material for whoever does the work.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub context: Vec<ContextItem>,
}

/// One acceptance criterion of a goal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoalCriterion {
    /// An id, unique within the goal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The criterion, as text.
    pub description: String,
}

/// The phase of a Goal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum GoalPhase {
    /// Accepted; no plan was searched for yet.
    #[default]
    Pending,
    /// No valid plan serves it yet.
    Planning,
    /// A plan is there; nothing runs it yet.
    Ready,
    /// An execution is under way.
    Executing,
    /// An execution succeeded.
    Succeeded,
    /// The latest execution failed, or the deadline passed.
    Failed,
    /// The latest execution was cancelled.
    Cancelled,
}

/// The status of a Goal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GoalStatus {
    /// Its phase.
    pub phase: GoalPhase,
    /// The plan that serves it now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_plan_ref: Option<Reference>,
    /// Observations; `Accepted` is always there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The generation of the spec that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<u64>,
}

/// One piece of context.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContextItem {
    /// What `content` is.
    pub format: ContextFormat,
    /// A heading.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The content: a string for markdown and text, any JSON for json.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Value>,
    /// The addresses of a uri-list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uris: Vec<String>,
}

/// The format of a context item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ContextFormat {
    /// Markdown text.
    Markdown,
    /// Plain text.
    Text,
    /// A JSON value.
    Json,
    /// A list of addresses.
    UriList,
}
