//! Which commit introduced an Execution: the first one along the first parents of the desired branch at which a file declares it.

use std::collections::{BTreeMap, BTreeSet};

use crate::cli::error::CliError;
use crate::config::Limits;
use crate::git::{ObjectId, Repo};
use crate::manifest;
use crate::model::{Resource, ResourceKey};

/// How many commits are searched.
const FAR: usize = 2000;

/// The resources that are searched for in a file.
struct DeclarationSearch {
    /// The file as the newer commit had it; the search goes back in history.
    blob: Option<ObjectId>,
    keys: BTreeSet<ResourceKey>,
}

/// The commits that introduced what these files declare at the tip. Those are left out whose commit is older than the search goes, or beyond where
/// history is cut off.
pub(crate) fn origins(
    repo: &Repo,
    tip: ObjectId,
    files: BTreeMap<String, BTreeSet<ResourceKey>>,
    limits: &Limits,
) -> Result<BTreeMap<ResourceKey, ObjectId>, CliError> {
    let tree = repo.commit(tip)?.tree;
    // What is no file any more, such as a link, declares nothing.
    let file = |tree, path: &str| repo.file(tree, path).ok().flatten();
    let mut open: BTreeMap<String, DeclarationSearch> = files
        .into_iter()
        .map(|(path, keys)| (path.clone(), DeclarationSearch { blob: file(tree, &path), keys }))
        .collect();
    let mut origins = BTreeMap::new();
    let mut newer = tip;
    for commit in repo.log(tip).take(FAR) {
        let commit = commit?;
        for (path, search) in &mut open {
            let blob = file(commit.tree, path);
            if blob == search.blob {
                continue;
            }
            // Parsed only where the blob differs from that of the newer commit: most commits touch none of
            // these files.
            let there = blob.map(|blob| declared(repo, path, blob, limits)).unwrap_or_default();
            let gone = search.keys.iter().filter(|key| !there.contains(key));
            origins.extend(gone.map(|key| (key.clone(), newer)));
            search.keys.retain(|key| there.contains(key));
            search.blob = blob;
        }
        open.retain(|_, search| !search.keys.is_empty());
        newer = commit.id;
        if open.is_empty() {
            break;
        }
        // Where history is cut off, the last commit only seems to be the first one.
        if commit.parents.is_empty() && !repo.is_shallow() {
            let rest = std::mem::take(&mut open).into_values().flat_map(|search| search.keys);
            origins.extend(rest.map(|key| (key, commit.id)));
        }
    }
    Ok(origins)
}

/// The newest commit at which this file does not declare a resource any more that the commit before it declares there.
pub(crate) fn removal(
    repo: &Repo,
    tip: ObjectId,
    (path, key): (&str, &ResourceKey),
    limits: &Limits,
) -> Result<Option<ObjectId>, CliError> {
    let mut newer: Option<(ObjectId, Option<ObjectId>)> = None;
    for commit in repo.log(tip).take(FAR) {
        let commit = commit?;
        let blob = repo.file(commit.tree, path).ok().flatten();
        // As long as the file is the same, it declares the same.
        if let Some((removed, after)) = newer
            && after != blob
            && let Some(blob) = blob
            && declared(repo, path, blob, limits).contains(key)
        {
            return Ok(Some(removed));
        }
        newer = Some((commit.id, blob));
    }
    Ok(None)
}

fn declared(repo: &Repo, path: &str, blob: ObjectId, limits: &Limits) -> BTreeSet<ResourceKey> {
    let Ok(bytes) = repo.blob(blob, limits.file_bytes) else { return BTreeSet::new() };
    manifest::parse(path, &bytes, limits).resources.iter().map(Resource::key).collect()
}
