//! One attempt by a service: handing in the work, polling for its result, cancelling it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::{Method, Url};
use serde::Deserialize;
use serde_json::{Value, json};

use super::ProviderContext;
use super::config::HttpConfig;
use super::reply::{HttpReply, HttpResult};
use crate::model::NodeReason;
use crate::provider::output::plain_line;
use crate::provider::web::{Request, WebError, origin, parse_address};
use crate::provider::{Attempt, AttemptOutcome, AttemptReport};

/// How often a service that asks to come again later is asked within one attempt.
const AGAIN: u32 = 5;

/// How long is waited for it at a time; a longer pause is a matter of the node's own retries.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often remote work is polled when the service does not say.
const LOOK: Duration = Duration::from_secs(10);

/// What is kept of remote work.
#[derive(Debug, Deserialize)]
struct HttpWorkHandle {
    location: String,
}

/// One attempt.
pub(super) struct HttpExchange<'a> {
    shared: &'a ProviderContext,
    attempt: &'a Attempt,
    config: HttpConfig,
    deadline: Option<Instant>,
}

impl<'a> HttpExchange<'a> {
    /// Gets ready; what is left of the attempt's time is counted from now.
    pub(super) fn new(shared: &'a ProviderContext, attempt: &'a Attempt, config: HttpConfig) -> Self {
        let left = attempt.timeout.map(|timeout| timeout.saturating_sub(attempt.age));
        let deadline = left.and_then(|left| Instant::now().checked_add(left));
        Self { shared, attempt, config, deadline }
    }

    /// Hands in the work; gives what the service says of it, too.
    pub(super) async fn begin(&self) -> (AttemptReport, Option<String>) {
        self.clean(self.hand_in().await)
    }

    /// Asks for the result of work that was handed in before.
    pub(super) async fn poll(&self) -> (AttemptReport, Option<String>) {
        self.clean(self.look().await)
    }

    /// Cancels work that was handed in before.
    pub(super) async fn cancel(&self) -> Result<(), String> {
        let url = self.location()?;
        let from = origin(&url);
        let request = self.request(Method::DELETE, url).map_err(in_words)?;
        let answer = self.shared.web.send(request).await.map_err(|error| error.to_string())?;
        match answer.status.as_u16() {
            // What is gone, or cannot be cancelled, needs nothing more from us.
            200..=299 | 404 | 405 | 410 | 501 => Ok(()),
            _ => Err(format!("{from} responded {} to the cancellation", answer.status)),
        }
    }

    async fn hand_in(&self) -> Result<HttpResult, AttemptOutcome> {
        let mut asked = 0;
        loop {
            let mut request = self.request(self.config.method.clone(), self.config.url.clone())?;
            // The same keys each time: a service that began before it said that it is busy begins nothing twice.
            request.body = Some(self.document());
            let answer = self.shared.web.send(request).await.map_err(|error| self.failed(&error))?;
            asked += 1;
            match HttpReply::read(&answer, self.attempt) {
                HttpReply::Done(done) => return Ok(done),
                HttpReply::Accepted { location: Some(location), message, after } => {
                    // Every later request goes there with the secret headers, so it must be where the work was handed
                    // in.
                    let location = self.checked(&answer.url, &location)?;
                    return Err(self.wait_for(&location, message, after));
                }
                // For good: nobody could ask for the result, and another attempt would begin the work again.
                HttpReply::Accepted { location: None, .. } => {
                    let from = origin(&answer.url);
                    let why =
                        format!("{from} accepted the work but did not say where to poll for its result");
                    return Err(AttemptOutcome::permanent(NodeReason::ProviderFailed, why));
                }
                HttpReply::Busy { after: Some(after), .. } if asked < AGAIN && self.has_time_for(after) => {
                    tokio::time::sleep(after).await;
                }
                HttpReply::Busy { message, after } | HttpReply::Trouble { message, after } => {
                    return Err(AttemptOutcome::broken(message, true).not_before(after));
                }
                HttpReply::Gone { message } => {
                    return Err(AttemptOutcome::permanent(NodeReason::ProviderFailed, message));
                }
                HttpReply::Failed(outcome) => return Err(outcome),
            }
        }
    }

    async fn look(&self) -> Result<HttpResult, AttemptOutcome> {
        let permanent = |why: String| AttemptOutcome::permanent(NodeReason::ProviderFailed, why);
        let url = self.location().map_err(permanent)?;
        let request = self.request(Method::GET, url.clone())?;
        let answer = match self.shared.web.send(request).await {
            Ok(answer) => answer,
            // What can be overcome is no reason to give up work that may be done already.
            Err(error) if error.may_pass() => return Err(self.wait_for(&url, None, None)),
            Err(error) => return Err(permanent(error.to_string())),
        };
        match HttpReply::read(&answer, self.attempt) {
            HttpReply::Done(done) => Ok(done),
            HttpReply::Accepted { message, after, .. } => Err(self.wait_for(&url, message, after)),
            // No message of the service's trouble: what is recorded would change with each poll, and each change is a
            // commit.
            HttpReply::Busy { after, .. } => Err(self.wait_for(&url, None, after)),
            HttpReply::Trouble { .. } => Err(self.wait_for(&url, None, None)),
            HttpReply::Gone { message } => Err(AttemptOutcome::Lost { message }),
            HttpReply::Failed(outcome) => Err(outcome),
        }
    }

    /// A request with every header that it needs.
    fn request(&self, method: Method, url: Url) -> Result<Request, AttemptOutcome> {
        let bad = |why: String| AttemptOutcome::permanent(NodeReason::ProviderFailed, why);
        let mut request = self
            .config
            .request(method, url, &self.shared.settings)
            .map_err(|error| bad(error.to_string()))?;
        request.identify(self.attempt).map_err(|error| bad(error.to_string()))?;
        if let Some(deadline) = self.deadline {
            request.timeout = request.timeout.min(deadline.saturating_duration_since(Instant::now()));
        }
        Ok(request)
    }

    /// What a service gets to know of an attempt.
    fn document(&self) -> Value {
        let attempt = self.attempt;
        let brief = &self.attempt.brief;
        let brief = json!({
            "goal": brief.goal,
            "plan": brief.plan,
            "planContext": brief.plan_context,
            "title": brief.title,
            "task": brief.task,
            "taskContext": brief.task_context,
            "executionContext": brief.execution_context,
        });
        let mut document = attempt.document();
        let further = [
            ("fencingToken", json!(attempt.fencing_token)),
            ("commit", json!(attempt.commit)),
            ("outputs", json!(attempt.declared_outputs)),
            ("brief", brief),
        ];
        document.extend(further.map(|(name, value)| (name.to_owned(), value)));
        Value::Object(document)
    }

    /// Where work continues: at the same origin, so that no header reaches another host.
    fn checked(&self, base: &Url, location: &str) -> Result<Url, AttemptOutcome> {
        let bad = |why: String| AttemptOutcome::permanent(NodeReason::ProviderFailed, why);
        let from = origin(base);
        let joined =
            base.join(location).map_err(|_| bad(format!("{from} returned a location that is not a URL")))?;
        let url = parse_address(joined.as_str()).map_err(|error| bad(error.to_string()))?;
        if url.origin() != self.config.url.origin() {
            let why = format!(
                "{from} returned a location at another origin, {}, which is not polled",
                origin(&url)
            );
            return Err(bad(why));
        }
        // The location is recorded, where everybody can read it.
        if self.shared.redactor.text(url.as_str()) != url.as_str() {
            return Err(bad(format!("{from} returned a location that contains a secret")));
        }
        Ok(url)
    }

    /// The location that was kept; checked again, because the settings may have changed.
    fn location(&self) -> Result<Url, String> {
        let kept = self.attempt.handle.as_deref().unwrap_or_default();
        let handle: HttpWorkHandle =
            serde_json::from_str(kept).map_err(|_| "the location of the work is unknown".to_owned())?;
        self.checked(&self.config.url, &handle.location).map_err(in_words)
    }

    /// The same words at every poll, unless the service has others: only what changes is recorded.
    fn wait_for(&self, location: &Url, message: Option<String>, after: Option<Duration>) -> AttemptOutcome {
        let handle = json!({ "location": location.as_str() }).to_string();
        let place = origin(location);
        AttemptOutcome::Blocked {
            reason: NodeReason::AwaitingProvider,
            message: match message.filter(|message| !message.trim().is_empty()) {
                Some(message) => format!("{place} is working on it: {}", plain_line(message.as_bytes())),
                None => format!("{place} is working on it"),
            },
            handle: Some(handle),
            poll_after: Some(after.unwrap_or(LOOK)),
        }
    }

    fn failed(&self, error: &WebError) -> AttemptOutcome {
        // The request was cut short by the attempt's own deadline, which is what to say.
        if matches!(error, WebError::TimedOut { .. }) && self.is_over() {
            return AttemptOutcome::failed(NodeReason::Timeout, error.to_string());
        }
        AttemptOutcome::broken(error.to_string(), error.may_pass())
    }

    fn is_over(&self) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= Instant::now())
    }

    fn has_time_for(&self, pause: Duration) -> bool {
        let left = self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        pause <= PATIENCE && left.is_none_or(|left| pause < left)
    }

    /// Nothing that leaves here holds a secret.
    fn clean(&self, ended: Result<HttpResult, AttemptOutcome>) -> (AttemptReport, Option<String>) {
        let (mut report, message) = match ended {
            Ok(HttpResult { outputs, message, artifacts }) => {
                let mut report = AttemptReport::from(AttemptOutcome::Succeeded { outputs });
                report.evidence.artifacts = artifacts;
                (report, message)
            }
            Err(outcome) => (outcome.into(), None),
        };
        let redactor = Arc::clone(&self.shared.redactor);
        report.outcome = report.outcome.cleaned(&redactor);
        for artifact in &mut report.evidence.artifacts {
            artifact.name = redactor.text(&artifact.name);
            artifact.url = artifact.url.take().map(|url| redactor.text(&url));
        }
        (report, message)
    }
}

#[allow(clippy::needless_pass_by_value, reason = "the form that `map_err` asks for")]
fn in_words(outcome: AttemptOutcome) -> String {
    match outcome {
        AttemptOutcome::Failed { message, .. } => message,
        _ => String::new(),
    }
}
