//! The rules of a Gate.

use std::collections::HashSet;

use crate::manifest::codes;
use crate::manifest::problem::Problem;
use crate::model::GateSpec;

/// Warns about a Gate that asks for more approvals than it has reviewers. A team may have any number of members.
pub(super) fn check(spec: &GateSpec, problems: &mut Vec<Problem>) {
    let people: HashSet<&str> =
        spec.reviewers.iter().map(|name| name.strip_prefix("user:").unwrap_or(name)).collect();
    let teams = spec.reviewers.iter().any(|name| name.starts_with("team:"));
    let needed = spec.required_approvers;
    if !people.is_empty() && !teams && (people.len() as u64) < u64::from(needed) {
        let message = format!("{needed} approvals are asked for, and only {} may give one", people.len());
        let problem = Problem::new(codes::UNDECIDABLE_GATE, "/spec/requiredApprovers", message).warning();
        problems.push(problem.hint("add reviewers, or ask for fewer approvals".to_owned()));
    }
}
