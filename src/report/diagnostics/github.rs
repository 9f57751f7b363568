//! Diagnostics as workflow commands of GitHub Actions, which shows them beside the lines of a pull request.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::in_order;
use crate::diagnostic::{Diagnostic, Severity};
use crate::report::text;

/// How many annotations of one severity the runner takes from a step; it drops the others in silence.
const TAKEN: usize = 10;

/// How many of these are for work that failed, which leaves room for manifests that are wrong.
const SHOWN_FAILURES: usize = 5;

/// One `::error …::…` a line. Where there are more of a severity than the runner takes, the last one says how many are missing.
#[must_use]
pub(crate) fn github(diagnostics: &[Diagnostic]) -> String {
    github_after(diagnostics, 0)
}

/// The same after so many errors that were printed before.
#[must_use]
pub(crate) fn github_after(diagnostics: &[Diagnostic], errors: usize) -> String {
    let mut out = String::new();
    let mut written: BTreeMap<&str, usize> = BTreeMap::new();
    for found in in_order(diagnostics) {
        let command = match found.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "notice",
        };
        let taken = if found.severity == Severity::Error { TAKEN.saturating_sub(errors) } else { TAKEN };
        let before = *written.entry(command).and_modify(|count| *count += 1).or_default();
        let all = diagnostics.iter().filter(|other| other.severity == found.severity).count();
        if all > taken && before + 1 == taken {
            let more = all - before;
            let _ =
                writeln!(out, "::{command} title=planspec::… and {more} more: see the summary of this job");
        }
        if all > taken && before + 1 >= taken {
            continue;
        }
        let mut properties = vec![format!("file={}", property(&found.location.path))];
        if let Some(span) = found.location.span {
            properties.push(format!("line={}", span.line));
            properties.push(format!("endLine={}", span.end_line));
            // Columns on a range of several lines are refused by the runner.
            if span.line == span.end_line {
                properties.push(format!("col={}", span.column));
                properties.push(format!("endColumn={}", span.end_column));
            }
        }
        properties.push(format!("title={}", property(&format!("{} {}", found.code.id, found.code.title))));
        let mut message = text::line(&found.message).into_owned();
        if let Some(hint) = &found.hint {
            let _ = write!(message, "\nhelp: {}", text::line(hint));
        }
        for other in &found.related {
            let line = other.location.span.map(|span| format!(":{}", span.line)).unwrap_or_default();
            let _ = write!(
                message,
                "\n{}{line}: {}",
                text::line(&other.location.path),
                text::line(&other.message)
            );
        }
        let _ = writeln!(out, "::{command} {}::{}", properties.join(","), data(&message));
    }
    out
}

/// The failure of the job itself, as an annotation of its run.
#[must_use]
pub(crate) fn failure(message: &str, hints: &[String]) -> String {
    let hints = hints.iter().map(|hint| format!("\nhelp: {}", text::line(hint)));
    let message = text::line(message).into_owned() + &hints.collect::<String>();
    format!("::error title=planspec::{}\n", data(&message))
}

/// Work that failed, as annotations of the run: each with what failed and why. The last one says how many are missing.
#[must_use]
pub(crate) fn failed_work(failed: &[(String, String)]) -> String {
    let shown = if failed.len() > SHOWN_FAILURES { SHOWN_FAILURES - 1 } else { failed.len() };
    let mut out = String::new();
    for (what, why) in failed.iter().take(shown) {
        let _ = writeln!(out, "::error title={}::{}", property(what), data(&text::line(why)));
    }
    if let Some(more @ 1..) = failed.len().checked_sub(shown) {
        let _ =
            writeln!(out, "::error title=planspec::… and {more} more failed: see the summary of this job");
    }
    out
}

/// Escapes the text of a command: nothing in it can start another one.
fn data(text: &str) -> String {
    // `%` first, or the escapes themselves would be escaped. The runner's older form of a command may begin within a line.
    text.replace("##[", "## [").replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Escapes the value of a property.
fn property(value: &str) -> String {
    data(&text::line(value)).replace(':', "%3A").replace(',', "%2C")
}
