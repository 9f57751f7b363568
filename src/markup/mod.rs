//! Hostile text made harmless, for everything that writes Markdown, HTML, Mermaid or YAML: the one place that escapes. Imports
//! nothing, so that records, reports and providers can share it.

mod escape;
mod line;
mod nesting;
mod yaml;

pub(crate) use escape::{code, fence, label, markdown, paragraphs, sentence};
pub(crate) use line::{cut, grouped, in_their_words, is_hidden, one_line};
pub(crate) use nesting::is_nested_too_deeply;
pub(crate) use yaml::yaml;
