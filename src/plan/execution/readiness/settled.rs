//! Which nodes of an Execution need no look: what has ended, and what waits for others, is as it was until it or one of those
//! changes. A runner keeps this between the steps of an Execution, so that a step of a plan of 10,000 nodes costs what it changes.

use std::collections::BTreeSet;

use super::{EdgeState, edge_state};
use crate::graph::NodeIx;
use crate::model::{InstanceJoin, NodeId, NodeKind, NodePhase, NodeStatus, NodeStatuses};
use crate::plan::execution::context::PlanContext;
use crate::plan::execution::draft::Draft;
use crate::run::CompiledPlan;

/// What planning remembers of one compiled plan. With none of it every node is looked at, which comes to the same (Invariant
/// 17): it may be dropped at any time.
#[derive(Debug, Default)]
pub(crate) struct SettledNodes {
    /// The nodes as they were when it was found out which of them are settled.
    seen: Option<NodeStatuses>,
    /// The places, in the order of the graph, of those that are not.
    open: BTreeSet<usize>,
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
    /// The place that is looked at.
    at: usize,
    /// How many moves of the draft are taken in.
    moves: usize,
}

impl SettledNodes {
    /// What has to be looked at now; `all` where more than nodes decides, such as an earlier Execution.
    pub(in crate::plan::execution) fn begin(
        &mut self,
        compiled: &CompiledPlan,
        draft: &Draft,
        all: bool,
    ) -> NodeQueue<'_> {
        let count = compiled.topology.order().len();
        if self.places.len() != count {
            self.learn(compiled);
        }
        let now = &draft.status.node_statuses;
        // One instance may be enough, and then the others change without being asked.
        let any = compiled.expansion.all().any(|(_, repeated)| repeated.join == InstanceJoin::Any);
        let seen = self.seen.take().filter(|_| !all && !any);
        let changed = seen.as_ref().and_then(|seen| now.changed_since(seen));
        let todo = match changed {
            Some(changed) => {
                let mut todo = std::mem::take(&mut self.open);
                for (id, _) in changed {
                    let Some(ix) = compiled.topology.find(id.as_str()) else { continue };
                    todo.extend(self.affected(ix));
                }
                todo
            }
            None => (0..count).collect(),
        };
        self.open.clear();
        // From before anything is planned: what this planning changes is looked at once more by the next. That may begin here
        // again, where the step is lost or dropped (see `end`).
        self.seen = Some(now.clone());
        NodeQueue { settled: self, todo, at: 0, moves: draft.moves.len() }
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
        *self = Self { seen: None, open: BTreeSet::new(), places, askers };
    }

    /// The places of a node and of those that ask how it is.
    fn affected(&self, ix: NodeIx) -> impl Iterator<Item = usize> + '_ {
        let askers = self.askers.get(ix).map_or(&[][..], Vec::as_slice);
        std::iter::once(ix).chain(askers.iter().copied()).filter_map(|ix| self.places.get(ix).copied())
    }
}

impl NodeQueue<'_> {
    /// The next node to look at, in the order of the graph.
    pub(in crate::plan::execution) fn next(&mut self, compiled: &CompiledPlan) -> Option<NodeIx> {
        self.at = self.todo.pop_first()?;
        compiled.topology.order().get(self.at).copied()
    }

    /// Takes in what came of a look at a node.
    pub(in crate::plan::execution) fn looked_at(&mut self, context: &PlanContext<'_>, ix: NodeIx) {
        if !is_settled(context, ix) {
            self.settled.open.insert(self.at);
        }
        let moves = context.draft.moves.get(self.moves..).unwrap_or_default();
        for moved in moves {
            let Some(moved) = context.compiled().topology.find(moved.node.as_str()) else { continue };
            // What is behind already is looked at by the next planning (see `end`).
            self.todo.extend(self.settled.affected(moved).filter(|place| *place > self.at));
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

/// Whether planning a node again comes to nothing until its own status, or that of a node which it asks, is another one.
/// Neither the time nor anything outside of the Execution may have a say in it.
fn is_settled(context: &PlanContext<'_>, ix: NodeIx) -> bool {
    let compiled = context.compiled();
    let Some(node) = compiled.node(ix) else { return true };
    // Summed up from its children alone.
    if node.kind == NodeKind::Group {
        return true;
    }
    let Some(state) = state(context, &node.id) else { return true };
    match state.phase {
        NodePhase::Pending => {
            !state.is_remote()
                && matches!(edge_state(compiled, &context.draft.status, ix), EdgeState::Waiting)
        }
        NodePhase::Running | NodePhase::Blocked => false,
        phase => phase.is_terminal(),
    }
}

fn state<'c>(context: &'c PlanContext<'_>, id: &NodeId) -> Option<&'c NodeStatus> {
    context.draft.status.node_statuses.get(id)
}
