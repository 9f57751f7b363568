//! Planning one Execution: cancellation, every node in the order of the graph, and the state of the whole.

use jiff::Timestamp;

use super::draft::{Dependency, Draft, GateDemand};
use super::node::plan_node;
use crate::graph::NodeIx;
use crate::model::{
    BindingTarget, ExecutionPhase, ExecutionStatus, NodeKind, NodePhase, NodeReason, ResolvedBinding,
    ResourceKey, ReviewBinding,
};
use crate::run::{Change, ExecutionChange, NodeChange, Program, derive_phase};

/// What planning an Execution looks at.
#[derive(Debug, Clone, Copy)]
pub struct ExecutionView<'a> {
    /// The program.
    pub program: &'a Program,
    /// The uid of the execution.
    pub uid: &'a str,
    /// Whether its manifest is gone from the desired state.
    pub removed: bool,
    /// Since when the deadline of its goal is over, if it is.
    pub overdue: Option<Timestamp>,
    /// The name of the runner that holds the lease now: the one that plans.
    pub runner: &'a str,
}

/// What surrounds an Execution and is resolved late, when a node is about to start (design invariant 9).
pub trait Surroundings {
    /// The provider for a task.
    fn resolve(&self, program: &Program, node: NodeIx) -> Resolved;
    /// The decision of a Gate resource about exactly what `binding` names; reviews from before `since` do not count.
    fn gate(&self, gate: &ResourceKey, binding: &ReviewBinding, since: Option<Timestamp>) -> Verdict;
    /// How far another resource is.
    fn progress(&self, key: &ResourceKey) -> Progress;
}

/// The outcome of looking for a provider.
#[derive(Debug, Clone, PartialEq)]
pub enum Resolved {
    /// This one.
    Bound(ResolvedBinding, BindingTarget),
    /// None, for this reason.
    Not(NodeReason, String),
}

/// The decision of a gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// None yet; says what is missing.
    Waiting(String),
    /// Approved, by these.
    Approved(Vec<String>),
    /// Rejected, by this reviewer.
    Rejected(String),
}

/// How far another resource is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// It is not there.
    Missing,
    /// It is on its way; says its phase.
    Ongoing(String),
    /// It succeeded.
    Succeeded,
    /// It ended otherwise; says its phase.
    Failed(String),
}

/// Plans an Execution whose lease this runner holds: everything that can be decided now, but for starts, which the
/// scheduler chooses among [`Draft::ready`]. Follow with [`finish`].
pub fn plan_execution(view: ExecutionView<'_>, draft: &mut Draft, around: &dyn Surroundings, now: Timestamp) {
    if let Some((reason, message)) = called_off(&view, &draft.status) {
        for node in view.program.plan.graph.nodes.iter().filter(|node| node.kind != NodeKind::Group) {
            let phase = draft.status.node_statuses.get(&node.id).map(|state| state.phase);
            if phase.is_some_and(|phase| !phase.is_terminal()) {
                draft.node(&node.id, NodeChange::Cancel { reason, message: message.clone() }, now);
            }
        }
        sum_groups(view.program, draft, now);
        return;
    }
    for &ix in view.program.topology.order() {
        plan_node(&view, around, draft, ix, now);
    }
}

/// Completes a draft after the scheduler added its starts: the phases of groups and of the execution, and the lease,
/// which is given back as soon as nothing is left that this runner could do; when it is `leaving`, as soon as nothing
/// of its own runs any more.
pub fn finish(draft: &mut Draft, program: &Program, leaving: bool, now: Timestamp) {
    sum_groups(program, draft, now);
    derive_phase(Some(program), &mut draft.status, now);
    let running = draft.status.node_statuses.values().any(|state| state.phase == NodePhase::Running);
    let idle = !running && (leaving || draft.ready.is_empty());
    if (idle || draft.status.phase.is_terminal())
        && let Some(lease) = &draft.status.extensions.lease
    {
        let token = lease.token;
        draft.execution(ExecutionChange::ReleaseLease { token }, now);
    }
}

/// Whether, and why, everything is to be cancelled.
fn called_off(view: &ExecutionView<'_>, status: &ExecutionStatus) -> Option<(NodeReason, String)> {
    if let Some(request) = &status.extensions.cancel {
        let comment = request.comment.as_deref().map(|text| format!(": {text}")).unwrap_or_default();
        return Some((NodeReason::CancelRequested, format!("cancelled by {}{comment}", request.by)));
    }
    if view.removed {
        return Some((NodeReason::ManifestRemoved, "the manifest of the execution was removed".to_owned()));
    }
    view.overdue
        .map(|since| (NodeReason::DeadlineExceeded, format!("the deadline of the goal passed at {since}")))
}

/// Groups take the phase of their children, innermost first.
pub fn sum_groups(program: &Program, draft: &mut Draft, now: Timestamp) {
    for &ix in program.topology.order() {
        if program.node(ix).is_some_and(|node| node.kind == NodeKind::Group) {
            super::node::plan_group(program, draft, ix, now);
        }
    }
}

impl ExecutionView<'_> {
    /// What a review of this execution has to be bound to (design invariant 11).
    fn review_binding(&self, status: &ExecutionStatus) -> Option<ReviewBinding> {
        let pinned = status.extensions.pinned.as_ref()?;
        Some(ReviewBinding {
            execution: self.uid.to_owned(),
            graph_digest: pinned.graph_digest.clone(),
            commit: pinned.commit.clone(),
        })
    }
}

/// The demand that a gate node makes on its Gate resource.
pub(super) fn demand(
    view: &ExecutionView<'_>,
    status: &ExecutionStatus,
    gate: ResourceKey,
    ix: NodeIx,
) -> Option<GateDemand> {
    let node = view.program.ids.get(ix)?.clone();
    Some(GateDemand {
        gate,
        execution: view.program.key.clone(),
        node,
        binding: view.review_binding(status)?,
    })
}

/// Records that an Execution cannot start because something it names is missing or broken.
#[must_use]
pub fn hold(
    status: &ExecutionStatus,
    reason: &str,
    message: &str,
    on: Vec<ResourceKey>,
    now: Timestamp,
) -> Draft {
    let mut draft = Draft::new(status.clone());
    draft.on = on.into_iter().map(Dependency::Resource).collect();
    let same = status.reason.as_deref() == Some(reason) && status.message.as_deref() == Some(message);
    if !same {
        draft.push(
            Change::Execution(ExecutionChange::Hold {
                reason: reason.to_owned(),
                message: message.to_owned(),
            }),
            now,
        );
    }
    derive_phase(None, &mut draft.status, now);
    if draft.status.phase == ExecutionPhase::Cancelled {
        draft.on.clear();
    }
    draft
}
