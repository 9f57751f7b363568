//! Locks: our own, which end with the process that holds them, and Git's lock files, which a crash leaves
//! behind: telling whose they are and how old.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, flock};

use crate::git::{GitError, Repo};

/// How long to wait for a lock that somebody holds; Git itself gives up on references after 0.1 s and on
/// `packed-refs` after 1 s.
pub(in crate::git) const PATIENCE: Duration = Duration::from_secs(2);

/// How long a lock of a dead predecessor must stand unchanged before it is removed.
const SETTLED: Duration = Duration::from_millis(200);

/// The lock file of a predecessor was made this soon after the intent was noted.
const INTENT_WINDOW: Duration = Duration::from_secs(2);

/// An advisory lock in the cache directory, given up by the kernel when the last holder ends. It holds a note
/// of the reference that is about to be locked Git's way, so that the next holder knows a leftover as ours.
pub(in crate::git) struct OwnLock {
    file: File,
    /// A note that a dead predecessor left, and when it was made.
    leftover: Option<(String, SystemTime)>,
}

impl OwnLock {
    /// Takes the lock `name`, waiting for it. `None` when it cannot be had: these locks make a crash easier to
    /// repair and contention cheaper, but nothing depends on them for correctness.
    pub(in crate::git) fn take(repo: &Repo, name: &str, patience: Duration) -> Option<Self> {
        let directory = repo.cache_dir();
        let open = || {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false);
            options.open(directory.join(name))
        };
        let mut file = open()
            .or_else(|_| {
                std::fs::create_dir_all(&directory)?;
                open()
            })
            .inspect_err(|error| tracing::debug!(%error, "no advisory lock"))
            .ok()?;
        let mut waited = Duration::ZERO;
        let mut pause = Duration::from_micros(200);
        while flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            if waited >= patience {
                return None;
            }
            thread::sleep(pause);
            waited += pause;
            pause = (pause * 2).min(Duration::from_millis(20));
        }
        let mut note = String::new();
        let read = file.read_to_string(&mut note).is_ok() && !note.is_empty();
        let made = file.metadata().and_then(|metadata| metadata.modified()).ok();
        let leftover = made.filter(|_| read).map(|made| (note, made));
        Some(Self { file, leftover })
    }

    /// Notes what is about to be locked.
    pub(in crate::git) fn note(&mut self, what: &str) {
        self.write(what);
    }

    /// Notes that it is done.
    pub(in crate::git) fn clear(&mut self) {
        self.write("");
        self.leftover = None;
    }

    fn write(&mut self, text: &str) {
        let result = self
            .file
            .set_len(0)
            .and_then(|()| self.file.seek(SeekFrom::Start(0)).map(drop))
            .and_then(|()| self.file.write_all(text.as_bytes()));
        if let Err(error) = result {
            tracing::debug!(%error, "cannot note the intent to lock");
        }
    }

    /// The locked file once more, for a child process to hold as well.
    pub(in crate::git) fn share(&self) -> Option<File> {
        self.file.try_clone().ok()
    }

    /// Whether Git's lock file at `path`, for the reference `what`, was left by a predecessor of ours that
    /// died between its note and the end of its transaction.
    fn explains(&self, what: &str, path: &Path) -> bool {
        let Some((note, noted)) = &self.leftover else { return false };
        let made = std::fs::metadata(path).and_then(|metadata| metadata.modified());
        note == what
            && made.is_ok_and(|made| {
                let apart = made.duration_since(*noted).unwrap_or_else(|before| before.duration());
                apart <= INTENT_WINDOW
            })
    }

    /// Removes Git's lock file for `what` if it is a predecessor's and has not moved for a moment.
    pub(in crate::git) fn remove_leftover(&mut self, what: &str, path: &Path) -> bool {
        if !self.explains(what, path) {
            return false;
        }
        let stamp = || std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
        let before = stamp();
        thread::sleep(SETTLED);
        let settled = before.is_some() && stamp() == before;
        settled && std::fs::remove_file(path).is_ok()
    }
}

/// Git's lock file for a reference or another file of the repository.
pub(in crate::git) fn lock_file(repo: &Repo, name: &str) -> PathBuf {
    let mut path = repo.common_dir().join(name).into_os_string();
    path.push(".lock");
    path.into()
}

/// The error that explains a lock file, when it is there.
pub(in crate::git) fn explain(path: &Path) -> Option<GitError> {
    let modified = std::fs::symlink_metadata(path).and_then(|metadata| metadata.modified()).ok()?;
    // The age of a file is a matter between two clocks of this machine, and only ever shown.
    let age_seconds = modified.elapsed().unwrap_or_default().as_secs();
    Some(GitError::Locked { path: path.to_owned(), age_seconds })
}
