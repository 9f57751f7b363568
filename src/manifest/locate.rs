//! From problems with JSON pointers to diagnostics with lines and columns; the spans are found only when asked for.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use super::lines::{LineIndex, Position};
use super::problem::{EntryPart, Problem};
use super::read::ReadError;
use super::spans::{SpanError, SpanLocation, SpanTree};
use super::{codes, prescan, suggest};
use crate::config::Limits;
use crate::diagnostic::{Diagnostic, Location, Related, Severity, Span};

const MARK: char = '\u{feff}';

const QUOTE_TEMPLATE: &str = "put `{{ }}` in quotes";

/// The text of a file, and its spans once somebody asked.
pub(super) struct SourceText<'t> {
    path: &'t str,
    /// The text without its byte order mark.
    pub(super) content: &'t str,
    skipped: usize,
    lines: OnceCell<LineIndex<'t>>,
    tree: OnceCell<Option<SpanTree>>,
}

impl<'t> SourceText<'t> {
    pub(super) fn new(path: &'t str, text: &'t str) -> Self {
        let content = text.strip_prefix(MARK).unwrap_or(text);
        let skipped = text.len() - content.len();
        Self { path, content, skipped, lines: OnceCell::new(), tree: OnceCell::new() }
    }

    fn lines(&self) -> &LineIndex<'t> {
        self.lines.get_or_init(|| LineIndex::new(self.content, self.skipped))
    }

    /// Where the two parsers disagree there is no tree, and diagnostics go without a span. How deep it is, has been
    /// told already.
    fn tree(&self, limits: &Limits) -> Option<&SpanTree> {
        let build = || {
            SpanTree::build(self.content, self.lines(), &Limits { depth: u32::MAX, ..limits.clone() }).ok()
        };
        self.tree.get_or_init(build).as_ref()
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

    /// Refuses aliases and nesting beyond the limits before the fast reader sees them: it would expand the ones, and take
    /// time that grows with the square of the other. Where neither can be there this costs a scan of the bytes.
    pub(super) fn check_first(&self, limits: &Limits) -> Result<(), Box<Diagnostic>> {
        if !prescan::may_hold_aliases(self.content) && !prescan::may_be_deep(self.content) {
            return Ok(());
        }
        let tree = SpanTree::build(self.content, self.lines(), limits)
            .map_err(|refusal| Box::new(self.refused(refusal)))?;
        let _ = self.tree.set(Some(tree));
        Ok(())
    }

    fn refused(&self, refusal: SpanError) -> Diagnostic {
        match refusal {
            SpanError::Aliases { at, document, message, hint } => {
                let location = self.location(Some(at), document, "");
                Diagnostic::error(codes::ALIASES, location, message).with_hint(hint)
            }
            SpanError::Depth { at, document } => {
                Diagnostic::error(codes::TOO_DEEP, self.location(Some(at), document, ""), "nested too deeply")
            }
            SpanError::Syntax { at, message } => {
                let location = self.location(Some(at), 0, "");
                Diagnostic::error(codes::SYNTAX, location, suggest::short(&message))
            }
        }
    }

    /// The diagnostic for a document that could not be read.
    pub(super) fn broken(&self, broken: &ReadError, document: usize, limits: &Limits) -> Diagnostic {
        let point = |at: &Option<Position>| at.map(|at| self.lines().point(at));
        match broken {
            ReadError::Syntax { at, message } => {
                let location = self.location(point(at), document, "");
                let diagnostic = Diagnostic::error(codes::SYNTAX, location, message.clone());
                match at.and_then(|at| self.syntax_hint(at)) {
                    Some(hint) => diagnostic.with_hint(hint),
                    None => diagnostic,
                }
            }
            ReadError::ComplexKey { at } => {
                let location = self.location(point(at), document, "");
                let message = "the key of a mapping must be a string";
                let diagnostic = Diagnostic::error(codes::COMPLEX_KEY, location, message);
                match at.is_some_and(|at| self.lines().line(at.line).contains("{{")) {
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
        if (at.line.saturating_sub(1)..=at.line).any(tabbed) {
            Some("YAML is indented with spaces, never with tabs".to_owned())
        } else if template {
            Some(QUOTE_TEMPLATE.to_owned())
        } else if unquoted('@') || unquoted('`') || unquoted('%') {
            Some("put the value in quotes".to_owned())
        } else if here.matches(": ").count() > 1 {
            Some("put a text that holds `: ` in quotes".to_owned())
        } else {
            None
        }
    }

    /// The diagnostic for a problem.
    pub(super) fn locate(&self, problem: &Problem, document: usize, limits: &Limits) -> Diagnostic {
        let tree = self.tree(limits);
        let find = |pointer: &str, occurrence: usize| {
            let tree = tree?;
            tree.find(document, pointer, occurrence).or_else(|| tree.nearest(document, pointer))
        };
        let span = find(&problem.pointer, problem.occurrence).map(|place| pick(place, problem.at));
        let location = self.location(span, document, &problem.pointer);
        let mut diagnostic = match problem.severity {
            Severity::Error => Diagnostic::error(problem.code, location, problem.message.clone()),
            _ => Diagnostic::warning(problem.code, location, problem.message.clone()),
        };
        diagnostic.severity = problem.severity;
        diagnostic.hint.clone_from(&problem.hint);
        for (pointer, message) in &problem.related {
            let span = find(pointer, 0).map(|place| pick(place, problem.at));
            let location = self.location(span, document, pointer);
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
    let mut missing: BTreeMap<String, Vec<&mut Location>> = BTreeMap::new();
    for found in diagnostics {
        let related = found.related.iter_mut().map(|other| &mut other.location);
        for location in std::iter::once(&mut found.location).chain(related) {
            if location.span.is_none() {
                missing.entry(location.path.clone()).or_default().push(location);
            }
        }
    }
    for (path, locations) in missing {
        let Some(bytes) = read(&path) else { continue };
        let Ok(content) = std::str::from_utf8(&bytes) else { continue };
        let text = SourceText::new(&path, content);
        let Some(tree) = text.tree(limits) else { continue };
        for location in locations {
            let document = usize::try_from(location.document).unwrap_or(usize::MAX);
            location.span =
                tree.nearest(document, &location.pointer).map(|place| pick(place, EntryPart::Value));
        }
    }
}

/// The key or the value. Of a mapping or list, the key says more than its first line.
fn pick(place: SpanLocation, at: EntryPart) -> Span {
    match (at, place.key) {
        (EntryPart::Key, Some(key)) => key,
        (EntryPart::Value, Some(key)) if !place.scalar => key,
        _ => place.value,
    }
}
