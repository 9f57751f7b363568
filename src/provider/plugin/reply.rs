//! The answer of a provider that a user wrote.

use std::time::Duration;

use serde::Deserialize;

use crate::model::{JsonMap, NodeReason};
use crate::provider::output::{OUTPUT_LIMIT, OutputForm, check_outputs};
use crate::provider::{Attempt, AttemptOutcome};

/// When to poll, if the answer does not say.
const POLL_AFTER: Duration = Duration::from_secs(30);

/// The longest handle, in bytes: it is written into the status.
const HANDLE: usize = 4 << 10;

#[derive(Deserialize)]
// A misspelt `retryable` would otherwise count as its default.
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PluginReply {
    status: PluginStatus,
    #[serde(default)]
    outputs: JsonMap,
    #[serde(default)]
    message: String,
    #[serde(default = "yes")]
    retryable: bool,
    retry_after: Option<crate::model::Duration>,
    handle: Option<String>,
    poll_after: Option<crate::model::Duration>,
}

fn yes() -> bool {
    true
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum PluginStatus {
    Succeeded,
    Failed,
    Blocked,
}

/// The outputs, or how else the attempt ended.
pub(super) fn read(bytes: &[u8], attempt: &Attempt) -> Result<JsonMap, AttemptOutcome> {
    let malformed = |why: String| {
        let message = format!("the provider's response cannot be used: {why}");
        // The same program would write the same again.
        AttemptOutcome::permanent(NodeReason::ProviderFailed, message)
    };
    if bytes.len() as u64 > OUTPUT_LIMIT {
        return Err(malformed(format!("it has more than {} bytes", OUTPUT_LIMIT)));
    }
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(malformed("nothing was written to standard output".to_owned()));
    }
    let answer: PluginReply = serde_json::from_slice(bytes).map_err(|error| malformed(error.to_string()))?;
    match answer.status {
        PluginStatus::Succeeded => {
            check_outputs(answer.outputs, &attempt.declared_outputs, OutputForm::Reply)
                .map_err(|error| AttemptOutcome::permanent(NodeReason::OutputInvalid, error.to_string()))
        }
        PluginStatus::Failed => {
            let message = or(answer.message, "the provider gave no reason");
            // This can only lengthen the pause that the node's retries have.
            let after = answer.retry_after.map(|after| after.span());
            Err(AttemptOutcome::broken(message, answer.retryable).not_before(after))
        }
        PluginStatus::Blocked => {
            if answer.handle.as_ref().is_some_and(|handle| handle.len() > HANDLE) {
                return Err(malformed(format!("the handle has more than {HANDLE} bytes")));
            }
            Err(AttemptOutcome::Blocked {
                reason: NodeReason::AwaitingProvider,
                message: or(answer.message, "the work continues remotely"),
                // Work without a handle is never polled, and the last one stays good.
                handle: answer.handle.or_else(|| attempt.handle.clone()).or_else(|| Some(String::new())),
                poll_after: Some(answer.poll_after.map_or(POLL_AFTER, |after| after.span())),
            })
        }
    }
}

/// Reads an answer that is about no attempt.
pub(in crate::provider) fn read_any(bytes: &[u8]) {
    drop(serde_json::from_slice::<PluginReply>(bytes));
}

fn or(message: String, other: &str) -> String {
    if message.trim().is_empty() { other.to_owned() } else { message }
}
