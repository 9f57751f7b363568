//! Reviews of gates.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::held_back::is_asked_again;
use super::target::not_merged;
use super::{Actor, DecisionEffect, listed, refuse};
use crate::engine::EngineError;
use crate::engine::snapshot::Snapshot;
use crate::engine::snapshot::approvals::void_below;
use crate::engine::snapshot::approved_target::approved_target;
use crate::engine::snapshot::gate_in_force::{GateInForce, in_force};
use crate::engine::snapshot::gates::{authors_of, decide_with, gate_status, metadata_of, people, settle};
use crate::engine::snapshot::pin::program_of;
use crate::engine::snapshot::pin_check::{Unmerged, unmerged};
use crate::graph::NodeIx;
use crate::model::{
    ApprovalCount, Digest, ExecutionStatus, GatePhase, Kind, NodeId, NodeKind, NodePhase, NodeReason,
    ResourceKey, ResourceStatus, Review, ReviewAction, ReviewBinding, ReviewSubject, StatusRecord,
};
use crate::plan::results_before;
use crate::run::CompiledPlan;
use crate::run::gate::{GateDecision, eligible, review_digest, review_subject};

/// How many nodes are named for one provider.
const LISTED_NODES: usize = 10;

/// An execution that has a gate on its way.
struct GatedExecution {
    key: ResourceKey,
    binding: ReviewBinding,
    since: Option<Timestamp>,
    /// When what is answered began: the wait, or the Execution where it has not come to the gate yet.
    began: Option<Timestamp>,
    waits: bool,
    /// A node before the gate whose changes were kept.
    unseen_result: Option<NodeId>,
}

/// Records a review, bound to exactly what the execution is pinned to (Invariant 11).
pub(super) fn review(
    snapshot: &Snapshot,
    actor: &Actor<'_>,
    gate: &ResourceKey,
    action: ReviewAction,
    execution: Option<&ResourceKey>,
    (comment, expect): (Option<&str>, Option<&str>),
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
    let visitor = visitor(snapshot, gate, execution, actor.host.is_none());
    // Before whether anything waits: somebody who may not answer learns only that.
    let subject = visitor.as_ref().ok().and_then(|visitor| visitor.binding.subject.as_ref());
    let owners = subject.and_then(|subject| subject.owners.as_ref());
    eligible(&actor.name, &teams, (version.spec(), owners), &people(snapshot))
        .map_err(|refusal| EngineError::Refused(refusal.to_string()))?;
    let visitor = visitor?;
    // Before its age: a job that is run again must find its own comment recorded, and not hear that it is too
    // old.
    if let Some(line) = counted(actor, old.as_deref(), &visitor)? {
        return Ok(DecisionEffect { lines: vec![line], ..DecisionEffect::default() });
    }
    actor.answers(visitor.began, "the wait at the gate")?;
    know_authors(snapshot, &visitor.binding)?;
    may_approve(snapshot, actor, action, &visitor)?;
    let metadata = metadata_of(snapshot, gate, &version, old.as_deref());
    let generation = version.generation(old.as_deref());
    let digest = review_digest(generation, &visitor.binding);
    compare(expect, &digest, gate)?;
    let mut status = old.as_deref().and_then(gate_status).cloned().unwrap_or_default();
    status.observed_generation = Some(generation);
    let binding = ReviewBinding { teams, digest: Some(digest.clone()), ..visitor.binding.clone() };
    status.review_history.push(said(actor, action, comment, (generation, visitor.began), binding));
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
    if !matches!(decided.decision, GateDecision::Waiting { .. }) {
        let execution = format!("{}/{}", visitor.key.namespace, visitor.key.name);
        status.extensions.asked.retain(|asked| asked.execution != execution);
    }
    let outcome = outcome(&decided.decision, action);
    let record = StatusRecord { metadata, status: ResourceStatus::Gate(status) };
    let mut verdict = DecisionEffect::default();
    verdict.lines.push(format!("gate/{} {outcome} for execution/{}", gate.name, visitor.key.name));
    if action == ReviewAction::Approve {
        verdict.lines.extend(what_is_approved(&visitor.binding, &digest));
    }
    verdict.assembly.put_decision(old.as_deref(), record, &actor.name, comment.unwrap_or(&outcome), actor.at);
    Ok(verdict)
}

/// The review as it is recorded.
fn said(
    actor: &Actor<'_>,
    action: ReviewAction,
    comment: Option<&str>,
    (generation, began): (u64, Option<Timestamp>),
    binding: ReviewBinding,
) -> Review {
    Review {
        reviewer: actor.name.clone(),
        action,
        // When the person decided. The job that records it may be run again weeks later.
        timestamp: actor.answered_at(began),
        comment: comment.map(ToOwned::to_owned),
        target_generation: Some(generation),
        extensions: Some(ReviewBinding {
            account: actor.host.map(|host| host.account.clone()),
            source: actor.host.map(|host| host.source.clone()),
            ..binding
        }),
    }
}

/// What nobody can approve, whoever they are.
fn may_approve(
    snapshot: &Snapshot,
    actor: &Actor<'_>,
    action: ReviewAction,
    visitor: &GatedExecution,
) -> Result<(), EngineError> {
    if action != ReviewAction::Approve {
        return Ok(());
    }
    // What was not merged does not run, and an approval of it would count as soon as somebody makes the record right again.
    let Some(record) = snapshot.record(&visitor.key)? else { return Ok(()) };
    if let Some(status) = record.execution()
        && let Some(Unmerged::Otherwise(why)) = unmerged(snapshot, &visitor.key, &record.metadata, status)?
    {
        // Where it cannot be told, the gate stays closed; the approval is bound to what is pinned now.
        return refuse(not_merged(&visitor.key, &why));
    }
    // A review of a pull request saw what was merged, and not what tasks made of it since.
    if actor.host.is_some_and(|host| host.in_advance)
        && let Some(node) = &visitor.unseen_result
    {
        return refuse(format!(
            "the review is of the pull request, which does not show what node `{node}` changed; approve with a comment"
        ));
    }
    Ok(())
}

/// Whether the reviewer looked at what is asked now.
fn compare(expect: Option<&str>, digest: &Digest, gate: &ResourceKey) -> Result<(), EngineError> {
    let Some(expect) = expect else { return Ok(()) };
    let digits = |text: &str| text.trim().rsplit(':').next().unwrap_or_default().to_ascii_lowercase();
    let expected = digits(expect);
    let now = digits(digest.as_str());
    if expected.len() < Digest::SHOWN_DIGITS {
        return refuse(format!("a digest has at least {} digits", Digest::SHOWN_DIGITS));
    }
    if now.starts_with(&expected) {
        return Ok(());
    }
    refuse(format!(
        "what gate `{}` asks about is not what you expect: its digest is {}; see `planspec describe gate/{} -n {}`",
        gate.name,
        digest.shown(),
        gate.name,
        gate.namespace
    ))
}

/// The lines that say what was approved: the commit, the digest, and what will do the work.
fn what_is_approved(binding: &ReviewBinding, digest: &Digest) -> Vec<String> {
    let commit: String = binding.commit.chars().take(8).collect();
    let mut lines = vec![format!("approved: commit {commit}, digest {}", digest.shown())];
    let targets = binding.subject.as_ref().map(|subject| &subject.targets);
    let mut by_provider: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (node, target) in targets.into_iter().flatten() {
        by_provider.entry(&target.provider).or_default().push(node.as_str());
    }
    for (provider, nodes) in by_provider {
        let listed = nodes.iter().take(LISTED_NODES).copied().collect::<Vec<_>>().join(", ");
        let more = nodes.len().saturating_sub(LISTED_NODES);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        lines.push(format!("  {provider} for {listed}{more}"));
    }
    lines
}

/// What the command prints about the gate after the review.
fn outcome(decision: &GateDecision, action: ReviewAction) -> String {
    match (decision, action) {
        (GateDecision::Approved { by }, _) => format!("approved by {}", by.join(", ")),
        (GateDecision::Rejected { by, .. }, _) => format!("rejected by {by}"),
        (GateDecision::Waiting { .. }, ReviewAction::Comment) => "commented".to_owned(),
        (GateDecision::Waiting { approvals, needed, unowned }, _) => {
            let unowned = unowned.as_ref().map(|why| format!("; {why}")).unwrap_or_default();
            let count = ApprovalCount { given: approvals.len(), needed: *needed };
            format!("{count}{unowned}")
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

/// Where authors may not approve, it has to be known who they are.
fn know_authors(snapshot: &Snapshot, binding: &ReviewBinding) -> Result<(), EngineError> {
    if snapshot.config.gates.author_may_approve || authors_of(snapshot, binding).is_some() {
        return Ok(());
    }
    refuse(format!(
        "the authors of commit {}, and of what it merged, are not known here, and `gates.authorMayApprove` is false; fetch the \
         whole history first, as with `git fetch --unshallow`",
        binding.commit
    ))
}

/// The execution that a review is about.
fn visitor(
    snapshot: &Snapshot,
    gate: &ResourceKey,
    wanted: Option<&ResourceKey>,
    is_made_now: bool,
) -> Result<GatedExecution, EngineError> {
    if let Some(key) = wanted {
        let found = visit(snapshot, key, gate, is_made_now)?;
        return match found {
            Some(visitor) => Ok(visitor),
            None => refuse(format!("{key} is not running, or has no gate `{}` ahead", gate.name)),
        };
    }
    let mut waiting = Vec::new();
    for key in snapshot.index.active_executions()? {
        // Without a name only those that wait are meant: nothing opens a gate for an Execution that nobody
        // spoke of.
        waiting.extend(visit(snapshot, &key, gate, false)?.filter(|visitor| visitor.waits));
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
    is_made_now: bool,
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
    for (ix, node) in compiled.plan.graph.nodes.iter().enumerate() {
        let named = node.gate_ref.as_ref().filter(|_| node.kind == NodeKind::Gate);
        if named.is_none_or(|reference| reference.key(Kind::Gate, home) != *gate) {
            continue;
        }
        let Some(state) = status.node_statuses.get(&node.id) else { continue };
        // A gate that was passed is asked again where what would run behind it is not what was approved.
        let began = if state.phase.is_terminal() {
            let began = asked_again_since(snapshot, &compiled, status, ix)?;
            // Also before a pass has come to that, for the person who would complete the node. When it began is written nowhere,
            // so a comment that is found again could be from before.
            let about = (&*compiled, record.metadata.uid.as_str(), status);
            if began.is_none() && !(is_made_now && is_asked_again(snapshot, about, ix)?) {
                continue;
            }
            began
        } else {
            // Also one that was closed when it was last planned: its manifest may have been fixed since.
            let waits = state.phase == NodePhase::Blocked
                && state.extensions.reason.is_some_and(NodeReason::stands_at_gate);
            waits.then_some(state.extensions.blocked_since)
        };
        let subject = subject(snapshot, &compiled, status, ix)?;
        let results = results_before(&compiled, status, ix);
        let visitor = GatedExecution {
            key: key.clone(),
            unseen_result: results.first().map(|(node, _)| (*node).clone()),
            binding: ReviewBinding {
                execution: record.metadata.uid.clone(),
                graph_digest: pinned.graph_digest.clone(),
                commit: pinned.commit.clone(),
                subject: Some(subject),
                digest: None,
                teams: Vec::new(),
                account: None,
                source: None,
            },
            // Reviews from before a retry were about the run that is over.
            since: state.extensions.reset_at,
            began: began.flatten().or(status.queued_time).max(state.extensions.reset_at),
            waits: began.is_some(),
        };
        // Several nodes may ask for one Gate. The one that waits is what the person sees, wherever it stands in the file.
        if visitor.waits {
            return Ok(Some(visitor));
        }
        first.get_or_insert(visitor);
    }
    Ok(first)
}

/// What stands before and after a gate now.
fn subject(
    snapshot: &Snapshot,
    compiled: &CompiledPlan,
    status: &ExecutionStatus,
    gate: NodeIx,
) -> Result<ReviewSubject, EngineError> {
    let mut failure = None;
    let subject = review_subject(compiled, status, gate, |task| {
        approved_target(snapshot, (compiled, status), task).unwrap_or_else(|error| {
            failure.get_or_insert(error);
            None
        })
    });
    // A target that could not be read is missing, which must not pass for a task without one.
    failure.map_or(Ok(subject), Err)
}

/// Since when a node behind a gate waits for another approval; none where none does.
fn voided_since(
    compiled: &CompiledPlan,
    status: &ExecutionStatus,
    gate: NodeIx,
) -> Option<Option<Timestamp>> {
    let is_task = |ix: &NodeIx| compiled.node(*ix).is_some_and(|node| node.kind == NodeKind::Task);
    let behind = |ix: &NodeIx| is_task(ix) && compiled.gates_before(*ix).contains(&gate);
    let states = (0..compiled.ids.len())
        .filter(behind)
        .filter_map(|ix| status.node_statuses.get(compiled.ids.get(ix)?));
    // Also where the gate was closed when the task was last planned: its manifest may have been fixed since.
    let mut waiting = states.filter(|state| state.extensions.reason.is_some_and(NodeReason::stands_at_gate));
    waiting.next().map(|state| state.extensions.blocked_since)
}

/// The same, also for what does a task behind the gate as an Execution of its own.
fn asked_again_since(
    snapshot: &Snapshot,
    compiled: &CompiledPlan,
    status: &ExecutionStatus,
    gate: NodeIx,
) -> Result<Option<Option<Timestamp>>, EngineError> {
    let began = voided_since(compiled, status, gate);
    if began.is_some() {
        return Ok(began);
    }
    let mut since = None;
    for (ix, id) in compiled.ids.iter().enumerate() {
        if compiled.gates_before(ix).contains(&gate) {
            since = since.max(void_below(snapshot, &compiled.key, (status, id))?);
        }
    }
    Ok(since.map(Some))
}
