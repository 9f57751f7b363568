//! Acceptance criteria: which of them this build can check.

use regex::bytes::Regex;

use super::ConfigError;
use super::tool::is_inside;
use crate::model::{AcceptanceCriterion, CriterionCheck};

/// Checks acceptance criteria without running anything; to be asked before the work of a task starts.
///
/// # Errors
/// When one of them cannot be checked: it is malformed, or this build has nothing to check it with.
pub fn check_criteria(criteria: &[AcceptanceCriterion]) -> Result<(), ConfigError> {
    for criterion in criteria {
        let refuse = |why: String| ConfigError::Criterion { name: criterion.name.clone(), why };
        match &criterion.check {
            CriterionCheck::ArtifactExists { path, content_match } => {
                if !is_inside(path) {
                    return Err(refuse("has a `path` that is not relative, or holds `..`".to_owned()));
                }
                check_pattern(content_match.as_deref(), "contentMatch").map_err(refuse)?;
            }
            CriterionCheck::TestPasses { .. } => {}
            CriterionCheck::CommandSucceeds { output_match, .. } => {
                check_pattern(output_match.as_deref(), "outputMatch").map_err(refuse)?;
            }
            CriterionCheck::EndpointResponds { .. } | CriterionCheck::Custom { .. } => {
                return Err(refuse("needs an HTTP client, which is not available in this build".to_owned()));
            }
        }
    }
    Ok(())
}

fn check_pattern(pattern: Option<&str>, key: &str) -> Result<(), String> {
    match pattern.map(Regex::new) {
        Some(Err(_)) => Err(format!("has a `{key}` that is not a regular expression")),
        _ => Ok(()),
    }
}
