//! What the driver does about remote work: polls it when that is due, and has it cancelled.

use std::sync::Arc;

use jiff::Timestamp;
use tracing::{debug, trace};

use super::driver::Driver;
use crate::engine::EngineError;
use crate::engine::attempt::factory::Claim;
use crate::engine::execution::active::ActiveExecution;
use crate::engine::execution::step::PreparedStep;
use crate::engine::message::PollResult;
use crate::engine::snapshot::Snapshot;
use crate::engine::snapshot::lookup::capabilities_of;
use crate::model::{NodeId, ResourceKey, ResourceStatus};
use crate::plan::{CancelResult, GateProposal, RemoteWork, shown_branch};

impl Driver<'_> {
    /// Starts the polls and cancellations of a step that are due, and notes when the next ones are.
    pub(super) fn start_polls(
        &mut self,
        key: &ResourceKey,
        step: &mut PreparedStep,
        now: Timestamp,
    ) -> Result<(), EngineError> {
        let Some(compiled) = step.compiled.clone().filter(|_| has_remote_work(step)) else { return Ok(()) };
        // The record as this step leaves it: a handle that it has just changed is the one to ask about.
        let record = Arc::new(step.record());
        let claim = |snapshot: &Snapshot, work: &RemoteWork| {
            let capabilities = capabilities_of(snapshot, &compiled, work.node)?;
            Ok::<_, EngineError>(Claim {
                key: key.clone(),
                node: work.node,
                attempt: work.attempt,
                target: work.target.clone(),
                compiled: Arc::clone(&compiled),
                record: Arc::clone(&record),
                capabilities,
                // What is asked moves no branch.
                lifted: Vec::new(),
            })
        };
        let leaving = self.asks_nobody();
        let mut polls = std::mem::take(&mut step.draft.polls);
        for poll in &mut polls {
            // A poll that learns nothing is not recorded, so this machine may know of a later one than the
            // record does.
            poll.due = self.polls.due(&step.metadata.uid, &poll.id, poll.attempt, poll.due);
            if poll.due > now {
                trace!(execution = %key, node = %poll.id, due = %poll.due, "next poll");
                step.draft.wake_at(poll.due);
            } else if leaving {
                // The next reconcile finds it due at once.
                step.draft.wake_at(now);
            } else {
                // Unclaimed: asking changes nothing, and of two runners that ask at once one records the end.
                self.polls.poll(claim(&self.snapshot, poll)?, poll.interval);
            }
        }
        step.draft.polls = polls;
        if leaving && !step.draft.remote_cancels.is_empty() {
            step.draft.wake_at(now);
        }
        for cancel in step.draft.remote_cancels.iter().filter(|_| !leaving) {
            self.polls.cancel(claim(&self.snapshot, cancel)?);
        }
        Ok(())
    }

    /// Whether no provider is asked for anything now: a later reconcile does that.
    fn asks_nobody(&self) -> bool {
        self.shutdown.is_leaving() || self.options.dry_run
    }

    /// Has people shown what deliveries behind gates would hand over. Only what is published is shown: the branch is moved by
    /// the push that records the wait (Invariant 4).
    pub(super) fn show_proposals(
        &mut self,
        key: &ResourceKey,
        step: &mut PreparedStep,
        now: Timestamp,
    ) -> Result<(), EngineError> {
        let Some(compiled) = step.compiled.clone().filter(|_| !step.draft.proposals.is_empty()) else {
            return Ok(());
        };
        if self.asks_nobody() {
            // Else the Execution would wait for its Gate alone, and nobody would be shown what the Gate asks about.
            step.draft.wake_at(now);
            return Ok(());
        }
        if self.lane.unpublished_base(key).is_some() {
            return Ok(());
        }
        for GateProposal { gate, work } in step.draft.proposals.clone() {
            let status = &step.draft.status;
            // A gate without files before it has no branch, and a delivery of nothing opens nothing.
            let gate = status.node_statuses.get(&gate).map(|state| &state.extensions);
            let Some(base) = gate.and_then(|gate| gate.base.clone()) else { continue };
            let shown = shown_branch(&compiled, status, work.node, &base);
            let Some(branch) = shown.map(str::to_owned) else { continue };
            let due = self.polls.due(&step.metadata.uid, &work.id, &base, now);
            if due > now {
                step.draft.wake_at(due);
                continue;
            }
            let mut record = step.record();
            // As the claim will have it: what is shown is what would be delivered.
            if let ResourceStatus::Execution(status) = &mut record.status
                && let Some(state) = status.node_statuses.get_mut(&work.id)
            {
                state.extensions.base = Some(base.clone());
                state.extensions.work_branch = Some(branch);
            }
            let claim = Claim {
                key: key.clone(),
                node: work.node,
                attempt: work.attempt,
                target: work.target,
                compiled: Arc::clone(&compiled),
                record: Arc::new(record),
                capabilities: capabilities_of(&self.snapshot, &compiled, work.node)?,
                lifted: Vec::new(),
            };
            self.polls.propose(claim, base);
        }
        Ok(())
    }

    /// Takes in the result of a poll.
    pub(super) fn take_poll_result(&mut self, key: &ResourceKey, result: PollResult) {
        let learned = result.report.is_some();
        debug!(execution = %key, node = %result.node, attempt = result.attempt, learned, next = %result.next, "polled");
        self.polls.polled(&result);
        if let Some(active) = self.queue.get_mut(key) {
            if result.shown.is_some() {
                // That an earlier one was taken back says nothing about this one, which has no number of its own.
                active.remote_cancelled.remove(&result.node);
            }
            // Where nobody drives the Execution any more, the result is dropped: the next poll learns the
            // same.
            active.poll_results.push(result);
            active.dirty = true;
        }
    }

    /// Takes in whether remote work was cancelled.
    pub(super) fn take_cancel_result(
        &mut self,
        key: &ResourceKey,
        uid: &str,
        node: NodeId,
        done: CancelResult,
    ) {
        debug!(execution = %key, %node, error = done.error, "cancelled remote work");
        self.polls.answered(uid, &node);
        // An Execution that was deleted and written again has remote work of its own, under the same numbers.
        let same = |active: &&mut ActiveExecution| {
            active.record.as_ref().is_some_and(|record| record.metadata.uid == uid)
        };
        if let Some(active) = self.queue.get_mut(key).filter(same) {
            active.remote_cancelled.insert(node, done);
            active.dirty = true;
        }
    }
}

fn has_remote_work(step: &PreparedStep) -> bool {
    !step.draft.polls.is_empty() || !step.draft.remote_cancels.is_empty()
}
