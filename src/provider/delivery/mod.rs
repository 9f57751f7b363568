//! Deliveries: what hands the work of the nodes before it to people. Each way to deliver is a file or a folder of its own.

mod merge;
mod pull_request;

pub(super) use merge::Merge;
pub(crate) use pull_request::PullHandle;
pub(super) use pull_request::PullRequests;

use super::{Attempt, AttemptOutcome, ConfigError};
use crate::model::{JsonMap, NodeReason};

/// What no delivery can do, whatever the work is; said before anything is done.
fn refuse_impossible(attempt: &Attempt, outputs: &[&str]) -> Result<(), AttemptOutcome> {
    // A criterion that fails afterwards could not take the delivery back.
    if let Some(criterion) = attempt.criteria.first() {
        let why = "cannot be checked by a delivery: put it on the task before it".to_owned();
        return Err(unavailable(&ConfigError::Criterion { name: criterion.name.clone(), why }));
    }
    if let Some(unknown) = attempt.declared_outputs.iter().find(|name| !outputs.contains(&name.as_str())) {
        let why = format!("a delivery like this has the outputs {}, but not `{unknown}`", outputs.join(", "));
        return Err(AttemptOutcome::permanent(NodeReason::OutputInvalid, why));
    }
    Ok(())
}

fn unavailable(error: &ConfigError) -> AttemptOutcome {
    AttemptOutcome::permanent(NodeReason::ProviderUnavailable, error.to_string())
}

/// Success with what the node declares of these outputs; with all, where it declares none.
fn succeeded(attempt: &Attempt, mut outputs: JsonMap) -> AttemptOutcome {
    let declared = &attempt.declared_outputs;
    if !declared.is_empty() {
        outputs.retain(|name, _| declared.contains(name));
    }
    AttemptOutcome::Succeeded { outputs }
}

/// Blocked and not Failed: the work may be fine, and what is in the way is outside of the plan.
fn refused(message: String) -> AttemptOutcome {
    blocked(NodeReason::DeliveryRefused, message)
}

fn blocked(reason: NodeReason, message: String) -> AttemptOutcome {
    AttemptOutcome::Blocked { reason, message, handle: None, poll_after: None }
}
