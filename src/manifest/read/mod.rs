//! From text to documents: YAML with several documents, or JSON. No schema.
//!
//! Usual YAML is read line by line (`fast_yaml`), all other YAML, and every place, comes from one walk over the events of
//! a parser (`walk`).

pub(crate) mod documents;
mod fast_yaml;
mod lines;
mod plain;
mod scalar;
#[cfg(test)]
mod tests;
mod tree;
mod value;
mod walk;

pub(super) use lines::{LineIndex, Position, TextRange};
pub(super) use tree::{EntryLocation, YamlTree};

use serde_json::Value;
use tracing::trace;

use crate::config::Limits;
use crate::run::json::{self, JsonFault};

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

/// Something that a manifest may not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ReadFinding {
    pub(super) kind: FindingKind,
    pub(super) pointer: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FindingKind {
    DuplicateKey,
    TooDeep,
    /// A tag that means nothing here.
    Tag(String),
    /// A tag of YAML itself, such as `!!int`, on a value that is no such thing.
    TagMismatch(String),
    BadNumber,
    BadMerge,
}

/// Why a document could not be read. But for `ComplexKey`, nothing of what follows it was read either.
#[derive(Debug)]
pub(super) enum ReadError {
    /// The text is malformed.
    Syntax { at: Position, message: String },
    /// A key is a list or a mapping.
    ComplexKey { at: Position },
    /// There are more documents than the limit.
    TooMany,
    /// Brackets are nested deeper than the parser goes.
    TooDeep { at: Position },
    /// Aliases are too many, expand too far, or hold themselves.
    Aliases { at: TextRange, message: String, hint: &'static str },
}

/// What is read from a text.
pub(super) struct ReadText {
    pub(super) documents: Vec<Result<RawDocument, ReadError>>,
    /// Where everything stands, if that came with the values.
    pub(super) tree: Option<YamlTree>,
}

/// How deep the usual part of a text of ours is nested at most.
const DEEPEST: u32 = 64;

/// The value of a text that is one document of usual YAML; nothing where it takes a parser to say what the text means, or what is
/// wrong with it.
pub(crate) fn usual_yaml(text: &str) -> Option<Value> {
    fast_yaml::read(text, DEEPEST, 1)?.pop()
}

/// Reads every document.
pub(super) fn read(text: &str, format: ManifestFormat, limits: &Limits) -> ReadText {
    if format == ManifestFormat::Json {
        return ReadText { documents: vec![read_json(text, limits.depth)], tree: None };
    }
    // It has no findings: whatever is worth one is left to the walk.
    if let Some(values) = fast_yaml::read(text, limits.depth, limits.documents) {
        let documents = values.into_iter().map(|value| Ok(RawDocument { value, findings: Vec::new() }));
        return ReadText { documents: documents.collect(), tree: None };
    }
    let read = read_by_walk(text, limits);
    trace!(bytes = text.len(), documents = read.documents.len(), "read unusual YAML by its events");
    read
}

fn read_json(text: &str, depth: u32) -> Result<RawDocument, ReadError> {
    let read = json::check(text, depth).map_err(|error| {
        let message = error.to_string();
        ReadError::Syntax {
            // The column counts bytes; beyond ASCII it may be late, and is cut at the end of the line.
            at: Position { line: error.line(), column: error.column().max(1) },
            message: message.split(" at line ").next().unwrap_or_default().to_owned(),
        }
    })?;
    // The same findings as for YAML, so that a manifest means the same in both.
    let findings = read.faults.into_iter().map(|(fault, pointer)| {
        let kind = match fault {
            JsonFault::DuplicateKey => FindingKind::DuplicateKey,
            JsonFault::TooDeep => FindingKind::TooDeep,
            JsonFault::WideInteger => FindingKind::BadNumber,
        };
        ReadFinding { kind, pointer }
    });
    Ok(RawDocument { value: read.value, findings: findings.collect() })
}

fn read_by_walk(text: &str, limits: &Limits) -> ReadText {
    let (tree, error) = walk::walk(text, limits);
    let documents = tree.roots.iter().map(|root| value::read(&tree, *root, limits.depth));
    let documents = documents.chain(error.map(Err)).collect();
    ReadText { documents, tree: Some(tree) }
}

/// Where the keys and values of a text stand, as far as it can be read.
pub(super) fn places(text: &str, format: ManifestFormat, limits: &Limits) -> YamlTree {
    match format {
        ManifestFormat::Yaml => walk::walk(text, limits).0,
        ManifestFormat::Json => walk::walk_json(text, limits),
    }
}

/// Deserializes a value of a document into a model type.
pub(super) fn decode<T: serde::de::DeserializeOwned>(value: Value) -> Result<T, String> {
    serde_json::from_value(value).map_err(|error| error.to_string())
}
