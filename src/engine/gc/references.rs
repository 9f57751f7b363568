//! The references that keep what tasks changed and left: removed when the Execution has been over for as long as its record
//! is kept in full. Work branches go with the delivery of what they show.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tracing::info;

use crate::engine::{Branches, EngineError};
use crate::git::{GitError, ObjectId, SwapResult};
use crate::model::{ExecutionPhase, ExecutionStatus, NodePhase, ResourceKey, WORK_BRANCHES};
use crate::plan::is_delivery;
use crate::record::{ARTIFACT_REFS, RESULT_REFS, StatusTree, execution_of};

/// How many references go with one push; the arguments of a program are limited.
const BATCH: usize = 200;

/// What is known of an Execution that references belong to.
#[derive(Debug, Clone)]
pub(super) struct KnownExecution {
    phase: ExecutionPhase,
    end: Option<Timestamp>,
    stored_bytes: u64,
}

impl KnownExecution {
    pub(super) fn of(status: &ExecutionStatus) -> Self {
        let stored_bytes = status.extensions.stored_bytes;
        Self { phase: status.phase, end: status.completion_time, stored_bytes }
    }

    /// One that may be going on, for all that is known.
    pub(super) fn unreadable() -> Self {
        Self { phase: ExecutionPhase::Pending, end: None, stored_bytes: 0 }
    }

    /// Whether it ended before a time. Without an end its age is unknown, and it stays.
    fn ended_before(&self, cutoff: Timestamp) -> bool {
        self.phase.is_terminal() && self.end.is_some_and(|end| end < cutoff)
    }
}

/// Decides which references go.
pub(super) struct ReferenceCollector<'c> {
    pub(super) branches: &'c Branches,
    pub(super) status: &'c StatusTree,
    pub(super) known: &'c BTreeMap<ResourceKey, KnownExecution>,
    pub(super) cutoff: Timestamp,
    /// How many bytes of artifacts and logs all Executions together may keep.
    pub(super) total: u64,
}

impl ReferenceCollector<'_> {
    /// Removes what nobody needs any more, or with `dry_run` only says what that is. The names.
    pub(super) fn collect(&self, dry_run: bool) -> Result<Vec<String>, EngineError> {
        let branches = format!("refs/heads/{WORK_BRANCHES}");
        let found = self.below(&[RESULT_REFS, ARTIFACT_REFS, &branches])?;
        let mut gone = Vec::new();
        for (name, tip) in &found {
            let goes = match name.strip_prefix(&branches) {
                Some(shown) => self.branch_goes(shown, *tip)?,
                None => self.keeping_goes(name, *tip)?,
            };
            if goes {
                gone.push((name.clone(), *tip));
            }
        }
        gone.extend(self.beyond_total(&found, &gone));
        if dry_run {
            return Ok(gone.into_iter().map(|(name, _)| name).collect());
        }
        let mut removed = Vec::new();
        for chunk in gone.chunks(BATCH) {
            removed.extend(self.remove(chunk)?);
        }
        for name in &removed {
            info!(reference = name, "reference removed");
        }
        Ok(removed)
    }

    fn below(&self, prefixes: &[&str]) -> Result<Vec<(String, ObjectId)>, GitError> {
        match self.branches.remote() {
            Some(remote) => remote.refs_below(prefixes),
            None => self.branches.repo().refs_below(prefixes),
        }
    }

    /// Whether a reference that keeps results or artifacts goes.
    fn keeping_goes(&self, name: &str, tip: ObjectId) -> Result<bool, EngineError> {
        let rest = [RESULT_REFS, ARTIFACT_REFS].iter().find_map(|prefix| name.strip_prefix(prefix));
        let Some(key) = rest.and_then(execution_of) else { return Ok(false) };
        match self.known.get(&key) {
            Some(known) => Ok(known.ended_before(self.cutoff)),
            // Its manifest was removed, and the record with it. The commit says when it was last used.
            None => Ok(self.commit(name, tip)?.is_some_and(|(at, _)| at < self.cutoff)),
        }
    }

    /// Whether a branch that shows work goes.
    fn branch_goes(&self, shown: &str, tip: ObjectId) -> Result<bool, EngineError> {
        let Some((execution, node)) = shown.rsplit_once('/') else { return Ok(false) };
        let Some(key) = execution_of(execution) else { return Ok(false) };
        let Some(known) = self.known.get(&key) else {
            let name = format!("refs/heads/{WORK_BRANCHES}{shown}");
            // Ours by its trailer: what a person pushed onto it stays, whatever became of the Execution.
            let of_execution = format!("{}/{}", key.namespace, key.name);
            return Ok(self.commit(&name, tip)?.is_some_and(|(at, execution)| {
                at < self.cutoff && execution.is_some_and(|named| named.ends_with(&of_execution))
            }));
        };
        if !known.phase.is_terminal() {
            return Ok(false);
        }
        let Some(record) = self.status.get(self.branches.repo(), &key)? else { return Ok(false) };
        let Some(status) = record.execution() else { return Ok(false) };
        let base = status.node_statuses.get(node).and_then(|state| state.extensions.base.as_deref());
        // Somebody who took over pushed onto it, and nobody's commits are thrown away.
        if base != Some(tip.to_string().as_str()) {
            return Ok(false);
        }
        Ok(known.ended_before(self.cutoff) || is_delivered(status))
    }

    /// The references of artifacts of those that ended first, as far as all together keep more than they may.
    fn beyond_total(
        &self,
        found: &[(String, ObjectId)],
        gone: &[(String, ObjectId)],
    ) -> Vec<(String, ObjectId)> {
        let mut kept: Vec<(&KnownExecution, &(String, ObjectId))> = found
            .iter()
            .filter(|reference| !gone.contains(reference))
            .filter_map(|reference| {
                let key = execution_of(reference.0.strip_prefix(ARTIFACT_REFS)?)?;
                Some((self.known.get(&key)?, reference))
            })
            .collect();
        let mut bytes: u64 = kept.iter().map(|(known, _)| known.stored_bytes).fold(0, u64::saturating_add);
        kept.retain(|(known, _)| known.phase.is_terminal() && known.end.is_some());
        kept.sort_by_key(|(known, _)| known.end);
        let mut beyond = Vec::new();
        for (known, reference) in kept {
            if bytes <= self.total {
                break;
            }
            bytes = bytes.saturating_sub(known.stored_bytes);
            beyond.push(reference.clone());
        }
        beyond
    }

    /// When the commit of a reference was made, and for which Execution.
    fn commit(&self, name: &str, tip: ObjectId) -> Result<Option<(Timestamp, Option<String>)>, EngineError> {
        let repo = self.branches.repo();
        if !repo.contains(tip)?
            && let Some(remote) = self.branches.remote()
        {
            remote.fetch(repo, &[name])?;
        }
        // Moved meanwhile, so it is in use.
        if !repo.contains(tip)? {
            return Ok(None);
        }
        let commit = repo.commit(tip)?;
        let execution = commit.trailers().into_iter().find(|(key, _)| key == "Planspec-Execution");
        Ok(Some((commit.committer_time, execution.map(|(_, named)| named))))
    }

    fn remove(&self, chunk: &[(String, ObjectId)]) -> Result<Vec<String>, EngineError> {
        let repo = self.branches.repo();
        if let Some(remote) = self.branches.remote() {
            return Ok(remote.remove_refs(repo, chunk)?);
        }
        let mut removed = Vec::new();
        for (name, tip) in chunk {
            if repo.swap_ref(name, Some(*tip), None, "planspec gc")? == SwapResult::Done {
                removed.push(name.clone());
            }
        }
        Ok(removed)
    }
}

/// Whether what an Execution changed has come where it was to go.
fn is_delivered(status: &ExecutionStatus) -> bool {
    status.phase == ExecutionPhase::Succeeded
        && status.node_statuses.values().any(|state| {
            let binding = state.extensions.binding.as_ref();
            state.phase == NodePhase::Succeeded
                && binding.is_some_and(|binding| is_delivery(&binding.provider))
        })
}
