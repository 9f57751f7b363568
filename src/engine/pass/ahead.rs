//! Going ahead of publication, in `adaptive` mode: while the budget of pushes is spent, a node may start under the
//! published lease of its Execution alone. What is planned here is published later, in order and as a whole; until then it
//! is shown to nobody (Invariant 4).
//!
//! Several runners share the work of one remote: an Execution is leased with its first claim and let go when nothing of it runs
//! here. While the budget runs short, or others share it, a runner leases ahead what it expects to finish before its next turn,
//! and at most its fair share.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;
use tracing::{debug, debug_span, info};

use super::assemble::claims_of;
use super::driver::Driver;
use crate::config::PublishMode;
use crate::engine::EngineError;
use crate::engine::execution::active::ActiveExecution;
use crate::engine::execution::step::{ExecutionStep, PreparedStep};
use crate::engine::execution::waiting::is_leased;
use crate::engine::snapshot::lookup::SnapshotLookup;
use crate::graph::NodeIx;
use crate::model::{
    BindingTarget, ExecutionPhase, ExecutionStatus, NodeKind, NodeTrait, ResourceKey, StatusRecord,
};
use crate::plan::{SharedWork, finish};
use crate::provider::has_worker;
use crate::run::{Change, CompiledPlan};

/// For how long ends of attempts gather before a step that goes ahead. Such a step takes a fifth of a millisecond.
const GATHER_AHEAD: Duration = Duration::from_millis(5);

impl Driver<'_> {
    /// Plans and starts what may go ahead of its publication.
    pub(super) async fn go_ahead(&mut self) -> Result<WentAhead, EngineError> {
        let adaptive = self.snapshot.config.publish.mode == PublishMode::Adaptive;
        // A job of a workflow reads the claim from the branch, so that nothing is local.
        let elsewhere = has_worker(&self.snapshot.config.providers.sections);
        // A runner that is about to leave starts nothing whose claim it may not get published any more.
        if !adaptive || elsewhere || self.shutdown.takes_no_work() {
            return Ok(WentAhead { started: false, asks: true, takes_up: true });
        }
        // Nothing waits for this step while what is claimed keeps every slot busy. One for each end took a tenth of the processor time
        // of a plan of 10,000 nodes in layers.
        if self.attempts.last_for(GATHER_AHEAD * 2) {
            self.gather(Instant::now() + GATHER_AHEAD, GATHER_AHEAD * 2).await;
        }
        if !self.tips.is_fresh() {
            // A cancellation or a takeover has to be seen before work starts that nobody else knows of.
            self.read_tips().await?;
        }
        let now = self.clock.now();
        let _span = debug_span!("go_ahead").entered();
        let (mut steps, found) = self.prepare_ahead(now)?;
        // Before slots are given out: a node that has to be published first must not take one from a node
        // that need not.
        let secrets = !self.snapshot.config.providers.secrets.is_empty();
        let held = hold_back_ready(&mut steps, secrets);
        self.choose(&mut steps, now)?;
        let mut kept = Vec::new();
        for (index, (key, step)) in steps.into_iter().enumerate() {
            let ExecutionStep::Go(mut step) = step else { continue };
            // What was held back is ready as well, and the next commit has to offer it a slot.
            let hungry = !step.draft.ready.is_empty() || held.contains(&index);
            if self.keep_unpublished(&key, &mut step, hungry, now) {
                kept.push((key, step));
            }
        }
        // With the kept records, which no commit holds yet: attempts get their names from them, and are
        // recognised as under way when the claims are published later.
        let claims = claims_of(&self.snapshot, &kept, &self.lane.unpublished().puts)?;
        for claim in claims {
            info!(execution = %claim.key, node = claim.node, attempt = claim.attempt, "start ahead of publication");
            self.attempts.claim(claim);
        }
        self.attempts.pump();
        Ok(WentAhead { started: !kept.is_empty(), ..found })
    }

    /// Whether somebody or something waits for the next commit, beside those who look at the records of work that goes on.
    pub(super) fn is_awaited(&self, WentAhead { asks, takes_up, .. }: WentAhead) -> bool {
        // In a local repository a commit costs nobody anything.
        if asks || !self.tips.is_remote() {
            return self.queue.has_work();
        }
        // Nothing is left that could go on without it, such as at the end of all work; or a slot is free for what nobody leases.
        self.attempts.is_idle() || (takes_up && self.attempts.room(Duration::ZERO) > 0)
    }

    /// Prepares the Executions under a published lease of this runner to which something happened. Nothing has started yet.
    fn prepare_ahead(
        &mut self,
        now: Timestamp,
    ) -> Result<(Vec<(ResourceKey, ExecutionStep)>, WentAhead), EngineError> {
        let room = self.attempts.room(Duration::ZERO) > 0;
        if room {
            // What others have changed is looked at before a free slot is a reason to publish: most of it is theirs.
            self.admit()?;
        }
        let runner = self.options.runner.clone();
        let planner = self.planner(&runner, now);
        let slots = self.slots() > 0;
        let workspaces = self.attempts.factory().workspaces();
        let lookup = SnapshotLookup::new(&self.snapshot, self.attempts.registry(), workspaces);
        let limits = &self.snapshot.config.limits;
        let (mut steps, mut idle, mut asks, mut takes_up) = (Vec::new(), Vec::new(), false, false);
        for (key, active) in self.queue.active_in_turn() {
            let leased = active.token(&runner).is_some();
            takes_up |= active.hungry && !leased;
            // One that can be taken up is enough, and each is planned again when it is.
            if takes_up && room && !leased {
                continue;
            }
            let wanted = active.dirty || (active.hungry && slots && leased);
            if !wanted {
                continue;
            }
            // How much of a limit is taken is known from what is published; unpublished starts would exceed it.
            let limited = limits.of_namespace(key.namespace.as_str()).is_some();
            // The lease is all that protects such a start, so it has to be published and must not be due for
            // renewal.
            if limited || !active.may_go_ahead() || (leased && active.needs_renewal(now)) {
                asks = true;
                continue;
            }
            // A step that is dropped here leaves its Execution dirty, and the next commit plans it again.
            match active.prepare(&lookup, planner, &self.attempts.of(key))? {
                ExecutionStep::Go(step) if leased && is_local(&step) => {
                    steps.push((key.clone(), ExecutionStep::Go(step)));
                }
                ExecutionStep::Go(step) => {
                    asks |= leased || asks_somebody(&step);
                    takes_up |= !leased;
                }
                // Others work on it: their commits are no reason for one of this runner.
                ExecutionStep::Idle(waits) if !leased => idle.push((key.clone(), waits)),
                ExecutionStep::Idle(_) | ExecutionStep::Remove => {}
            }
        }
        lookup.check()?;
        for (key, waits) in idle {
            self.queue.park(&key, waits);
        }
        Ok((steps, WentAhead { started: false, asks, takes_up }))
    }

    /// Keeps a step for the next publication, and goes on from it. A step that has to be published first stays undone: the
    /// Execution is still dirty, and the next commit plans it again.
    fn keep_unpublished(
        &mut self,
        key: &ResourceKey,
        step: &mut PreparedStep,
        hungry: bool,
        now: Timestamp,
    ) -> bool {
        let Some(compiled) = &step.compiled else { return false };
        let before = step.draft.status.phase;
        // `false` keeps the lease while a node is ready: giving it back is for others to see, and would have
        // to be published.
        let moved = finish(&mut step.draft, compiled, false, now);
        // That it begins follows from its first node: else what is leased ahead would have to be published once more before
        // anything of it could start.
        let begins = before == ExecutionPhase::Pending && step.draft.status.phase == ExecutionPhase::Running;
        step.noted |= moved && !begins;
        // The end of an Execution, or giving its lease back, is for others to see.
        if step.draft.changes.is_empty() || !is_local(step) {
            return false;
        }
        let Some(active) = self.queue.get_mut(key) else { return false };
        let base = active.record.clone();
        let old = active.status().map(|status| status.phase);
        let record = self.lane.keep_unpublished(base, old, step, now);
        debug!(execution = %key, changes = step.draft.changes.len(), "kept for the next publication");
        // From here on it is planned on what it will be. The published record is kept beside it, to see
        // whether others change it.
        active.record = Some(record);
        active.taken_up_ahead(step);
        active.dirty = false;
        active.hungry = hungry;
        active.wake_at = step.draft.wake.filter(|&at| at > now);
        true
    }

    /// Goes back to what is published of an Execution whose content the remote refused; from here on nothing of it goes
    /// ahead. Whether attempts are made again that were started ahead and have ended.
    pub(super) fn withdraw_ahead(&mut self, key: &ResourceKey) -> bool {
        let Some(base) = self.lane.withdraw(key) else { return false };
        info!(execution = %key, "withdraw what was not published: the remote refuses it");
        let Some(active) = self.queue.get_mut(key) else { return false };
        let again = active.withdraw_to(base);
        self.attempts.stop_where(key, |attempt| active.runs(attempt));
        again
    }

    /// Whether the record of an Execution was changed by others since this runner went ahead of it. What it planned on the
    /// old record is withdrawn then. True also where nothing was planned ahead.
    pub(super) fn withdraw_if_changed(
        &mut self,
        key: &ResourceKey,
        recorded: Option<&Arc<StatusRecord>>,
    ) -> bool {
        match self.lane.unpublished_base(key) {
            // By content and not by commit: others move the branch all the time, for Executions of their own.
            Some(base) if base.as_ref() == recorded => false,
            Some(_) => {
                info!(execution = %key, "withdraw what was not published: others changed the record");
                self.lane.withdraw(key);
                // On the record as others left it, what has ended since has still ended.
                self.queue.get_mut(key).map(ActiveExecution::restore_ends);
                true
            }
            None => true,
        }
    }
}

impl Driver<'_> {
    /// Chooses which Executions keep their lease although nothing of them runs yet. No further ones are leased by a commit that
    /// would not `speak` of anything else: as long as every slot is busy, that push would be wasted.
    pub(super) fn lease_ahead(&mut self, steps: &mut [(ResourceKey, ExecutionStep)], speaks: bool) {
        let horizon = self.lane.lease_horizon();
        let adaptive = self.snapshot.config.publish.mode == PublishMode::Adaptive;
        // Alone, with tokens left, the next claim is published soon enough.
        if horizon.is_zero() || !adaptive || self.shutdown.takes_no_work() {
            return;
        }
        // A machine that cannot do the work would renew these leases for as long as its disk is full.
        if self.attempts.health().illness().is_some() {
            return;
        }
        let secrets = !self.snapshot.config.providers.secrets.is_empty();
        let mut tasks = self.attempts.within(horizon);
        let here = |key: &ResourceKey| steps.iter().any(|(other, _)| other == key);
        // Those that this commit does not touch are leased, and stay so.
        let leased = self
            .queue
            .active()
            .iter()
            .filter(|(key, active)| active.token(&self.options.runner).is_some() && !here(key));
        let mut held = 0_usize;
        for (_, active) in leased {
            held += 1;
            tasks = tasks.saturating_sub(active.status().map_or(0, unfinished));
        }
        let work = self.shared_work(steps, held);
        let (share, mut intake) = (work.share(), work.intake());
        let price = self.lane.price_of_a_push();
        let mut least = price.map_or(0, |price| work.worth_a_push(self.attempts.within(price)));
        for (key, step) in steps.iter_mut() {
            let ExecutionStep::Go(step) = step else { continue };
            let left = unfinished(&step.draft.status);
            let runs = step.draft.status.node_statuses.has(NodeTrait::UnderWay);
            let is_within = held < share && left <= tasks;
            let is_wanted = match step.acquired {
                true => speaks && (least > 0 || (intake > 0 && is_within)),
                false => is_within,
            };
            let is_kept = runs || (is_wanted && goes_ahead(step, secrets));
            if !is_kept {
                continue;
            }
            held += 1;
            tasks = tasks.saturating_sub(left);
            if step.acquired {
                intake = intake.saturating_sub(1);
                least = least.saturating_sub(left);
            }
            step.held = !runs;
            debug!(execution = %key, runs, left, "keep the lease until the next turn");
        }
        debug!(horizon_ms = horizon.as_millis(), ?work, share, held, "lease ahead");
    }

    /// The work that all runners share, of which this one leases so much beside these steps.
    fn shared_work(&mut self, steps: &[(ResourceKey, ExecutionStep)], held: usize) -> SharedWork {
        let (mut open, mut free, mut free_tasks) = (held + self.queue.waiting(), 0, 0);
        for (_, step) in steps {
            // Those of other runners count too: a share is one of all that is open, or the last of sixteen to come would get a
            // sixteenth of what the others left.
            open += usize::from(is_open(step) || is_leased_elsewhere(step));
            if let ExecutionStep::Go(prepared) = step
                && prepared.acquired
                && is_open(step)
            {
                free += 1;
                free_tasks += unfinished(&prepared.draft.status);
            }
        }
        let (runners, is_growing) = (self.lane.runners(), self.lane.is_growing());
        SharedWork { open, free, free_tasks, runners, is_growing }
    }
}

/// What became of an attempt to go ahead of publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WentAhead {
    /// Something was planned, and may have started.
    pub(super) started: bool,
    /// Something that somebody waits for has to be published first.
    pub(super) asks: bool,
    /// There is an Execution that nobody leases, for which a slot that is free is a reason to publish.
    pub(super) takes_up: bool,
}

/// Whether a step changes nothing but nodes, and asks nothing of anybody.
fn is_local(step: &PreparedStep) -> bool {
    let draft = &step.draft;
    // Pins, gates, polls and cancellations are seen outside of this process, so a step that has any is
    // published first.
    step.pins.is_none()
        && !step.noted
        && !asks_somebody(step)
        && draft.changes.iter().all(|change| matches!(change, Change::Node(..)))
}

/// Leaves only nodes ready that may start ahead. Says in which steps others had to be left out.
fn hold_back_ready(steps: &mut [(ResourceKey, ExecutionStep)], secrets: bool) -> Vec<usize> {
    let mut held = Vec::new();
    for (index, (_, step)) in steps.iter_mut().enumerate() {
        let ExecutionStep::Go(step) = step else { continue };
        let Some(compiled) = step.compiled.clone() else { continue };
        let before = step.draft.ready.len();
        // A gate before the node that an Execution works for stands before all of its nodes.
        let above = step.draft.gated_above;
        step.draft
            .ready
            .retain(|ready| !above && may_go_ahead(&compiled, ready.node, &ready.target, secrets));
        if step.draft.ready.len() < before {
            held.push(index);
        }
    }
    held
}

/// Whether a node may start although its claim is not published: it can be done twice, it is a process of this machine
/// that gets none of the secrets that the configuration declares, and no person was asked before it.
fn may_go_ahead(compiled: &CompiledPlan, node: NodeIx, target: &BindingTarget, secrets: bool) -> bool {
    let Some(found) = compiled.node(node) else { return false };
    let config = &target.config;
    let local = match target.provider.split_once("://") {
        Some(("tool", _)) => true,
        // An agent at an address is no process of this machine: nothing here could end it with the lease.
        Some(("agent", _)) => config.contains_key("command"),
        _ => false,
    };
    // Without the setting, a task gets all of them. Something that is no list counts as secrets: being wrong costs one
    // publication.
    let none = config.get("secrets").and_then(|names| names.as_array()).is_some_and(Vec::is_empty);
    let secret = if config.contains_key("secrets") { !none } else { secrets };
    local && !secret && found.kind == NodeKind::Task && found.repeatable() && !is_behind_gate(compiled, node)
}

/// Whether a gate stands before a node, whatever the phase of that: a commit that this runner has not read may have voided the
/// approval, and only a published claim races with it (Invariant 11).
// From what is known of the whole plan: a search backwards from each ready node would pass over all of a large plan again and again.
fn is_behind_gate(compiled: &CompiledPlan, node: NodeIx) -> bool {
    // What runs at the end comes after every gate.
    let last = compiled.node(node).is_some_and(|node| node.finally);
    let gates = if last { compiled.gates() } else { compiled.gates_before(node) };
    !gates.is_empty()
}

/// Whether a step is for others to see at once: people, other Executions, services.
fn asks_somebody(step: &PreparedStep) -> bool {
    let draft = &step.draft;
    !draft.gates.is_empty()
        || !draft.children.is_empty()
        || !draft.polls.is_empty()
        || !draft.remote_cancels.is_empty()
}

fn is_open(step: &ExecutionStep) -> bool {
    match step {
        ExecutionStep::Go(step) => {
            !step.draft.ready.is_empty() || step.draft.status.node_statuses.has(NodeTrait::UnderWay)
        }
        ExecutionStep::Idle(_) | ExecutionStep::Remove => false,
    }
}

/// Whether another runner works on the Execution of a step.
fn is_leased_elsewhere(step: &ExecutionStep) -> bool {
    matches!(step, ExecutionStep::Idle(Some(waits)) if is_leased(waits))
}

/// How many nodes have not ended.
fn unfinished(status: &ExecutionStatus) -> usize {
    status.node_statuses.values().filter(|node| !node.phase.is_terminal()).count()
}

/// Whether all that is ready of an Execution could start under its lease alone. Of another one, nothing would be done before the
/// next turn, while others could do it.
fn goes_ahead(step: &PreparedStep, secrets: bool) -> bool {
    let Some(compiled) = &step.compiled else { return false };
    let ready = &step.draft.ready;
    !ready.is_empty()
        && !step.draft.gated_above
        && ready.iter().all(|ready| may_go_ahead(compiled, ready.node, &ready.target, secrets))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::NodeId;

    #[test]
    fn what_comes_after_a_gate_is_behind_it_however_far() {
        let graph = serde_json::json!({
            "nodes": [
                {"id": "before", "kind": "Task"}, {"id": "gate", "kind": "Gate", "gateRef": {"name": "g"}},
                {"id": "group", "kind": "Group", "children": ["inner"]}, {"id": "inner", "kind": "Task"},
                {"id": "after", "kind": "Task"}, {"id": "beside", "kind": "Task"},
                {"id": "last", "kind": "Task", "finally": true}
            ],
            "edges": [
                {"from": "before", "to": "gate"}, {"from": "gate", "to": "inner"}, {"from": "group", "to": "after"}
            ]
        });
        let compiled = CompiledPlan::of_graph(&graph);
        let behind = compiled
            .ids
            .iter()
            .filter(|id| is_behind_gate(&compiled, compiled.topology.find(id.as_str()).unwrap()));
        let behind: Vec<&str> = behind.map(NodeId::as_str).collect();
        assert_eq!(behind, ["group", "inner", "after", "last"]);
    }
}
