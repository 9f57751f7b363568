//! The rules of a Task's acceptance criteria.

use regex::Regex;

use crate::manifest::codes;
use crate::manifest::problem::Problem;
use crate::model::{CriterionCheck, PlanGraph};

/// Checks that every regular expression can be compiled.
pub(super) fn check(graph: &PlanGraph, problems: &mut Vec<Problem>) {
    for (node, entry) in graph.nodes.iter().enumerate() {
        for (index, criterion) in entry.acceptance_criteria.iter().enumerate() {
            let Some((field, pattern)) = pattern(&criterion.check) else { continue };
            // A criterion is checked after the work is done; a pattern that fails only then has cost an
            // attempt.
            if let Err(error) = Regex::new(pattern) {
                let pointer = format!("/spec/graph/nodes/{node}/acceptanceCriteria/{index}/{field}");
                let text = error.to_string();
                // The library prints the pattern and a pointer into it first, and the reason last.
                let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
                let message = format!("not a regular expression: {reason}");
                problems.push(Problem::new(codes::BAD_PATTERN, pointer, message));
            }
        }
    }
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
