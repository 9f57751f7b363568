//! Reviews of gates.

use jiff::Timestamp;

use super::{Actor, DecisionEffect, listed, refuse};
use crate::engine::EngineError;
use crate::engine::snapshot::Snapshot;
use crate::engine::snapshot::gate_in_force::{GateInForce, in_force};
use crate::engine::snapshot::gates::{author_of, decide_with, gate_status, metadata_of, people, settle};
use crate::engine::snapshot::pin::program_of;
use crate::model::{
    GatePhase, Kind, NodeKind, NodePhase, NodeReason, ResourceKey, ResourceStatus, Review, ReviewAction,
    ReviewBinding, StatusRecord,
};
use crate::run::gate::{GateDecision, eligible};

/// An execution that has a gate on its way.
struct GatedExecution {
    key: ResourceKey,
    binding: ReviewBinding,
    since: Option<Timestamp>,
    /// When what is answered began: the wait, or the Execution where it has not come to the gate yet.
    began: Option<Timestamp>,
    waits: bool,
}

/// Records a review, bound to exactly what the execution is pinned to (Invariant 11).
pub(super) fn review(
    snapshot: &Snapshot,
    actor: &Actor<'_>,
    gate: &ResourceKey,
    action: ReviewAction,
    execution: Option<&ResourceKey>,
    comment: Option<&str>,
) -> Result<DecisionEffect, EngineError> {
    let old = snapshot.record(gate)?;
    // The version that decides: a manifest that is deleted or broken chooses no other reviewers (Invariant
    // 11).
    let version = in_force(snapshot, gate, old.as_deref())?;
    if let GateInForce::Closed { why } = &version {
        return refuse(format!("gate `{}` is closed: {why}; fix the manifest first", gate.name));
    }
    let teams = actor.host.map(|host| host.teams.clone()).unwrap_or_default();
    // Asked here for the answer to the person, and again when the node is claimed: reviewers may change in
    // between.
    eligible(&actor.name, &teams, version.spec(), &people(snapshot))
        .map_err(|refusal| EngineError::Refused(refusal.to_string()))?;
    let visitor = visitor(snapshot, gate, execution)?;
    // Before its age: a job that is run again must find its own comment recorded, and not hear that it is too
    // old.
    if let Some(line) = counted(actor, old.as_deref(), &visitor)? {
        return Ok(DecisionEffect { lines: vec![line], ..DecisionEffect::default() });
    }
    actor.answers(visitor.began, "the wait at the gate")?;
    know_author(snapshot, &visitor.binding)?;
    let metadata = metadata_of(snapshot, gate, &version, old.as_deref());
    let generation = version.generation(old.as_deref());
    let mut status = old.as_deref().and_then(gate_status).cloned().unwrap_or_default();
    status.observed_generation = Some(generation);
    status.review_history.push(Review {
        reviewer: actor.name.clone(),
        action,
        // When the person decided. The job that records it may be run again weeks later.
        timestamp: actor.made_at(),
        comment: comment.map(ToOwned::to_owned),
        target_generation: Some(generation),
        extensions: Some(ReviewBinding {
            teams,
            account: actor.host.map(|host| host.account.clone()),
            source: actor.host.map(|host| host.source.clone()),
            ..visitor.binding.clone()
        }),
    });
    let decided = decide_with(snapshot, &version, Some(&status), generation, &visitor.binding, visitor.since);
    // A review without effect is refused and not recorded: the person is there to hear why.
    let latest = status.review_history.len().saturating_sub(1);
    if let Some(voided) = decided.voided.iter().find(|voided| voided.review == latest) {
        return refuse(format!("this review would not count: {}", voided.reason));
    }
    // After a review in advance nobody waits at the gate yet.
    if status.phase == GatePhase::Pending && visitor.waits {
        status.phase = GatePhase::Waiting;
    }
    settle(&mut status, &decided.decision, generation, actor.at);
    let said = outcome(&decided.decision, action);
    let record = StatusRecord { metadata, status: ResourceStatus::Gate(status) };
    let mut verdict = DecisionEffect::default();
    verdict.lines.push(format!("gate/{} {said} for execution/{}", gate.name, visitor.key.name));
    verdict.assembly.put_decision(old.as_deref(), record, &actor.name, comment.unwrap_or(&said), actor.at);
    Ok(verdict)
}

/// What the command prints about the gate after the review.
fn outcome(decision: &GateDecision, action: ReviewAction) -> String {
    match (decision, action) {
        (GateDecision::Approved { by }, _) => format!("approved by {}", by.join(", ")),
        (GateDecision::Rejected { by, .. }, _) => format!("rejected by {by}"),
        (GateDecision::Waiting { .. }, ReviewAction::Comment) => "commented".to_owned(),
        (GateDecision::Waiting { approvals, needed }, _) => {
            format!("has {} of {needed} approvals", approvals.len())
        }
    }
}

/// Whether the comment or review is recorded already: a job that runs again changes nothing for the same Execution, and a
/// decision is not carried over to another one (Invariant 11). The answer is a line for the person.
fn counted(
    actor: &Actor<'_>,
    record: Option<&StatusRecord>,
    visitor: &GatedExecution,
) -> Result<Option<String>, EngineError> {
    let (Some(host), Some(status)) = (actor.host, record.and_then(gate_status)) else { return Ok(None) };
    let bindings = status.review_history.iter().filter_map(|review| review.extensions.as_ref());
    let mut recorded = bindings.filter(|binding| binding.source.as_deref() == Some(&host.source)).peekable();
    if recorded.peek().is_none() {
        return Ok(None);
    }
    if recorded.any(|binding| binding.execution == visitor.binding.execution) {
        return Ok(Some(format!("{} is already recorded for execution/{}", host.source, visitor.key.name)));
    }
    // An error and not a line: whoever re-runs an old job must not take this for an approval.
    refuse(format!("{} is already recorded for another execution, and counts once", host.source))
}

/// Where authors may not approve, it has to be known who the author is.
fn know_author(snapshot: &Snapshot, binding: &ReviewBinding) -> Result<(), EngineError> {
    if snapshot.config.gates.author_may_approve || author_of(snapshot, binding).is_some() {
        return Ok(());
    }
    refuse(format!(
        "the author of commit {} is not known here, and `gates.authorMayApprove` is false; fetch the whole history first, as \
         with `git fetch --unshallow`",
        binding.commit
    ))
}

/// The execution that a review is about.
fn visitor(
    snapshot: &Snapshot,
    gate: &ResourceKey,
    wanted: Option<&ResourceKey>,
) -> Result<GatedExecution, EngineError> {
    if let Some(key) = wanted {
        let found = visit(snapshot, key, gate)?;
        return match found {
            Some(visitor) => Ok(visitor),
            None => refuse(format!("{key} is not running, or has no gate `{}` ahead", gate.name)),
        };
    }
    let mut waiting = Vec::new();
    for key in snapshot.index.active_executions()? {
        // Without a name only those that wait are meant: nothing opens a gate for an Execution that nobody
        // spoke of.
        waiting.extend(visit(snapshot, &key, gate)?.filter(|visitor| visitor.waits));
    }
    let names = listed(waiting.iter().map(|visitor| &visitor.key.name));
    let mut waiting = waiting.into_iter();
    match (waiting.next(), waiting.next()) {
        (Some(only), None) => Ok(only),
        // Choosing one would approve what the reviewer may not have seen.
        (Some(_), Some(_)) => refuse(format!(
            "several executions wait at gate `{}`: {names}; name one with --execution",
            gate.name
        )),
        (None, _) => refuse(format!(
            "no execution waits at gate `{}`; run `planspec reconcile` first, or name an execution that has not reached it yet \
             with --execution",
            gate.name
        )),
    }
}

/// How an execution stands towards a gate: none when it is over, or has no such gate before it.
fn visit(
    snapshot: &Snapshot,
    key: &ResourceKey,
    gate: &ResourceKey,
) -> Result<Option<GatedExecution>, EngineError> {
    let Some(record) = snapshot.record(key)? else { return Ok(None) };
    let Some(status) = record.execution().filter(|status| !status.phase.is_terminal()) else {
        return Ok(None);
    };
    let Some(pinned) = &status.extensions.pinned else { return Ok(None) };
    // One whose pinned files are lost cannot be reviewed, and holds up no review of the others (Invariant 6).
    let Ok(compiled) = program_of(snapshot, key, (pinned, status))? else { return Ok(None) };
    let home = &pinned.plan.namespace;
    let mut first = None;
    for node in compiled.plan.graph.nodes.iter().filter(|node| node.kind == NodeKind::Gate) {
        let names = node.gate_ref.as_ref().is_some_and(|reference| reference.key(Kind::Gate, home) == *gate);
        let Some(state) =
            status.node_statuses.get(&node.id).filter(|state| names && !state.phase.is_terminal())
        else {
            continue;
        };
        let waits = state.phase == NodePhase::Blocked
            && state.extensions.reason == Some(NodeReason::AwaitingApproval);
        let visitor = GatedExecution {
            key: key.clone(),
            binding: ReviewBinding {
                execution: record.metadata.uid.clone(),
                graph_digest: pinned.graph_digest.clone(),
                commit: pinned.commit.clone(),
                teams: Vec::new(),
                account: None,
                source: None,
            },
            // Reviews from before a retry were about the run that is over.
            since: state.extensions.reset_at,
            began: state
                .extensions
                .blocked_since
                .filter(|_| waits)
                .or(status.queued_time)
                .max(state.extensions.reset_at),
            waits,
        };
        // Several nodes may ask for one Gate. The one that waits is what the person sees, wherever it stands in the file.
        if waits {
            return Ok(Some(visitor));
        }
        first.get_or_insert(visitor);
    }
    Ok(first)
}
