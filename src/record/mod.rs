//! The status branch: its layout, its records, its commit messages and its dashboard. Pure renderers, and
//! one writer that makes objects; moving the branch is the caller's.

mod batch;
mod dashboard;
mod error;
mod gc;
mod layout;
mod message;
mod render;
mod shrink;
mod subject;
mod transition;
mod tree;
mod writer;

pub use batch::{Batch, RecordEdit};
pub use dashboard::{DashboardInput, EXECUTION_LIMIT, ExecutionCard, WAITING_LIMIT, WaitingFor, dashboard};
pub use error::RecordError;
pub use gc::{SQUASHED, Squash, squash};
pub use layout::{DASHBOARD, PinKind, SPLIT_LIMIT, StatusPath, key_of_path, record_path};
pub use message::{
    DESIRED_COMMIT, RESOURCE, RESOURCE_COUNT, RESOURCE_LIMIT, RUNNER, TRANSITION_LIMIT, message,
    parse_message,
};
pub use render::{Renderer, parse_record};
pub use shrink::shrink;
pub use transition::{MESSAGE_LIMIT, NotATransition, Transition};
pub use tree::{MAX_RECORD_BYTES, Pinned, StatusTree};
pub use writer::Writer;
