//! From text to documents: YAML with several documents, or JSON. No schema, no positions but that of a syntax error.

use serde_json::Value;

use super::fast_yaml;
use super::lines::Position;
use super::value::{self, EXPECTED_KEY, ReadFinding, ReadFindings};
use crate::config::Limits;

/// The format of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ManifestFormat {
    Yaml,
    Json,
}

impl ManifestFormat {
    /// By the name of the file; text on standard input that starts like JSON is JSON.
    pub(super) fn of(path: &str, text: &str) -> Self {
        let json = path.to_ascii_lowercase().ends_with(".json")
            || (path == "-" && text.trim_start().starts_with('{'));
        if json { Self::Json } else { Self::Yaml }
    }
}

/// One document.
#[derive(Debug)]
pub(super) struct RawDocument {
    pub(super) value: Value,
    pub(super) findings: Vec<ReadFinding>,
}

/// Why a document, and what follows it, could not be read.
#[derive(Debug)]
pub(super) enum ReadError {
    /// The text is malformed.
    Syntax { at: Option<Position>, message: String },
    /// A key is a list or a mapping. The documents after this one can be read.
    ComplexKey { at: Option<Position> },
    /// There are more documents than the limit.
    TooMany,
}

/// Reads every document. After an error that is not about a single document nothing more comes.
pub(super) fn read(
    text: &str,
    format: ManifestFormat,
    limits: &Limits,
) -> Vec<Result<RawDocument, ReadError>> {
    match format {
        ManifestFormat::Yaml => match fast_yaml::read(text, limits.depth, limits.documents) {
            Some(values) => {
                values.into_iter().map(|value| Ok(RawDocument { value, findings: Vec::new() })).collect()
            }
            None => read_by_library(text, limits),
        },
        ManifestFormat::Json => vec![read_json(text, limits)],
    }
}

fn read_json(text: &str, limits: &Limits) -> Result<RawDocument, ReadError> {
    let mut log = ReadFindings::new(limits.depth, false);
    let mut source = serde_json::Deserializer::from_str(text);
    let read = value::read(&mut source, &mut log).and_then(|value| source.end().map(|()| value));
    match read {
        Ok(value) => Ok(RawDocument { value, findings: log.findings }),
        Err(error) => {
            let message = error.to_string();
            let message = message.split(" at line ").next().unwrap_or_default().to_owned();
            // The column counts bytes; beyond ASCII it may be late, and is cut at the end of the line.
            Err(ReadError::Syntax {
                at: Some(Position { line: error.line(), column: error.column().max(1) }),
                message,
            })
        }
    }
}

/// Reads YAML with the library, which is the judge of what a text means.
pub(super) fn read_by_library(text: &str, limits: &Limits) -> Vec<Result<RawDocument, ReadError>> {
    let mut documents = Vec::new();
    for source in serde_yaml::Deserializer::from_str(text) {
        if documents.len() as u64 >= u64::from(limits.documents) {
            documents.push(Err(ReadError::TooMany));
            break;
        }
        let mut log = ReadFindings::new(limits.depth, true);
        match value::read(source, &mut log) {
            Ok(value) => documents.push(Ok(RawDocument { value, findings: log.findings })),
            Err(error) => {
                let at = error.location().map(|at| Position { line: at.line(), column: at.column() });
                let message = error.to_string();
                if message.contains(EXPECTED_KEY) {
                    documents.push(Err(ReadError::ComplexKey { at }));
                } else {
                    documents.push(Err(ReadError::Syntax { at, message: plain(&message) }));
                    break;
                }
            }
        }
    }
    documents
}

/// The parser's message without its positions, which the diagnostic has anyway.
fn plain(message: &str) -> String {
    let mut words = Vec::new();
    let mut rest = message.split(' ').peekable();
    while let Some(word) = rest.next() {
        let position = word == "at" && rest.peek() == Some(&"line");
        if position {
            // `at line L column C`, with a comma where another clause follows.
            let tail: Vec<&str> = rest.by_ref().take(4).collect();
            if tail.last().is_some_and(|last| last.ends_with(','))
                && let Some(last) = words.last_mut()
            {
                *last = format!("{last},");
            }
        } else {
            words.push(word.to_owned());
        }
    }
    words.join(" ")
}

/// Deserializes a value of a document into a model type.
pub(super) fn decode<T: serde::de::DeserializeOwned>(value: Value) -> Result<T, String> {
    serde_json::from_value(value).map_err(|error| error.to_string())
}
