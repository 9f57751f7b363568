//! What a reconcile knows: the two commits, the index over them, and records newer than the index.

pub(crate) mod approvals;
pub(crate) mod approved_target;
mod cache;
pub(crate) mod child;
mod derived;
pub(crate) mod gate_in_force;
pub(crate) mod gates;
mod lease_memory;
pub(crate) mod lifted;
pub(crate) mod lookup;
pub(crate) mod metadata;
pub(crate) mod mutex;
pub(crate) mod pin;
pub(crate) mod pin_check;
pub(crate) mod sources;

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;
use std::sync::Arc;

use jiff::Timestamp;
use tracing::warn;

use crate::config::{Config, Limits};
use crate::diagnostic::Diagnostic;
use crate::git::{Commit, GitError, ObjectId, Remote, Repo};
use crate::index::{Declaration, Index, IndexTarget};
use crate::manifest;
use crate::model::{Resource, ResourceKey, StatusRecord, after};
use crate::record::{
    self, RecordError, StatusPath, StatusTree, WrittenCommit, WrittenRecords, may_hold_records,
};
use crate::run::CompiledPlan;

use crate::engine::merged::MergedHistory;
use crate::engine::status_log::StatusLog;
use crate::engine::{BranchTips, EngineError};
use cache::large_records::LargeRecords;
use cache::resolve_cache::ResolveCache;
use lease_memory::LeaseMemory;
use metadata::first_seen;

/// How many records may be newer than the index before it is brought up to date.
const OVERLAY_LIMIT: usize = 20_000;

/// How many commits of the status branch are read in search of one that names a desired commit.
const TRAILERS_LOOKED_AT: usize = 20;

/// A declared resource with its declaration.
#[derive(Debug, Clone)]
pub(crate) struct LoadedResource {
    pub(crate) resource: Resource,
    pub(crate) declared: Declaration,
}

/// What a reconcile knows.
pub(crate) struct Snapshot {
    pub(crate) repo: Repo,
    pub(crate) index: Index,
    pub(crate) config: Config,
    config_blob: Option<ObjectId>,
    pub(crate) desired: Commit,
    /// The remote on which the branches live, if they do.
    pub(crate) remote: Option<Remote>,
    pub(crate) status: StatusTree,
    records: HashMap<ResourceKey, Option<Arc<StatusRecord>>>,
    /// Those of them that this runner wrote, which the index then need not read.
    written: WrittenRecords,
    pub(crate) answers: ResolveCache,
    /// When leases were first seen whose recorded times lie in the future.
    pub(crate) sightings: LeaseMemory,
    /// What was merged, against which the status branch is checked.
    pub(crate) merged: MergedHistory,
    /// Records that somebody broke since the index was brought up to date.
    broken: BTreeSet<ResourceKey>,
    large: LargeRecords,
}

impl Snapshot {
    pub(crate) fn open(
        repo: Repo,
        index: Index,
        tips: BranchTips,
        remote: Option<Remote>,
    ) -> Result<(Self, Vec<Diagnostic>), EngineError> {
        let status = StatusTree::at(&repo, tips.status)?;
        let mut snapshot = Self {
            sightings: LeaseMemory::load(&repo.cache_dir()),
            merged: MergedHistory::new(&repo, remote.clone()),
            repo,
            index,
            config: tips.config,
            config_blob: tips.config_blob,
            desired: tips.desired,
            remote,
            status,
            records: HashMap::new(),
            written: WrittenRecords::default(),
            answers: ResolveCache::default(),
            broken: BTreeSet::new(),
            large: LargeRecords::default(),
        };
        let diagnostics = snapshot.advance()?;
        Ok((snapshot, diagnostics))
    }

    /// The desired commit for which the status branch was last written.
    pub(crate) fn recorded_desired(&self) -> Result<Option<ObjectId>, EngineError> {
        // Not the tip alone: the root that `gc` makes names no desired commit.
        for commit in self.log().take(TRAILERS_LOOKED_AT) {
            let named = commit?.trailers().into_iter().find(|(name, _)| name == record::DESIRED_COMMIT);
            if let Some((_, value)) = named {
                // Anybody who can push may write a malformed id, and it counts as none.
                return Ok(value.parse().ok());
            }
        }
        Ok(None)
    }

    /// The commits of the status branch from the tip back.
    fn log(&self) -> impl Iterator<Item = Result<Commit, EngineError>> {
        let tip = self.status.commit.into_iter();
        tip.flat_map(|tip| StatusLog::new(&self.repo, self.remote.as_ref(), &self.config, tip))
    }

    /// Takes newer commits in.
    pub(crate) fn move_to(&mut self, tips: BranchTips) -> Result<Vec<Diagnostic>, EngineError> {
        let status = StatusTree::at(&self.repo, tips.status)?;
        // Before the records go that are newer than the index: of a large one, only what others change is read again.
        self.large.keep(self.status, &self.records);
        self.status = status;
        self.config = tips.config;
        self.config_blob = tips.config_blob;
        self.desired = tips.desired;
        self.bring_index()
    }

    /// Brings the index to the commits that are known. What is wrong with manifests comes back.
    pub(crate) fn advance(&mut self) -> Result<Vec<Diagnostic>, EngineError> {
        self.large.keep(self.status, &self.records);
        self.bring_index()
    }

    fn bring_index(&mut self) -> Result<Vec<Diagnostic>, EngineError> {
        // The tree that the records were written for: there a fresh clone finds the last good version of a
        // manifest that is broken now (Invariant 1).
        let previous =
            self.recorded_desired()?.and_then(|id| self.repo.commit(id).ok()).map(|commit| commit.tree);
        let commit = self.desired.id;
        let desired = self.desired.tree;
        let status = &self.status;
        let config = self.config_blob;
        let written = &self.written;
        let target = IndexTarget { commit, desired, previous, status, config, written };
        let advance = self.index.advance(&self.repo, target, &self.config)?;
        // Only after the index holds the same commits: until then reads are right because of these.
        self.records.clear();
        self.written = WrittenRecords::default();
        self.answers = ResolveCache::default();
        self.broken.clear();
        Ok(advance.diagnostics)
    }

    /// Whether so much was written that the index should catch up.
    pub(crate) fn is_far_ahead(&self) -> bool {
        self.records.len() > OVERLAY_LIMIT
    }

    /// Takes in that this runner published a commit with these records.
    pub(crate) fn published(
        &mut self,
        written: WrittenCommit,
        records: impl IntoIterator<Item = (ResourceKey, Option<Arc<StatusRecord>>)>,
    ) {
        // The index is not brought along: that is a transaction with a sync, and these records answer in its
        // place.
        self.status = written.status();
        self.written.extend(written.records);
        for (key, record) in records {
            self.broken.remove(&key);
            self.records.insert(key, record);
        }
    }

    /// Takes in that somebody else moved the status branch; says whose records changed.
    pub(crate) fn moved_by_others(
        &mut self,
        tip: Option<ObjectId>,
    ) -> Result<BTreeSet<ResourceKey>, EngineError> {
        let new = StatusTree::at(&self.repo, tip)?;
        // By tree and not by history: after `gc` the old tip is no ancestor of the new one.
        let changes = self.repo.compare_within(self.status.tree, new.tree, &may_hold_records)?;
        self.large.keep(self.status, &self.records);
        self.status = new;
        let mut keys = BTreeSet::new();
        for change in changes {
            // Parts that changed without their record break it.
            if let Some(StatusPath::Record(key) | StatusPath::Part(key, _)) = StatusPath::parse(&change.path)
            {
                keys.insert(key);
            }
        }
        for key in &keys {
            let record = match self.large.get(&self.repo, &self.status, key) {
                Ok(record) => {
                    self.broken.remove(key);
                    record
                }
                // Quarantined and no error of the pass: else whoever can push the branch could stop
                // everything with one bad file (Invariant 6).
                Err(_) => {
                    self.broken.insert(key.clone());
                    self.restored(key)?.map(Arc::new)
                }
            };
            self.records.insert(key.clone(), record);
        }
        Ok(keys)
    }

    /// The deadline of the goal that a compiled plan serves, counted from its creation.
    pub(crate) fn deadline(&self, compiled: &CompiledPlan) -> Result<Option<Timestamp>, EngineError> {
        let Some((key, spec)) = &compiled.goal else { return Ok(None) };
        let Some(timeout) = &spec.timeout else { return Ok(None) };
        let created = match self.record(key)? {
            Some(record) => record.metadata.creation_timestamp,
            // It is recorded in the very commit that begins the execution.
            None if self.index.declared(key)?.is_some() => first_seen(key, &self.desired).creation_timestamp,
            None => return Ok(None),
        };
        Ok(Some(after(created, timeout.span())))
    }

    /// Records that are newer than the index.
    pub(crate) fn newer_records(&self) -> impl Iterator<Item = (&ResourceKey, &Option<Arc<StatusRecord>>)> {
        self.records.iter()
    }

    /// Where the record of a resource stands, or will stand.
    pub(crate) fn path_of(&self, key: &ResourceKey) -> Result<String, EngineError> {
        Ok(match self.status.locate(&self.repo, key) {
            Ok(found) => found.map_or_else(|| record::record_path(key), |(path, _)| path),
            // What stands there instead gives way to the record.
            Err(RecordError::Unreadable { path, .. }) => path,
            Err(error) => return Err(error.into()),
        })
    }

    /// The record of a resource.
    pub(crate) fn record(&self, key: &ResourceKey) -> Result<Option<Arc<StatusRecord>>, EngineError> {
        // Also when it says that there is none: a removal that was just published is not in the index yet.
        if let Some(known) = self.records.get(key) {
            return Ok(known.clone());
        }
        match self.index.recorded(key)? {
            Some(_) if self.large.holds(key) => Ok(self.large.get(&self.repo, &self.status, key)?),
            Some(recorded) => {
                let record = StatusTree::read(&self.repo, key, &recorded.path, recorded.blob)?;
                Ok(Some(self.large.note(self.status, Arc::new(record))))
            }
            None if self.index.is_broken(key)? => Ok(self.restored(key)?.map(Arc::new)),
            None => Ok(None),
        }
    }

    /// What a record was before somebody broke it: what ended by then must not run again (Invariant 10).
    fn restored(&self, key: &ResourceKey) -> Result<Option<StatusRecord>, EngineError> {
        StatusTree::last_sound(&self.repo, self.log(), key)
    }

    /// Whether the file of a record does not hold it, so that it has to be written whatever it says.
    pub(crate) fn is_broken(&self, key: &ResourceKey) -> Result<bool, EngineError> {
        Ok(if self.records.contains_key(key) {
            self.broken.contains(key)
        } else {
            self.index.is_broken(key)?
        })
    }

    /// The declaration of a resource; none when an owner of it is gone.
    pub(crate) fn present(&self, key: &ResourceKey) -> Result<Option<Declaration>, EngineError> {
        let Some(declared) = self.declared(key)? else { return Ok(None) };
        // What is owned goes with its owner, without a deletion of its own in the same commit.
        for owner in &declared.owners {
            if self.declared(owner)?.is_none() {
                return Ok(None);
            }
        }
        Ok(Some(declared))
    }

    /// The declaration of a resource, with the resource itself.
    pub(crate) fn resource(&self, key: &ResourceKey) -> Result<Option<LoadedResource>, EngineError> {
        let Some(declared) = self.declared(key)? else { return Ok(None) };
        let resource = match declared.derived {
            true => self.derived(key)?,
            false => self.read(declared.blob, &declared.source.path, key)?,
        };
        Ok(resource.map(|resource| LoadedResource { resource, declared }))
    }

    /// A declared resource, read once until the index is brought to other commits. For what is asked for many times: Bindings
    /// and Capabilities, and the Plans and Executions in which cycles of waits are searched.
    pub(crate) fn cached(&self, key: &ResourceKey) -> Result<Option<Rc<LoadedResource>>, EngineError> {
        // Thousands of nodes ask for the same few resources.
        if let Some(known) = self.answers.binding(key) {
            return Ok(Some(known));
        }
        let loaded = self.resource(key)?.map(Rc::new);
        if let Some(loaded) = &loaded {
            self.answers.keep_binding(key, loaded);
        }
        Ok(loaded)
    }

    /// Why a resource that something refers to is not there.
    pub(crate) fn why_missing(&self, key: &ResourceKey) -> Result<String, EngineError> {
        Ok(match self.why_broken(key)? {
            Some(why) => format!("{key} is broken: {why}"),
            None => format!("there is no {key}"),
        })
    }

    /// What is wrong with the manifest of a resource that is declared and was never valid: place and reason.
    pub(crate) fn why_broken(&self, key: &ResourceKey) -> Result<Option<String>, EngineError> {
        let Some((path, blob)) = self.index.broken_declaration(key)? else { return Ok(None) };
        // Read again and not kept in the index: only where somebody refers to it, the words are needed.
        let limits = &self.config.limits;
        let bytes = self.repo.blob(blob, manifest::most_bytes(limits))?;
        let found = manifest::parse(&path, &bytes, limits).diagnostics;
        let first = found.iter().find(|found| found.breaks(key));
        Ok(Some(first.map_or_else(|| format!("{path} is not valid"), Diagnostic::brief)))
    }

    /// The generation of a resource as it is declared now: that of its record, one more when the spec has changed since.
    pub(crate) fn generation(&self, key: &ResourceKey, declared: &Declaration) -> Result<u64, EngineError> {
        let (generation, digest) = match self.records.get(key) {
            // Removed by a commit that the index does not know yet, so what is declared now is a new
            // resource.
            Some(None) => return Ok(1),
            Some(Some(record)) => {
                (record.metadata.generation, record.metadata.spec_digest().map(ToOwned::to_owned))
            }
            None => match self.index.recorded(key)? {
                Some(recorded) => (recorded.generation, recorded.spec_digest),
                None => return Ok(1),
            },
        };
        let changed = digest.as_deref() != Some(declared.spec_digest.as_str());
        Ok(generation.saturating_add(u64::from(changed)))
    }

    /// A resource out of a blob, which may hold others as well.
    pub(crate) fn read(
        &self,
        blob: ObjectId,
        path: &str,
        key: &ResourceKey,
    ) -> Result<Option<Resource>, EngineError> {
        self.index.manifest((blob, path), key, || {
            // Not the configured size: that is for what comes into force. What is pinned, or the last good version of a
            // manifest, stays readable when somebody lowers the limit afterwards.
            let most = manifest::most_bytes(&self.config.limits);
            let bytes = match self.repo.blob(blob, most) {
                Ok(bytes) => bytes,
                // Nobody reads more than this, and one such blob must not end the pass (Invariant 6).
                Err(GitError::TooLarge { size, .. }) => {
                    warn!(resource = %key, %blob, size, "manifest is too large to be read");
                    return Ok(None);
                }
                Err(error) => return Err(error.into()),
            };
            // With all other limits, pinned or not: whoever can push the status branch could pin what expands without
            // bound.
            let limits = Limits { file_bytes: most, ..self.config.limits.clone() };
            Ok(Some(manifest::parse(path, &bytes, &limits).resources))
        })
    }
}
