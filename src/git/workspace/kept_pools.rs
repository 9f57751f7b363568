//! Removing workspaces that keep ignored files: they hold what a build left for the next one, and nobody resets them when their
//! node is gone.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};

use super::slot::remove_all;

/// How many of them stay, those that were used last. A build cache may have gigabytes, and every change of a node's provider
/// begins a new one.
const MOST_KEPT: usize = 20;

/// Removes what was last used before `cutoff`, and the oldest of those that are more than there may be. How many. `root` has a
/// folder of workspaces for each node. One that is in use stays.
#[must_use]
pub fn remove_kept(root: &Path, cutoff: Timestamp, dry_run: bool) -> usize {
    let mut slots: Vec<(SystemTime, PathBuf)> = folders(root)
        .iter()
        .flat_map(|pool| folders(pool))
        .filter_map(|slot| Some((used(&slot)?, slot)))
        .collect();
    slots.sort();
    let beyond = slots.len().saturating_sub(MOST_KEPT);
    let mut removed = 0;
    for (place, (at, slot)) in slots.iter().enumerate() {
        let is_old = Timestamp::try_from(*at).is_ok_and(|at| at < cutoff);
        if place >= beyond && !is_old {
            continue;
        }
        // Held until all of it is gone: whoever takes the file meanwhile sees that it is not the one at its path any more.
        let Some(_lock) = locked(slot) else { continue };
        if dry_run || remove_all(slot) {
            removed += 1;
        } else {
            tracing::warn!(workspace = %slot.display(), "a workspace with ignored files cannot be removed");
        }
        // Fails as long as other workspaces of the node are in it.
        let _ = slot.parent().map(fs::remove_dir);
    }
    removed
}

/// When a workspace was last taken; nothing of what is none.
fn used(slot: &Path) -> Option<SystemTime> {
    fs::symlink_metadata(slot.join("lock")).ok()?.modified().ok()
}

fn locked(slot: &Path) -> Option<File> {
    let lock = OpenOptions::new().write(true).open(slot.join("lock")).ok()?;
    flock(&lock, FlockOperation::NonBlockingLockExclusive).ok()?;
    Some(lock)
}

/// The folders in one; none where it cannot be read.
fn folders(of: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(of).into_iter().flatten().flatten();
    // `file_type` follows no link: what lies behind one is not ours to remove.
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_last_or_is_in_use_stays() {
        let root = tempfile::tempdir().unwrap();
        let lock = |pool: usize, used: u64| {
            let slot = root.path().join(format!("pool-{pool}/0"));
            fs::create_dir_all(slot.join("tree/cache")).unwrap();
            let lock = File::create(slot.join("lock")).unwrap();
            lock.set_modified(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(used)).unwrap();
            lock
        };
        let busy = lock(0, 10);
        flock(&busy, FlockOperation::NonBlockingLockExclusive).unwrap();
        for pool in 1..=MOST_KEPT + 2 {
            lock(pool, 100 * pool as u64);
        }
        let is_there = |pool: usize| root.path().join(format!("pool-{pool}")).exists();
        let at = |seconds: i64| Timestamp::from_second(seconds).unwrap();
        // The busy one counts among those that are too many, and stays.
        assert_eq!(remove_kept(root.path(), at(0), true), 2);
        assert!(is_there(1));
        assert_eq!(remove_kept(root.path(), at(0), false), 2);
        assert!(is_there(0) && !is_there(1) && !is_there(2) && is_there(3));
        assert_eq!(remove_kept(root.path(), at(450), false), 2);
        assert!(!is_there(4) && is_there(5));
        assert_eq!(remove_kept(&root.path().join("none"), at(450), false), 0);
    }
}
