//! Applying changes of the status branch.

use std::collections::BTreeSet;

use redb::{ReadableTable as _, WriteTransaction};

use super::record_counts::RecordCounts;
use super::{CHUNK, in_parallel};
use crate::git::{Repo, TreeChange};
use crate::index::IndexError;
use crate::index::lookup::{Declaration, RecordSummary};
use crate::index::tables::{BROKEN, DERIVED, DERIVED_MENTIONS, RECORDED, decode, encode};
use crate::model::{GoalPhase, Kind, ResourceKey, ResourceStatus, StatusMetadata};
use crate::record::{StatusPath, StatusTree};

/// Reads the changed records of the status tree.
pub(super) fn apply_records(
    write: &WriteTransaction,
    repo: &Repo,
    changes: &[TreeChange],
    touched: &mut BTreeSet<ResourceKey>,
) -> Result<usize, IndexError> {
    let mut table = write.open_table(RECORDED)?;
    let mut broken = write.open_table(BROKEN)?;
    let mut counts = RecordCounts::open(write)?;
    let mut count = 0;
    // Chunks bound memory: the first pass of a new machine may read a year of records.
    for chunk in changes.chunks(CHUNK) {
        let read = in_parallel(repo, chunk, read_record)?;
        for (key, path, found) in read.into_iter().flatten() {
            let text = key.to_string();
            let old: Option<RecordSummary> =
                table.get(text.as_str())?.and_then(|old| decode(old.value()).ok());
            if matches!(found, RecordFile::Broken) {
                tracing::warn!(
                    resource = text,
                    path,
                    "a record on the status branch cannot be read; the last good one counts"
                );
                broken.insert(text.as_str(), [].as_slice())?;
            } else {
                broken.remove(text.as_str())?;
            }
            match found.record() {
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
            touched.insert(key);
            count += 1;
        }
    }
    counts.close()?;
    Ok(count)
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

type RecordTreeChange = (ResourceKey, String, RecordFile);

/// The content at the path of a record.
enum RecordFile {
    /// The record, and what it declares where it is that of a derived Execution.
    Record(Box<(RecordSummary, Option<Declaration>)>),
    /// Not that record: somebody edited it by hand. The last good version counts, and will be written again.
    Broken,
    /// Nothing.
    Nothing,
}

impl RecordFile {
    fn record(self) -> Option<(RecordSummary, Option<Declaration>)> {
        match self {
            Self::Record(record) => Some(*record),
            Self::Broken | Self::Nothing => None,
        }
    }
}

fn read_record(repo: &Repo, change: &TreeChange) -> Result<Option<RecordTreeChange>, IndexError> {
    // What does not belong to the layout is skipped without a word: people may keep notes on the branch.
    let Ok(path) = std::str::from_utf8(&change.path) else { return Ok(None) };
    let Some(StatusPath::Record(key)) = StatusPath::parse(&change.path) else { return Ok(None) };
    let Some(entry) = &change.new else { return Ok(Some((key, path.to_owned(), RecordFile::Nothing))) };
    // One record alone is broken by this (Invariant 6); an error of Git still ends the pass.
    let Some(parsed) = StatusTree::read_if_sound(repo, &key, path, entry)? else {
        return Ok(Some((key, path.to_owned(), RecordFile::Broken)));
    };
    let annotations = &parsed.metadata.annotations;
    let recorded = RecordSummary {
        path: path.to_owned(),
        blob: entry.id,
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
    let declared = Declaration::of_record(&parsed, entry.id);
    Ok(Some((key, path.to_owned(), RecordFile::Record(Box::new((recorded, declared))))))
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
