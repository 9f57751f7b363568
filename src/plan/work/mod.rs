//! The files that nodes change: what a node builds on, and what its result may hold. Pure, like all planning.

mod approved;
mod bases;
mod permitted;

pub(crate) use approved::{shown_branch, unapproved};
pub(crate) use bases::{built_on, changed_nodes, new_work, results_among, results_before};
pub(crate) use permitted::{ChangedFile, PathRules, among, protected, refusals};
