//! Applying changes of the status branch.

use std::collections::{BTreeMap, BTreeSet};

use redb::{ReadableTable as _, WriteTransaction};

use super::dependents::ChangedResources;
use super::record_counts::RecordCounts;
use super::{Advance, IndexTarget, in_parallel};
use crate::git::{EntryMode, ObjectId, Repo, TreeChange, TreeEntry};
use crate::index::IndexError;
use crate::index::lookup::{Declaration, RecordSummary};
use crate::index::tables::{BROKEN, DERIVED, DERIVED_MENTIONS, RECORDED, decode, encode};
use crate::model::{GoalPhase, Kind, ResourceKey, ResourceStatus, StatusMetadata, StatusRecord};
use crate::record::{RecordError, StatusPath, StatusTree, WrittenRecords};

/// Reads the changed records of a status tree.
pub(super) fn apply_records(
    write: &WriteTransaction,
    repo: &Repo,
    target: IndexTarget<'_>,
    changes: &[TreeChange],
    advance: &mut Advance,
    changed: &mut ChangedResources,
) -> Result<(), IndexError> {
    let IndexTarget { status, written, .. } = target;
    let changes = changed_records(write, repo, status, changes)?;
    let mut table = write.open_table(RECORDED)?;
    let mut broken = write.open_table(BROKEN)?;
    let mut counts = RecordCounts::open(write)?;
    // A fetch from a partial clone's remote leaves the records out, as it does any file.
    let files =
        changes.iter().filter_map(|change| change.entry.as_ref()).filter(|entry| entry.mode.is_file());
    repo.fetch_promised(files.map(|entry| entry.id))?;
    let (known, unknown) = known_records(repo, status, written, &changes)?;
    advance.read += unknown.len();
    let mut store = |(key, path, found): RecordTreeChange| {
        let text = key.to_string();
        let old: Option<RecordSummary> = table.get(text.as_str())?.and_then(|old| decode(old.value()).ok());
        if matches!(found, FoundRecord::Broken) {
            tracing::warn!(
                resource = text,
                path,
                "a record on the status branch cannot be read; the last good one counts"
            );
            broken.insert(text.as_str(), [].as_slice())?;
        } else {
            broken.remove(text.as_str())?;
        }
        let found = found.record();
        let sound = found.is_some();
        match found {
            Some((recorded, declared)) => {
                counts.replace(key.kind, &text, old.as_ref(), Some(&recorded))?;
                table.insert(text.as_str(), encode(&recorded)?.as_slice())?;
                declare_derived(write, &key, declared.as_ref())?;
            }
            // The split of a directory removes the old path and adds a new one, in any order: the record that was stored
            // under the new path stays.
            None if old.as_ref().is_none_or(|old| old.path == path) => {
                counts.replace(key.kind, &text, old.as_ref(), None)?;
                table.remove(text.as_str())?;
                declare_derived(write, &key, None)?;
            }
            None => {}
        }
        changed.note_record(key, sound);
        advance.records += 1;
        Ok(())
    };
    known.into_iter().try_for_each(&mut store)?;
    in_parallel(repo, &unknown, |repo, change| read_record(repo, status, change), store)?;
    counts.close()
}

/// Stores what a record of a derived Execution declares. In tables of their own: whether a file declares the same key is
/// found out separately, and the result must not depend on which was read first (Invariant 17).
fn declare_derived(
    write: &WriteTransaction,
    key: &ResourceKey,
    declared: Option<&Declaration>,
) -> Result<(), IndexError> {
    // Most records are none, and opening two tables for each would cost a first pass over many.
    if key.kind != Kind::Execution {
        return Ok(());
    }
    let text = key.to_string();
    let mut table = write.open_table(DERIVED)?;
    let old: Option<Declaration> = table.remove(text.as_str())?.and_then(|old| decode(old.value()).ok());
    if old.is_none() && declared.is_none() {
        return Ok(());
    }
    let mut mentions = write.open_multimap_table(DERIVED_MENTIONS)?;
    for topic in old.iter().flat_map(|old| &old.topics) {
        mentions.remove(topic.as_str(), text.as_str())?;
    }
    if let Some(declared) = declared {
        for topic in &declared.topics {
            mentions.insert(topic.as_str(), text.as_str())?;
        }
        table.insert(text.as_str(), encode(declared)?.as_slice())?;
    }
    Ok(())
}

type RecordTreeChange = (ResourceKey, String, FoundRecord);

/// The content at the path of a record.
enum FoundRecord {
    /// The record, and what it declares where it is that of a derived Execution.
    Record(Box<(RecordSummary, Option<Declaration>)>),
    /// Not that record: somebody edited it by hand. The last good version counts, and will be written again.
    Broken,
    /// Nothing.
    Nothing,
}

impl FoundRecord {
    fn record(self) -> Option<(RecordSummary, Option<Declaration>)> {
        match self {
            Self::Record(record) => Some(*record),
            Self::Broken | Self::Nothing => None,
        }
    }
}

/// The change of one record.
struct RecordChange {
    key: ResourceKey,
    path: String,
    /// What is there now.
    entry: Option<TreeEntry>,
    parts: PartsChange,
}

/// What changed among the nodes of a record in parts.
#[derive(Clone)]
enum PartsChange {
    /// These files, of a record that was sound. What did not change needs no second look.
    Files(Vec<ObjectId>),
    /// More than the content of files, or it is not known what there was.
    Anything,
}

/// The records among the changes, each with what changed among its nodes.
fn changed_records(
    write: &WriteTransaction,
    repo: &Repo,
    status: &StatusTree,
    changes: &[TreeChange],
) -> Result<Vec<RecordChange>, IndexError> {
    let recorded = write.open_table(RECORDED)?;
    let broken = write.open_table(BROKEN)?;
    let mut records = Vec::new();
    let mut parts: BTreeMap<ResourceKey, PartsChange> = BTreeMap::new();
    for change in changes {
        // What does not belong to the layout is skipped without a word: people may keep notes on the branch.
        match (StatusPath::parse(&change.path), std::str::from_utf8(&change.path)) {
            (Some(StatusPath::Record(key)), Ok(path)) => {
                let gone = status.tree.filter(|_| change.new.is_none());
                // A comparison names files: a directory in its place is a file less, and what is in that.
                let instead = gone.map(|tree| repo.entry(tree, path)).transpose()?.flatten();
                records.push((key, path.to_owned(), change.new.clone().or(instead)));
            }
            (Some(StatusPath::Part(key, node)), _) => {
                let part = parts.entry(key).or_insert_with(|| PartsChange::Files(Vec::new()));
                match (part, node, &change.old, &change.new) {
                    (PartsChange::Files(files), Some(_), Some(_), Some(new)) if new.mode.is_file() => {
                        files.push(new.id);
                    }
                    // Whether there is one file for each node can only be said of all of them.
                    (part, ..) => *part = PartsChange::Anything,
                }
            }
            _ => {}
        }
    }
    // Parts that changed without their record are not what it names any more, so that it has to be looked at as well.
    let known: BTreeSet<ResourceKey> = records.iter().map(|(key, ..)| key.clone()).collect();
    for key in parts.keys().filter(|key| !known.contains(key)) {
        match status.locate(repo, key) {
            Ok(Some((path, id))) => {
                let file = TreeEntry { name: Vec::new(), id, mode: EntryMode::Blob };
                records.push((key.clone(), path, Some(file)));
            }
            Ok(None) => {}
            // A directory stands there, or a link: a broken record, and not one that is not there.
            Err(RecordError::Unreadable { path, .. }) => {
                let entry = status.tree.map(|tree| repo.entry(tree, &path)).transpose()?.flatten();
                records.push((key.clone(), path, entry));
            }
            Err(error) => return Err(error.into()),
        }
    }
    let mut all = Vec::with_capacity(records.len());
    for (key, path, entry) in records {
        let text = key.to_string();
        let sound = recorded.get(text.as_str())?.is_some() && broken.get(text.as_str())?.is_none();
        let unchanged = PartsChange::Files(Vec::new());
        // Not taken out: a record that moves to a split directory is there twice.
        let parts = if sound { parts.get(&key).cloned().unwrap_or(unchanged) } else { PartsChange::Anything };
        all.push(RecordChange { key, path, entry, parts });
    }
    Ok(all)
}

/// The records that the caller wrote, and the other changes.
fn known_records<'c>(
    repo: &Repo,
    status: &StatusTree,
    written: &WrittenRecords,
    changes: &'c [RecordChange],
) -> Result<(Vec<RecordTreeChange>, Vec<&'c RecordChange>), IndexError> {
    let mut known = Vec::new();
    let mut unknown = Vec::new();
    for change in changes {
        let RecordChange { key, path, entry, .. } = change;
        // Somebody may have made a link of the file, which is a broken record whatever it says.
        let file = entry.as_ref().filter(|entry| entry.mode.is_file());
        let found = match (file, status.tree) {
            (Some(file), Some(root)) => {
                written.find(repo, root, key, (path, file.id))?.map(|it| (it, file.id))
            }
            _ => None,
        };
        match found {
            Some((record, file)) => known.push((key.clone(), path.clone(), summary(path, file, record))),
            None => unknown.push(change),
        }
    }
    Ok((known, unknown))
}

fn read_record(
    repo: &Repo,
    status: &StatusTree,
    change: &RecordChange,
) -> Result<RecordTreeChange, IndexError> {
    let RecordChange { key, path, entry, parts } = change;
    let key = key.clone();
    let path = path.clone();
    let (Some(entry), Some(root)) = (entry, status.tree) else {
        return Ok((key, path, FoundRecord::Nothing));
    };
    let changed = match parts {
        PartsChange::Files(files) => Some(files.as_slice()),
        PartsChange::Anything => None,
    };
    // One record alone is broken by this (Invariant 6); an error of Git still ends the pass.
    let Some(parsed) = StatusTree::read_if_sound(repo, root, &key, (&path, entry), changed)? else {
        return Ok((key, path, FoundRecord::Broken));
    };
    let found = summary(&path, entry.id, &parsed);
    Ok((key, path, found))
}

/// What the index keeps of a record, which is in this file.
fn summary(path: &str, file: ObjectId, parsed: &StatusRecord) -> FoundRecord {
    let annotations = &parsed.metadata.annotations;
    let recorded = RecordSummary {
        path: path.to_owned(),
        blob: file,
        uid: parsed.metadata.uid.clone(),
        generation: parsed.metadata.generation,
        spec_digest: parsed.metadata.spec_digest().map(ToOwned::to_owned),
        phase: parsed.status.phase(),
        terminal: is_over(&parsed.status),
        source: annotations.get(StatusMetadata::SOURCE).cloned(),
        ended: parsed
            .execution()
            .and_then(|status| status.completion_time)
            .map(jiff::Timestamp::as_millisecond),
    };
    let declared = Declaration::of_record(parsed, file);
    FoundRecord::Record(Box::new((recorded, declared)))
}

/// Whether nothing happens to the resource unless something changes.
fn is_over(status: &ResourceStatus) -> bool {
    match status {
        // A goal that failed by its deadline may still be reached by a later Execution, so it is planned again.
        ResourceStatus::Goal(status) => matches!(status.phase, GoalPhase::Succeeded),
        // An ended Execution that still has a lease was left by a runner that died before it released it.
        ResourceStatus::Execution(status) => status.phase.is_terminal() && status.extensions.lease.is_none(),
        // It waits for a time.
        ResourceStatus::Schedule(_) => false,
        _ => true,
    }
}
