//! Publishing a commit, and what follows: emitted events and started attempts, or, after a lost race, another plan.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, info, info_span};

use super::assemble::PendingCommit;
use super::driver::Driver;
use crate::engine::EngineError;
use crate::engine::attempt::fence::LeaseFence;
use crate::engine::clock::ClockReading;
use crate::engine::commit::builder::CommitEffects;
use crate::engine::commit::kept_work::KeptWork;
use crate::engine::commit::publisher::PublishOutcome;
use crate::engine::commit::refusals::RefusalStep;
use crate::engine::execution::active::{ActiveExecution, terms};
use crate::engine::execution::step::PreparedStep;
use crate::engine::execution::waiting::{RECORD_REFUSED, wait_set};
use crate::event::Event;
use crate::git::{GitError, ObjectId};
use crate::index::WaitSet;
use crate::model::{ExecutionPhase, Kind, NodeReason, NodeTrait, ResourceKey, StatusRecord, Waiting};
use crate::record::{Batch, WrittenCommit};
use crate::run::{Change, ExecutionChange};

impl Driver<'_> {
    /// Publishes a commit. Ends of attempts are taken in meanwhile, and claimed nodes started.
    pub(super) async fn publish(&mut self, ready: PendingCommit) -> Result<(), EngineError> {
        let PendingCommit { assembly, steps, claims, goals, reading } = ready;
        // The commit carries the reading that it was planned with: the leases in it are counted from the same
        // one.
        let (batch, outcome) = assembly.split(self.snapshot.desired.id, &self.options.runner, reading.wall);
        let begun = Instant::now();
        let work = KeptWork::of(&outcome.puts, |key| self.snapshot.record(key))?;
        let delivered = self.deliver(batch, work).await;
        let duration_ms = begun.elapsed().as_millis();
        let delivered = match delivered {
            // Asked to end meanwhile: planned again on the tip that is known. If the branch did move, the push of this runner's
            // last words finds out (Invariant 4); when those are interrupted, no time is left.
            Err(EngineError::Git(GitError::Interrupted)) if !self.shutdown.is_leaving() => {
                PublishOutcome::Moved(self.snapshot.status.commit)
            }
            // No fault of the environment: the remote answers, and does not take somebody's content.
            Err(EngineError::Git(error @ GitError::Refused { .. })) => return self.refused(error, outcome),
            delivered => delivered?,
        };
        match delivered {
            PublishOutcome::Done(written) => {
                let WrittenCommit { commit, subject, .. } = &*written;
                info!(%commit, subject, duration_ms, claims = claims.len(), "published");
                self.lane.published(begun, outcome.puts.keys());
                // What went ahead is planned again: now that it is published, its Execution may end or be parked.
                let ahead = self.lane.take_published(&outcome.puts);
                for key in &ahead {
                    self.queue.get_mut(key).map(ActiveExecution::forget_ahead);
                }
                self.queue.add(ahead);
                self.summary.commits = self.summary.commits.saturating_add(1);
                self.packing.count();
                self.pack_if_due(false)?;
                self.delivered(Some(*written), steps, outcome, &goals, reading)?;
                // Only now: a start that nobody else can read of could be made twice (Invariant 4).
                for claim in claims {
                    self.attempts.claim(claim);
                }
                self.attempts.pump();
                if self.shutdown.is_leaving() {
                    self.attempts.shut_down();
                }
                Ok(())
            }
            PublishOutcome::Unchanged => {
                // The tree stays as it is, so there is no commit (Invariant 5). What was planned counts as
                // recorded all the same.
                debug!(duration_ms, "nothing to publish:");
                self.delivered(None, steps, outcome, &goals, reading)
            }
            PublishOutcome::Moved(tip) => {
                info!(
                    tip = tip.map(tracing::field::display),
                    duration_ms, "lost the race for the status branch"
                );
                self.lost_race(tip, begun, outcome).await
            }
            PublishOutcome::WorkRefused(key, error) => {
                self.work_refused(key, &error, outcome);
                Ok(())
            }
        }
    }

    /// Has a batch published by the thread that does so, and takes in meanwhile what attempts send.
    // It goes to the thread and comes back, because it remembers the blobs of a batch that has to be made
    // again.
    async fn deliver(&mut self, batch: Batch, work: Vec<KeptWork>) -> Result<PublishOutcome, EngineError> {
        let mut publisher = self.lane.take_publisher(self.tips.branches())?;
        let config = self.snapshot.config.clone();
        // The tip on which this was planned: parent of the new commit, and the value that the branch must
        // still have (Invariant 3).
        let base = self.snapshot.status;
        self.lane.count_push();
        let span = info_span!("publish", base = base.commit.map(tracing::field::display));
        let mut delivery = tokio::task::spawn_blocking(move || {
            let _entered = span.entered();
            let delivered = publisher.deliver(&config, base, &batch, &work);
            (publisher, delivered)
        });
        let (publisher, delivered) = loop {
            tokio::select! {
                biased;
                joined = &mut delivery => break joined.map_err(|_| EngineError::WorkerLost)?,
                // Slots that fall free during a push are filled with what was claimed before it.
                Some(message) = self.messages.recv() => {
                    self.take(message);
                    self.attempts.pump();
                }
            }
        };
        self.lane.give_back(publisher);
        delivered
    }

    /// Until when ends of attempts should gather, if they should: a commit costs about the same for one and for a hundred,
    /// so as long as what is claimed keeps every slot busy, publishing takes only a share of the time.
    pub(super) fn gathering(&self) -> Option<Instant> {
        // With resources that wait for their turn, the next commit has something to say in any case.
        let calm = !self.shutdown.is_leaving() && self.queue.is_empty();
        let deadline = self.lane.gather_until().filter(|_| calm)?;
        self.may_gather(self.lane.lead_time()).then_some(deadline)
    }

    /// Lets ends of attempts gather for a while, until nothing runs or until what is claimed lasts no longer than `lead`.
    pub(super) async fn gather(&mut self, deadline: Instant, lead: Duration) {
        while !self.shutdown.is_leaving() && self.may_gather(lead) {
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(deadline) => return,
                Some(message) = self.messages.recv() => {
                    self.take(message);
                    self.attempts.pump();
                }
                () = self.shutdown.requested() => return,
            }
        }
    }

    /// Whether attempts are under way, and no slot would be idle for want of a claim within `lead`.
    fn may_gather(&self, lead: Duration) -> bool {
        !self.attempts.is_idle() && (self.attempts.last_for(lead) || self.queue.has_begun_all())
    }

    /// A commit is on the branch: what was planned is recorded now.
    fn delivered(
        &mut self,
        written: Option<WrittenCommit>,
        steps: Vec<(ResourceKey, Box<PreparedStep>)>,
        effects: CommitEffects,
        goals: &BTreeSet<ResourceKey>,
        reading: ClockReading,
    ) -> Result<(), EngineError> {
        let CommitEffects { puts, events } = effects;
        let changed: Vec<ResourceKey> = puts.keys().cloned().collect();
        if let Some(written) = written {
            let (commit, subject) = (written.commit, written.subject.clone());
            // Before anything is planned again: the index does not hold the new records yet, and dependents
            // read them from here.
            self.snapshot.published(written, puts.clone());
            // Events come after the commit: nobody may see what might still be lost (Invariant 4).
            for event in events {
                self.emit(event);
            }
            let at = self.clock.now();
            self.emit(Event::Published { at, commit: commit.to_string(), subject });
        }
        // An Execution without a step was made by this very commit.
        let stepped: BTreeSet<ResourceKey> = steps.iter().map(|(key, _)| key.clone()).collect();
        for key in changed.iter().filter(|key| key.kind == Kind::Execution && !stepped.contains(*key)) {
            self.queue.add([key.clone()]);
        }
        let owned = self.owned_by(&changed);
        self.queue.add(owned);
        for (key, mut step) in steps {
            self.show_proposals(&key, &mut step, reading.wall)?;
            self.step_delivered(&key, &step, puts.get(&key).cloned().flatten(), reading);
        }
        for key in changed {
            let mut dependents = self.dependents(&key)?;
            let recorded = puts.get(&key).is_some_and(Option::is_some);
            dependents.retain(|dependent| match key.kind {
                // A Goal of this commit was planned last, from these very records of its Executions: it would find nothing
                // else. Any other reason to plan it queues it by itself.
                Kind::Execution => !goals.contains(dependent),
                // Of these, an Execution reads the manifests, for whose changes the index wakes it, and the generation, which
                // is the same before and after it is recorded.
                Kind::Plan | Kind::Binding | Kind::Capability => {
                    !(recorded && dependent.kind == Kind::Execution)
                }
                _ => true,
            });
            self.queue.add(dependents);
        }
        if self.snapshot.is_far_ahead() && self.queue.active().is_empty() {
            self.catch_up()?;
        }
        Ok(())
    }

    /// The Executions of this runner that one of these made: they may have to end, or to give way to a new one. Those that are
    /// parked wait for their owner by name.
    fn owned_by(&self, changed: &[ResourceKey]) -> Vec<ResourceKey> {
        let changed: BTreeSet<&ResourceKey> = changed.iter().collect();
        let owned = |active: &ActiveExecution| {
            let metadata = &active.record.as_ref()?.metadata;
            let owner = metadata.owner_references.first()?;
            Some(ResourceKey::new(owner.kind, metadata.namespace.clone(), owner.name.clone()))
        };
        let active = self.queue.active().values();
        let found = active.filter(|active| owned(active).is_some_and(|owner| changed.contains(&owner)));
        found.map(|active| active.key.clone()).collect()
    }

    fn step_delivered(
        &mut self,
        key: &ResourceKey,
        step: &PreparedStep,
        record: Option<Arc<StatusRecord>>,
        reading: ClockReading,
    ) {
        let status = &step.draft.status;
        // Only where this step ended it: a failed record that is written again for a condition is no new
        // failure.
        if status.phase == ExecutionPhase::Failed
            && step.draft.moves.iter().any(|change| change.to.is_terminal())
        {
            self.summary.failed.push(key.clone());
        }
        let renew_at = self.renewal(reading.wall);
        let lease = terms(&self.snapshot).duration;
        let runner = &self.options.runner;
        let Some(active) = self.queue.get_mut(key) else { return };
        active.record = record;
        // Only what the step has considered. Ends that came during the push wait for the next one.
        active.taken_up(step);
        trace_lease(key, step);
        // A fence opens with the published lease, never with a planned one (Invariant 4).
        if holds_lease_anew(step) {
            active.renew_at = Some(renew_at);
            self.attempts.set_fence(key, LeaseFence::new(reading, lease));
        }
        // The lease went back, so a claim that is still queued must not start under it.
        if active.token(runner).is_none() {
            active.renew_at = None;
            self.attempts.remove_fence(key);
        }
        // What this step recorded, such as a cancellation, ends what runs for it.
        self.attempts.stop_where(key, |attempt| active.runs(attempt));
        let running = status.node_statuses.has(NodeTrait::UnderWay);
        // The answer to a poll needs an active Execution that takes it in, or it is lost until the next poll.
        if !running && !active.hungry && !active.has_news() && !self.polls.works_on(key) {
            let waits = (!status.phase.is_terminal()).then(|| wait_set(&step.draft, Some(key)));
            self.queue.park(key, waits);
            // One that was cancelled because its manifest is gone is removed next.
            let present = matches!(self.snapshot.present(key), Ok(Some(_)));
            if status.phase.is_terminal() && !present && self.summary.held_back == 0 {
                self.queue.add([key.clone()]);
            }
        }
    }

    /// The remote refused the commit for its content. Whoever's content that is must not hold up the others.
    fn refused(&mut self, error: GitError, effects: CommitEffects) -> Result<(), EngineError> {
        let step = self.lane.refusals().refused(effects.puts.keys());
        info!(%error, records = effects.puts.len(), ?step, "the remote refused a commit");
        let suspect = match step {
            RefusalStep::Divide => None,
            // Of several attempts one after the other it is not known whose content was refused: they are made again, each
            // published before the next.
            RefusalStep::Withdraw(key) if self.withdraw_ahead(&key) => {
                self.lane.refusals().acquit(&key);
                None
            }
            RefusalStep::Withdraw(key) => {
                // An attempt that ended is recorded without what it gave; without one, nothing can be left out.
                let withdrawn = self
                    .queue
                    .get_mut(&key)
                    .is_some_and(|active| active.withdraw(NodeReason::ContentRefused, &error));
                (!withdrawn).then_some(key)
            }
            RefusalStep::LeaveOut(key) => {
                self.withdraw_ahead(&key);
                Some(key)
            }
            RefusalStep::GiveUp => return Err(error.into()),
        };
        // Nothing of the refused commit is on the branch, so all of it is planned again; how many go into the
        // next one is limited.
        for key in effects.puts.into_keys() {
            self.queue.forget_wait(&key);
            self.queue.add([key]);
        }
        if let Some(key) = suspect {
            let message = format!("the record of {key} was refused and is left out: {error}");
            self.emit(Event::Note { message });
            // Last, because the loop above has just queued it again.
            self.leave_out(key, &error);
        }
        Ok(())
    }

    /// The remote refused the files of one Execution. What its attempts changed is withdrawn, and everything else goes again.
    fn work_refused(&mut self, key: ResourceKey, error: &GitError, effects: CommitEffects) {
        info!(execution = %key, %error, "the remote refused the files of a result");
        // What ran ahead of its publication is made again, each attempt published before the next: it is not known whose files
        // were refused.
        let withdrawn = self.withdraw_ahead(&key)
            || (self.queue.get_mut(&key))
                .is_some_and(|active| active.withdraw(NodeReason::ResultRefused, error));
        for key in effects.puts.into_keys() {
            self.queue.forget_wait(&key);
            self.queue.add([key]);
        }
        if !withdrawn {
            // Not even a merge of what was taken before is taken: nothing of the Execution can be recorded here.
            let message = format!("the files of {key} were refused, and its record is left out: {error}");
            self.emit(Event::Note { message });
            self.leave_out(key, error);
        }
    }

    /// Leaves a resource out of this pass, of which nothing can be recorded. The next one tries again.
    fn leave_out(&mut self, key: ResourceKey, error: &GitError) {
        let wake = Some(self.clock.now());
        let why = Waiting::of(key.clone(), RECORD_REFUSED, format!("its record was refused: {error}"));
        self.queue.leave_out(key, WaitSet { wake, waiting: vec![why], ..WaitSet::default() });
    }

    /// Somebody else moved the branch: take in what they changed, and plan again (Invariant 3).
    async fn lost_race(
        &mut self,
        tip: Option<ObjectId>,
        begun: Instant,
        effects: CommitEffects,
    ) -> Result<(), EngineError> {
        self.lane.lost_race(&self.options.runner, begun)?;
        self.tips.branches().check_follows(&self.snapshot.config, &self.snapshot.desired, tip)?;
        let old = self.snapshot.status.commit;
        self.lane.count_others(&self.snapshot.repo, old, tip, &self.options.runner)?;
        // Only what others changed is read anew: writers of different Executions collide at the tip alone,
        // and plan again cheaply.
        for key in self.snapshot.moved_by_others(tip)? {
            let record = self.snapshot.record(&key)?;
            if self.withdraw_if_changed(&key, record.as_ref()) {
                self.reload(&key, record);
            }
            let dependents = self.dependents(&key)?;
            self.queue.add(dependents);
            self.queue.add([key]);
        }
        // Whoever was faster may have read a newer desired commit.
        let ours = self.snapshot.desired.id;
        if let Some(theirs) = self.snapshot.recorded_desired()?.filter(|&theirs| theirs != ours)
            && self.snapshot.repo.is_ancestor(theirs, ours).unwrap_or_default() != Some(true)
        {
            self.read_tips().await?;
        }
        // Nothing of the lost commit was recorded. Plans depend on each other through gates, mutexes and quotas, so all
        // of it is planned again, and nothing is merged (Invariant 3).
        for key in effects.puts.into_keys() {
            self.queue.forget_wait(&key);
            self.queue.add([key]);
        }
        Ok(())
    }
}

/// Whether a step takes or renews the lease.
fn holds_lease_anew(step: &PreparedStep) -> bool {
    step.draft.changes.iter().any(|change| {
        matches!(
            change,
            Change::Execution(ExecutionChange::AcquireLease(_) | ExecutionChange::RenewLease { .. })
        )
    })
}

fn trace_lease(execution: &ResourceKey, step: &PreparedStep) {
    for change in &step.draft.changes {
        match change {
            Change::Execution(ExecutionChange::AcquireLease(lease)) => {
                debug!(%execution, token = lease.token, lease_ms = lease.duration_millis, "acquired lease");
            }
            Change::Execution(ExecutionChange::RenewLease { token, .. }) => {
                debug!(%execution, token, "renewed lease");
            }
            Change::Execution(ExecutionChange::ReleaseLease { token }) => {
                debug!(%execution, token, "released lease");
            }
            _ => {}
        }
    }
}
