//! Results that conflict: with `config.onConflict: rerun`, the later of them is made again on top of the earlier.

use jiff::Timestamp;
use serde_json::Value;
use tracing::info;

use crate::engine::EngineError;
use crate::engine::execution::step::PreparedStep;
use crate::engine::snapshot::Snapshot;
use crate::engine::snapshot::approved_target::{bound_target, effective_settings};
use crate::model::{NodeId, NodeReason, NodeStatus};
use crate::plan::built_on;
use crate::run::{CompiledPlan, NodeChange};

/// How often a node is made again by itself. Each time it may conflict with another one, and a person sees sooner than any
/// number of attempts that two tasks were given the same work.
const MOST_RERUNS: u32 = 3;

/// What becomes of a conflict.
pub(crate) enum ConflictStep {
    /// These nodes run again, by their places in the plan; whoever needs the results waits for that.
    Rerun(Vec<bool>),
    /// The same, as soon as what is under way on top of the later one has ended.
    Wait,
    /// A person decides.
    Person,
}

/// Makes the later of results that conflict again, where its settings ask for that.
pub(crate) fn rerun_later(
    snapshot: &Snapshot,
    step: &mut PreparedStep,
    (earlier, later): (&[NodeId], &NodeId),
    now: Timestamp,
) -> Result<ConflictStep, EngineError> {
    let Some(compiled) = step.compiled.clone() else { return Ok(ConflictStep::Person) };
    // A suspended Execution begins nothing, and without what it has made it would hold less than before.
    if step.draft.status.extensions.suspend.is_some() {
        return Ok(ConflictStep::Wait);
    }
    let Some(ix) = compiled.topology.find(later.as_str()) else { return Ok(ConflictStep::Person) };
    if !may_rerun(snapshot, step, &compiled, ix)? {
        return Ok(ConflictStep::Person);
    }
    let again = built_on(&compiled, &step.draft.status, ix);
    let is_again = |ix: usize| again.get(ix).copied().unwrap_or_default();
    // Its instances would be those of another list, and which of them stand on what is a matter for `retry`.
    let lists = compiled.expansion.all().filter(|(_, repeated)| repeated.is_computed);
    let mut roots = lists.filter_map(|(root, _)| compiled.topology.find(root.as_str()));
    if roots.any(|root| is_again(root) || compiled.topology.sources(root).any(|(source, _)| is_again(source)))
    {
        return Ok(ConflictStep::Person);
    }
    let ids: Vec<NodeId> =
        compiled.ids.iter().enumerate().filter(|(ix, _)| is_again(*ix)).map(|(_, id)| id.clone()).collect();
    let state = |id: &NodeId| step.draft.status.node_statuses.get(id);
    // Its end would come to a node that begins again.
    if ids.iter().filter_map(state).any(|state| state.is_under_way() || state.is_remote()) {
        return Ok(ConflictStep::Wait);
    }
    let (mut onto, reruns) = state(later)
        .map_or_else(Default::default, |state| (state.extensions.onto.clone(), state.extensions.reruns));
    onto.extend(earlier.iter().filter(|id| !onto.contains(id)).cloned().collect::<Vec<_>>());
    let names: Vec<String> = earlier.iter().map(|id| format!("`{id}`")).collect();
    info!(execution = %compiled.key, node = %later, onto = ?earlier, reruns, "results conflict; the later one runs again");
    for id in &ids {
        let message = if id == later {
            format!("runs again on top of {}, with which its files conflict", names.join(", "))
        } else {
            format!("runs again, because `{later}` does")
        };
        step.draft.node(id, NodeChange::Reset { message }, now);
    }
    if let Some(state) = step.draft.status.node_statuses.get_mut(later) {
        (state.extensions.onto, state.extensions.reruns) = (onto, reruns.saturating_add(1));
    }
    // What was to be asked or started in their names would stand on what is left of the results.
    step.draft.children.retain(|request| !is_again(request.ix));
    step.draft.gates.retain(|request| !ids.contains(&request.node));
    Ok(ConflictStep::Rerun(again))
}

/// Whether the node at `ix` may be made again by itself.
fn may_rerun(
    snapshot: &Snapshot,
    step: &PreparedStep,
    compiled: &CompiledPlan,
    ix: usize,
) -> Result<bool, EngineError> {
    let Some(node) = compiled.node(ix) else { return Ok(false) };
    let state = step.draft.status.node_statuses.get(&node.id);
    let by_person = |state: &NodeStatus| state.extensions.reason == Some(NodeReason::CompletedByPerson);
    let is_spent = |state: &NodeStatus| state.extensions.reruns >= MOST_RERUNS;
    if !node.repeatable() || state.is_none_or(|state| by_person(state) || is_spent(state)) {
        return Ok(false);
    }
    let target = bound_target(snapshot, compiled, ix)?;
    let settings = target.map(|target| effective_settings(&snapshot.config.providers, &target));
    let asked = settings.as_ref().and_then(|settings| settings.get("onConflict")).and_then(Value::as_str);
    Ok(asked == Some("rerun"))
}
