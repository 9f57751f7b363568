//! Artifacts and logs of attempts: kept where other machines find them, and brought to the nodes that come after.

pub(crate) mod beneath;
mod bucket;
pub(crate) mod kept;
pub(crate) mod sources;
pub(crate) mod terms;
mod total;
pub(crate) mod upstream;
