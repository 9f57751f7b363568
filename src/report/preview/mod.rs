//! What merging a change would do, as one comment and as the summary of a job.

mod findings;
mod graphs;
mod sections;
mod wire;

pub(crate) use super::markdown::{PageLinks, RenderedComment};
pub(super) use findings::findings;
pub(crate) use wire::{
    ChangeMark, ChangedField, ChangedResource, GraphEdge, GraphNode, HeldBackDeletions, Preview,
    PreviewCommand, PreviewFinding, PreviewGate, PreviewGraph, ProviderUse, StartingExecution,
    VoidedApproval,
};

/// What finds the comment again.
pub(crate) const MARKER: &str = "<!-- planspec:preview -->";

/// Writes a preview down. `limit` is how many characters the comment may have ([`super::markdown::COMMENT_LIMIT`] on
/// GitHub).
#[must_use]
pub(crate) fn render(preview: &Preview, limit: usize, links: PageLinks<'_>) -> RenderedComment {
    sections::page(preview, links.repository).render(limit, links)
}

#[cfg(test)]
pub(in crate::report) mod tests;
