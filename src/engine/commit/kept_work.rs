//! The reference that keeps what the nodes of an Execution changed: it moves in the same step as the status commit that
//! records it, so that there never is a result without its record, nor a record without its result.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tracing::info;

use crate::engine::attempt::files::sources::references;
use crate::engine::{Branches, EngineError};
use crate::git::{ObjectId, RefUpdate, Signature};
use crate::model::{ExecutionStatus, NodeTrait, ResourceKey, StatusRecord, is_work_branch};
use crate::plan::new_work;
use crate::record::{artifacts_ref, results_ref};

/// Commits that a status commit names for the first time.
#[derive(Debug, Clone)]
pub(crate) struct KeptWork {
    pub(crate) key: ResourceKey,
    commits: Vec<ObjectId>,
    /// The commit on which all of it began.
    pinned: Option<ObjectId>,
    /// Whether earlier ones are kept already.
    has_earlier: bool,
    /// Files of attempts: the path in the tree of their reference, and their tree.
    files: Vec<(String, ObjectId)>,
    /// Whether files of earlier attempts are kept already.
    has_earlier_files: bool,
    /// The reference that keeps the files of the Execution whose work was taken over.
    taken_over: Option<String>,
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
            if !names_work(next) && next.extensions.stored_bytes == 0 && next.extensions.reuse.is_none() {
                continue;
            }
            let old = published(key)?;
            let old = old.as_ref().and_then(|old| old.execution());
            let commits: Vec<ObjectId> =
                new_work(old, next).iter().filter_map(|commit| commit.parse().ok()).collect();
            let branches = moved_branches(key, old, next);
            let files = new_files(old, next);
            if !commits.is_empty() || !branches.is_empty() || !files.is_empty() {
                let has_earlier = old.is_some_and(names_work);
                let has_earlier_files = old.is_some_and(|old| old.extensions.stored_bytes > 0);
                let taken_over = references(key, next).into_iter().nth(1);
                let pinned = next.start_commit().and_then(|commit| commit.parse().ok());
                let key = key.clone();
                all.push(Self {
                    key,
                    commits,
                    pinned,
                    has_earlier,
                    files,
                    has_earlier_files,
                    taken_over,
                    branches,
                });
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
        // First, as what is refused without a name counts as the first: work can do without its artifacts.
        updates.extend(self.keep_files(branches, at)?);
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
        // Another runner may have kept it: what this one builds on has to be named by the same reference.
        let expected = known(branches, &reference, self.has_earlier)?;
        let parents: BTreeSet<ObjectId> = self.commits.iter().copied().collect();
        let parents: Vec<ObjectId> = expected.into_iter().chain(parents).collect();
        let tree = repo.edit_tree(None, &BTreeMap::new())?;
        let ResourceKey { namespace, name, .. } = &self.key;
        let message = format!("Keep the work of {namespace}/{name}\n");
        let new = repo.write_commit(tree, &parents, &message, &nobody(), at)?;
        Ok(RefUpdate { reference, expected, new })
    }

    /// The reference of artifacts and logs, and its next value: a commit whose tree has the new ones beside the earlier ones.
    fn keep_files(&self, branches: &Branches, at: jiff::Timestamp) -> Result<Option<RefUpdate>, EngineError> {
        if self.files.is_empty() {
            return Ok(None);
        }
        let repo = branches.repo();
        let reference = artifacts_ref(&self.key);
        let expected = known(branches, &reference, self.has_earlier_files)?;
        let mut trees = BTreeMap::new();
        for (path, tree) in &self.files {
            if !repo.contains(*tree)?
                && let (Some(remote), Some(taken_over)) = (branches.remote(), &self.taken_over)
            {
                remote.fetch(repo, &[taken_over])?;
            }
            // What was taken over may be gone since: the record says then where it would be.
            if repo.contains(*tree)? {
                trees.insert(path.clone(), *tree);
            }
        }
        if trees.is_empty() {
            return Ok(None);
        }
        // Of an Execution of the same name that was deleted, nothing goes on.
        let earlier = expected.filter(|_| self.has_earlier_files);
        let earlier = earlier.map(|commit| repo.commit(commit)).transpose()?.map(|commit| commit.tree);
        let tree = repo.edit_own_directories(earlier, &BTreeMap::new(), &trees)?;
        let ResourceKey { namespace, name, .. } = &self.key;
        let message = format!("Keep the artifacts and logs of {namespace}/{name}\n");
        let parents: Vec<ObjectId> = expected.into_iter().collect();
        let new = repo.write_commit(tree, &parents, &message, &nobody(), at)?;
        Ok(Some(RefUpdate { reference, expected, new }))
    }
}

/// The value of a reference of ours as this clone knows it. On a remote where it is known to be, and not here, it is fetched.
fn known(branches: &Branches, reference: &str, has_earlier: bool) -> Result<Option<ObjectId>, EngineError> {
    let repo = branches.repo();
    let Some(remote) = branches.remote() else { return Ok(repo.read_ref(reference)?) };
    match repo.read_ref(&remote.local_name(reference)?)? {
        None if has_earlier => Ok(remote.fetch(repo, &[reference])?.first().copied().flatten()),
        known => Ok(known),
    }
}

/// In whose name the references of ours move.
fn nobody() -> Signature {
    Signature { name: "planspec".to_owned(), email: "planspec@localhost".to_owned() }
}

/// The files of attempts that a status names and an earlier one did not.
fn new_files(old: Option<&ExecutionStatus>, next: &ExecutionStatus) -> Vec<(String, ObjectId)> {
    let tree = |status: &ExecutionStatus, id| {
        let stored = status.node_statuses.get(id)?.extensions.stored.clone()?;
        Some((stored.path.clone(), stored.tree.as_ref()?.parse::<ObjectId>().ok()?))
    };
    let found = next.node_statuses.having(NodeTrait::StoresFiles).filter_map(|(id, _)| {
        let new = tree(next, id)?;
        (old.and_then(|old| tree(old, id)).as_ref() != Some(&new)).then_some(new)
    });
    found.collect()
}

/// The branches of gates and deliveries that show another commit than before.
fn moved_branches(
    key: &ResourceKey,
    old: Option<&ExecutionStatus>,
    next: &ExecutionStatus,
) -> Vec<(String, Option<ObjectId>, ObjectId)> {
    let shown = |status: &ExecutionStatus, id| {
        let node = &status.node_statuses.get(id)?.extensions;
        Some((node.work_branch.clone()?, node.base.as_ref()?.parse::<ObjectId>().ok()?))
    };
    let mut moved = Vec::new();
    for (id, _) in next.node_statuses.having(NodeTrait::ShowsWork) {
        let Some((name, new)) = shown(next, id).filter(|(name, _)| is_work_branch(key, name)) else {
            continue;
        };
        let before = old.and_then(|old| shown(old, id)).map(|(_, commit)| commit);
        // A delivery takes over the branch of a gate as it is. Moved once more, it would undo what somebody pushed there since.
        let is_there = old.is_some_and(|old| {
            old.node_statuses.having(NodeTrait::ShowsWork).any(|(other, _)| {
                other != id && shown(old, other).is_some_and(|it| it.0 == name && it.1 == new)
            })
        });
        if before != Some(new) && !is_there {
            moved.push((name, before, new));
        }
    }
    moved
}

fn names_work(status: &ExecutionStatus) -> bool {
    status.node_statuses.has(NodeTrait::NamesCommit) || status.extensions.base.is_some()
}
