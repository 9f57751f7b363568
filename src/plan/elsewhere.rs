//! Planning what goes on elsewhere: work that a provider was given and that is looked at from time to time, until it
//! ends, takes too long or is called off; and addresses that are looked at in the same way.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::draft::{Dependency, Draft, Elsewhere};
use super::outcome::{AttemptResult, after_attempt};
use super::view::{ExecutionView, Resolved, Surroundings};
use crate::graph::NodeIx;
use crate::model::{
    BindingTarget, Duration, Kind, Node, NodeKind, NodePhase, NodeReason, NodeStatus, ResourceKey,
};
use crate::run::{Evidence, NodeChange, Program};

/// How often an address is looked at when its node does not say.
const POLL_INTERVAL: std::time::Duration = std::time::Duration::from_secs(60);

/// An attempt that goes on elsewhere: over its time it is called off and has failed; else it is looked at when it is due.
pub(super) fn plan_elsewhere(
    view: &ExecutionView<'_>,
    around: &dyn Surroundings,
    draft: &mut Draft,
    ix: NodeIx,
    now: Timestamp,
) {
    let Some(node) = view.program.node(ix) else { return };
    let Some(state) = draft.status.node_statuses.get(&node.id).cloned() else { return };
    if let Some((timeout, end)) = end_of(node, &state) {
        if now >= end {
            let Some(said) = call_off(view, around, draft, ix, now) else { return };
            let message = format!("took longer than {timeout}{said}");
            let result = AttemptResult::Failed { reason: NodeReason::Timeout, message, retryable: true };
            let key = format!("{}/{}/{}", view.uid, node.id, state.attempt);
            let change = after_attempt(node, &state, result, Evidence::default(), &key, now);
            draft.node(&node.id, change, now);
            return;
        }
        draft.wake_at(end);
    }
    let Some(due) = state.extensions.retry_at else { return };
    match target(view.program, around, ix, &state) {
        Ok(target) => draft.looks.push(Elsewhere {
            node: ix,
            id: node.id.clone(),
            attempt: state.attempt,
            due,
            interval: None,
            target,
        }),
        Err(why) => {
            awaits_binding(view.program, draft, node);
            let message = format!("cannot be looked at: {why}");
            if message != state.message {
                let reason = state.extensions.reason.unwrap_or(NodeReason::AwaitingProvider);
                let (retry_at, handle) = (Some(due), state.extensions.handle);
                draft.node(&node.id, NodeChange::Block { reason, message, retry_at, handle }, now);
            }
        }
    }
}

/// The end of the time that an attempt may take.
fn end_of<'n>(node: &'n Node, state: &NodeStatus) -> Option<(&'n Duration, Timestamp)> {
    let timeout = node.timeout.as_ref()?;
    let span = SignedDuration::try_from(timeout.span()).unwrap_or(SignedDuration::MAX);
    Some((timeout, state.start_time?.saturating_add(span).unwrap_or(Timestamp::MAX)))
}

/// The provider that was given the attempt, with its settings as they are now. A handle means nothing to another one.
fn target(
    program: &Program,
    around: &dyn Surroundings,
    ix: NodeIx,
    state: &NodeStatus,
) -> Result<BindingTarget, String> {
    let given = state.extensions.binding.as_ref().map(|binding| binding.provider.as_str());
    match around.resolve(program, ix) {
        Resolved::Bound(_, target) if given.is_none_or(|given| given == target.provider) => Ok(target),
        Resolved::Bound(_, target) => Err(format!(
            "it was given to {}, and its Binding now names {}",
            given.unwrap_or_default(),
            target.provider
        )),
        Resolved::Not(_, why) => Err(why),
    }
}

/// Has an attempt called off that goes on elsewhere. Once that is done, or where there is nothing to call off, gives what
/// is to be added to the message; `None` while it is still to be done.
pub(super) fn call_off(
    view: &ExecutionView<'_>,
    around: &dyn Surroundings,
    draft: &mut Draft,
    ix: NodeIx,
    now: Timestamp,
) -> Option<String> {
    let nothing = Some(String::new());
    let Some(node) = view.program.node(ix) else { return nothing };
    let Some(state) = draft.status.node_statuses.get(&node.id).cloned() else { return nothing };
    if !state.goes_on_elsewhere() || state.extensions.handle.is_none() {
        return nothing;
    }
    let failed = |error: &str| Some(format!("; calling it off failed: {error}"));
    if let Some(done) = view.called_off.get(&node.id).filter(|done| done.attempt == state.attempt) {
        return done.error.as_deref().map_or(nothing, failed);
    }
    match target(view.program, around, ix, &state) {
        Ok(target) => {
            let (id, attempt) = (node.id.clone(), state.attempt);
            draft.call_offs.push(Elsewhere { node: ix, id, attempt, due: now, interval: None, target });
            None
        }
        Err(why) => failed(&why),
    }
}

/// An address is looked at when it is due, for the first time at once.
pub(super) fn look_at(
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
    draft.looks.push(Elsewhere { node: ix, id: node.id.clone(), attempt: 0, due, interval, target });
}

/// Whether the end of a look at a node still says something about it.
#[must_use]
pub fn is_looked_at(node: &Node, state: &NodeStatus, attempt: u32, handle: Option<&str>) -> bool {
    let current = state.attempt == attempt && state.extensions.handle.as_deref() == handle;
    let open = match node.kind {
        NodeKind::External => matches!(state.phase, NodePhase::Pending | NodePhase::Blocked),
        _ => state.goes_on_elsewhere(),
    };
    current && open
}

/// Whatever changes the Bindings that a node is resolved with makes it worth planning again.
pub(super) fn awaits_binding(program: &Program, draft: &mut Draft, node: &Node) {
    let home = &program.key.namespace;
    draft.on.push(Dependency::Bindings(home.clone()));
    let named = program.spec.node_bindings.get(&node.id).into_iter().chain(&program.spec.binding_ref);
    let named: Vec<ResourceKey> = named.map(|reference| reference.key(Kind::Binding, home)).collect();
    draft.on.extend(named.into_iter().map(Dependency::Resource));
}
