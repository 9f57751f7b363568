//! What a review is about, beyond the gate itself: one digest over all of it, and what changed since (Invariant 11).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::void::VoidReason;
use crate::graph::NodeIx;
use crate::model::{
    ApprovedTarget, BindingTarget, Digest, ExecutionStatus, NodeId, NodePhase, NodeStatus, ReviewBinding,
    ReviewSubject,
};
use crate::run::CompiledPlan;

/// How many hexadecimal digits of a digest are kept for one node: whoever may merge chooses what is digested, so that it has to
/// hold against collisions, and a large plan has thousands of them.
const DIGITS: usize = 32;

/// What a gate asks about: what the nodes before it gave, and what will do the work of the tasks between it and the next one.
/// A task that has begun does not count any more; its target was compared when it did. `target` resolves a task.
#[must_use]
pub(crate) fn review_subject(
    compiled: &CompiledPlan,
    status: &ExecutionStatus,
    gate: NodeIx,
    mut target: impl FnMut(NodeIx) -> Option<ApprovedTarget>,
) -> ReviewSubject {
    let mut reviewed = BTreeMap::new();
    for (ix, before) in compiled.topology.upstream(gate).into_iter().enumerate() {
        let Some(id) = compiled.ids.get(ix).filter(|_| before) else { continue };
        let Some(state) = status.node_statuses.get(id) else { continue };
        let commit = state.extensions.result.as_ref().map(|result| &result.commit);
        // What gave nothing shows a reviewer nothing, and a node that has not ended yet cannot have been reviewed.
        if commit.is_none() && state.outputs.is_empty() {
            continue;
        }
        reviewed.insert(id.clone(), short(&json!({ "outputs": state.outputs, "commit": commit })));
    }
    let mut targets = BTreeMap::new();
    for (ix, id) in compiled.ids.iter().enumerate() {
        let open = matches!(compiled.phase_of(status, ix), NodePhase::Pending | NodePhase::Blocked);
        let began = status.node_statuses.get(id).is_some_and(NodeStatus::is_remote);
        if open
            && !began
            && compiled.gates_before(ix).contains(&gate)
            && let Some(target) = target(ix)
        {
            // By the id in the plan: instances may come into being after the approval of their node.
            let declared = compiled.declared(ix).map_or(id, |(node, _)| &node.id);
            targets.insert(declared.clone(), target);
        }
    }
    let id = compiled.ids.get(gate);
    let owners = id.and_then(|id| status.node_statuses.get(id)?.extensions.owners.as_deref().cloned());
    ReviewSubject { node: id.cloned(), reviewed, targets, owners }
}

/// What is approved with a target: its settings before expressions are replaced, since later nodes fill them, and the section
/// of the configuration that it names.
#[must_use]
pub(crate) fn approved_target(target: &BindingTarget, named: &Value) -> ApprovedTarget {
    let settings = json!({ "provider": target.provider, "config": target.config, "named": named });
    ApprovedTarget { provider: target.provider.clone(), digest: short(&settings) }
}

/// The digest of all that a review is bound to.
#[must_use]
pub(crate) fn review_digest(generation: u64, binding: &ReviewBinding) -> Digest {
    Digest::of_value(&json!({
        "execution": binding.execution,
        "generation": generation,
        "graphDigest": binding.graph_digest,
        "commit": binding.commit,
        "subject": binding.subject,
    }))
}

/// What is not as it was reviewed, if something is not.
pub(super) fn difference(
    reviewed: Option<&ReviewSubject>,
    asked: Option<&ReviewSubject>,
) -> Option<VoidReason> {
    let asked = asked?;
    let Some(reviewed) = reviewed else { return Some(VoidReason::Unbound) };
    // Only what was there to be reviewed: an approval in advance says nothing about what comes later, and was given all the
    // same.
    let changed = reviewed.reviewed.iter().find(|(node, digest)| asked.reviewed.get(*node) != Some(digest));
    if let Some((node, _)) = changed {
        return Some(VoidReason::OutputsChanged(node.clone()));
    }
    let changed = |(node, now): (&NodeId, &ApprovedTarget)| {
        let was = reviewed.targets.get(node);
        (was != Some(now)).then(|| VoidReason::TargetChanged {
            node: node.clone(),
            from: was.map(|was| was.provider.clone()),
            to: now.provider.clone(),
        })
    };
    asked.targets.iter().find_map(changed)
}

fn short(value: &Value) -> String {
    let digest = Digest::of_value(value);
    digest.as_str().rsplit(':').next().unwrap_or_default().chars().take(DIGITS).collect()
}
