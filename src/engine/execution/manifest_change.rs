//! What becomes of an Execution when its manifest is changed or removed.

use jiff::Timestamp;

use crate::index::Declaration;
use crate::model::{Condition, ConditionStatus, ExecutionStatus, PersonRequest};

/// The type of the condition that says so on the record.
const CONDITION: &str = "SpecChanged";
/// Why an edited Execution goes on as it was.
pub(crate) const IMMUTABLE: &str =
    "the spec of an execution is immutable, so what was first observed stays in force";

/// Whether the record says that the manifest was changed.
pub(crate) fn is_noted(status: &ExecutionStatus) -> bool {
    status.conditions.iter().any(|condition| condition.kind == CONDITION)
}

/// The request that the removal of a manifest stands for.
pub(crate) fn removed_request(now: Timestamp) -> PersonRequest {
    let comment = Some("the manifest was removed".to_owned());
    // No person asked for it; the name says that the reconciler concluded it.
    PersonRequest { by: "planspec".to_owned(), at: now, comment }
}

/// An Execution's spec never changes: a newer manifest is reported, and what is pinned stays in force.
pub(crate) fn note_immutable(status: &mut ExecutionStatus, declared: &Declaration, now: Timestamp) -> bool {
    let changed = status.spec_hash.as_ref() != Some(&declared.spec_digest);
    if !changed {
        // The manifest is what was pinned again, as after a revert, so there is nothing left to warn of.
        let before = status.conditions.len();
        status.conditions.retain(|condition| condition.kind != CONDITION);
        return status.conditions.len() != before;
    }
    let condition = Condition {
        kind: CONDITION.to_owned(),
        status: ConditionStatus::True,
        reason: "Immutable".to_owned(),
        message: format!(
            "the manifest in `{}` was changed; {IMMUTABLE}; write a new Execution instead",
            declared.source.path
        ),
        last_transition_time: now,
        observed_generation: status.observed_generation,
    };
    // A condition and no failure: what is pinned goes on unharmed (Invariant 9).
    Condition::set(&mut status.conditions, condition)
}
