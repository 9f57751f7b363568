//! What stays of an Execution or a Schedule whose manifest is gone: a summary of its record under its uid, at
//! `<namespace>/removed/<two digits>/<uid>/`. Should the manifest come back with the same uid, this is how it stood.

use super::tree::{is_uid, read_file};
use super::{PinKind, RecordEdit, RecordError, Renderer, StatusTree, shrink};
use crate::git::{EntryMode, GitError, ObjectId, Repo};
use crate::model::{Kind, Name, ResourceKey, ResourceStatus, StatusRecord};

/// The file of the summary, beside the manifests that were pinned.
const SUMMARY: &str = "record.yaml";

/// What a resource was when its record was removed.
#[derive(Debug)]
pub struct RemovedRecord {
    /// The summary; none where somebody broke it. That the resource was there is known all the same.
    pub record: Option<StatusRecord>,
    /// What was pinned beside it, for a later `retry`.
    pub pins: Vec<(PinKind, ObjectId)>,
}

/// What to write where the record of `key` is removed. `put` is the record as this very commit would leave it.
pub(super) fn kept(
    repo: &Repo,
    base: &StatusTree,
    key: &ResourceKey,
    put: Option<&StatusRecord>,
) -> Result<Vec<(String, Option<ObjectId>)>, RecordError> {
    // The other kinds start nothing: what is declared once more may begin anew.
    if !matches!(key.kind, Kind::Execution | Kind::Schedule) {
        return Ok(Vec::new());
    }
    let found = match put {
        Some(record) => Some(record.clone()),
        // Broken by hand a moment before its manifest went: it ended as it did before that.
        None => match base.get(repo, key) {
            Err(RecordError::Unreadable { .. }) => {
                let log = base.commit.into_iter().flat_map(|tip| repo.log(tip));
                StatusTree::last_sound(repo, log.map(|commit| commit.map_err(RecordError::from)), key)?
            }
            found => found?,
        },
    };
    let Some(mut record) = found.filter(|record| is_uid(&record.metadata.uid)) else { return Ok(Vec::new()) };
    if let ResourceStatus::Execution(status) = &mut record.status {
        // A derived one does not come back by a manifest, and a Schedule that keeps three runs would leave one of these for
        // every run that it forgets.
        if status.extensions.spec.is_some() {
            return Ok(Vec::new());
        }
        **status = shrink(status);
    }
    // Whole, however many nodes it has: parts are there so that a change of one node costs little, and this never changes.
    let summary = repo.write_blob(Renderer::new().render(&record, None)?.as_bytes())?;
    let directory = directory(&key.namespace, &record.metadata.uid);
    let pinned = base.pinned(repo, key)?;
    let mut files = vec![(format!("{directory}/{SUMMARY}"), Some(summary))];
    for &pin in PinKind::ALL {
        // Also what is not pinned: it may have been, when the resource was removed once before.
        files.push((format!("{directory}/{}", pin.file_name()), pinned.of(pin)));
    }
    Ok(files)
}

/// The edits among which the record of `key` was put last.
pub(super) fn put_before<'a>(edits: &'a [RecordEdit], key: &ResourceKey) -> Option<&'a StatusRecord> {
    edits.iter().rev().find_map(|edit| match edit {
        RecordEdit::Put { record, .. } if record.key() == *key => Some(&**record),
        _ => None,
    })
}

impl StatusTree {
    /// What a resource was when its record was removed, if it ever was.
    ///
    /// # Errors
    /// When Git fails.
    pub fn removed(
        &self,
        repo: &Repo,
        key: &ResourceKey,
        uid: &str,
    ) -> Result<Option<RemovedRecord>, RecordError> {
        let Some(tree) = self.tree.filter(|_| is_uid(uid)) else { return Ok(None) };
        let directory = directory(&key.namespace, uid);
        let Some(entry) = repo.entry(tree, &directory)? else { return Ok(None) };
        let mut found = RemovedRecord { record: None, pins: Vec::new() };
        // Whatever stands there: made unreadable, it must not let the resource begin anew (Invariant 10).
        if entry.mode != EntryMode::Tree {
            return Ok(Some(found));
        }
        for file in repo.entries(entry.id)?.into_iter().filter(|file| file.mode.is_file()) {
            if file.name == SUMMARY.as_bytes() {
                let path = format!("{directory}/{SUMMARY}");
                found.record = match read_file(repo, key, &path, file.id) {
                    Ok(file) => Some(file.record).filter(|record| record.metadata.uid == uid),
                    Err(
                        error
                        @ (RecordError::Unreadable { .. } | RecordError::Git(GitError::TooLarge { .. })),
                    ) => {
                        tracing::warn!(resource = %key, path, %error, "what was kept of a removed record cannot be read");
                        None
                    }
                    Err(error) => return Err(error),
                };
            }
            let pin = PinKind::ALL.iter().find(|pin| pin.file_name().as_bytes() == file.name);
            found.pins.extend(pin.map(|pin| (*pin, file.id)));
        }
        Ok(Some(found))
    }
}

/// Split by the first digits of the uid, since a namespace may live for years and its tree is written anew with each of these.
fn directory(namespace: &Name, uid: &str) -> String {
    let digits = uid.get(..2).unwrap_or(uid);
    format!("{namespace}/removed/{digits}/{uid}")
}
