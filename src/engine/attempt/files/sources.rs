//! Finding what an attempt left: on this machine, in the folder that runners share, in a bucket, or in Git. What is found counts only
//! with the checksum that the record names.

use std::cell::{Cell, OnceCell};
use std::collections::BTreeSet;
use std::fs::DirBuilder;
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use tracing::debug;

use super::{beneath, bucket};
use crate::config::ArtifactStore;
use crate::git::{GitError, ObjectId, Remote, Repo};
use crate::model::{Artifact, Digest, ExecutionStatus, Kind, Name, ResourceKey};
use crate::provider::{ObjectStore, ObjectStoreError, OpenBucket};
use crate::record::artifacts_ref;

/// Why a stored file could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoredFileError {
    /// Git, or this machine.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The object store.
    #[error(transparent)]
    Store(#[from] ObjectStoreError),
}

/// The places where the files of an Execution may be.
pub(crate) struct ArtifactSources<'s> {
    folders: Vec<PathBuf>,
    bucket: Option<&'s ObjectStore>,
    /// Opened when it is first needed: most files are on this machine or in Git.
    open: OnceCell<OpenBucket<'s>>,
    /// That of the Execution itself, and of the one whose work it took over.
    references: Vec<String>,
    repo: &'s Repo,
    remote: Option<&'s Remote>,
    /// Whether there is still somebody who waits for a file.
    goes_on: &'s dyn Fn() -> bool,
    /// Whether the references were fetched: once is enough, as nothing of an attempt is stored after its end.
    is_fetched: Cell<bool>,
}

/// The references under which files of an Execution may be kept.
pub(crate) fn references(key: &ResourceKey, status: &ExecutionStatus) -> Vec<String> {
    let mut references = vec![artifacts_ref(key)];
    let from = status.extensions.reuse.as_ref().and_then(|reuse| Name::new(&reuse.from).ok());
    // What was taken over may not be under the own reference yet.
    references.extend(
        from.map(|name| artifacts_ref(&ResourceKey::new(Kind::Execution, key.namespace.clone(), name))),
    );
    references
}

impl<'s> ArtifactSources<'s> {
    /// The places, `runs` being the folder of this machine. What takes long ends as soon as `goes_on` says no.
    pub(crate) fn new(
        runs: &Path,
        (store, bucket): (&ArtifactStore, Option<&'s ObjectStore>),
        references: Vec<String>,
        (repo, remote): (&'s Repo, Option<&'s Remote>),
        goes_on: &'s dyn Fn() -> bool,
    ) -> Self {
        let mut folders = vec![runs.to_owned()];
        if let ArtifactStore::Directory(shared) = store {
            folders.push(shared.clone());
        }
        let open = OnceCell::new();
        Self { folders, bucket, open, references, repo, remote, goes_on, is_fetched: Cell::new(false) }
    }

    /// Copies an artifact to `into`, whole or not at all. Whether it is to be had.
    ///
    /// # Errors
    /// When it cannot be read or written, or the remote cannot be reached.
    pub(crate) fn copy(&self, artifact: &Artifact, into: &Path) -> Result<bool, StoredFileError> {
        let (Some(path), Some(checksum)) = (&artifact.path, &artifact.checksum) else { return Ok(false) };
        let written = |source: io::Error| GitError::Io { doing: "write", path: into.to_owned(), source };
        let folder = into.parent().unwrap_or(into);
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(written)?;
        for root in &self.folders {
            let read = |source: io::Error| GitError::Io { doing: "read", path: root.join(path), source };
            let Some(mut file) = beneath::open(root, path).map_err(read)? else { continue };
            let mut whole = tempfile::NamedTempFile::new_in(folder).map_err(written)?;
            let found = beneath::copy(&mut file, &mut whole, self.goes_on).map_err(written)?;
            // Not what is somewhere else, either: the folder may be on a disk behind a network, and the file large.
            let Some(found) = found else { return Err(ObjectStoreError::Stopped.into()) };
            if found == *checksum {
                whole.persist(into).map_err(|error| written(error.error))?;
                return Ok(true);
            }
            debug!(path, folder = %root.display(), "an artifact is not what the record says; looking elsewhere");
        }
        if let Some(open) = self.bucket()? {
            let mut whole = tempfile::NamedTempFile::new_in(folder).map_err(written)?;
            // One byte more shows that it is not what was stored, whoever wrote it.
            let limit = artifact.size.unwrap_or_default().saturating_add(1);
            match bucket::fetch(open, path, limit, &mut whole)? {
                Some(found) if found == *checksum => {
                    whole.persist(into).map_err(|error| written(error.error))?;
                    return Ok(true);
                }
                Some(_) => debug!(path, "an artifact in the bucket is not what the record says"),
                None => {}
            }
        }
        // The record says how large it is, and the checksum whether that is true.
        let Some(bytes) = self.in_git(path, artifact.size.unwrap_or_default())? else { return Ok(false) };
        if Digest::of_bytes(&bytes) != *checksum {
            debug!(path, "an artifact in Git is not what the record says");
            return Ok(false);
        }
        let mut whole = tempfile::NamedTempFile::new_in(folder).map_err(written)?;
        whole.write_all(&bytes).map_err(written)?;
        whole.persist(into).map_err(|error| written(error.error))?;
        Ok(true)
    }

    /// A log, as far as it is stored.
    ///
    /// # Errors
    /// When it cannot be read, or the remote cannot be reached.
    pub(crate) fn log(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>, StoredFileError> {
        for root in &self.folders {
            let read = |source: io::Error| GitError::Io { doing: "read", path: root.join(path), source };
            if let Some(mut file) = beneath::open(root, path).map_err(read)? {
                let mut bytes = Vec::new();
                beneath::copy(&mut file, &mut bytes, &|| true).map_err(read)?;
                return Ok(Some(bytes));
            }
        }
        if let Some(open) = self.bucket()? {
            let mut bytes = Vec::new();
            if bucket::fetch(open, path, limit, &mut bytes)?.is_some() {
                return Ok(Some(bytes));
            }
        }
        Ok(self.in_git(path, limit)?)
    }

    fn bucket(&self) -> Result<Option<&OpenBucket<'s>>, ObjectStoreError> {
        let Some(store) = self.bucket else { return Ok(None) };
        if self.open.get().is_none() {
            // Nobody else has set it: this is one thread's.
            let _ = self.open.set(store.open(self.goes_on)?);
        }
        Ok(self.open.get())
    }

    /// The attempts of a node whose files are kept somewhere, as their names: `<lease token>.<n>`. In every place: the
    /// configuration may have named another one when they were stored.
    ///
    /// # Errors
    /// When the remote or the bucket cannot be reached.
    pub(crate) fn attempts(&self, folder: &str) -> Result<BTreeSet<String>, StoredFileError> {
        let mut attempts = BTreeSet::new();
        // From a record that anybody may have written: `..` would list the folders of others (Invariant 8).
        if !beneath::is_plain(folder) {
            return Ok(attempts);
        }
        for root in &self.folders {
            // One that is not there, or cannot be read, has none; the others may.
            let entries = std::fs::read_dir(root.join(folder)).into_iter().flatten().flatten();
            attempts.extend(entries.filter_map(|entry| entry.file_name().into_string().ok()));
        }
        if let Some(open) = self.bucket()? {
            let below = format!("{folder}/");
            let found = open.list(&below)?;
            let names = found.iter().filter_map(|name| name.strip_prefix(&below)?.split('/').next());
            attempts.extend(names.map(str::to_owned));
        }
        let found = self.look(|tree| {
            let Some(entry) = self.repo.entry(tree, folder)? else { return Ok(None) };
            let entries = self.repo.entries(entry.id)?;
            let names = entries.into_iter().filter_map(|entry| String::from_utf8(entry.name).ok());
            Ok(Some(names.collect::<Vec<_>>()))
        });
        attempts.extend(found?.unwrap_or_default());
        debug!(folder, attempts = attempts.len(), "looked for attempts that left something");
        Ok(attempts)
    }

    fn in_git(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>, GitError> {
        if !beneath::is_plain(path) {
            return Ok(None);
        }
        self.look(|tree| match self.repo.file(tree, path) {
            Ok(Some(blob)) => match self.repo.blob(blob, limit) {
                Ok(bytes) => Ok(Some(bytes)),
                Err(GitError::TooLarge { .. }) => Ok(None),
                Err(error) => Err(error),
            },
            // Anybody who can push may have put a link there: it is not followed, and leads to nothing (Invariant 8).
            Ok(None) | Err(GitError::RefusedEntry { .. }) => Ok(None),
            Err(error) => Err(error),
        })
    }

    /// Looks for something in the trees of the references, as they are known here and then as they are on the remote.
    fn look<T>(&self, find: impl Fn(ObjectId) -> Result<Option<T>, GitError>) -> Result<Option<T>, GitError> {
        loop {
            for reference in &self.references {
                let local = self.remote.map(|remote| remote.local_name(reference)).transpose()?;
                let Some(tip) = self.repo.read_ref(local.as_deref().unwrap_or(reference))? else { continue };
                if let Some(found) = find(self.repo.commit(tip)?.tree)? {
                    return Ok(Some(found));
                }
            }
            let Some(remote) = self.remote.filter(|_| !self.is_fetched.replace(true)) else {
                return Ok(None);
            };
            let references: Vec<&str> = self.references.iter().map(String::as_str).collect();
            remote.fetch(self.repo, &references)?;
        }
    }
}
