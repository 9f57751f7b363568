//! Bringing the index to two commits: only what differs between the trees is read and parsed.

use std::collections::BTreeSet;
use std::path::Path;

use rayon::prelude::*;
use redb::{ReadableTable as _, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::lookup::{Declared, Recorded};
use super::standing::Standing;
use super::tables::{
    BAD, BROKEN, DECLARED, FILES, MAPS, MENTIONS, META, PLACES, RECORDED, WAYS, WORK, decode, encode,
};
use super::{Index, IndexError, ManifestFilter, Topic, topics_of};
use crate::config::{Config, Limits};
use crate::diagnostic::{Diagnostic, Severity};
use crate::git::{GitError, ObjectId, Repo, TreeChange};
use crate::manifest;
use crate::model::{Kind, Resource, ResourceKey, Spec, Status, StatusMetadata};
use crate::record::{StatusPath, StatusTree};

/// How many changed files are parsed before what they hold is written down, so that memory stays bounded.
const CHUNK: usize = 4_096;

/// The commits that the index is brought to.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The tree of the desired commit.
    pub desired: ObjectId,
    /// The status branch.
    pub status: &'a StatusTree,
    /// The blob of `.planspec.yaml`: another one may mean other paths, and then everything is read again.
    pub config: Option<ObjectId>,
}

/// What bringing the index up to date came to.
#[derive(Debug, Clone, Default)]
pub struct Advance {
    /// What is wrong with the files that were read.
    pub diagnostics: Vec<Diagnostic>,
    /// How many files were read.
    pub files: usize,
    /// How many records were read.
    pub records: usize,
    /// Whether everything had to be read.
    pub rebuilt: bool,
}

/// What the index describes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    version: String,
    desired: ObjectId,
    status: Option<ObjectId>,
    config: Option<ObjectId>,
}

/// What a file holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct FileEntry {
    blob: ObjectId,
    keys: Vec<ResourceKey>,
}

/// A file after parsing.
struct Loaded {
    path: String,
    entry: Option<(ObjectId, manifest::Parsed)>,
}

impl Index {
    /// Brings the index to `target` and notes what has to be planned again because of it.
    ///
    /// # Errors
    /// Git or the store. Bad manifests are no error: they come back as diagnostics.
    pub fn advance(
        &mut self,
        repo: &Repo,
        target: Target<'_>,
        config: &Config,
    ) -> Result<Advance, IndexError> {
        let filter = ManifestFilter::new(config)?;
        let state = State {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            desired: target.desired,
            status: target.status.tree,
            config: target.config,
        };
        let old = self.state()?;
        if old.as_ref() == Some(&state) {
            return Ok(Advance::default());
        }
        self.make_writable()?;
        let old = self.state()?;
        let base = old.filter(|old| old.version == state.version && old.config == state.config);
        let changes = base.as_ref().map(|old| repo.compare(Some(old.desired), Some(state.desired)));
        let records = base.as_ref().map(|old| repo.compare(old.status, state.status));
        let (rebuilt, changes, records) = match (changes, records) {
            (Some(Ok(changes)), Some(Ok(records))) => (false, changes, records),
            // The old trees may be gone (a pruned or another repository); then everything is read again.
            _ => (true, repo.compare(None, Some(state.desired))?, repo.compare(None, state.status)?),
        };
        let mut advance = Advance { rebuilt, ..Advance::default() };
        let write = self.store.begin_write()?;
        if rebuilt {
            clear(&write)?;
        }
        let mut touched = BTreeSet::new();
        advance.records = apply_records(&write, repo, &records, &mut touched)?;
        apply_files(&write, repo, &changes, &filter, &config.limits, &mut advance, &mut touched)?;
        if rebuilt {
            add_unsettled(&write)?;
        } else {
            add_touched(&write, &touched)?;
        }
        write.open_table(META)?.insert("state", encode(&state)?.as_slice())?;
        write.commit()?;
        Ok(advance)
    }

    fn state(&self) -> Result<Option<State>, IndexError> {
        let table = self.store.begin_read()?.open_table(META)?;
        let found = table.get("state")?;
        // An entry of another version may not decode; it counts as none.
        Ok(found.and_then(|value| decode(value.value()).ok()))
    }
}

fn clear(write: &WriteTransaction) -> Result<(), IndexError> {
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

/// Reads the changed records of the status tree.
fn apply_records(
    write: &WriteTransaction,
    repo: &Repo,
    changes: &[TreeChange],
    touched: &mut BTreeSet<ResourceKey>,
) -> Result<usize, IndexError> {
    let mut table = write.open_table(RECORDED)?;
    let mut broken = write.open_table(BROKEN)?;
    let mut standing = Standing::open(write)?;
    let mut count = 0;
    for chunk in changes.chunks(CHUNK) {
        let read = in_parallel(repo, chunk, |repo, change| read_record(repo, change))?;
        for (key, path, found) in read.into_iter().flatten() {
            let text = key.to_string();
            let old: Option<Recorded> = table.get(text.as_str())?.and_then(|old| decode(old.value()).ok());
            if matches!(found, Found::Broken) {
                broken.insert(text.as_str(), [].as_slice())?;
            } else {
                broken.remove(text.as_str())?;
            }
            match found.record() {
                Some(recorded) => {
                    standing.replace(key.kind, &text, old.as_ref(), Some(&recorded))?;
                    table.insert(text.as_str(), encode(&recorded)?.as_slice())?;
                }
                // A record that moved to another directory is there already, under its new path.
                None if old.as_ref().is_none_or(|old| old.path == path) => {
                    standing.replace(key.kind, &text, old.as_ref(), None)?;
                    table.remove(text.as_str())?;
                }
                None => {}
            }
            touched.insert(key);
            count += 1;
        }
    }
    standing.close()?;
    Ok(count)
}

type RecordChange = (ResourceKey, String, Found);

/// What stands at the path of a record.
enum Found {
    /// The record.
    Record(Box<Recorded>),
    /// Something that somebody made of it by hand; what it was before counts, and will be written anew.
    Broken,
    /// Nothing.
    Nothing,
}

impl Found {
    fn record(self) -> Option<Recorded> {
        match self {
            Self::Record(record) => Some(*record),
            Self::Broken | Self::Nothing => None,
        }
    }
}

fn read_record(repo: &Repo, change: &TreeChange) -> Result<Option<RecordChange>, IndexError> {
    let Ok(path) = std::str::from_utf8(&change.path) else { return Ok(None) };
    let Some(StatusPath::Record(key)) = StatusPath::parse(&change.path) else { return Ok(None) };
    let Some(entry) = &change.new else { return Ok(Some((key, path.to_owned(), Found::Nothing))) };
    let Some(parsed) = StatusTree::read_if_sound(repo, &key, path, entry)? else {
        return Ok(Some((key, path.to_owned(), Found::Broken)));
    };
    let annotations = &parsed.metadata.annotations;
    let recorded = Recorded {
        path: path.to_owned(),
        blob: entry.id,
        uid: parsed.metadata.uid.clone(),
        generation: parsed.metadata.generation,
        spec_digest: parsed.metadata.spec_digest().map(ToOwned::to_owned),
        phase: phase_of(&parsed.status),
        terminal: is_over(&parsed.status),
        source: annotations.get(StatusMetadata::SOURCE).cloned(),
        ended: parsed
            .execution()
            .and_then(|status| status.completion_time)
            .map(jiff::Timestamp::as_millisecond),
    };
    Ok(Some((key, path.to_owned(), Found::Record(Box::new(recorded)))))
}

/// The phase, as written in a status.
#[must_use]
fn phase_of(status: &Status) -> String {
    match status {
        Status::Goal(status) => format!("{:?}", status.phase),
        Status::Plan(status) => format!("{:?}", status.phase),
        Status::Capability(status) => format!("{:?}", status.phase),
        Status::Binding(status) => format!("{:?}", status.phase),
        Status::Gate(status) => format!("{:?}", status.phase),
        Status::Execution(status) => status.phase.to_string(),
    }
}

/// Whether nothing happens to the resource unless something changes.
fn is_over(status: &Status) -> bool {
    match status {
        Status::Goal(status) => matches!(status.phase, crate::model::GoalPhase::Succeeded),
        Status::Execution(status) => status.phase.is_terminal() && status.extensions.lease.is_none(),
        _ => true,
    }
}

/// Runs `read` over items on all cores, each worker with a repository of its own.
fn in_parallel<I: Sync, T: Send>(
    repo: &Repo,
    items: &[I],
    read: impl Fn(&Repo, &I) -> Result<T, IndexError> + Sync,
) -> Result<Vec<T>, IndexError> {
    if items.len() < 32 {
        return items.iter().map(|item| read(repo, item)).collect();
    }
    let dir: &Path = repo.common_dir();
    items
        .par_iter()
        .map_init(
            || Repo::open(dir),
            |worker, item| match worker {
                Ok(worker) => read(worker, item),
                Err(_) => read(&Repo::open(dir)?, item),
            },
        )
        .collect()
}

/// Reads the changed files of the desired tree.
fn apply_files(
    write: &WriteTransaction,
    repo: &Repo,
    changes: &[TreeChange],
    filter: &ManifestFilter,
    limits: &Limits,
    advance: &mut Advance,
    touched: &mut BTreeSet<ResourceKey>,
) -> Result<(), IndexError> {
    let wanted: Vec<(&str, &TreeChange)> = changes
        .iter()
        .filter_map(|change| Some((std::str::from_utf8(&change.path).ok()?, change)))
        .filter(|(path, _)| filter.accepts(path))
        .collect();
    // A declaration that moves from one file to another within this change is not a removal: places first.
    let mut moved = BTreeSet::new();
    let mut fresh: Vec<(Resource, ObjectId)> = Vec::new();
    for chunk in wanted.chunks(CHUNK) {
        let loaded = in_parallel(repo, chunk, |repo, (path, change)| load(repo, path, change, limits))?;
        for file in loaded {
            advance.files += 1;
            note_file(write, file, advance, &mut moved, &mut fresh)?;
        }
        // Resources with a single place can be written down at once; the rest waits for the whole change.
        let chunk = std::mem::take(&mut fresh);
        for (resource, blob) in chunk {
            declare(write, &resource, blob)?;
        }
    }
    for key in &moved {
        settle_place(write, repo, key, limits)?;
    }
    touched.extend(moved);
    Ok(())
}

fn load(repo: &Repo, path: &str, change: &TreeChange, limits: &Limits) -> Result<Loaded, IndexError> {
    let Some(entry) = &change.new else { return Ok(Loaded { path: path.to_owned(), entry: None }) };
    let parsed = if entry.mode.is_file() {
        match repo.blob(entry.id, limits.file_bytes) {
            Ok(bytes) => manifest::parse(path, &bytes, limits),
            Err(GitError::TooLarge { size, limit }) => manifest::refuse_large(path, size, limit),
            Err(error) => return Err(error.into()),
        }
    } else {
        manifest::refuse_entry(path, entry.mode.with_article())
    };
    Ok(Loaded { path: path.to_owned(), entry: Some((entry.id, parsed)) })
}

/// Writes down what a file holds now, and collects the keys that it held or holds.
fn note_file(
    write: &WriteTransaction,
    file: Loaded,
    advance: &mut Advance,
    moved: &mut BTreeSet<ResourceKey>,
    fresh: &mut Vec<(Resource, ObjectId)>,
) -> Result<(), IndexError> {
    let mut files = write.open_table(FILES)?;
    let mut places = write.open_multimap_table(PLACES)?;
    let mut bad = write.open_table(BAD)?;
    let path = file.path.as_str();
    let old = files.remove(path)?.and_then(|old| decode::<FileEntry>(old.value()).ok());
    for key in old.into_iter().flat_map(|old| old.keys) {
        places.remove(key.to_string().as_str(), path)?;
        moved.insert(key);
    }
    bad.remove(path)?;
    let Some((blob, parsed)) = file.entry else { return Ok(()) };
    if !parsed.diagnostics.is_empty() {
        bad.insert(path, encode(&blob)?.as_slice())?;
    }
    let keys: Vec<ResourceKey> = parsed.resources.iter().map(Resource::key).collect();
    for key in &keys {
        places.insert(key.to_string().as_str(), path)?;
    }
    let broken = parsed.diagnostics.iter().filter(|found| found.severity == Severity::Error);
    moved.extend(broken.filter_map(|found| found.resource.clone()));
    moved.extend(keys.iter().cloned());
    if !keys.is_empty() || !parsed.diagnostics.is_empty() {
        files.insert(path, encode(&FileEntry { blob, keys })?.as_slice())?;
    }
    advance.diagnostics.extend(parsed.diagnostics);
    fresh.extend(parsed.resources.into_iter().map(|resource| (resource, blob)));
    Ok(())
}

/// Puts a declaration into force, unless another file's is in force already and still stands.
fn declare(write: &WriteTransaction, resource: &Resource, blob: ObjectId) -> Result<(), IndexError> {
    let key = resource.key().to_string();
    let mut table = write.open_table(DECLARED)?;
    let old: Option<Declared> = table.get(key.as_str())?.and_then(|old| decode(old.value()).ok());
    if let Some(old) = &old
        && old.source.path != resource.source.path
        && has_place(write, &key, &old.source.path)?
    {
        return Ok(());
    }
    let home = &resource.metadata.namespace;
    let goal = match &resource.spec {
        Spec::Plan(spec) => spec.goal_ref.as_ref(),
        Spec::Execution(spec) => spec.goal_ref.as_ref(),
        _ => None,
    };
    let owners = resource.metadata.owner_references.iter();
    let declared = Declared {
        source: resource.source.clone(),
        blob,
        spec_digest: resource.spec_digest.clone(),
        quarantined: None,
        topics: topics_of(resource).iter().map(ToString::to_string).collect(),
        goal: goal.map(|goal| goal.key(Kind::Goal, home)),
        owners: owners.map(|owner| ResourceKey::new(owner.kind, home.clone(), owner.name.clone())).collect(),
    };
    let mut mentions = write.open_multimap_table(MENTIONS)?;
    for topic in old.iter().flat_map(|old| &old.topics) {
        mentions.remove(topic.as_str(), key.as_str())?;
    }
    for topic in &declared.topics {
        mentions.insert(topic.as_str(), key.as_str())?;
    }
    table.insert(key.as_str(), encode(&declared)?.as_slice())?;
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

/// After a change: the declaration in force of a key whose place changed, which may now be in another file,
/// quarantined, or gone.
fn settle_place(
    write: &WriteTransaction,
    repo: &Repo,
    key: &ResourceKey,
    limits: &Limits,
) -> Result<(), IndexError> {
    let text = key.to_string();
    let old: Option<Declared> = {
        let table = write.open_table(DECLARED)?;
        let found = table.get(text.as_str())?;
        found.and_then(|old| decode(old.value()).ok())
    };
    if let Some(old) = &old
        && has_place(write, &text, &old.source.path)?
    {
        return Ok(());
    }
    let elsewhere = {
        let table = write.open_multimap_table(PLACES)?;
        let mut places = redb::ReadableMultimapTable::get(&table, text.as_str())?;
        places.next().transpose()?.map(|place| place.value().to_owned())
    };
    if let Some(path) = elsewhere {
        let files = write.open_table(FILES)?;
        let entry = files.get(path.as_str())?.and_then(|entry| decode::<FileEntry>(entry.value()).ok());
        drop(files);
        let Some(entry) = entry else { return Ok(()) };
        let bytes = repo.blob(entry.blob, limits.file_bytes)?;
        let parsed = manifest::parse(&path, &bytes, limits);
        if let Some(resource) = parsed.resources.iter().find(|resource| resource.key() == *key) {
            remove_declared(write, &text, old.as_ref())?;
            declare(write, resource, entry.blob)?;
        }
        return Ok(());
    }
    let Some(mut old) = old else { return Ok(()) };
    let broken = write.open_table(BAD)?.get(old.source.path.as_str())?.is_some();
    if broken {
        // The last good version stays in force (design invariant 6).
        old.quarantined = Some(format!("the newest version in `{}` is not valid", old.source.path));
        write.open_table(DECLARED)?.insert(text.as_str(), encode(&old)?.as_slice())?;
        return Ok(());
    }
    remove_declared(write, &text, Some(&old))
}

fn remove_declared(write: &WriteTransaction, key: &str, old: Option<&Declared>) -> Result<(), IndexError> {
    let mut mentions = write.open_multimap_table(MENTIONS)?;
    for topic in old.iter().flat_map(|old| &old.topics) {
        mentions.remove(topic.as_str(), key)?;
    }
    write.open_table(DECLARED)?.remove(key)?;
    if let Some(goal) = old.and_then(|old| old.goal.as_ref()) {
        write.open_table(WORK)?.insert(goal.to_string().as_str(), [].as_slice())?;
    }
    Ok(())
}

/// After reading everything: whatever is not recorded as it is declared, and whatever may still move by itself.
fn add_unsettled(write: &WriteTransaction) -> Result<(), IndexError> {
    let declared = write.open_table(DECLARED)?;
    let recorded = write.open_table(RECORDED)?;
    let mut work = write.open_table(WORK)?;
    for entry in declared.iter()? {
        let (key, value) = entry?;
        let old: Option<Recorded> = recorded.get(key.value())?.and_then(|old| decode(old.value()).ok());
        let declared: Declared = decode(value.value())?;
        let same = old.is_some_and(|old| {
            old.terminal && old.spec_digest.as_deref() == Some(declared.spec_digest.as_str())
        });
        if !same || declared.quarantined.is_some() {
            work.insert(key.value(), [].as_slice())?;
        }
    }
    for entry in recorded.iter()? {
        let (key, value) = entry?;
        let old: Recorded = decode(value.value())?;
        if !old.terminal || declared.get(key.value())?.is_none() {
            work.insert(key.value(), [].as_slice())?;
        }
    }
    Ok(())
}

/// After reading changes: what changed, and what depends on it.
fn add_touched(write: &WriteTransaction, touched: &BTreeSet<ResourceKey>) -> Result<(), IndexError> {
    let mentions = write.open_multimap_table(MENTIONS)?;
    let awaits = write.open_multimap_table(super::tables::AWAITS)?;
    let declared = write.open_table(DECLARED)?;
    let mut work = write.open_table(WORK)?;
    for key in touched {
        work.insert(key.to_string().as_str(), [].as_slice())?;
        let entry: Option<Declared> =
            declared.get(key.to_string().as_str())?.and_then(|entry| decode(entry.value()).ok());
        let mut topics = vec![Topic::Resource(key.clone()).to_string()];
        if key.kind == Kind::Binding {
            topics.push(Topic::Bindings(key.namespace.clone()).to_string());
        }
        if let Some(entry) = entry {
            topics.extend(dependents(key, &entry));
            if let Some(goal) = &entry.goal {
                work.insert(goal.to_string().as_str(), [].as_slice())?;
            }
        }
        for topic in topics {
            for ways in [&mentions, &awaits] {
                for found in redb::ReadableMultimapTable::get(ways, topic.as_str())? {
                    work.insert(found?.value(), [].as_slice())?;
                }
            }
        }
    }
    Ok(())
}

/// The topics of those that depend on a declaration without naming it: goals that select a plan, and the goal that a
/// plan or execution serves.
fn dependents(key: &ResourceKey, entry: &Declared) -> Vec<String> {
    let mut topics = Vec::new();
    if key.kind == Kind::Plan {
        let prefix = format!("{}/plans?", key.namespace);
        let labels = entry.topics.iter().filter_map(|topic| topic.strip_prefix(prefix.as_str()));
        topics.extend(
            labels
                .map(|label| Topic::GoalSelector(key.namespace.clone(), Some(label.to_owned())).to_string()),
        );
        topics.push(Topic::GoalSelector(key.namespace.clone(), None).to_string());
    }
    topics
}
