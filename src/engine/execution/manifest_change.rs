//! What becomes of an Execution when its manifest is changed or removed.

use jiff::Timestamp;

use crate::index::Declaration;
use crate::model::{Condition, ConditionStatus, ExecutionStatus};

/// The request that the removal of a manifest stands for.
pub(crate) fn removed_request(now: Timestamp) -> crate::model::PersonRequest {
    let comment = Some("the manifest was removed".to_owned());
    // No person asked for it; the name says that the reconciler concluded it.
    crate::model::PersonRequest { by: "planspec".to_owned(), at: now, comment }
}

/// An Execution's spec never changes: a newer manifest is reported, and what is pinned stays in force.
pub(crate) fn note_immutable(status: &mut ExecutionStatus, declared: &Declaration, now: Timestamp) -> bool {
    let changed = status.spec_hash.as_ref() != Some(&declared.spec_digest);
    if !changed {
        // The manifest is what was pinned again, as after a revert, so there is nothing left to warn of.
        let before = status.conditions.len();
        status.conditions.retain(|condition| condition.kind != "SpecChanged");
        return status.conditions.len() != before;
    }
    let condition = Condition {
        kind: "SpecChanged".to_owned(),
        status: ConditionStatus::True,
        reason: "Immutable".to_owned(),
        message: format!(
            "the manifest in `{}` was changed; the spec of an execution is immutable, so what was first observed stays \
             in force; write a new Execution instead",
            declared.source.path
        ),
        last_transition_time: now,
        observed_generation: status.observed_generation,
    };
    // A condition and no failure: what is pinned goes on unharmed (Invariant 9).
    Condition::set(&mut status.conditions, condition)
}
