//! What a blocked node waits for, in words, and what a person may run about it.

use crate::model::{NodeId, NodeReason, ResourceKey};

/// What is waited for.
pub(super) fn what(reason: NodeReason) -> &'static str {
    match reason {
        NodeReason::AwaitingApproval => "an approval",
        NodeReason::AwaitingPerson => "a person",
        NodeReason::AwaitingEvent => "an event outside",
        NodeReason::AwaitingProvider => "work that goes on elsewhere",
        NodeReason::Unbound => "a Binding that names a provider for it",
        NodeReason::BindingConflict => "a Binding whose rules do not contradict each other",
        NodeReason::ProviderUnavailable => "a provider that is known and allowed here",
        NodeReason::RunnerLost => "a decision, because its runner was lost",
        NodeReason::ContentRefused => "a decision, because the remote refused what it gave",
        NodeReason::InputRequired => "an answer",
        _ => "the outside world",
    }
}

/// The command that lets it go on, where there is one.
pub(super) fn command(reason: NodeReason, key: &ResourceKey, node: &NodeId) -> Option<String> {
    let (name, space) = (&key.name, &key.namespace);
    match reason {
        NodeReason::AwaitingApproval => Some(format!("planspec approve {name}/{node} -n {space}")),
        NodeReason::InputRequired => Some(format!("planspec answer {name}/{node} -n {space} TEXT")),
        NodeReason::AwaitingPerson => Some(format!("planspec complete {name}/{node} -n {space}")),
        NodeReason::RunnerLost | NodeReason::ContentRefused => {
            Some(format!("planspec retry {name} --from {node} -n {space}"))
        }
        _ => None,
    }
}
