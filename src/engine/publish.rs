//! Publishing a commit and what follows: told events, started attempts, or, after a lost race, another look.

use std::time::{Duration, Instant};

use super::EngineError;
use super::assemble::PendingCommit;
use super::commit_builder::CommitEffects;
use super::driver::Driver;
use super::publisher::{PublishOutcome, Publisher};
use super::step::PreparedStep;
use super::waiting::wait_set;
use crate::event::Event;
use crate::git::ObjectId;
use crate::model::{ExecutionPhase, NodeStatus, ResourceKey};

/// How many races may be lost in a row.
const MOST_RACES: u32 = 200;
/// In relaxed mode, commits are at least this far apart while work is under way.
const RELAXED_SPACING: Duration = Duration::from_secs(1);

impl Driver<'_> {
    /// Publishes a commit. Ends of attempts are taken in meanwhile, and claimed nodes started.
    pub(super) async fn publish(&mut self, ready: PendingCommit) -> Result<(), EngineError> {
        let PendingCommit { assembly, steps, mut claims, at } = ready;
        let (batch, outcome) = assembly.split(self.snapshot.desired.id, &self.options.runner, at);
        let ahead: Vec<_> = claims.extract_if(.., |claim| self.may_go_ahead(&claim.key, claim)).collect();
        let relaxed = !ahead.is_empty();
        for claim in ahead {
            self.attempts.claim(claim);
        }
        self.attempts.pump();
        if relaxed {
            self.gather(Instant::now() + RELAXED_SPACING, false).await;
        }
        let mut publisher = match self.publisher.take() {
            Some(publisher) => publisher,
            None => Publisher::new(&self.branches)?,
        };
        let (config, base) = (self.snapshot.config.clone(), self.snapshot.status);
        if let Some(bucket) = &mut self.bucket {
            bucket.take();
        }
        let begun = Instant::now();
        let mut delivery = tokio::task::spawn_blocking(move || {
            let delivered = publisher.deliver(&config, base, &batch);
            (publisher, delivered)
        });
        let (publisher, delivered) = loop {
            tokio::select! {
                joined = &mut delivery => break joined.map_err(|_| EngineError::WorkerLost)?,
                Some(message) = self.messages.recv() => {
                    self.take(message);
                    self.attempts.pump();
                }
            }
        };
        self.publisher = Some(publisher);
        match delivered? {
            PublishOutcome::Done { commit, subject } => {
                self.pace.took(begun);
                self.races = 0;
                self.moved = Instant::now();
                self.summary.commits = self.summary.commits.saturating_add(1);
                self.delivered(Some((commit, subject)), steps, outcome)?;
                for claim in claims {
                    self.attempts.claim(claim);
                }
                self.attempts.pump();
                if self.leaving {
                    self.attempts.shut_down();
                }
                Ok(())
            }
            PublishOutcome::Unchanged => self.delivered(None, steps, outcome),
            PublishOutcome::Moved(tip) => self.lost_race(tip, outcome).await,
        }
    }

    /// Until when ends of attempts should gather, if they should: a commit costs about the same for one and for a hundred,
    /// so as long as what is claimed keeps every slot busy, publishing takes only a share of the time.
    pub(super) fn gathering(&self) -> Option<Instant> {
        let calm = self.bucket.is_none() && !self.leaving && self.pending.is_empty();
        let deadline = self.pace.next().filter(|&deadline| calm && deadline > Instant::now())?;
        self.attempts.last_for(self.pace.mean() * 2).then_some(deadline)
    }

    /// Lets ends of attempts gather for a while, until nothing runs, or, with `stocked`, until what is claimed runs short.
    pub(super) async fn gather(&mut self, deadline: Instant, stocked: bool) {
        while !self.attempts.is_idle() && !self.leaving {
            tokio::select! {
                () = tokio::time::sleep_until(deadline.into()) => return,
                Some(message) = self.messages.recv() => {
                    self.take(message);
                    self.attempts.pump();
                }
                _ = self.stop.changed() => return,
            }
            if stocked && !self.attempts.last_for(self.pace.mean() * 2) {
                return;
            }
        }
    }

    /// A commit is on the branch: what was planned is now so.
    fn delivered(
        &mut self,
        commit: Option<(ObjectId, String)>,
        steps: Vec<(ResourceKey, Box<PreparedStep>)>,
        outcome: CommitEffects,
    ) -> Result<(), EngineError> {
        let CommitEffects { puts, events } = outcome;
        let changed: Vec<ResourceKey> = puts.keys().cloned().collect();
        if let Some((commit, subject)) = commit {
            self.snapshot.published(commit, puts.clone())?;
            for event in events {
                self.tell(event);
            }
            let at = self.clock.now();
            self.tell(Event::Published { at, commit: commit.to_string(), subject });
        }
        for (key, step) in steps {
            self.step_delivered(&key, &step, puts.get(&key).cloned().flatten());
        }
        for key in changed {
            let waiters = self.dependents(&key)?;
            self.requeue(waiters);
        }
        if self.snapshot.is_far_ahead() && self.active.is_empty() {
            self.catch_up()?;
        }
        Ok(())
    }

    fn step_delivered(
        &mut self,
        key: &ResourceKey,
        step: &PreparedStep,
        record: Option<std::sync::Arc<crate::model::StatusRecord>>,
    ) {
        let status = &step.draft.status;
        if status.phase == ExecutionPhase::Failed
            && step.draft.moves.iter().any(|change| change.to.is_terminal())
        {
            self.summary.failed.push(key.clone());
        }
        let renew_at = self.renewal(self.clock.now());
        let runner = self.options.runner.clone();
        let Some(active) = self.active.get_mut(key) else { return };
        active.record = record;
        active.taken_up(step);
        let renewed = step.draft.changes.iter().any(|change| {
            matches!(
                change,
                crate::run::Change::Execution(
                    crate::run::ExecutionChange::AcquireLease(_)
                        | crate::run::ExecutionChange::RenewLease { .. }
                )
            )
        });
        if renewed {
            active.renew_at = Some(renew_at);
        }
        self.attempts.stop_where(key, |node, attempt| active.runs(node, attempt, &runner));
        let running = status.node_statuses.values().any(NodeStatus::is_under_way);
        if active.token(&runner).is_none() {
            active.renew_at = None;
        }
        if !running && !active.hungry && !active.has_news() && !self.polls.works_on(key) {
            let left = (!status.phase.is_terminal()).then(|| wait_set(&step.draft, Some(key)));
            self.park(key, left);
            // One that was cancelled because its manifest is gone is removed next.
            let present = matches!(self.snapshot.present(key), Ok(Some(_)));
            if status.phase.is_terminal() && !present && self.summary.held_back == 0 {
                self.pending.add(key.clone());
            }
        }
    }

    /// Somebody else moved the branch: take in what they changed, and plan again (Invariant 3).
    async fn lost_race(&mut self, tip: Option<ObjectId>, outcome: CommitEffects) -> Result<(), EngineError> {
        self.races = self.races.saturating_add(1);
        if self.races > MOST_RACES {
            return Err(EngineError::Contended { attempts: self.races });
        }
        for key in self.snapshot.moved_by_others(tip)? {
            let record = self.snapshot.record(&key)?;
            self.reload(&key, record);
            let waiters = self.dependents(&key)?;
            self.requeue(waiters);
            self.requeue([key]);
        }
        // Whoever was faster may have looked at a newer desired commit.
        let ours = self.snapshot.desired.id;
        if let Some(theirs) = self.snapshot.recorded_desired()?.filter(|&theirs| theirs != ours)
            && self.snapshot.repo.is_ancestor(theirs, ours).unwrap_or_default() != Some(true)
        {
            self.look().await?;
        }
        // Nothing of the lost commit is so: all of it is planned again.
        for key in outcome.puts.into_keys() {
            self.unsaved.remove(&key);
            self.requeue([key]);
        }
        // Whoever lost waits a little, and not all for the same time: their process ids differ.
        let jitter = u64::from(std::process::id() % 17) + u64::from(self.races.min(20)) * 3;
        tokio::time::sleep(Duration::from_millis(jitter)).await;
        Ok(())
    }
}
