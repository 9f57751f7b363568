//! What a service answers, and what it means for the attempt.

use std::time::Duration;

use reqwest::header::LOCATION;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::model::{Artifact, ArtifactType, JsonMap, NodeReason};
use crate::provider::output::{OutputForm, check_outputs, plain_line};
use crate::provider::web::{Answer, origin, parse_address};
use crate::provider::{Attempt, AttemptOutcome};

/// How many artifacts a service may name.
const ARTIFACTS: usize = 100;

/// How many characters of an answer that is no result are shown.
const SHOWN: usize = 200;

/// What an answer means.
#[derive(Debug)]
pub(super) enum HttpReply {
    /// The work is done.
    Done(HttpResult),
    /// It goes on at a location.
    Accepted { location: Option<String>, message: Option<String>, after: Option<Duration> },
    /// The service asks to come again later.
    Busy { message: String, after: Option<Duration> },
    /// There is nothing at the address.
    Gone { message: String },
    /// The service is in trouble.
    Trouble { message: String, after: Option<Duration> },
    /// It failed, or will not do it.
    Failed(AttemptOutcome),
}

/// The result of work that is done.
#[derive(Debug)]
pub(super) struct HttpResult {
    pub(super) outputs: JsonMap,
    pub(super) message: Option<String>,
    pub(super) artifacts: Vec<Artifact>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ReplyBody {
    outputs: JsonMap,
    message: Option<String>,
    status: Option<String>,
    location: Option<String>,
    retryable: Option<bool>,
    artifacts: Vec<NamedArtifact>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct NamedArtifact {
    name: String,
    url: String,
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    size: Option<u64>,
}

impl HttpReply {
    /// Reads an answer.
    pub(super) fn read(answer: &Answer, attempt: &Attempt) -> Self {
        let message = || told(answer);
        let after = answer.retry_after();
        match answer.status.as_u16() {
            200 | 201 | 204 => done(answer, attempt).unwrap_or_else(Self::Failed),
            202 => {
                // The header is enough: what else an accepted request answers may be any page.
                let body: ReplyBody = serde_json::from_slice(&answer.body).unwrap_or_default();
                let header = answer.headers.get(LOCATION).and_then(|value| value.to_str().ok());
                let location = header.map(str::to_owned).or(body.location);
                Self::Accepted { location, message: body.message, after }
            }
            404 | 410 => Self::Gone { message: message() },
            429 | 503 => Self::Busy { message: message(), after },
            408 | 425 | 500..=599 => Self::Trouble { message: message(), after },
            _ => Self::Failed(AttemptOutcome::permanent(NodeReason::ProviderFailed, message())),
        }
    }
}

fn done(answer: &Answer, attempt: &Attempt) -> Result<HttpReply, AttemptOutcome> {
    // Not for good: another attempt may bring an answer of the right form.
    let invalid = |why: String| AttemptOutcome::failed(NodeReason::OutputInvalid, why);
    let from = origin(&answer.url);
    let body: ReplyBody = if answer.body.trim_ascii().is_empty() {
        ReplyBody::default()
    } else {
        let value: Value = serde_json::from_slice(&answer.body)
            .map_err(|_| invalid(format!("{from} did not return JSON")))?;
        // Apart from a field of the wrong type: a page in the place of a result is another fault, often of a proxy.
        if !value.is_object() {
            return Err(invalid(format!("{from} did not return a JSON object")));
        }
        // The position and the kind of what is wrong, never a value.
        serde_json::from_value(value).map_err(|_| {
            invalid(format!("{from} returned a field of the wrong type: `outputs` is an object, `message` a string, `artifacts` a list of `name` and `url`"))
        })?
    };
    match body.status.as_deref() {
        Some("failed") => {
            let message = body.message.unwrap_or_else(|| format!("{from} reported a failure"));
            let retryable = body.retryable.unwrap_or(true);
            return Err(AttemptOutcome::broken(message, retryable).not_before(answer.retry_after()));
        }
        // The page at a location answers 200 while the work continues, in services that have one page for state and
        // result.
        Some("running" | "pending" | "queued") => {
            let after = answer.retry_after();
            return Ok(HttpReply::Accepted { location: body.location, message: body.message, after });
        }
        _ => {}
    }
    let outputs = check_outputs(body.outputs, &attempt.declared_outputs, OutputForm::Reply)
        .map_err(|error| invalid(error.to_string()))?;
    let artifacts = artifacts(body.artifacts, attempt).map_err(invalid)?;
    Ok(HttpReply::Done(HttpResult { outputs, message: body.message, artifacts }))
}

fn artifacts(named: Vec<NamedArtifact>, attempt: &Attempt) -> Result<Vec<Artifact>, String> {
    if named.len() > ARTIFACTS {
        return Err(format!("the service names more than {ARTIFACTS} artifacts"));
    }
    let artifact = |named: NamedArtifact| {
        // Links are shown to people: this lets no other scheme through, and no password.
        parse_address(&named.url).map_err(|error| format!("an artifact of the service: {error}"))?;
        Ok(Artifact {
            name: plain_line(named.name.as_bytes()),
            kind: ArtifactType::Url,
            path: None,
            url: Some(named.url),
            checksum: None,
            size: named.size,
            media_type: named.media_type.map(|kind| plain_line(kind.as_bytes())),
            metadata: JsonMap::from_iter([
                ("node".to_owned(), json!(attempt.node)),
                ("attempt".to_owned(), json!(attempt.attempt)),
            ]),
        })
    };
    named.into_iter().map(artifact).collect()
}

/// What a service says that does not do what it should.
fn told(answer: &Answer) -> String {
    let body: Option<ReplyBody> = serde_json::from_slice(&answer.body).ok();
    let said = body.and_then(|body| body.message);
    let said = said.unwrap_or_else(|| String::from_utf8_lossy(&answer.body).into_owned());
    let said: String =
        plain_line(said.lines().next().unwrap_or_default().as_bytes()).chars().take(SHOWN).collect();
    let head = format!("{} responded {}", origin(&answer.url), answer.status);
    if said.trim().is_empty() { head } else { format!("{head}: {}", said.trim()) }
}
