//! External nodes: asks an address, a webhook or the Git host whether what a plan waits for has happened. No Binding names
//! this provider; the engine does, for nodes of kind External.

mod on_host;

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use self::on_host::HostQuery;
use crate::model::{JsonMap, NodeReason};
use crate::provider::output::plain_line;
use crate::provider::settings::Settings;
use crate::provider::web::{Answer, Request, origin, parse_address};
use crate::provider::{
    Attempt, AttemptFuture, AttemptOutcome, ConfigError, Control, Provider, ProviderContext, stop_requested,
};

/// How many bytes of an answer become outputs.
// Outputs are written into the record, and hosts recommend objects of less than 1 MB.
const BODY: usize = 64 << 10;

/// The provider.
#[derive(Clone)]
pub(super) struct External(ProviderContext);

/// What is asked.
#[derive(Debug)]
enum ExternalQuery {
    /// An address that answers with success.
    Uri(Request),
    /// A webhook that answers with a result.
    Webhook(Request),
    /// A pull request or an issue.
    OnHost(HostQuery),
}

impl External {
    pub(super) fn new(context: ProviderContext) -> Self {
        Self(context)
    }
}

impl Provider for External {
    fn schemes(&self) -> &'static [&'static str] {
        &["external"]
    }

    fn check(&self, _provider: &str, config: &JsonMap) -> Result<(), ConfigError> {
        ExternalQuery::read(config).map(|_| ())
    }

    fn run(&self, attempt: Attempt, control: Control) -> AttemptFuture {
        let external = self.clone();
        let Control { mut stop, .. } = control;
        Box::pin(async move {
            tokio::select! {
                outcome = external.look(&attempt) => outcome.into(),
                stop = stop_requested(&mut stop) => AttemptOutcome::Stopped(stop).into(),
            }
        })
    }
}

impl ExternalQuery {
    fn read(config: &JsonMap) -> Result<Self, ConfigError> {
        let form = config.get("type").and_then(Value::as_str);
        if let Some(form @ ("pull-request" | "issue")) = form {
            return HostQuery::read(config, form).map(Self::OnHost);
        }
        let settings = Settings::new(config, &["type", "url"])?;
        let invalid = |key: &str, why: String| ConfigError::Invalid { key: key.to_owned(), why };
        let url = settings.text("url")?.unwrap_or_default();
        let url = parse_address(&url).map_err(|error| invalid("url", format!("cannot be used: {error}")))?;
        match settings.text("type")?.as_deref() {
            Some("uri") => {
                let mut request = Request::new(Method::GET, url);
                // The status decides here; a page that is larger than outputs may be is cut, and is no failure.
                (request.limit, request.cut) = (BODY, true);
                Ok(Self::Uri(request))
            }
            Some("webhook") => Ok(Self::Webhook(Request::new(Method::POST, url))),
            _ => Err(invalid("type", "must be `uri`, `webhook`, `pull-request` or `issue`".to_owned())),
        }
    }
}

impl External {
    async fn look(&self, attempt: &Attempt) -> AttemptOutcome {
        // `check` has seen these settings before their expressions were replaced; only now is it known what they came
        // to.
        match ExternalQuery::read(&attempt.config) {
            Ok(ExternalQuery::Uri(request)) => self.look_at(request).await,
            Ok(ExternalQuery::Webhook(request)) => self.ask(request, attempt).await,
            Ok(ExternalQuery::OnHost(query)) => self.look_on_host(&query).await,
            Err(error) => AttemptOutcome::permanent(NodeReason::ProviderFailed, error.to_string()),
        }
    }

    async fn look_at(&self, request: Request) -> AttemptOutcome {
        match self.0.web.send(request).await {
            Ok(answer) if answer.status.is_success() => AttemptOutcome::Succeeded {
                outputs: self.0.redactor.map(JsonMap::from_iter([
                    ("status".to_owned(), json!(answer.status.as_u16())),
                    ("body".to_owned(), body(&answer)),
                ])),
            },
            Ok(answer) => {
                // Any other status may still become a success: what the plan waits for has not happened yet. The node's
                // `timeout` ends the wait.
                let message = format!("{} responded {}", origin(&answer.url), answer.status);
                self.waits(&message, answer.retry_after())
            }
            Err(error) => self.waits(&error.to_string(), None),
        }
    }

    async fn ask(&self, mut request: Request, attempt: &Attempt) -> AttemptOutcome {
        request.body = Some(Value::Object(attempt.document()));
        // The webhook is asked in every pass, and may be asked by two runners at once: these headers tell it that it is
        // the same attempt.
        if let Err(error) = request.identify(attempt) {
            return AttemptOutcome::permanent(NodeReason::ProviderFailed, error.to_string());
        }
        let answer = match self.0.web.send(request).await {
            Ok(answer) => answer,
            Err(error) => return self.waits(&error.to_string(), None),
        };
        let from = origin(&answer.url);
        let after = answer.retry_after();
        if !answer.status.is_success() {
            return self.waits(&format!("{from} responded {}", answer.status), after);
        }
        // A page of a proxy in front of the webhook is no answer of the webhook. Only an explicit `failed` ends the
        // node.
        let Ok(Value::Object(mut said)) = serde_json::from_slice(&answer.body) else {
            return self.waits(&format!("{from} did not return a JSON object"), after);
        };
        let status = said.get("status").and_then(Value::as_str).unwrap_or_default();
        let message = said.get("message").and_then(Value::as_str);
        if status == "failed" {
            let message = message.map_or_else(|| format!("{from} reported a failure"), str::to_owned);
            return AttemptOutcome::permanent(NodeReason::ProviderFailed, self.line(&message));
        }
        if status == "succeeded" || said.get("done") == Some(&Value::Bool(true)) {
            let outputs = match said.remove("outputs") {
                Some(Value::Object(outputs)) => outputs,
                _ => JsonMap::new(),
            };
            return AttemptOutcome::Succeeded { outputs: self.0.redactor.map(outputs) };
        }
        let message = message.map_or_else(|| format!("{from} is not done yet"), str::to_owned);
        self.waits(&message, after)
    }

    /// Asks again after the node's interval, or later if that is asked for.
    fn waits(&self, message: &str, poll_after: Option<Duration>) -> AttemptOutcome {
        AttemptOutcome::Blocked {
            reason: NodeReason::AwaitingEvent,
            message: self.line(message),
            handle: None,
            poll_after,
        }
    }

    fn line(&self, text: &str) -> String {
        plain_line(self.0.redactor.text(text).as_bytes())
    }
}

/// A body as data when it is JSON and whole, else as text.
fn body(answer: &Answer) -> Value {
    // The beginning of a JSON text cannot be parsed, or worse, can: a number that is cut is another number.
    let data = if answer.cut { None } else { serde_json::from_slice(&answer.body).ok() };
    data.unwrap_or_else(|| Value::String(String::from_utf8_lossy(&answer.body).into_owned()))
}
