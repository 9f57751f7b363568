//! The status branch: its layout, its records, its commit messages and its dashboard. Pure renderers, and
//! one writer that makes objects; moving the branch is the caller's.

mod error;
mod render;

pub use error::RecordError;
pub use render::{Renderer, parse_record};
