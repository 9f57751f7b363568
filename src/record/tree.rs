//! Reading the status tree: the path of a record, its content, and what is pinned beside it. An unreadable record is an error
//! of its own and hides no other.

use std::collections::BTreeMap;

use super::layout::MAX_RECORD_BYTES;
use super::{PinKind, RecordError, layout, parse_record, parts};
use crate::git::{Commit, EntryMode, GitError, ObjectId, Repo, TreeEntry};
use crate::model::{Kind, Name, RecordFile, RecordParts, ResourceKey, ResourceStatus, StatusRecord};

/// How many commits are searched for the last good version of a broken record.
const MOST_COMMITS: usize = 10_000;

/// The status tree at one commit; empty before the first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StatusTree {
    /// The commit; absent when there is no status branch yet.
    pub commit: Option<ObjectId>,
    /// Its tree.
    pub tree: Option<ObjectId>,
}

/// What is pinned beside a record: the very blobs of the desired tree, as they were. A
/// blob may hold several documents; the wanted one is found by kind, namespace and name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pinned {
    /// The last good version of a resource whose newest one is not valid.
    pub manifest: Option<ObjectId>,
    /// The execution's own manifest.
    pub execution: Option<ObjectId>,
    /// The manifest of its plan.
    pub plan: Option<ObjectId>,
    /// The manifest of its goal.
    pub goal: Option<ObjectId>,
    /// The manifest of what made a derived execution.
    pub owner: Option<ObjectId>,
}

impl Pinned {
    /// What is pinned in this place.
    #[must_use]
    pub fn of(&self, pin: PinKind) -> Option<ObjectId> {
        match pin {
            PinKind::Manifest => self.manifest,
            PinKind::Execution => self.execution,
            PinKind::Plan => self.plan,
            PinKind::Goal => self.goal,
            PinKind::Owner => self.owner,
        }
    }
}

impl StatusTree {
    /// The status tree at `commit`, the tip of the status branch.
    ///
    /// # Errors
    /// When the commit cannot be read.
    pub fn at(repo: &Repo, commit: Option<ObjectId>) -> Result<Self, RecordError> {
        // A tip that cannot be read is an error: taken for an empty branch, everything on it would run again (Invariant
        // 10).
        let tree = commit.map(|id| repo.commit(id)).transpose()?.map(|commit| commit.tree);
        Ok(Self { commit, tree })
    }

    /// The path and the blob of a record. The split layout goes before the flat one.
    ///
    /// # Errors
    /// When a tree cannot be read, or the path holds something other than a file.
    pub fn locate(&self, repo: &Repo, key: &ResourceKey) -> Result<Option<(String, ObjectId)>, RecordError> {
        let Some(tree) = self.tree else { return Ok(None) };
        // Both, without asking whether the directory is split: a record that an older version left in the flat one still counts.
        for split in [true, false] {
            let path = layout::path_in(key, split);
            match repo.entry(tree, &path)? {
                Some(entry) if entry.mode.is_file() => return Ok(Some((path, entry.id))),
                Some(entry) => {
                    let reason = format!("it is {}", entry.mode.with_article());
                    return Err(RecordError::Unreadable { path, reason });
                }
                None => {}
            }
        }
        Ok(None)
    }

    /// The record of a resource.
    ///
    /// # Errors
    /// [`RecordError::Unreadable`] when the file is not that record; or Git fails.
    pub fn get(&self, repo: &Repo, key: &ResourceKey) -> Result<Option<StatusRecord>, RecordError> {
        let Some(LocatedFile { path, mut record, parts }) = self.file(repo, key)? else { return Ok(None) };
        if let Some(parts) = &parts {
            parts::join(repo, &path, &mut record, parts)?;
        }
        Ok(Some(record))
    }

    /// The record of a resource; one in parts without its nodes.
    ///
    /// # Errors
    /// Those of [`Self::get`].
    pub fn head(&self, repo: &Repo, key: &ResourceKey) -> Result<Option<StatusRecord>, RecordError> {
        Ok(self.file(repo, key)?.map(|file| file.record))
    }

    /// The record of a resource as [`Self::get`] gives it, where `old` is the one at `before`: of a record in parts, only those
    /// that changed since are read.
    ///
    /// # Errors
    /// Those of [`Self::get`].
    pub fn get_after(
        &self,
        repo: &Repo,
        key: &ResourceKey,
        before: &Self,
        old: &StatusRecord,
    ) -> Result<Option<StatusRecord>, RecordError> {
        if let (Some(now), Some(then)) = (self.file(repo, key)?, before.file(repo, key)?)
            && let (Some(new_parts), Some(old_parts)) = (&now.parts, &then.parts)
            && let Some(status) =
                old.execution().filter(|status| status.node_statuses.len() == new_parts.nodes)
        {
            let from = parts::tree_of(&then.path, old_parts)?;
            let to = parts::tree_of(&now.path, new_parts)?;
            let nodes = status.node_statuses.clone();
            if let Some(nodes) = parts::changed_nodes(repo, &now.path, nodes, (from, to))? {
                let mut record = now.record;
                if let ResourceStatus::Execution(status) = &mut record.status {
                    status.node_statuses = nodes;
                }
                return Ok(Some(record));
            }
        }
        self.get(repo, key)
    }

    /// Reads the record of `key` from a blob at `path`, as returned by [`Self::locate`] and [`Self::list`].
    ///
    /// # Errors
    /// [`RecordError::Unreadable`] when the blob is not that record; or Git fails.
    pub fn read(
        repo: &Repo,
        key: &ResourceKey,
        path: &str,
        blob: ObjectId,
    ) -> Result<StatusRecord, RecordError> {
        let RecordFile { mut record, parts } = read_file(repo, key, path, blob)?;
        if let Some(parts) = &parts {
            parts::join(repo, path, &mut record, parts)?;
        }
        Ok(record)
    }

    /// The file of a record, with its path; of one in parts, after a look whether they are there.
    pub(super) fn file(&self, repo: &Repo, key: &ResourceKey) -> Result<Option<LocatedFile>, RecordError> {
        let (Some(tree), Some((path, blob))) = (self.tree, self.locate(repo, key)?) else { return Ok(None) };
        let RecordFile { record, parts } = read_file(repo, key, &path, blob)?;
        if let Some(parts) = &parts {
            parts::are_there(repo, tree, &path, parts)?;
        }
        Ok(Some(LocatedFile { path, record, parts }))
    }

    /// The record of `key` in an entry at `path` of the tree `root`; nothing when that is not a file, or not that record. Of
    /// one in parts, all nodes are read; where `changed` says which of their files changed since the record was found sound,
    /// those are checked, and the record comes without nodes.
    ///
    /// # Errors
    /// When Git fails.
    pub fn read_if_sound(
        repo: &Repo,
        root: ObjectId,
        key: &ResourceKey,
        (path, entry): (&str, &TreeEntry),
        changed: Option<&[ObjectId]>,
    ) -> Result<Option<StatusRecord>, RecordError> {
        if !entry.mode.is_file() {
            // A link is a broken record like any other; what it points to is never read (Invariant 7).
            return Ok(None);
        }
        let read = || {
            let RecordFile { mut record, parts } = read_file(repo, key, path, entry.id)?;
            if let Some(parts) = &parts {
                parts::are_there(repo, root, path, parts)?;
                match changed {
                    Some(changed) => parts::check(repo, path, changed)?,
                    None => parts::join(repo, path, &mut record, parts)?,
                }
            }
            Ok(record)
        };
        match read() {
            Ok(record) => Ok(Some(record)),
            Err(error @ (RecordError::Unreadable { .. } | RecordError::Git(GitError::TooLarge { .. }))) => {
                tracing::debug!(resource = %key, path, %error, "record cannot be read");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The last good version of a record that somebody broke, from these commits, newest first.
    ///
    /// # Errors
    /// When Git fails.
    pub fn last_sound<E: From<RecordError>>(
        repo: &Repo,
        log: impl Iterator<Item = Result<Commit, E>>,
        key: &ResourceKey,
    ) -> Result<Option<StatusRecord>, E> {
        let mut seen = None;
        // The bound keeps a record that was never good from reading years.
        for commit in log.take(MOST_COMMITS) {
            let Commit { id, tree, .. } = commit?;
            for split in [true, false] {
                let path = layout::path_in(key, split);
                let Some(entry) = repo.entry(tree, &path).map_err(RecordError::from)? else { continue };
                let nodes = repo.entry(tree, &layout::nodes_directory(&path)).map_err(RecordError::from)?;
                let nodes = nodes.map(|nodes| nodes.id);
                // Most commits do not change this record; a broken blob is parsed once. With the nodes of one in parts: where
                // those alone were broken, the file is the same in the commit before.
                if seen.replace((entry.id, nodes)) == Some((entry.id, nodes)) {
                    continue;
                }
                if let Some(record) = Self::read_if_sound(repo, tree, key, (&path, &entry), None)? {
                    tracing::info!(resource = %key, commit = %id, "found the last good version of a broken record");
                    return Ok(Some(record));
                }
            }
        }
        Ok(None)
    }

    /// The records of one kind or all, in one namespace or all: key, path and blob, by key. Files that do not belong to the
    /// layout are skipped.
    ///
    /// # Errors
    /// When a tree cannot be read.
    pub fn list(
        &self,
        repo: &Repo,
        kind: Option<Kind>,
        namespace: Option<&Name>,
    ) -> Result<Vec<(ResourceKey, String, ObjectId)>, RecordError> {
        let Some(root) = self.tree else { return Ok(Vec::new()) };
        // Sorted by key, so that listings are the same whatever the layout of the directory.
        let mut found = BTreeMap::new();
        // By one walk over trees and not by a path for each record: no blob is read for a listing.
        for space in repo.entries(root)?.into_iter().filter(|entry| entry.mode == EntryMode::Tree) {
            // A directory that is no namespace is somebody's own; the branch may hold a folder of notes.
            let Some(name) = str::from_utf8(&space.name).ok().and_then(|text| Name::new(text).ok()) else {
                continue;
            };
            if namespace.is_some_and(|wanted| *wanted != name) {
                continue;
            }
            for entry in repo.entries(space.id)?.into_iter().filter(|entry| entry.mode == EntryMode::Tree) {
                let known = Kind::ALL.into_iter().find(|known| known.plural().as_bytes() == entry.name);
                if let Some(known) = known
                    && kind.is_none_or(|wanted| wanted == known)
                {
                    list_directory(repo, known, &name, entry.id, &mut found)?;
                }
            }
        }
        Ok(found.into_iter().map(|(key, (path, blob))| (key, path, blob)).collect())
    }

    /// What is pinned beside the record of an execution; nothing when there is no record.
    ///
    /// # Errors
    /// When a tree cannot be read.
    pub fn pinned(&self, repo: &Repo, execution: &ResourceKey) -> Result<Pinned, RecordError> {
        let mut pinned = Pinned::default();
        let Some(tree) = self.tree else { return Ok(pinned) };
        let mut found = None;
        for split in [true, false] {
            let path = layout::path_in(execution, split);
            // Beside the record as it was found, although it may not be readable: the two layouts must not be mixed.
            if repo.entry(tree, &path)?.is_some() {
                found = repo.entry(tree, &layout::pins_directory(&path))?;
                break;
            }
        }
        let Some(directory) = found.filter(|entry| entry.mode == EntryMode::Tree) else {
            return Ok(pinned);
        };
        // Only files: the blob of a link is the text of its target, which is no manifest and is never followed
        // (Invariant 7).
        for entry in repo.entries(directory.id)?.into_iter().filter(|entry| entry.mode.is_file()) {
            let pin = PinKind::ALL.iter().find(|pin| pin.file_name().as_bytes() == entry.name);
            match pin {
                Some(PinKind::Manifest) => pinned.manifest = Some(entry.id),
                Some(PinKind::Execution) => pinned.execution = Some(entry.id),
                Some(PinKind::Plan) => pinned.plan = Some(entry.id),
                Some(PinKind::Goal) => pinned.goal = Some(entry.id),
                Some(PinKind::Owner) => pinned.owner = Some(entry.id),
                None => {}
            }
        }
        Ok(pinned)
    }
}

/// The file of a record, where it stands.
pub(super) struct LocatedFile {
    pub(super) path: String,
    pub(super) record: StatusRecord,
    pub(super) parts: Option<RecordParts>,
}

/// Reads the file of the record of `key`.
pub(super) fn read_file(
    repo: &Repo,
    key: &ResourceKey,
    path: &str,
    blob: ObjectId,
) -> Result<RecordFile, RecordError> {
    let unreadable = |reason: String| RecordError::Unreadable { path: path.to_owned(), reason };
    // Bounded, as anybody who can push the branch chooses the size.
    let bytes = repo.blob(blob, MAX_RECORD_BYTES)?;
    let file = parse_record(&bytes).map_err(|error| match error {
        // With the path, since the parser knows only bytes, and a person has to find the file.
        RecordError::Malformed(source) => unreadable(source.to_string()),
        other => other,
    })?;
    // A record copied to another path would make two resources with one uid and one lease.
    let found = file.record.key();
    if found != *key {
        return Err(unreadable(format!("it is the record of {found}")));
    }
    // Logs, run folders and the names of attempts are made of it, so it is checked here, where every record comes in: as a path
    // of its own choice it would write and delete outside of the cache (Invariant 8).
    if !is_uid(&file.record.metadata.uid) {
        return Err(unreadable("its uid is no UUID".to_owned()));
    }
    Ok(file)
}

/// Whether a uid is written as planspec writes it.
pub(super) fn is_uid(text: &str) -> bool {
    uuid::Uuid::parse_str(text).is_ok_and(|uid| uid.as_hyphenated().to_string() == text)
}

type RecordResult = BTreeMap<ResourceKey, (String, ObjectId)>;

fn list_directory(
    repo: &Repo,
    kind: Kind,
    namespace: &Name,
    directory: ObjectId,
    found: &mut RecordResult,
) -> Result<(), RecordError> {
    let mut add = |file: &[u8], blob, split| {
        if let Some(name) = layout::record_name(file) {
            let key = ResourceKey::new(kind, namespace.clone(), name);
            let path = layout::path_in(&key, split);
            // In the order of `locate`, whichever of the two is listed first.
            if split {
                found.insert(key, (path, blob));
            } else {
                found.entry(key).or_insert((path, blob));
            }
        }
    };
    for entry in repo.entries(directory)? {
        if entry.mode.is_file() {
            add(&entry.name, entry.id, false);
        } else if entry.mode == EntryMode::Tree && layout::is_prefix(&entry.name) {
            for inner in repo.entries(entry.id)?.into_iter().filter(|inner| inner.mode.is_file()) {
                let path = [entry.name.as_slice(), inner.name.as_slice()].join(&b'/');
                // A file under the wrong digits was not written by planspec; nothing would find or remove it.
                if layout::record_name(&inner.name).is_some_and(|name| {
                    let key = ResourceKey::new(kind, namespace.clone(), name);
                    layout::path_in(&key, true).as_bytes().ends_with(&path)
                }) {
                    add(&inner.name, inner.id, true);
                }
            }
        }
    }
    Ok(())
}
