//! What has to be planned and when: resources that wait for their turn, Executions that are being driven, and how the
//! others were left until the index takes that in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tracing::{debug, trace};

use super::waits::places::{ExecutionRank, WaitingExecutions};
use super::waits::unsaved::UnsavedWaits;
use crate::engine::execution::active::ActiveExecution;
use crate::engine::execution::waiting::is_leased;
use crate::index::{Topic, WaitSet};
use crate::model::{Kind, NodePhase, NodeTrait, ResourceKey, StatusRecord};

/// How many Executions are driven at a time. Each one costs memory and a place in every plan, so the others wait.
const WINDOW: usize = 1_000;

/// Resources that have to be planned, and Executions that are being driven.
#[derive(Debug, Default)]
pub(super) struct WorkQueue {
    /// Bindings, capabilities, plans and gates: planned before what refers to them.
    simple: BTreeSet<ResourceKey>,
    /// Executions that wait for a place in the window.
    executions: WaitingExecutions,
    /// Goals: planned last, because their phase follows from their Executions.
    goals: BTreeSet<ResourceKey>,
    /// Whether Executions pass through the window about as fast as they are let in.
    flowing: bool,
    active: BTreeMap<ResourceKey, ActiveExecution>,
    /// How resources were left that the index does not know of yet.
    unsaved: UnsavedWaits,
    /// When parked resources have to be planned again, as far as this process knows.
    wakes: BTreeSet<(Timestamp, ResourceKey)>,
    /// Executions that other runners drive.
    elsewhere: BTreeSet<ResourceKey>,
    /// Executions that got no slot. Without this set the index would offer them again at once, for ever.
    left_over: BTreeSet<ResourceKey>,
}

impl WorkQueue {
    /// Plans these again, or for the first time.
    pub(super) fn add(&mut self, keys: impl IntoIterator<Item = ResourceKey>) {
        for key in keys {
            // Never queued beside: two steps of one record in one commit would overwrite each other.
            if let Some(active) = self.active.get_mut(&key) {
                active.dirty = true;
                continue;
            }
            match key.kind {
                Kind::Execution => self.executions.insert(key),
                Kind::Goal => {
                    self.goals.insert(key);
                }
                _ => {
                    self.simple.insert(key);
                }
            }
        }
    }

    /// Whether nothing waits for its turn. Executions that are driven do not count.
    pub(super) fn is_empty(&self) -> bool {
        self.simple.is_empty() && self.executions.is_empty() && self.goals.is_empty()
    }

    /// Whether the next commit could say anything.
    pub(super) fn has_work(&self) -> bool {
        // A hungry one counts although nothing happened to it: a slot may be free by now.
        !self.is_empty() || self.active.values().any(|active| active.dirty || active.hungry)
    }

    /// Whether something happened that was not planned yet.
    pub(super) fn has_news(&self) -> bool {
        // Hunger is no news. Where no slot will ever be free, it would keep the loop from ending.
        !self.is_empty() || self.active.values().any(ActiveExecution::has_news)
    }

    /// Whether every node of what is driven has begun, so that there is nothing left to claim.
    pub(super) fn has_begun_all(&self) -> bool {
        let waits = |active: &ActiveExecution| {
            active.status().is_none_or(|status| {
                let in_phase = |phase| status.node_statuses.has(NodeTrait::InPhase(phase));
                in_phase(NodePhase::Pending) || in_phase(NodePhase::Blocked)
            })
        };
        self.is_empty() && !self.active.values().any(waits)
    }

    /// The next resource to plan before Executions.
    pub(super) fn pop_simple(&mut self) -> Option<ResourceKey> {
        self.simple.pop_first()
    }

    /// The goals whose turn it is, at most so many: once everything that goals are derived from had its turn.
    pub(super) fn take_goals(&mut self, most: usize) -> Vec<ResourceKey> {
        if !self.simple.is_empty() {
            return Vec::new();
        }
        // One of an Execution that is about to be planned goes into the commit of that, instead of being planned twice. Where
        // Executions stay in the window for long, nobody waits for those behind it.
        let waits = |goal: &&ResourceKey| self.flowing && self.executions.serve(goal);
        let taken: Vec<ResourceKey> =
            self.goals.iter().filter(|goal| !waits(goal)).take(most).cloned().collect();
        for goal in &taken {
            self.goals.remove(goal);
        }
        taken
    }

    /// Takes Executions that wait into the window, the most urgent first.
    pub(super) fn admit<E>(
        &mut self,
        mut load: impl FnMut(&ResourceKey) -> Result<Option<Arc<StatusRecord>>, E>,
        rank: impl FnMut(&ResourceKey) -> Result<ExecutionRank, E>,
    ) -> Result<(), E> {
        let free = WINDOW.saturating_sub(self.active.len());
        self.flowing = free > WINDOW / 2;
        if self.executions.is_empty() || free == 0 {
            return Ok(());
        }
        for (key, priority) in self.executions.take(free, rank)? {
            let record = load(&key)?;
            self.elsewhere.remove(&key);
            debug!(execution = %key, priority, "drive execution");
            self.active.insert(key.clone(), ActiveExecution::new(key, record, priority));
        }
        Ok(())
    }

    /// Takes in that the desired branch moved on.
    pub(super) fn rank_again(&mut self) {
        self.executions.forget_ranks();
    }

    /// Whether an Execution that waits can be let in now.
    pub(super) fn has_place(&self) -> bool {
        !self.executions.is_empty() && self.active.len() < WINDOW
    }

    /// The Executions that are being driven.
    pub(super) fn active(&self) -> &BTreeMap<ResourceKey, ActiveExecution> {
        &self.active
    }

    /// The same, the one whose turn is first in front.
    pub(super) fn active_in_turn(&mut self) -> Vec<(&ResourceKey, &mut ActiveExecution)> {
        // The order decides who gets into a commit of limited size, and who takes a mutex that several want.
        let mut all: Vec<_> = self.active.iter_mut().collect();
        all.sort_by_key(|(_, active)| active.turn());
        all
    }

    /// One Execution that is being driven.
    pub(super) fn get(&self, key: &ResourceKey) -> Option<&ActiveExecution> {
        self.active.get(key)
    }

    /// The same, to change it.
    pub(super) fn get_mut(&mut self, key: &ResourceKey) -> Option<&mut ActiveExecution> {
        self.active.get_mut(key)
    }

    /// Plans every driven Execution again.
    pub(super) fn touch_all(&mut self) {
        self.active.values_mut().for_each(|active| active.dirty = true);
    }

    /// How many Executions are open that this runner does not drive: those of other runners, and those without a place in the
    /// window.
    pub(super) fn waiting(&self) -> usize {
        self.executions.len() + self.elsewhere.iter().filter(|key| !self.executions.contains(key)).count()
    }

    /// Stops driving an Execution for which nothing can be done now.
    pub(super) fn park(&mut self, key: &ResourceKey, waits: Option<WaitSet>) {
        // What it has still to say goes with it, so that only one without news, or one that another runner
        // drives, is parked.
        self.active.remove(key);
        let wake = waits.as_ref().and_then(|waits| waits.wake);
        match &waits {
            Some(waits) => debug!(execution = %key, ?wake, on = ?waits.on, "park execution"),
            None => debug!(execution = %key, "execution has nothing left to do"),
        }
        if waits.as_ref().is_some_and(is_leased) {
            self.elsewhere.insert(key.clone());
        }
        // Also kept here: the index learns of the time at the next save, and it may come before.
        self.wakes.extend(wake.map(|at| (at, key.clone())));
        self.unsaved.insert(key.clone(), waits);
    }

    /// Notes how a resource that is not an Execution was left.
    pub(super) fn leave(&mut self, key: ResourceKey, waits: Option<WaitSet>) {
        self.unsaved.insert(key, waits);
    }

    /// Forgets how a resource was left, because the commit that said so lost its race.
    pub(super) fn forget_wait(&mut self, key: &ResourceKey) {
        self.unsaved.remove(key);
    }

    /// Resources that wait for `topic` and that the index does not know of yet.
    pub(super) fn waiters(&self, topic: &Topic) -> impl Iterator<Item = &ResourceKey> {
        self.unsaved.waiters(topic)
    }

    /// How everything was left since the last call, for the index.
    pub(super) fn take_unsaved(&mut self) -> Vec<(ResourceKey, Option<WaitSet>)> {
        self.unsaved.take()
    }

    /// Gives up all driven Executions for now: what is left of them has no slot here. They stay work in the index.
    pub(super) fn leave_over(&mut self) {
        self.left_over.extend(std::mem::take(&mut self.active).into_keys());
    }

    /// Gives up a resource for now, because its record is refused. That is on no branch, so that this machine keeps what was said.
    pub(super) fn leave_out(&mut self, key: ResourceKey, waits: WaitSet) {
        self.unsaved.insert(key.clone(), Some(waits));
        self.active.remove(&key);
        // From every list, or the one that still names it would offer the refused record again.
        self.simple.remove(&key);
        self.executions.remove(&key);
        self.goals.remove(&key);
        self.left_over.insert(key);
    }

    /// Whether an Execution was given up for now.
    pub(super) fn is_left_over(&self, key: &ResourceKey) -> bool {
        self.left_over.contains(key)
    }

    /// Whether anything was given up for now.
    pub(super) fn has_left_over(&self) -> bool {
        !self.left_over.is_empty()
    }

    /// Tries again what was given up.
    pub(super) fn retry_left_over(&mut self) {
        self.left_over.clear();
    }

    /// How long until something has to be planned again because of the time alone; `most` at most.
    pub(super) fn until_due(&self, now: Timestamp, most: Duration) -> Duration {
        let active = self.active.values().flat_map(|active| [active.renew_at, active.wake_at]).flatten();
        let wakes = self.wakes.first().map(|(at, _)| *at);
        active.chain(wakes).map(|at| until(now, at)).fold(most, Duration::min)
    }

    /// Plans everything again whose time has come.
    pub(super) fn wake_due(&mut self, now: Timestamp) {
        for (key, active) in &mut self.active {
            // Taken, so that a time wakes it once; planning sets the next one.
            let woken = active.wake_at.take_if(|at| *at <= now).is_some();
            // Not taken: a renewal stays due until it is published, or a lost race would let the lease run
            // out.
            let renew = active.needs_renewal(now);
            active.dirty |= woken || renew;
            if woken || renew {
                trace!(execution = %key, woken, renew, "execution is due");
            }
        }
        // An entry may be out of date, because its resource was planned since. Planning it once more changes
        // nothing (Invariant 5).
        while let Some((_, key)) = self.wakes.first().filter(|(at, _)| *at <= now).cloned() {
            self.wakes.pop_first();
            self.add([key]);
        }
    }

    /// Renews the lease of an Execution with the next commit, whatever the wall clock says.
    pub(super) fn renew_now(&mut self, key: &ResourceKey, now: Timestamp) {
        if let Some(active) = self.active.get_mut(key) {
            // The fence closes by the boot clock too. A wall clock that was set back may still be before the
            // time of the renewal.
            active.renew_at = Some(now);
            active.dirty = true;
        }
    }

    /// Whether a lease has to be renewed now.
    pub(super) fn renewal_due(&self, now: Timestamp) -> bool {
        self.active.values().any(|active| active.needs_renewal(now))
    }
}

/// How long it is from `now` until `at`; nothing when that has passed.
pub(super) fn until(now: Timestamp, at: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(now)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::execution::waiting::LEASED;
    use crate::model::{ExecutionStatus, NodeId, NodeStatus, ResourceStatus, StatusMetadata, Waiting};

    fn key(text: &str) -> ResourceKey {
        text.parse().unwrap()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn admit(queue: &mut WorkQueue) {
        queue.admit(|_| Ok::<_, ()>(None), |_| Ok(ExecutionRank::default())).unwrap();
    }

    #[test]
    fn goals_are_planned_after_what_they_are_derived_from() {
        let mut queue = WorkQueue::default();
        queue.add([key("n/goal/g"), key("n/plan/p")]);
        assert_eq!(queue.take_goals(9), []);
        assert_eq!(queue.pop_simple(), Some(key("n/plan/p")));
        assert_eq!(queue.take_goals(9), [key("n/goal/g")]);
        assert!(queue.is_empty());
    }

    #[test]
    fn the_most_urgent_executions_get_the_places_in_the_window() {
        let mut queue = WorkQueue::default();
        queue.add((0..=WINDOW).map(|number| key(&format!("n/execution/e{number:04}"))));
        let urgent = key("n/execution/e1000");
        let rank = |key: &ResourceKey| {
            let priority = u16::from(*key == urgent);
            Ok::<_, ()>(ExecutionRank { priority, goal: None })
        };
        queue.admit(|_| Ok(None), rank).unwrap();
        assert_eq!(queue.active().len(), WINDOW);
        assert!(queue.get(&urgent).is_some());
        assert!(queue.get(&key("n/execution/e0999")).is_none());
        assert!(!queue.is_empty());
    }

    #[test]
    fn a_goal_waits_for_its_execution_only_while_executions_pass_through() {
        let goal_of = |execution: &ResourceKey| key(&format!("n/goal/{}", execution.name));
        let rank = |key: &ResourceKey| Ok::<_, ()>(ExecutionRank { priority: 0, goal: Some(goal_of(key)) });
        let mut queue = WorkQueue::default();
        let executions: Vec<_> =
            (0..2 * WINDOW).map(|number| key(&format!("n/execution/e{number:04}"))).collect();
        queue.add(executions.clone());
        queue.add(executions.iter().map(goal_of));
        let planned = |queue: &mut WorkQueue, count: usize| -> Vec<ResourceKey> {
            queue.admit(|_| Ok(None), rank).unwrap();
            let goals = queue.take_goals(usize::MAX);
            executions.iter().take(count).for_each(|key| queue.park(key, None));
            goals
        };
        let firsts: Vec<_> = executions.iter().take(WINDOW).map(goal_of).collect();
        assert_eq!(planned(&mut queue, 0), firsts, "those of the Executions in the window");
        let others: Vec<_> = executions.iter().skip(WINDOW).map(goal_of).collect();
        assert_eq!(planned(&mut queue, WINDOW), others, "the window is full, and may be for long");
        assert!(queue.goals.is_empty());
    }

    #[test]
    fn what_has_not_begun_is_still_to_be_claimed() {
        let begun = |phases: &[NodePhase]| {
            let nodes = phases.iter().enumerate().map(|(number, &phase)| {
                let id = NodeId::new(&format!("t{number}")).unwrap();
                (id, NodeStatus { phase, ..NodeStatus::default() })
            });
            let status = ExecutionStatus { node_statuses: nodes.collect(), ..ExecutionStatus::default() };
            let execution = key("n/execution/e");
            let metadata = StatusMetadata::bare(&execution, "u");
            let record = StatusRecord { metadata, status: ResourceStatus::Execution(Box::new(status)) };
            let record = Arc::new(record);
            let mut queue = WorkQueue::default();
            queue.add([execution]);
            assert!(!queue.has_begun_all(), "it has not been looked at");
            queue
                .admit(|_| Ok::<_, ()>(Some(Arc::clone(&record))), |_| Ok(ExecutionRank::default()))
                .unwrap();
            queue.has_begun_all()
        };
        assert!(begun(&[NodePhase::Succeeded, NodePhase::Running]));
        assert!(!begun(&[NodePhase::Running, NodePhase::Pending]));
        assert!(!begun(&[NodePhase::Running, NodePhase::Blocked]));
    }

    #[test]
    fn a_driven_execution_is_planned_again_instead_of_being_queued_twice() {
        let mut queue = WorkQueue::default();
        queue.add([key("n/execution/e")]);
        admit(&mut queue);
        queue.get_mut(&key("n/execution/e")).unwrap().dirty = false;
        assert!(!queue.has_work());
        queue.add([key("n/execution/e")]);
        assert!(queue.is_empty() && queue.has_work());
    }

    #[test]
    fn a_parked_execution_comes_back_at_its_time() {
        let mut queue = WorkQueue::default();
        queue.add([key("n/execution/e")]);
        admit(&mut queue);
        queue.park(&key("n/execution/e"), Some(WaitSet { wake: Some(at(100)), ..WaitSet::default() }));
        assert_eq!(queue.until_due(at(40), Duration::from_secs(300)), Duration::from_secs(60));
        queue.wake_due(at(99));
        assert!(queue.is_empty());
        queue.wake_due(at(100));
        assert!(!queue.is_empty());
        assert_eq!(queue.take_unsaved().len(), 1);
    }

    #[test]
    fn a_lease_is_renewed_at_its_time() {
        let mut queue = WorkQueue::default();
        queue.add([key("n/execution/e")]);
        admit(&mut queue);
        let active = queue.get_mut(&key("n/execution/e")).unwrap();
        active.dirty = false;
        active.renew_at = Some(at(20));
        assert!(!queue.renewal_due(at(19)));
        queue.wake_due(at(20));
        assert!(queue.renewal_due(at(20)) && queue.has_work());
    }

    #[test]
    fn what_other_runners_drive_counts_until_it_is_driven_here() {
        let mut queue = WorkQueue::default();
        queue.add([key("n/execution/e")]);
        assert_eq!(queue.waiting(), 1);
        admit(&mut queue);
        assert_eq!(queue.waiting(), 0);
        let leased = Waiting::of(key("n/execution/e"), LEASED, String::new());
        queue.park(&key("n/execution/e"), Some(WaitSet { waiting: vec![leased], ..WaitSet::default() }));
        assert_eq!(queue.waiting(), 1);
        queue.add([key("n/execution/e")]);
        assert_eq!(queue.waiting(), 1, "it is counted once");
        admit(&mut queue);
        assert_eq!(queue.waiting(), 0);
    }

    #[test]
    fn what_got_no_slot_is_left_until_it_is_tried_again() {
        let mut queue = WorkQueue::default();
        queue.add([key("n/execution/e")]);
        admit(&mut queue);
        queue.leave_over();
        assert!(queue.active().is_empty() && queue.is_left_over(&key("n/execution/e")));
        queue.retry_left_over();
        assert!(!queue.is_left_over(&key("n/execution/e")));
    }
}
