//! Approving reviews of a delivery's pull request, which is open as a draft while a Gate before it waits: one review answers
//! both. What they are about follows from the commit, and what people were shown from the record, never from the event.

use crate::cli::Context;
use crate::cli::ci::authority::DecisionSource;
use crate::cli::ci::authority::reviews::{AskedGate, approvers, count as count_review};
use crate::cli::ci::host::Host;
use crate::cli::ci::pass_view::PassView;
use crate::cli::desired::Desired;
use crate::cli::error::CliError;
use crate::host::PullRequest;
use crate::model::{
    ExecutionStatus, GateSpec, GateStatus, NodeId, NodePhase, NodeReason, ResourceKey, ResourceStatus,
};
use crate::provider::PullHandle;
use crate::report::text;

/// A pull request that shows what gates ask about.
struct ShownDraft {
    handle: PullHandle,
    /// The commit that it shows.
    commit: String,
    /// The nodes of the gates that wait with just that commit.
    gates: Vec<NodeId>,
}

/// Lets approving reviews of such pull requests count for the gates that wait. The answer is how many were recorded.
pub(super) fn count(
    host: &Host,
    view: &PassView,
    desired: &Desired,
    waiting: &[(ResourceKey, Vec<ResourceKey>)],
    context: &mut Context,
) -> Result<usize, CliError> {
    let mut recorded = 0;
    for (execution, _) in waiting {
        let Some(record) = view.record(execution)? else { continue };
        let Some(status) = record.execution() else { continue };
        for draft in drafts(status) {
            recorded += count_draft(host, view, desired, (execution, status), &draft, context)?;
        }
    }
    Ok(recorded)
}

/// The pull requests that are shown for gates that wait now.
fn drafts(status: &ExecutionStatus) -> Vec<ShownDraft> {
    let nodes = &status.node_statuses;
    let shown = nodes.values().filter_map(|state| {
        let proposal = state.extensions.proposal.as_deref().filter(|_| state.phase == NodePhase::Pending)?;
        Some((PullHandle::read(proposal.handle.as_deref())?, proposal.base.clone()))
    });
    let drafts = shown.map(|(handle, commit)| {
        let waits = nodes.iter().filter(|(_, state)| {
            state.phase == NodePhase::Blocked
                && state.extensions.reason == Some(NodeReason::AwaitingApproval)
                && state.extensions.base.as_deref() == Some(&commit)
        });
        let gates = waits.map(|(id, _)| id.clone()).collect();
        ShownDraft { handle, commit, gates }
    });
    drafts.filter(|draft| !draft.gates.is_empty()).collect()
}

fn count_draft(
    host: &Host,
    view: &PassView,
    desired: &Desired,
    (execution, status): (&ResourceKey, &ExecutionStatus),
    draft: &ShownDraft,
    context: &mut Context,
) -> Result<usize, CliError> {
    let number = draft.handle.pull;
    // Not waited out: the pull request was opened long before somebody reviews it.
    let pull = match host.ask(|github, repo| github.pull(repo, number)) {
        Err(error) if error.is_not_found() => return Ok(0),
        pull => pull?,
    };
    if let Some(why) = shows_something_else(&pull, draft) {
        context.out.note(format!("reviews of #{number} do not count: {}", text::line(&why)))?;
        return Ok(0);
    }
    let Some(graph) = view.graph(execution)? else { return Ok(0) };
    let home = status.extensions.pinned.as_ref().map_or(&execution.namespace, |pin| &pin.plan.namespace);
    let reviews = approvers(host, &pull)?;
    let mut recorded = 0;
    for node in &draft.gates {
        let Some(gate) = graph.asked_gate(node, Some(NodeReason::AwaitingApproval), home) else { continue };
        let spec = spec_in_force(view, desired, &gate)?;
        let record = view.record(&gate)?;
        let Some(ResourceStatus::Gate(asked)) = record.map(|record| record.status) else { continue };
        let Some(expect) = digest(&asked, execution, node) else { continue };
        for (who, source) in &reviews {
            // Read again by every job: it counts once, and not again after a `retry` that asks anew.
            if is_recorded(&asked, source) {
                continue;
            }
            let asked =
                AskedGate { execution, gate: &gate, spec: spec.as_ref(), expect: Some(expect.clone()) };
            // Made after the wait began, unlike a review of the change that brought the Execution.
            let source = DecisionSource { in_advance: false, ..source.clone() };
            recorded += usize::from(count_review(host, view, &asked, (who, &source), &pull, context)?);
        }
    }
    Ok(recorded)
}

/// Why a review of the pull request is none of what the gates ask about.
fn shows_something_else(pull: &PullRequest, draft: &ShownDraft) -> Option<String> {
    if pull.is_from_fork() || pull.head.sha != draft.commit {
        return Some(format!("its head is {}, and the gate asks about {}", pull.head.sha, draft.commit));
    }
    // Against another branch, reviewers see another difference.
    let into = draft.handle.into.as_deref().unwrap_or_default();
    if pull.base.branch != into {
        return Some(format!("it is to be merged into {} instead of {into}", pull.base.branch));
    }
    // Whoever closes it without merging it takes back what is asked.
    pull.is_rejected().then(|| "it is closed".to_owned())
}

/// The spec that decides: of several declarations none does (Invariant 11), and then its last valid version.
fn spec_in_force(
    view: &PassView,
    desired: &Desired,
    gate: &ResourceKey,
) -> Result<Option<GateSpec>, CliError> {
    let mut declared = desired.resources.iter().filter(|resource| resource.key() == *gate);
    let only = declared.next().filter(|_| declared.next().is_none());
    view.gate_in_force(gate, only.map(|resource| &resource.spec))
}

/// The digest of what a gate asks about at a node, from the commit of the status branch that the wait was read from.
fn digest(gate: &GateStatus, execution: &ResourceKey, node: &NodeId) -> Option<String> {
    let name = format!("{}/{}", execution.namespace, execution.name);
    let mut asked = gate.extensions.asked.iter();
    let asked = asked.find(|asked| asked.execution == name && asked.node == *node)?;
    Some(asked.digest.as_str().to_owned())
}

fn is_recorded(gate: &GateStatus, source: &DecisionSource) -> bool {
    let mut bindings = gate.review_history.iter().filter_map(|review| review.extensions.as_ref());
    bindings.any(|binding| binding.source.as_deref() == Some(&source.name))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn draft() -> ShownDraft {
        let handle = PullHandle { pull: 5, into: Some("main".to_owned()) };
        ShownDraft { handle, commit: "c1".to_owned(), gates: Vec::new() }
    }

    fn pull(change: &Value) -> PullRequest {
        let side =
            |branch: &str, sha: &str| json!({ "ref": branch, "sha": sha, "repo": { "full_name": "a/b" } });
        let mut pull = json!({
            "number": 5, "state": "open", "user": null, "head": side("planspec/work/t/e/g", "c1"), "base": side("main", "b"),
        });
        pull.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        serde_json::from_value(pull).unwrap()
    }

    #[test]
    fn only_a_review_of_exactly_what_the_gate_asks_about_counts() {
        let why = |change: Value| shows_something_else(&pull(&change), &draft());
        assert_eq!(why(json!({})), None);
        assert_eq!(why(json!({ "state": "closed", "merged_at": "2026-01-01T00:00:00Z" })), None);
        let side = |branch: &str, sha: &str, repo: &str| json!({ "ref": branch, "sha": sha, "repo": { "full_name": repo } });
        let other = why(json!({ "head": side("planspec/work/t/e/g", "c2", "a/b") }));
        assert_eq!(other.as_deref(), Some("its head is c2, and the gate asks about c1"));
        assert!(why(json!({ "head": side("planspec/work/t/e/g", "c1", "eve/b") })).is_some());
        let retargeted = why(json!({ "base": side("develop", "b", "a/b") }));
        assert_eq!(retargeted.as_deref(), Some("it is to be merged into develop instead of main"));
        assert_eq!(why(json!({ "state": "closed" })).as_deref(), Some("it is closed"));
    }
}
