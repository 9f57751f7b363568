//! A status branch that goes back, because somebody rewound, forked or deleted it, would make ended work run once more. A clone
//! remembers the last tip that it saw, the one thing in the cache that decides something, and refuses a branch that lost what that
//! tip held. What `gc` made is another history with the same content, and is recognised by it.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use tracing::{info, warn};

use super::EngineError;
use super::branches::{BranchTips, Branches};
use super::clock::{Clock as _, SystemClock};
use super::lost_records::{LostRecord, below_unreadable, lost_records};
use super::signed::ACCEPTED;
use super::status_log::status_ref;
use crate::config::Config;
use crate::git::{Commit, GitError, ObjectId, RefUpdate, Repo, Signature, SwapResult};
use crate::model::{ExecutionPhase, ExecutionStatus, ResourceKey, ResourceStatus, StatusRecord};
use crate::record::{Batch, RecordEdit, RecordError, StatusTree, Transition, Writer, may_hold_records};

/// How many Executions are named that would run again.
const NAMED: usize = 5;

/// The last tip of each status branch that this clone saw.
pub(super) struct StatusMemory {
    file: PathBuf,
    branch: String,
}

impl Branches {
    /// The newest commits. With a remote they are fetched: a pass takes what the remote has, not what a CI job happened
    /// to check out (Invariant 13).
    ///
    /// # Errors
    /// Git; no commit; an invalid configuration; a branch that cannot hold the desired state.
    pub fn tips(&self) -> Result<BranchTips, EngineError> {
        let mut tips = self.newest_tips()?;
        let memory = self.memory(&status_ref(&tips.config))?;
        let mut lost = self.lost(&tips.config, memory.last(), &tips.desired, tips.status)?;
        if lost.is_some() {
            // Another process of this clone may have published and remembered a tip since the branch was read. What it
            // remembers now, a reading from now on has to follow.
            let last = memory.last();
            tips = self.newest_tips()?;
            lost = self.lost(&tips.config, last, &tips.desired, tips.status)?;
        }
        tips.replaces = self.check_desired(&tips)?;
        let Some(lost) = lost else {
            let taken = self.take_over(&tips)?;
            if let Some(tip) = tips.status {
                memory.keep(tip);
            }
            return match taken {
                Some(commit) => self.accepted(tips, commit),
                None => Ok(tips),
            };
        };
        if !self.accepts_history() {
            return Err(lost.refuse(&tips.config.status_branch, tips.status));
        }
        let by = self.repo().runner_identity();
        let at = SystemClock.now();
        let Some(commit) = lost.accept(self.repo(), &tips.desired, tips.status, &by, at)? else {
            return Ok(tips);
        };
        let commit = self.sign_as_runner(&tips.config, commit)?;
        self.accepted(tips, commit)
    }

    /// Puts a commit on the branch that changes no record.
    pub(super) fn accepted(&self, tips: BranchTips, commit: ObjectId) -> Result<BranchTips, EngineError> {
        match self.publish(&tips.config, tips.status, commit, "planspec: status history")? {
            SwapResult::Done => Ok(BranchTips { status: Some(commit), replaces: None, ..tips }),
            // Somebody was faster; what is there now is looked at anew.
            SwapResult::Moved(_) => self.tips(),
        }
    }

    /// Refuses a tip that lost what this clone saw. Whoever lost a race to it would else go on from there.
    pub(crate) fn check_follows(
        &self,
        config: &Config,
        desired: &Commit,
        tip: Option<ObjectId>,
    ) -> Result<(), EngineError> {
        self.check_signed(config, desired.id, tip)?;
        let memory = self.memory(&status_ref(config))?;
        if self.accepts_history() || self.lost(config, memory.last(), desired, tip)?.is_none() {
            return Ok(());
        }
        // As in `tips`: only what was remembered before the branch was read is proof.
        let last = memory.last();
        let tip = self.newest_tips()?.status;
        match self.lost(config, last, desired, tip)? {
            Some(lost) => Err(lost.refuse(&config.status_branch, tip)),
            None => Ok(()),
        }
    }

    /// The memory of the last status tip.
    pub(super) fn memory(&self, reference: &str) -> Result<StatusMemory, EngineError> {
        let name = match self.remote() {
            Some(remote) => remote.local_name(reference)?,
            None => reference.to_owned(),
        };
        Ok(StatusMemory::of(self.repo(), name))
    }

    /// Remembers what this runner published. Also where `gc` made another history: this clone knows that it did.
    pub(super) fn remember(&self, update: Option<&RefUpdate>) -> Result<(), EngineError> {
        let Some((reference, tip)) = update.map(|update| (&update.reference, update.new)) else {
            return Ok(());
        };
        self.memory(reference)?.keep(tip);
        Ok(())
    }

    /// What `tip` lost of `last`, which was seen, if it does not follow from that.
    pub(super) fn lost(
        &self,
        config: &Config,
        last: Option<ObjectId>,
        desired: &Commit,
        tip: Option<ObjectId>,
    ) -> Result<Option<LostHistory>, EngineError> {
        let Some(last) = last.filter(|last| Some(*last) != tip) else { return Ok(None) };
        let follows = || tip.map_or(Ok(Some(false)), |tip| self.repo().is_ancestor(last, tip));
        let known = follows()?;
        if known == Some(true) {
            return Ok(None);
        }
        let lost = self.lost_content(last, desired, tip)?;
        if let (Some(_), None, Some(tip)) = (&lost, known, tip) {
            // A clone that has only the newest commits cannot tell, and what a record was long ago it may not be any more.
            self.complete_status(config, tip)?;
            return if follows()? == Some(true) {
                Ok(None)
            } else {
                self.lost_content(last, desired, Some(tip))
            };
        }
        Ok(lost)
    }

    /// What was recorded at `last` and is not at `tip`, whether or not the one follows from the other.
    fn lost_content(
        &self,
        last: ObjectId,
        desired: &Commit,
        tip: Option<ObjectId>,
    ) -> Result<Option<LostHistory>, EngineError> {
        let repo = self.repo();
        let before = match StatusTree::at(repo, Some(last)) {
            Ok(before) => before,
            // The repository was packed since, and the old tip with it is gone: what it held cannot be known.
            Err(RecordError::Git(GitError::Missing { .. })) => {
                return Ok(Some(LostHistory { last, records: Vec::new() }));
            }
            Err(error) => return Err(error.into()),
        };
        let now = StatusTree::at(repo, tip)?;
        let records = match lost_records(repo, desired, before, now) {
            Err(EngineError::Git(GitError::BadTree { .. })) => {
                // Where it is the branch itself that cannot be read, that is what has to be put right.
                repo.compare_within(None, now.tree, &may_hold_records)?;
                below_unreadable(repo, desired, last, now)?
            }
            records => Some(records?),
        };
        info!(%last, ?tip, lost = records.as_ref().map(Vec::len), "the status branch does not follow from the last tip that was seen");
        Ok(match records {
            Some(records) => (!records.is_empty()).then_some(LostHistory { last, records }),
            None => Some(LostHistory { last, records: Vec::new() }),
        })
    }
}

/// What a branch lost that went back.
#[derive(Debug)]
pub(super) struct LostHistory {
    /// The tip that was seen last.
    last: ObjectId,
    /// What was recorded there and is not any more; nothing where the last tip cannot be read.
    records: Vec<LostRecord>,
}

impl StatusMemory {
    /// The memory of a branch, by its full local name.
    pub(super) fn of(repo: &Repo, branch: String) -> Self {
        Self { file: repo.cache_dir().join("status-tips.json"), branch }
    }

    fn all(&self) -> BTreeMap<String, String> {
        fs::read(&self.file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }

    /// The tip that was seen last.
    pub(super) fn last(&self) -> Option<ObjectId> {
        self.all().get(&self.branch)?.parse().ok()
    }

    /// Remembers a tip.
    pub(super) fn keep(&self, tip: ObjectId) {
        let mut all = self.all();
        if all.insert(self.branch.clone(), tip.to_string()) == Some(tip.to_string()) {
            return;
        }
        let fresh = self.file.with_extension(format!("{}.new", std::process::id()));
        let bytes = serde_json::to_vec(&all).unwrap_or_default();
        // After each commit, so that the folder is made only where it is not there.
        let written = fs::write(&fresh, &bytes).or_else(|_| {
            self.file.parent().map_or(Ok(()), fs::create_dir_all)?;
            fs::write(&fresh, &bytes)
        });
        if let Err(error) = written.and_then(|()| fs::rename(&fresh, &self.file)) {
            warn!(%error, "the last status tip could not be remembered; going back will not be seen");
            let _ = fs::remove_file(&fresh);
        }
    }
}

impl LostHistory {
    /// The error that refuses the branch.
    pub(super) fn refuse(&self, branch: &str, tip: Option<ObjectId>) -> EngineError {
        let names: Vec<String> = self
            .records
            .iter()
            .filter(|(old, _)| old.execution().is_some())
            .map(|(old, _)| format!("{}/{}", old.metadata.namespace, old.metadata.name))
            .collect();
        let more = names.len().saturating_sub(NAMED);
        let mut again = names.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
        if more > 0 {
            again.push_str(&format!(" and {more} more"));
        }
        let again = match (names.is_empty(), self.records.is_empty()) {
            (false, _) => format!("would run again: {again}"),
            (true, false) => "decisions at gates are lost".to_owned(),
            (true, true) => "what it held cannot be read any more".to_owned(),
        };
        EngineError::StatusWentBack {
            branch: branch.to_owned(),
            last: self.last.to_string(),
            now: match tip {
                Some(tip) => format!("{} does not follow from that", tip.short()),
                None => "it is gone".to_owned(),
            },
            again,
        }
    }

    /// The commit that records that somebody takes the branch as it is. Fencing tokens go on from the lost ones, so that no
    /// attempt gets the name of one that was (Invariant 10).
    pub(super) fn accept(
        &self,
        repo: &Repo,
        desired: &Commit,
        tip: Option<ObjectId>,
        by: &Signature,
        at: Timestamp,
    ) -> Result<Option<ObjectId>, EngineError> {
        let mut batch = Batch {
            desired: Some(desired.id),
            runner: ACCEPTED.to_owned(),
            at,
            changes: Vec::new(),
            transitions: Vec::new(),
            dashboard: None,
        };
        for (old, new) in &self.records {
            let Some(before) = old.execution() else { continue };
            let record = continued(old, before, new.as_ref());
            batch.transitions.push(self.taken(old.key(), by));
            batch.changes.push(RecordEdit::Put { record: Arc::new(record), pins: None });
        }
        let base = StatusTree::at(repo, tip)?;
        if let Some(written) = Writer::new().write(repo, &base, &batch, by)? {
            return Ok(Some(written.commit));
        }
        let (Some(tip), Some(tree)) = (base.commit, base.tree) else { return Ok(None) };
        let message = format!(
            "status history accepted by {}\n\nThe branch does not follow from {}.\n\nPlanspec-Runner: {ACCEPTED}\n",
            by.email, self.last
        );
        Ok(Some(repo.write_commit(tree, &[tip], &message, by, at)?))
    }

    fn taken(&self, key: ResourceKey, by: &Signature) -> Transition {
        Transition {
            key,
            node: None,
            from: None,
            to: "HistoryAccepted".to_owned(),
            reason: None,
            message: format!("the branch does not follow from {}", self.last),
            attempt: 0,
            by: Some(by.email.clone()),
        }
    }
}

/// The record as it is now, or a fresh one, with the tokens of the lost one used up.
fn continued(old: &StatusRecord, before: &ExecutionStatus, new: Option<&StatusRecord>) -> StatusRecord {
    let mut record = new.cloned().unwrap_or_else(|| StatusRecord {
        metadata: old.metadata.clone(),
        status: ResourceStatus::Execution(Box::new(ExecutionStatus {
            phase: ExecutionPhase::Pending,
            run_id: before.run_id.clone(),
            queued_time: before.queued_time,
            last_phase_transition_time: before.queued_time,
            spec_hash: before.spec_hash.clone(),
            observed_generation: before.observed_generation,
            ..ExecutionStatus::default()
        })),
    });
    if let ResourceStatus::Execution(status) = &mut record.status {
        status.extensions.last_token = status.extensions.last_token.max(before.extensions.last_token);
    }
    record
}
