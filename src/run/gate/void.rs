//! Why a review does not count.

use std::fmt;

use super::people::ReviewRefusal;
use crate::model::NodeId;

/// Why a review does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum VoidReason {
    /// It does not say what it was about.
    Unbound,
    /// The gate's spec changed since.
    GateChanged {
        /// The generation that was reviewed.
        from: u64,
        /// The generation now.
        to: u64,
    },
    /// The graph is not the one that was reviewed.
    GraphChanged,
    /// The execution is pinned to another commit than the one that was reviewed.
    CommitChanged,
    /// What a node before the gate gave is not what was reviewed.
    OutputsChanged(NodeId),
    /// Something else would do the work of a node.
    TargetChanged {
        /// The node.
        node: NodeId,
        /// The provider that was approved, if there was one.
        from: Option<String>,
        /// The provider now.
        to: String,
    },
    /// The gate was asked again since.
    Retried,
    /// The reviewer may not review, or not any more.
    NotEligible(ReviewRefusal),
}

impl fmt::Display for VoidReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unbound => f.write_str("it does not say what it applies to"),
            Self::GateChanged { from, to } => write!(f, "the gate changed (generation {from}, now {to})"),
            Self::GraphChanged => f.write_str("the graph has changed"),
            Self::CommitChanged => f.write_str("the execution is pinned to another commit"),
            Self::OutputsChanged(node) => {
                write!(f, "the outputs or the result of node `{node}` have changed")
            }
            Self::TargetChanged { node, from: None, to } => {
                write!(f, "node `{node}` had no provider when it was reviewed, and would now run {to}")
            }
            Self::TargetChanged { node, from: Some(from), to } if from == to => {
                write!(f, "the settings of {to} for node `{node}` have changed")
            }
            Self::TargetChanged { node, from: Some(from), to } => {
                write!(f, "node `{node}` would now run {to} instead of {from}")
            }
            Self::Retried => f.write_str("the gate has been retried since"),
            Self::NotEligible(refusal) => refusal.fmt(f),
        }
    }
}
