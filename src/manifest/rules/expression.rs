//! The expressions of a Plan: what `run::expression` finds, said with pointers into the manifest.

use crate::graph::Topology;
use crate::manifest::codes;
use crate::manifest::problem::Problem;
use crate::model::PlanSpec;
use crate::run::expression;

/// Checks every `when` and every `${{ }}`.
pub(super) fn check(spec: &PlanSpec, topology: Option<&Topology>, problems: &mut Vec<Problem>) {
    for found in expression::check(spec, topology) {
        problems.push(Problem::new(codes::BAD_EXPRESSION, found.pointer, found.message).hint(found.hint));
    }
}
