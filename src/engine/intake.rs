//! Taking in what changed: new commits on either branch, records that others wrote, and what has to be planned because
//! of them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use super::EngineError;
use super::driver::Driver;
use crate::event::Event;
use crate::index::Topic;
use crate::model::{Kind, ResourceKey};

impl Driver<'_> {
    /// Looks whether somebody moved one of the branches.
    pub(super) async fn look(&mut self) -> Result<(), EngineError> {
        self.polled = Instant::now();
        let tips = if self.branches.remote().is_some() {
            let branches = self.branches.reopen()?;
            tokio::task::spawn_blocking(move || branches.tips())
                .await
                .map_err(|_| EngineError::WorkerLost)??
        } else {
            self.branches.tips()?
        };
        if tips.desired.id != self.snapshot.desired.id && !self.is_newer(&tips)? {
            return Ok(());
        }
        if tips.desired.id == self.snapshot.desired.id && tips.status == self.snapshot.status.commit {
            return Ok(());
        }
        self.settle()?;
        let diagnostics = self.snapshot.move_to(tips)?;
        self.announce(diagnostics)?;
        self.reload_live()?;
        self.take_work()
    }

    /// Whether this is a run of an older commit than the status branch was written for already. Then it yields: desired
    /// state never runs backwards (Invariant 13). A branch is different: its tip is what is desired, even after
    /// it was set back.
    pub(super) fn is_late(&mut self) -> Result<bool, EngineError> {
        let ours = self.snapshot.desired.id;
        if self.branches.follows_branch() {
            return Ok(false);
        }
        let Some(newer) = self.snapshot.recorded_desired()?.filter(|&newer| newer != ours) else {
            return Ok(false);
        };
        if self.snapshot.repo.is_ancestor(ours, newer).unwrap_or_default() != Some(true) {
            return Ok(false);
        }
        let message = format!(
            "the newer commit {} is recorded already; this run of {} leaves everything to it",
            newer.short(),
            ours.short()
        );
        self.tell(Event::Note { message });
        Ok(true)
    }

    /// Desired state never runs backwards (Invariant 13); a rewritten branch is reported.
    fn is_newer(&mut self, tips: &super::BranchTips) -> Result<bool, EngineError> {
        let (old, new) = (self.snapshot.desired.id, tips.desired.id);
        if self.snapshot.repo.is_ancestor(old, new)? == Some(true) {
            return Ok(true);
        }
        let branch = self.branches.branch().to_owned();
        let message =
            format!("branch `{branch}` was rewritten: {} is not ahead of {}", new.short(), old.short());
        self.tell(Event::Note { message });
        Ok(true)
    }

    /// After others moved the status branch: every live execution as it is recorded now.
    pub(super) fn reload_live(&mut self) -> Result<(), EngineError> {
        let keys: Vec<ResourceKey> = self.active.keys().cloned().collect();
        for key in keys {
            let record = self.snapshot.record(&key)?;
            self.reload(&key, record);
        }
        Ok(())
    }

    /// One live execution as it is recorded now. Attempts that the record no longer knows are ended.
    pub(super) fn reload(&mut self, key: &ResourceKey, record: Option<Arc<crate::model::StatusRecord>>) {
        let Some(active) = self.active.get_mut(key) else { return };
        if active.record == record {
            return;
        }
        let had = active.token(&self.options.runner);
        active.record = record;
        active.dirty = true;
        let runner = &self.options.runner;
        self.attempts.stop_where(key, |node, attempt| active.runs(node, attempt, runner));
        if had.is_some() && active.token(runner).is_none() && active.status().is_some() {
            let message = format!("another runner took over {key}");
            self.tell(Event::Note { message });
        }
    }

    /// Everything that has to be planned, from the index.
    pub(super) fn take_work(&mut self) -> Result<(), EngineError> {
        let work = self.snapshot.index.work(self.clock.now())?;
        let held_back = self.hold_back(&work)?;
        for key in work {
            if held_back.contains(&key) || self.left_over.contains(&key) {
                continue;
            }
            match self.active.get_mut(&key) {
                Some(active) => active.dirty = true,
                None => self.pending.add(key),
            }
        }
        Ok(())
    }

    /// Deletions that are too many to be carried out without being asked for.
    fn hold_back(&mut self, work: &[ResourceKey]) -> Result<BTreeSet<ResourceKey>, EngineError> {
        let mut gone = BTreeSet::new();
        for key in work {
            let declared = self.snapshot.present(key)?.is_some();
            if !declared && self.snapshot.index.recorded(key)?.is_some_and(|record| record.source.is_some()) {
                gone.insert(key.clone());
            }
        }
        let (declared, recorded) = self.snapshot.index.counts()?;
        let share = gone.len() as f64 / (recorded.max(1) as f64);
        let many = gone.len() >= 10 && share > self.snapshot.config.limits.deletions;
        let empty = declared == 0 && !gone.is_empty();
        if self.options.allow_mass_delete || !(many || empty) {
            self.summary.held_back = 0;
            return Ok(BTreeSet::new());
        }
        if self.summary.held_back != gone.len() {
            self.summary.held_back = gone.len();
            let message = format!(
                "{} of {recorded} resources are no longer declared; that many are only removed with --allow-mass-delete",
                gone.len()
            );
            self.tell(Event::Note { message });
        }
        Ok(gone)
    }

    pub(super) fn is_held_back(&self, key: &ResourceKey) -> bool {
        self.summary.held_back > 0 && !matches!(self.snapshot.present(key), Ok(Some(_)))
    }

    /// The resources whose planning looks at `key`.
    pub(super) fn dependents(&self, key: &ResourceKey) -> Result<Vec<ResourceKey>, EngineError> {
        let mut topics = vec![Topic::Resource(key.clone())];
        if key.kind == Kind::Binding {
            topics.push(Topic::Bindings(key.namespace.clone()));
        }
        let mut keys = Vec::new();
        for topic in &topics {
            keys.extend(self.snapshot.index.waiters(topic)?);
        }
        if key.kind == Kind::Execution
            && let Some(goal) = self.snapshot.index.declared(key)?.and_then(|declared| declared.goal)
        {
            keys.push(goal);
        }
        // What waits in this very process is not in the index yet.
        keys.extend(topics.iter().flat_map(|topic| self.unsaved.waiters(topic)).cloned());
        Ok(keys)
    }

    /// Plans these again.
    pub(super) fn requeue(&mut self, keys: impl IntoIterator<Item = ResourceKey>) {
        for key in keys {
            match self.active.get_mut(&key) {
                Some(active) => active.dirty = true,
                None => self.pending.add(key),
            }
        }
    }

    /// Writes down how everything was left.
    pub(super) fn settle(&mut self) -> Result<(), EngineError> {
        Ok(self.snapshot.index.settle(&self.unsaved.take())?)
    }
}
