//! Applying changes of the status branch.

use std::collections::BTreeSet;

use redb::{ReadableTable as _, WriteTransaction};

use super::record_counts::RecordCounts;
use super::{CHUNK, in_parallel};
use crate::git::{Repo, TreeChange};
use crate::index::IndexError;
use crate::index::lookup::RecordSummary;
use crate::index::tables::{BROKEN, RECORDED, decode, encode};
use crate::model::{GoalPhase, ResourceKey, ResourceStatus, StatusMetadata};
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
                Some(recorded) => {
                    counts.replace(key.kind, &text, old.as_ref(), Some(&recorded))?;
                    table.insert(text.as_str(), encode(&recorded)?.as_slice())?;
                }
                // The split of a directory removes the old path and adds a new one, in any order: the record that was stored
                // under the new path stays.
                None if old.as_ref().is_none_or(|old| old.path == path) => {
                    counts.replace(key.kind, &text, old.as_ref(), None)?;
                    table.remove(text.as_str())?;
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

type RecordTreeChange = (ResourceKey, String, RecordFile);

/// The content at the path of a record.
enum RecordFile {
    /// The record.
    Record(Box<RecordSummary>),
    /// Not that record: somebody edited it by hand. The last good version counts, and will be written again.
    Broken,
    /// Nothing.
    Nothing,
}

impl RecordFile {
    fn record(self) -> Option<RecordSummary> {
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
    Ok(Some((key, path.to_owned(), RecordFile::Record(Box::new(recorded)))))
}

/// Whether nothing happens to the resource unless something changes.
fn is_over(status: &ResourceStatus) -> bool {
    match status {
        // A goal that failed by its deadline may still be reached by a later Execution, so it is planned again.
        ResourceStatus::Goal(status) => matches!(status.phase, GoalPhase::Succeeded),
        // An ended Execution that still has a lease was left by a runner that died before it released it.
        ResourceStatus::Execution(status) => status.phase.is_terminal() && status.extensions.lease.is_none(),
        _ => true,
    }
}
