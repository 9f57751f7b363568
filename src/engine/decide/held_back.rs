//! Whether approvals stand against what a person says of a node: the questions that planning asks before a start.

use super::refuse;
use super::target::DecisionTarget;
use crate::engine::EngineError;
use crate::engine::snapshot::Snapshot;
use crate::engine::snapshot::approvals::SnapshotApprovals;
use crate::engine::snapshot::approved_target::candidates;
use crate::graph::NodeIx;
use crate::model::{ExecutionStatus, NodeId};
use crate::plan::{ApprovalCase, HeldBack, VoidApproval};
use crate::run::CompiledPlan;

/// Refuses to call the work of a node done that its gates hold back: what comes after would go on as if its reviewers had been
/// asked. That it failed may be said.
pub(super) fn may_be_done(
    snapshot: &Snapshot,
    target: &DecisionTarget,
    (compiled, ix, id): (&CompiledPlan, NodeIx, &NodeId),
) -> Result<(), EngineError> {
    let bound = candidates(snapshot, compiled, ix)?;
    let about = (compiled, target.metadata().uid.as_str(), target.status());
    let Err(why) = ask(snapshot, about, |case| case.may_be_done(ix, &bound))? else { return Ok(()) };
    tracing::info!(execution = %target.key, node = %id, ?why, "a person may not complete it");
    match why {
        HeldBack::GateRequired((gate, provider)) => refuse(format!(
            "node `{id}` needs a gate before it: `gates.require` asks for `{gate}` before {provider}; merge a plan that has it there, \
             or end the node with `planspec fail`"
        )),
        HeldBack::NotApproved(VoidApproval { void, .. }) if void.is_closed => refuse(format!(
            "node `{id}` needs an approval, which nobody can give now: {}; or end the node with `planspec fail`",
            void.why
        )),
        HeldBack::NotApproved(VoidApproval { execution, gate, void }) => refuse(format!(
            "node `{id}` needs an approval that is valid now: {}; its reviewers give it with `planspec approve gate/{} --execution \
             {} -n {}`, or end the node with `planspec fail`",
            void.why, gate.name, execution.name, gate.namespace
        )),
    }
}

/// Whether a gate that was passed has to be asked again, although no pass has come to that yet.
pub(super) fn is_asked_again(
    snapshot: &Snapshot,
    about: (&CompiledPlan, &str, &ExecutionStatus),
    gate: NodeIx,
) -> Result<bool, EngineError> {
    ask(snapshot, about, |case| case.is_asked_again(gate))
}

fn ask<T>(
    snapshot: &Snapshot,
    (compiled, uid, status): (&CompiledPlan, &str, &ExecutionStatus),
    question: impl FnOnce(ApprovalCase<'_>) -> T,
) -> Result<T, EngineError> {
    let lookup = SnapshotApprovals::new(snapshot);
    let answer = question(ApprovalCase { compiled, uid, status, lookup: &lookup });
    // What could not be read must not pass for a task without a gate.
    lookup.check()?;
    Ok(answer)
}
