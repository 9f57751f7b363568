//! A session with a server: greeting, one call, farewell.

use std::collections::HashMap;
use std::time::Duration;

use reqwest::header::{HeaderName, HeaderValue};
use rmcp::model::CallToolRequestParams;
use rmcp::service::{ClientInitializeError, RoleClient, ServiceError, serve_client};
use rmcp::transport::IntoTransport;
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;

use super::server::Address;
use super::{Shared, answer, hopeless};
use crate::model::NodeReason;
use crate::provider::{Attempt, Control, Outcome, outputs};

/// How long a farewell may take.
const FAREWELL: Duration = Duration::from_secs(2);

/// Calls a tool by way of `transport`.
pub(super) async fn call<T, E, A>(transport: T, tool: &str, attempt: &Attempt) -> Outcome
where
    T: IntoTransport<RoleClient, E, A>,
    E: std::error::Error + Send + Sync + 'static,
{
    let mut service = match serve_client((), transport).await {
        Ok(service) => service,
        Err(error) => return no_greeting(&error),
    };
    let mut params = CallToolRequestParams::new(tool.to_owned());
    params.arguments = Some(attempt.inputs.clone());
    let outcome = match service.list_all_tools().await {
        Ok(tools) if !tools.iter().any(|known| known.name == tool) => {
            let names: Vec<&str> = tools.iter().map(|tool| tool.name.as_ref()).collect();
            hopeless(format!("the server has no tool `{tool}`; it has {}", names.join(", ")))
        }
        Ok(_) => match service.call_tool(params).await {
            Ok(result) => answer::outcome(&result, attempt),
            Err(error) => no_answer(&error),
        },
        Err(error) => no_answer(&error),
    };
    // The call is over in any case.
    let _ = service.close_with_timeout(FAREWELL).await;
    outcome
}

fn no_greeting(error: &ClientInitializeError) -> Outcome {
    Outcome::failed(NodeReason::ProviderFailed, format!("no session with the server: {error}"))
}

/// What the server itself refuses would be refused again; a connection may be better next time.
fn no_answer(error: &ServiceError) -> Outcome {
    match error {
        ServiceError::McpError(error) => hopeless(format!("the server refuses the call: {}", error.message)),
        other => Outcome::failed(NodeReason::ProviderFailed, format!("no answer from the server: {other}")),
    }
}

/// A call to a server at an address.
pub(super) async fn over_http(
    shared: &Shared,
    address: &Address,
    tool: String,
    attempt: &Attempt,
    mut control: Control,
) -> Outcome {
    let transport = match transport(shared, address) {
        Ok(transport) => transport,
        Err(message) => return hopeless(message),
    };
    let timeout = attempt.timeout.unwrap_or(Duration::MAX);
    let stopped = async {
        match control.stop.wait_for(Option::is_some).await.ok().and_then(|seen| *seen) {
            Some(stop) => stop,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        done = tokio::time::timeout(timeout, call(transport, &tool, attempt)) => {
            done.unwrap_or_else(|_| Outcome::failed(NodeReason::Timeout, format!("took longer than {timeout:?}")))
        }
        stop = stopped => Outcome::Stopped(stop),
    }
}

fn transport(
    shared: &Shared,
    address: &Address,
) -> Result<StreamableHttpClientTransport<reqwest::Client>, String> {
    let mut headers = HashMap::new();
    for (name, variable) in &address.secret_headers {
        let value = shared.settings.secrets.get(variable).and_then(|value| value.to_str()).ok_or_else(|| {
            format!("the header `{name}` needs the variable `{variable}`, which `providers.secrets` does not name or the runner does not have")
        })?;
        let header =
            HeaderName::try_from(name.as_str()).map_err(|_| format!("`{name}` is no name of a header"))?;
        let mut value =
            HeaderValue::from_str(value).map_err(|_| format!("the value of `{variable}` fits no header"))?;
        value.set_sensitive(true);
        headers.insert(header, value);
    }
    // Whoever was first has chosen the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        // A redirect would take the headers, and the call, to somebody else.
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(10))
        .pool_max_idle_per_host(0)
        .build()
        .map_err(|error| format!("no HTTP client: {error}"))?;
    let mut config =
        StreamableHttpClientTransportConfig::with_uri(address.url.as_str()).custom_headers(headers);
    let limit = usize::try_from(4 * outputs::LIMIT).unwrap_or(usize::MAX);
    config = config.max_json_response_size(limit).max_sse_event_size(limit);
    Ok(StreamableHttpClientTransport::with_client(client, config))
}
