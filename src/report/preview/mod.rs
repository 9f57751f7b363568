//! What merging a change would do, as one comment and as the summary of a job.

mod sections;
mod wire;

pub(crate) use super::markdown::RenderedComment;
pub(crate) use wire::{
    ChangeMark, ChangedField, ChangedResource, GraphEdge, GraphNode, HeldBackDeletions, Preview,
    PreviewCommand, PreviewFinding, PreviewGate, PreviewGraph, ProviderUse, StartingExecution,
    VoidedApproval,
};

/// What finds the comment again.
pub(crate) const MARKER: &str = "<!-- planspec:preview -->";

/// Writes a preview down. `limit` is how many characters the comment may have ([`super::markdown::COMMENT_LIMIT`] on
/// GitHub); `full` is the address of the job's summary, for readers of a comment that was cut.
#[must_use]
pub(crate) fn render(preview: &Preview, limit: usize, full: Option<&str>) -> RenderedComment {
    sections::page(preview).render(limit, full)
}

#[cfg(test)]
pub(in crate::report) mod tests;
