//! Planning remote work: an attempt that was handed to a provider and is polled until it ends, takes too long or is
//! cancelled. Also what a reviewer of it wants changed: the node that `rework` names runs again on top of what was reviewed, and
//! then whatever comes after it, up to the delivery.

use std::sync::Arc;

use jiff::Timestamp;

use super::approval::PULL_REQUEST;
use super::child::plan_named;
use super::context::PlanContext;
use super::draft::RemoteWork;
use super::lookup::ProviderResolution;
use super::outcome::after_attempt;
use crate::graph::NodeIx;
use crate::model::{
    BindingTarget, ChangeRequest, Duration, Node, NodeDecision, NodeId, NodeKind, NodePhase, NodeReason,
    NodeStatus, NodeTrait, ResolvedBinding, Rework, WorkProposal, after,
};
use crate::plan::built_on;
use crate::run::{AttemptOutcome, Evidence, NodeChange, UnfinishedChanges};

/// Plans a node whose attempt goes on without a process of this runner.
pub(super) fn plan(context: &mut PlanContext<'_>, ix: NodeIx, node: &Node) {
    let Some(state) = context.state(&node.id).cloned() else { return };
    // Before the timeout: what a person decided must not turn into a failure because cancelling took long.
    if let Some(decided) = state.extensions.decided.clone() {
        return conclude(context, ix, node, decided);
    }
    if let Some((timeout, end)) = end_of(node, &state) {
        // Before the poll and the answer: an attempt whose time is over is not asked about again, whatever it would
        // say.
        if context.now >= end {
            return time_out(context, ix, node, &state, timeout);
        }
        context.draft.wake_at(end);
    }
    // Before the poll: the service waits for the answer, so polling it could only say that it still asks.
    if state.extensions.answer.is_some() {
        return pass_on_answer(context, ix, node, &state);
    }
    // Without a time nobody polls: the provider waits for a person, and the record changes when that person acts.
    let Some(due) = context.due(&state) else { return };
    match same_provider(context, ix, &state) {
        Ok((_, target)) => {
            context.draft.polls.push(RemoteWork {
                node: ix,
                id: node.id.clone(),
                attempt: state.attempt,
                due,
                interval: None,
                target,
            });
        }
        Err(NoProvider::NotYet) => context.wait_for_history(node),
        Err(NoProvider::Gone(why)) => {
            // A merged change of the Binding is what lets polling go on, so that is what wakes the Execution.
            context.wait_for_bindings(node);
            let message = format!("cannot be polled: {why}");
            // Recorded once (Invariant 5); the same commit for every poll that cannot be made would fill the branch.
            if message != state.message {
                let reason = state.extensions.reason.unwrap_or(NodeReason::AwaitingProvider);
                // Handle and time are carried along: a block without them would lose the remote work for good.
                let retry_at = Some(due);
                let handle = state.extensions.handle;
                let unfinished = UnfinishedChanges::AsFound;
                let block = NodeChange::Block { reason, message, retry_at, handle, usage: None, unfinished };
                context.change(&node.id, block);
            }
        }
    }
}

/// Over its time an attempt fails, once nothing of it goes on: a retry must not run beside it.
fn time_out(context: &mut PlanContext<'_>, ix: NodeIx, node: &Node, state: &NodeStatus, timeout: &Duration) {
    let Some(note) = cancel_remote(context, ix) else { return };
    let outcome = AttemptOutcome::failed(NodeReason::Timeout, format!("took longer than {timeout}{note}"));
    // The name of the attempt that timed out seeds the pause, as for every other failure.
    let name = state.attempt_name(context.view.uid, &node.id);
    let change = after_attempt(node, state, outcome.into(), &name, context.now);
    context.change(&node.id, change);
}

/// A person decided about a node while its attempt goes on remotely: that counts as soon as the work is cancelled.
fn conclude(context: &mut PlanContext<'_>, ix: NodeIx, node: &Node, decided: NodeDecision) {
    let Some(note) = cancel_remote(context, ix) else { return };
    let reason = NodeReason::CompletedByPerson;
    let evidence = Evidence { result: decided.result, ..Evidence::default() };
    let message = format!("{}{note}", decided.message);
    let change = if decided.failed {
        NodeChange::Fail { reason, message, evidence }
    } else {
        NodeChange::Succeed { reason: Some(reason), message, outputs: decided.outputs, evidence }
    };
    context.change(&node.id, change);
}

/// An answer changes something outside, so it is claimed like any other work (Invariant 4); the handle goes along.
fn pass_on_answer(context: &mut PlanContext<'_>, ix: NodeIx, node: &Node, state: &NodeStatus) {
    match same_provider(context, ix, state) {
        Ok((binding, target)) => context.offer(ix, node, binding, target),
        // The question stays recorded and is not overwritten by this error: the person has answered, and nothing is
        // asked of them.
        Err(NoProvider::NotYet) => context.wait_for_history(node),
        Err(NoProvider::Gone(_)) => context.wait_for_bindings(node),
    }
}

/// The end of the time that an attempt may take.
fn end_of<'n>(node: &'n Node, state: &NodeStatus) -> Option<(&'n Duration, Timestamp)> {
    let timeout = node.timeout.as_ref()?;
    Some((timeout, after(state.start_time?, timeout.span())))
}

/// Why remote work cannot be asked about now.
enum NoProvider {
    /// It is not known before history has been fetched, which happens in this pass.
    NotYet,
    /// The Binding names another provider now, or none; says which.
    Gone(String),
}

/// The provider that was given the attempt, with its settings as they are now. A handle means nothing to another one, and
/// settings such as an address or a token may have been corrected since.
///
/// # Errors
/// [`NoProvider`].
fn same_provider(
    context: &PlanContext<'_>,
    ix: NodeIx,
    state: &NodeStatus,
) -> Result<(Arc<ResolvedBinding>, Arc<BindingTarget>), NoProvider> {
    let given = state.extensions.binding.as_ref().map(|binding| binding.provider.as_str());
    match context.lookup.resolve(context.compiled(), ix) {
        // Only the provider is compared, not the rule or the generation: a Binding that was edited in other places
        // still polls.
        ProviderResolution::Bound(binding, target) if given.is_none_or(|given| given == target.provider) => {
            Ok((binding, target))
        }
        ProviderResolution::Bound(_, target) => Err(NoProvider::Gone(format!(
            "it was given to {}, and its Binding now names {}",
            given.unwrap_or_default(),
            target.provider
        ))),
        ProviderResolution::Not(_, why) => Err(NoProvider::Gone(why)),
        ProviderResolution::Later(_) => Err(NoProvider::NotYet),
    }
}

/// Has the remote work of a node cancelled. Once that is done, or where there is nothing to cancel, gives what is to be
/// added to the message; `None` while it is still to be done. An error does not stop the node: a provider that is gone for
/// good would hold its Execution forever.
pub(super) fn cancel_remote(context: &mut PlanContext<'_>, ix: NodeIx) -> Option<String> {
    let nothing = Some(String::new());
    let Some(node) = context.node(ix) else { return nothing };
    let Some(state) = context.state(&node.id).cloned() else { return nothing };
    // Without a handle nothing at the provider can be named, so there is nothing to ask it to cancel.
    let shown = state.extensions.proposal.as_ref().and_then(|proposal| proposal.handle.as_ref());
    if shown.is_none() && (!state.is_remote() || state.extensions.handle.is_none()) {
        return nothing;
    }
    let failed = |error: &str| Some(format!("; cancelling it failed: {error}"));
    // The result of an earlier attempt says nothing about this one.
    let done = context.view.remote_cancelled.get(&node.id).filter(|done| done.attempt == state.attempt);
    // An error counts as done and goes into the message: it was tried, and the person can see what may still go on
    // there.
    if let Some(done) = done {
        return done.error.as_deref().map_or(nothing, failed);
    }
    match same_provider(context, ix, &state) {
        Ok((_, target)) => {
            let id = node.id.clone();
            let attempt = state.attempt;
            let due = context.now;
            // Only requested here. Planning has no I/O (Invariant 5), so the engine cancels and plans again with the
            // result.
            tracing::debug!(execution = %context.compiled().key, node = %id, attempt, "cancelling remote work");
            context.draft.remote_cancels.push(RemoteWork {
                node: ix,
                id,
                attempt,
                due,
                interval: None,
                target,
            });
            None
        }
        // Given up now, it would go on there although nothing keeps it from being cancelled a moment later.
        Err(NoProvider::NotYet) => {
            context.wait_for_history(node);
            None
        }
        Err(NoProvider::Gone(why)) => failed(&why),
    }
}

/// Runs nodes again for what reviewers asked of deliveries.
pub(super) fn run_again(context: &mut PlanContext<'_>) {
    // A suspended Execution begins nothing; the request stays recorded until it is resumed.
    if context.draft.status.extensions.suspend.is_some() {
        return;
    }
    let topology = &context.compiled().topology;
    let states = context.draft.status.node_statuses.having(NodeTrait::AsksChange);
    let asked: Vec<(NodeIx, ChangeRequest)> = states
        .filter_map(|(id, state)| {
            Some((topology.find(id.as_str())?, state.extensions.requested.as_deref()?.clone()))
        })
        .collect();
    for (delivery, request) in asked {
        if let Some(again) = affected(context, delivery, &request) {
            tracing::info!(
                execution = %context.compiled().key, node = ?request.node, by = request.by, commit = request.commit,
                conflicts_with = request.conflicts_with, "run again what has to be changed before it is delivered"
            );
            reset(context, delivery, &request, &again);
        }
    }
}

/// The nodes that run again, the one that is asked first; none while that is not possible.
fn affected(context: &PlanContext<'_>, delivery: NodeIx, request: &ChangeRequest) -> Option<Vec<NodeIx>> {
    let compiled = context.compiled();
    let root = compiled.topology.find(request.node.as_ref()?.as_str())?;
    let is_before = compiled.topology.upstream(delivery).get(root).copied().unwrap_or(false);
    let shown = compiled.ids.get(delivery).and_then(|id| Some(&context.state(id)?.extensions));
    let shown =
        shown.and_then(|node| node.base.as_ref().or(node.proposal.as_ref().map(|proposal| &proposal.base)));
    // The record names node and commit, and the status branch is no plan: only work before the delivery is done again, and
    // only on top of what the delivery shows (Invariant 14).
    if !is_before
        || shown != Some(&request.commit)
        || compiled.node(root).is_none_or(|node| node.kind != NodeKind::Task)
    {
        return None;
    }
    if request.conflicts_with.as_deref().is_some_and(|branch| !resolves(context, delivery, root, branch)) {
        return None;
    }
    // What was made on top of it goes along, wherever it stands in the plan: it holds what the reviewer did not want.
    let after = built_on(compiled, &context.draft.status, root);
    let follows = |ix: &NodeIx| {
        let group = context.node(*ix).is_some_and(|node| node.kind == NodeKind::Group);
        *ix != root && after.get(*ix).copied().unwrap_or(false) && !group
    };
    let again: Vec<NodeIx> = std::iter::once(root).chain((0..after.len()).filter(follows)).collect();
    // A list that is computed anew has other instances: a person has to say that with `retry`.
    let is_computed =
        |id: &NodeId| compiled.expansion.repeated(id).is_some_and(|repeated| repeated.is_computed);
    // What runs beside it is waited for. Its end is what has this planned again.
    let busy = again.iter().any(|&ix| {
        let Some(id) = compiled.ids.get(ix) else { return true };
        let Some(state) = context.state(id) else { return true };
        let elsewhere = ix != delivery && state.is_remote();
        // What must not be done twice is left to a person, also where it only stands on what is changed.
        let once = state.attempt > 0 && context.node(ix).is_some_and(|node| !node.repeatable());
        state.phase == NodePhase::Running || elsewhere || once || is_computed(id)
    });
    let done = context.phase(root) == NodePhase::Succeeded;
    (done && !busy).then_some(again)
}

/// Whether the node at `root` may resolve a conflict of the delivery with a branch.
fn resolves(context: &PlanContext<'_>, delivery: NodeIx, root: NodeIx, branch: &str) -> bool {
    let provider = |ix| match context.lookup.resolve(context.compiled(), ix) {
        ProviderResolution::Bound(_, target) => Some(target.provider.clone()),
        _ => None,
    };
    // The name comes from a record as well: what is merged into the work is only what the work is to be merged into
    // (Invariant 14). Without a branch in the Binding, it is the host's default, which only the host knows.
    let into = provider(delivery);
    let into = into.as_deref().and_then(|provider| provider.strip_prefix(PULL_REQUEST));
    let is_target = into.is_some_and(|into| into.is_empty() || into == branch);
    // A plan begins at a commit of its own and ends with the results of many nodes: nobody would see a marker that stays.
    is_target && provider(root).is_some_and(|provider| plan_named(&provider).is_none())
}

fn reset(context: &mut PlanContext<'_>, delivery: NodeIx, request: &ChangeRequest, again: &[NodeIx]) {
    let message = format!("runs again: {}", request.cause());
    for &ix in again {
        let Some(node) = context.node(ix) else { continue };
        let before = context.state(&node.id).cloned().unwrap_or_default();
        if Some(&node.id) == request.node.as_ref() {
            let count = before.extensions.rework.as_ref().map_or(0, |rework| rework.count).saturating_add(1);
            let rework = Box::new(Rework { count, request: request.clone() });
            let onto = reviewed_with(context, delivery, again);
            context.change(&node.id, NodeChange::Rework { rework, onto, message: message.clone() });
            continue;
        }
        context.change(&node.id, NodeChange::Reset { message: message.clone() });
        if ix == delivery {
            keep_shown(context, &node.id, &before);
        }
    }
}

/// The nodes whose results what was reviewed holds beside those that run again: a retry of one has to make the rework again, too.
fn reviewed_with(context: &PlanContext<'_>, delivery: NodeIx, again: &[NodeIx]) -> Vec<NodeId> {
    let compiled = context.compiled();
    let before = compiled.topology.upstream(delivery);
    let beside = |ix: &NodeIx| before.get(*ix).copied().unwrap_or(false) && !again.contains(ix);
    let has_result = |id: &&NodeId| context.state(id).is_some_and(|state| state.extensions.result.is_some());
    (0..before.len())
        .filter(beside)
        .filter_map(|ix| compiled.ids.get(ix))
        .filter(has_result)
        .cloned()
        .collect()
}

/// What people look at stays open while it is worked on, and can still be taken back when the Execution is cancelled.
fn keep_shown(context: &mut PlanContext<'_>, id: &NodeId, before: &NodeStatus) {
    let Some(handle) = before.extensions.any_handle().map(str::to_owned) else { return };
    let base = before.extensions.base.clone().unwrap_or_default();
    let proposal = WorkProposal { base, handle: Some(handle) };
    context.change(id, NodeChange::Propose { proposal, message: before.message.clone() });
}

/// Whether the result of a poll still says something about a node. Polls are not claimed, so two runners may ask at once
/// and the later answer may find that the node went on.
#[must_use]
pub(crate) fn poll_applies(node: &Node, state: &NodeStatus, attempt: u32, handle: Option<&str>) -> bool {
    // The handle as well as the number: a service may go on under a new one, and the state of the old one says nothing
    // then.
    let current = state.attempt == attempt && state.extensions.handle.as_deref() == handle;
    let open = match node.kind {
        NodeKind::External => matches!(state.phase, NodePhase::Pending | NodePhase::Blocked),
        _ => state.is_remote() && state.extensions.decided.is_none(),
    };
    current && open
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::super::draft::CancelResult;
    use super::super::draft::Draft;
    use super::super::lookup::{ExecutionView, GateVerdict, ResourceProgress};
    use super::super::{finish, plan_execution};
    use super::*;
    use crate::model::{
        ExecutionStatus, JsonMap, PersonRequest, QuestionAnswer, ResolvedBinding, ResourceKey, ReviewBinding,
    };
    use crate::plan::capability::Capability;
    use crate::plan::{ApprovalLookup, PlanLookup};
    use crate::run::CompiledPlan;
    use crate::run::{Change, apply};
    use serde_json::json;

    /// Resolves every task to this provider, or to none.
    struct FixedProvider(Option<&'static str>);

    /// As a provider: which one it is, is not known before history has been fetched.
    const LATER: FixedProvider = FixedProvider(Some("later"));

    impl ApprovalLookup for FixedProvider {
        fn gate(&self, _: &ResourceKey, _: &ReviewBinding, _: Option<Timestamp>) -> GateVerdict {
            GateVerdict::Waiting(String::new())
        }
    }

    impl PlanLookup for FixedProvider {
        fn resolve(&self, _: &CompiledPlan, _: NodeIx) -> ProviderResolution {
            let Some(provider) = self.0.map(ToOwned::to_owned) else {
                return ProviderResolution::Not(NodeReason::Unbound, "no rule matches".to_owned());
            };
            if self.0 == LATER.0 {
                return ProviderResolution::Later("history is fetched".to_owned());
            }
            let name = "n/b".to_owned();
            let binding = ResolvedBinding { name, generation: 1, rule: 0, provider: provider.clone() };
            ProviderResolution::Bound(
                binding.into(),
                BindingTarget { provider, config: JsonMap::new() }.into(),
            )
        }

        fn capabilities(&self, _: &CompiledPlan, _: NodeIx) -> Vec<Capability> {
            Vec::new()
        }

        fn can_poll_addresses(&self) -> bool {
            true
        }

        fn awaited_by(&self, _: &ResourceKey) -> Vec<ResourceKey> {
            Vec::new()
        }

        fn progress(&self, _: &ResourceKey) -> ResourceProgress {
            ResourceProgress::Missing
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    /// A node that was handed over at 0 and is polled from 10 on.
    fn handed_over(fields: &serde_json::Value) -> (CompiledPlan, ExecutionStatus, NodeId) {
        let mut node = json!({ "id": "a", "kind": "Task", "timeout": "100s" });
        node.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let compiled = CompiledPlan::of_graph(&json!({ "nodes": [node] }));
        let mut status = ExecutionStatus::default();
        let id = NodeId::new("a").unwrap();
        status.node_statuses.insert(id.clone(), NodeStatus::default());
        let ProviderResolution::Bound(binding, _) = FixedProvider(Some("x://y")).resolve(&compiled, 0) else {
            panic!("bound")
        };
        let blocked = NodeChange::Block {
            reason: NodeReason::AwaitingProvider,
            message: "it runs".to_owned(),
            retry_at: Some(at(10)),
            handle: Some("job".to_owned()),
            usage: None,
            unfinished: UnfinishedChanges::AsFound,
        };
        let started = NodeChange::Start {
            binding: Some(binding),
            basis: None,
            base: None,
            runner: "gone".to_owned(),
            token: Some(3),
        };
        for change in [started, blocked] {
            apply(&mut status, &Change::Node(id.clone(), change), at(0)).unwrap();
        }
        (compiled, status, id)
    }

    fn plan(
        compiled: &CompiledPlan,
        status: &ExecutionStatus,
        lookup: &FixedProvider,
        cancelled: &BTreeMap<NodeId, CancelResult>,
        now: Timestamp,
    ) -> Draft {
        let mut draft = Draft::new(status.clone());
        let view = ExecutionView {
            compiled,
            uid: "u",
            removed: false,
            overdue: None,
            local_attempts: &BTreeSet::new(),
            remote_cancelled: cancelled,
            reuse: None,
        };
        plan_execution(view, &mut draft, lookup, now);
        finish(&mut draft, compiled, false, now);
        draft
    }

    fn off(id: &NodeId, error: Option<&str>) -> BTreeMap<NodeId, CancelResult> {
        BTreeMap::from([(id.clone(), CancelResult { attempt: 1, error: error.map(ToOwned::to_owned) })])
    }

    /// The status branch is no plan: what it names is merged into the work only where the work goes there (Invariant 14).
    #[test]
    fn only_the_branch_that_takes_the_work_is_merged_into_it() {
        let nodes = json!([
            { "id": "a", "kind": "Task" },
            { "id": "b", "kind": "Task", "dependsOn": ["a"] },
        ]);
        let compiled = CompiledPlan::of_graph(&json!({ "nodes": nodes }));
        let again = |provider: &'static str, branch: &str| {
            let mut status = ExecutionStatus::default();
            let a = NodeId::new("a").unwrap();
            let b = NodeId::new("b").unwrap();
            let made = NodeStatus { phase: NodePhase::Succeeded, attempt: 1, ..NodeStatus::default() };
            let mut offered = NodeStatus { phase: NodePhase::Blocked, attempt: 1, ..NodeStatus::default() };
            offered.extensions.base = Some("c".to_owned());
            offered.extensions.requested = Some(Box::new(ChangeRequest {
                node: Some(a.clone()),
                by: "planspec".to_owned(),
                words: String::new(),
                commit: "c".to_owned(),
                conflicts_with: Some(branch.to_owned()),
            }));
            status.node_statuses.extend([(a.clone(), made), (b, offered)]);
            let draft = plan(&compiled, &status, &FixedProvider(Some(provider)), &BTreeMap::new(), at(50));
            draft.status.node_statuses[&a].extensions.rework.is_some()
        };
        assert!(again("pull-request://main", "main") && again("pull-request://", "main"));
        assert!(!again("pull-request://main", "other") && !again("merge://main", "main"));
    }

    #[test]
    fn remote_work_is_polled_and_never_claimed() {
        let (compiled, status, id) = handed_over(&json!({ "when": "false" }));
        let draft = plan(&compiled, &status, &FixedProvider(Some("x://y")), &BTreeMap::new(), at(50));
        assert!(draft.changes.is_empty() && draft.ready.is_empty());
        let [poll] = draft.polls.as_slice() else { panic!("one poll") };
        assert_eq!((&poll.id, poll.attempt, poll.due), (&id, 1, at(10)));
        assert_eq!(draft.wake, Some(at(100)), "its time is over then");
    }

    #[test]
    fn work_whose_provider_is_not_known_yet_is_neither_given_up_nor_left_running() {
        let (compiled, status, id) = handed_over(&json!({}));
        // Due for a poll, and over its time.
        for now in [at(50), at(150)] {
            let draft = plan(&compiled, &status, &LATER, &BTreeMap::new(), now);
            assert!(draft.changes.is_empty() && draft.polls.is_empty() && draft.remote_cancels.is_empty());
            assert!(draft.wake.is_some_and(|wake| wake <= after(now, std::time::Duration::from_secs(50))));
            assert_eq!(draft.status.node_statuses[&id].phase, NodePhase::Blocked);
        }
    }

    #[test]
    fn only_the_provider_that_has_the_work_is_asked_about_it() {
        for (provider, said) in [
            (Some("z://y"), "cannot be polled: it was given to x://y, and its Binding now names z://y"),
            (None, "cannot be polled: no rule matches"),
        ] {
            let (compiled, status, id) = handed_over(&json!({}));
            let draft = plan(&compiled, &status, &FixedProvider(provider), &BTreeMap::new(), at(50));
            let state = &draft.status.node_statuses[&id];
            assert_eq!((state.message.as_str(), state.extensions.handle.as_deref()), (said, Some("job")));
            assert!(draft.polls.is_empty() && !draft.on.is_empty());
            let again = plan(&compiled, &draft.status, &FixedProvider(provider), &BTreeMap::new(), at(60));
            assert!(again.changes.is_empty(), "it is said once");
            let back =
                plan(&compiled, &draft.status, &FixedProvider(Some("x://y")), &BTreeMap::new(), at(70));
            assert_eq!(back.polls.len(), 1);
        }
    }

    #[test]
    fn a_timeout_cancels_and_then_fails_the_attempt() {
        let (compiled, status, id) = handed_over(&json!({ "retries": 1 }));
        let lookup = FixedProvider(Some("x://y"));
        let asked = plan(&compiled, &status, &lookup, &BTreeMap::new(), at(100));
        assert_eq!((asked.changes.len(), asked.polls.len(), asked.remote_cancels.len()), (0, 0, 1));
        let stale = BTreeMap::from([(id.clone(), CancelResult { attempt: 0, error: None })]);
        assert_eq!(plan(&compiled, &status, &lookup, &stale, at(100)).remote_cancels.len(), 1);
        let done = plan(&compiled, &status, &lookup, &off(&id, Some("gone")), at(100));
        let state = &done.status.node_statuses[&id];
        assert_eq!((state.phase, state.extensions.failures), (NodePhase::Pending, 1));
        assert_eq!(state.message, "took longer than 100s; cancelling it failed: gone; 1 retry left");
        assert_eq!(done.wake, state.extensions.retry_at);
    }

    #[test]
    fn cancelling_waits_for_the_remote_work_where_its_provider_can_be_asked() {
        let (compiled, mut status, id) = handed_over(&json!({}));
        status.extensions.cancel = Some(PersonRequest { by: "mia".to_owned(), at: at(20), comment: None });
        let lookup = FixedProvider(Some("x://y"));
        let asked = plan(&compiled, &status, &lookup, &BTreeMap::new(), at(30));
        assert_eq!((asked.changes.len(), asked.remote_cancels.len()), (0, 1));
        let done = plan(&compiled, &status, &lookup, &off(&id, None), at(30));
        let state = &done.status.node_statuses[&id];
        assert_eq!((state.phase, state.message.as_str()), (NodePhase::Cancelled, "cancelled by mia"));
        let unknown = plan(&compiled, &status, &FixedProvider(None), &BTreeMap::new(), at(30));
        let message = &unknown.status.node_statuses[&id].message;
        assert_eq!(message, "cancelled by mia; cancelling it failed: no rule matches");
    }

    #[test]
    fn what_a_person_decides_counts_once_the_work_is_cancelled() {
        let (compiled, mut status, id) = handed_over(&json!({}));
        let decided = NodeDecision {
            result: None,
            failed: false,
            outputs: JsonMap::from_iter([("x".to_owned(), json!(1))]),
            message: "completed by mia".to_owned(),
        };
        let decide = Change::Node(id.clone(), NodeChange::Decide(Box::new(decided)));
        apply(&mut status, &decide, at(20)).unwrap();
        assert!(!poll_applies(compiled.node(0).unwrap(), &status.node_statuses[&id], 1, Some("job")));
        let lookup = FixedProvider(Some("x://y"));
        let asked = plan(&compiled, &status, &lookup, &BTreeMap::new(), at(100));
        assert_eq!((asked.changes.len(), asked.polls.len(), asked.remote_cancels.len()), (0, 0, 1));
        let done = plan(&compiled, &status, &lookup, &off(&id, Some("gone")), at(100));
        let state = &done.status.node_statuses[&id];
        assert_eq!((state.phase, &state.outputs["x"]), (NodePhase::Succeeded, &json!(1)));
        assert_eq!(state.message, "completed by mia; cancelling it failed: gone");
        assert_eq!((&state.extensions.handle, &state.extensions.decided), (&None, &None));
    }

    #[test]
    fn an_answer_is_work_that_is_claimed_and_keeps_the_handle() {
        let (compiled, mut status, id) = handed_over(&json!({}));
        let asks = NodeChange::Block {
            reason: NodeReason::InputRequired,
            message: "which?".to_owned(),
            retry_at: Some(at(20)),
            handle: Some("job".to_owned()),
            usage: None,
            unfinished: UnfinishedChanges::AsFound,
        };
        let answer = QuestionAnswer { by: "mia".to_owned(), at: at(30), text: "this".to_owned() };
        for change in [asks, NodeChange::Answer(answer.clone())] {
            apply(&mut status, &Change::Node(id.clone(), change), at(30)).unwrap();
        }
        assert_eq!(status.node_statuses[&id].message, "answered by mia; the next reconcile passes it on");
        let lookup = FixedProvider(Some("x://y"));
        let mut draft = plan(&compiled, &status, &lookup, &BTreeMap::new(), at(40));
        assert_eq!((draft.polls.len(), draft.ready.len()), (0, 1));
        let other = plan(&compiled, &status, &FixedProvider(Some("z://y")), &BTreeMap::new(), at(40));
        assert!(
            other.ready.is_empty() && !other.on.is_empty(),
            "another provider does not know the question"
        );
        let binding = Some(draft.ready.remove(0).binding);
        let start =
            NodeChange::Start { binding, basis: None, base: None, runner: "r".to_owned(), token: Some(4) };
        let lost = NodeChange::Retry {
            reason: NodeReason::RunnerLost,
            message: String::new(),
            at: at(41),
            counted: false,
            evidence: Evidence::default(),
        };
        apply(&mut status, &Change::Node(id.clone(), start), at(40)).unwrap();
        let extensions = &status.node_statuses[&id].extensions;
        assert_eq!((extensions.answer.as_ref(), extensions.handle.as_deref()), (Some(&answer), Some("job")));
        apply(&mut status, &Change::Node(id.clone(), lost), at(41)).unwrap();
        assert_eq!(
            status.node_statuses[&id].extensions.answer,
            Some(answer),
            "it was not passed on for sure"
        );
        let works = NodeChange::Block {
            reason: NodeReason::AwaitingProvider,
            message: String::new(),
            retry_at: None,
            handle: None,
            usage: None,
            unfinished: UnfinishedChanges::AsFound,
        };
        let start = NodeChange::Start {
            binding: None,
            basis: None,
            base: None,
            runner: "r".to_owned(),
            token: Some(4),
        };
        for change in [start, works] {
            apply(&mut status, &Change::Node(id.clone(), change), at(42)).unwrap();
        }
        assert_eq!(status.node_statuses[&id].extensions.answer, None);
    }

    /// A year ahead, as the clock of the runner that recorded it was; a pause that a service asked for is kept (Invariant 16).
    #[test]
    fn a_pause_that_a_wrong_clock_recorded_has_come() {
        let year = 31_536_000;
        let paused = |began: i64, at_second: i64| {
            let (compiled, mut status, id) = handed_over(&json!({ "retries": 3 }));
            let state = status.node_statuses.get_mut(&id).unwrap();
            *state = NodeStatus { start_time: Some(at(began)), attempt: 1, ..NodeStatus::default() };
            state.extensions.reason = Some(NodeReason::RetryBackoff);
            state.extensions.retry_at = Some(at(at_second));
            let draft = plan(&compiled, &status, &FixedProvider(Some("x://y")), &BTreeMap::new(), at(50));
            (draft.ready.len(), draft.wake)
        };
        assert_eq!(paused(year, year + 2), (1, None));
        assert_eq!(paused(40, 60), (0, Some(at(60))));
        assert_eq!(paused(40, 7_200), (0, Some(at(7_200))), "`Retry-After: 7200`");
    }

    #[test]
    fn a_poll_counts_only_for_the_attempt_that_it_was_about() {
        let (compiled, status, id) = handed_over(&json!({}));
        let node = compiled.node(0).unwrap();
        let state = &status.node_statuses[&id];
        let counts = |attempt, handle| poll_applies(node, state, attempt, handle);
        assert!(counts(1, Some("job")));
        assert!(!counts(1, Some("other")) && !counts(2, Some("job")) && !counts(1, None));
    }
}
