//! What changed between two states: field by field, in a plan's graph, in a whole set of resources.
//! Pure, and only about what manifests say; what a change means for running executions is not decided here.

mod fields;
mod graph;
mod set;

pub(crate) use fields::FieldChange;
pub(crate) use graph::{GraphChange, compare_graphs};
pub(crate) use set::{ResourceDiff, SetChange, compare_sets};
