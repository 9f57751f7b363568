//! What went wrong between us and a server: whether it may pass, and in words that hold no address but the origin.

use std::error::Error;

use reqwest::Url;
use rmcp::model::ErrorData;
use rmcp::service::{ClientInitializeError, ServiceError};
use rmcp::transport::streamable_http_client::StreamableHttpError;

use super::{SessionResult, permanent};
use crate::model::NodeReason;
use crate::provider::AttemptOutcome;
use crate::provider::web::{WebError, origin, retry_after};

/// A server could not be greeted.
pub(super) fn no_greeting(error: ClientInitializeError, at: Option<&Url>) -> SessionResult {
    Err(match error {
        ClientInitializeError::JsonRpcError(error) => return Ok(refused(&error)),
        ClientInitializeError::TransportError { error, .. } => transport(error.error, at),
        other => broken(format!("cannot open a session with the server: {other}")),
    })
}

/// A call was not answered.
pub(super) fn no_answer(error: ServiceError, at: Option<&Url>) -> SessionResult {
    Err(match error {
        ServiceError::McpError(error) => return Ok(refused(&error)),
        ServiceError::TransportSend(error) => transport(error.error, at),
        other => broken(format!("no response from the server: {other}")),
    })
}

/// What the server itself refuses would be refused again, unless it says that the fault is its own.
fn refused(error: &ErrorData) -> AttemptOutcome {
    const INTERNAL: i32 = -32603;
    let message = format!("the server refuses the call: {}", error.message);
    if error.code.0 == INTERNAL { broken(message) } else { permanent(message) }
}

fn broken(message: String) -> AttemptOutcome {
    AttemptOutcome::failed(NodeReason::ProviderFailed, message)
}

/// A connection may be better next time; what the way itself refuses is not.
fn transport(error: Box<dyn Error + Send + Sync>, at: Option<&Url>) -> AttemptOutcome {
    let Some(url) = at else { return broken(format!("cannot communicate with the server: {error}")) };
    let from = origin(url);
    let error = match error.downcast::<StreamableHttpError<reqwest::Error>>() {
        Ok(error) => *error,
        // Its words may hold the address with its query, so they are not shown.
        Err(_) => return broken(format!("{from}: the connection was interrupted")),
    };
    match error {
        StreamableHttpError::HttpStatus(said) => {
            // The library hands on no date of the answer, so only seconds can be understood.
            let after = said.retry_after.as_deref().and_then(|text| retry_after(text, None));
            broken(format!("{from} responded with status {}", said.status)).not_before(after)
        }
        StreamableHttpError::AuthRequired(_) | StreamableHttpError::InsufficientScope(_) => {
            permanent(format!("{from} requires authorization; set `secretHeaders`"))
        }
        StreamableHttpError::Client(error) => match error.status() {
            Some(status) => permanent(format!("{from} responded with status {status}")),
            None => {
                let error = WebError::of(error, url);
                AttemptOutcome::broken(error.to_string(), error.may_pass())
            }
        },
        // In this case the library gives the status in words only.
        StreamableHttpError::UnexpectedServerResponse(said) if said.starts_with("HTTP 4") => {
            permanent(format!("{from} responded with {}", said.chars().take(100).collect::<String>()))
        }
        StreamableHttpError::ResponseBodyTooLarge { max_size } => {
            permanent(format!("{from} returned more than {max_size} bytes"))
        }
        StreamableHttpError::UnexpectedContentType(_) | StreamableHttpError::Deserialize(_) => {
            permanent(format!("{from} violates the protocol"))
        }
        other => broken(format!("{from}: {other}")),
    }
}
