//! What the driver does about work that goes on elsewhere: has it looked at when it is due, has it called off, and plans
//! again when the next look is due.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::EngineError;
use super::active::ActiveExecution;
use super::attempt_factory::Claim;
use super::capabilities::capabilities_of;
use super::driver::Driver;
use super::poll_result::{PollResult, PollTimes};
use super::snapshot::Snapshot;
use super::step::PreparedStep;
use crate::model::{NodeId, ResourceKey, ResourceStatus, StatusRecord};
use crate::plan::{CancelResult, RemoteWork};

impl Driver<'_> {
    /// Starts the looks and the callings off of a step that are due, and notes when the next ones are.
    pub(super) fn see_elsewhere(
        &mut self,
        key: &ResourceKey,
        step: &mut PreparedStep,
        now: Timestamp,
    ) -> Result<(), EngineError> {
        let Some(compiled) = step.compiled.clone().filter(|_| has_elsewhere(step)) else { return Ok(()) };
        let record = Arc::new(record_of(step));
        let claim = |snapshot: &Snapshot, one: &RemoteWork| {
            let capabilities = capabilities_of(snapshot, &compiled, one.node)?;
            let (key, target, node, attempt) = (key.clone(), one.target.clone(), one.node, one.attempt);
            let (compiled, record) = (Arc::clone(&compiled), Arc::clone(&record));
            Ok::<_, EngineError>(Claim { key, node, attempt, target, compiled, record, capabilities })
        };
        let mut looks = std::mem::take(&mut step.draft.polls);
        for look in &mut looks {
            let name = PollTimes::name(&step.metadata.uid, &look.id, look.attempt);
            look.due = self.polls.times.due(&name, look.due);
            if look.due > now {
                step.draft.wake_at(look.due);
            } else if self.leaving {
                step.draft.wake_at(now);
            } else {
                self.polls.look(claim(&self.snapshot, look)?, look.interval);
            }
        }
        step.draft.polls = looks;
        for call_off in &step.draft.remote_cancels {
            if !self.leaving {
                self.polls.call_off(claim(&self.snapshot, call_off)?);
            }
        }
        if self.leaving && !step.draft.remote_cancels.is_empty() {
            step.draft.wake_at(now);
        }
        Ok(())
    }

    /// Takes in what a look came to.
    pub(super) fn take_look(&mut self, key: &ResourceKey, looked: PollResult) {
        self.polls.answered(key, &looked.node);
        let name = PollTimes::name(&looked.uid, &looked.node, looked.attempt);
        self.polls.times.set(name, looked.next);
        if let Some(active) = self.active.get_mut(key) {
            active.poll_results.push(looked);
            active.dirty = true;
        }
    }

    /// Takes in that something was called off.
    pub(super) fn take_call_off(&mut self, key: &ResourceKey, node: NodeId, done: CancelResult) {
        self.polls.answered(key, &node);
        if let Some(active) = self.active.get_mut(key) {
            active.remote_cancelled.insert(node, done);
            active.dirty = true;
        }
    }

    /// How long until something has to be planned again because of the time alone; `most` at the most.
    pub(super) fn until_due(&self, now: Timestamp, most: Duration) -> Duration {
        let active = self.active.values().flat_map(|active| [active.renew_at, active.wake_at]).flatten();
        let wakes = self.wakes.first().map(|(at, _)| *at);
        active.chain(wakes).map(|at| super::idle::until(now, at)).fold(most, Duration::min)
    }

    /// Has everything planned again whose time has come.
    pub(super) fn wake_due(&mut self, now: Timestamp) {
        for active in self.active.values_mut() {
            active.dirty |= active.renew_at.is_some_and(|at| at <= now);
            active.dirty |= active.wake_at.take_if(|at| *at <= now).is_some();
        }
        while let Some((_, key)) = self.wakes.first().filter(|(at, _)| *at <= now).cloned() {
            self.wakes.pop_first();
            self.requeue([key]);
        }
    }
}

impl ActiveExecution {
    /// Forgets what a step has taken up.
    pub(super) fn taken_up(&mut self, step: &PreparedStep) {
        self.finished.drain(..step.finished.min(self.finished.len()));
        self.poll_results.drain(..step.polled.min(self.poll_results.len()));
    }
}

fn has_elsewhere(step: &PreparedStep) -> bool {
    !step.draft.polls.is_empty() || !step.draft.remote_cancels.is_empty()
}

/// The status of a record that a step makes.
pub(super) fn record_of(step: &PreparedStep) -> StatusRecord {
    StatusRecord {
        metadata: step.metadata.clone(),
        status: ResourceStatus::Execution(Box::new(step.draft.status.clone())),
    }
}
