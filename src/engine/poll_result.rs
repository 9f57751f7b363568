//! What became of work that goes on elsewhere: how a look at it is taken into the record, and when it is looked at next
//! on this machine.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::EngineError;
use super::capabilities::checked;
use super::snapshot::Snapshot;
use crate::index::Index;
use crate::model::{ExecutionStatus, NodeId, NodeReason};
use crate::plan::{Draft, after_poll, poll_applies};
use crate::run::{AttemptReport, CompiledPlan};

/// How much of the file of times is read.
const MOST_TIMES: usize = 100_000;

/// What a look at work that goes on elsewhere came to.
#[derive(Debug, Clone)]
pub(super) struct PollResult {
    pub(super) uid: String,
    pub(super) node: NodeId,
    pub(super) attempt: u32,
    /// What the provider was asked about.
    pub(super) handle: Option<String>,
    /// None when nothing was learned.
    pub(super) report: Option<AttemptReport>,
    /// When the next look is due, unless something is recorded before.
    pub(super) next: Timestamp,
    pub(super) at: Timestamp,
}

impl PollResult {
    /// Takes it into a draft: nothing when all is as it was, or when the node went on by other means meanwhile.
    pub(super) fn take_up(
        &self,
        snapshot: &Snapshot,
        compiled: &CompiledPlan,
        uid: &str,
        draft: &mut Draft,
    ) -> Result<(), EngineError> {
        let Some(report) = self.report.clone().filter(|_| uid == self.uid) else { return Ok(()) };
        let Some(ix) = compiled.topology.find(self.node.as_str()) else { return Ok(()) };
        let Some(node) = compiled.node(ix) else { return Ok(()) };
        let Some(state) = draft.status.node_statuses.get(&self.node) else { return Ok(()) };
        if !poll_applies(node, state, self.attempt, self.handle.as_deref()) {
            return Ok(());
        }
        let report = checked(snapshot, compiled, ix, report)?;
        let key = format!("{uid}/{}/{}", self.node, self.attempt);
        for change in after_poll(node, state, report, &key, self.at) {
            draft.node(&self.node, change, self.at);
        }
        Ok(())
    }
}

/// When what goes on elsewhere is looked at next on this machine: kept beside the index, so that intervals hold across
/// runs although a look that finds nothing new is not recorded. Losing the file costs early looks, no more.
#[derive(Debug)]
pub(super) struct PollTimes {
    path: PathBuf,
    next: BTreeMap<String, i64>,
    changed: bool,
}

/// The file of times in a cache.
fn file(cache: &Path) -> PathBuf {
    cache.join("polls.json")
}

/// Makes everything that goes on elsewhere due at once on this machine, for a pass that was told that something happened
/// there.
///
/// # Errors
/// The index.
pub(crate) fn forget_looks(cache: &Path) -> Result<(), EngineError> {
    // Where there is none, nothing was put off.
    let _ = fs::remove_file(file(cache));
    let mut index = Index::open(Some(cache))?;
    let (_, waiting) = index.waiting(MOST_TIMES)?;
    let elsewhere = [NodeReason::AwaitingPerson, NodeReason::AwaitingProvider, NodeReason::AwaitingEvent];
    let due =
        waiting.into_iter().filter(|one| elsewhere.iter().any(|reason| one.reason == reason.to_string()));
    Ok(index.add_work(due.map(|one| one.key))?)
}

impl PollTimes {
    pub(super) fn load(cache: &Path) -> Self {
        let path = file(cache);
        let next = read(&path);
        Self { path, next, changed: false }
    }

    /// The name of an attempt among the times.
    pub(super) fn name(uid: &str, node: &NodeId, attempt: u32) -> String {
        format!("{uid}/{node}/{attempt}")
    }

    /// When to look next; not before `recorded`.
    pub(super) fn due(&self, name: &str, recorded: Timestamp) -> Timestamp {
        let kept = self.next.get(name).and_then(|&millis| Timestamp::from_millisecond(millis).ok());
        kept.map_or(recorded, |kept| kept.max(recorded))
    }

    pub(super) fn set(&mut self, name: String, at: Timestamp) {
        self.next.insert(name, at.as_millisecond());
        self.changed = true;
    }

    /// Writes the times down, those that are over left out. Other runners on this machine may have written theirs.
    pub(super) fn save(&mut self, now: Timestamp) {
        if !std::mem::take(&mut self.changed) {
            return;
        }
        for (name, at) in read(&self.path) {
            let kept = self.next.entry(name).or_insert(at);
            *kept = at.max(*kept);
        }
        self.next.retain(|_, &mut at| at > now.as_millisecond());
        let fresh = self.path.with_extension(format!("{}.new", std::process::id()));
        let bytes = serde_json::to_vec(&self.next).unwrap_or_default();
        // A cache that cannot be written only costs early looks.
        if fs::write(&fresh, bytes).and_then(|()| fs::rename(&fresh, &self.path)).is_err() {
            let _ = fs::remove_file(&fresh);
        }
    }
}

fn read(path: &Path) -> BTreeMap<String, i64> {
    let bytes = fs::read(path).unwrap_or_default();
    let times: BTreeMap<String, i64> = serde_json::from_slice(&bytes).unwrap_or_default();
    if times.len() > MOST_TIMES { BTreeMap::new() } else { times }
}

/// The handle of a node, as it is recorded.
pub(super) fn handle_of(status: &ExecutionStatus, node: &NodeId) -> Option<String> {
    status.node_statuses.get(node)?.extensions.handle.clone()
}
