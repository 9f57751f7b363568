//! What approvals stand against a node, as one set of questions: planning asks them before a start, and whoever decides for a
//! person before the work of a node is called done (Invariant 11).

use super::lookup::{ApprovalGap, ApprovalLookup, GateVerdict, VoidApproval};
use crate::graph::NodeIx;
use crate::model::{
    BindingTarget, ExecutionStatus, Kind, NodeKind, NodePhase, NodeReason, NodeStatus, ResourceKey,
    ReviewBinding,
};
use crate::plan::required_gates::{GateFor, is_behind};
use crate::run::CompiledPlan;
use crate::run::gate::review_subject;

/// An Execution, as approvals are about it.
#[derive(Clone, Copy)]
pub(crate) struct ApprovalCase<'a> {
    /// What it runs.
    pub compiled: &'a CompiledPlan,
    /// Its uid.
    pub uid: &'a str,
    /// What is recorded of it.
    pub status: &'a ExecutionStatus,
    /// What its gates say.
    pub lookup: &'a dyn ApprovalLookup,
}

/// Why a person may not call the work of a node done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HeldBack {
    /// The configuration requires a gate that was not passed before it.
    GateRequired(GateFor),
    /// A gate before it is not approved, or for something else.
    NotApproved(VoidApproval),
}

impl ApprovalCase<'_> {
    /// What a review has to be bound to.
    pub(super) fn review_binding(&self, gate: NodeIx) -> Option<ReviewBinding> {
        self.binding_about(gate, |_| true)
    }

    /// The same, about only these of the tasks behind the gate.
    fn binding_about(&self, gate: NodeIx, wanted: impl Fn(NodeIx) -> bool) -> Option<ReviewBinding> {
        // From the record and not from the compiled plan: what is approved is what any other runner will find recorded.
        let pinned = self.status.extensions.pinned.as_ref()?;
        Some(ReviewBinding {
            execution: self.uid.to_owned(),
            // The digest as well as the commit: the graph is what reviewers saw, and the commit says of which desired
            // state.
            graph_digest: pinned.graph_digest.clone(),
            commit: pinned.commit.clone(),
            subject: Some(review_subject(self.compiled, self.status, gate, |ix| {
                wanted(ix).then(|| self.lookup.approved_target(self.compiled, self.status, ix)).flatten()
            })),
            digest: None,
            // Who reviewed, and where, is added when a review is recorded; what is asked for is the same for everybody.
            teams: Vec::new(),
            account: None,
            source: None,
        })
    }

    /// The Gate resource of a gate node.
    pub(super) fn gate_key(&self, gate: NodeIx) -> Option<ResourceKey> {
        let home = &self.compiled.plan_key.namespace;
        self.compiled.node(gate)?.gate_ref.as_ref().map(|gate| gate.key(Kind::Gate, home))
    }

    /// The decision about a gate, for what stands before and after it now.
    pub(super) fn verdict(
        &self,
        gate: NodeIx,
        (key, binding): (&ResourceKey, &ReviewBinding),
    ) -> GateVerdict {
        // After a `retry` the gate is asked anew: an approval from before it was for a run that is over.
        let since = self.state(gate).and_then(|state| state.extensions.reset_at);
        self.lookup.gate(key, binding, since)
    }

    /// A gate that a task with this target needs and that was not passed before it.
    pub(super) fn lacks(&self, ix: NodeIx, target: &BindingTarget) -> Option<GateFor> {
        let home = &self.compiled.plan_key.namespace;
        // Passed, and not only written down: a gate that was skipped asked nobody.
        let passed = |at| self.compiled.phase_of(self.status, at) == NodePhase::Succeeded;
        let graph = (&self.compiled.topology, self.compiled.plan.graph.nodes.as_slice());
        let mut required = self.lookup.required_gates(target).into_iter();
        required.find(|(gate, _)| !is_behind(gate, home, graph, ix, passed))
    }

    /// Why the approvals of a gate that was passed do not cover what is behind it now.
    pub(super) fn void(&self, gate: NodeIx) -> Option<ApprovalGap> {
        let key = self.gate_key(gate)?;
        self.void_about(&key, gate, &self.review_binding(gate)?)
    }

    fn void_about(&self, key: &ResourceKey, gate: NodeIx, binding: &ReviewBinding) -> Option<ApprovalGap> {
        Some(match self.verdict(gate, (key, binding)) {
            GateVerdict::Approved(_) => return None,
            GateVerdict::Rejected(by) => {
                ApprovalGap::missing(format!("the gate was rejected since, by {by}"))
            }
            GateVerdict::Waiting(why) => ApprovalGap::missing(why),
            // A gate without a manifest was approved, and a broken one was merged since.
            GateVerdict::Closed(why) => ApprovalGap { why, is_closed: true },
        })
    }

    /// The gate whose approvals do not cover a task that an Execution does, as that would go on now, with why. Only this task:
    /// the others are compared when they start.
    pub(crate) fn void_for(&self, task: NodeIx) -> Option<VoidApproval> {
        self.passed_before(task).find_map(|gate| {
            let key = self.gate_key(gate)?;
            let void = self.void_about(&key, gate, &self.binding_about(gate, |ix| ix == task)?)?;
            Some(self.not_approved(key, void))
        })
    }

    fn not_approved(&self, gate: ResourceKey, void: ApprovalGap) -> VoidApproval {
        VoidApproval { execution: self.compiled.key.clone(), gate, void }
    }

    /// The gates before a task that people have passed: one that was skipped asked nobody.
    pub(crate) fn passed_before(&self, task: NodeIx) -> impl Iterator<Item = NodeIx> {
        let gates = self.compiled.gates_before(task).iter().copied();
        gates.filter(|&gate| self.compiled.phase_of(self.status, gate) == NodePhase::Succeeded)
    }

    /// Whether a person may call the work of a node done: whatever else the node waits for, it takes what a start would take now,
    /// since what comes after goes on as if its reviewers had been asked. `targets` is what may do it, as it is bound now: several
    /// where rules are in conflict, and each may win.
    ///
    /// # Errors
    /// [`HeldBack`].
    pub(crate) fn may_be_done(&self, ix: NodeIx, targets: &[BindingTarget]) -> Result<(), HeldBack> {
        let is_task = self.compiled.node(ix).is_some_and(|node| node.kind == NodeKind::Task);
        // What has begun was compared when it did, and may be ended as its provider may end it.
        if !is_task || self.state(ix).is_some_and(is_under_way) {
            return Ok(());
        }
        if let Some(gate) = targets.iter().find_map(|target| self.lacks(ix, target)) {
            return Err(HeldBack::GateRequired(gate));
        }
        for &gate in self.compiled.gates_before(ix) {
            let why = match self.compiled.phase_of(self.status, gate) {
                NodePhase::Succeeded => self.void(gate),
                // One that was skipped asked nobody, and what comes after one that was rejected runs only where the plan says so.
                phase if phase.is_terminal() => None,
                phase => Some(ApprovalGap::missing(format!("the gate is {phase}"))),
            };
            if let Some((key, why)) = self.gate_key(gate).zip(why) {
                return Err(HeldBack::NotApproved(self.not_approved(key, why)));
            }
        }
        let above = self.leans_above(ix).then(|| self.lookup.approval_above(self.compiled)).flatten();
        match above.and_then(|above| above.void) {
            Some(void) => Err(HeldBack::NotApproved(void)),
            None => Ok(()),
        }
    }

    /// Whether a node leans on what was approved above its Execution: no gate of its own stands before it, whose reviewers are
    /// asked about what comes after that. What runs after everything else is held back by no gate.
    pub(crate) fn leans_above(&self, ix: NodeIx) -> bool {
        // Only a derived Execution has its spec in its record.
        let derived = self.status.extensions.spec.is_some();
        let last = self.compiled.node(ix).is_some_and(|node| node.finally);
        derived && !last && self.passed_before(ix).next().is_none()
    }

    /// Whether a gate that was passed holds back a node that waits for something, since its approvals do not cover it now, and its
    /// reviewers can give others.
    pub(crate) fn is_asked_again(&self, gate: NodeIx) -> bool {
        let waits = |ix: NodeIx| {
            let is_task = self.compiled.node(ix).is_some_and(|node| node.kind == NodeKind::Task);
            let is_behind = is_task && self.compiled.gates_before(ix).contains(&gate);
            let state = self.state(ix).filter(|_| is_behind);
            // A plan that does a task is compared as long as it goes on: its own tasks are bound as they start.
            let compared = |state: &NodeStatus| !is_under_way(state) || awaits_execution(state);
            state.is_some_and(|state| state.phase == NodePhase::Blocked && compared(state))
        };
        // In this order: the last takes a look at every node and at all reviews.
        self.compiled.phase_of(self.status, gate) == NodePhase::Succeeded
            && (0..self.compiled.ids.len()).any(waits)
            && self.void(gate).is_some_and(|void| !void.is_closed)
    }

    fn state(&self, ix: NodeIx) -> Option<&NodeStatus> {
        self.status.node_statuses.get(self.compiled.ids.get(ix)?)
    }
}

/// Whether an Execution of its own does a task, which waits for it.
pub(super) fn awaits_execution(state: &NodeStatus) -> bool {
    state.phase == NodePhase::Blocked && state.extensions.reason == Some(NodeReason::AwaitingEvent)
}

/// Whether an attempt goes on: at its provider, at a person, or as an Execution of its own.
fn is_under_way(state: &NodeStatus) -> bool {
    let awaited =
        matches!(state.extensions.reason, Some(NodeReason::AwaitingPerson | NodeReason::AwaitingEvent));
    state.is_remote() || (state.phase == NodePhase::Blocked && awaited)
}
