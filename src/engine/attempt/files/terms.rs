//! The terms under which artifacts and logs are kept, and what was kept by them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tracing::warn;

use super::total::TotalKept;
use crate::config::{ArtifactLimits, ArtifactStore, BucketAccess, Config};
use crate::engine::attempt::workspace::{Workspaces, lock};
use crate::engine::status_log::status_ref;
use crate::model::ResourceKey;
use crate::provider::ObjectStore;

/// What the configuration says about artifacts and logs, and what this runner has stored by it.
#[derive(Debug, Default)]
pub(crate) struct FileTerms {
    pub(crate) store: ArtifactStore,
    pub(crate) limits: ArtifactLimits,
    /// The bucket, where the store is one.
    pub(crate) bucket: Option<ObjectStore>,
    /// How many bytes are stored of an Execution, by its uid. The record knows only of attempts whose end is recorded, and
    /// others end at the same time.
    stored: Mutex<HashMap<String, u64>>,
    /// Where the status branch is, by which all Executions are counted.
    status_ref: String,
    /// What all of them keep, once that was counted.
    total: Mutex<Option<TotalKept>>,
}

impl FileTerms {
    /// Terms under which nothing is stored yet.
    pub(crate) fn of(config: &Config, access: &BucketAccess) -> Arc<Self> {
        Arc::new(Self {
            store: config.artifacts.store.clone(),
            limits: config.limits.artifacts.clone(),
            bucket: ObjectStore::of(config, access),
            stored: Mutex::default(),
            status_ref: status_ref(config),
            total: Mutex::default(),
        })
    }

    /// Counts what all Executions keep, unless that was counted within the last minute and leaves room for so many more
    /// bytes: others store as well, and `gc` may have made room. Asks the remote, once for most passes.
    pub(super) fn count_total(&self, bytes: u64, workspaces: &Workspaces) {
        let mut total = lock(&self.total);
        let room = |total: &TotalKept| {
            total.is_recent() && total.bytes().saturating_add(bytes) <= self.limits.total_bytes
        };
        if total.as_ref().is_some_and(room) {
            return;
        }
        let known = total.take().unwrap_or_default();
        let counted = workspaces.with_repo(|repo| known.again(repo, workspaces.remote(), &self.status_ref));
        match counted {
            Ok(counted) => *total = Some(counted),
            // The work is as good without, and `gc` counts again.
            Err(error) => {
                warn!(%error, "cannot count the artifacts and logs of all executions");
                *total = Some(known.good_for_now());
            }
        }
    }

    /// Notes that so many more bytes of an Execution are stored, if there is room for them; `recorded` are in its record.
    pub(super) fn reserve(
        &self,
        (key, uid): (&ResourceKey, &str),
        recorded: u64,
        bytes: u64,
    ) -> Result<(), String> {
        let limit = self.limits.bytes;
        let mut stored = lock(&self.stored);
        let so_far = stored.entry(uid.to_owned()).or_default();
        let more = (*so_far).max(recorded).saturating_add(bytes);
        if more > limit {
            return Err(format!("the execution has more than {limit} bytes of artifacts and logs"));
        }
        let mut total = lock(&self.total);
        if let Some(total) = &mut *total {
            let limit = self.limits.total_bytes;
            let all = total.bytes();
            if all.saturating_add(bytes) > limit {
                return Err(format!(
                    "all executions together would keep more than {limit} bytes of artifacts and logs in Git; remove old ones with \
                     `planspec gc --older-than 7d`, or raise `limits.artifacts.totalBytes` of .planspec.yaml"
                ));
            }
            total.note((key, uid), more);
        }
        *so_far = more;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_counts_before_and_after_it_is_recorded() {
        let limits = ArtifactLimits { bytes: 10, ..ArtifactLimits::default() };
        let key: ResourceKey = "team/execution/e".parse().unwrap();
        let terms = FileTerms { limits, ..FileTerms::default() };
        assert!(terms.reserve((&key, "a"), 0, 6).is_ok());
        assert!(terms.reserve((&key, "a"), 0, 6).is_err(), "the record does not know of the first yet");
        assert!(terms.reserve((&key, "a"), 6, 4).is_ok(), "and then it does not count twice");
        assert!(terms.reserve((&key, "b"), 9, 2).is_err());
        assert!(terms.reserve((&key, "b"), 9, 1).is_ok());
    }
}
