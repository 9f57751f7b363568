//! Diagnostics as JSON: a versioned form of its own, so that internal types may change.

use serde::Serialize;

use super::{SeverityCounts, in_order};
use crate::diagnostic::{Diagnostic, Location, Severity};

/// The version of the form; grows when a field changes its meaning or goes away.
const VERSION: u32 = 1;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DiagnosticsJson<'d> {
    version: u32,
    errors: usize,
    warnings: usize,
    notes: usize,
    diagnostics: Vec<DiagnosticJson<'d>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DiagnosticJson<'d> {
    code: &'d str,
    title: &'d str,
    severity: Severity,
    message: &'d str,
    #[serde(flatten)]
    place: LocationJson<'d>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'d str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    related: Vec<RelatedJson<'d>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LocationJson<'d> {
    path: &'d str,
    document: u32,
    pointer: &'d str,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_line: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_column: Option<u32>,
}

#[derive(Serialize)]
struct RelatedJson<'d> {
    message: &'d str,
    #[serde(flatten)]
    place: LocationJson<'d>,
}

impl<'d> LocationJson<'d> {
    fn of(location: &'d Location) -> Self {
        let Location { path, span, document, pointer } = location;
        Self {
            path,
            document: *document,
            pointer,
            line: span.map(|span| span.line),
            column: span.map(|span| span.column),
            end_line: span.map(|span| span.end_line),
            end_column: span.map(|span| span.end_column),
        }
    }
}

/// One JSON object with every diagnostic, ended by a line end.
#[must_use]
pub(crate) fn json(diagnostics: &[Diagnostic]) -> String {
    // A part of the form, so that a script can decide without going through the list.
    let tally = SeverityCounts::of(diagnostics);
    let entries = in_order(diagnostics).into_iter().map(|found| DiagnosticJson {
        code: found.code.id,
        title: found.code.title,
        severity: found.severity,
        message: &found.message,
        place: LocationJson::of(&found.location),
        hint: found.hint.as_deref(),
        resource: found.resource.as_ref().map(ToString::to_string),
        related: found
            .related
            .iter()
            .map(|other| RelatedJson { message: &other.message, place: LocationJson::of(&other.location) })
            .collect(),
    });
    let report = DiagnosticsJson {
        version: VERSION,
        errors: tally.errors,
        warnings: tally.warnings,
        notes: tally.notes,
        diagnostics: entries.collect(),
    };
    // Strings and numbers only: this cannot fail.
    serde_json::to_string_pretty(&report).unwrap_or_default() + "\n"
}
