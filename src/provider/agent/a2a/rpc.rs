//! One call by JSON-RPC, and what it can come to.

use std::time::Duration;

use reqwest::Url;
use serde::Deserialize;
use serde_json::Value;

use crate::provider::AttemptOutcome;
use crate::provider::output::plain_line;
use crate::provider::web::{Answer, WebError, origin};

/// What the protocol calls these errors.
pub(super) const TASK_NOT_FOUND: i64 = -32001;
pub(super) const TASK_NOT_CANCELABLE: i64 = -32002;
const METHOD_NOT_FOUND: i64 = -32601;
const VERSION_NOT_SUPPORTED: i64 = -32009;
const CONTENT_TYPE_NOT_SUPPORTED: i64 = -32005;

/// How many characters of an error are shown.
const SHOWN: usize = 300;

/// Why a call came to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RpcError {
    /// The agent answered with an error.
    Error { code: i64, message: String },
    /// It may pass; `acted` says whether the agent may have done what it was asked to.
    Passing { message: String, after: Option<Duration>, acted: bool },
    /// It will not pass.
    Final(String),
}

#[derive(Debug, Deserialize)]
struct RpcReply {
    result: Option<Value>,
    error: Option<RpcReplyError>,
}

#[derive(Debug, Deserialize)]
struct RpcReplyError {
    code: i64,
    #[serde(default)]
    message: String,
}

impl RpcError {
    pub(super) fn of(error: &WebError) -> Self {
        if error.may_pass() {
            // Without a connection nothing was said; after one, the answer alone may have been lost.
            let acted = !matches!(error, WebError::Unreachable { .. } | WebError::Refused(_));
            Self::Passing { message: error.to_string(), after: None, acted }
        } else {
            Self::Final(error.to_string())
        }
    }

    /// Whether another try may end otherwise. What the protocol names as an error of its own would come again.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Error { code, .. } => !matches!(code, -32700 | -32602..=-32600 | -32009..=-32001),
            Self::Passing { .. } => true,
            Self::Final(_) => false,
        }
    }

    /// The failure of an attempt.
    pub(super) fn outcome(self) -> AttemptOutcome {
        let retryable = self.may_pass();
        match self {
            Self::Passing { message, after, .. } => {
                AttemptOutcome::broken(message, retryable).not_before(after)
            }
            Self::Error { message, .. } | Self::Final(message) => AttemptOutcome::broken(message, retryable),
        }
    }

    /// The same in words.
    pub(super) fn message(self) -> String {
        match self {
            Self::Error { message, .. } | Self::Passing { message, .. } | Self::Final(message) => message,
        }
    }
}

/// Takes the result out of an answer.
pub(super) fn result(answer: &Answer) -> Result<Value, RpcError> {
    let from = origin(&answer.url);
    let status = answer.status.as_u16();
    let head = format!("{from} answers {}", answer.status);
    // Refused before it was read, whatever the body says, so the message can be sent again as it is.
    if matches!(status, 429 | 503) {
        return Err(RpcError::Passing { message: head, after: answer.retry_after(), acted: false });
    }
    match serde_json::from_slice::<RpcReply>(&answer.body) {
        Ok(RpcReply { error: Some(error), .. }) => return Err(told(&from, &error)),
        Ok(RpcReply { result: Some(result), .. }) if answer.status.is_success() => return Ok(result),
        _ => {}
    }
    match status {
        // A gateway that gave up may have passed the message on: the next try asks for a task first.
        408 | 425 | 500..=599 => {
            Err(RpcError::Passing { message: head, after: answer.retry_after(), acted: true })
        }
        200..=299 => Err(RpcError::Final(format!("{from} answers with something else than JSON-RPC"))),
        _ => Err(RpcError::Final(head)),
    }
}

fn told(from: &str, error: &RpcReplyError) -> RpcError {
    let words: String = plain_line(error.message.as_bytes()).chars().take(SHOWN).collect();
    let hint = match error.code {
        METHOD_NOT_FOUND | VERSION_NOT_SUPPORTED => "; it has to speak A2A 1.0 here",
        CONTENT_TYPE_NOT_SUPPORTED => "; a brief is text, and inputs are JSON",
        _ => "",
    };
    let message = format!("{from} answers with error {}: {}{hint}", error.code, words.trim());
    RpcError::Error { code: error.code, message }
}

/// Reads a result as what it should be.
pub(super) fn read<T: serde::de::DeserializeOwned>(result: Value, at: &Url) -> Result<T, RpcError> {
    // What is wrong with it, never a value.
    serde_json::from_value(result)
        .map_err(|_| RpcError::Final(format!("{} answers with a result of another form", origin(at))))
}
