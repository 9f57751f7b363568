//! What a tool answers, as outputs.

use rmcp::model::CallToolResult;
use serde_json::Value;

use super::permanent;
use crate::model::{JsonMap, NodeReason};
use crate::provider::output::{OUTPUT_LIMIT, OutputForm, check_outputs};
use crate::provider::{Attempt, AttemptOutcome};

/// The outcome of a call that was answered.
pub(super) fn outcome(result: &CallToolResult, attempt: &Attempt) -> AttemptOutcome {
    let texts: Vec<&str> =
        result.content.iter().filter_map(|block| block.as_text()).map(|text| text.text.as_str()).collect();
    let text = texts.join("\n");
    if result.is_error == Some(true) {
        let message = if text.is_empty() { "no details".to_owned() } else { text };
        return AttemptOutcome::failed(NodeReason::ProviderFailed, format!("the tool failed: {message}"));
    }
    // Servers repeat it as text for older clients; only here do values keep their types.
    let given = match &result.structured_content {
        Some(Value::Object(map)) => map.clone(),
        Some(other) => [("result".to_owned(), other.clone())].into_iter().collect(),
        None => from_text(text, attempt),
    };
    // The limit of an output file, so that no provider can give more than a local command.
    if serde_json::to_vec(&given).map_or(0, |bytes| bytes.len()) as u64 > OUTPUT_LIMIT {
        return permanent(format!("the tool result has more than {} bytes", OUTPUT_LIMIT));
    }
    match check_outputs(given, &attempt.declared_outputs, OutputForm::ToolResult) {
        Ok(outputs) => AttemptOutcome::Succeeded { outputs },
        Err(error) => AttemptOutcome::permanent(NodeReason::OutputInvalid, error.to_string()),
    }
}

/// A JSON object where outputs are declared that are not just `text`; else the text.
fn from_text(text: String, attempt: &Attempt) -> JsonMap {
    let declared = &attempt.declared_outputs;
    if !declared.is_empty()
        && *declared != ["text"]
        && let Ok(Value::Object(map)) = serde_json::from_str(&text)
    {
        return map;
    }
    [("text".to_owned(), Value::String(text))].into_iter().collect()
}
