//! What a task that has ended leaves: outputs, and links as artifacts.

use serde_json::{Value, json};

use super::task::{A2aMessage, A2aPart, A2aTask, text_of};
use crate::model::{Artifact, ArtifactType, JsonMap, NodeReason};
use crate::provider::output::{OUTPUT_LIMIT, OutputForm, check_outputs, plain_line};
use crate::provider::web::parse_address;
use crate::provider::{Attempt, AttemptOutcome};

/// The output that takes a text.
const RESULT: &str = "result";

/// How many links are kept.
// Each becomes an entry of the record.
const LINKS: usize = 100;

/// What a task gave.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Results {
    pub(super) outputs: JsonMap,
    pub(super) artifacts: Vec<Artifact>,
    /// What the agent says of it, for the log.
    pub(super) words: String,
}

impl Results {
    /// Those of a task: its artifacts, or, if it has none, what it says in the end.
    pub(super) fn of_task(task: &A2aTask, attempt: &Attempt) -> Result<Self, AttemptOutcome> {
        let said = task.status.message.as_ref();
        let words = said.map(A2aMessage::text).unwrap_or_default();
        let artifacts = task.artifacts.as_deref().unwrap_or_default();
        let named: Vec<(Option<&str>, &A2aPart)> = artifacts
            .iter()
            .flat_map(|artifact| artifact.parts.iter().flatten().map(|part| (artifact.name.as_deref(), part)))
            .collect();
        let from_words =
            || said.iter().flat_map(|message| message.parts.iter().flatten()).map(|part| (None, part));
        let named = if named.is_empty() { from_words().collect() } else { named };
        Ok(Self { words, ..Self::of_parts(&named, attempt)? })
    }

    /// Those of an agent that answers at once, without a task.
    pub(super) fn of_message(message: &A2aMessage, attempt: &Attempt) -> Result<Self, AttemptOutcome> {
        let parts: Vec<(Option<&str>, &A2aPart)> =
            message.parts.iter().flatten().map(|part| (None, part)).collect();
        Ok(Self { words: message.text(), ..Self::of_parts(&parts, attempt)? })
    }

    fn of_parts(named: &[(Option<&str>, &A2aPart)], attempt: &Attempt) -> Result<Self, AttemptOutcome> {
        let parts = || named.iter().map(|(_, part)| *part);
        let mut given = JsonMap::new();
        let mut other = Vec::new();
        for data in parts().filter_map(|part| part.data.as_ref()) {
            match data {
                Value::Object(fields) => {
                    given.extend(fields.iter().map(|(name, value)| (name.clone(), whole(value.clone()))));
                }
                data => other.push(whole(data.clone())),
            }
        }
        // Named values count more than a text beside them, which is mostly an explanation for people.
        if given.is_empty() {
            // The last one, as of two named values the later counts.
            given = match other.pop() {
                Some(last) => [(RESULT.to_owned(), last)].into_iter().collect(),
                None => from_text(&text_of(parts()), attempt),
            };
        }
        // The limit of an output file, so that no provider can give more than a local command.
        if serde_json::to_vec(&given).map_or(0, |bytes| bytes.len()) as u64 > OUTPUT_LIMIT {
            let why = format!("the agent returned outputs of more than {} bytes", OUTPUT_LIMIT);
            return Err(AttemptOutcome::permanent(NodeReason::OutputInvalid, why));
        }
        let outputs = check_outputs(given, &attempt.declared_outputs, OutputForm::AgentData)
            .map_err(|error| AttemptOutcome::failed(NodeReason::OutputInvalid, error.to_string()))?;
        let artifacts =
            named.iter().filter_map(|(name, part)| link(*name, part, attempt)).take(LINKS).collect();
        Ok(Self { outputs, artifacts, words: String::new() })
    }
}

/// The protocol knows floating numbers only, and agents write `3.0` for what was meant as `3`.
fn whole(value: Value) -> Value {
    /// Beyond it, not every whole number has a floating one of its own.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match value {
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            #[allow(clippy::cast_possible_truncation, reason = "it is whole, and small enough")]
            Some(float) if float.fract() == 0.0 && float.abs() <= EXACT => json!(float as i64),
            _ => Value::Number(number),
        },
        Value::Array(items) => items.into_iter().map(whole).collect(),
        Value::Object(fields) => {
            fields.into_iter().map(|(name, value)| (name, whole(value))).collect::<JsonMap>().into()
        }
        other => other,
    }
}

/// A JSON object where outputs are declared that are not just `result`; else the text.
fn from_text(text: &str, attempt: &Attempt) -> JsonMap {
    let declared = &attempt.declared_outputs;
    if !declared.is_empty()
        && *declared != [RESULT]
        && let Ok(Value::Object(map)) = serde_json::from_str(text)
    {
        return map;
    }
    if text.is_empty() {
        return JsonMap::new();
    }
    [(RESULT.to_owned(), Value::String(text.to_owned()))].into_iter().collect()
}

/// A file that the agent keeps somewhere.
fn link(name: Option<&str>, part: &A2aPart, attempt: &Attempt) -> Option<Artifact> {
    // Links are shown to people: only web addresses, and none that holds a password. Raw bytes have no place in a
    // record.
    let url = part.url.as_deref().filter(|url| parse_address(url).is_ok())?;
    let name = part.filename.as_deref().filter(|name| !name.is_empty()).or(name).unwrap_or("file");
    let plain = |text: &str| plain_line(text.as_bytes());
    Some(Artifact {
        name: plain(name),
        kind: ArtifactType::Url,
        path: None,
        url: Some(url.to_owned()),
        checksum: None,
        size: None,
        media_type: part.media_type.as_deref().filter(|kind| !kind.is_empty()).map(plain),
        metadata: JsonMap::from_iter([
            ("node".to_owned(), json!(attempt.node)),
            ("attempt".to_owned(), json!(attempt.attempt)),
        ]),
    })
}
