//! Which nodes of an Execution need no look: what has ended, what runs here, and what waits for others or for a slot, is as it was
//! until it or one of those changes. A runner keeps this between the steps of an Execution, so that a step of a plan of 10,000 nodes
//! costs what it changes.

use std::collections::{BTreeMap, BTreeSet};

use super::{EdgeState, edge_state};
use crate::graph::NodeIx;
use crate::model::{
    InstanceJoin, Node, NodeExtensions, NodeId, NodeKind, NodePhase, NodeStatus, NodeStatuses,
};
use crate::plan::execution::context::PlanContext;
use crate::plan::execution::draft::Draft;
use crate::run::{AttemptName, CompiledPlan};

/// What planning remembers of one compiled plan. With none of it every node is looked at, which comes to the same (Invariant
/// 17): it may be dropped at any time.
#[derive(Debug, Default)]
pub(crate) struct SettledNodes {
    /// The nodes as they were when it was found out which of them are settled.
    seen: Option<NodeStatuses>,
    /// The places, in the order of the graph, of those that are not.
    open: BTreeSet<usize>,
    /// The places of tasks that may start as far as nodes and time have a say. What surrounds the Execution is asked in each step.
    ready: BTreeSet<usize>,
    /// The places of those that run here, each with its attempt: one that this process knows no more of is lost.
    running: BTreeMap<usize, AttemptName>,
    /// For each node its place.
    places: Vec<usize>,
    /// For each node those that ask how it is: what its edges lead to, what reads it, and the groups that hold it.
    askers: Vec<Vec<NodeIx>>,
}

/// The nodes that one planning has yet to look at.
#[derive(Debug)]
pub(in crate::plan::execution) struct NodeQueue<'s> {
    settled: &'s mut SettledNodes,
    /// Places in the order of the graph.
    todo: BTreeSet<usize>,
    /// The first place behind the one that is looked at.
    rest: usize,
    /// How many moves of the draft are taken in.
    moves: usize,
}

/// What is asked of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::plan::execution) enum Look {
    /// Everything.
    Whole,
    /// Only whether it may start now: nothing that comes before this question has changed.
    Start,
}

impl SettledNodes {
    /// What has to be looked at now.
    pub(in crate::plan::execution) fn begin(&mut self, context: &PlanContext<'_>) -> NodeQueue<'_> {
        let compiled = context.compiled();
        let count = compiled.topology.order().len();
        if self.places.len() != count {
            self.learn(compiled);
        }
        let now = &context.draft.status.node_statuses;
        // Where more than nodes decides: an earlier Execution; and where one instance is enough, so that the others change without
        // being asked.
        let any = compiled.expansion.all().any(|(_, repeated)| repeated.join == InstanceJoin::Any);
        let all = any || context.view.reuse.is_some();
        let seen = self.seen.take().filter(|_| !all);
        let changed = seen.as_ref().and_then(|seen| now.changed_since(seen));
        let todo = match changed {
            Some(changed) => {
                let mut todo = std::mem::take(&mut self.open);
                for (id, _) in changed {
                    let Some(ix) = compiled.topology.find(id.as_str()) else { continue };
                    todo.extend(self.affected(ix));
                }
                let lost = self.running.iter().filter(|(_, attempt)| !runs_here(context, attempt));
                todo.extend(lost.map(|(place, _)| *place));
                todo
            }
            None => (0..count).collect(),
        };
        self.open.clear();
        // From before anything is planned: what this planning changes is looked at once more by the next. That may begin here
        // again, where the step is lost or dropped (see `end`).
        self.seen = Some(now.clone());
        NodeQueue { settled: self, todo, rest: 0, moves: context.draft.moves.len() }
    }

    fn learn(&mut self, compiled: &CompiledPlan) {
        let order = compiled.topology.order();
        let mut places = vec![0; order.len()];
        let mut askers = compiled.topology.holders();
        for (place, &ix) in order.iter().enumerate() {
            if let Some(known) = places.get_mut(ix) {
                *known = place;
            }
            for &read in compiled.reads(ix) {
                if let Some(list) = askers.get_mut(read) {
                    list.push(ix);
                }
            }
            if let Some(list) = askers.get_mut(ix) {
                list.extend(compiled.topology.targets(ix).map(|(target, _)| target));
            }
        }
        *self = Self { places, askers, ..Self::default() };
    }

    /// The places of a node and of those that ask how it is.
    fn affected(&self, ix: NodeIx) -> impl Iterator<Item = usize> + '_ {
        let askers = self.askers.get(ix).map_or(&[][..], Vec::as_slice);
        std::iter::once(ix).chain(askers.iter().copied()).filter_map(|ix| self.places.get(ix).copied())
    }
}

impl NodeQueue<'_> {
    /// The next node to look at, in the order of the graph, and what is asked of it.
    pub(in crate::plan::execution) fn next(&mut self, compiled: &CompiledPlan) -> Option<(NodeIx, Look)> {
        let ready = self.settled.ready.range(self.rest..).next().copied();
        let whole = self.todo.first().copied().filter(|place| ready.is_none_or(|ready| *place <= ready));
        let (place, look) = match whole {
            Some(place) => {
                self.todo.remove(&place);
                // Found out anew.
                self.settled.ready.remove(&place);
                self.settled.running.remove(&place);
                (place, Look::Whole)
            }
            None => (ready?, Look::Start),
        };
        self.rest = place + 1;
        Some((*compiled.topology.order().get(place)?, look))
    }

    /// Takes in what came of a look at a node.
    pub(in crate::plan::execution) fn looked_at(
        &mut self,
        context: &PlanContext<'_>,
        (ix, look): (NodeIx, Look),
    ) {
        // One that may not start any more was moved, and is looked at as a whole by the next planning (see `end`).
        if look == Look::Whole {
            self.settled.keep(context, ix);
        }
        let moves = context.draft.moves.get(self.moves..).unwrap_or_default();
        for moved in moves {
            let Some(moved) = context.compiled().topology.find(moved.node.as_str()) else { continue };
            // What is behind already is looked at by the next planning (see `end`).
            self.todo.extend(self.settled.affected(moved).filter(|place| *place >= self.rest));
        }
        self.moves = context.draft.moves.len();
    }

    /// Every node is looked at. A step that is lost or dropped leaves the status as it was, and with it those for which something
    /// was decided: that they have ended in the draft says nothing then.
    pub(in crate::plan::execution) fn end(self, compiled: &CompiledPlan, draft: &Draft) {
        let begun = self.settled.seen.as_ref();
        let changed = begun.and_then(|begun| draft.status.node_statuses.changed_since(begun));
        let Some(changed) = changed else {
            // A list became known: the graph is another one from here on.
            *self.settled = SettledNodes::default();
            return;
        };
        let changed = changed.into_iter().filter_map(|(id, _)| compiled.topology.find(id.as_str()));
        let places: Vec<usize> = changed.flat_map(|ix| self.settled.affected(ix)).collect();
        self.settled.open.extend(places);
    }
}

impl SettledNodes {
    /// Keeps for how long planning a node again comes to what it came to now.
    fn keep(&mut self, context: &PlanContext<'_>, ix: NodeIx) {
        let compiled = context.compiled();
        let (Some(node), Some(&place)) = (compiled.node(ix), self.places.get(ix)) else { return };
        // A group is summed up from its children alone.
        let state = state(context, &node.id).filter(|_| node.kind != NodeKind::Group);
        let Some(state) = state.filter(|state| !state.phase.is_terminal()) else { return };
        match state.phase {
            NodePhase::Pending if !state.is_remote() => {
                match edge_state(compiled, &context.draft.status, ix) {
                    // Until its own status, or that of a node which it asks, is another one.
                    EdgeState::Waiting => return,
                    EdgeState::Open if is_ready(compiled, node, state, ix) => {
                        self.ready.insert(place);
                        return;
                    }
                    EdgeState::Open | EdgeState::Blocked { .. } => {}
                }
            }
            NodePhase::Running if !state.is_remote() => {
                let attempt = AttemptName::of(context.view.uid, &node.id, state);
                if runs_here(context, &attempt) {
                    self.running.insert(place, attempt);
                    return;
                }
            }
            _ => {}
        }
        // The time, or something outside of the Execution, may have a say in it.
        self.open.insert(place);
    }
}

/// Whether a task whose edges are open comes to the question who does it, and neither a condition nor the time has a say in that.
fn is_ready(compiled: &CompiledPlan, node: &Node, state: &NodeStatus, ix: NodeIx) -> bool {
    let NodeExtensions { retry_at, blocked_since, .. } = &state.extensions;
    node.kind == NodeKind::Task
        && compiled.when(ix).is_none()
        && !compiled.expansion.awaits_list(&node.id)
        && retry_at.is_none()
        && blocked_since.is_none()
}

/// Whether this process has an attempt under way, so that it is not one of a lost runner.
fn runs_here(context: &PlanContext<'_>, attempt: &AttemptName) -> bool {
    attempt.uid == context.view.uid && context.view.local_attempts.contains(attempt)
}

fn state<'c>(context: &'c PlanContext<'_>, id: &NodeId) -> Option<&'c NodeStatus> {
    context.draft.status.node_statuses.get(id)
}
