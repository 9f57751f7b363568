//! The reference that keeps what the nodes of an Execution changed: it moves in the same step as the status commit that
//! records it, so that there never is a result without its record, nor a record without its result.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tracing::info;

use crate::engine::{Branches, EngineError};
use crate::git::{ObjectId, RefUpdate, Signature};
use crate::model::{ExecutionStatus, ResourceKey, StatusRecord};
use crate::plan::new_work;
use crate::record::results_ref;

/// Commits that a status commit names for the first time.
#[derive(Debug, Clone)]
pub(crate) struct KeptWork {
    pub(crate) key: ResourceKey,
    commits: Vec<ObjectId>,
    /// The commit on which all of it began.
    pinned: Option<ObjectId>,
    /// Whether earlier ones are kept already.
    has_earlier: bool,
    /// Branches for people that move: the name, where it was moved before, and where it goes.
    branches: Vec<(String, Option<ObjectId>, ObjectId)>,
}

impl KeptWork {
    /// What has to be kept with these records; `published` gives a record as it is published.
    pub(crate) fn of(
        puts: &BTreeMap<ResourceKey, Option<Arc<StatusRecord>>>,
        mut published: impl FnMut(&ResourceKey) -> Result<Option<Arc<StatusRecord>>, EngineError>,
    ) -> Result<Vec<Self>, EngineError> {
        let mut all = Vec::new();
        for (key, record) in puts {
            let Some(next) = record.as_ref().and_then(|record| record.execution()) else { continue };
            if !names_work(next) {
                continue;
            }
            let old = published(key)?;
            let old = old.as_ref().and_then(|old| old.execution());
            let commits: Vec<ObjectId> =
                new_work(old, next).iter().filter_map(|commit| commit.parse().ok()).collect();
            let branches = moved_branches(old, next);
            if !commits.is_empty() || !branches.is_empty() {
                let has_earlier = old.is_some_and(names_work);
                let pinned = next.start_commit().and_then(|commit| commit.parse().ok());
                all.push(Self { key: key.clone(), commits, pinned, has_earlier, branches });
            }
        }
        Ok(all)
    }

    /// Every reference that moves with the record.
    pub(super) fn updates(
        &self,
        branches: &Branches,
        at: jiff::Timestamp,
    ) -> Result<Vec<RefUpdate>, EngineError> {
        let repo = branches.repo();
        let mut updates = Vec::new();
        if !self.commits.is_empty() {
            updates.push(self.keep(branches, at)?);
        }
        for (name, ours, new) in &self.branches {
            let reference = format!("refs/heads/{name}");
            let local = branches.remote().map(|remote| remote.local_name(&reference)).transpose()?;
            let known = repo.read_ref(local.as_deref().unwrap_or(&reference))?;
            // A person who took over pushed onto it, and nobody's commits are thrown away for a picture of ours.
            if let Some(known) = known
                && Some(known) != *ours
                && !self.has_kept(branches, known)?
            {
                info!(branch = name, "leave a work branch where somebody moved it");
                continue;
            }
            updates.push(RefUpdate { reference, expected: known, new: *new });
        }
        Ok(updates)
    }

    /// Whether a commit is one that was kept before: then the branch is where this Execution left it, also if a `retry` has
    /// forgotten since that it did.
    fn has_kept(&self, branches: &Branches, commit: ObjectId) -> Result<bool, EngineError> {
        let repo = branches.repo();
        let reference = results_ref(&self.key);
        let kept = match branches.remote() {
            None => repo.read_ref(&reference)?,
            Some(remote) => match repo.read_ref(&remote.local_name(&reference)?)? {
                // A runner that takes over in a fresh clone: only the remote knows what was kept.
                None => remote.fetch(repo, &[&reference])?.first().copied().flatten(),
                known => known,
            },
        };
        let Some(kept) = kept else { return Ok(false) };
        // What a person pushed onto the branch is no ancestor of what was kept, so it is left alone.
        if repo.is_ancestor(commit, kept)? != Some(true) {
            return Ok(false);
        }
        // What the work began on is among its ancestors as well, and a branch there was set back by a person.
        Ok(match self.pinned {
            Some(pinned) => repo.is_ancestor(commit, pinned)? == Some(false),
            None => false,
        })
    }

    /// The reference of the work, and its next value: a commit that has all of it as parents. Nothing is merged for that, so
    /// alternatives that conflict are kept alike.
    fn keep(&self, branches: &Branches, at: jiff::Timestamp) -> Result<RefUpdate, EngineError> {
        let repo = branches.repo();
        let reference = results_ref(&self.key);
        let expected = match branches.remote() {
            None => repo.read_ref(&reference)?,
            Some(remote) => match repo.read_ref(&remote.local_name(&reference)?)? {
                // Another runner kept it: what this one builds on has to be named by the same reference.
                None if self.has_earlier => remote.fetch(repo, &[&reference])?.first().copied().flatten(),
                known => known,
            },
        };
        let parents: BTreeSet<ObjectId> = self.commits.iter().copied().collect();
        let parents: Vec<ObjectId> = expected.into_iter().chain(parents).collect();
        let tree = repo.edit_tree(None, &BTreeMap::new())?;
        let author = Signature { name: "planspec".to_owned(), email: "planspec@localhost".to_owned() };
        let ResourceKey { namespace, name, .. } = &self.key;
        let message = format!("Keep the work of {namespace}/{name}\n");
        let new = repo.write_commit(tree, &parents, &message, &author, at)?;
        Ok(RefUpdate { reference, expected, new })
    }
}

/// The branches of gates that show another commit than before.
fn moved_branches(
    old: Option<&ExecutionStatus>,
    next: &ExecutionStatus,
) -> Vec<(String, Option<ObjectId>, ObjectId)> {
    let shown = |status: &ExecutionStatus, id| {
        let node = &status.node_statuses.get(id)?.extensions;
        Some((node.work_branch.clone()?, node.base.as_ref()?.parse::<ObjectId>().ok()?))
    };
    let mut moved = Vec::new();
    for id in next.node_statuses.keys() {
        let Some((name, new)) = shown(next, id) else { continue };
        let before = old.and_then(|old| shown(old, id)).map(|(_, commit)| commit);
        if before != Some(new) {
            moved.push((name, before, new));
        }
    }
    moved
}

fn names_work(status: &ExecutionStatus) -> bool {
    let mut nodes = status.node_statuses.values().map(|state| &state.extensions);
    status.extensions.base.is_some() || nodes.any(|node| node.result.is_some() || node.base.is_some())
}
