//! What the driver does about work that goes on elsewhere: has it looked at when it is due, has it called off, and plans
//! again when the next look is due.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::EngineError;
use super::capabilities::capabilities_of;
use super::driver::Driver;
use super::elsewhere::{Looked, Times};
use super::live::Live;
use super::request::Claim;
use super::step::Prepared;
use super::world::World;
use crate::model::{NodeId, ResourceKey, Status, StatusRecord};
use crate::plan::{CalledOff, Elsewhere};

impl Driver<'_> {
    /// Starts the looks and the callings off of a step that are due, and notes when the next ones are.
    pub(super) fn see_elsewhere(
        &mut self,
        key: &ResourceKey,
        step: &mut Prepared,
        now: Timestamp,
    ) -> Result<(), EngineError> {
        let Some(program) = step.program.clone().filter(|_| has_elsewhere(step)) else { return Ok(()) };
        let record = Arc::new(record_of(step));
        let claim = |world: &World, one: &Elsewhere| {
            let capabilities = capabilities_of(world, &program, one.node)?;
            let (key, target, node, attempt) = (key.clone(), one.target.clone(), one.node, one.attempt);
            let (program, record) = (Arc::clone(&program), Arc::clone(&record));
            Ok::<_, EngineError>(Claim { key, node, attempt, target, program, record, capabilities })
        };
        let mut looks = std::mem::take(&mut step.draft.looks);
        for look in &mut looks {
            let name = Times::name(&step.metadata.uid, &look.id, look.attempt);
            look.due = self.polls.times.due(&name, look.due);
            if look.due > now {
                step.draft.wake_at(look.due);
            } else if self.leaving {
                step.draft.wake_at(now);
            } else {
                self.polls.look(claim(&self.world, look)?, look.interval);
            }
        }
        step.draft.looks = looks;
        for call_off in &step.draft.call_offs {
            if !self.leaving {
                self.polls.call_off(claim(&self.world, call_off)?);
            }
        }
        if self.leaving && !step.draft.call_offs.is_empty() {
            step.draft.wake_at(now);
        }
        Ok(())
    }

    /// Takes in what a look came to.
    pub(super) fn take_look(&mut self, key: &ResourceKey, looked: Looked) {
        self.polls.answered(key, &looked.node);
        let name = Times::name(&looked.uid, &looked.node, looked.attempt);
        self.polls.times.set(name, looked.next);
        if let Some(live) = self.live.get_mut(key) {
            live.looked.push(looked);
            live.dirty = true;
        }
    }

    /// Takes in that something was called off.
    pub(super) fn take_call_off(&mut self, key: &ResourceKey, node: NodeId, done: CalledOff) {
        self.polls.answered(key, &node);
        if let Some(live) = self.live.get_mut(key) {
            live.called_off.insert(node, done);
            live.dirty = true;
        }
    }

    /// How long until something has to be planned again because of the time alone; `most` at the most.
    pub(super) fn until_due(&self, now: Timestamp, most: Duration) -> Duration {
        let live = self.live.values().flat_map(|live| [live.renew_at, live.wake_at]).flatten();
        let wakes = self.wakes.first().map(|(at, _)| *at);
        live.chain(wakes).map(|at| super::rest::until(now, at)).fold(most, Duration::min)
    }

    /// Has everything planned again whose time has come.
    pub(super) fn wake_due(&mut self, now: Timestamp) {
        for live in self.live.values_mut() {
            live.dirty |= live.renew_at.is_some_and(|at| at <= now);
            live.dirty |= live.wake_at.take_if(|at| *at <= now).is_some();
        }
        while let Some((_, key)) = self.wakes.first().filter(|(at, _)| *at <= now).cloned() {
            self.wakes.pop_first();
            self.requeue([key]);
        }
    }
}

impl Live {
    /// Forgets what a step has taken up.
    pub(super) fn taken_up(&mut self, step: &Prepared) {
        self.finished.drain(..step.finished.min(self.finished.len()));
        self.looked.drain(..step.looked.min(self.looked.len()));
    }
}

fn has_elsewhere(step: &Prepared) -> bool {
    !step.draft.looks.is_empty() || !step.draft.call_offs.is_empty()
}

/// The status of a record that a step makes.
pub(super) fn record_of(step: &Prepared) -> StatusRecord {
    StatusRecord {
        metadata: step.metadata.clone(),
        status: Status::Execution(Box::new(step.draft.status.clone())),
    }
}
