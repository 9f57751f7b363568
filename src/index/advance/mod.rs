//! Advancing the index to two commits: only what differs between the trees is read and parsed. The result is the same as
//! of reading everything.

mod dependents;
mod file_entry;
mod files;
mod places;
mod quarantine;
mod record_counts;
mod records;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::mpsc;
use std::time::Instant;

use rayon::prelude::*;
use redb::{ReadableTable as _, WriteTransaction};
use serde::{Deserialize, Serialize};

pub use self::file_entry::ManifestFilter;
pub use self::files::read_entry;

use self::dependents::{ChangedResources, add_awaiting, add_changed};
use self::files::apply_files;
use self::quarantine::restore_held;
use self::records::apply_records;
use super::lookup::{Declaration, RecordSummary};
use super::tables::{DECLARED, DERIVED, MAPS, META, RECORDED, WAYS, WORK, decode, encode};
use super::{Index, IndexError, Topic, WRITER};
use crate::config::Config;
use crate::diagnostic::Diagnostic;
use crate::git::{GitError, ObjectId, Repo, TreeChange};
use crate::model::ResourceKey;
use crate::record::{StatusTree, WrittenRecords, may_hold_records};

/// The commits that the index advances to.
#[derive(Debug, Clone, Copy)]
pub struct IndexTarget<'a> {
    /// The desired commit.
    pub commit: ObjectId,
    /// The tree of the desired commit.
    pub desired: ObjectId,
    /// The tree of the desired commit that the status branch was last written for, if it is known here.
    pub previous: Option<ObjectId>,
    /// The status branch.
    pub status: &'a StatusTree,
    /// The blob of `.planspec.yaml`: another one may mean other paths, and then everything is read again.
    pub config: Option<ObjectId>,
    /// What the caller wrote itself, and which is not read again where the status branch still has it.
    pub written: &'a WrittenRecords,
}

/// The result of an advance.
#[derive(Debug, Clone, Default)]
pub struct Advance {
    /// What is wrong with the files that were read.
    pub diagnostics: Vec<Diagnostic>,
    /// How many files were read.
    pub files: usize,
    /// How many records changed.
    pub records: usize,
    /// How many of them had to be read.
    pub read: usize,
    /// Whether everything had to be read.
    pub rebuilt: bool,
}

/// How many files or records are read before they are stored: bounds memory on a first run over 100,000 of them.
const CHUNK: usize = 1_024;

/// The state that the index describes; any difference beside the two trees means a rebuild.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct IndexedCommits {
    version: String,
    commit: ObjectId,
    desired: ObjectId,
    status: Option<ObjectId>,
    config: Option<ObjectId>,
}

impl Index {
    /// Advances the index to `target` and adds what has to be planned again because of it.
    ///
    /// # Errors
    /// Git or the store. Bad manifests are no error: they come back as diagnostics.
    pub fn advance(
        &mut self,
        repo: &Repo,
        target: IndexTarget<'_>,
        config: &Config,
    ) -> Result<Advance, IndexError> {
        let filter = ManifestFilter::new(config)?;
        let state = IndexedCommits {
            version: WRITER.to_owned(),
            commit: target.commit,
            desired: target.desired,
            status: target.status.tree,
            config: target.config,
        };
        let old = self.state()?;
        // The usual idle pass: nothing is opened for writing, and no tree is read.
        if old.as_ref() == Some(&state) {
            return Ok(Advance::default());
        }
        // Another process may have advanced the file while it was open for reading only, so its state is read again.
        let started = Instant::now();
        self.make_writable()?;
        let old = self.state()?;
        if old.as_ref().is_none_or(|old| old.config != state.config) {
            // Parsed under other limits, perhaps.
            self.manifests.clear();
        }
        let base = old.filter(|old| old.version == state.version && old.config == state.config);
        let (rebuilt, changes, records) = differences(repo, base.as_ref(), &state)?;
        let mut advance = Advance { rebuilt, ..Advance::default() };
        let write = self.store.begin_write()?;
        if rebuilt {
            tracing::info!(desired = %target.desired, files = changes.len(), records = records.len(), "the index is rebuilt");
            clear(&write)?;
        }
        // Records first: a declaration that is new has to find the record that it belongs to.
        let mut changed = ChangedResources::default();
        apply_records(&write, repo, target, &records, &mut advance, &mut changed)?;
        let known = &self.manifests;
        let terms = (&filter, &config.limits);
        apply_files(&write, (repo, known), &changes, terms, &mut advance, &mut changed.touched)?;
        restore_held(&write, repo, target, &config.limits, &mut changed.touched)?;
        if rebuilt {
            add_unsettled(&write)?;
        } else {
            add_changed(&write, &changed)?;
            // What is pinned to a commit that the branch lost may be there again, with not a file changed.
            if base.is_some_and(|old| old.commit != state.commit) {
                add_awaiting(&write, &Topic::DesiredCommit)?;
            }
        }
        write.open_table(META)?.insert("state", encode(&state)?.as_slice())?;
        // One transaction: killed in between, the index is as it was, and the next pass starts from there.
        write.commit()?;
        tracing::debug!(
            files = advance.files,
            records = advance.records,
            read = advance.read,
            touched = changed.touched.len(),
            recorded = changed.recorded.len(),
            rebuilt,
            duration_ms = started.elapsed().as_millis(),
            "index advanced"
        );
        Ok(advance)
    }

    fn state(&self) -> Result<Option<IndexedCommits>, IndexError> {
        let table = self.store.begin_read()?.open_table(META)?;
        let found = table.get("state")?;
        // An entry that another version wrote may not decode, and means a rebuild like no entry.
        Ok(found.and_then(|value| decode(value.value()).ok()))
    }
}

/// What differs from the state that the index was brought to last, among the files and among the records; and whether that is
/// everything, because it cannot be compared with that state.
fn differences(
    repo: &Repo,
    base: Option<&IndexedCommits>,
    state: &IndexedCommits,
) -> Result<(bool, Vec<TreeChange>, Vec<TreeChange>), GitError> {
    let recorded = |old| repo.compare_within(old, state.status, &may_hold_records);
    // By trees and not by commits: a rewritten branch needs no common ancestor (Invariant 13).
    let changes = base.map(|old| repo.compare(Some(old.desired), Some(state.desired)));
    let records = base.map(|old| recorded(old.status));
    match (changes, records) {
        (Some(Ok(changes)), Some(Ok(records))) => Ok((false, changes, records)),
        // The old trees may be gone: pruned after a force push, or the cache was copied from another repository.
        _ => Ok((true, repo.compare(None, Some(state.desired))?, recorded(None)?)),
    }
}

fn clear(write: &WriteTransaction) -> Result<(), IndexError> {
    // Deleted and created again: removing the entries one by one would take longer than the rebuild.
    for map in MAPS {
        write.delete_table(map)?;
        write.open_table(map)?;
    }
    for ways in WAYS {
        write.delete_multimap_table(ways)?;
        write.open_multimap_table(ways)?;
    }
    Ok(())
}

/// After a rebuild: plans what is not recorded as it is declared, and what may still change by itself.
fn add_unsettled(write: &WriteTransaction) -> Result<(), IndexError> {
    let declared = write.open_table(DECLARED)?;
    let recorded = write.open_table(RECORDED)?;
    let derived = write.open_table(DERIVED)?;
    let mut work = write.open_table(WORK)?;
    for entry in declared.iter()? {
        let (key, value) = entry?;
        let old: Option<RecordSummary> = recorded.get(key.value())?.and_then(|old| decode(old.value()).ok());
        let declared: Declaration = decode(value.value())?;
        // Only an ended Execution with the same spec has nothing left to plan; a goal follows from others.
        let same = old.is_some_and(|old| {
            old.terminal && old.spec_digest.as_deref() == Some(declared.spec_digest.as_str())
        });
        if !same || declared.quarantined.is_some() {
            work.insert(key.value(), [].as_slice())?;
        }
    }
    for entry in recorded.iter()? {
        let (key, value) = entry?;
        let old: RecordSummary = decode(value.value())?;
        let gone = match derived.get(key.value())? {
            // Its owner went while no runner was at work.
            Some(found) => {
                let owners = decode::<Declaration>(found.value())?.owners;
                !owners.iter().all(|owner| is_in(&declared, owner) || is_in(&derived, owner))
            }
            // A record without a declaration: its manifest was removed in the same way.
            None => declared.get(key.value())?.is_none(),
        };
        if !old.terminal || gone {
            work.insert(key.value(), [].as_slice())?;
        }
    }
    Ok(())
}

fn is_in(table: &impl redb::ReadableTable<&'static str, &'static [u8]>, key: &ResourceKey) -> bool {
    matches!(table.get(key.to_string().as_str()), Ok(Some(_)))
}

/// Runs `read` over items on all cores, each worker with a repository of its own, and `store` on what comes of it, in the order of
/// the items and on this thread.
fn in_parallel<I: Sync, T: Send>(
    repo: &Repo,
    items: &[I],
    read: impl Fn(&Repo, &I) -> Result<T, IndexError> + Sync,
    mut store: impl FnMut(T) -> Result<(), IndexError>,
) -> Result<(), IndexError> {
    // Opening a repository for each core costs more than parsing a few files.
    if items.len() < 32 {
        return items.iter().try_for_each(|item| store(read(repo, item)?));
    }
    let (dir, read) = (repo.common_dir(), &read);
    // The store takes one thread, so that the next chunk is read meanwhile; no more of them wait, which bounds memory.
    let (chunks, stored) = mpsc::sync_channel(0);
    rayon::in_place_scope(|scope| {
        scope.spawn(move |_| {
            // Whoever stores may have failed, and wants no more.
            let _ = items.chunks(CHUNK).try_for_each(|chunk| chunks.send(read_chunk(dir, chunk, read)));
        });
        stored.into_iter().try_for_each(|chunk| chunk?.into_iter().try_for_each(&mut store))
    })
}

fn read_chunk<I: Sync, T: Send>(
    dir: &Path,
    chunk: &[I],
    read: impl Fn(&Repo, &I) -> Result<T, IndexError> + Sync,
) -> Result<Vec<T>, IndexError> {
    chunk
        .par_iter()
        .map_init(
            || Repo::open(dir),
            // A worker that could not open it tries once more for its own error: `map_init` cannot return one.
            |worker, item| match worker {
                Ok(worker) => read(worker, item),
                Err(_) => read(&Repo::open(dir)?, item),
            },
        )
        .collect()
}
