//! Context items: material that travels with a goal, plan, node or execution to whoever does the work.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One piece of context.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
