//! Diagnostics as annotated source, in the form that compilers use.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Element, Level, Origin, Renderer, Snippet};

use super::in_order;
use crate::diagnostic::{Code, Diagnostic, Location, Severity};
use crate::report::text;

/// How many lines of a file may be given to the renderer at once, around the place that is meant.
const CONTEXT: usize = 2;

/// How many warnings or notes of one code are shown; more would push the rest off the screen.
const MOST_OF_A_CODE: usize = 20;

/// Renders diagnostics; `read` gives the text of a path where it is at hand. `color` asks for escape sequences.
/// The outcome ends with a line end unless there is nothing to say.
#[must_use]
pub(crate) fn annotated(
    diagnostics: &[Diagnostic],
    mut read: impl FnMut(&str) -> Option<String>,
    width: usize,
    color: bool,
) -> String {
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let renderer = renderer.decor_style(DecorStyle::Ascii).term_width(width.max(60));
    let mut sources: BTreeMap<String, Option<String>> = BTreeMap::new();
    let mut out = String::new();
    let mut counts: BTreeMap<Code, usize> = BTreeMap::new();
    for found in in_order(diagnostics) {
        // Errors are never left out: each of them has to be fixed.
        if found.severity != Severity::Error {
            let count = counts.entry(found.code).or_default();
            *count += 1;
            if *count > MOST_OF_A_CODE {
                continue;
            }
        }
        let places =
            std::iter::once(&found.location).chain(found.related.iter().map(|other| &other.location));
        for location in places {
            // A file with a hundred findings is read once.
            if !sources.contains_key(&location.path) {
                sources.insert(location.path.clone(), read(&location.path));
            }
        }
        let find = |path: &str| sources.get(path).and_then(Option::as_deref);
        out.push_str(&one(found, find, &renderer));
        out.push_str("\n\n");
    }
    for (code, count) in counts.into_iter().filter(|(_, count)| *count > MOST_OF_A_CODE) {
        let left = count - MOST_OF_A_CODE;
        out.push_str(&format!("{code}: … and {left} more ({}); `-o json` lists all\n\n", code.title));
    }
    out.truncate(out.trim_end_matches('\n').len());
    if !out.is_empty() {
        out.push('\n');
    }
    out
}

fn one<'s>(found: &Diagnostic, source: impl Fn(&str) -> Option<&'s str>, renderer: &Renderer) -> String {
    let level = match found.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Note => Level::NOTE,
    };
    let mut group = level
        .primary_title(text::line(&found.message).into_owned())
        .id(found.code.id)
        .elements(None::<Element<'_>>);
    let main = Excerpt::of(&found.location, source(&found.location.path));
    // Further places in the same excerpt are shown in it; others after it.
    let mut extra = Vec::new();
    match main {
        Some(excerpt) => {
            let mut snippet = excerpt.snippet(&found.location.path);
            snippet = snippet.annotation(AnnotationKind::Primary.span(excerpt.range.clone()));
            for other in &found.related {
                let within = (other.location.path == found.location.path)
                    .then(|| other.location.span.and_then(|span| excerpt.relative(span.start, span.end)))
                    .flatten();
                match within {
                    Some(range) => {
                        let label = text::line(&other.message).into_owned();
                        snippet = snippet.annotation(AnnotationKind::Context.span(range).label(label));
                    }
                    None => extra.push(other),
                }
            }
            group = group.element(snippet);
        }
        None => {
            group = group.element(origin(&found.location));
            extra.extend(&found.related);
        }
    }
    if let Some(hint) = &found.hint {
        group = group.element(Level::HELP.message(text::line(hint).into_owned()));
    }
    let mut report = vec![group];
    for other in extra {
        let title = Level::NOTE.secondary_title(text::line(&other.message).into_owned());
        let element: Element<'_> = match Excerpt::of(&other.location, source(&other.location.path)) {
            Some(excerpt) => excerpt
                .snippet(&other.location.path)
                .annotation(AnnotationKind::Context.span(excerpt.range.clone()))
                .into(),
            None => origin(&other.location).into(),
        };
        report.push(title.element(element));
    }
    renderer.render(&report)
}

fn origin(location: &Location) -> Origin<'static> {
    let origin = Origin::path(text::line(&location.path).into_owned());
    match location.span {
        Some(span) => origin
            .line(usize::try_from(span.line).unwrap_or(1))
            .char_column(usize::try_from(span.column).unwrap_or(1)),
        None => origin,
    }
}

/// The lines around a place. The renderer never sees more of a file, however large it is.
struct Excerpt {
    text: String,
    /// The byte offset of the excerpt in the file.
    start: usize,
    first_line: usize,
    range: Range<usize>,
}

impl Excerpt {
    fn of(location: &Location, source: Option<&str>) -> Option<Self> {
        let span = location.span?;
        let source = source?;
        // The file may have changed since it was checked; its place is then named without an excerpt.
        let before = source.get(..span.start)?;
        let after = source.get(span.end..)?;
        let start = before.rmatch_indices('\n').nth(CONTEXT).map_or(0, |(at, _)| at + 1);
        let end = after.match_indices('\n').nth(CONTEXT).map_or(source.len(), |(at, _)| span.end + at);
        let first_line = source.get(..start)?.matches('\n').count() + 1;
        let text = same_length(source.get(start..end)?);
        Some(Self { text, start, first_line, range: span.start - start..span.end - start })
    }

    fn relative(&self, start: usize, end: usize) -> Option<Range<usize>> {
        let range = start.checked_sub(self.start)?..end.checked_sub(self.start)?;
        (range.end <= self.text.len() && range.start <= range.end).then_some(range)
    }

    fn snippet<'a, T: Clone>(&self, path: &str) -> Snippet<'a, T> {
        Snippet::source(self.text.clone())
            .line_start(self.first_line)
            .path(Cow::Owned(text::line(path).into_owned()))
            // The excerpt is short already, and folding would hide some of its lines.
            .fold(false)
    }
}

/// The text without control characters, and with every byte where it was: offsets stay true.
fn same_length(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let safe = text::line(c.encode_utf8(&mut [0; 4])).chars().eq(std::iter::once(c));
        if c == '\n' || c == '\t' || safe {
            out.push(c);
        } else {
            out.extend(std::iter::repeat_n('?', c.len_utf8()));
        }
    }
    out
}
