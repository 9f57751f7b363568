//! Applying changes of the desired tree: which file declares what, and which declaration is in force.

use std::collections::BTreeSet;

use redb::{ReadableTable as _, WriteTransaction};

use super::dependents::add_goals;
use super::file_entry::{FileEntry, ManifestFilter, PossibleDeclaration};
use super::{Advance, CHUNK, in_parallel};
use crate::config::Limits;
use crate::git::{GitError, ObjectId, Repo, TreeChange, TreeEntry};
use crate::index::IndexError;
use crate::index::known_manifests::{FileForm, KnownManifests};
use crate::index::lookup::Declaration;
use crate::index::tables::{BAD, DECLARED, FILES, MENTIONS, PLACES, decode, encode};
use crate::manifest::{self, Parsed};
use crate::model::{Resource, ResourceKey};

/// A file after parsing.
struct ParsedFile {
    path: String,
    entry: Option<(ObjectId, Parsed)>,
    /// For whoever reads it next, which is this process where it plans what it found.
    form: Option<FileForm>,
}

/// Reads the changed files of the desired tree.
pub(super) fn apply_files(
    write: &WriteTransaction,
    (repo, known): (&Repo, &KnownManifests),
    changes: &[TreeChange],
    (filter, limits): (&ManifestFilter, &Limits),
    advance: &mut Advance,
    touched: &mut BTreeSet<ResourceKey>,
) -> Result<(), IndexError> {
    let wanted: Vec<(&str, &TreeChange)> = changes
        .iter()
        // A path that is not UTF-8 cannot match a glob of the configuration.
        .filter_map(|change| Some((std::str::from_utf8(&change.path).ok()?, change)))
        .filter(|(path, _)| filter.accepts(path))
        .collect();
    let files =
        wanted.iter().filter_map(|(_, change)| change.new.as_ref()).filter(|entry| entry.mode.is_file());
    repo.fetch_promised(files.map(|entry| entry.id))?;
    // All places before any removal: a declaration that moves to another file within this change was never gone, and its
    // Execution must not be cancelled.
    let mut moved = BTreeSet::new();
    let mut fresh: Vec<(Resource, ObjectId)> = Vec::new();
    for chunk in wanted.chunks(CHUNK) {
        let loaded = in_parallel(repo, chunk, |repo, (path, change)| load(repo, path, change, limits))?;
        for mut file in loaded {
            advance.files += 1;
            if let Some((blob, _)) = file.entry {
                known.keep(blob, file.form.take());
            }
            note_file(write, file, advance, &mut moved, &mut fresh)?;
        }
        // Stored per chunk, so that memory stays bounded; a key with several places is corrected below.
        let chunk = std::mem::take(&mut fresh);
        for (resource, blob) in chunk {
            declare(write, &resource, blob, None)?;
        }
    }
    for key in &moved {
        settle_place(write, repo, key, limits)?;
        mark_duplicates(write, key)?;
    }
    touched.extend(moved);
    Ok(())
}

fn load(repo: &Repo, path: &str, change: &TreeChange, limits: &Limits) -> Result<ParsedFile, IndexError> {
    let mut file = ParsedFile { path: path.to_owned(), entry: None, form: None };
    if let Some(entry) = &change.new {
        let parsed = read_entry(repo, path, entry, limits)?;
        file.form = FileForm::of(path, &parsed.resources);
        file.entry = Some((entry.id, parsed));
    }
    Ok(file)
}

/// Reads the manifests in an entry of a tree. What is no file, or too large, is a finding about it and not a failure.
/// Commands and passes both read through here, so that they judge alike.
///
/// # Errors
/// Git.
pub fn read_entry(repo: &Repo, path: &str, entry: &TreeEntry, limits: &Limits) -> Result<Parsed, GitError> {
    if !entry.mode.is_file() {
        return Ok(manifest::refuse_entry(path, entry.mode.with_article()));
    }
    match repo.blob(entry.id, manifest::most_bytes(limits)) {
        Ok(bytes) => Ok(manifest::parse(path, &bytes, limits)),
        Err(GitError::TooLarge { size, .. }) => Ok(manifest::refuse_large(path, size)),
        Err(error) => Err(error),
    }
}

/// Stores what a file declares now, and collects the keys that it declared or declares.
fn note_file(
    write: &WriteTransaction,
    file: ParsedFile,
    advance: &mut Advance,
    moved: &mut BTreeSet<ResourceKey>,
    fresh: &mut Vec<(Resource, ObjectId)>,
) -> Result<(), IndexError> {
    let mut files = write.open_table(FILES)?;
    let mut places = write.open_multimap_table(PLACES)?;
    let mut bad = write.open_table(BAD)?;
    let path = file.path.as_str();
    // Taken out first: a file that is gone, or that is no manifest any more, leaves no entry behind.
    let old = files.remove(path)?.and_then(|old| decode::<FileEntry>(old.value()).ok());
    for key in old.iter().flat_map(|old| &old.keys) {
        places.remove(key.to_string().as_str(), path)?;
    }
    let before: BTreeSet<ResourceKey> =
        old.into_iter().flat_map(|old| old.keys.into_iter().chain(old.held)).collect();
    // Also what it declares no longer: that is what has to be found in another file, or to be removed.
    moved.extend(before.iter().cloned());
    bad.remove(path)?;
    let Some((blob, parsed)) = file.entry else { return Ok(()) };
    if !parsed.diagnostics.is_empty() {
        bad.insert(path, encode(&blob)?.as_slice())?;
    }
    let keys: Vec<ResourceKey> = parsed.resources.iter().map(Resource::key).collect();
    for key in &keys {
        places.insert(key.to_string().as_str(), path)?;
    }
    let doubt = PossibleDeclaration::about(&parsed);
    moved.extend(doubt.named());
    moved.extend(keys.iter().cloned());
    // Most YAML files of a repository are no manifests; an entry for each would be most of the index.
    if !keys.is_empty() || !parsed.diagnostics.is_empty() {
        // What a broken file keeps in force is found once all files and records are known, see `restore_held`.
        let held = Vec::new();
        let flawed = !parsed.diagnostics.is_empty();
        files.insert(path, encode(&FileEntry { blob, keys, held, doubt, flawed })?.as_slice())?;
    }
    advance.diagnostics.extend(parsed.diagnostics);
    // Of two documents of one file the first counts, as of two files.
    let mut seen = BTreeSet::new();
    let firsts = parsed.resources.into_iter().filter(|resource| seen.insert(resource.key()));
    fresh.extend(firsts.map(|resource| (resource, blob)));
    Ok(())
}

/// Puts a declaration into force, unless another file with a smaller path declares the same resource. Which of them was there
/// first must not count: a fresh clone does not know it (Invariant 17).
pub(super) fn declare(
    write: &WriteTransaction,
    resource: &Resource,
    blob: ObjectId,
    quarantined: Option<String>,
) -> Result<(), IndexError> {
    let key = resource.key().to_string();
    let old: Option<Declaration> = {
        let table = write.open_table(DECLARED)?;
        let found = table.get(key.as_str())?;
        found.and_then(|old| decode(old.value()).ok())
    };
    if let Some(old) = &old
        && old.source.path < resource.source.path
        && has_place(write, &key, &old.source.path)?
    {
        return Ok(());
    }
    let declared = Declaration { quarantined, ..Declaration::new(resource, blob) };
    if let Some(old) = old.as_ref().filter(|old| old.topics != declared.topics) {
        // Goals that selected the plan by its old labels may select another one now.
        add_goals(write, &resource.key(), old)?;
    }
    let mut mentions = write.open_multimap_table(MENTIONS)?;
    // The topics of the old declaration first: a reference that was dropped must not requeue this resource for ever.
    for topic in old.iter().flat_map(|old| &old.topics) {
        mentions.remove(topic.as_str(), key.as_str())?;
    }
    for topic in &declared.topics {
        mentions.insert(topic.as_str(), key.as_str())?;
    }
    write.open_table(DECLARED)?.insert(key.as_str(), encode(&declared)?.as_slice())?;
    Ok(())
}

/// Counts the files that declare a key again among the bad ones, and no longer those of which that was all that was wrong:
/// what is wrong with bad files is found at every pass.
fn mark_duplicates(write: &WriteTransaction, key: &ResourceKey) -> Result<(), IndexError> {
    let places = write.open_multimap_table(PLACES)?;
    let paths = redb::ReadableMultimapTable::get(&places, key.to_string().as_str())?;
    let paths: Vec<String> =
        paths.map(|place| place.map(|place| place.value().to_owned())).collect::<Result<_, _>>()?;
    let files = write.open_table(FILES)?;
    let mut bad = write.open_table(BAD)?;
    for path in &paths {
        let entry = files.get(path.as_str())?.and_then(|entry| decode::<FileEntry>(entry.value()).ok());
        let Some(entry) = entry else { continue };
        let mut is_bad = entry.flawed || paths.len() > 1;
        // Another resource of the file may still be declared twice.
        for other in entry.keys.iter().filter(|other| !is_bad && *other != key).collect::<Vec<_>>() {
            let count = redb::ReadableMultimapTable::get(&places, other.to_string().as_str())?.len();
            is_bad |= count > 1;
        }
        if is_bad {
            bad.insert(path.as_str(), encode(&entry.blob)?.as_slice())?;
        } else {
            bad.remove(path.as_str())?;
        }
    }
    Ok(())
}

fn has_place(write: &WriteTransaction, key: &str, path: &str) -> Result<bool, IndexError> {
    let table = write.open_multimap_table(PLACES)?;
    for place in redb::ReadableMultimapTable::get(&table, key)? {
        if place?.value() == path {
            return Ok(true);
        }
    }
    Ok(false)
}

/// After a change: the declaration in force of a key whose places changed: the one of the smallest path. Without any it is
/// gone, unless it is the last good version of a broken file, which `restore_held` finds.
fn settle_place(
    write: &WriteTransaction,
    repo: &Repo,
    key: &ResourceKey,
    limits: &Limits,
) -> Result<(), IndexError> {
    let text = key.to_string();
    let old: Option<Declaration> = {
        let table = write.open_table(DECLARED)?;
        let found = table.get(text.as_str())?;
        found.and_then(|old| decode(old.value()).ok())
    };
    let first = {
        let table = write.open_multimap_table(PLACES)?;
        // The values of a key are sorted.
        let mut places = redb::ReadableMultimapTable::get(&table, text.as_str())?;
        places.next().transpose()?.map(|place| place.value().to_owned())
    };
    let Some(path) = first else { return remove_declared(write, &text, old.as_ref()) };
    let files = write.open_table(FILES)?;
    let entry = files.get(path.as_str())?.and_then(|entry| decode::<FileEntry>(entry.value()).ok());
    drop(files);
    let Some(entry) = entry else { return Ok(()) };
    if old.is_some_and(|old| old.source.path == path && old.blob == entry.blob && old.quarantined.is_none()) {
        return Ok(());
    }
    // Parsed again: the index keeps no manifests, which would double what Git has.
    let bytes = match repo.blob(entry.blob, manifest::most_bytes(limits)) {
        Ok(bytes) => bytes,
        // The limit was lowered below a file that was read under the old one: what is in force stays (Invariant 6).
        Err(GitError::TooLarge { .. }) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let parsed = manifest::parse(&path, &bytes, limits);
    match parsed.resources.iter().find(|resource| resource.key() == *key) {
        Some(resource) => declare(write, resource, entry.blob, None),
        None => Ok(()),
    }
}

/// Takes a declaration out of force, where there is one.
pub(super) fn remove_declared(
    write: &WriteTransaction,
    key: &str,
    old: Option<&Declaration>,
) -> Result<(), IndexError> {
    let mut mentions = write.open_multimap_table(MENTIONS)?;
    for topic in old.iter().flat_map(|old| &old.topics) {
        mentions.remove(topic.as_str(), key)?;
    }
    // `add_goals` opens the same table, and redb hands a table out once.
    drop(mentions);
    if let (Some(old), Ok(key)) = (old, key.parse()) {
        add_goals(write, &key, old)?;
    }
    write.open_table(DECLARED)?.remove(key)?;
    Ok(())
}
