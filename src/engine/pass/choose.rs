//! Which of the ready nodes of all Executions start now: the scheduler's choice within the limits of runner, providers and
//! namespaces, and the claims that follow from it.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use jiff::Timestamp;
use tracing::{debug, warn};

use super::driver::Driver;
use crate::engine::EngineError;
use crate::engine::attempt::base::{NodeBase, ResultConflict};
use crate::engine::attempt::factory::AttemptFactory;
use crate::engine::execution::conflict::{ConflictStep, rerun_later};
use crate::engine::execution::quota::{NamespaceQuota, crowds, hold_back};
use crate::engine::execution::step::{ExecutionStep, PreparedStep};
use crate::engine::snapshot::Snapshot;
use crate::engine::snapshot::gate_in_force::in_force;
use crate::engine::snapshot::lookup::capabilities_of;
use crate::git::GitError;
use crate::graph::NodeIx;
use crate::model::{GateSpec, Name, NodeId, NodePhase, NodeReason, ResourceKey, after, work_branch};
use crate::plan::{
    Capacity, PULL_REQUEST, StartCandidate, fingerprint, schedule, shown_branch, with_conflict,
};
use crate::record::results_ref;
use crate::run::NodeChange;

/// After how long a base is tried again that could not be made here, such as without a network.
const BASE_PAUSE: Duration = Duration::from_secs(30);

/// A candidate, known by the place of its step and by its node.
type StartRequest<'c> = StartCandidate<'c, (usize, NodeIx)>;

impl Driver<'_> {
    /// Picks the nodes that start, and claims them.
    pub(super) fn choose(
        &mut self,
        steps: &mut [(ResourceKey, ExecutionStep)],
        now: Timestamp,
    ) -> Result<(), EngineError> {
        let slots = self.slots();
        // Counting what is under way in limited namespaces reads every active record, which a round that
        // starts nothing must not pay for.
        if slots == 0 || !steps.iter().any(|(_, step)| has_ready(step)) {
            return Ok(());
        }
        let crowds = crowds(&self.snapshot, self.queue.active(), steps, &self.options.runner)?;
        // Limits of providers hold for this runner alone. Those of namespaces hold for all runners, so they
        // are counted from records.
        let limits = self.snapshot.config.providers.limits.clone();
        let room = crowds.iter().map(|(name, crowd)| (name.clone(), crowd.room())).collect();
        let capacity = Capacity { slots, limits, running: self.attempts.by_provider(), room };
        let chosen = schedule(self.candidates(steps, now), &capacity);
        self.start(steps, chosen, &crowds, now)
    }

    /// Every node that could start.
    fn candidates<'s>(
        &self,
        steps: &'s [(ResourceKey, ExecutionStep)],
        now: Timestamp,
    ) -> Vec<StartRequest<'s>> {
        let mut candidates = Vec::new();
        for (index, (key, step)) in steps.iter().enumerate() {
            let ExecutionStep::Go(step) = step else { continue };
            let priority = self.queue.get(key).map_or(0, |active| active.priority);
            let queued = step.draft.status.queued_time.unwrap_or(now);
            for ready in &step.draft.ready {
                let provider = ready.target.provider.as_str();
                let namespace = &key.namespace;
                let rank = ready.rank;
                let item = (index, ready.node);
                candidates.push(StartCandidate { priority, rank, queued, provider, namespace, item });
            }
        }
        candidates
    }

    /// Claims what was picked. What waits for the attempts of other runners alone is left to when they end.
    fn start(
        &mut self,
        steps: &mut [(ResourceKey, ExecutionStep)],
        chosen: Vec<(usize, NodeIx)>,
        crowds: &BTreeMap<Name, NamespaceQuota>,
        now: Timestamp,
    ) -> Result<(), EngineError> {
        let mut picked: BTreeMap<usize, Vec<NodeIx>> = BTreeMap::new();
        let mut begun: BTreeMap<Name, u32> = BTreeMap::new();
        for (index, node) in chosen {
            picked.entry(index).or_default().push(node);
            if let Some((key, _)) = steps.get(index) {
                *begun.entry(key.namespace.clone()).or_default() += 1;
            }
        }
        for (index, nodes) in picked {
            let Some((_, ExecutionStep::Go(step))) = steps.get_mut(index) else { continue };
            start_picked(&self.snapshot, self.attempts.factory(), step, &nodes, &self.options.runner, now)?;
        }
        for (key, step) in steps {
            let ExecutionStep::Go(step) = step else { continue };
            // A namespace in which something starts here is planned again when that ends. One that is full of
            // others' attempts can only wait for theirs.
            let here = begun.get(&key.namespace).copied().unwrap_or_default();
            if let Some(crowd) = crowds.get(&key.namespace).filter(|crowd| here == 0 && crowd.is_others()) {
                hold_back(key, &mut step.draft, crowd);
            }
        }
        Ok(())
    }
}

fn has_ready(step: &ExecutionStep) -> bool {
    matches!(step, ExecutionStep::Go(step) if !step.draft.ready.is_empty())
}

/// What a node works on.
fn base_of(factory: &AttemptFactory, step: &PreparedStep, ix: NodeIx) -> Result<NodeBase, GitError> {
    let Some(compiled) = &step.compiled else { return Ok(NodeBase::Pinned) };
    let state = compiled.ids.get(ix).and_then(|id| step.draft.status.node_statuses.get(id));
    if let Some(rework) = state.and_then(|state| state.extensions.rework.as_ref()) {
        // On top of what was reviewed, which holds the results of every node before the delivery.
        let request = &rework.request;
        return match &request.conflicts_with {
            None => Ok(NodeBase::Commit(request.commit.clone())),
            Some(branch) => {
                let start = step.draft.status.start_commit().unwrap_or_default();
                factory.workspaces().conflicting((&compiled.key, start), &request.commit, branch)
            }
        };
    }
    factory.workspaces().base(compiled, &step.draft.status, ix, &results_ref(&compiled.key))
}

/// Records at every gate that waits which commit it asks about, the branch that shows it, and who owns its files where the gate
/// asks that. A gate without files before it gets no branch.
pub(super) fn show_work(
    snapshot: &Snapshot,
    factory: &AttemptFactory,
    step: &mut PreparedStep,
    now: Timestamp,
) -> Result<(), EngineError> {
    let Some(compiled) = step.compiled.clone() else { return Ok(()) };
    let mut requests = std::mem::take(&mut step.draft.gates);
    let mut rerun = false;
    for request in &mut requests {
        let found = compiled.topology.find(request.node.as_str());
        let Some(ix) = found.filter(|_| is_asked(step, &request.node)) else { continue };
        let asks = asks_owners(snapshot, &request.gate)?;
        let status = &step.draft.status;
        let known = status.node_statuses.get(&request.node);
        let known = known.and_then(|state| state.extensions.owners.as_deref());
        let workspaces = factory.workspaces();
        let reference = results_ref(&compiled.key);
        let found = base_of(factory, step, ix).and_then(|shown| {
            let owners = asks.then(|| workspaces.file_owners(status, &shown, known, &reference));
            Ok((shown, owners.transpose()?))
        });
        let (shown, owners) = match found {
            Ok(found) => found,
            // Nobody is an owner then, until a pass can read them.
            Err(error) => {
                warn!(node = %request.node, %error, "a gate cannot show what it asks about");
                continue;
            }
        };
        // Before anybody is asked: the approval would be void as soon as one of them has run again.
        if let NodeBase::Conflict(conflict) = &shown
            && let ConflictStep::Rerun(_) =
                rerun_later(snapshot, step, (&conflict.earlier, &conflict.later), now)?
        {
            rerun = true;
            continue;
        }
        note_conflict(step, &request.node, &shown);
        let Some(state) = step.draft.status.node_statuses.get_mut(&request.node) else { continue };
        if state.extensions.owners.as_deref() != owners.as_ref() {
            state.extensions.owners = owners.clone().map(Box::new);
            step.noted = true;
        }
        // What is asked was put together before they were known, and people compare its digest.
        if let Some(subject) = &mut request.binding.subject {
            subject.owners = owners;
        }
        let NodeBase::Commit(base) = shown else { continue };
        if state.extensions.base.as_ref() != Some(&base) {
            state.extensions.base = Some(base);
            state.extensions.work_branch = Some(work_branch(&compiled.key, &request.node));
            step.noted = true;
        }
    }
    // A gate that was reset asks when it is its turn again.
    requests.retain(|request| is_asked(step, &request.node));
    step.draft.gates = requests;
    if rerun {
        step.draft.wake_at(now);
    }
    Ok(())
}

/// Whether a gate is still to be asked, and was not reset because of another one. It may have been passed, where a task after it
/// asks again.
fn is_asked(step: &PreparedStep, gate: &NodeId) -> bool {
    let state = step.draft.status.node_statuses.get(gate);
    state.is_some_and(|state| state.phase != NodePhase::Pending)
}

/// Notes at a gate what keeps it from showing anything, or that nothing does any more.
fn note_conflict(step: &mut PreparedStep, gate: &NodeId, shown: &NodeBase) {
    let state = step.draft.status.node_statuses.get_mut(gate);
    let Some(state) = state.filter(|state| state.phase == NodePhase::Blocked) else { return };
    let conflict = match shown {
        NodeBase::Conflict(conflict) => Some(conflict.what.clone()),
        NodeBase::Pinned | NodeBase::Commit(_) => None,
    };
    if state.extensions.conflict == conflict {
        return;
    }
    // As planning will say it the next time, which must find nothing new then (Invariant 5).
    let old = with_conflict("", state.extensions.conflict.as_deref());
    let message = state.message.strip_suffix(&old).unwrap_or(&state.message);
    let message = with_conflict(message, conflict.as_deref());
    state.extensions.conflict = conflict;
    step.draft.reword(gate, &message);
    step.noted = true;
}

/// Whether the version of a gate that decides has owners of files among its reviewers.
fn asks_owners(snapshot: &Snapshot, gate: &ResourceKey) -> Result<bool, EngineError> {
    let record = snapshot.record(gate)?;
    let version = in_force(snapshot, gate, record.as_deref())?;
    Ok(version.spec().is_some_and(GateSpec::asks_code_owners))
}

/// What becomes of a node whose results before it conflict. Whether it stays ready: then something runs again first, which is
/// marked in `again`, or has to end first.
fn on_conflict(
    snapshot: &Snapshot,
    step: &mut PreparedStep,
    (id, conflict): (&NodeId, ResultConflict),
    again: &mut [bool],
    now: Timestamp,
) -> Result<bool, EngineError> {
    match rerun_later(snapshot, step, (&conflict.earlier, &conflict.later), now)? {
        ConflictStep::Rerun(nodes) => {
            for (flag, node) in again.iter_mut().zip(nodes) {
                *flag |= node;
            }
        }
        ConflictStep::Wait => {}
        ConflictStep::Person => {
            let reason = NodeReason::MergeConflict;
            let message = conflict.message();
            let block = NodeChange::block(reason, message);
            step.draft.node(id, block, now);
            return Ok(false);
        }
    }
    // So that it, and what runs again, is planned at once.
    Ok(true)
}

/// Starts the nodes whose work is an Execution of its own, each on its base. The Execution is made in the same commit, so that
/// there never is one without the other (Invariant 4).
pub(super) fn start_children(
    snapshot: &Snapshot,
    factory: &AttemptFactory,
    step: &mut PreparedStep,
    now: Timestamp,
) -> Result<(), EngineError> {
    let mut again = vec![false; step.compiled.as_ref().map_or(0, |compiled| compiled.ids.len())];
    for request in std::mem::take(&mut step.draft.children) {
        if again.get(request.ix).copied().unwrap_or_default() {
            continue;
        }
        let base = match base_of(factory, step, request.ix) {
            Ok(NodeBase::Pinned) => None,
            Ok(NodeBase::Commit(commit)) => Some(commit),
            Ok(NodeBase::Conflict(conflict)) => {
                let waits = on_conflict(snapshot, step, (&request.node, conflict), &mut again, now)?;
                // Where something has to end first, its end wakes the Execution: at once, this would turn in a circle.
                if waits && again.contains(&true) {
                    step.draft.wake_at(now);
                }
                continue;
            }
            // As for every other node: it stays as it is, for a later pass or another runner.
            Err(error) => {
                warn!(node = %request.node, %error, "no base for a plan: the results before it cannot be merged here");
                step.draft.wake_at(after(now, BASE_PAUSE));
                continue;
            }
        };
        debug!(node = %request.node, execution = %request.child, ?base, "start the execution of a node");
        step.draft.start_child(request, base, now);
    }
    Ok(())
}

/// Starts the picked ones among the ready nodes, in the order in which they were picked.
fn start_picked(
    snapshot: &Snapshot,
    factory: &AttemptFactory,
    step: &mut PreparedStep,
    nodes: &[NodeIx],
    runner: &str,
    now: Timestamp,
) -> Result<(), EngineError> {
    let place: HashMap<NodeIx, usize> =
        nodes.iter().enumerate().map(|(place, node)| (*node, place)).collect();
    let ready = std::mem::take(&mut step.draft.ready);
    let (mut chosen, mut left): (Vec<_>, Vec<_>) =
        ready.into_iter().partition(|ready| place.contains_key(&ready.node));
    chosen.sort_by_key(|ready| place.get(&ready.node).copied());
    let mut again = vec![false; step.compiled.as_ref().map_or(0, |compiled| compiled.ids.len())];
    for ready in chosen {
        // It stands on what runs again first.
        if again.get(ready.node).copied().unwrap_or_default() {
            left.push(ready);
            continue;
        }
        // Taken at the claim and recorded with it: the work key and a later reuse compare with what the
        // attempt was begun with.
        let basis = match &step.compiled {
            Some(compiled) => {
                let capabilities = capabilities_of(snapshot, compiled, ready.node)?;
                fingerprint(compiled, &step.draft.status, ready.node, &capabilities, &ready.target)
            }
            None => None,
        };
        // A start that does not fit any more, because this draft cancelled the node, becomes no claim.
        let base = match base_of(factory, step, ready.node) {
            Ok(NodeBase::Pinned) => None,
            Ok(NodeBase::Commit(commit)) => Some(commit),
            Ok(NodeBase::Conflict(conflict)) => {
                if on_conflict(snapshot, step, (&ready.id, conflict), &mut again, now)? {
                    left.push(ready);
                }
                continue;
            }
            // This machine's fault and not the work's: the node stays ready, for the next pass or another runner.
            Err(error) => {
                warn!(node = %ready.id, %error, "no base for a node: the results before it cannot be merged here");
                left.push(ready);
                continue;
            }
        };
        let offered = base.as_ref().filter(|_| ready.target.provider.starts_with(PULL_REQUEST));
        let branch = offered.zip(step.compiled.as_ref()).map(|(base, compiled)| {
            // That of a gate which has shown this very commit: its pull request is open already, and was reviewed.
            let shown = shown_branch(compiled, &step.draft.status, ready.node, base);
            shown.map_or_else(|| work_branch(&compiled.key, &ready.id), str::to_owned)
        });
        if step.draft.start(&ready, basis, base, runner, now) {
            // The branch moves in the same push as the claim: whoever opens the pull request finds it there.
            if let Some(state) = step.draft.status.node_statuses.get_mut(&ready.id) {
                state.extensions.work_branch = branch;
            }
            debug!(node = %ready.id, provider = ready.target.provider, rank = ready.rank, "claim node");
            step.targets.insert(ready.node, ready.target);
        }
    }
    // What got no slot stays ready, which makes the Execution hungry: it is planned again as soon as a slot
    // is free.
    step.draft.ready = left;
    Ok(())
}
