//! Diagnostics as people and programs see them: one form per file. Everything printed is made safe here, for
//! the terminal, for JSON readers, and for the log of a workflow.

mod annotated;
mod github;
mod json;
mod sarif;

use crate::diagnostic::{Diagnostic, Severity};

pub(crate) use annotated::annotated;
pub(crate) use github::{failed_work, failure, github, github_after};
pub(crate) use json::json;
pub(crate) use sarif::sarif;

/// Where the explanation of every code is.
const CODES_PAGE: &str = "docs/diagnostics.md";

/// How many diagnostics there are of each severity.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct SeverityCounts {
    /// Errors.
    pub errors: usize,
    /// Warnings.
    pub warnings: usize,
    /// Notes.
    pub notes: usize,
}

impl SeverityCounts {
    /// Counts.
    #[must_use]
    pub(crate) fn of(diagnostics: &[Diagnostic]) -> Self {
        let count = |severity| diagnostics.iter().filter(|found| found.severity == severity).count();
        Self {
            errors: count(Severity::Error),
            warnings: count(Severity::Warning),
            notes: count(Severity::Note),
        }
    }
}

impl std::fmt::Display for SeverityCounts {
    /// `2 errors, 1 warning`; `nothing` where there is nothing.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let counts = [(self.errors, "error"), (self.warnings, "warning"), (self.notes, "note")];
        let words: Vec<String> = counts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, word)| format!("{count} {word}{}", if *count == 1 { "" } else { "s" }))
            .collect();
        f.pad(if words.is_empty() { "nothing".to_owned() } else { words.join(", ") }.as_str())
    }
}

/// By file, then by place.
fn in_order(diagnostics: &[Diagnostic]) -> Vec<&Diagnostic> {
    let mut all: Vec<&Diagnostic> = diagnostics.iter().collect();
    // Checks run in several passes and threads; the output must not show it.
    all.sort_by(|a, b| {
        let place =
            |found: &Diagnostic| (found.location.document, found.location.span.map_or(0, |span| span.start));
        a.location.path.cmp(&b.location.path).then_with(|| place(a).cmp(&place(b)))
    });
    all
}

#[cfg(test)]
mod tests;
