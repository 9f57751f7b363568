//! Metadata of a record: derived from Git, so that two racing reconcilers compute the same.

use jiff::Timestamp;

use crate::engine::merged::uid_of;
use crate::git::{Commit, ObjectId};
use crate::index::Declaration;
use crate::model::{ResourceKey, StatusMetadata, StatusRecord, StringMap};
use crate::record::PinKind;

/// The metadata of a resource that was declared in this way, at this desired commit; continues `old`.
pub(crate) fn observe(
    key: &ResourceKey,
    declared: &Declaration,
    desired: &Commit,
    old: Option<&StatusRecord>,
) -> StatusMetadata {
    let digest = declared.spec_digest.as_str();
    let mut metadata = old.map_or_else(|| first_seen(key, desired), |old| old.metadata.clone());
    if metadata.spec_digest() != Some(digest) {
        // One that was first seen a moment ago is at generation 1, and has no digest yet.
        if metadata.annotations.contains_key(StatusMetadata::SPEC_DIGEST) || old.is_some() {
            metadata.generation = metadata.generation.saturating_add(1);
        }
        metadata.annotations.insert(StatusMetadata::SPEC_DIGEST.to_owned(), digest.to_owned());
    }
    note_source(&mut metadata, declared);
    metadata
}

/// Writes down where the manifest stands, and whether its newest version is in force.
pub(crate) fn note_source(metadata: &mut StatusMetadata, declared: &Declaration) {
    metadata.annotations.insert(StatusMetadata::SOURCE.to_owned(), declared.source.path.clone());
    // From here on it has had a manifest, and a gate without it fails closed.
    metadata.annotations.remove(StatusMetadata::IMPLICIT);
    match &declared.quarantined {
        Some(why) => {
            metadata.annotations.insert(StatusMetadata::QUARANTINED.to_owned(), why.clone());
        }
        None => {
            metadata.annotations.remove(StatusMetadata::QUARANTINED);
        }
    }
}

/// What has to be pinned beside a record so that the last good version of a quarantined resource is not lost with the
/// index; absent when nothing changes in that.
pub(crate) fn pins_for(
    declared: &Declaration,
    old: Option<&StatusMetadata>,
) -> Option<Vec<(PinKind, ObjectId)>> {
    let was = old.is_some_and(|old| old.annotations.contains_key(StatusMetadata::QUARANTINED));
    match &declared.quarantined {
        Some(_) => Some(vec![(PinKind::Manifest, declared.blob)]),
        // An empty list takes the old version away; absent would leave it there for a fresh clone to find.
        None => was.then(Vec::new),
    }
}

/// The metadata of a resource that is first seen at this desired commit.
pub(crate) fn first_seen(key: &ResourceKey, desired: &Commit) -> StatusMetadata {
    StatusMetadata {
        name: key.name.clone(),
        namespace: key.namespace.clone(),
        uid: uid_of(key, desired.id),
        generation: 1,
        // Records keep milliseconds; a finer time would differ from itself once it is read back.
        creation_timestamp: whole_millis(desired.committer_time),
        annotations: StringMap::new(),
        owner_references: Vec::new(),
    }
}

pub(crate) fn whole_millis(at: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(at.as_millisecond()).unwrap_or(at)
}
