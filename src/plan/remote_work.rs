//! Planning what goes on elsewhere: work that a provider was given and that is looked at from time to time, until it
//! ends, takes too long or is called off; and addresses that are looked at in the same way.

use jiff::Timestamp;
use serde_json::json;

use super::draft::{Dependency, Draft, ReadyNode, RemoteWork};
use super::outcome::after_attempt;
use super::view::{ExecutionView, PlanLookup, ProviderResolution};
use crate::graph::NodeIx;
use crate::model::{
    BindingTarget, Duration, Kind, Node, NodeDecision, NodeKind, NodePhase, NodeReason, NodeStatus,
    ResourceKey, after,
};
use crate::run::{AttemptOutcome, CompiledPlan, Evidence, NodeChange};

/// How often an address is looked at when its node does not say.
const POLL_INTERVAL: std::time::Duration = std::time::Duration::from_secs(60);

/// An attempt that goes on elsewhere: over its time it is called off and has failed; else it is looked at when it is due.
pub(super) fn plan_remote_work(
    view: &ExecutionView<'_>,
    lookup: &dyn PlanLookup,
    draft: &mut Draft,
    ix: NodeIx,
    now: Timestamp,
) {
    let Some(node) = view.compiled.node(ix) else { return };
    let Some(state) = draft.status.node_statuses.get(&node.id).cloned() else { return };
    if let Some(decided) = state.extensions.decided.clone() {
        conclude(view, lookup, draft, ix, decided, now);
        return;
    }
    if let Some((timeout, end)) = end_of(node, &state) {
        if now >= end {
            let Some(said) = call_off(view, lookup, draft, ix, now) else { return };
            let message = format!("took longer than {timeout}{said}");
            let outcome = AttemptOutcome::failed(NodeReason::Timeout, message);
            let key = format!("{}/{}/{}", view.uid, node.id, state.attempt);
            let change = after_attempt(node, &state, outcome.into(), &key, now);
            draft.node(&node.id, change, now);
            return;
        }
        draft.wake_at(end);
    }
    if state.extensions.answer.is_some() {
        pass_on_answer(view, lookup, draft, ix, &state);
        return;
    }
    let Some(due) = state.extensions.retry_at else { return };
    match target(view.compiled, lookup, ix, &state) {
        Ok(target) => draft.polls.push(RemoteWork {
            node: ix,
            id: node.id.clone(),
            attempt: state.attempt,
            due,
            interval: None,
            target,
        }),
        Err(why) => {
            awaits_binding(view.compiled, draft, node);
            let message = format!("cannot be looked at: {why}");
            if message != state.message {
                let reason = state.extensions.reason.unwrap_or(NodeReason::AwaitingProvider);
                let (retry_at, handle) = (Some(due), state.extensions.handle);
                draft.node(&node.id, NodeChange::Block { reason, message, retry_at, handle }, now);
            }
        }
    }
}

/// A person decided about a node whose work goes on elsewhere: that counts as soon as the work is called off.
fn conclude(
    view: &ExecutionView<'_>,
    lookup: &dyn PlanLookup,
    draft: &mut Draft,
    ix: NodeIx,
    decided: NodeDecision,
    now: Timestamp,
) {
    let Some(said) = call_off(view, lookup, draft, ix, now) else { return };
    let Some(id) = view.compiled.ids.get(ix) else { return };
    let (reason, evidence) = (NodeReason::CompletedByPerson, Evidence::default());
    let message = format!("{}{said}", decided.message);
    let change = if decided.failed {
        NodeChange::Fail { reason, message, evidence }
    } else {
        NodeChange::Succeed { reason: Some(reason), message, outputs: decided.outputs, evidence }
    };
    draft.node(id, change, now);
}

/// An answer changes something outside, so it is claimed like any other work; the handle goes along.
fn pass_on_answer(
    view: &ExecutionView<'_>,
    lookup: &dyn PlanLookup,
    draft: &mut Draft,
    ix: NodeIx,
    state: &NodeStatus,
) {
    let Some(node) = view.compiled.node(ix) else { return };
    let given = state.extensions.binding.as_ref().map(|binding| binding.provider.as_str());
    match lookup.resolve(view.compiled, ix) {
        ProviderResolution::Bound(binding, target) if given.is_none_or(|given| given == target.provider) => {
            if draft.status.extensions.suspend.is_none() {
                let (rank, id) = (view.compiled.topology.rank(ix), node.id.clone());
                draft.ready.push(ReadyNode { node: ix, id, rank, binding, target });
            }
        }
        _ => awaits_binding(view.compiled, draft, node),
    }
}

/// The end of the time that an attempt may take.
fn end_of<'n>(node: &'n Node, state: &NodeStatus) -> Option<(&'n Duration, Timestamp)> {
    let timeout = node.timeout.as_ref()?;
    Some((timeout, after(state.start_time?, timeout.span())))
}

/// The provider that was given the attempt, with its settings as they are now. A handle means nothing to another one.
fn target(
    compiled: &CompiledPlan,
    lookup: &dyn PlanLookup,
    ix: NodeIx,
    state: &NodeStatus,
) -> Result<BindingTarget, String> {
    let given = state.extensions.binding.as_ref().map(|binding| binding.provider.as_str());
    match lookup.resolve(compiled, ix) {
        ProviderResolution::Bound(_, target) if given.is_none_or(|given| given == target.provider) => {
            Ok(target)
        }
        ProviderResolution::Bound(_, target) => Err(format!(
            "it was given to {}, and its Binding now names {}",
            given.unwrap_or_default(),
            target.provider
        )),
        ProviderResolution::Not(_, why) => Err(why),
    }
}

/// Has an attempt called off that goes on elsewhere. Once that is done, or where there is nothing to call off, gives what
/// is to be added to the message; `None` while it is still to be done.
pub(super) fn call_off(
    view: &ExecutionView<'_>,
    lookup: &dyn PlanLookup,
    draft: &mut Draft,
    ix: NodeIx,
    now: Timestamp,
) -> Option<String> {
    let nothing = Some(String::new());
    let Some(node) = view.compiled.node(ix) else { return nothing };
    let Some(state) = draft.status.node_statuses.get(&node.id).cloned() else { return nothing };
    if !state.goes_on_elsewhere() || state.extensions.handle.is_none() {
        return nothing;
    }
    let failed = |error: &str| Some(format!("; calling it off failed: {error}"));
    if let Some(done) = view.remote_cancelled.get(&node.id).filter(|done| done.attempt == state.attempt) {
        return done.error.as_deref().map_or(nothing, failed);
    }
    match target(view.compiled, lookup, ix, &state) {
        Ok(target) => {
            let (id, attempt) = (node.id.clone(), state.attempt);
            draft.remote_cancels.push(RemoteWork { node: ix, id, attempt, due: now, interval: None, target });
            None
        }
        Err(why) => failed(&why),
    }
}

/// An address is looked at when it is due, for the first time at once.
pub(super) fn poll_address(
    draft: &mut Draft,
    ix: NodeIx,
    node: &Node,
    (form, url): (&str, &str),
    interval: Option<&Duration>,
    now: Timestamp,
) {
    let state = draft.status.node_statuses.get(&node.id);
    let due = state.and_then(|state| state.extensions.retry_at).unwrap_or(now);
    let interval = Some(interval.map_or(POLL_INTERVAL, Duration::span));
    let config = [("type", form), ("url", url)].map(|(name, value)| (name.to_owned(), json!(value)));
    let target = BindingTarget { provider: "external".to_owned(), config: config.into_iter().collect() };
    draft.polls.push(RemoteWork { node: ix, id: node.id.clone(), attempt: 0, due, interval, target });
}

/// Whether the end of a look at a node still says something about it.
#[must_use]
pub(crate) fn is_looked_at(node: &Node, state: &NodeStatus, attempt: u32, handle: Option<&str>) -> bool {
    let current = state.attempt == attempt && state.extensions.handle.as_deref() == handle;
    let open = match node.kind {
        NodeKind::External => matches!(state.phase, NodePhase::Pending | NodePhase::Blocked),
        _ => state.goes_on_elsewhere() && state.extensions.decided.is_none(),
    };
    current && open
}

/// Whatever changes the Bindings that a node is resolved with makes it worth planning again.
pub(super) fn awaits_binding(compiled: &CompiledPlan, draft: &mut Draft, node: &Node) {
    let home = &compiled.key.namespace;
    draft.on.push(Dependency::Bindings(home.clone()));
    let named = compiled.spec.node_bindings.get(&node.id).into_iter().chain(&compiled.spec.binding_ref);
    let named: Vec<ResourceKey> = named.map(|reference| reference.key(Kind::Binding, home)).collect();
    draft.on.extend(named.into_iter().map(Dependency::Resource));
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::draft::CancelResult;
    use super::super::view::{GateVerdict, ResourceProgress};
    use super::super::{finish, plan_execution};
    use super::*;
    use crate::model::{
        ExecutionStatus, JsonMap, Name, NodeId, PersonRequest, QuestionAnswer, ResolvedBinding, ReviewBinding,
    };
    use crate::run::{Change, PlanSources, apply};

    /// Resolves every task to this provider, or to none.
    struct Around(Option<&'static str>);

    impl PlanLookup for Around {
        fn resolve(&self, _: &CompiledPlan, _: NodeIx) -> ProviderResolution {
            let Some(provider) = self.0.map(ToOwned::to_owned) else {
                return ProviderResolution::Not(NodeReason::Unbound, "no rule matches".to_owned());
            };
            let name = "n/b".to_owned();
            let binding = ResolvedBinding { name, generation: 1, rule: 0, provider: provider.clone() };
            ProviderResolution::Bound(binding, BindingTarget { provider, config: JsonMap::new() })
        }

        fn gate(&self, _: &ResourceKey, _: &ReviewBinding, _: Option<Timestamp>) -> GateVerdict {
            GateVerdict::Waiting(String::new())
        }

        fn capabilities(&self, _: &CompiledPlan, _: NodeIx) -> Vec<crate::plan::capability::Capability> {
            Vec::new()
        }

        fn can_poll_addresses(&self) -> bool {
            true
        }

        fn progress(&self, _: &ResourceKey) -> ResourceProgress {
            ResourceProgress::Missing
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn key(kind: Kind, name: &str) -> ResourceKey {
        ResourceKey::new(kind, Name::new("n").unwrap(), Name::new(name).unwrap())
    }

    /// A node that was handed over at 0 and is looked at from 10 on.
    fn handed_over(fields: &serde_json::Value) -> (CompiledPlan, ExecutionStatus, NodeId) {
        let mut node = json!({ "id": "a", "kind": "Task", "timeout": "100s" });
        node.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let plan = json!({ "description": "d", "graph": { "nodes": [node] } });
        let compiled = CompiledPlan::build(PlanSources {
            key: key(Kind::Execution, "e"),
            spec: serde_json::from_value(json!({ "planRef": { "name": "p" } })).unwrap(),
            plan_key: key(Kind::Plan, "p"),
            plan_labels: Default::default(),
            plan: serde_json::from_value(plan).unwrap(),
            goal: None,
            annotations: Default::default(),
        })
        .unwrap();
        let (mut status, id) = (ExecutionStatus::default(), NodeId::new("a").unwrap());
        status.node_statuses.insert(id.clone(), NodeStatus::default());
        let ProviderResolution::Bound(binding, _) = Around(Some("x://y")).resolve(&compiled, 0) else {
            panic!("bound")
        };
        let blocked = NodeChange::Block {
            reason: NodeReason::AwaitingProvider,
            message: "it runs".to_owned(),
            retry_at: Some(at(10)),
            handle: Some("job".to_owned()),
        };
        let started =
            NodeChange::Start { binding: Some(binding.into()), basis: None, runner: "gone".to_owned() };
        for change in [started, blocked] {
            apply(&mut status, &Change::Node(id.clone(), change), at(0)).unwrap();
        }
        (compiled, status, id)
    }

    fn plan(
        compiled: &CompiledPlan,
        status: &ExecutionStatus,
        lookup: &Around,
        called_off: &BTreeMap<NodeId, CancelResult>,
        now: Timestamp,
    ) -> Draft {
        let mut draft = Draft::new(status.clone());
        let (removed, overdue) = (false, None);
        let view = ExecutionView {
            compiled,
            uid: "u",
            removed,
            overdue,
            runner: "r",
            remote_cancelled: called_off,
            reuse: None,
        };
        plan_execution(view, &mut draft, lookup, now);
        finish(&mut draft, compiled, false, now);
        draft
    }

    fn off(id: &NodeId, error: Option<&str>) -> BTreeMap<NodeId, CancelResult> {
        BTreeMap::from([(id.clone(), CancelResult { attempt: 1, error: error.map(ToOwned::to_owned) })])
    }

    #[test]
    fn what_goes_on_elsewhere_is_looked_at_and_never_claimed() {
        let (compiled, status, id) = handed_over(&json!({ "when": "false" }));
        let draft = plan(&compiled, &status, &Around(Some("x://y")), &BTreeMap::new(), at(50));
        assert!(draft.changes.is_empty() && draft.ready.is_empty());
        let [look] = draft.polls.as_slice() else { panic!("one look") };
        assert_eq!((&look.id, look.attempt, look.due), (&id, 1, at(10)));
        assert_eq!(draft.wake, Some(at(100)), "its time is over then");
    }

    #[test]
    fn only_the_provider_that_has_the_work_is_asked_about_it() {
        for (provider, said) in [
            (Some("z://y"), "cannot be looked at: it was given to x://y, and its Binding now names z://y"),
            (None, "cannot be looked at: no rule matches"),
        ] {
            let (compiled, status, id) = handed_over(&json!({}));
            let draft = plan(&compiled, &status, &Around(provider), &BTreeMap::new(), at(50));
            let state = &draft.status.node_statuses[&id];
            assert_eq!((state.message.as_str(), state.extensions.handle.as_deref()), (said, Some("job")));
            assert!(draft.polls.is_empty() && !draft.on.is_empty());
            let again = plan(&compiled, &draft.status, &Around(provider), &BTreeMap::new(), at(60));
            assert!(again.changes.is_empty(), "it is said once");
            let back = plan(&compiled, &draft.status, &Around(Some("x://y")), &BTreeMap::new(), at(70));
            assert_eq!(back.polls.len(), 1);
        }
    }

    #[test]
    fn a_timeout_calls_off_and_then_fails_the_attempt() {
        let (compiled, status, id) = handed_over(&json!({ "retries": 1 }));
        let lookup = Around(Some("x://y"));
        let asked = plan(&compiled, &status, &lookup, &BTreeMap::new(), at(100));
        assert_eq!((asked.changes.len(), asked.polls.len(), asked.remote_cancels.len()), (0, 0, 1));
        let stale = BTreeMap::from([(id.clone(), CancelResult { attempt: 0, error: None })]);
        assert_eq!(plan(&compiled, &status, &lookup, &stale, at(100)).remote_cancels.len(), 1);
        let done = plan(&compiled, &status, &lookup, &off(&id, Some("gone")), at(100));
        let state = &done.status.node_statuses[&id];
        assert_eq!((state.phase, state.extensions.failures), (NodePhase::Pending, 1));
        assert_eq!(state.message, "took longer than 100s; calling it off failed: gone; 1 retry left");
        assert_eq!(done.wake, state.extensions.retry_at);
    }

    #[test]
    fn cancelling_waits_for_the_calling_off_where_somebody_can_be_asked() {
        let (compiled, mut status, id) = handed_over(&json!({}));
        status.extensions.cancel = Some(PersonRequest { by: "mia".to_owned(), at: at(20), comment: None });
        let lookup = Around(Some("x://y"));
        let asked = plan(&compiled, &status, &lookup, &BTreeMap::new(), at(30));
        assert_eq!((asked.changes.len(), asked.remote_cancels.len()), (0, 1));
        let done = plan(&compiled, &status, &lookup, &off(&id, None), at(30));
        let state = &done.status.node_statuses[&id];
        assert_eq!((state.phase, state.message.as_str()), (NodePhase::Cancelled, "cancelled by mia"));
        let unknown = plan(&compiled, &status, &Around(None), &BTreeMap::new(), at(30));
        let message = &unknown.status.node_statuses[&id].message;
        assert_eq!(message, "cancelled by mia; calling it off failed: no rule matches");
    }

    #[test]
    fn what_a_person_decides_counts_once_the_work_is_called_off() {
        let (compiled, mut status, id) = handed_over(&json!({}));
        let decided = NodeDecision {
            failed: false,
            outputs: JsonMap::from_iter([("x".to_owned(), json!(1))]),
            message: "completed by mia".to_owned(),
        };
        let decide = Change::Node(id.clone(), NodeChange::Decide(Box::new(decided)));
        apply(&mut status, &decide, at(20)).unwrap();
        assert!(!is_looked_at(compiled.node(0).unwrap(), &status.node_statuses[&id], 1, Some("job")));
        let lookup = Around(Some("x://y"));
        let asked = plan(&compiled, &status, &lookup, &BTreeMap::new(), at(100));
        assert_eq!((asked.changes.len(), asked.polls.len(), asked.remote_cancels.len()), (0, 0, 1));
        let done = plan(&compiled, &status, &lookup, &off(&id, Some("gone")), at(100));
        let state = &done.status.node_statuses[&id];
        assert_eq!((state.phase, &state.outputs["x"]), (NodePhase::Succeeded, &json!(1)));
        assert_eq!(state.message, "completed by mia; calling it off failed: gone");
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
        };
        let answer = QuestionAnswer { by: "mia".to_owned(), at: at(30), text: "this".to_owned() };
        for change in [asks, NodeChange::Answer(answer.clone())] {
            apply(&mut status, &Change::Node(id.clone(), change), at(30)).unwrap();
        }
        assert_eq!(status.node_statuses[&id].message, "answered by mia; the next reconcile passes it on");
        let lookup = Around(Some("x://y"));
        let mut draft = plan(&compiled, &status, &lookup, &BTreeMap::new(), at(40));
        assert_eq!((draft.polls.len(), draft.ready.len()), (0, 1));
        let other = plan(&compiled, &status, &Around(Some("z://y")), &BTreeMap::new(), at(40));
        assert!(
            other.ready.is_empty() && !other.on.is_empty(),
            "another provider does not know the question"
        );
        let binding = Some(draft.ready.remove(0).binding.into());
        let start = NodeChange::Start { binding, basis: None, runner: "r".to_owned() };
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
        };
        let start = NodeChange::Start { binding: None, basis: None, runner: "r".to_owned() };
        for change in [start, works] {
            apply(&mut status, &Change::Node(id.clone(), change), at(42)).unwrap();
        }
        assert_eq!(status.node_statuses[&id].extensions.answer, None);
    }

    #[test]
    fn a_look_counts_only_for_the_attempt_that_it_was_about() {
        let (compiled, status, id) = handed_over(&json!({}));
        let (node, state) = (compiled.node(0).unwrap(), &status.node_statuses[&id]);
        let counts = |attempt, handle| is_looked_at(node, state, attempt, handle);
        assert!(counts(1, Some("job")));
        assert!(!counts(1, Some("other")) && !counts(2, Some("job")) && !counts(1, None));
    }
}
