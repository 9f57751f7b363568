//! Artifacts in a bucket: sent from a copy that was checked, and fetched with the digest of what came.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::beneath;
use crate::model::Digest;
use crate::provider::{ObjectStore, ObjectStoreError, OpenBucket};

/// Files of one attempt that are sent to a bucket.
pub(super) struct Uploads<'s> {
    bucket: OpenBucket<'s>,
    folder: &'s Path,
    path: &'s str,
}

impl<'s> Uploads<'s> {
    /// To the objects below `path`, with copies in `folder` on the way.
    pub(super) fn open(
        store: &'s ObjectStore,
        (folder, path): (&'s Path, &'s str),
        goes_on: &'s dyn Fn() -> bool,
    ) -> Result<Self, String> {
        let bucket = store.open(goes_on).map_err(|error| error.to_string())?;
        Ok(Self { bucket, folder, path })
    }

    /// Sends a file that `write` gives, whole or not at all.
    pub(super) fn send(
        &self,
        name: &str,
        write: &dyn Fn(&mut dyn Write) -> Result<(), String>,
    ) -> Result<(), String> {
        let text = |error: io::Error| error.to_string();
        // A copy first: what turns out to hold a secret must not be half-way out, and a process that was left may still change
        // the file.
        let mut copy = tempfile::NamedTempFile::new_in(self.folder).map_err(text)?;
        write(&mut copy)?;
        let size = copy.as_file().metadata().map_err(text)?.len();
        let place: PathBuf = copy.path().to_owned();
        let sent = self.bucket.put(&format!("{}/{name}", self.path), size, || File::open(&place));
        sent.map_err(|error| error.to_string())
    }
}

/// Reads an object of at most `limit` bytes into a file. Its digest; nothing where there is none.
pub(super) fn fetch(
    bucket: &OpenBucket<'_>,
    path: &str,
    limit: u64,
    into: &mut dyn Write,
) -> Result<Option<Digest>, ObjectStoreError> {
    // From a record that anybody may have written: `..` would lead to the objects of others.
    if !beneath::is_plain(path) {
        return Ok(None);
    }
    let mut hasher = Sha256::new();
    let found = bucket.get(path, limit, &mut |piece| {
        hasher.update(piece);
        into.write_all(piece)
    })?;
    Ok(found.then(|| Digest::finish(hasher)))
}
