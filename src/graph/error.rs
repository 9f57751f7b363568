//! What can be wrong with a graph, in words.

use crate::model::NodeId;

/// What is wrong with a graph. Each names the place as a JSON pointer below `/spec/graph`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum GraphError {
    /// Two nodes share an id.
    #[error("node id `{id}` is used twice")]
    DuplicateNode {
        /// The id that both have.
        id: NodeId,
        /// The index of the second node.
        node: usize,
        /// The index of the first.
        first: usize,
    },
    /// An edge, `dependsOn` or `children` names a node that is not there.
    #[error("there is no node `{id}`")]
    UnknownNode {
        /// The id that was named.
        id: NodeId,
        /// Where it was named.
        pointer: String,
    },
    /// A node depends on itself.
    #[error("node `{id}` depends on itself")]
    SelfLoop {
        /// The id.
        id: NodeId,
        /// The edge, or the item of `dependsOn` or `children`.
        pointer: String,
    },
    /// A node that is not `finally` depends on one that is.
    #[error("node `{id}` cannot depend on `{source_id}`, which runs after everything else")]
    BeforeFinally {
        /// The node.
        id: NodeId,
        /// The node that it depends on.
        source_id: NodeId,
        /// Where the dependency is.
        pointer: String,
    },
    /// A node of a Group is `finally`.
    #[error("node `{id}` is in a group, and cannot run after everything else")]
    FinallyInGroup {
        /// The node.
        id: NodeId,
        /// Where the group names it.
        pointer: String,
    },
    /// The id of an instance of a node is too long.
    #[error("`{name}`, an instance of node `{id}`, has an id of more than 63 characters")]
    InstanceName {
        /// The node.
        id: NodeId,
        /// The id that its instance would have.
        name: String,
    },
    /// Nodes depend on each other in a cycle.
    #[error("cycle: {}", show_path(.path))]
    Cycle {
        /// The nodes along the cycle; the first is repeated at the end.
        path: Vec<NodeId>,
    },
}

fn show_path(path: &[NodeId]) -> String {
    path.iter().map(NodeId::as_str).collect::<Vec<_>>().join(" → ")
}
