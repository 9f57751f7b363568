//! What becomes of an Execution when its manifest is changed, removed, or comes back.

use jiff::Timestamp;

use crate::engine::EngineError;
use crate::engine::snapshot::Snapshot;
use crate::git::ObjectId;
use crate::index::Declaration;
use crate::model::{
    Condition, ConditionStatus, ExecutionPhase, ExecutionStatus, PersonRequest, ResourceKey, StatusMetadata,
};
use crate::record::PinKind;

/// The type of the condition that says so on the record.
const CONDITION: &str = "SpecChanged";
/// The type of the condition that says that it ended before.
const RETURNED: &str = "EndedBefore";
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

/// How an Execution stood when its record was removed.
pub(crate) struct EndedExecution {
    pub(crate) status: ExecutionStatus,
    /// What was pinned, for a later `retry`.
    pub(crate) pins: Vec<(PinKind, ObjectId)>,
}

/// How an Execution stood when its record was removed: its manifest is back with the same uid, as after a
/// branch was reset and pushed again. It is the same one, and has ended (Invariant 10).
pub(crate) fn ended_before(
    snapshot: &Snapshot,
    key: &ResourceKey,
    declared: &Declaration,
    metadata: &StatusMetadata,
    now: Timestamp,
) -> Result<Option<EndedExecution>, EngineError> {
    if declared.derived {
        return Ok(None);
    }
    let Some(removed) = snapshot.status.removed(&snapshot.repo, key, &metadata.uid)? else { return Ok(None) };
    let known = removed.record.as_ref().and_then(|record| record.execution());
    let mut status = known.cloned().unwrap_or_else(|| ExecutionStatus {
        run_id: Some(metadata.uid.clone()),
        spec_hash: Some(declared.spec_digest.clone()),
        observed_generation: Some(metadata.generation),
        ..ExecutionStatus::default()
    });
    // Only what has ended is removed. Where the summary says something else, or nothing, somebody edited it; which end it was
    // cannot be known any more, and running again is the one wrong answer.
    if !status.phase.is_terminal() {
        status.phase = ExecutionPhase::Cancelled;
        status.message = Some("it ended before its manifest was removed; how, cannot be read".to_owned());
    }
    let message =
        "the manifest came back with the uid of an Execution that has ended; `planspec retry` runs it again";
    let condition = Condition {
        kind: RETURNED.to_owned(),
        status: ConditionStatus::True,
        reason: "ManifestReturned".to_owned(),
        message: message.to_owned(),
        last_transition_time: now,
        observed_generation: status.observed_generation,
    };
    Condition::set(&mut status.conditions, condition);
    tracing::info!(execution = %key, uid = metadata.uid, phase = %status.phase, "a removed Execution is back");
    Ok(Some(EndedExecution { status, pins: removed.pins }))
}
