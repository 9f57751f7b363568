//! Taking in what changed: new commits on either branch, records that others wrote, and what has to be planned because
//! of them.

use std::collections::BTreeSet;
use std::sync::Arc;

use tracing::{debug, warn};

use super::driver::Driver;
use crate::engine::execution::manifest_change::{IMMUTABLE, is_noted};
use crate::engine::merged::MergedAnswer;
use crate::engine::{BranchTips, EngineError};
use crate::event::Event;
use crate::git::GitError;
use crate::index::Topic;
use crate::model::{Kind, ResourceKey, StatusRecord};

impl Driver<'_> {
    /// Reads the tips of both branches, and takes in what others changed.
    pub(super) async fn read_tips(&mut self) -> Result<(), EngineError> {
        let tips = match self.tips.read().await {
            // The stop that interrupted it is heeded next.
            Err(EngineError::Git(GitError::Interrupted)) => return Ok(()),
            tips => tips?,
        };
        let desired = self.snapshot.desired.id;
        let status = self.snapshot.status.commit;
        // The usual answer, several times a second in a local repository: nothing is compared or written.
        if tips.desired.id == desired && tips.status == status {
            return Ok(());
        }
        if tips.desired.id != desired {
            self.note_rewritten(&tips)?;
        }
        // Before the snapshot moves on: the commits between the two tips are what others pushed.
        self.lane.count_others(&self.snapshot.repo, status, tips.status, &self.options.runner)?;
        // The index is about to be brought to other commits; what this process knows of waits has to be in it by then.
        self.save_waits()?;
        let reconfigured = tips.config != self.snapshot.config;
        let diagnostics = self.snapshot.move_to(tips)?;
        self.queue.rank_again();
        if reconfigured {
            self.reconfigure();
        }
        self.announce(diagnostics)?;
        // Executions that are driven follow their records at once. The rest of what others brought is work in
        // the index now, and waiting for this round's end would delay it behind the longest attempt.
        self.reload_active()?;
        self.take_work()
    }

    /// Whether this is a run of an older commit than the status branch was written for already. Then it yields: desired
    /// state never runs backwards (Invariant 13). A branch is different: its tip is what is desired, even after
    /// it was set back.
    pub(super) fn is_late(&mut self) -> Result<bool, EngineError> {
        let ours = self.snapshot.desired.id;
        if self.tips.branches().follows_branch() {
            return Ok(false);
        }
        let Some(newer) = self.snapshot.recorded_desired()?.filter(|&newer| newer != ours) else {
            return Ok(false);
        };
        // A shallow clone may not know. Then the run goes on: one that yields by mistake would do nothing at
        // all, while the compare-and-swap keeps a late one from overwriting anything (Invariant 3).
        if self.snapshot.repo.is_ancestor(ours, newer).unwrap_or_default() != Some(true) {
            return Ok(false);
        }
        warn!(desired = %ours, recorded = %newer, "yield to a newer desired commit");
        let message = format!(
            "the newer commit {} is already recorded; this run of {} does nothing",
            newer.short(),
            ours.short()
        );
        self.emit(Event::Note { message });
        Ok(true)
    }

    /// Reports a desired branch that was rewritten. Its new tip is what is desired all the same (Invariant 13).
    fn note_rewritten(&mut self, tips: &BranchTips) -> Result<(), EngineError> {
        let old = self.snapshot.desired.id;
        let new = tips.desired.id;
        if self.snapshot.repo.is_ancestor(old, new)? != Some(true) {
            let branch = self.tips.branches().branch();
            let message =
                format!("branch `{branch}` was rewritten: {} is not ahead of {}", new.short(), old.short());
            warn!(branch, %old, %new, "desired branch was rewritten");
            self.emit(Event::Note { message });
        }
        Ok(())
    }

    /// After others moved the status branch: every driven Execution as it is recorded now.
    fn reload_active(&mut self) -> Result<(), EngineError> {
        let keys: Vec<ResourceKey> = self.queue.active().keys().cloned().collect();
        for key in keys {
            let record = self.snapshot.record(&key)?;
            // What went ahead of publication is newer than the branch. Where others left the record alone, a
            // reload would undo it.
            if self.withdraw_if_changed(&key, record.as_ref()) {
                self.reload(&key, record);
            }
        }
        Ok(())
    }

    /// One driven Execution as it is recorded now. Attempts that the record no longer knows are stopped.
    pub(super) fn reload(&mut self, key: &ResourceKey, record: Option<Arc<StatusRecord>>) {
        let Some(active) = self.queue.get_mut(key) else { return };
        if active.record == record {
            return;
        }
        debug!(execution = %key, "record was changed by others");
        let had = active.token(&self.options.runner);
        active.record = record;
        active.dirty = true;
        let runner = &self.options.runner;
        // By the attempt's name and not by the phase: a node that another runner took over is Running as
        // well.
        self.attempts.stop_where(key, |attempt| active.runs(attempt));
        // A record that is gone was removed by somebody; only one with another holder or none was taken over.
        if had.is_some() && active.token(runner).is_none() && active.status().is_some() {
            // From here on no queued claim finds a fence to start under. What runs was stopped above, or ends
            // at the fence that it has.
            self.attempts.remove_fence(key);
            warn!(execution = %key, token = had, "lost the lease to another runner");
            let message = format!("another runner took over {key}");
            self.emit(Event::Note { message });
        }
    }

    /// Everything that has to be planned, from the index.
    pub(super) fn take_work(&mut self) -> Result<(), EngineError> {
        let now = self.clock.now();
        self.snapshot.index.distrust_times(now)?;
        let mut work = self.snapshot.index.work(now)?;
        if self.is_rewritten()? {
            // Their pins may not hold any more. Nobody else would look at what waits for weeks, and its reviewers would be
            // asked for something that cannot run.
            work.extend(self.snapshot.index.active_executions()?);
            work.sort();
            work.dedup();
        }
        debug!(resources = work.len(), "take work from the index");
        let held_back = self.hold_back(&work)?;
        let due = work.into_iter().filter(|key| !held_back.contains(key) && !self.queue.is_left_over(key));
        let due: Vec<ResourceKey> = due.collect();
        for key in due.iter().filter(|key| key.kind == Kind::Execution) {
            self.note_edited(key)?;
        }
        self.queue.add(due);
        Ok(())
    }

    /// Says that an Execution was edited after it was first observed: the change has no effect (Invariant 9), and whoever
    /// merged it expects one. Once it is recorded as a condition it was said.
    fn note_edited(&mut self, key: &ResourceKey) -> Result<(), EngineError> {
        let (Some(declared), Some(known)) =
            (self.snapshot.declared(key)?, self.snapshot.index.recorded(key)?)
        else {
            return Ok(());
        };
        // The digest that the index keeps is the newest; only when that was never recorded is a record read.
        if known.spec_digest.as_deref() == Some(declared.spec_digest.as_str()) {
            return Ok(());
        }
        let record = self.snapshot.record(key)?;
        let Some(status) = record.as_ref().and_then(|record| record.execution()) else { return Ok(()) };
        if status.spec_hash.as_ref() != Some(&declared.spec_digest) && !is_noted(status) {
            let message = format!(
                "{key} was edited in {}: {IMMUTABLE}; write a new Execution instead",
                declared.source.path
            );
            self.emit(Event::Note { message });
        }
        Ok(())
    }

    /// Whether the desired branch does not continue what the status branch was last written for.
    fn is_rewritten(&self) -> Result<bool, EngineError> {
        let Some(old) = self.snapshot.recorded_desired()? else { return Ok(false) };
        let new = self.snapshot.desired.id;
        // An id that somebody made up, or whose commit is not here, says nothing.
        Ok(old != new && self.snapshot.repo.is_ancestor(old, new).unwrap_or_default() == Some(false))
    }

    /// Whether Executions are gone because the branch does not hold the commits any more that brought them: a reset, or another
    /// branch. Their records are what became of work, which would be lost, and would run again once the branch is back. Asked of
    /// the uid, because the last commit that the status branch names is a new one after the next pass.
    fn is_lost(&self, gone: &BTreeSet<ResourceKey>) -> Result<bool, EngineError> {
        let executions: Vec<&ResourceKey> = gone.iter().filter(|key| key.kind == Kind::Execution).collect();
        if !executions.is_empty() && self.is_rewritten()? {
            return Ok(true);
        }
        let desired = self.snapshot.desired.id;
        for key in executions {
            let Some(record) = self.snapshot.record(key)? else { continue };
            let uid = &record.metadata.uid;
            let named = self.snapshot.merged.was_named(&self.snapshot.repo, desired, key, uid, desired)?;
            if matches!(named, MergedAnswer::No(_)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Deletions that are too many to be carried out without being asked for.
    fn hold_back(&mut self, work: &[ResourceKey]) -> Result<BTreeSet<ResourceKey>, EngineError> {
        let mut gone = BTreeSet::new();
        for key in work {
            let declared = self.snapshot.present(key)?.is_some();
            // A record without a source never had a manifest, as that of an implicit gate, so its absence is
            // no deletion.
            if !declared && self.snapshot.index.recorded(key)?.is_some_and(|record| record.source.is_some()) {
                gone.insert(key.clone());
            }
        }
        let (declared, recorded) = self.snapshot.index.counts()?;
        let share = gone.len() as f64 / (recorded.max(1) as f64);
        // A share alone would hold back every ordinary deletion in a small repository.
        let many = gone.len() >= 10 && share > self.snapshot.config.limits.deletions;
        // An empty desired state is more often a wrong branch or a wrong `paths` than a wish.
        let empty = declared == 0 && !gone.is_empty();
        let lost = !self.options.allow_mass_delete && !many && !empty && self.is_lost(&gone)?;
        if self.options.allow_mass_delete || !(many || empty || lost) {
            self.summary.held_back = 0;
            return Ok(BTreeSet::new());
        }
        // Once for each number, not at every round of a watch.
        if self.summary.held_back != gone.len() {
            self.summary.held_back = gone.len();
            let number = gone.len();
            let why = match lost {
                true => {
                    "; the desired branch lost the commits that brought them, and they are only removed with"
                }
                false => "; that many are only removed with",
            };
            let message =
                format!("{number} of {recorded} resources are no longer declared{why} --allow-mass-delete");
            self.emit(Event::Note { message });
        }
        Ok(gone)
    }

    pub(super) fn is_held_back(&self, key: &ResourceKey) -> bool {
        self.summary.held_back > 0 && !matches!(self.snapshot.present(key), Ok(Some(_)))
    }

    /// The resources whose planning depends on the record of `key`.
    // Not what waits for any Binding of a namespace: that reads manifests, and the index wakes it for those. In a first pass, the
    // record of each Binding would wake every unbound Execution beside it.
    pub(super) fn dependents(&self, key: &ResourceKey) -> Result<Vec<ResourceKey>, EngineError> {
        let topic = Topic::Resource(key.clone());
        let mut keys = self.snapshot.index.waiters(&topic)?;
        if key.kind == Kind::Execution
            && let Some(goal) = self.snapshot.declared(key)?.and_then(|declared| declared.goal)
        {
            keys.push(goal);
        }
        // What waits in this very process is not in the index yet.
        keys.extend(self.queue.waiters(&topic).cloned());
        Ok(keys)
    }

    /// Writes down how everything was left.
    pub(super) fn save_waits(&mut self) -> Result<(), EngineError> {
        Ok(self.snapshot.index.settle(&self.queue.take_unsaved(), self.clock.now())?)
    }
}
