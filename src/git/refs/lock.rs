//! Locks: advisory ones of our own, which end with the process, and Git's lock files, which a crash leaves behind:
//! whose they are, how old, and when one may be removed.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{FlockOperation, flock};

use crate::git::{GitError, Repo, StopSignal};

/// How long to wait for a lock that somebody holds; Git itself gives up on references after 0.1 s and on
/// `packed-refs` after 1 s.
pub(in crate::git) const PATIENCE: Duration = Duration::from_secs(2);

/// Our own lock around every reference transaction of this program.
pub(super) const REFERENCES_LOCK: &str = "references.lock";

/// How long a lock of a dead predecessor must stay unchanged before it is removed.
// Longer than a live `git` process needs between making a lock file and renaming it into place.
const SETTLED: Duration = Duration::from_millis(200);

/// How soon after the note the lock file of a predecessor was made.
// A lock that is much younger than the note belongs to another process that came after the crash.
const INTENT_WINDOW: Duration = Duration::from_secs(2);

/// An advisory lock in the cache directory, released by the kernel when the last holder ends. It holds a note
/// of the reference that is about to be locked Git's way, by which the next holder recognises a leftover as ours.
pub(in crate::git) struct OwnLock {
    file: File,
    /// A note that a dead predecessor left, and when it was made.
    leftover: Option<(String, SystemTime)>,
}

impl OwnLock {
    /// Takes the lock `name`, waiting up to `patience` and not beyond what `stop` leaves. `None` when it is not available:
    /// these locks make recovery from a crash possible and contention cheap, but correctness never depends on them
    /// (Invariant 3 is Git's own lock).
    pub(in crate::git) fn take(
        repo: &Repo,
        name: &str,
        patience: Duration,
        stop: &StopSignal,
    ) -> Option<Self> {
        let began = Instant::now();
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
            .inspect_err(|error| tracing::debug!(lock = name, %error, "no advisory lock"))
            .ok()?;
        // Polled rather than blocking: a blocking `flock` has no time limit, and a stopped process may hold the lock.
        let mut waited = Duration::ZERO;
        let mut pause = Duration::from_micros(200);
        while flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            // A fetch of another process may hold its lock for a minute, and whoever interrupts this one waits for none.
            if waited >= patience || stop.left(began).is_some_and(|left| left.is_zero()) {
                tracing::info!(
                    lock = name,
                    waited_ms = waited.as_millis(),
                    "continuing without a lock that another process holds"
                );
                return None;
            }
            thread::sleep(pause);
            waited += pause;
            // A transaction takes a fraction of a millisecond; a fetch may hold its lock for minutes.
            pause = (pause * 2).min(Duration::from_millis(20));
        }
        if !waited.is_zero() {
            tracing::debug!(lock = name, waited_ms = waited.as_millis(), "waited for a lock");
        }
        // The note is read after the lock is held: before that, a live holder may still be writing it.
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

    /// Removes the note: the transaction is over.
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
            tracing::debug!(%error, "cannot write the note of a lock");
        }
    }

    /// The locked file once more, for a child process to hold as well: `flock` belongs to the open file, not the process.
    pub(in crate::git) fn share(&self) -> Option<File> {
        self.file.try_clone().ok()
    }

    /// Whether Git's lock file at `path`, for the reference `what`, was left by an earlier planspec process that
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
        let unchanged = before.is_some() && stamp() == before;
        let removed = unchanged && std::fs::remove_file(path).is_ok();
        if removed {
            tracing::warn!(lock = %path.display(), "removed a lock that a killed process left");
        }
        removed
    }
}

impl Repo {
    /// Removes Git's lock files of these references that a killed process of planspec left in this repository. For whoever
    /// reaches it from another one: what moves references here looks for itself.
    pub(in crate::git) fn remove_leftover_locks(&self, references: &[&str], stop: &StopSignal) {
        let locked = |name: &&&str| lock_file(self, name).exists();
        // Nothing is made in a repository that planspec never ran in: without a note no lock is ours.
        if !self.cache_dir().join(REFERENCES_LOCK).exists() || !references.iter().any(|name| locked(&name)) {
            return;
        }
        let Some(mut own) = OwnLock::take(self, REFERENCES_LOCK, PATIENCE, stop) else { return };
        for name in references.iter().filter(locked) {
            own.remove_leftover(name, &lock_file(self, name));
        }
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
    // Not followed: somebody could have put a link there.
    let modified = std::fs::symlink_metadata(path).and_then(|metadata| metadata.modified()).ok()?;
    // The age of a file is a matter between two clocks of this machine, and only ever shown.
    let age_seconds = modified.elapsed().unwrap_or_default().as_secs();
    Some(GitError::Locked { path: path.to_owned(), age_seconds })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_waits_for_a_lock_beyond_the_signal_to_stop() {
        let dir = tempfile::tempdir().unwrap();
        let repo = Repo::init_bare(dir.path(), "main").unwrap();
        let stop = StopSignal::default();
        let held = OwnLock::take(&repo, "test.lock", PATIENCE, &stop).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(Duration::from_millis(50));
                stop.stop();
            });
            let began = Instant::now();
            assert!(OwnLock::take(&repo, "test.lock", Duration::from_secs(600), &stop).is_none());
            assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
        });
        drop(held);
        assert!(OwnLock::take(&repo, "test.lock", PATIENCE, &stop).is_some());
    }
}
