//! Gate resources: their records as executions wait at them and reviewers decide.

use jiff::Timestamp;

use crate::engine::EngineError;
use crate::engine::snapshot::Snapshot;
use crate::model::{
    Condition, ConditionStatus, GateOutcome, GatePhase, GateResolution, GateSpec, GateStatus, ResourceKey,
    ResourceStatus, ReviewBinding, Spec, StatusMetadata, StatusRecord,
};
use crate::plan::GateRequest;
use crate::run::gate::{
    GateDecision, GateEvaluation, People, ReviewRequirements, decide as decide_reviews, void_message,
};

/// The people that the configuration knows.
pub(crate) fn people(snapshot: &Snapshot) -> People {
    let identities = &snapshot.config.identities;
    People::new(
        identities.iter().map(|(name, who)| (name.as_str(), who.emails.as_slice(), who.teams.as_slice())),
    )
}

/// The spec of a gate, if it has a manifest.
pub(crate) fn spec_of(snapshot: &Snapshot, gate: &ResourceKey) -> Result<Option<GateSpec>, EngineError> {
    Ok(snapshot.resource(gate)?.and_then(|loaded| match loaded.resource.spec {
        Spec::Gate(spec) => Some(spec),
        _ => None,
    }))
}

/// The decision of a gate for one execution, from the recorded reviews.
pub(crate) fn decide(
    snapshot: &Snapshot,
    gate: &ResourceKey,
    binding: &ReviewBinding,
    since: Option<Timestamp>,
) -> Result<GateEvaluation, EngineError> {
    let record = snapshot.record(gate)?;
    let status = record.as_ref().and_then(|record| gate_status(record));
    decide_with(snapshot, gate, status, generation(snapshot, gate, record.as_deref())?, binding, since)
}

/// The same, with a gate status and generation that are not recorded yet.
pub(crate) fn decide_with(
    snapshot: &Snapshot,
    gate: &ResourceKey,
    status: Option<&GateStatus>,
    generation: u64,
    binding: &ReviewBinding,
    since: Option<Timestamp>,
) -> Result<GateEvaluation, EngineError> {
    let spec = spec_of(snapshot, gate)?;
    let author = author_of(snapshot, binding);
    // Where it cannot be told who the author is, nobody's review counts: better closed than open to the author.
    let known = snapshot.config.gates.author_may_approve || author.is_some();
    let asked =
        ReviewRequirements { spec: spec.as_ref(), generation, binding, since, author: author.as_deref() };
    let reviews = status.filter(|_| known).map(|status| status.review_history.as_slice()).unwrap_or_default();
    Ok(decide_reviews(&asked, reviews, &people(snapshot)))
}

/// The author of the commit that is to be approved, where the configuration does not let authors approve; none also
/// where the commit is not here, as in a shallow clone.
pub(crate) fn author_of(snapshot: &Snapshot, binding: &ReviewBinding) -> Option<String> {
    if snapshot.config.gates.author_may_approve {
        return None;
    }
    let commit = snapshot.repo.commit(binding.commit.parse().ok()?).ok()?;
    people(snapshot).identify(&commit.author.email).ok()
}

/// The generation of a gate as it is declared now: that of its record, one more when the spec has changed since.
pub(crate) fn generation(
    snapshot: &Snapshot,
    gate: &ResourceKey,
    record: Option<&StatusRecord>,
) -> Result<u64, EngineError> {
    let Some(record) = record else { return Ok(1) };
    let declared = snapshot.index.declared(gate)?;
    let changed =
        declared.is_some_and(|declared| record.metadata.spec_digest() != Some(declared.spec_digest.as_str()));
    Ok(record.metadata.generation.saturating_add(u64::from(changed)))
}

/// The gate status of a record.
pub(crate) fn gate_status(record: &StatusRecord) -> Option<&GateStatus> {
    match &record.status {
        ResourceStatus::Gate(status) => Some(status),
        _ => None,
    }
}

/// The record of a gate when an execution waits at it.
pub(crate) fn waiting(
    snapshot: &Snapshot,
    demand: &GateRequest,
    old: Option<&StatusRecord>,
    now: Timestamp,
) -> Result<Option<StatusRecord>, EngineError> {
    let declared = snapshot.index.declared(&demand.gate)?;
    let mut metadata = match &declared {
        Some(declared) => {
            crate::engine::snapshot::metadata::observe(&demand.gate, declared, &snapshot.desired, old)
        }
        None => old.map_or_else(
            || crate::engine::snapshot::metadata::first_seen(&demand.gate, &snapshot.desired),
            |old| old.metadata.clone(),
        ),
    };
    if declared.is_none() {
        metadata.annotations.insert(StatusMetadata::IMPLICIT.to_owned(), "true".to_owned());
    }
    let mut status = old.and_then(gate_status).cloned().unwrap_or_default();
    status.phase = GatePhase::Waiting;
    status.resolution = None;
    status.decided_generation = None;
    status.observed_generation = Some(metadata.generation);
    let decided =
        decide_with(snapshot, &demand.gate, Some(&status), metadata.generation, &demand.binding, None)?;
    let waits = format!("{} waits at node {}", demand.execution, demand.node);
    set(&mut status, "Waiting", "ExecutionWaits", waits, metadata.generation, now);
    match void_message(&decided.voided) {
        Some(message) => {
            set(&mut status, "ReviewsVoid", "NoLongerApplies", message, metadata.generation, now);
        }
        None => status.conditions.retain(|condition| condition.kind != "ReviewsVoid"),
    }
    let record = StatusRecord { metadata, status: ResourceStatus::Gate(status) };
    Ok((old != Some(&record)).then_some(record))
}

/// Settles the phase of a gate after a review was added.
pub(crate) fn settle(status: &mut GateStatus, decision: &GateDecision, generation: u64, now: Timestamp) {
    let (outcome, actors, comment) = match decision {
        GateDecision::Waiting { .. } => return,
        GateDecision::Approved { by } => (GateOutcome::Approved, by.clone(), None),
        GateDecision::Rejected { by, comment } => (GateOutcome::Rejected, vec![by.clone()], comment.clone()),
    };
    status.phase = match outcome {
        GateOutcome::Approved => GatePhase::Approved,
        GateOutcome::Rejected => GatePhase::Rejected,
    };
    status.conditions.retain(|condition| condition.kind != "Waiting");
    status.resolution = Some(GateResolution { outcome, timestamp: now, actors, comment });
    status.decided_generation = Some(generation);
}

fn set(status: &mut GateStatus, kind: &str, reason: &str, message: String, generation: u64, now: Timestamp) {
    let condition = Condition {
        kind: kind.to_owned(),
        status: ConditionStatus::True,
        reason: reason.to_owned(),
        message,
        last_transition_time: now,
        observed_generation: Some(generation),
    };
    Condition::set(&mut status.conditions, condition);
}
