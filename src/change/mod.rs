//! What changed between two states: field by field, in a plan's graph, in a whole set of resources.
//! Pure, and only about what manifests say; what a change means for running executions is not decided here.

mod fields;
mod graph;
mod set;

pub use fields::{FieldChange, compare_fields};
pub use graph::{GraphChange, compare_graphs};
pub use set::{ResourceChange, SetChange, compare_sets};
