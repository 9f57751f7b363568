//! Commands that record a decision on the status branch: about a gate, an execution or one of its nodes.

pub(crate) mod execution;
pub(crate) mod gate;
pub(crate) mod node;
