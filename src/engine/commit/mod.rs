//! Status commits: what goes into one, and how it gets onto the branch.

pub(crate) mod builder;
pub(crate) mod dashboard;
pub(crate) mod kept_work;
pub(crate) mod lane;
pub(crate) mod pacing;
pub(crate) mod packing;
pub(crate) mod publisher;
mod races;
pub(crate) mod refusals;
pub(crate) mod resources;
pub(crate) mod schedules;
mod turns;
