//! What people approved, and have to approve, answered from the snapshot: the same for planning and for decisions.

mod above;

use jiff::Timestamp;

pub(crate) use self::above::{APPROVAL_VOID, void_below};

use self::above::approval_above;

use crate::engine::EngineError;
use crate::engine::error::KeptFailure;
use crate::engine::snapshot::Snapshot;
use crate::engine::snapshot::approved_target::{approved_target, effective_settings};
use crate::engine::snapshot::gate_in_force::GateInForce;
use crate::engine::snapshot::gates;
use crate::graph::NodeIx;
use crate::model::{
    ApprovalCount, ApprovedTarget, BindingTarget, ExecutionStatus, ResourceKey, ReviewBinding,
};
use crate::plan::required_gates::{GateFor, RequiredGates, gates_for};
use crate::plan::{ApprovalAbove, ApprovalLookup, GateVerdict, VoidApproval};
use crate::run::CompiledPlan;
use crate::run::gate::{GateDecision, void_message};

/// The approvals of a snapshot. A failure to read is kept, since questions are answered without errors.
pub(crate) struct SnapshotApprovals<'a> {
    snapshot: &'a Snapshot,
    required: RequiredGates,
    failure: KeptFailure,
}

impl<'a> SnapshotApprovals<'a> {
    pub(crate) fn new(snapshot: &'a Snapshot) -> Self {
        let required = RequiredGates::new(&snapshot.config.gates.require);
        Self { snapshot, required, failure: KeptFailure::default() }
    }

    /// The failure, if something could not be read: what was answered then decides nothing.
    pub(crate) fn check(self) -> Result<(), EngineError> {
        self.failure.check()
    }
}

/// What was approved above an Execution and does not cover what it would run now.
pub(crate) fn void_above(
    snapshot: &Snapshot,
    key: &ResourceKey,
) -> Result<Option<VoidApproval>, EngineError> {
    let lookup = SnapshotApprovals::new(snapshot);
    let above = approval_above(snapshot, key, &lookup)?;
    // What could not be read must not pass for an approval.
    lookup.check()?;
    Ok(above.and_then(|above| above.void))
}

impl ApprovalLookup for SnapshotApprovals<'_> {
    fn gate(&self, gate: &ResourceKey, binding: &ReviewBinding, since: Option<Timestamp>) -> GateVerdict {
        let found = gates::decide(self.snapshot, gate, binding, since);
        // A gate that cannot be read is closed (Invariant 11).
        let Some((evaluation, version)) = self.failure.keep(found.map(Some)) else {
            return GateVerdict::Waiting("the gate cannot be read".to_owned());
        };
        if let GateInForce::Closed { why } = &version {
            return GateVerdict::Closed(format!("gate `{}` is closed: {why}; fix the manifest", gate.name));
        }
        match evaluation.decision {
            GateDecision::Approved { by } => GateVerdict::Approved(by),
            GateDecision::Rejected { by, comment: None } => GateVerdict::Rejected(by),
            GateDecision::Rejected { by, comment: Some(comment) } => {
                GateVerdict::Rejected(format!("{by}: {comment}"))
            }
            GateDecision::Waiting { approvals, needed, unowned } => {
                let name =
                    if gate.namespace.as_str().is_empty() { gate.to_string() } else { gate.name.to_string() };
                let problem = version.problem().map(|why| format!(" ({why})")).unwrap_or_default();
                // Why an approval that was given is not enough any more stands where its node waits.
                let void = void_message(&evaluation.voided).map(|why| format!("; {why}")).unwrap_or_default();
                let unowned = unowned.map(|why| format!("; {why}")).unwrap_or_default();
                let count = ApprovalCount { given: approvals.len(), needed };
                GateVerdict::Waiting(format!("gate `{name}` {count}{problem}{unowned}{void}"))
            }
        }
    }

    fn required_gates(&self, target: &BindingTarget) -> Vec<GateFor> {
        if self.required.is_empty() {
            return Vec::new();
        }
        let settings = effective_settings(&self.snapshot.config.providers, target);
        gates_for(&self.required, &target.provider, &settings)
    }

    fn approval_above(&self, compiled: &CompiledPlan) -> Option<ApprovalAbove> {
        self.failure.keep(approval_above(self.snapshot, &compiled.key, self))
    }

    fn approved_target(
        &self,
        compiled: &CompiledPlan,
        status: &ExecutionStatus,
        node: NodeIx,
    ) -> Option<ApprovedTarget> {
        self.failure.keep(approved_target(self.snapshot, (compiled, status), node))
    }
}
