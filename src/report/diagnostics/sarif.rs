//! Diagnostics as SARIF 2.1.0, the form that code scanning services read.

use std::collections::BTreeMap;

use serde_json::json;
use serde_sarif::sarif::{
    ArtifactLocation, Location, LogicalLocation, Message, MultiformatMessageString, PhysicalLocation, Region,
    ReportingDescriptor, Result as Finding, ResultLevel, Run, SCHEMA_URL, Sarif, Tool, ToolComponent,
};

use super::{CODES_PAGE, in_order};
use crate::diagnostic::{self, Code, Diagnostic, Severity};

/// One SARIF log with a single run, ended by a line end.
#[must_use]
pub(crate) fn sarif(diagnostics: &[Diagnostic]) -> String {
    let diagnostics = in_order(diagnostics);
    // Results refer to rules by their index, so that the order is fixed before any result is made.
    let codes: BTreeMap<&str, Code> = diagnostics.iter().map(|found| (found.code.id, found.code)).collect();
    let rules: Vec<ReportingDescriptor> = codes.values().map(|code| rule(*code)).collect();
    let index = |code: Code| codes.keys().position(|id| *id == code.id).unwrap_or_default();
    let results: Vec<Finding> = diagnostics.iter().map(|found| finding(found, index(found.code))).collect();
    let driver = ToolComponent::builder()
        .name("planspec")
        .version(env!("CARGO_PKG_VERSION"))
        .semantic_version(env!("CARGO_PKG_VERSION"))
        .rules(rules)
        .build();
    let run = Run::builder()
        .tool(Tool::builder().driver(driver).build())
        // SARIF has two units for columns; ours are characters.
        .column_kind(json!("unicodeCodePoints"))
        .results(results)
        .build();
    let log = Sarif::builder().version(json!("2.1.0")).schema(SCHEMA_URL).runs(vec![run]).build();
    // Strings and numbers only: this cannot fail.
    serde_json::to_string_pretty(&log).unwrap_or_default() + "\n"
}

fn rule(code: Code) -> ReportingDescriptor {
    let help = format!("{CODES_PAGE}#{}", code.id.to_lowercase());
    ReportingDescriptor::builder()
        .id(code.id)
        .name(pascal(code.title))
        .short_description(MultiformatMessageString::builder().text(code.title).build())
        .help(MultiformatMessageString::builder().text(format!("See {help}.")).build())
        .build()
}

/// `unknown field` as `UnknownField`: the name of a rule is an identifier.
fn pascal(title: &str) -> String {
    let words = title.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words
        .flat_map(|word| {
            let mut letters = word.chars();
            letters.next().into_iter().flat_map(char::to_uppercase).chain(letters)
        })
        .collect()
}

fn finding(found: &Diagnostic, rule: usize) -> Finding {
    let level = match found.severity {
        Severity::Error => ResultLevel::Error,
        Severity::Warning => ResultLevel::Warning,
        Severity::Note => ResultLevel::Note,
    };
    let text = match &found.hint {
        Some(hint) => format!("{} ({hint})", found.message),
        None => found.message.clone(),
    };
    let mut main = location(&found.location, None);
    if let Some(resource) = &found.resource {
        let logical =
            LogicalLocation::builder().fully_qualified_name(resource.to_string()).kind("resource").build();
        main.logical_locations = Some(vec![logical]);
    }
    let related: Vec<Location> =
        found.related.iter().map(|other| location(&other.location, Some(&other.message))).collect();
    let mut finding = Finding::builder()
        .rule_id(found.code.id)
        .rule_index(i64::try_from(rule).unwrap_or(i64::MAX))
        .level(level)
        .message(Message::builder().text(text).build())
        .locations(vec![main])
        .build();
    finding.related_locations = (!related.is_empty()).then_some(related);
    finding
}

fn location(at: &diagnostic::Location, message: Option<&str>) -> Location {
    let mut physical = PhysicalLocation::builder()
        .artifact_location(ArtifactLocation::builder().uri(uri(&at.path)).build())
        .build();
    physical.region = at.span.map(|span| {
        Region::builder()
            .start_line(i64::from(span.line))
            .start_column(i64::from(span.column))
            .end_line(i64::from(span.end_line))
            .end_column(i64::from(span.end_column))
            .build()
    });
    let mut location = Location::builder().physical_location(physical).build();
    location.message = message.map(|text| Message::builder().text(text).build());
    location
}

/// A path as a relative reference (RFC 3986): everything but unreserved characters and `/` is escaped.
fn uri(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
