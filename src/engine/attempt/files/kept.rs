//! Keeping what one attempt left, and bringing it what the attempts before it left.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing::{debug, info};

use super::beneath;
use super::bucket::Uploads;
use super::sources::StoredFileError;
use super::terms::FileTerms;
use super::upstream::UpstreamFiles;
use crate::config::ArtifactStore;
use crate::engine::attempt::collect::fault_of;
use crate::engine::attempt::workspace::Workspaces;
use crate::git::{GitError, ObjectId, Repo};
use crate::model::{Artifact, ExecutionStatus, LeftOutFile, ResourceKey, StoredFiles};
use crate::provider::{AttemptFiles, BringError, LeftFiles, ObjectStoreError, WorkspaceFault};
use crate::run::{CompiledPlan, RunnerFault};

/// Why a file is left out that holds a secret.
const SECRET: &str = "it holds a secret";

/// Why a file is left out that is not what the attempt left.
const CHANGED: &str = "it was changed after the end of the attempt";

/// The files of one attempt, and of those before it.
pub(crate) struct KeptFiles {
    workspaces: Arc<Workspaces>,
    terms: Arc<FileTerms>,
    runs: PathBuf,
    key: ResourceKey,
    uid: String,
    /// The folder of the attempt below that of all runs.
    path: String,
    /// How many bytes of the Execution are stored, as far as its record says.
    recorded: u64,
    upstream: UpstreamFiles,
}

impl KeptFiles {
    /// Those of an attempt at a node; `run_dir` is its own folder, below `runs`.
    pub(crate) fn new(
        (workspaces, terms): (&Arc<Workspaces>, &Arc<FileTerms>),
        (runs, run_dir): (&Path, &Path),
        (compiled, ix): (&CompiledPlan, usize),
        (uid, status): (&str, &ExecutionStatus),
    ) -> Self {
        let path = run_dir.strip_prefix(runs).unwrap_or(run_dir);
        Self {
            workspaces: Arc::clone(workspaces),
            terms: Arc::clone(terms),
            runs: runs.to_owned(),
            key: compiled.key.clone(),
            uid: uid.to_owned(),
            path: path.to_string_lossy().into_owned(),
            recorded: status.extensions.stored_bytes,
            upstream: UpstreamFiles::of(compiled, status, uid, ix),
        }
    }

    /// Copies everything into the bucket that the configuration names. Like a folder, it has no limits.
    fn keep_in_bucket(&self, left: &LeftFiles<'_>, kept: &mut StoredFiles) {
        let Some(store) = &self.terms.bucket else { return };
        let uploads = match Uploads::open(store, (&self.runs, &self.path), left.goes_on) {
            Ok(uploads) => uploads,
            Err(why) => {
                let names = left.artifacts.iter().map(|artifact| artifact.name.clone());
                return kept.left_out.extend(names.map(|name| LeftOutFile { name, why: why.clone() }));
            }
        };
        keep_each(left, kept, |path, write| uploads.send(path, write));
    }

    fn reserve(&self, bytes: u64) -> Result<(), String> {
        self.terms.reserve((&self.key, &self.uid), self.recorded, bytes)
    }

    /// Stores everything that fits into Git: as objects, which the reference names with the record of the attempt. To its end,
    /// also when the runner is asked to stop: the attempt has ended, and this is small.
    fn keep_in_git(&self, left: &LeftFiles<'_>, kept: &mut StoredFiles) {
        let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        let limit = self.terms.limits.file_bytes;
        let sizes = left.artifacts.iter().filter_map(|artifact| artifact.size.filter(|size| *size <= limit));
        let log = left.log.map_or(0, |log| log.size.min(limit));
        self.terms.count_total(sizes.fold(log, u64::saturating_add), &self.workspaces);
        // The log first: after a failure it is what explains it.
        if is_longer_than_recorded(left) {
            match self.end_of_log(left) {
                Ok((log, why)) => {
                    files.insert("log".to_owned(), log);
                    kept.left_out.extend(why.map(|why| LeftOutFile { name: "log".to_owned(), why }));
                }
                Err(why) => kept.left_out.push(LeftOutFile { name: "log".to_owned(), why }),
            }
        }
        for artifact in left.artifacts {
            let path = format!("artifacts/{}", artifact.name);
            let mut content = Vec::new();
            // By the recorded size, before anything is read.
            let fits = match artifact.size {
                Some(size) if size <= limit => self.reserve(size),
                _ => Err(format!("it has more than {limit} bytes")),
            };
            match fits.and_then(|()| copy_checked(left, artifact, &path, &mut content, &|| true)) {
                Ok(()) => drop(files.insert(path, content)),
                Err(why) => kept.left_out.push(LeftOutFile { name: artifact.name.clone(), why }),
            }
        }
        let written = self.workspaces.with_repo(|repo| write_tree(repo, &files, kept));
        if let Err(error) = written {
            info!(path = kept.path, %error, "artifacts cannot be written to Git");
            kept.tree = None;
            kept.bytes = 0;
            let why = format!("it cannot be written to the repository: {error}");
            let names = files.keys().map(|path| path.strip_prefix("artifacts/").unwrap_or(path));
            kept.left_out.extend(names.map(|name| LeftOutFile { name: name.to_owned(), why: why.clone() }));
        }
    }

    /// The end of the log that fits, and what is missing of it.
    fn end_of_log(&self, left: &LeftFiles<'_>) -> Result<(Vec<u8>, Option<String>), String> {
        let text = |error: io::Error| error.to_string();
        let mut file = opened(left, "log")?;
        let limit = self.terms.limits.file_bytes;
        let size = file.metadata().map_err(text)?.len();
        // No more of it is read: a whole log may be larger than a runner has memory for.
        let cut = size.saturating_sub(limit);
        file.seek(SeekFrom::Start(cut)).map_err(text)?;
        let mut log = Vec::new();
        file.take(limit).read_to_end(&mut log).map_err(text)?;
        // It was redacted when it was written; what is found all the same stays here.
        if (left.is_secret)(&log) {
            return Err(SECRET.to_owned());
        }
        let mut why = None;
        if cut > 0 {
            // From the beginning of a line, as people read it.
            let line = log.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            log.drain(..line);
            why = Some(format!("only its last {} bytes are kept", log.len()));
        }
        self.reserve(log.len() as u64)?;
        Ok((log, why))
    }

    /// Copies everything into the folder that runners share. It has no limits: it is no repository that everybody clones.
    fn keep_in_folder(&self, shared: &Path, left: &LeftFiles<'_>, kept: &mut StoredFiles) {
        let folder = shared.join(&self.path);
        keep_each(left, kept, |path, write| into_folder(&folder, path, write));
    }
}

impl AttemptFiles for KeptFiles {
    fn keep(&self, left: &LeftFiles<'_>) -> Option<Arc<StoredFiles>> {
        if left.artifacts.is_empty() && !is_longer_than_recorded(left) {
            return None;
        }
        let mut kept = StoredFiles { path: self.path.clone(), ..StoredFiles::default() };
        match &self.terms.store {
            ArtifactStore::None => return None,
            ArtifactStore::Git => self.keep_in_git(left, &mut kept),
            ArtifactStore::Directory(shared) => self.keep_in_folder(shared, left, &mut kept),
            ArtifactStore::Bucket { .. } => self.keep_in_bucket(left, &mut kept),
        }
        debug!(
            path = kept.path,
            bytes = kept.bytes,
            left_out = kept.left_out.len(),
            "files of the attempt kept"
        );
        Some(Arc::new(kept))
    }

    fn has_upstream(&self) -> bool {
        self.upstream.is_any()
    }

    fn bring(&self, folder: &Path, needs: &[String], goes_on: &dyn Fn() -> bool) -> Result<(), BringError> {
        let missing = self.upstream.unmet(needs).map_or_else(
            || {
                self.workspaces.with_repo(|repo| {
                    let place = (repo, self.workspaces.remote());
                    self.upstream.bring(folder, needs, (&self.runs, &self.terms), place, goes_on)
                })
            },
            |need| Ok(Some(format!("needs the artifact `{need}`, and no node before it left one"))),
        );
        match missing {
            Ok(None) => Ok(()),
            Ok(Some(message)) => Err(BringError::Unavailable(message)),
            Err(error) => {
                let fault = match &error {
                    StoredFileError::Git(error) => match fault_of(error) {
                        WorkspaceFault::Runner(fault) => fault,
                        WorkspaceFault::Commit | WorkspaceFault::Interrupted => RunnerFault::Commit,
                    },
                    StoredFileError::Store(ObjectStoreError::Io(_)) => RunnerFault::Machine,
                    StoredFileError::Store(
                        ObjectStoreError::Refused { .. } | ObjectStoreError::Endpoint(_),
                    ) => RunnerFault::Access,
                    // Of this node alone: others need nothing from there.
                    StoredFileError::Store(_) => RunnerFault::Commit,
                };
                Err(BringError::Runner { fault, message: error.to_string() })
            }
        }
    }
}

/// Whether there is more of the log than the record says anyway.
fn is_longer_than_recorded(left: &LeftFiles<'_>) -> bool {
    // The record has no end of its last line: without that byte, every short log would need a reference of its own.
    left.log.is_some_and(|log| log.size > log.tail.len() as u64 + 1)
}

/// Writes files as one tree. Names that Git does not take are named.
fn write_tree(
    repo: &Repo,
    files: &BTreeMap<String, Vec<u8>>,
    kept: &mut StoredFiles,
) -> Result<(), GitError> {
    let mut tree: Option<ObjectId> = None;
    let mut blobs = BTreeMap::new();
    for (path, content) in files {
        blobs.insert(path.clone(), Some(repo.write_blob(content)?));
        kept.bytes = kept.bytes.saturating_add(content.len() as u64);
    }
    match repo.edit_own_tree(None, &blobs) {
        Ok(whole) => tree = Some(whole),
        // Again one by one, to find out which name it is.
        Err(GitError::BadPath { .. }) => {
            for (path, blob) in blobs {
                match repo.edit_own_tree(tree, &BTreeMap::from([(path.clone(), blob)])) {
                    Ok(next) => tree = Some(next),
                    Err(GitError::BadPath { problem, .. }) => {
                        let name = path.strip_prefix("artifacts/").unwrap_or(&path).to_owned();
                        kept.left_out.push(LeftOutFile { name, why: format!("its name {problem}") });
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Err(error) => return Err(error),
    }
    kept.tree = tree.filter(|_| !files.is_empty()).map(|tree| tree.to_string());
    Ok(())
}

/// A file that the attempt left.
fn opened(left: &LeftFiles<'_>, path: &str) -> Result<File, String> {
    let file = beneath::open(left.run_dir, path).map_err(|error| error.to_string())?;
    file.ok_or_else(|| "it is gone".to_owned())
}

/// Copies an artifact, and makes sure that it is what is recorded and holds no secret: a process that was left may have
/// changed it since.
fn copy_checked(
    left: &LeftFiles<'_>,
    artifact: &Artifact,
    path: &str,
    into: &mut dyn Write,
    goes_on: &dyn Fn() -> bool,
) -> Result<(), String> {
    if (left.is_secret)(artifact.name.as_bytes()) {
        return Err("its name holds a secret".to_owned());
    }
    let text = |error: io::Error| error.to_string();
    let mut file = opened(left, path)?;
    // Before anything is read into memory: a process that was left may go on writing.
    if artifact.size.is_some_and(|size| file.metadata().is_ok_and(|now| now.len() != size)) {
        return Err(CHANGED.to_owned());
    }
    let mut scan = SecretScan { is_secret: left.is_secret.as_ref(), end: Vec::new(), found: false, into };
    let digest = beneath::copy(&mut file, &mut scan, goes_on).map_err(text)?;
    if scan.found {
        return Err(SECRET.to_owned());
    }
    match digest {
        None => Err("the runner was asked to stop".to_owned()),
        Some(digest) if artifact.checksum.as_ref() == Some(&digest) => Ok(()),
        Some(_) => Err(CHANGED.to_owned()),
    }
}

/// Looks for secrets in what is written.
struct SecretScan<'s> {
    is_secret: &'s dyn Fn(&[u8]) -> bool,
    /// The end of the last piece, as a secret may begin in one piece and end in the next.
    end: Vec<u8>,
    found: bool,
    into: &'s mut dyn Write,
}

/// How much of a piece is looked at again with the next one: longer than any token, and than most secrets.
const OVERLAP: usize = 16 << 10;

impl Write for SecretScan<'_> {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.end.extend_from_slice(piece);
        self.found |= (self.is_secret)(&self.end);
        let done = self.end.len().saturating_sub(OVERLAP);
        self.end.drain(..done);
        // Nothing of it goes on once something was found.
        if !self.found {
            self.into.write_all(piece)?;
        }
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.into.flush()
    }
}

/// What gives the content of a file.
type Content<'c> = dyn Fn(&mut dyn Write) -> Result<(), String> + 'c;

/// Keeps each file by itself: the artifacts, and the log where the record does not have all of it. What cannot be kept is left out,
/// with the reason.
fn keep_each(
    left: &LeftFiles<'_>,
    kept: &mut StoredFiles,
    keep: impl Fn(&str, &Content<'_>) -> Result<(), String>,
) {
    for artifact in left.artifacts {
        let path = format!("artifacts/{}", artifact.name);
        match keep(&path, &|into| copy_checked(left, artifact, &path, into, left.goes_on)) {
            Ok(()) => kept.bytes = kept.bytes.saturating_add(artifact.size.unwrap_or_default()),
            Err(why) => kept.left_out.push(LeftOutFile { name: artifact.name.clone(), why }),
        }
    }
    if is_longer_than_recorded(left) {
        let copied = keep("log", &|into| {
            let mut file = opened(left, "log")?;
            beneath::copy(&mut file, into, left.goes_on).map(drop).map_err(|error| error.to_string())
        });
        if let Err(why) = copied {
            kept.left_out.push(LeftOutFile { name: "log".to_owned(), why });
        }
    }
}

/// Writes a file of a folder, whole or not at all.
fn into_folder(folder: &Path, path: &str, write: &Content<'_>) -> Result<(), String> {
    let into = folder.join(path);
    let parent = into.parent().unwrap_or(folder);
    let failed = |error: io::Error| format!("it cannot be written to `{}`: {error}", folder.display());
    DirBuilder::new().recursive(true).mode(0o750).create(parent).map_err(failed)?;
    let mut file = tempfile::NamedTempFile::new_in(parent).map_err(failed)?;
    write(&mut file)?;
    file.persist(&into).map(drop).map_err(|error| failed(error.error))
}
