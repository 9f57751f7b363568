//! The reference that keeps what the nodes of an Execution changed: it moves in the same step as the status commit that
//! records it, so that there never is a result without its record, nor a record without its result.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

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
    /// Whether earlier ones are kept already.
    has_earlier: bool,
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
            if !commits.is_empty() {
                let has_earlier = old.is_some_and(names_work);
                all.push(Self { key: key.clone(), commits, has_earlier });
            }
        }
        Ok(all)
    }

    /// The reference of the work, and its next value: a commit that has all of it as parents. Nothing is merged for that, so
    /// alternatives that conflict are kept alike.
    pub(super) fn update(&self, branches: &Branches, at: jiff::Timestamp) -> Result<RefUpdate, EngineError> {
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

fn names_work(status: &ExecutionStatus) -> bool {
    let nodes = status.node_statuses.values().map(|state| &state.extensions);
    nodes.into_iter().any(|node| node.result.is_some() || node.base.is_some())
}
