//! A draft: the next status of one Execution while it is being planned, with the changes that lead there.

use std::sync::Arc;

use jiff::Timestamp;

use crate::graph::NodeIx;
use crate::model::{
    BindingTarget, ExecutionSpec, ExecutionStatus, InputFingerprint, Name, NodeId, NodePhase, NodeReason,
    ResolvedBinding, ResourceKey, ReviewBinding,
};
use crate::run::{Change, ExecutionChange, NodeChange, apply};

/// The result of planning an Execution.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    /// The status with all `changes` applied.
    pub status: ExecutionStatus,
    /// The changes, in order.
    pub changes: Vec<Change>,
    /// What the changes did to nodes, in order.
    pub moves: Vec<NodeTransition>,
    /// Nodes that could start now; the scheduler picks among them.
    pub ready: Vec<ReadyNode>,
    /// Why what could start was left to a later pass, when the limit of a namespace is the reason.
    pub crowded: Option<String>,
    /// When something will have to be planned again by itself.
    pub wake: Option<Timestamp>,
    /// Gates that must know that somebody waits.
    pub gates: Vec<GateRequest>,
    /// Executions that have to be made for nodes.
    pub children: Vec<ChildRequest>,
    /// What would make it worth planning again.
    pub on: Vec<Dependency>,
    /// Remote work to be polled when it is due.
    pub polls: Vec<RemoteWork>,
    /// Remote work that has to be cancelled before its node can go on.
    pub remote_cancels: Vec<RemoteWork>,
    /// Deliveries that people are to be shown while a Gate before them waits.
    pub proposals: Vec<GateProposal>,
    /// Whether a node is ready whose plan was approved at a gate of another Execution.
    pub gated_above: bool,
    /// Whether a list became known, so that the graph has more nodes than it was planned with.
    pub expanded: bool,
}

/// A node went from one phase to another, or another attempt of it began.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NodeTransition {
    /// The node.
    pub node: NodeId,
    /// The phase before.
    pub from: NodePhase,
    /// The phase after.
    pub to: NodePhase,
    /// Why, for programs.
    pub reason: Option<NodeReason>,
    /// Why, in words.
    pub message: String,
    /// The attempt.
    pub attempt: u32,
}

/// A node that could start now.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ReadyNode {
    /// Its index.
    pub node: NodeIx,
    /// Its id.
    pub id: NodeId,
    /// The longest way onward from it.
    pub rank: u32,
    /// What was resolved for it.
    pub binding: Arc<ResolvedBinding>,
    /// The provider and its settings.
    pub target: Arc<BindingTarget>,
}

/// Work that goes on without a process of this runner.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RemoteWork {
    /// The index of its node.
    pub node: NodeIx,
    /// The id of its node.
    pub id: NodeId,
    /// The attempt that was handed over; 0 where polling is all there is to do.
    pub attempt: u32,
    /// Not to be polled before this time, as recorded.
    pub due: Timestamp,
    /// How often it is polled, at most.
    pub interval: Option<std::time::Duration>,
    /// Who is asked: the provider and its settings.
    pub target: Arc<BindingTarget>,
}

/// A delivery that would follow from the approval of a Gate.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct GateProposal {
    /// The node of the gate that waits.
    pub gate: NodeId,
    /// The delivery, and who would make it.
    pub work: RemoteWork,
}

/// The result of cancelling remote work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CancelResult {
    /// The attempt.
    pub attempt: u32,
    /// What went wrong, if something did.
    pub error: Option<String>,
}

/// A gate that an execution waits at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GateRequest {
    /// The Gate resource, which may have no manifest.
    pub gate: ResourceKey,
    /// The execution.
    pub execution: ResourceKey,
    /// The gate's node.
    pub node: NodeId,
    /// The nodes that cannot go on before: the gate's own, or tasks behind it that what was approved does not cover.
    pub blocked: Vec<NodeId>,
    /// What a review has to be bound to.
    pub binding: ReviewBinding,
}

/// An Execution that works for a node.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ChildRequest {
    /// The index of the node.
    pub ix: NodeIx,
    /// The node.
    pub node: NodeId,
    /// Its attempt.
    pub attempt: u32,
    /// What the Execution runs.
    pub spec: ExecutionSpec,
    /// What was resolved for the node.
    pub binding: Arc<ResolvedBinding>,
    /// The Execution.
    pub child: ResourceKey,
    /// The commit that it starts from; known when the node starts.
    pub base: Option<String>,
}

/// Something whose change makes it worth planning an execution again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Dependency {
    /// This resource: its spec or its status.
    Resource(ResourceKey),
    /// Any Binding of this namespace.
    Bindings(Name),
}

impl Draft {
    /// Starts from a recorded status.
    #[must_use]
    pub(crate) fn new(status: ExecutionStatus) -> Self {
        Self {
            status,
            changes: Vec::new(),
            moves: Vec::new(),
            ready: Vec::new(),
            crowded: None,
            wake: None,
            gates: Vec::new(),
            children: Vec::new(),
            on: Vec::new(),
            polls: Vec::new(),
            remote_cancels: Vec::new(),
            proposals: Vec::new(),
            gated_above: false,
            expanded: false,
        }
    }

    /// Forgets what was found for the graph before it got more nodes, whose places it names. What was changed stays.
    pub(crate) fn replan(&mut self) {
        self.ready.clear();
        self.gates.clear();
        // Asked for again: nothing of them has begun.
        self.children.clear();
        self.on.clear();
        self.polls.clear();
        self.remote_cancels.clear();
        self.proposals.clear();
        self.expanded = false;
    }

    /// Applies a change, unless it does not fit; then it is left out and planning goes on with what is true.
    pub(crate) fn push(&mut self, change: Change, now: Timestamp) -> bool {
        let node = match &change {
            // Taken before the change is applied: events show from which phase a node came, and the status will not
            // know it any more.
            Change::Node(node, _) => Some((node.clone(), self.phase(node))),
            Change::Execution(_) => None,
        };
        // A person may have cancelled or decided meanwhile: what was planned from an older record is then left out, and
        // the next pass plans from the true one.
        if let Err(error) = apply(&mut self.status, &change, now) {
            tracing::debug!(%error, "left out a change that does not fit");
            return false;
        }
        if let Some((node, from)) = node
            && let Some(state) = self.status.node_statuses.get(&node)
        {
            let reason = state.extensions.reason;
            let message = state.message.clone();
            let to = state.phase;
            let attempt = state.attempt;
            // From the status after the change, not from the change: the fold decides the phase, and what is reported
            // must be what is recorded (Invariant 4).
            self.moves.push(NodeTransition { node, from, to, reason, message, attempt });
        }
        // Only what was applied is kept, so the changes of a draft replay to its status; a property test cuts the log
        // off anywhere and compares.
        self.changes.push(change);
        true
    }

    /// Puts the message of a blocked node in other words, because of what became known only after it was planned: also in what
    /// this draft does to it, which is what people are told.
    pub(crate) fn reword(&mut self, id: &NodeId, message: &str) {
        if let Some(state) = self.status.node_statuses.get_mut(id) {
            message.clone_into(&mut state.message);
        }
        for change in &mut self.changes {
            if let Change::Node(node, NodeChange::Block { message: told, .. }) = change
                && node == id
            {
                message.clone_into(told);
            }
        }
        for step in self.moves.iter_mut().filter(|step| step.node == *id && step.to == NodePhase::Blocked) {
            message.clone_into(&mut step.message);
        }
    }

    // A node that the record lacks counts as Pending here; the fold then refuses the change, and nothing is moved.
    fn phase(&self, node: &NodeId) -> NodePhase {
        self.status.node_statuses.get(node).map(|state| state.phase).unwrap_or_default()
    }

    /// Applies a change to a node.
    pub(crate) fn node(&mut self, id: &NodeId, change: NodeChange, now: Timestamp) -> bool {
        self.push(Change::Node(id.clone(), change), now)
    }

    /// Applies a change to the execution.
    pub(crate) fn execution(&mut self, change: ExecutionChange, now: Timestamp) -> bool {
        self.push(Change::Execution(change), now)
    }

    /// Blocks a node, unless it is blocked in just this way already: repeating oneself makes no commit.
    pub(crate) fn block(&mut self, id: &NodeId, reason: NodeReason, message: String, now: Timestamp) {
        let same = self.status.node_statuses.get(id).is_some_and(|state| {
            // The message counts too: "0 of 2 approvals" and "1 of 2" differ in nothing else, and people wait for just
            // that.
            state.phase == NodePhase::Blocked
                && state.extensions.reason == Some(reason)
                && state.message == message
        });
        if !same {
            self.node(id, NodeChange::block(reason, message), now);
        }
    }

    /// Plans again at this time, or earlier.
    pub(crate) fn wake_at(&mut self, at: Timestamp) {
        // The earliest only: each pass plans the whole Execution anew and finds the later times again.
        self.wake = Some(self.wake.map_or(at, |old| old.min(at)));
    }

    /// Claims a ready node for a runner. Says whether that was possible.
    pub(crate) fn start(
        &mut self,
        ready: &ReadyNode,
        basis: Option<InputFingerprint>,
        base: Option<String>,
        runner: &str,
        now: Timestamp,
    ) -> bool {
        let binding = Some(Arc::clone(&ready.binding));
        let basis = basis.map(Arc::new);
        // From the status of the draft and not from the runner's memory: the lease may have been taken in this very
        // step, and the name of the attempt must carry the token that is published with it.
        let token = self.status.extensions.lease.as_ref().map(|lease| lease.token);
        let change = NodeChange::Start { binding, basis, base, runner: runner.to_owned(), token };
        let started = self.node(&ready.id, change, now);
        // Also when the start was refused: what does not fit the record is not ready, and must not keep the lease.
        self.ready.retain(|other| other.node != ready.node);
        started
    }

    /// Starts a node whose work is an Execution of its own, on the node's `base`, or where there is none on what its own
    /// Execution began on.
    pub(crate) fn start_child(&mut self, mut request: ChildRequest, base: Option<String>, now: Timestamp) {
        let lease = self.status.extensions.lease.as_ref();
        let runner = lease.map(|lease| lease.holder.clone()).unwrap_or_default();
        let token = lease.map(|lease| lease.token);
        let binding = Some(Arc::clone(&request.binding));
        request.base = base.clone().or_else(|| self.status.start_commit().map(ToOwned::to_owned));
        if !self.node(&request.node, NodeChange::Start { binding, basis: None, base, runner, token }, now) {
            return;
        }
        // At once, in the same step: nothing of it runs here, so neither a slot nor the lease is kept for it.
        let message = format!("waits for execution/{}, which is Pending", request.child.name);
        self.block(&request.node, NodeReason::AwaitingEvent, message, now);
        self.on.push(Dependency::Resource(request.child.clone()));
        self.children.push(request);
    }
}
