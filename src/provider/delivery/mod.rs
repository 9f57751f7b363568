//! Deliveries: what hands the work of the nodes before it to people. What they get of that work is here; each way to deliver
//! is a file of its own. The engine does what needs the repository.

mod merge;

use std::sync::Arc;

pub(super) use merge::Merge;

use super::WorkspaceError;
use crate::model::NodeId;

/// What the nodes before a delivery changed.
#[derive(Clone, Default)]
pub struct UpstreamWork {
    /// The commit that holds all of it; none where they changed nothing.
    pub commit: Option<String>,
    /// The nodes whose changes no approved Gate has seen.
    pub unapproved: Vec<NodeId>,
    /// Who brings it into a branch.
    pub merger: Option<Arc<dyn BranchMerger>>,
}

/// Brings the work before a delivery into a branch.
pub trait BranchMerger: Send + Sync {
    /// Merges the work into a branch, once, however often it is asked. Blocks. Nothing moves after `goes_on` said no.
    ///
    /// # Errors
    /// When this runner cannot do it; the work and the branch may be fine.
    fn merge_into(&self, branch: &str, goes_on: &dyn Fn() -> bool) -> Result<BranchMerge, WorkspaceError>;
}

/// What came of merging work into a branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BranchMerge {
    /// The branch holds it, since this commit.
    Delivered(String),
    /// The work conflicts with what is on the branch, in these files.
    Conflicts(Vec<String>),
    /// The branch does not take it, for this reason.
    Refused(String),
    /// It was given up before anything moved.
    Stopped,
}
