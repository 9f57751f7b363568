//! Hostile text made harmless, for everything that writes Markdown, HTML or Mermaid: the one place that escapes. Imports
//! nothing, so that records, reports and providers can share it.

mod escape;
mod line;

pub(crate) use escape::{code, fence, label, markdown, paragraphs};
pub(crate) use line::{cut, grouped, is_hidden, one_line};
