//! What an Execution takes over from an earlier one: the nodes that succeeded there and would do the same here. Everything
//! that comes before such a node must have been taken over as well, so what is reused is always the beginning of a run.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::context::PlanContext;
use super::draft::Draft;
use super::fingerprint::fingerprint;
use super::lookup::{EarlierWork, ProviderResolution, ReuseSource};
use super::readiness::{EdgeState, condition, edge_state};
use crate::graph::NodeIx;
use crate::model::{
    Artifact, ExecutionStatus, InputFingerprint, JsonMap, Kind, Name, Node, NodeId, NodeKind, NodePhase,
    NodeReason, NodeStatus, OMITTED, ResourceKey, Reuse,
};
use crate::plan::binding::capability::check_outputs;
use crate::run::{CompiledPlan, ExecutionChange, NodeChange};

/// The decision about every node, in the order of the graph.
pub(super) struct ReuseDecision<'a> {
    past: ReuseSource<'a>,
    verdicts: BTreeMap<NodeId, String>,
    /// Whether it was decided before, and a list became known since.
    again: bool,
}

impl<'a> ReuseDecision<'a> {
    /// `decided` is what was decided before a list became known: its instances are new, and what comes after them may follow them.
    pub(super) fn new(past: ReuseSource<'a>, decided: Option<&Reuse>) -> Self {
        let verdicts = decided.map(|decided| decided.nodes.clone()).unwrap_or_default();
        Self { past, verdicts, again: decided.is_some() }
    }

    /// Takes a node over if that may be, and keeps why not. What comes before it has been planned.
    pub(super) fn consider(&mut self, context: &mut PlanContext<'_>, ix: NodeIx) {
        let Some(node) = context.node(ix).filter(|node| node.kind != NodeKind::Group) else { return };
        // An earlier Execution that is gone is no error: everything runs anew, and `close` records why.
        let Ok(status) = self.past.status else { return };
        // Only what nobody has touched: a node that ran here, or is to run again, is never replaced (Invariant 10).
        let untouched = context.state(&node.id).is_some_and(|state| {
            state.phase == NodePhase::Pending && state.attempt == 0 && state.extensions.reset_at.is_none()
        });
        if self.again && !untouched {
            return;
        }
        let verdict = match reusable_state(context, ix, node, self.past.from, status) {
            Ok(state) => {
                let attempt =
                    if state.attempt > 0 { format!(", attempt {}", state.attempt) } else { String::new() };
                let message = format!("reused from {}{attempt}", self.past.from);
                let artifacts = artifacts(status, &node.id, self.past.from);
                // In the draft at once, since the next node in the order asks whether this one was reused.
                context.change(&node.id, NodeChange::Reuse { message, state: Box::new(state), artifacts });
                Reuse::REUSED.to_owned()
            }
            Err(why) => why,
        };
        tracing::debug!(node = %node.id, from = self.past.from, verdict, "considered for reuse");
        self.verdicts.insert(node.id.clone(), verdict);
    }

    /// Records what was decided, so that it is decided once.
    pub(super) fn close(self, draft: &mut Draft, now: Timestamp) {
        let ReuseSource { from, uid, status } = self.past;
        let message = match status {
            Err(why) => format!("nothing was reused: {why}"),
            Ok(_) => {
                // Counted from the verdicts, which exist for every node but groups; a group is neither run nor reused.
                let reused = self.verdicts.values().filter(|verdict| *verdict == Reuse::REUSED).count();
                format!("{reused} of {} nodes reused from {from}", self.verdicts.len())
            }
        };
        let from = from.to_owned();
        let uid = uid.map(ToOwned::to_owned);
        // The verdict of each node is kept, because the earlier record may be gone by the time somebody asks why a node
        // ran again.
        let reuse = Reuse { from, uid, message, nodes: self.verdicts };
        draft.execution(ExecutionChange::Reuse(Box::new(reuse)), now);
    }
}

/// The state of the node there, when it would do the same here; else why not.
fn reusable_state(
    context: &PlanContext<'_>,
    ix: NodeIx,
    node: &Node,
    from: &str,
    past: &ExecutionStatus,
) -> Result<NodeStatus, String> {
    let compiled = context.compiled();
    let status = &context.draft.status;
    match node.kind {
        // Invariant 11: the approval is bound to the uid of the earlier Execution, so it could not count here anyway.
        NodeKind::Gate => return Err("an approval counts for one execution".to_owned()),
        // What was true outside then may not be true now, and asking again costs nothing.
        NodeKind::External => return Err("what it waits for is polled again".to_owned()),
        NodeKind::Task | NodeKind::Group => {}
    }
    if !node.reusable() {
        return Err(format!("its annotation `{}` forbids it", Node::REUSE));
    }
    // By node id: the plan may be another version, and the fingerprint below says whether the node is the same.
    let state = past.node_statuses.get(&node.id).ok_or_else(|| format!("{from} has no such node"))?;
    if state.phase != NodePhase::Succeeded {
        return Err(format!("it is {} in {from}", state.phase));
    }
    // Equal inputs are not enough: a task may depend on files that its source left, of which no fingerprint knows.
    if let Some(source) = changed_source(compiled, status, ix, past) {
        return Err(format!("`{source}`, which comes before it, was not reused"));
    }
    // A node that its condition would skip here must be skipped, although it succeeded there.
    let open = matches!(edge_state(compiled, status, ix), EdgeState::Open);
    if !open || condition(compiled, status, ix) != Ok(true) {
        return Err("it does not run here".to_owned());
    }
    // Absent on nodes that ran before fingerprints were recorded, or that a person completed. Unknown is not equal.
    let then = state.extensions.basis.as_deref();
    let then = then.ok_or_else(|| format!("{from} does not record what it started with"))?;
    // Resolved now, as if the node were to start: a result of a provider that would not be asked today is not taken
    // over.
    let target = match context.lookup.resolve(compiled, ix) {
        ProviderResolution::Bound(_, target) => target,
        ProviderResolution::Not(_, why) | ProviderResolution::Later(why) => return Err(why),
    };
    let capabilities = context.lookup.capabilities(compiled, ix);
    let now = fingerprint(compiled, status, ix, &capabilities, &target);
    // Not reused rather than failed: the attempt that follows fails by the same error, with evidence.
    let now = now.ok_or("its inputs cannot be computed")?;
    if let Some(what) = difference(then, &now) {
        return Err(what.to_owned());
    }
    // The summary of a finished Execution drops large outputs. What comes after would read a placeholder as if it were
    // the value.
    if let Some(name) = omitted(&state.outputs) {
        return Err(format!("its output `{name}` is no longer kept in {from}"));
    }
    // The capability may ask for more of its outputs today than it did then.
    let outputs = check_outputs(state.outputs.clone(), &capabilities)?;
    let mut state = NodeStatus { outputs, ..state.clone() };
    let begun = |status: &ExecutionStatus| status.start_commit().map(ToOwned::to_owned);
    if let Some(result) = state.extensions.result.take() {
        state.extensions.result = match begun(past) == begun(status) {
            true => Some(result),
            // As it is, it would bring the files of the older commit back without any conflict.
            false => {
                let from = Name::new(from).map_err(|error| format!("the name `{from}` {error}"))?;
                let key = ResourceKey::new(Kind::Execution, compiled.key.namespace.clone(), from);
                let earlier = EarlierWork { key, status: past, result: &result };
                context.lookup.carried((compiled, status), ix, &earlier)?.map(Arc::new)
            }
        };
    }
    Ok(state)
}

fn difference(then: &InputFingerprint, now: &InputFingerprint) -> Option<&'static str> {
    // In this order, since the first difference is the one that is named, and a change of the plan explains the others.
    if then.node != now.node {
        return Some("its definition in the plan differs");
    }
    if then.inputs != now.inputs {
        return Some("its inputs differ, or the data that it gets from the goal and the plan");
    }
    (then.target != now.target).then_some("its provider or the provider's settings differ")
}

/// The first node before this one that was neither taken over nor left out in both.
fn changed_source<'p>(
    compiled: &'p CompiledPlan,
    status: &ExecutionStatus,
    ix: NodeIx,
    past: &ExecutionStatus,
) -> Option<&'p NodeId> {
    let mut sources: Vec<NodeIx> = compiled.topology.sources(ix).map(|(source, _)| source).collect();
    // What its expressions read counts like a source, though no edge leads there.
    sources.extend(compiled.reads(ix));
    while let Some(source) = sources.pop() {
        let Some(node) = compiled.node(source) else { continue };
        // A group has no work of its own to compare; its members have.
        if node.kind == NodeKind::Group {
            sources.extend(compiled.topology.children(source));
            continue;
        }
        let Some(state) = status.node_statuses.get(&node.id) else { return Some(&node.id) };
        let skipped = |state: &NodeStatus| state.phase == NodePhase::Skipped;
        // Skipped on both sides is the same as well: neither run had anything from it.
        let same = state.extensions.reason == Some(NodeReason::Reused)
            || (skipped(state) && past.node_statuses.get(&node.id).is_some_and(skipped));
        if !same {
            return Some(&node.id);
        }
    }
    None
}

/// The name of an output that was too large for the summary of a finished execution.
fn omitted(outputs: &JsonMap) -> Option<&String> {
    let stands_for_it = |value: &serde_json::Value| {
        // Exactly the shape that `record` writes: an output of a user's own that has such a key beside others is an
        // output.
        value.as_object().is_some_and(|object| object.len() == 1 && object.contains_key(OMITTED))
    };
    outputs.iter().find(|(_, value)| stands_for_it(value)).map(|(name, _)| name)
}

/// What the last attempt of the node produced there, marked with where it came from.
fn artifacts(past: &ExecutionStatus, id: &NodeId, from: &str) -> Vec<Artifact> {
    let attempt = |artifact: &Artifact| artifact.metadata.get("attempt").and_then(serde_json::Value::as_u64);
    let mine: Vec<&Artifact> = past
        .artifacts
        .iter()
        .filter(|artifact| artifact.metadata.get("node").and_then(|node| node.as_str()) == Some(id.as_str()))
        .collect();
    // Earlier attempts failed, and what they left is not the result.
    let last = mine.iter().filter_map(|artifact| attempt(artifact)).max();
    let last = mine.into_iter().filter(|artifact| attempt(artifact) == last);
    last.map(|artifact| {
        let mut copy = artifact.clone();
        // Not overwritten: along a chain of reruns it has to name the run that made the file.
        copy.metadata.entry("execution").or_insert_with(|| from.into());
        copy
    })
    .collect()
}
