//! From problems with JSON pointers to diagnostics with lines and columns; the spans are found only when asked for.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use tracing::trace;

use super::codes;
use super::problem::{EntryPart, Problem};
use super::read::{
    self, EntryLocation, LineIndex, ManifestFormat, Position, RawDocument, ReadError, TextRange, YamlTree,
};
use crate::config::Limits;
use crate::diagnostic::{Diagnostic, Location, Related, Severity, Span};

const MARK: char = '\u{feff}';

const QUOTE_TEMPLATE: &str = "put `{{ }}` in quotes";

/// The text of a file, and where its keys and values stand once somebody asked.
pub(super) struct SourceText<'t> {
    path: &'t str,
    pub(super) format: ManifestFormat,
    /// The text without its byte order mark.
    pub(super) content: &'t str,
    skipped: usize,
    lines: OnceCell<LineIndex<'t>>,
    tree: OnceCell<YamlTree>,
}

impl<'t> SourceText<'t> {
    pub(super) fn new(path: &'t str, text: &'t str) -> Self {
        // Editors on Windows write a byte order mark. Parsers do not see it, and offsets into the file count
        // it again.
        let content = text.strip_prefix(MARK).unwrap_or(text);
        let skipped = text.len() - content.len();
        let format = ManifestFormat::of(path, content);
        Self { path, format, content, skipped, lines: OnceCell::new(), tree: OnceCell::new() }
    }

    fn lines(&self) -> &LineIndex<'t> {
        self.lines.get_or_init(|| LineIndex::new(self.content, self.skipped))
    }

    /// Reads every document.
    pub(super) fn read(&self, limits: &Limits) -> Vec<Result<RawDocument, ReadError>> {
        let text = read::read(self.content, self.format, limits);
        if let Some(tree) = text.tree {
            // A text that is read again has the same tree.
            let _ = self.tree.set(tree);
        }
        text.documents
    }

    fn tree(&self, limits: &Limits) -> &YamlTree {
        self.tree.get_or_init(|| read::places(self.content, self.format, limits))
    }

    fn location(&self, span: Option<Span>, document: usize, pointer: &str) -> Location {
        let document = u32::try_from(document).unwrap_or(u32::MAX);
        Location { path: self.path.to_owned(), span, document, pointer: pointer.to_owned() }
    }

    /// The end of the text.
    pub(super) fn end(&self) -> Location {
        let line = self.lines().count();
        let column = self.lines().line(line).chars().count() + 1;
        let span = self.lines().point(Position { line, column });
        self.location(Some(span), 0, "")
    }

    /// The diagnostic for a document that could not be read.
    pub(super) fn broken(&self, broken: &ReadError, document: usize, limits: &Limits) -> Diagnostic {
        let point = |at: &Position| self.location(Some(self.lines().point(*at)), document, "");
        match broken {
            ReadError::Syntax { at, message } => {
                let mut diagnostic = Diagnostic::error(codes::SYNTAX, point(at), message.clone());
                diagnostic.hint = self.syntax_hint(*at);
                diagnostic
            }
            ReadError::ComplexKey { at } => {
                let message = "the key of a mapping must be a string";
                let diagnostic = Diagnostic::error(codes::COMPLEX_KEY, point(at), message);
                // To YAML, an unquoted `{{ x }}` is a mapping that is the key of another one: the usual cause
                // of this error.
                match self.lines().line(at.line).contains("{{") {
                    true => diagnostic.with_hint(QUOTE_TEMPLATE),
                    false => diagnostic,
                }
            }
            ReadError::TooMany => {
                let message = format!("the file has more than {} documents", limits.documents);
                let hint = "split it, or raise `limits.documents` in .planspec.yaml";
                Diagnostic::error(codes::TOO_MANY_DOCUMENTS, self.location(None, document, ""), message)
                    .with_hint(hint)
            }
            ReadError::TooDeep { at } => Diagnostic::error(codes::TOO_DEEP, point(at), "nested too deeply"),
            ReadError::Aliases { at, message, hint } => {
                let location = self.location(Some(self.lines().span(*at)), document, "");
                Diagnostic::error(codes::ALIASES, location, message.clone()).with_hint(*hint)
            }
        }
    }

    /// What most often lies behind a syntax error on a line or the one before it.
    fn syntax_hint(&self, at: Position) -> Option<String> {
        let tabbed = |line: usize| {
            let text = self.lines().line(line);
            text.chars().take_while(|c| c.is_whitespace()).any(|c| c == '\t')
        };
        let here = self.lines().line(at.line).trim_start();
        let template = here.starts_with("{{") || here.contains(": {{");
        let unquoted = |start: char| here.split_once(": ").is_some_and(|(_, value)| value.starts_with(start));
        // A parser reports where it gave up, which is often the line after the mistake.
        if (at.line.saturating_sub(1)..=at.line).any(tabbed) {
            Some("YAML is indented with spaces, never with tabs".to_owned())
        } else if template {
            Some(QUOTE_TEMPLATE.to_owned())
        } else if unquoted('@') || unquoted('`') || unquoted('%') {
            // YAML reserves these characters: no plain scalar may begin with one.
            Some("put the value in quotes".to_owned())
        } else if here.matches(": ").count() > 1 {
            // `key: text: more` would be a mapping inside of a value in one line, which YAML does not allow.
            Some("put text that contains `: ` in quotes".to_owned())
        } else {
            None
        }
    }

    /// The diagnostic for a problem.
    pub(super) fn locate(&self, problem: &Problem, document: usize, limits: &Limits) -> Diagnostic {
        let tree = self.tree(limits);
        let find = |pointer: &str, occurrence: usize| {
            let entry = tree.find(document, pointer, occurrence);
            // A field that is missing has no place; the nearest thing around it is shown.
            let entry = entry.or_else(|| tree.nearest(document, pointer))?;
            Some(self.lines().span(pick(entry, problem.at)))
        };
        let part = problem.within.clone().and_then(|bytes| {
            let json = self.format == ManifestFormat::Json;
            let at = (document, problem.pointer.as_str());
            Some(self.lines().span_of_bytes(tree.part_of_scalar(self.lines(), at, bytes, json)?))
        });
        let span = part.or_else(|| find(&problem.pointer, problem.occurrence));
        let location = self.location(span, document, &problem.pointer);
        let mut diagnostic = match problem.severity {
            Severity::Error => Diagnostic::error(problem.code, location, problem.message.clone()),
            _ => Diagnostic::warning(problem.code, location, problem.message.clone()),
        };
        diagnostic.severity = problem.severity;
        diagnostic.hint.clone_from(&problem.hint);
        for (pointer, message) in &problem.related {
            let location = self.location(find(pointer, 0), document, pointer);
            diagnostic.related.push(Related { location, message: message.clone() });
        }
        diagnostic
    }
}

/// Finds the spans of diagnostics that were made without the text at hand, such as those of references.
/// `read` gives the content of a path; it is asked once a path.
pub fn locate(
    diagnostics: &mut [Diagnostic],
    limits: &Limits,
    mut read: impl FnMut(&str) -> Option<Vec<u8>>,
) {
    let mut missing: BTreeMap<String, Vec<(&mut Location, EntryPart)>> = BTreeMap::new();
    for found in diagnostics {
        let part = if found.marks_key() { EntryPart::Key } else { EntryPart::Value };
        let related = found.related.iter_mut().map(|other| (&mut other.location, EntryPart::Value));
        for (location, part) in std::iter::once((&mut found.location, part)).chain(related) {
            if location.span.is_none() {
                missing.entry(location.path.clone()).or_default().push((location, part));
            }
        }
    }
    // By path, so that a file is read and walked once, however many of its places are asked for.
    for (path, locations) in missing {
        trace!(path, locations = locations.len(), "finding the lines of diagnostics");
        // A file that is gone or unreadable by now costs the line numbers, not the findings.
        let Some(bytes) = read(&path) else { continue };
        let Ok(content) = std::str::from_utf8(&bytes) else { continue };
        let text = SourceText::new(&path, content);
        for (location, part) in locations {
            let document = usize::try_from(location.document).unwrap_or(usize::MAX);
            let entry = text.tree(limits).nearest(document, &location.pointer);
            location.span = entry.map(|entry| text.lines().span(pick(entry, part)));
        }
    }
}

/// The key or the value. Of a mapping or list, the key says more than its first line.
fn pick(entry: EntryLocation, at: EntryPart) -> TextRange {
    match (at, entry.key) {
        (EntryPart::Start, _) => entry.start,
        (EntryPart::Key, Some(key)) => key,
        (EntryPart::Value, Some(key)) if !entry.scalar => key,
        _ => entry.value,
    }
}
