//! Executions whose manifests were removed lately: how far they came, which change introduced them, and which one took them away.
//! The status branch does not hold their records any more, so that they are read from its history.

use std::collections::{BTreeMap, BTreeSet};

use super::{PassView, RECENT_COMMITS, origin};
use crate::cli::desired;
use crate::cli::error::CliError;
use crate::cli::view::execution_progress;
use crate::git::ObjectId;
use crate::model::{Kind, ResourceKey};
use crate::record::{StatusTree, desired_commit};
use crate::report::progress_comment::ExecutionProgress;

/// For how many it is found out; after a mass deletion the rest is left to the status branch.
const MOST_REMOVED: usize = 100;

/// How often a manifest may have moved to another file before it was removed.
const MOST_MOVES: usize = 5;

/// An Execution that is not declared any more.
#[derive(Debug, Clone)]
pub(crate) struct RemovedExecution {
    /// How far it came, as its last record has it.
    pub(crate) progress: ExecutionProgress,
    /// The commit of the desired branch that introduced it.
    pub(crate) introduced: ObjectId,
    /// The commit of the desired branch that removed it.
    pub(crate) removed: ObjectId,
}

/// The last record of an Execution.
struct LastRecord {
    status: StatusTree,
    /// A commit of the desired branch that declared it.
    declared_at: ObjectId,
}

impl PassView {
    /// Those of these Executions that are gone, as far as the history that is here tells both ends.
    pub(crate) fn removed(&self, keys: &BTreeSet<ResourceKey>) -> Result<Vec<RemovedExecution>, CliError> {
        let mut gone = BTreeSet::new();
        for key in keys.iter().filter(|key| key.kind == Kind::Execution) {
            if gone.len() < MOST_REMOVED && self.record(key)?.is_none() {
                gone.insert(key.clone());
            }
        }
        // Nearly always, and then no history is read.
        if gone.is_empty() {
            return Ok(Vec::new());
        }
        let mut found = Vec::new();
        for (key, last) in self.last_records(gone)? {
            let Some((introduced, removed)) = self.both_ends(&key, last.declared_at)? else { continue };
            let config = &self.tips.config;
            let progress = execution_progress::of(&self.workspace, config, &last.status, &[key])?.pop();
            found.extend(progress.map(|progress| RemovedExecution {
                // Nobody can do anything about it any more.
                progress: ExecutionProgress { waits: Vec::new(), is_removed: true, ..progress },
                introduced,
                removed,
            }));
        }
        Ok(found)
    }

    /// The newest status commit that has each of these records.
    fn last_records(
        &self,
        mut open: BTreeSet<ResourceKey>,
    ) -> Result<BTreeMap<ResourceKey, LastRecord>, CliError> {
        let repo = &self.workspace.repo;
        let mut statuses: BTreeMap<ResourceKey, StatusTree> = BTreeMap::new();
        let mut found = BTreeMap::new();
        let Some(tip) = self.tips.status else { return Ok(found) };
        for commit in repo.log(tip).take(RECENT_COMMITS) {
            let commit = commit?;
            let status = StatusTree { commit: Some(commit.id), tree: Some(commit.tree) };
            for key in open.clone() {
                let Some(record) = status.get(repo, &key)? else { continue };
                let newest = *statuses.entry(key.clone()).or_insert(status);
                let pin = record.execution().and_then(|status| status.extensions.pinned.as_ref());
                // Where it was never pinned, the newest commit that still found it declared: the one that made its last record may
                // be the one that found it gone.
                let at = match pin {
                    Some(pin) => pin.commit.parse().ok(),
                    None => desired_commit(&commit).filter(|_| newest != status),
                };
                if let Some(declared_at) = at {
                    open.remove(&key);
                    found.insert(key, LastRecord { status: newest, declared_at });
                }
            }
            if open.is_empty() {
                break;
            }
        }
        Ok(found)
    }

    /// The commits that introduced and removed what was declared at one between them.
    fn both_ends(
        &self,
        key: &ResourceKey,
        declared_at: ObjectId,
    ) -> Result<Option<(ObjectId, ObjectId)>, CliError> {
        let repo = &self.workspace.repo;
        let config = &self.tips.config;
        let Some(tip) = self.tips.desired else { return Ok(None) };
        // A clone without history does not know, and then nothing is claimed.
        if repo.is_ancestor(declared_at, tip).ok().flatten() != Some(true) {
            return Ok(None);
        }
        let file = |commit| -> Result<Option<String>, CliError> {
            Ok(desired::load(repo, commit, config)?.path_of(key).map(str::to_owned))
        };
        // What a Schedule or a node made was never declared: it goes when its owner says so, which is nobody's change.
        let Some(mut path) = file(declared_at)? else { return Ok(None) };
        let wanted = BTreeSet::from([key.clone()]);
        let files = BTreeMap::from([(path.clone(), wanted)]);
        let Some(introduced) = origin::origins(repo, declared_at, files, &config.limits)?.remove(key) else {
            return Ok(None);
        };
        for _ in 0..MOST_MOVES {
            let Some(removed) = origin::removal(repo, tip, (&path, key), &config.limits)? else { break };
            match file(removed)? {
                Some(moved) if moved != path => path = moved,
                _ => return Ok(Some((introduced, removed))),
            }
        }
        Ok(None)
    }
}
