//! Gate resources: their records as executions wait at them and reviewers decide.

mod authors;

use jiff::Timestamp;

pub(crate) use self::authors::authors_of;

use crate::config::Config;
use crate::engine::EngineError;
use crate::engine::snapshot::Snapshot;
use crate::engine::snapshot::gate_in_force::{GateInForce, in_force};
use crate::engine::snapshot::metadata::{first_seen, observe};
use crate::model::{
    AskedApproval, Condition, ConditionStatus, GateOutcome, GatePhase, GateResolution, GateStatus,
    ResourceKey, ResourceStatus, ReviewBinding, StatusMetadata, StatusRecord,
};
use crate::plan::GateRequest;
use crate::run::gate::{
    GateDecision, GateEvaluation, KnownPerson, People, ReviewRequirements, decide as decide_reviews,
    review_digest, void_message,
};

/// The people that the configuration knows.
pub(crate) fn people(snapshot: &Snapshot) -> People {
    people_of(&snapshot.config)
}

/// The people that a configuration knows.
pub(crate) fn people_of(config: &Config) -> People {
    People::new(config.identities.iter().map(|(name, who)| KnownPerson {
        name,
        login: who.login.as_deref(),
        account: who.id,
        emails: &who.emails,
        teams: &who.teams,
    }))
}

/// The decision of a gate for one execution, from the recorded reviews.
pub(crate) fn decide(
    snapshot: &Snapshot,
    gate: &ResourceKey,
    binding: &ReviewBinding,
    since: Option<Timestamp>,
) -> Result<(GateEvaluation, GateInForce), EngineError> {
    let record = snapshot.record(gate)?;
    let status = record.as_ref().and_then(|record| gate_status(record));
    let version = in_force(snapshot, gate, record.as_deref())?;
    // Of the version in force, which may be newer than the record: reviews of the spec before do not count
    // for it (Invariant 11).
    let generation = version.generation(record.as_deref());
    Ok((decide_with(snapshot, &version, status, generation, binding, since), version))
}

/// The same, with a gate status and generation that are not recorded yet.
pub(crate) fn decide_with(
    snapshot: &Snapshot,
    version: &GateInForce,
    status: Option<&GateStatus>,
    generation: u64,
    binding: &ReviewBinding,
    since: Option<Timestamp>,
) -> GateEvaluation {
    let authors = authors_of(snapshot, binding);
    // Where an author is not known, nobody's review counts: better closed than open to the author.
    let known = snapshot.config.gates.author_may_approve || authors.is_some();
    let open = known && !matches!(version, GateInForce::Closed { .. });
    let authors = authors.as_deref().unwrap_or_default();
    let asked = ReviewRequirements { spec: version.spec(), generation, binding, since, authors };
    // A closed gate has no reviews to count, so that there is one place where approvals are counted.
    let reviews = status.filter(|_| open).map(|status| status.review_history.as_slice()).unwrap_or_default();
    decide_reviews(&asked, reviews, &people(snapshot))
}

/// The gate status of a record.
pub(crate) fn gate_status(record: &StatusRecord) -> Option<&GateStatus> {
    match &record.status {
        ResourceStatus::Gate(status) => Some(status),
        _ => None,
    }
}

/// The metadata of a gate's record while this version is in force.
pub(crate) fn metadata_of(
    snapshot: &Snapshot,
    gate: &ResourceKey,
    version: &GateInForce,
    old: Option<&StatusRecord>,
) -> StatusMetadata {
    if let GateInForce::Declared(loaded) = version {
        return observe(gate, &loaded.declared, &snapshot.desired, old);
    }
    let mut metadata = old.map_or_else(|| first_seen(gate, &snapshot.desired), |old| old.metadata.clone());
    match version.problem() {
        Some(why) => {
            metadata.annotations.insert(StatusMetadata::QUARANTINED.to_owned(), why.to_owned());
        }
        None => {
            // Tells a gate that never had a manifest from one that lost it, which fails closed.
            metadata.annotations.insert(StatusMetadata::IMPLICIT.to_owned(), "true".to_owned());
        }
    }
    metadata
}

/// The record of a gate when an execution waits at it.
pub(crate) fn waiting(
    snapshot: &Snapshot,
    demand: &GateRequest,
    old: Option<&StatusRecord>,
    now: Timestamp,
) -> Result<Option<StatusRecord>, EngineError> {
    let version = in_force(snapshot, &demand.gate, old)?;
    let metadata = metadata_of(snapshot, &demand.gate, &version, old);
    let mut status = old.and_then(gate_status).cloned().unwrap_or_default();
    status.phase = GatePhase::Waiting;
    // That was for the Execution before. This one is asked for anew, and each review says which one it is
    // about.
    status.resolution = None;
    status.decided_generation = None;
    status.observed_generation = Some(metadata.generation);
    let decided = decide_with(snapshot, &version, Some(&status), metadata.generation, &demand.binding, None);
    let waits = format!("{} waits at node {}", demand.execution, demand.node);
    set(&mut status, "Waiting", "ExecutionWaits", waits, metadata.generation, now);
    ask(&mut status, demand, metadata.generation);
    match void_message(&decided.voided) {
        Some(message) => {
            set(&mut status, "ReviewsVoid", "NoLongerApplies", message, metadata.generation, now);
        }
        None => status.conditions.retain(|condition| condition.kind != "ReviewsVoid"),
    }
    let record = StatusRecord { metadata, status: ResourceStatus::Gate(status) };
    // An Execution that is planned again while it waits makes no commit (Invariant 5).
    Ok((old != Some(&record)).then_some(record))
}

/// How many nodes are listed with their providers.
const LISTED_TARGETS: usize = 50;

/// How many nodes may be shown as waiting at one gate.
const LISTED_REQUESTS: usize = 20;

/// Writes down what is asked for, so that people and scripts see it without a checkout of everything.
fn ask(status: &mut GateStatus, demand: &GateRequest, generation: u64) {
    let asked = asked(demand, generation);
    let all = &mut status.extensions.asked;
    all.retain(|other| (&other.execution, &other.node) != (&asked.execution, &asked.node));
    all.push(asked);
    let surplus = all.len().saturating_sub(LISTED_REQUESTS);
    all.drain(..surplus);
}

/// Whether what an Execution asks of a gate differs from what its record shows.
pub(crate) fn asks_anew(snapshot: &Snapshot, demand: &GateRequest) -> Result<bool, EngineError> {
    let record = snapshot.record(&demand.gate)?;
    let Some(status) = record.as_deref().and_then(gate_status) else { return Ok(true) };
    let generation = in_force(snapshot, &demand.gate, record.as_deref())?.generation(record.as_deref());
    let asked = asked(demand, generation);
    let all = &status.extensions.asked;
    let shown = all.iter().find(|other| (&other.execution, &other.node) == (&asked.execution, &asked.node));
    // Where more wait than are listed, those that are not would take each other's place for ever.
    Ok(shown.map_or(all.len() < LISTED_REQUESTS, |shown| *shown != asked))
}

fn asked(demand: &GateRequest, generation: u64) -> AskedApproval {
    let subject = demand.binding.subject.as_ref();
    let targets = subject.into_iter().flat_map(|subject| &subject.targets).take(LISTED_TARGETS);
    AskedApproval {
        execution: format!("{}/{}", demand.execution.namespace, demand.execution.name),
        node: demand.node.clone(),
        commit: demand.binding.commit.clone(),
        digest: review_digest(generation, &demand.binding),
        targets: targets.map(|(node, target)| (node.clone(), target.provider.clone())).collect(),
        owners: subject.and_then(|subject| subject.owners.clone()),
    }
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
