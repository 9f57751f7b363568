//! Printing diagnostics in the form that the user asked for.

use crate::cli::Context;
use crate::cli::error::CliError;
use crate::cli::output_format::OutputFormat;
use crate::diagnostic::Diagnostic;
use crate::report::diagnostics::{SeverityCounts, annotated, github, json, sarif};
use crate::report::text;

/// The width of annotated source where no terminal says one.
const WIDTH: usize = 120;

/// Prints diagnostics on standard output; `what` was checked. `read` gives the content of a path.
pub(crate) fn print_findings(
    found: &[Diagnostic],
    what: &str,
    mut read: impl FnMut(&str) -> Option<Vec<u8>>,
    context: &mut Context,
) -> Result<(), CliError> {
    let tally = SeverityCounts::of(found);
    match context.options.plain_format() {
        OutputFormat::Json => context.out.text(&json(found))?,
        OutputFormat::Yaml => {
            let value: serde_json::Value = serde_json::from_str(&json(found))?;
            context.out.yaml(&value)?;
        }
        OutputFormat::Sarif => context.out.text(&sarif(found))?,
        OutputFormat::Github => context.out.text(&github(found))?,
        // `PATH:LINE:COLUMN: CODE` is what editors take for a place that one can jump to.
        OutputFormat::Name => {
            for diagnostic in found {
                let place = &diagnostic.location;
                let span = place.span.map(|span| format!(":{}:{}", span.line, span.column));
                let line = format!("{}{}: {}", place.path, span.unwrap_or_default(), diagnostic.code);
                context.out.line(text::line(&line))?;
            }
        }
        OutputFormat::Table | OutputFormat::Wide => {
            let width = context.environment.columns().map_or(WIDTH, usize::from);
            // The stream drops the colours where they are not wanted.
            let text = annotated(
                found,
                |path| read(path).and_then(|bytes| String::from_utf8(bytes).ok()),
                width,
                true,
            );
            context.out.text(&text)?;
            let verdict = if found.is_empty() { "no problems found".to_owned() } else { tally.to_string() };
            context.out.note(format!("checked {what}: {verdict}"))?;
        }
    }
    Ok(())
}
