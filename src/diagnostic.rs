//! Diagnostics: a stable code, a severity, a place and a hint. Rendering lives in `report`, not here.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

use crate::model::ResourceKey;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// Probably not what was meant; nothing is refused.
    Warning,
    /// Refused.
    Error,
}

/// A stable diagnostic code; see `docs/diagnostics.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code {
    /// `PS` and four digits: 1xxx syntax, 2xxx schema, 3xxx references and graph, 4xxx transitions.
    pub id: &'static str,
    /// What the code means, as a short title.
    pub title: &'static str,
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.id)
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.id)
    }
}

/// A range in a text. Lines and columns count from 1, columns in characters; offsets are bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Span {
    /// The first line.
    pub line: u32,
    /// The first column.
    pub column: u32,
    /// The line of the end.
    pub end_line: u32,
    /// The column just after the end.
    pub end_column: u32,
    /// The byte offset of the start.
    pub start: usize,
    /// The byte offset just after the end.
    pub end: usize,
}

/// A place in a manifest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Location {
    /// The path of the file, with `/`; `-` for standard input.
    pub path: String,
    /// The range in the file, when it could be found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub span: Option<Span>,
    /// The index of the document in the file, from 0.
    pub document: u32,
    /// The JSON pointer within the document; empty for the document itself.
    pub pointer: String,
}

/// Another place that belongs to a diagnostic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Related {
    /// The place.
    pub location: Location,
    /// What is there.
    pub message: String,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// The stable code.
    pub code: Code,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, as a lower-case fragment; holds no content of refused files.
    pub message: String,
    /// Where.
    pub location: Location,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Further places.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub related: Vec<Related>,
    /// The resource that it is about, when that much is known.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "display")]
    pub resource: Option<ResourceKey>,
    /// Whether the key at the place is meant, and not its value; asked when the span is looked for.
    #[serde(skip)]
    at_key: bool,
}

impl Diagnostic {
    /// The place and what is wrong there, as a part of a sentence: `PATH:LINE: MESSAGE`.
    #[must_use]
    pub fn brief(&self) -> String {
        let line = self.location.span.map(|span| format!(":{}", span.line)).unwrap_or_default();
        format!("{}{line}: {}", self.location.path, self.message)
    }

    /// Whether it is an error in the manifest of this resource.
    #[must_use]
    pub fn breaks(&self, key: &ResourceKey) -> bool {
        self.severity == Severity::Error && self.resource.as_ref() == Some(key)
    }
}

fn display<S: Serializer>(key: &Option<ResourceKey>, serializer: S) -> Result<S::Ok, S::Error> {
    match key {
        Some(key) => serializer.collect_str(key),
        None => serializer.serialize_none(),
    }
}

impl Diagnostic {
    /// An error at a place.
    #[must_use]
    pub fn error(code: Code, location: Location, message: impl Into<String>) -> Self {
        Self::new(code, Severity::Error, location, message)
    }

    /// A warning at a place.
    #[must_use]
    pub fn warning(code: Code, location: Location, message: impl Into<String>) -> Self {
        Self::new(code, Severity::Warning, location, message)
    }

    fn new(code: Code, severity: Severity, location: Location, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            code,
            severity,
            message,
            location,
            hint: None,
            related: Vec::new(),
            resource: None,
            at_key: false,
        }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Marks the key at the place: it is the name that is wrong, whatever its value is.
    #[must_use]
    pub(crate) fn at_key(mut self) -> Self {
        self.at_key = true;
        self
    }

    /// Whether the key at the place is to be marked.
    #[must_use]
    pub(crate) fn marks_key(&self) -> bool {
        self.at_key
    }

    /// Adds the resource that it is about.
    #[must_use]
    pub fn about(mut self, key: &ResourceKey) -> Self {
        self.resource = Some(key.clone());
        self
    }

    /// Adds a further place.
    #[must_use]
    pub fn with_related(mut self, location: Location, message: impl Into<String>) -> Self {
        self.related.push(Related { location, message: message.into() });
        self
    }
}
