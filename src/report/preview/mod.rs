//! What merging a change would do, as one comment and as the summary of a job.

mod sections;
mod wire;

pub use super::markdown::Rendered;
pub use wire::{
    API_VERSION, Changed, Field, Finding, Graph, GraphEdge, GraphNode, HeldBack, Mark, Preview, PreviewError,
    ProviderUse, Start, Voided,
};

/// What finds the comment again.
pub const MARKER: &str = "<!-- planspec:preview -->";

/// Writes a preview down. `limit` is how many characters the comment may have ([`super::markdown::COMMENT_LIMIT`] on
/// GitHub); `full` is the address of the job's summary, for readers of a comment that was cut.
#[must_use]
pub fn render(preview: &Preview, limit: usize, full: Option<&str>) -> Rendered {
    sections::page(preview).render(limit, full)
}

#[cfg(test)]
pub(in crate::report) mod tests;
