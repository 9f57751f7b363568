//! Applying changes of the desired tree: which file declares what, and which declaration is in force.

use std::collections::BTreeSet;

use redb::{ReadableMultimapTable as _, ReadableTable as _, WriteTransaction};

use super::dependents::add_goals;
use super::file_entry::{FileEntry, ManifestFilter, PossibleDeclaration};
use super::{Advance, in_parallel};
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
    let read = |repo: &Repo, (path, change): &(&str, &TreeChange)| load(repo, path, change, limits);
    in_parallel(repo, &wanted, read, |mut file| {
        advance.files += 1;
        if let Some((blob, _)) = file.entry {
            known.keep(blob, file.form.take());
        }
        // A key with several places is corrected below.
        for (resource, blob) in note_file(write, file, advance, &mut moved)? {
            declare(write, &resource, blob, None)?;
        }
        Ok(())
    })?;
    for unsettled in unsettled(write, &moved)? {
        settle(write, repo, unsettled, limits)?;
    }
    mark_duplicates(write, &moved)?;
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

/// Stores what a file declares now, collects the keys that it declared or declares, and returns what is to be declared.
fn note_file(
    write: &WriteTransaction,
    file: ParsedFile,
    advance: &mut Advance,
    moved: &mut BTreeSet<ResourceKey>,
) -> Result<Vec<(Resource, ObjectId)>, IndexError> {
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
    let Some((blob, parsed)) = file.entry else { return Ok(Vec::new()) };
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
    Ok(firsts.map(|resource| (resource, blob)).collect())
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

/// Counts the files that declare these keys again among the bad ones, and no longer those of which that was all that was wrong:
/// what is wrong with bad files is found at every pass.
fn mark_duplicates(write: &WriteTransaction, keys: &BTreeSet<ResourceKey>) -> Result<(), IndexError> {
    let places = write.open_multimap_table(PLACES)?;
    let files = write.open_table(FILES)?;
    let mut bad = write.open_table(BAD)?;
    for key in keys {
        let paths = places.get(key.to_string().as_str())?;
        let paths: Vec<String> =
            paths.map(|place| place.map(|place| place.value().to_owned())).collect::<Result<_, _>>()?;
        for path in &paths {
            let entry = files.get(path.as_str())?.and_then(|entry| decode::<FileEntry>(entry.value()).ok());
            let Some(entry) = entry else { continue };
            let mut is_bad = entry.flawed || paths.len() > 1;
            // Another resource of the file may still be declared twice.
            for other in entry.keys.iter().filter(|other| !is_bad && *other != key).collect::<Vec<_>>() {
                is_bad |= places.get(other.to_string().as_str())?.len() > 1;
            }
            if is_bad {
                bad.insert(path.as_str(), encode(&entry.blob)?.as_slice())?;
            } else {
                bad.remove(path.as_str())?;
            }
        }
    }
    Ok(())
}

fn has_place(write: &WriteTransaction, key: &str, path: &str) -> Result<bool, IndexError> {
    let table = write.open_multimap_table(PLACES)?;
    for place in table.get(key)? {
        if place?.value() == path {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A resource whose declaration in force is not that of the smallest path.
struct Unsettled<'a> {
    key: &'a ResourceKey,
    /// What is in force.
    old: Option<Declaration>,
    /// Where the declaration of the smallest path is; nowhere, where no file declares it.
    first: Option<(String, ObjectId)>,
}

/// Of keys whose places changed, those that are not declared as they should be: on a first pass none, or few.
fn unsettled<'a>(
    write: &WriteTransaction,
    keys: &'a BTreeSet<ResourceKey>,
) -> Result<Vec<Unsettled<'a>>, IndexError> {
    let declared = write.open_table(DECLARED)?;
    let places = write.open_multimap_table(PLACES)?;
    let files = write.open_table(FILES)?;
    let mut found = Vec::new();
    for key in keys {
        let text = key.to_string();
        let old = declared.get(text.as_str())?.and_then(|old| decode::<Declaration>(old.value()).ok());
        // The values of a key are sorted.
        let path = places.get(text.as_str())?.next().transpose()?.map(|place| place.value().to_owned());
        let Some(path) = path else {
            found.extend(old.map(|old| Unsettled { key, old: Some(old), first: None }));
            continue;
        };
        let entry = files.get(path.as_str())?.and_then(|entry| decode::<FileEntry>(entry.value()).ok());
        let Some(FileEntry { blob, .. }) = entry else { continue };
        let is_settled =
            |old: &Declaration| old.source.path == path && old.blob == blob && old.quarantined.is_none();
        if !old.as_ref().is_some_and(is_settled) {
            found.push(Unsettled { key, old, first: Some((path, blob)) });
        }
    }
    Ok(found)
}

/// After a change: puts the declaration of the smallest path in force. Without any it is gone, unless it is the last good version
/// of a broken file, which `restore_held` finds.
fn settle(
    write: &WriteTransaction,
    repo: &Repo,
    Unsettled { key, old, first }: Unsettled<'_>,
    limits: &Limits,
) -> Result<(), IndexError> {
    let Some((path, blob)) = first else { return remove_declared(write, &key.to_string(), old.as_ref()) };
    // Parsed again: the index keeps no manifests, which would double what Git has.
    let bytes = match repo.blob(blob, manifest::most_bytes(limits)) {
        Ok(bytes) => bytes,
        // The limit was lowered below a file that was read under the old one: what is in force stays (Invariant 6).
        Err(GitError::TooLarge { .. }) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let parsed = manifest::parse(&path, &bytes, limits);
    match parsed.resources.iter().find(|resource| resource.key() == *key) {
        Some(resource) => declare(write, resource, blob, None),
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
