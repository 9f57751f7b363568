//! After a rebuild of the index: the last good versions of resources whose files are broken.

use redb::{ReadableTable as _, WriteTransaction};

use super::IndexTarget;
use super::file_entry::{FileEntry, why_quarantined};
use super::files::declare;
use crate::config::Limits;
use crate::git::{ObjectId, Repo};
use crate::index::IndexError;
use crate::index::lookup::RecordSummary;
use crate::index::tables::{BAD, DECLARED, FILES, RECORDED, decode, encode};
use crate::manifest;
use crate::model::{Resource, ResourceKey};

/// Declares recorded resources whose file is broken as they were in their last good version, as far as that can be found
/// (Invariant 6), as an index that was updated step by step still holds it.
pub(super) fn restore_held(
    write: &WriteTransaction,
    repo: &Repo,
    target: IndexTarget<'_>,
    limits: &Limits,
) -> Result<(), IndexError> {
    for (key, path, mut file) in held(write)? {
        if let Some((resource, blob)) = last_good(repo, target, &key, &path, limits)? {
            tracing::info!(resource = %key, path, %blob, "restored the last good version of a broken manifest");
            declare(write, &resource, blob, Some(why_quarantined(&path)))?;
            file.held.push(key);
            // The file's entry learns of it too, or the next change of the file would take the resource for removed.
            write.open_table(FILES)?.insert(path.as_str(), encode(&file)?.as_slice())?;
        }
    }
    Ok(())
}

/// The recorded resources that are not declared and whose file is broken.
fn held(write: &WriteTransaction) -> Result<Vec<(ResourceKey, String, FileEntry)>, IndexError> {
    let bad = write.open_table(BAD)?;
    let files = write.open_table(FILES)?;
    let mut held = Vec::new();
    // Nothing is broken, as nearly always: then the records are not walked.
    if bad.first()?.is_none() {
        return Ok(held);
    }
    let recorded = write.open_table(RECORDED)?;
    let declared = write.open_table(DECLARED)?;
    for entry in recorded.iter()? {
        let (text, value) = entry?;
        // Only what was recorded before can have a good version. A manifest that was broken from its first commit on
        // has none.
        let Some(path) = decode::<RecordSummary>(value.value())?.source else { continue };
        let Ok(key) = text.value().parse::<ResourceKey>() else { continue };
        if declared.get(text.value())?.is_some() {
            continue;
        }
        let file = files.get(path.as_str())?.and_then(|file| decode::<FileEntry>(file.value()).ok());
        held.extend(file.filter(|file| file.doubt.covers(&key)).map(|file| (key, path, file)));
    }
    Ok(held)
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
    // The pin of a quarantine first: it was good when it was recorded. An Execution's own pin is as good (Invariant 9); the
    // file of the previous commit is the last resort, as it may have been broken already.
    for blob in [pinned.manifest, pinned.execution, before].into_iter().flatten() {
        let Ok(bytes) = repo.blob(blob, limits.file_bytes) else { continue };
        let parsed = manifest::parse(path, &bytes, limits);
        if let Some(resource) = parsed.resources.into_iter().find(|resource| resource.key() == *key) {
            return Ok(Some((resource, blob)));
        }
    }
    Ok(None)
}
