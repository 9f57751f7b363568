//! A session with a server: greeting, one call, farewell.

use std::collections::HashMap;
use std::time::Duration;

use reqwest::Url;
use rmcp::model::CallToolRequestParams;
use rmcp::service::{RoleClient, serve_client};
use rmcp::transport::IntoTransport;
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use tokio::sync::watch;

use super::error::{no_answer, no_greeting};
use super::server::ServerAddress;
use super::{SessionResult, answer, permanent};
use crate::model::NodeReason;
use crate::provider::output::OUTPUT_LIMIT;
use crate::provider::web::Request;
use crate::provider::{Attempt, AttemptOutcome, ProviderContext, Stop, stop_requested};

/// How long a farewell may take.
const FAREWELL: Duration = Duration::from_secs(2);

/// Calls a tool by way of `transport`.
/// `at` is the address of a server that has one.
pub(super) async fn call<T, E, A>(
    transport: T,
    tool: &str,
    attempt: &Attempt,
    at: Option<&Url>,
) -> SessionResult
where
    T: IntoTransport<RoleClient, E, A>,
    E: std::error::Error + Send + Sync + 'static,
{
    let mut service = match serve_client((), transport).await {
        Ok(service) => service,
        Err(error) => return no_greeting(error, at),
    };
    let mut params = CallToolRequestParams::new(tool.to_owned());
    params.arguments = Some(attempt.inputs.clone());
    // Servers answer a call of a tool that they do not have in many ways; the list makes it one message, with the names
    // that there are.
    let outcome = match service.list_all_tools().await {
        Ok(tools) if !tools.iter().any(|known| known.name == tool) => {
            let names: Vec<&str> = tools.iter().map(|tool| tool.name.as_ref()).collect();
            Ok(permanent(format!("the server has no tool `{tool}`; it has {}", names.join(", "))))
        }
        Ok(_) => match service.call_tool(params).await {
            Ok(result) => Ok(answer::outcome(&result, attempt)),
            Err(error) => no_answer(error, at),
        },
        Err(error) => no_answer(error, at),
    };
    // The call is over in any case.
    let _ = service.close_with_timeout(FAREWELL).await;
    outcome
}

/// A call to a server at an address.
pub(super) async fn over_http(
    shared: &ProviderContext,
    address: &ServerAddress,
    tool: String,
    attempt: &Attempt,
    stop: &mut watch::Receiver<Option<Stop>>,
) -> AttemptOutcome {
    let transport = match transport(shared, address) {
        Ok(transport) => transport,
        Err(outcome) => return outcome,
    };
    let timeout = attempt.timeout.unwrap_or(Duration::MAX);
    tokio::select! {
        done = tokio::time::timeout(timeout, call(transport, &tool, attempt, Some(&address.url))) => {
            match done {
                Ok(Ok(outcome) | Err(outcome)) => outcome,
                Err(_) => AttemptOutcome::failed(NodeReason::Timeout, format!("took longer than {timeout:?}")),
            }
        }
        stop = stop_requested(stop) => AttemptOutcome::Stopped(stop),
    }
}

fn transport(
    shared: &ProviderContext,
    address: &ServerAddress,
) -> Result<StreamableHttpClientTransport<reqwest::Client>, AttemptOutcome> {
    let mut headers = HashMap::new();
    let mut request = Request::new(reqwest::Method::POST, address.url.clone());
    address.headers.add_to(&mut request, &shared.settings).map_err(|error| permanent(error.to_string()))?;
    for (name, value) in request.headers {
        // A name that is missing repeats the one before it; no setting has one twice.
        headers.extend(name.map(|name| (name, value)));
    }
    // The library makes the requests, but with our client, so that the guard holds for them, too.
    let client = shared.web.client(&address.url);
    let client = client.map_err(|error| AttemptOutcome::broken(error.to_string(), error.may_pass()))?;
    let mut config =
        StreamableHttpClientTransportConfig::with_uri(address.url.as_str()).custom_headers(headers);
    let limit = usize::try_from(4 * OUTPUT_LIMIT).unwrap_or(usize::MAX);
    config = config.max_json_response_size(limit).max_sse_event_size(limit);
    Ok(StreamableHttpClientTransport::with_client(client, config))
}
