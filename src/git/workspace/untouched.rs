//! Whether a task has left its workspace as it was, without a process: most tasks change no file, and two runs of Git for each of
//! them cost more than all the rest. Whatever is in doubt counts as touched, and then Git looks.

use std::collections::{HashMap, HashSet};
use std::fs::{self, DirEntry, Metadata};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;

use crate::stamp::{FileStamp, PlaceBelow, StampedFolder};

/// How many files of an index are kept in memory between two tasks.
const REMEMBERED: usize = 100_000;

/// The files of an index as they were read last: with many files, reading them takes longer than looking at each.
#[derive(Debug, Default)]
pub(super) struct TrackedFilesCache {
    last: Mutex<Option<Arc<TrackedFiles>>>,
    /// What was found untouched by the last look, and by which state of the index.
    seen: Mutex<Option<(FileStamp, StampedFolder)>>,
}

/// The files of an index, and the folders that they are in.
#[derive(Debug)]
struct TrackedFiles {
    /// Which state of the index it is: Git writes another file in the place of the old one.
    version: FileStamp,
    files: HashMap<Vec<u8>, git2::IndexEntry>,
    folders: HashSet<Vec<u8>>,
}

impl TrackedFilesCache {
    /// Whether a working tree has the files of an index, as they were when it was written, and nothing else but `.git`, which
    /// is not looked at. `written_now` writes something in the same file system.
    pub(super) fn is_untouched(
        &self,
        tree: &Path,
        index: &Path,
        written_now: impl FnOnce() -> Option<FileStamp>,
    ) -> bool {
        let Some(version) = FileStamp::at(index) else { return false };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // Of a folder, too: a new file in it changes its times, and so its entries need not be read.
        if seen.as_ref().is_some_and(|(of, folder)| *of == version && folder.is_unchanged()) {
            return true;
        }
        // Before anything is looked at, so that whatever changes from then on shows the next time.
        let now = written_now();
        *seen = None;
        let Some((stamp, found)) = self.look(tree, index, version) else { return false };
        if found.files <= REMEMBERED {
            let settled = now.and_then(|now| StampedFolder::settled((tree, stamp), &found.places, &now));
            *seen = settled.map(|folder| (version, folder));
        }
        true
    }

    /// Looks at everything in a working tree: the stamp of its folder, and what is in it. None where something differs from the
    /// index.
    fn look(&self, tree: &Path, index: &Path, version: FileStamp) -> Option<(FileStamp, UnchangedFiles)> {
        // Not a link to a folder that looks the same.
        let found = fs::symlink_metadata(tree).ok().filter(Metadata::is_dir)?;
        let tracked = self.read(index, version)?;
        // All of them are tracked, and so it is enough to count them.
        let below = tracked.unchanged(tree, &[]).filter(|below| below.files == tracked.files.len())?;
        Some((FileStamp::of(&found), below))
    }

    fn read(&self, index: &Path, version: FileStamp) -> Option<Arc<TrackedFiles>> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = last.as_ref().filter(|known| known.version == version) {
            return Some(Arc::clone(known));
        }
        *last = None;
        let read = Arc::new(TrackedFiles::read(index, version)?);
        // Of very large repositories the memory, once for each workspace, would be worth more than the time.
        if read.files.len() <= REMEMBERED {
            *last = Some(Arc::clone(&read));
        }
        Some(read)
    }
}

/// What is in a folder, those below it included: all of it tracked, and none of it changed.
#[derive(Debug, Default)]
struct UnchangedFiles {
    files: usize,
    /// Files and folders, each with its stamp before anything in it was looked at.
    places: Vec<PlaceBelow>,
}

impl UnchangedFiles {
    fn with(mut self, more: Self) -> Self {
        self.files += more.files;
        self.places.extend(more.places);
        self
    }
}

impl TrackedFiles {
    fn read(path: &Path, version: FileStamp) -> Option<Self> {
        let index = git2::Index::open(path).ok()?;
        let mut files = HashMap::with_capacity(index.len());
        let mut folders = HashSet::new();
        // What is left out of the workspace is not looked for, and counts as new where it is.
        for entry in index.iter().filter(|entry| entry.flags_extended & LEFT_OUT == 0) {
            let path = entry.path.clone();
            for (end, _) in path.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
                let folder = path.get(..end)?;
                if !folders.contains(folder) {
                    folders.insert(folder.to_vec());
                }
            }
            files.insert(path, entry);
        }
        Some(Self { version, files, folders })
    }

    /// What is in a folder; none where something in it is not tracked, has changed, or cannot be read.
    fn unchanged(&self, folder: &Path, prefix: &[u8]) -> Option<UnchangedFiles> {
        let mut here = UnchangedFiles::default();
        let mut folders = Vec::new();
        let mut path = prefix.to_vec();
        for entry in fs::read_dir(folder).ok()? {
            let entry = entry.ok()?;
            let name = entry.file_name();
            if prefix.is_empty() && name.as_bytes() == b".git" {
                continue;
            }
            path.truncate(prefix.len());
            path.extend_from_slice(name.as_bytes());
            // Of the entry itself: links are not followed.
            let found = entry.metadata().ok()?;
            if found.is_dir() {
                if !self.folders.contains(&path) {
                    return None;
                }
                folders.push((entry.path(), [path.as_slice(), b"/"].concat()));
            } else if self.files.get(&path).is_some_and(|known| self.is_unchanged(known, &entry, &found)) {
                here.files += 1;
            } else {
                return None;
            }
            here.places.push((path.clone(), FileStamp::of(&found)));
        }
        // The time goes into calls of the system, which all cores can make; Git asks for the `stat` of its files in threads, too.
        let below = folders.par_iter().map(|(folder, prefix)| self.unchanged(folder, prefix));
        below
            .try_reduce(UnchangedFiles::default, |some, more| Some(some.with(more)))
            .map(|below| here.with(below))
    }

    fn is_unchanged(&self, known: &git2::IndexEntry, entry: &DirEntry, found: &Metadata) -> bool {
        // A change after the index was written would show in the times, but for one within the same tick of the clock, and right after
        // a checkout that is so of many files.
        let is_older = FileStamp::of(found).is_before(&self.version);
        is_same_stat(known, found) && (is_older || has_same_content(known, &entry.path()))
    }
}

/// Whether a file is the one that was written into the index, as far as the system can tell.
// The fields of an index have 32 bits, and Git cuts longer numbers off in the same way.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "as in the format of Git's index"
)]
fn is_same_stat(known: &git2::IndexEntry, found: &Metadata) -> bool {
    let mode = match known.mode & 0o170_000 {
        0o100_000 => found.is_file() && known.mode & 0o100 == found.mode() & 0o100,
        0o120_000 => found.is_symlink(),
        // A submodule, or what was added since Git knows it.
        _ => false,
    };
    // A stage of a merge, or a flag by which Git leaves a file alone.
    let is_plain = known.flags & !NAME_LENGTH == 0 && known.flags_extended == 0;
    let time = |known: git2::IndexTime, seconds: i64, nanoseconds: i64| {
        known.seconds() as u32 == seconds as u32 && known.nanoseconds() == nanoseconds as u32
    };
    mode && is_plain
        && time(known.mtime, found.mtime(), found.mtime_nsec())
        && time(known.ctime, found.ctime(), found.ctime_nsec())
        && known.ino == found.ino() as u32
        && known.uid == found.uid()
        && known.gid == found.gid()
        && known.file_size == found.size() as u32
}

/// The bit of an entry's flags by which Git leaves a file out of the working tree (`skip-worktree`).
const LEFT_OUT: u16 = 1 << 14;

/// The bits of an entry's flags that hold the length of its name.
const NAME_LENGTH: u16 = 0x0fff;

fn has_same_content(known: &git2::IndexEntry, path: &Path) -> bool {
    let content = if known.mode == 0o120_000 {
        fs::read_link(path).map(|target| target.into_os_string().as_bytes().to_vec())
    } else {
        fs::read(path)
    };
    // Of a file that is stored in another form, such as with other line ends, only Git can tell.
    content.is_ok_and(|bytes| git2::Oid::hash_object(git2::ObjectType::Blob, &bytes) == Ok(known.id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stamp::clock::{once_ticked, written_in};
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::path::PathBuf;

    /// What a task did.
    type Change = fn(&Path);

    /// A tree with three files and a link, and its index.
    fn tree() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let repo = git2::Repository::init(dir.path()).unwrap();
        fs::create_dir_all(dir.path().join("deep/er")).unwrap();
        for file in ["a", "deep/b", "deep/er/c"] {
            fs::write(dir.path().join(file), file).unwrap();
        }
        fs::set_permissions(dir.path().join("a"), fs::Permissions::from_mode(0o755)).unwrap();
        symlink("deep/b", dir.path().join("link")).unwrap();
        let mut index = repo.index().unwrap();
        for file in ["a", "deep/b", "deep/er/c", "link"] {
            index.add_path(Path::new(file)).unwrap();
        }
        index.write().unwrap();
        let path = index.path().unwrap().to_owned();
        (dir, path)
    }

    fn untouched(tree: &Path, index: &Path) -> bool {
        TrackedFilesCache::default().is_untouched(tree, index, || None)
    }

    /// What looked at the tree so often that the next look is one at stamps alone.
    fn settled(tree: &Path, index: &Path) -> TrackedFilesCache {
        let cache = TrackedFilesCache::default();
        once_ticked(|| {
            assert!(cache.is_untouched(tree, index, || written_in(&tree.join(".git"))));
            cache.seen.lock().unwrap().is_some().then_some(())
        });
        assert!(cache.is_untouched(tree, index, || panic!("it is known")));
        cache
    }

    #[test]
    fn an_index_that_was_written_anew_is_read_anew() {
        let (dir, path) = tree();
        let cache = TrackedFilesCache::default();
        let is_untouched = || cache.is_untouched(dir.path(), &path, || None);
        assert!(is_untouched() && is_untouched());
        fs::write(dir.path().join("new"), "new").unwrap();
        assert!(!is_untouched());
        let repo = git2::Repository::open(dir.path()).unwrap();
        let mut index = repo.index().unwrap();
        index.add_path(Path::new("new")).unwrap();
        index.write().unwrap();
        assert!(is_untouched());
        fs::remove_file(&path).unwrap();
        assert!(!is_untouched());
    }

    #[test]
    fn any_change_is_seen_also_one_of_the_same_size_in_the_same_moment() {
        let changes: [(&str, Change); 11] = [
            ("other content", |tree| fs::write(tree.join("a"), "b").unwrap()),
            ("more content", |tree| fs::write(tree.join("deep/b"), "more").unwrap()),
            ("no file", |tree| fs::remove_file(tree.join("deep/er/c")).unwrap()),
            ("no folder", |tree| fs::remove_dir_all(tree.join("deep/er")).unwrap()),
            ("a new file", |tree| fs::write(tree.join("deep/new"), "").unwrap()),
            ("a new folder", |tree| fs::create_dir(tree.join("empty")).unwrap()),
            ("a folder in the place of a file", |tree| {
                fs::remove_file(tree.join("a")).unwrap();
                fs::create_dir(tree.join("a")).unwrap();
            }),
            ("a link in the place of a file", |tree| {
                fs::rename(tree.join("a"), tree.join(".git/a")).unwrap();
                symlink(".git/a", tree.join("a")).unwrap();
            }),
            ("another link", |tree| {
                fs::remove_file(tree.join("link")).unwrap();
                symlink("deep/c", tree.join("link")).unwrap();
            }),
            ("what may be run", |tree| {
                fs::set_permissions(tree.join("a"), fs::Permissions::from_mode(0o644)).unwrap();
            }),
            ("a link in the place of a folder", |tree| {
                fs::rename(tree.join("deep"), tree.join(".git/deep")).unwrap();
                symlink(".git/deep", tree.join("deep")).unwrap();
            }),
        ];
        for (what, change) in changes {
            let (dir, index) = tree();
            assert!(untouched(dir.path(), &index), "before {what}");
            let seen = settled(dir.path(), &index);
            change(dir.path());
            assert!(!untouched(dir.path(), &index), "{what}");
            assert!(!seen.is_untouched(dir.path(), &index, || None), "{what}, after a look");
        }
    }

    #[test]
    fn without_an_index_nothing_is_known() {
        let (dir, index) = tree();
        fs::write(&index, "DIRC").unwrap();
        assert!(!untouched(dir.path(), &index));
        fs::remove_file(&index).unwrap();
        assert!(!untouched(dir.path(), &index));
        assert!(!untouched(&dir.path().join("a"), &index));
    }
}
