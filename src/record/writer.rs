//! The writer: a batch becomes blobs, an edited tree and a commit on top of the tip that was read. It makes objects only; the
//! caller moves the branch by compare-and-swap (Invariant 3).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Weak};
use std::time::Instant;

use super::parts::{self, PartsWriter};
use super::{
    Batch, DESIRED_BRANCH, PinKind, RecordEdit, RecordError, Renderer, StatusTree, WrittenCommit,
    WrittenRecords, dashboard, layout, message, removed,
};
use crate::git::{EntryMode, ObjectId, Repo, Signature};
use crate::model::{Kind, Name, RecordParts, ResourceKey, StatusRecord};

/// Makes status commits. Remembers what it rendered, so that the next commit costs what has changed.
#[derive(Debug, Default)]
pub struct Writer {
    renderer: Renderer,
    parts: PartsWriter,
    /// The desired branch that every commit records, where no remote names it.
    branch: Option<String>,
    /// The blobs of the last batch: a batch that lost a race comes again with the same records. Weak, so that
    /// the owner of a record can continue changing it in place.
    blobs: HashMap<ResourceKey, (Weak<StatusRecord>, ObjectId)>,
}

/// What changes in the status tree.
#[derive(Default)]
struct PathEdits {
    files: BTreeMap<String, Option<ObjectId>>,
    /// Directories of nodes, which are made elsewhere and set as a whole.
    directories: BTreeMap<String, ObjectId>,
}

impl PathEdits {
    fn insert(&mut self, path: String, file: Option<ObjectId>) {
        self.files.insert(path, file);
    }

    /// Whether nothing is set.
    fn only_removes(&self) -> bool {
        self.directories.is_empty() && self.files.values().all(Option::is_none)
    }

    /// Whoever put a link or a directory in the place of a record may not stop the pass.
    fn apply(&self, repo: &Repo, base: Option<ObjectId>) -> Result<ObjectId, RecordError> {
        Ok(repo.edit_own_directories(base, &self.files, &self.directories)?)
    }
}

impl Writer {
    /// A writer that remembers nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Records this desired branch in every commit from here on.
    #[must_use]
    pub fn recording(mut self, branch: Option<&str>) -> Self {
        self.branch = branch.map(str::to_owned);
        self
    }

    /// Makes the commit that holds `batch`, with `base` as its parent, and publishes nothing. `None` when the
    /// tree would stay as it is.
    ///
    /// # Errors
    /// When Git fails, or a record cannot be rendered.
    pub fn write(
        &mut self,
        repo: &Repo,
        base: &StatusTree,
        batch: &Batch,
        author: &Signature,
    ) -> Result<Option<WrittenCommit>, RecordError> {
        // A commit of a large Execution may hold some hundred nodes.
        let started = Instant::now();
        let written = repo.gather(|| self.write_objects(repo, base, batch, author))?;
        if let Some(WrittenCommit { commit, .. }) = &written {
            tracing::debug!(
                %commit,
                parent = ?base.commit,
                records = batch.changes.len(),
                transitions = batch.transitions.len(),
                duration_ms = started.elapsed().as_millis(),
                "status commit written"
            );
        }
        Ok(written)
    }

    /// What the commit says, and which branch it speaks of.
    fn message(&self, batch: &Batch) -> String {
        let mut message = message(batch);
        if let Some(branch) = &self.branch {
            // The message ends with its trailers.
            message.push_str(&format!("{DESIRED_BRANCH}: {branch}\n"));
        }
        message
    }

    fn write_objects(
        &mut self,
        repo: &Repo,
        base: &StatusTree,
        batch: &Batch,
        author: &Signature,
    ) -> Result<Option<WrittenCommit>, RecordError> {
        let mut directories = Directories::default();
        let mut edits = PathEdits::default();
        let mut blobs = HashMap::new();
        let mut records = WrittenRecords::default();
        for (position, change) in batch.changes.iter().enumerate() {
            let key = change.key();
            // Read at the base and not from memory: another runner may have split the directory since.
            let directory = directories.of(repo, base, &key)?;
            match change {
                RecordEdit::Put { record, pins } => {
                    let there = || directory.nodes_tree(repo, base, &key);
                    let write_parts = || self.parts.write(repo, there()?, record);
                    let parts = parts::is_large(record).then(write_parts).transpose()?;
                    let blob = self.blob(repo, &key, record, parts.as_ref().map(|(parts, _)| parts))?;
                    blobs.insert(key.clone(), (Arc::downgrade(record), blob));
                    let nodes = parts.map(|(_, tree)| tree);
                    records.note(record, blob, nodes);
                    directory.put(&key, blob, pins.as_deref(), &mut edits);
                    directory.put_nodes(&key, nodes, &mut edits);
                }
                RecordEdit::Remove(_) => {
                    self.forget(&key);
                    directory.remove(&key, &mut edits);
                    let put = removed::put_before(batch.changes.get(..position).unwrap_or_default(), &key);
                    edits.files.extend(removed::kept(repo, base, &key, put)?);
                }
            }
        }
        // Replaced, not extended: only the batch that comes next can be the same one again.
        self.blobs = blobs;
        if let Some(input) = &batch.dashboard {
            let blob = repo.write_blob(dashboard(input).as_bytes())?;
            edits.insert(layout::DASHBOARD.to_owned(), Some(blob));
        }
        // Removing nothing from nothing would make an empty root commit.
        if base.tree.is_none() && edits.only_removes() {
            return Ok(None);
        }
        let tree = edits.apply(repo, base.tree)?;
        // After the edits, so that the records of this batch are moved along, in the same commit.
        let tree = directories.split_the_large(repo, tree)?;
        // A commit without a change would wake every other runner for nothing (Invariant 5).
        if Some(tree) == base.tree {
            return Ok(None);
        }
        // Only ever the tip that was read: a commit on top of anything else would be refused by the lease (Invariant 3).
        let parents: Vec<ObjectId> = base.commit.into_iter().collect();
        let message = self.message(batch);
        let commit = repo.write_commit(tree, &parents, &message, author, batch.at)?;
        let subject = message.lines().next().unwrap_or_default().to_owned();
        Ok(Some(WrittenCommit { commit, tree, subject, records }))
    }

    /// A runner may live for weeks, and must not keep the parts of what is gone.
    fn forget(&mut self, key: &ResourceKey) {
        self.renderer.forget(key);
        self.parts.forget(key);
    }

    fn blob(
        &mut self,
        repo: &Repo,
        key: &ResourceKey,
        record: &Arc<StatusRecord>,
        parts: Option<&RecordParts>,
    ) -> Result<ObjectId, RecordError> {
        // The batch before was not published, so no reference names its blobs, and `git gc` may have removed them.
        if let Some((known, blob)) = self.blobs.get(key)
            && known.upgrade().is_some_and(|known| Arc::ptr_eq(&known, record))
            && repo.contains(*blob)?
        {
            return Ok(*blob);
        }
        Ok(repo.write_blob(self.renderer.render(record, parts)?.as_bytes())?)
    }
}

/// The directories that a batch changes, each read once.
#[derive(Default)]
struct Directories(BTreeMap<(Name, Kind), Directory>);

/// One directory of records, as it is before the batch.
struct Directory {
    entries: BTreeSet<Vec<u8>>,
    split: bool,
    grows: bool,
}

impl Directories {
    fn of(
        &mut self,
        repo: &Repo,
        base: &StatusTree,
        key: &ResourceKey,
    ) -> Result<&mut Directory, RecordError> {
        use std::collections::btree_map::Entry;
        match self.0.entry((key.namespace.clone(), key.kind)) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(place) => {
                let path = layout::directory(key.kind, &key.namespace);
                let found = match base.tree {
                    Some(tree) => repo.entry(tree, &path)?.filter(|entry| entry.mode == EntryMode::Tree),
                    None => None,
                };
                let entries = found.map(|entry| repo.entries(entry.id)).transpose()?.unwrap_or_default();
                let split = entries
                    .iter()
                    .any(|entry| entry.mode == EntryMode::Tree && layout::is_prefix(&entry.name));
                let entries = entries.into_iter().map(|entry| entry.name).collect();
                Ok(place.insert(Directory { entries, split, grows: false }))
            }
        }
    }

    /// Splits every flat directory that the batch has filled beyond the limit.
    fn split_the_large(&self, repo: &Repo, mut tree: ObjectId) -> Result<ObjectId, RecordError> {
        for ((namespace, kind), _) in self.0.iter().filter(|(_, directory)| directory.grows) {
            let path = layout::directory(*kind, namespace);
            let Some(found) = repo.entry(tree, &path)? else { continue };
            let entries = repo.entries(found.id)?;
            if entries.len() <= layout::SPLIT_LIMIT {
                continue;
            }
            tracing::info!(directory = path, entries = entries.len(), "splitting a large directory");
            // Moves only, by object id: no record is read, and every other tree is untouched.
            let mut edits = PathEdits::default();
            for entry in entries {
                let key = |name| ResourceKey::new(*kind, namespace.clone(), name);
                if entry.mode.is_file()
                    && let Some(key) = layout::record_name(&entry.name).map(key)
                {
                    edits.insert(layout::path_in(&key, false), None);
                    edits.insert(layout::path_in(&key, true), Some(entry.id));
                } else if entry.mode == EntryMode::Tree
                    && let Some(key) = layout::nodes_name(&entry.name).map(key)
                {
                    // As one tree, whose id stays the one that the record names.
                    edits.insert(layout::nodes_directory(&layout::path_in(&key, false)), None);
                    edits.directories.insert(layout::nodes_directory(&layout::path_in(&key, true)), entry.id);
                } else if entry.mode == EntryMode::Tree
                    && let Some(key) = layout::pins_name(&entry.name).map(key)
                {
                    let pins = repo.entries(entry.id)?;
                    for &pin in PinKind::ALL {
                        let blob = pins.iter().find(|found| found.name == pin.file_name().as_bytes());
                        if let Some(blob) = blob.filter(|found| found.mode.is_file()) {
                            edits.insert(layout::pin_path(&layout::path_in(&key, false), pin), None);
                            let new = layout::pin_path(&layout::path_in(&key, true), pin);
                            edits.insert(new, Some(blob.id));
                        }
                    }
                }
            }
            tree = edits.apply(repo, Some(tree))?;
        }
        Ok(tree)
    }
}

impl Directory {
    fn put(
        &mut self,
        key: &ResourceKey,
        blob: ObjectId,
        pins: Option<&[(PinKind, ObjectId)]>,
        edits: &mut PathEdits,
    ) {
        let path = layout::path_in(key, self.split);
        edits.insert(path.clone(), Some(blob));
        for &pin in pins.map(|_| PinKind::ALL).into_iter().flatten() {
            let wanted = pins.into_iter().flatten().find(|(kind, _)| *kind == pin).map(|(_, blob)| *blob);
            edits.insert(layout::pin_path(&path, pin), wanted);
        }
        let flat = format!("{}.yaml", key.name);
        let there = self.entries.contains(flat.as_bytes());
        if self.split && there {
            // Two records of one resource would contradict each other; this one was restored by hand or by a revert.
            edits.insert(layout::path_in(key, false), None);
        }
        // A new record, or the first pins of a known one, adds an entry; a change of content does not.
        self.grows |= !self.split && (!there || pins.is_some());
    }

    /// The tree of the nodes of a record that is in parts.
    fn nodes_tree(
        &self,
        repo: &Repo,
        base: &StatusTree,
        key: &ResourceKey,
    ) -> Result<Option<ObjectId>, RecordError> {
        let path = layout::nodes_directory(&layout::path_in(key, self.split));
        let there = base.tree.map(|tree| repo.entry(tree, &path)).transpose()?.flatten();
        Ok(there.filter(|entry| entry.mode == EntryMode::Tree).map(|entry| entry.id))
    }

    /// Sets the nodes of a record that is in parts, and leaves none beside one that is not.
    fn put_nodes(&mut self, key: &ResourceKey, tree: Option<ObjectId>, edits: &mut PathEdits) {
        let flat = layout::nodes_directory(&layout::path_in(key, false));
        let there = self.entries.contains(flat.rsplit('/').next().unwrap_or_default().as_bytes());
        // In a split directory, one of its own name was brought back by hand.
        if there && (self.split || tree.is_none()) {
            edits.insert(flat, None);
        }
        let path = layout::nodes_directory(&layout::path_in(key, self.split));
        match tree {
            Some(tree) => {
                edits.directories.insert(path, tree);
                self.grows |= !self.split && !there;
            }
            // The record has fewer nodes than before, or somebody put a directory of this name there.
            None if key.kind == Kind::Execution && self.split => edits.insert(path, None),
            None => {}
        }
    }

    fn remove(&self, key: &ResourceKey, edits: &mut PathEdits) {
        // Also the flat path of a split directory: a revert by hand may have brought it back.
        let layouts: &[bool] = if self.split { &[true, false] } else { &[false] };
        for split in layouts {
            let path = layout::path_in(key, *split);
            for &pin in PinKind::ALL {
                edits.insert(layout::pin_path(&path, pin), None);
            }
            edits.insert(layout::nodes_directory(&path), None);
            edits.insert(path, None);
        }
    }
}

#[cfg(test)]
mod tests;
