//! The last good versions of resources whose files are broken.

use std::collections::{BTreeMap, BTreeSet};

use redb::{ReadableMultimapTable, ReadableTable as _, WriteTransaction};

use super::IndexTarget;
use super::file_entry::{FileEntry, PossibleDeclaration, why_quarantined};
use super::files::{declare, remove_declared};
use crate::config::Limits;
use crate::git::{ObjectId, Repo};
use crate::index::IndexError;
use crate::index::lookup::{Declaration, RecordSummary};
use crate::index::tables::{BAD, DECLARED, FILES, PLACES, RECORDED, decode, encode};
use crate::manifest;
use crate::model::{Resource, ResourceKey};

/// Declares recorded resources whose file is broken as they were in their last good version, as far as that can be found
/// (Invariant 6). Only trees and records decide, not what the index held before: a fresh clone comes to the same (Invariant 17).
pub(super) fn restore_held(
    write: &WriteTransaction,
    repo: &Repo,
    target: IndexTarget<'_>,
    limits: &Limits,
    touched: &mut BTreeSet<ResourceKey>,
) -> Result<(), IndexError> {
    let broken = broken_files(write)?;
    // Nothing is broken, as nearly always: then the records are not walked.
    if broken.is_empty() {
        return Ok(());
    }
    let mut held = held(write, &broken)?;
    for (path, mut file) in broken {
        let mut now = Vec::new();
        for key in held.remove(&path).unwrap_or_default() {
            let Some((resource, blob)) = last_good(repo, target, &key, &path, limits)? else { continue };
            if declared(write, &key)?.is_none_or(|old| old.blob != blob || old.source.path != path) {
                tracing::info!(resource = %key, path, %blob, "manifest is broken; the last good version stays in force");
                declare(write, &resource, blob, Some(why_quarantined(&path)))?;
                touched.insert(key.clone());
            }
            now.push(key);
        }
        // Its record is gone, or its last good version.
        for key in file.held.iter().filter(|key| !now.contains(key)) {
            let old = declared(write, key)?;
            if let Some(old) = old.filter(|old| old.quarantined.is_some() && old.source.path == path) {
                remove_declared(write, &key.to_string(), Some(&old))?;
                touched.insert(key.clone());
            }
        }
        file.held = now;
        write.open_table(FILES)?.insert(path.as_str(), encode(&file)?.as_slice())?;
    }
    Ok(())
}

/// Files that may declare more than could be read of them.
fn broken_files(write: &WriteTransaction) -> Result<BTreeMap<String, FileEntry>, IndexError> {
    let bad = write.open_table(BAD)?;
    let files = write.open_table(FILES)?;
    let mut broken = BTreeMap::new();
    for entry in bad.iter()? {
        let path = entry?.0.value().to_owned();
        let file = files.get(path.as_str())?.and_then(|file| decode::<FileEntry>(file.value()).ok());
        broken.extend(file.filter(|file| file.doubt != PossibleDeclaration::None).map(|file| (path, file)));
    }
    Ok(broken)
}

/// The recorded resources that no file declares and that a broken one may, by its path.
fn held(
    write: &WriteTransaction,
    broken: &BTreeMap<String, FileEntry>,
) -> Result<BTreeMap<String, Vec<ResourceKey>>, IndexError> {
    let recorded = write.open_table(RECORDED)?;
    let places = write.open_multimap_table(PLACES)?;
    let mut held: BTreeMap<String, Vec<ResourceKey>> = BTreeMap::new();
    for entry in recorded.iter()? {
        let (text, value) = entry?;
        let Some(path) = decode::<RecordSummary>(value.value())?.source else { continue };
        let Ok(key) = text.value().parse::<ResourceKey>() else { continue };
        let covered = broken.get(&path).is_some_and(|file| file.doubt.covers(&key));
        if covered && ReadableMultimapTable::get(&places, text.value())?.next().is_none() {
            held.entry(path).or_default().push(key);
        }
    }
    Ok(held)
}

fn declared(write: &WriteTransaction, key: &ResourceKey) -> Result<Option<Declaration>, IndexError> {
    let table = write.open_table(DECLARED)?;
    let found = table.get(key.to_string().as_str())?;
    Ok(found.and_then(|found| decode(found.value()).ok()))
}

/// The last good version of a resource: what is pinned beside its record, or the file at its path in the desired
/// commit that the status branch was last written for.
fn last_good(
    repo: &Repo,
    target: IndexTarget<'_>,
    key: &ResourceKey,
    path: &str,
    limits: &Limits,
) -> Result<Option<(Resource, ObjectId)>, IndexError> {
    let pinned = target.status.pinned(repo, key)?;
    let before = match target.previous {
        // In a shallow clone its files may not be here.
        Some(tree) => repo.file(tree, path).unwrap_or_default(),
        None => None,
    };
    // Not the configured size, which is for what comes into force: whoever lowers it below a file that is declared takes
    // the new version of that file out of force, and not the last good one.
    let most = manifest::most_bytes(limits);
    let limits = &Limits { file_bytes: most, ..limits.clone() };
    // The pin of a quarantine first: it was good when it was recorded. An Execution's own pin is as good (Invariant 9); the
    // file of the previous commit is the last resort, as it may have been broken already.
    for blob in [pinned.manifest, pinned.execution, before].into_iter().flatten() {
        let Ok(bytes) = repo.blob(blob, most) else { continue };
        let parsed = manifest::parse(path, &bytes, limits);
        if let Some(resource) = parsed.resources.into_iter().find(|resource| resource.key() == *key) {
            return Ok(Some((resource, blob)));
        }
    }
    Ok(None)
}
