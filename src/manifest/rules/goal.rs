//! The rules of a Goal.

use super::unique;
use crate::manifest::problem::Problem;
use crate::model::GoalSpec;

/// Checks that the ids of acceptance criteria are unique.
pub(super) fn check(spec: &GoalSpec, problems: &mut Vec<Problem>) {
    let ids = spec.acceptance_criteria.iter().map(|criterion| criterion.id.as_deref());
    unique(ids, "/spec/acceptanceCriteria", "id", problems);
}
