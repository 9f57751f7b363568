//! A place of the pool, which one runner holds at a time.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, Timespec, Timestamps, UTIME_NOW, flock, futimens};

use super::object_cache::io;
use crate::git::GitError;
use crate::stamp::FileStamp;

/// How many workspaces there may be side by side.
const SLOTS: u32 = 10_000;
/// How long a spoiled workspace stays: a process that was left behind may still write to its path.
const SPOILED: Duration = Duration::from_secs(24 * 3600);

/// A folder that nobody else uses as long as this is held.
#[derive(Debug)]
pub(super) struct Slot {
    path: PathBuf,
    /// Released by the kernel when this process ends, however it ends.
    lock: File,
}

impl Slot {
    /// A free one below `pool`, or a new one.
    ///
    /// # Errors
    /// When none can be made.
    pub(super) fn take(pool: &Path) -> Result<Self, GitError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(pool)
            .map_err(io("make the directory", pool))?;
        for number in 0..SLOTS {
            let slot = pool.join(number.to_string());
            fs::create_dir_all(&slot).map_err(io("make the directory", &slot))?;
            let path = slot.join("lock");
            let lock = match OpenOptions::new().create(true).truncate(false).write(true).open(&path) {
                // A collection removed the slot in this moment.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                lock => lock.map_err(io("open", &path))?,
            };
            if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err()
                || !is_at(&lock, &path)
                || !is_usable(&slot)
            {
                continue;
            }
            // What was not taken for long is collected; by the length alone, the time would stay.
            (&lock).write_all(b"\n").map_err(io("write", &path))?;
            tracing::trace!(workspace = %slot.display(), "workspace taken");
            return Ok(Self { path: slot, lock });
        }
        let source = std::io::Error::other("every workspace is in use");
        Err(GitError::Io { doing: "find a workspace in", path: pool.to_owned(), source })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What was written in this moment, by the clock of the file system that all of it is on.
    pub(super) fn written_now(&self) -> Option<FileStamp> {
        let now = || Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        futimens(&self.lock, &Timestamps { last_access: now(), last_modification: now() }).ok()?;
        self.lock.metadata().ok().as_ref().map(FileStamp::of)
    }

    /// Marks it, so that nobody gets it again before a day has passed. Whether that was possible.
    pub(super) fn spoil(&self) -> bool {
        File::create(self.path.join("spoiled")).is_ok()
    }
}

/// Whether an open file is still the one at its path: a lock on one that was removed keeps nobody out.
fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(open), Ok(found)) = (file.metadata(), fs::metadata(path)) else { return false };
    (open.dev(), open.ino()) == (found.dev(), found.ino())
}

/// Whether a slot was not spoiled, or so long ago that it can be made anew.
fn is_usable(slot: &Path) -> bool {
    let mark = slot.join("spoiled");
    let Ok(found) = fs::metadata(&mark) else { return true };
    let age = found.modified().ok().and_then(|at| at.elapsed().ok()).unwrap_or_default();
    age > SPOILED
        && remove_all(&slot.join("tree"))
        && remove_all(&slot.join("runner"))
        && fs::remove_file(mark).is_ok()
}

/// Removes a directory, also where a task took permissions away. Whether it is gone.
pub(super) fn remove_all(path: &Path) -> bool {
    if fs::remove_dir_all(path).is_ok() || !path.exists() {
        return true;
    }
    open_up(path);
    fs::remove_dir_all(path).is_ok()
}

fn open_up(directory: &Path) {
    let _ = fs::set_permissions(directory, fs::Permissions::from_mode(0o700));
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        // Links are not followed: `file_type` is that of the entry itself.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_up(&entry.path());
        }
    }
}
