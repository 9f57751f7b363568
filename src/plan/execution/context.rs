//! The planning context: all that planning one node reads and writes, and the few ways in which it may write.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::draft::{Dependency, Draft, ReadyNode};
use super::lookup::{ApprovalAbove, ApprovalGap, ExecutionView, PlanLookup};
use super::outcome::LONGEST_DELAY;
use crate::graph::NodeIx;
use crate::model::{
    BindingTarget, JsonMap, Kind, Node, NodeId, NodePhase, NodeReason, NodeStatus, ResolvedBinding, after,
};
use crate::run::{CompiledPlan, Evidence, NodeChange};

/// How long a node waits at most before it is seen whether history could be fetched. Where it could not, the reason is recorded.
const HISTORY_PAUSE: Duration = Duration::from_secs(20);

/// What planning an Execution works with: the pinned plan, what surrounds it, the draft, and one reading of the clock.
pub(super) struct PlanContext<'a> {
    pub(super) view: ExecutionView<'a>,
    pub(super) lookup: &'a dyn PlanLookup,
    pub(super) draft: &'a mut Draft,
    /// Read once for the whole pass: two nodes must not disagree about whether a time has passed.
    pub(super) now: Timestamp,
    /// The gates that were passed, as far as somebody asked in this planning: why the approvals of one do not cover what
    /// would run now.
    pub(super) passed: HashMap<NodeIx, Option<ApprovalGap>>,
    /// What was approved above the Execution, once somebody asked.
    pub(super) above: Option<Option<ApprovalAbove>>,
}

impl<'a> PlanContext<'a> {
    pub(super) fn compiled(&self) -> &'a CompiledPlan {
        self.view.compiled
    }

    pub(super) fn node(&self, ix: NodeIx) -> Option<&'a Node> {
        self.view.compiled.node(ix)
    }

    pub(super) fn state(&self, id: &NodeId) -> Option<&NodeStatus> {
        self.draft.status.node_statuses.get(id)
    }

    pub(super) fn phase(&self, ix: NodeIx) -> NodePhase {
        self.view.compiled.phase_of(&self.draft.status, ix)
    }

    /// When the pause before the next attempt or poll of a node is over, as recorded. The clock that wrote the time may have
    /// been wrong, so it makes nobody wait for longer than pauses last (Invariant 16): where what came before the pause lies
    /// in the future too, a time beyond the longest pause has come. A service may ask for a longer one, and is believed
    /// where the record is of a sane clock.
    pub(super) fn due(&self, state: &NodeStatus) -> Option<Timestamp> {
        let at = state.extensions.retry_at?;
        // Both were written by the clock that wrote the pause. A long pause alone proves nothing, since a service may
        // have asked for it.
        let began = state.start_time.max(state.extensions.blocked_since);
        let from_the_future = began.is_some_and(|began| began > after(self.now, LONGEST_DELAY));
        Some(if from_the_future && at > after(self.now, LONGEST_DELAY) { self.now } else { at })
    }

    pub(super) fn change(&mut self, id: &NodeId, change: NodeChange) {
        self.draft.node(id, change, self.now);
    }

    /// Succeeds a node that no provider worked for.
    pub(super) fn succeed(&mut self, id: &NodeId, message: String) {
        // Without outputs and evidence: gates and resources that are waited for give none.
        let change = NodeChange::Succeed {
            reason: None,
            message,
            outputs: JsonMap::new(),
            evidence: Evidence::default(),
        };
        self.change(id, change);
    }

    pub(super) fn fail(&mut self, id: &NodeId, reason: NodeReason, message: String) {
        self.change(id, NodeChange::Fail { reason, message, evidence: Evidence::default() });
    }

    pub(super) fn skip(&mut self, id: &NodeId, reason: NodeReason, message: String) {
        self.change(id, NodeChange::Skip { reason, message });
    }

    pub(super) fn block(&mut self, id: &NodeId, reason: NodeReason, message: String) {
        self.draft.block(id, reason, message, self.now);
    }

    /// Offers a node to the scheduler. A suspended Execution goes on with what runs and starts nothing.
    pub(super) fn offer(
        &mut self,
        ix: NodeIx,
        node: &Node,
        binding: Arc<ResolvedBinding>,
        target: Arc<BindingTarget>,
    ) {
        // Here and not in the scheduler: a suspended Execution has no ready nodes, so it also gives its lease back as
        // soon as nothing of it runs.
        if self.draft.status.extensions.suspend.is_none() {
            let rank = self.compiled().topology.rank(ix);
            self.draft.ready.push(ReadyNode { node: ix, id: node.id.clone(), rank, binding, target });
        }
    }

    /// Plans the Execution again once any Binding changes that its nodes may be resolved with.
    pub(super) fn wait_for_all_bindings(&mut self) {
        let spec = &self.compiled().spec;
        let home = &self.compiled().key.namespace;
        self.draft.on.push(Dependency::Bindings(home.clone()));
        let named = spec.node_bindings.values().chain(&spec.binding_ref);
        let named = named.map(|reference| Dependency::Resource(reference.key(Kind::Binding, home)));
        self.draft.on.extend(named);
    }

    /// Plans the Execution again once a Binding changes that the node may be resolved with. Any Binding of the namespace
    /// counts: the one that is missing now may be created under a name that nothing mentions yet.
    pub(super) fn wait_for_bindings(&mut self, node: &Node) {
        let compiled = self.compiled();
        // The namespace of the Execution: that is where `default` is searched for and where references of the spec
        // point.
        let home = &compiled.key.namespace;
        self.draft.on.push(Dependency::Bindings(home.clone()));
        // The named ones in addition, because they may be of other namespaces.
        let named = compiled.spec.node_bindings.get(&node.id).into_iter().chain(&compiled.spec.binding_ref);
        let named = named.map(|reference| Dependency::Resource(reference.key(Kind::Binding, home)));
        self.draft.on.extend(named);
    }

    /// Plans the Execution again once it is known what the node may be resolved with.
    pub(super) fn wait_for_history(&mut self, node: &Node) {
        self.wait_for_bindings(node);
        // Whoever waits comes back when the history is here; this is for a fetch that fails.
        self.draft.wake_at(after(self.now, HISTORY_PAUSE));
    }
}
