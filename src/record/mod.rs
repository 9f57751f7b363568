//! The status branch: its layout, its records, its commit messages and its dashboard. Pure renderers, and
//! one writer that makes objects; moving the branch is the caller's.

mod batch;
mod dashboard;
mod error;
mod line;
mod message;
mod render;
mod subject;
mod transition;

pub use batch::{Batch, Change, PinKind};
pub use dashboard::DashboardInput;
pub use error::RecordError;
pub use message::{
    DESIRED_COMMIT, RESOURCE, RESOURCE_COUNT, RESOURCE_LIMIT, RUNNER, TRANSITION_LIMIT, message,
    parse_message,
};
pub use render::{Renderer, parse_record};
pub use transition::{MESSAGE_LIMIT, NotATransition, Transition};
