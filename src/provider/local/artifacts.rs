//! What an attempt left in its artifacts directory.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::fs::{Mode, OFlags};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::model::{Artifact, ArtifactType, Digest, JsonMap};
use crate::provider::process::Interrupt;
use crate::provider::{Attempt, Stop};

/// How many files are taken; an archive is the answer to more.
// Each becomes an entry of the record.
const FILES: usize = 1_000;

/// How many entries are read, folders and all.
// Folders alone would never reach the limit of files, and a tree of them could keep the runner busy for ever.
const ENTRIES: usize = 10_000;

/// Why artifacts are refused.
#[derive(Debug, thiserror::Error)]
pub(in crate::provider) enum ArtifactError {
    #[error("the artifacts cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    #[error("the artifacts directory contains more than {FILES} files; put them into an archive")]
    TooMany,
    #[error("the artifacts directory contains a file whose name is not plain text")]
    BadName,
    #[error("reading the artifacts took too long")]
    TooLong,
    #[error("reading the artifacts was stopped")]
    Stopped(Stop),
}

/// What bounds the reading of artifacts: a task may leave a sparse file of a terabyte.
pub(in crate::provider) struct ReadLimits<'a> {
    /// When to give up.
    pub(in crate::provider) until: Option<Instant>,
    /// Requests to stop.
    pub(in crate::provider) interrupt: &'a Interrupt,
}

impl ReadLimits<'_> {
    fn check(&self) -> Result<(), ArtifactError> {
        match self.interrupt.heard() {
            Some(stop) => Err(ArtifactError::Stopped(stop)),
            None if self.until.is_some_and(|until| until <= Instant::now()) => Err(ArtifactError::TooLong),
            None => Ok(()),
        }
    }
}

/// The ordinary files below `folder`, by name, with the paths that they will have in the attempt's own
/// folder below `runs`. Links and special files are left out.
pub(in crate::provider) fn collect(
    folder: &Path,
    runs: &Path,
    attempt: &Attempt,
    limits: &ReadLimits<'_>,
) -> Result<Vec<Artifact>, ArtifactError> {
    // A process may have put a link in the place of its folder; what lies behind it is none of its artifacts.
    if !folder.symlink_metadata().is_ok_and(|found| found.is_dir()) {
        return Ok(Vec::new());
    }
    let place = attempt.run_dir.strip_prefix(runs).unwrap_or(&attempt.run_dir).join("artifacts");
    let mut artifacts = Vec::new();
    for path in files(folder)? {
        let name = path.strip_prefix(folder).ok().and_then(Path::to_str).ok_or(ArtifactError::BadName)?;
        // Names are listed in records and tables, where a line break would forge a line (Invariant 8).
        if name.chars().any(char::is_control) {
            return Err(ArtifactError::BadName);
        }
        if let Some((size, checksum)) = read(&path, limits)? {
            artifacts.push(Artifact {
                name: name.to_owned(),
                kind: ArtifactType::File,
                path: Some(place.join(name).to_string_lossy().into_owned()),
                url: None,
                checksum: Some(checksum),
                size: Some(size),
                media_type: media_type(&path).map(str::to_owned),
                metadata: JsonMap::from_iter([
                    ("node".to_owned(), json!(attempt.node)),
                    ("attempt".to_owned(), json!(attempt.attempt)),
                ]),
            });
        }
    }
    Ok(artifacts)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, ArtifactError> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    let mut seen = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            // This follows no link: one to a file of the runner would be read and described as an artifact.
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                files.push(entry.path());
            }
            seen += 1;
            if files.len() > FILES || seen > ENTRIES {
                return Err(ArtifactError::TooMany);
            }
        }
    }
    // The order of a directory differs from one file system to another, and the record must not.
    files.sort();
    Ok(files)
}

/// Size and digest of an ordinary file; nothing if it is another thing by now.
fn read(path: &Path, limits: &ReadLimits<'_>) -> Result<Option<(u64, Digest)>, ArtifactError> {
    // Opening a named pipe would wait for its writer; with NONBLOCK it does not.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(fd) => File::from(fd),
        // A process that outlived the attempt may remove a file, or replace it by a link, after it was listed.
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::LOOP) => return Ok(None),
        Err(error) => return Err(io::Error::from(error).into()),
    };
    if !file.metadata()?.is_file() {
        return Ok(None);
    }
    let mut hasher = Sha256::new();
    let mut size = 0;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        // Before each piece: a poll and a look at the clock cost little beside hashing it.
        limits.check()?;
        match file.read(&mut buffer) {
            Ok(0) => return Ok(Some((size, Digest::finish(hasher)))),
            Ok(read) => {
                hasher.update(buffer.get(..read).unwrap_or_default());
                size += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn media_type(path: &Path) -> Option<&'static str> {
    let extension = path.extension()?.to_str()?.to_ascii_lowercase();
    Some(match extension.as_str() {
        "txt" | "log" => "text/plain",
        "md" => "text/markdown",
        "html" | "htm" => "text/html",
        "css" => "text/css",
        "csv" => "text/csv",
        "js" | "mjs" => "text/javascript",
        "json" => "application/json",
        "sarif" => "application/sarif+json",
        "yaml" | "yml" => "application/yaml",
        "toml" => "application/toml",
        "xml" => "application/xml",
        "pdf" => "application/pdf",
        "wasm" => "application/wasm",
        "zip" => "application/zip",
        "gz" | "tgz" => "application/gzip",
        "zst" => "application/zstd",
        "tar" => "application/x-tar",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "svg" => "image/svg+xml",
        "webp" => "image/webp",
        "patch" | "diff" => "text/x-diff",
        _ => return None,
    })
}
