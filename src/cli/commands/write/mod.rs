//! Commands that check or change the desired state.

pub(crate) mod apply;
pub(crate) mod delete;
pub(crate) mod diff;
pub(crate) mod edit;
pub(crate) mod run;
mod run_request;
pub(crate) mod validate;

pub(crate) mod here;
mod parameters;
mod reuse;
