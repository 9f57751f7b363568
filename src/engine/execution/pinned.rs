//! What an Execution runs: pinned once, and checked against what was merged before anything of it starts (Invariants 9 and
//! 14).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tracing::{info, warn};

use crate::engine::EngineError;
use crate::engine::execution::active::ActiveExecution;
use crate::engine::execution::manifest_change::removed_request;
use crate::engine::execution::step::{CheckedPin, ExecutionStep, PlannerTerms, PreparedStep};
use crate::engine::execution::waiting::{leased, wait_set};
use crate::engine::merged::MergedAnswer;
use crate::engine::snapshot::Snapshot;
use crate::engine::snapshot::approvals::{APPROVAL_VOID, void_above};
use crate::engine::snapshot::pin_check::{PinCheck, check, check_commit, node_difference, was_in_force};
use crate::engine::snapshot::sources::sources;
use crate::git::ObjectId;
use crate::index::{Declaration, WaitSet};
use crate::model::{
    Condition, ConditionStatus, ExecutionStatus, NodeId, NodeReason, NodeStatus, PIN_MISMATCH, PinnedGraph,
    ResourceKey, Waiting, after, spec_digest,
};
use crate::plan::{LeaseState, hold, lease_state};
use crate::record::PinKind;
use crate::run::{AttemptName, CompiledPlan, ExecutionChange, NodeChange, derive_phase};

/// When a pin that does not hold is looked at again by itself: the branch may have been put right, and nothing else of the
/// Execution changes by that.
const LOOK_AGAIN: Duration = Duration::from_secs(300);
/// The same where it is only not known whether it holds. Mostly a remote could not be asked for a moment, and as soon as it
/// can, the work may go on.
const ASK_AGAIN: Duration = Duration::from_secs(20);

/// Why nothing of an Execution may start.
enum Refusal {
    Mismatch(String),
    Unknown(String),
}

impl ActiveExecution {
    /// Sees to it that the compiled plan is there and was merged. Otherwise what becomes of the step instead.
    pub(super) fn pinned(
        &mut self,
        snapshot: &Snapshot,
        declared: Option<&Declaration>,
        mut step: PreparedStep,
        (planner, local_attempts): (PlannerTerms<'_>, &BTreeSet<AttemptName>),
    ) -> Result<Result<PreparedStep, ExecutionStep>, EngineError> {
        let Some(pinned) = step.draft.status.extensions.pinned.clone() else {
            return self.pin(snapshot, declared, step, planner);
        };
        let status = &step.draft.status;
        let now = CheckedPin {
            desired: snapshot.desired.id,
            uid: step.metadata.uid.clone(),
            spec_hash: status.spec_hash.clone(),
            pinned,
        };
        let refusal = match self.check(snapshot, &step, &now)? {
            // The pin is that of the plan. Which instances its nodes have is for the record to say, within its bounds.
            PinCheck::Holds(compiled) => match compiled.of_status(&step.draft.status) {
                Ok(compiled) => {
                    let difference = self.difference(&compiled, &step.draft.status);
                    self.compiled = Some(compiled);
                    self.checked = Some(now.clone());
                    difference.map(Refusal::Mismatch)
                }
                Err(error) => Some(Refusal::Mismatch(error.to_string())),
            },
            PinCheck::Mismatch(why) => Some(Refusal::Mismatch(why)),
            PinCheck::Unknown(why) => Some(Refusal::Unknown(why)),
            PinCheck::Lost(why) => {
                // Held, not failed: somebody may put the files back, and a failure is for good (Invariant 10).
                step.draft = hold(&step.draft.status, "PinnedManifestLost", &why, Vec::new(), planner.now);
                return Ok(Err(held(step)));
            }
        };
        let Some(refusal) = refusal else {
            step.noted |= forget_mismatch(&mut step.draft.status);
            return Ok(Ok(step));
        };
        let removed = declared.is_none() && !planner.holding_back;
        let same = self
            .checked
            .as_ref()
            .is_some_and(|checked| CheckedPin { desired: now.desired, ..checked.clone() } == now);
        if same && (local_attempts.iter().any(|attempt| attempt.uid == now.uid) || !self.finished.is_empty())
        {
            return self.only_ends(snapshot, step, &refusal, planner);
        }
        Ok(Err(match refusal {
            Refusal::Mismatch(why) => self.mismatched(snapshot, step, &why, removed, planner),
            Refusal::Unknown(why) => self.unknown(snapshot, why, planner.now),
        }))
    }

    /// How the nodes of the record differ from those of the plan.
    fn difference(&mut self, compiled: &Arc<CompiledPlan>, status: &ExecutionStatus) -> Option<String> {
        // Which nodes there are hardly ever changes, and each step asks.
        let known = self.has_known_nodes(compiled, &status.node_statuses);
        let difference = if known { None } else { node_difference(compiled, status) };
        if difference.is_none() {
            // The newest ones, which the next ones share most with.
            self.keep_known_nodes(compiled, &status.node_statuses);
        }
        difference
    }

    /// The cheapest check that is enough.
    fn check(
        &self,
        snapshot: &Snapshot,
        step: &PreparedStep,
        now: &CheckedPin,
    ) -> Result<PinCheck, EngineError> {
        if let (Some(compiled), Some(checked)) = (&self.compiled, &self.checked) {
            if checked == now {
                return Ok(PinCheck::Holds(Arc::clone(compiled)));
            }
            if *now == (CheckedPin { desired: now.desired, ..checked.clone() }) {
                // Only the branch moved on. What the commit holds is known.
                return Ok(match check_commit(snapshot, &now.pinned)? {
                    MergedAnswer::Yes => PinCheck::Holds(Arc::clone(compiled)),
                    MergedAnswer::No(why) => PinCheck::Mismatch(why),
                    MergedAnswer::Unknown(why) => PinCheck::Unknown(why),
                });
            }
        }
        check(snapshot, &self.key, &step.metadata, &step.draft.status, &now.pinned)
    }

    /// Pins what is declared now, and its plan.
    fn pin(
        &mut self,
        snapshot: &Snapshot,
        declared: Option<&Declaration>,
        mut step: PreparedStep,
        planner: PlannerTerms<'_>,
    ) -> Result<Result<PreparedStep, ExecutionStep>, EngineError> {
        let now = planner.now;
        let Some(declared) = declared else {
            // It was never started, so there is nothing to cancel.
            step.draft.status.extensions.cancel.get_or_insert_with(|| removed_request(now));
            let gone = ExecutionChange::Hold { reason: "ManifestRemoved".into(), message: String::new() };
            step.draft.execution(gone, now);
            derive_phase(None, &mut step.draft.status, now);
            return Ok(Err(held(step)));
        };
        let (compiled, pins) = match sources(snapshot, &self.key, declared)? {
            Ok(found) => found,
            Err((reason, message, on)) => {
                return Ok(Err(held(held_back(step, reason, &message, on, now))));
            }
        };
        if let Some((why, on)) = held_from_above(snapshot, &self.key, declared, &compiled.plan_key)? {
            return Ok(Err(held(held_back(step, APPROVAL_VOID, &why, on, now))));
        }
        let goal = compiled.goal.as_ref().map(|(key, _)| key.clone());
        let graph = PinnedGraph {
            commit: snapshot.desired.id.to_string(),
            plan: compiled.plan_key.clone(),
            graph_digest: compiled.digest.clone(),
            goal,
        };
        match doubt(snapshot, declared, &self.key, &graph, &pins)? {
            MergedAnswer::Yes => {}
            MergedAnswer::No(why) => {
                return Ok(Err(held(held_back(step, PIN_MISMATCH, &why, Vec::new(), now))));
            }
            MergedAnswer::Unknown(why) => return Ok(Err(self.unknown(snapshot, why, now))),
        }
        // Nothing of it has started, so a newer spec replaces the one that was seen first; from here on it is immutable.
        let spec_hash = match declared.derived {
            true => {
                step.draft.status.extensions.spec = Some(Box::new(compiled.spec.clone()));
                spec_digest(&compiled.spec)
            }
            false => declared.spec_digest.clone(),
        };
        step.draft.status.spec_hash = Some(spec_hash.clone());
        step.draft.status.conditions.retain(|condition| condition.kind != "SpecChanged");
        // The digest goes along, since approvals are for this graph and no other (Invariant 11).
        let nodes = Arc::clone(&compiled.ids);
        step.draft.execution(ExecutionChange::Pin { graph: graph.clone(), nodes }, now);
        step.pins = Some(pins);
        self.compiled = Some(Arc::new(compiled));
        self.checked = Some(CheckedPin {
            desired: snapshot.desired.id,
            uid: step.metadata.uid.clone(),
            spec_hash: Some(spec_hash),
            pinned: graph,
        });
        Ok(Ok(step))
    }

    /// What was begun before the pin came into doubt ends as it ends, and nothing new starts.
    fn only_ends(
        &mut self,
        snapshot: &Snapshot,
        mut step: PreparedStep,
        refusal: &Refusal,
        planner: PlannerTerms<'_>,
    ) -> Result<Result<PreparedStep, ExecutionStep>, EngineError> {
        let Some(compiled) = self.compiled.clone() else { return Ok(Err(ExecutionStep::Idle(None))) };
        step.compiled = Some(Arc::clone(&compiled));
        if let Some(until) = self.lease(snapshot, &mut step, planner) {
            return Ok(Err(ExecutionStep::Idle(Some(leased(&self.key, &step.draft.status, until)))));
        }
        self.apply_ended(snapshot, &compiled, &mut step)?;
        let again = match refusal {
            Refusal::Mismatch(why) => {
                step.noted |= note_mismatch(&mut step.draft.status, why, planner.now);
                LOOK_AGAIN
            }
            Refusal::Unknown(_) => {
                snapshot.merged.awaited_by(&self.key);
                ASK_AGAIN
            }
        };
        step.draft.wake_at(after(planner.now, again));
        Ok(Err(step.into_go()))
    }

    /// Blocks an Execution whose pin does not hold. Nothing that its record names is fetched, planned or run.
    fn mismatched(
        &mut self,
        snapshot: &Snapshot,
        mut step: PreparedStep,
        why: &str,
        removed: bool,
        planner: PlannerTerms<'_>,
    ) -> ExecutionStep {
        (self.compiled, self.checked) = (None, None);
        let now = planner.now;
        let lease = step.draft.status.extensions.lease.clone();
        let seen = snapshot.sightings.first_seen(&step.metadata.uid, lease.as_ref(), now);
        match lease_state(lease.as_ref(), planner.runner, planner.terms, seen, now) {
            // Its runner comes to the same answer, and may have work to end.
            LeaseState::Held(until) => {
                return ExecutionStep::Idle(Some(leased(&self.key, &step.draft.status, until)));
            }
            LeaseState::Mine(token) => {
                step.draft.execution(ExecutionChange::ReleaseLease { token }, now);
            }
            LeaseState::Free => {}
        }
        if step.draft.status.phase.is_terminal() {
            // It ended before anybody doubted it, and stays ended (Invariant 10); only a dead runner's lease goes.
            step.noted |= step.draft.status.extensions.lease.take().is_some();
            return step.into_go();
        }
        if note_mismatch(&mut step.draft.status, why, now) {
            warn!(execution = %self.key, why, "block execution: its pin does not hold");
            step.noted = true;
        }
        if removed {
            step.draft.status.extensions.cancel.get_or_insert_with(|| removed_request(now));
        }
        if step.draft.status.extensions.cancel.is_some() {
            cancel_all(&mut step, now);
        }
        step.noted |= derive_phase(None, &mut step.draft.status, now);
        step.draft.wake_at(after(now, LOOK_AGAIN));
        if step.draft.changes.is_empty() && !step.noted {
            return ExecutionStep::Idle(Some(wait_set(&step.draft, Some(&self.key))));
        }
        step.into_go()
    }

    /// Leaves an Execution until the history is here that it takes to go on.
    pub(super) fn unknown(&self, snapshot: &Snapshot, why: String, now: Timestamp) -> ExecutionStep {
        info!(execution = %self.key, why, "wait for history of the desired branch");
        snapshot.merged.awaited_by(&self.key);
        self.asked_again("HistoryUnavailable", why, now)
    }

    /// Leaves an Execution as it is recorded until what could not be had is asked for again.
    pub(super) fn asked_again(&self, reason: &str, why: String, now: Timestamp) -> ExecutionStep {
        let until = after(now, ASK_AGAIN);
        let mut waits = WaitSet { wake: Some(until), ..WaitSet::default() };
        waits.waiting.push(Waiting { until: Some(until), ..Waiting::of(self.key.clone(), reason, why) });
        ExecutionStep::Idle(Some(waits))
    }
}

/// Why an Execution that does a node is not pinned, and what it waits for: its plan was compared with what was approved when the
/// node started, and something may have been merged since.
fn held_from_above(
    snapshot: &Snapshot,
    key: &ResourceKey,
    declared: &Declaration,
    plan: &ResourceKey,
) -> Result<Option<(String, Vec<ResourceKey>)>, EngineError> {
    let void = if declared.derived { void_above(snapshot, key)? } else { None };
    Ok(void.map(|void| {
        info!(execution = %key, ?void, "leave an execution unpinned: what was approved above is void");
        let on = [void.gate.clone(), plan.clone()].into_iter().chain(declared.owners.iter().cloned());
        (void.told_below(), on.collect())
    }))
}

/// Whether what is about to be pinned was merged. What stands in the desired commit was; the last valid version of what is broken
/// there may come from the status branch.
fn doubt(
    snapshot: &Snapshot,
    declared: &Declaration,
    key: &ResourceKey,
    graph: &PinnedGraph,
    pins: &[(PinKind, ObjectId)],
) -> Result<MergedAnswer, EngineError> {
    for (kind, blob) in pins {
        let key = match kind {
            PinKind::Plan => &graph.plan,
            PinKind::Goal => graph.goal.as_ref().unwrap_or(key),
            PinKind::Owner => declared.owners.first().unwrap_or(key),
            PinKind::Execution | PinKind::Manifest => key,
        };
        if snapshot.declared(key)?.is_some_and(|declared| declared.quarantined.is_some()) {
            let answer = was_in_force(snapshot, snapshot.desired.id, key, *blob)?;
            if answer != MergedAnswer::Yes {
                return Ok(answer);
            }
        }
    }
    Ok(MergedAnswer::Yes)
}

fn held_back(
    mut step: PreparedStep,
    reason: &str,
    message: &str,
    on: Vec<ResourceKey>,
    now: Timestamp,
) -> PreparedStep {
    let mut held = hold(&step.draft.status, reason, message, on, now);
    // A held draft starts from the status alone. What this step changed before, as queueing the Execution, stays in front.
    let mut changes = std::mem::take(&mut step.draft.changes);
    changes.append(&mut held.changes);
    held.changes = changes;
    step.draft = held;
    step
}

/// A step of an execution that cannot be pinned yet.
fn held(step: PreparedStep) -> ExecutionStep {
    if step.draft.changes.is_empty() && !step.noted {
        return ExecutionStep::Idle(Some(wait_set(&step.draft, None)));
    }
    step.into_go()
}

/// Ends every node, because nobody may look after them any more. The binding of work elsewhere was chosen for a pin that does not
/// hold, so its provider is not asked.
fn cancel_all(step: &mut PreparedStep, now: Timestamp) {
    let nodes: Vec<NodeId> = step.draft.status.node_statuses.keys().cloned().collect();
    for node in nodes {
        let away = step.draft.status.node_statuses.get(&node).is_some_and(NodeStatus::is_remote);
        let note =
            if away { "; its remote work is not cancelled, because the pin does not hold" } else { "" };
        let message = format!("cancelled{note}");
        step.draft.node(&node, NodeChange::Cancel { reason: NodeReason::CancelRequested, message }, now);
    }
}

fn note_mismatch(status: &mut ExecutionStatus, why: &str, now: Timestamp) -> bool {
    Condition::set(
        &mut status.conditions,
        Condition {
            kind: PIN_MISMATCH.to_owned(),
            status: ConditionStatus::True,
            reason: "NotMerged".to_owned(),
            message: why.to_owned(),
            last_transition_time: now,
            observed_generation: status.observed_generation,
        },
    )
}

fn forget_mismatch(status: &mut ExecutionStatus) -> bool {
    let before = status.conditions.len();
    status.conditions.retain(|condition| condition.kind != PIN_MISMATCH);
    status.conditions.len() != before
}
