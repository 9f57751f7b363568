//! The rules of a Task: its own command, and its acceptance criteria.

use std::ops::Range;

use regex::Regex;

use crate::manifest::codes;
use crate::manifest::problem::Problem;
use crate::model::{CriterionCheck, Node, PlanGraph, RunSpec};
use crate::run::expression::{OPEN, first_expression};

/// Checks that every regular expression can be compiled, and that no text becomes a part of a shell line.
pub(super) fn check(graph: &PlanGraph, problems: &mut Vec<Problem>) {
    for (node, entry) in graph.nodes.iter().enumerate() {
        if let Some(run) = &entry.run {
            own_command(entry, run, &format!("/spec/graph/nodes/{node}"), problems);
        }
        for (index, criterion) in entry.acceptance_criteria.iter().enumerate() {
            let Some((field, pattern)) = pattern(&criterion.check) else { continue };
            // A criterion is checked after the work is done; a pattern that fails only then has cost an
            // attempt.
            if let Err(error) = Regex::new(pattern) {
                let pointer = format!("/spec/graph/nodes/{node}/acceptanceCriteria/{index}/{field}");
                problems.push(Problem::new(codes::BAD_PATTERN, pointer, not_a_pattern(&error)));
            }
        }
    }
}

/// Why a text is no regular expression.
pub(super) fn not_a_pattern(error: &regex::Error) -> String {
    let text = error.to_string();
    // The library prints the pattern and a pointer into it first, and the reason last.
    let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
    format!("not a regular expression: {reason}")
}

fn own_command(node: &Node, run: &RunSpec, at: &str, problems: &mut Vec<Problem>) {
    if !node.capability_refs.is_empty() {
        let message = "`run` and `capabilityRefs` exclude each other";
        let problem = Problem::new(codes::CONFLICTING_FIELDS, format!("{at}/run"), message).at_key();
        problems.push(problem.hint("a task with `run` needs no Binding; remove one of them".to_owned()));
    }
    let pointer = match run {
        RunSpec::Line(_) => format!("{at}/run"),
        RunSpec::Settings(_) => format!("{at}/run/command"),
    };
    // Whatever the value turned out to be, the shell would read it as a program (Invariant 8).
    if let Some(part) = first_expression(run.command()) {
        let message = "an expression cannot be a part of a command";
        let hint = format!("hand the value over in `env`: run: {}", rewritten(run.command(), &part));
        let problem = Problem::new(codes::BAD_EXPRESSION, pointer, message).part(part);
        problems.push(problem.hint(hint));
    }
}

/// The command as it is to be written, with the value in a variable. An example where the rest of the line is too long to show,
/// or so quoted that a variable in the same place would mean something else.
fn rewritten(command: &str, part: &Range<usize>) -> String {
    let said = || {
        let (before, after) = (command.get(..part.start)?, command.get(part.end..)?);
        let written = command.get(part.clone())?;
        let path = written.strip_prefix(OPEN)?.strip_suffix("}}")?.trim();
        let is_path = path.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '.' | '-'));
        let line = command.trim_end();
        if !is_path || after.contains(OPEN) || line.len() > 80 || line.contains(['\'', '\\', '\n', '`']) {
            return None;
        }
        let name: String = path.rsplit('.').next()?.chars().filter(|c| *c != '-').collect();
        let name = name.to_uppercase();
        // Within the quotes of a shell it is one word already.
        let quote = if before.matches('"').count() % 2 == 0 { "\"" } else { "" };
        let after = after.trim_end();
        Some(format!("{{command: '{before}{quote}${name}{quote}{after}', env: {{{name}: \"{written}\"}}}}"))
    };
    said().unwrap_or_else(|| "{command: 'echo \"$NAME\"', env: {NAME: \"${{ … }}\"}}".to_owned())
}

fn pattern(check: &CriterionCheck) -> Option<(&'static str, &str)> {
    let (field, pattern) = match check {
        CriterionCheck::ArtifactExists { content_match, .. } => ("contentMatch", content_match.as_deref()),
        CriterionCheck::CommandSucceeds { output_match, .. } => ("outputMatch", output_match.as_deref()),
        CriterionCheck::EndpointResponds { body_match, .. } => ("bodyMatch", body_match.as_deref()),
        CriterionCheck::Custom { expected_response, .. } => {
            let body = expected_response.as_ref().and_then(|expected| expected.body_match.as_deref());
            ("expectedResponse/bodyMatch", body)
        }
        CriterionCheck::TestPasses { .. } => return None,
    };
    pattern.map(|pattern| (field, pattern))
}
