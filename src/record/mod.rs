//! The status branch: its layout, its records, its commit messages and its dashboard. Pure renderers, and
//! one writer that makes objects; moving the branch is the caller's.

mod error;
mod line;
mod render;
mod transition;

pub use error::RecordError;
pub use render::{Renderer, parse_record};
pub use transition::{MESSAGE_LIMIT, NotATransition, Transition};
