//! What a file system says of a file or a folder by which every change of it shows, so that it need not be read again.

use std::ffi::{CStr, CString};
use std::fs::{self, File, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rayon::prelude::*;
use rustix::fs::{AtFlags, Mode, OFlags};
use serde::{Deserialize, Serialize};

/// A file that changed this recently could change once more without a different `stat`: Git calls it racily clean. Two
/// seconds is the coarsest tick of a common file system (FAT).
const RACY_NANOSECONDS: i128 = 2_000_000_000;

/// How many places one thread looks at before another one is worth waking.
const FEW: usize = 256;

/// The `stat` of a file or a folder. Every change of a file's content or of a folder's entries changes this, except one within the same
/// tick of the clock, for which there are [`FileStamp::is_settled`] and [`FileStamp::is_before`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileStamp {
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    inode: u64,
    device: u64,
}

impl FileStamp {
    /// The stamp of what this is the metadata of.
    // With the time of change, which no program can set back, and the inode, which an editor that renames changes.
    #[must_use]
    pub fn of(metadata: &Metadata) -> Self {
        Self {
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            inode: metadata.ino(),
            device: metadata.dev(),
        }
    }

    /// The stamp of what is at a path; of a link, its own.
    #[must_use]
    pub fn at(path: &Path) -> Option<Self> {
        fs::symlink_metadata(path).ok().as_ref().map(Self::of)
    }

    /// The stamp of what is at a path from an open folder; of a link, its own.
    fn below(folder: &File, path: &CStr) -> Option<Self> {
        let found = rustix::fs::statat(folder, path, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        Some(Self {
            size: number(found.st_size)?,
            modified: (number(found.st_mtime)?, number(found.st_mtime_nsec)?),
            changed: (number(found.st_ctime)?, number(found.st_ctime_nsec)?),
            inode: number(found.st_ino)?,
            device: number(found.st_dev)?,
        })
    }

    /// Whether the file had not changed for a while at `now`, a time before its `stat` was read.
    #[must_use]
    pub fn is_settled(&self, now: Timestamp) -> bool {
        let nanoseconds =
            |(seconds, part): (i64, i64)| i128::from(seconds) * 1_000_000_000 + i128::from(part);
        nanoseconds(self.modified.max(self.changed)) + RACY_NANOSECONDS < now.as_nanosecond()
    }

    /// Whether the clock of the file system has ticked between the last change and the moment in which something else was written
    /// there: then any later change shows.
    #[must_use]
    pub fn is_before(&self, written: &Self) -> bool {
        self.modified.max(self.changed) < written.modified
    }
}

/// A folder in which everything was found to be as it should be: that is so again as long as nothing in it has another stamp.
#[derive(Debug)]
pub struct StampedFolder {
    path: PathBuf,
    stamp: FileStamp,
    /// The folder itself: from it the way to each place is short, and finding the way is half of what a look costs.
    folder: File,
    below: Vec<(CString, FileStamp)>,
}

/// What is below a folder: its path from there, and its stamp.
pub type PlaceBelow = (Vec<u8>, FileStamp);

impl StampedFolder {
    /// A folder with all that is in it, whose stamps were taken before it was looked at, and that after something was written in the
    /// same file system. None where a change since might not show.
    #[must_use]
    pub fn settled(folder: (&Path, FileStamp), below: &[PlaceBelow], written: &FileStamp) -> Option<Self> {
        Self::of(folder, below, |stamp| stamp.is_before(written))
    }

    /// The same by the time alone, where nothing may be written: `now` is from before all of it.
    #[must_use]
    pub fn settled_at(folder: (&Path, FileStamp), below: &[PlaceBelow], now: Timestamp) -> Option<Self> {
        Self::of(folder, below, |stamp| stamp.is_settled(now))
    }

    fn of(
        (path, stamp): (&Path, FileStamp),
        below: &[PlaceBelow],
        is_settled: impl Fn(&FileStamp) -> bool,
    ) -> Option<Self> {
        if !is_settled(&stamp) || !below.iter().all(|(_, stamp)| is_settled(stamp)) {
            return None;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = File::from(rustix::fs::open(path, flags, Mode::empty()).ok()?);
        let place = |(path, stamp): &PlaceBelow| Some((CString::new(path.as_slice()).ok()?, *stamp));
        let below = below.iter().map(place).collect::<Option<_>>()?;
        // Another one may have come in its place.
        let is_same = folder.metadata().is_ok_and(|found| FileStamp::of(&found) == stamp);
        is_same.then(|| Self { path: path.to_owned(), stamp, folder, below })
    }

    /// Whether nothing happened to it, and to anything in it, since.
    #[must_use]
    pub fn is_unchanged(&self) -> bool {
        // By its whole path: that is the way by which others come here.
        if FileStamp::at(&self.path) != Some(self.stamp) {
            return false;
        }
        let is_unchanged =
            |(path, stamp): &(CString, FileStamp)| FileStamp::below(&self.folder, path) == Some(*stamp);
        if self.below.len() <= FEW {
            return self.below.iter().all(is_unchanged);
        }
        // The time goes into calls of the system, which all cores can make; Git asks for the `stat` of its files in threads, too.
        self.below.par_iter().with_min_len(FEW).all(is_unchanged)
    }
}

/// A number of the system, whose type differs between systems.
fn number<T>(number: impl TryInto<T>) -> Option<T> {
    number.try_into().ok()
}

/// For tests of what is recognised by its stamps.
#[cfg(test)]
pub(crate) mod clock {
    use std::thread::sleep;
    use std::time::{Duration, Instant};

    use super::{FileStamp, Path};

    /// What was written in this moment, by the clock of the file system that a folder is on.
    pub(crate) fn written_in(folder: &Path) -> Option<FileStamp> {
        let file = tempfile::NamedTempFile::new_in(folder).ok()?;
        file.as_file().metadata().ok().as_ref().map(FileStamp::of)
    }

    /// Looks until something is found, which takes a tick of the clock of the file system.
    pub(crate) fn once_ticked<T>(mut look: impl FnMut() -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(begun.elapsed() < Duration::from_secs(30), "the clock of the file system stands still");
            sleep(Duration::from_millis(1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::clock::{once_ticked, written_in};
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    /// What happens to a folder with a file `a` and an empty folder `b`.
    type Change = fn(&Path);

    /// Looks at a folder until the clock of the file system has ticked since the last change of these places in it.
    fn settle(dir: &Path, names: &[String]) -> StampedFolder {
        once_ticked(|| {
            let written = written_in(dir.parent().unwrap()).unwrap();
            let below: Vec<PlaceBelow> = names
                .iter()
                .map(|name| (name.as_bytes().to_vec(), FileStamp::at(&dir.join(name)).unwrap()))
                .collect();
            let folder = (dir, FileStamp::at(dir).unwrap());
            StampedFolder::settled(folder, &below, &written)
        })
    }

    #[test]
    fn any_change_of_a_file_or_of_the_entries_of_a_folder_shows() {
        let changes: [(&str, Change); 10] = [
            ("the same again", |dir| fs::write(dir.join("a"), "a").unwrap()),
            ("another time", |dir| {
                let file = File::options().write(true).open(dir.join("a")).unwrap();
                file.set_modified(file.metadata().unwrap().modified().unwrap()).unwrap();
            }),
            ("permissions", |dir| {
                fs::set_permissions(dir.join("a"), fs::Permissions::from_mode(0o600)).unwrap();
            }),
            ("a second name", |dir| fs::hard_link(dir.join("a"), dir.join("../other")).unwrap()),
            ("a new file", |dir| fs::write(dir.join("b/new"), "").unwrap()),
            ("a file that came and went", |dir| {
                fs::write(dir.join("b/new"), "").unwrap();
                fs::remove_file(dir.join("b/new")).unwrap();
            }),
            ("no folder", |dir| fs::remove_dir(dir.join("b")).unwrap()),
            ("a new file beside it", |dir| fs::write(dir.join("new"), "").unwrap()),
            ("all of it moved, and a copy there", |dir| {
                fs::rename(dir, dir.with_extension("moved")).unwrap();
                fs::create_dir_all(dir.join("b")).unwrap();
                fs::hard_link(dir.with_extension("moved").join("a"), dir.join("a")).unwrap();
            }),
            ("a link in its place", |dir| {
                fs::rename(dir.join("b"), dir.join("../c")).unwrap();
                symlink("../c", dir.join("b")).unwrap();
            }),
        ];
        for (what, change) in changes {
            let base = tempfile::tempdir().unwrap();
            let dir = base.path().join("dir");
            fs::create_dir_all(dir.join("b")).unwrap();
            fs::write(dir.join("a"), "a").unwrap();
            let seen = settle(&dir, &["a", "b"].map(str::to_owned));
            assert!(seen.is_unchanged(), "before {what}");
            change(&dir);
            assert!(!seen.is_unchanged(), "{what}");
        }
    }

    #[test]
    fn one_change_among_many_places_shows() {
        let base = tempfile::tempdir().unwrap();
        let dir = base.path().join("dir");
        fs::create_dir(&dir).unwrap();
        let names: Vec<String> = (0..2 * FEW + 3).map(|number| number.to_string()).collect();
        names.iter().for_each(|name| fs::write(dir.join(name), "").unwrap());
        let seen = settle(&dir, &names);
        assert!(seen.is_unchanged());
        fs::write(dir.join(&names[2 * FEW]), "x").unwrap();
        assert!(!seen.is_unchanged());
    }

    #[test]
    fn a_file_that_changed_a_moment_ago_is_not_settled() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let stamp = FileStamp::at(file.path()).unwrap();
        let at = |offset| Timestamp::from_second(stamp.changed.0 + offset).unwrap();
        assert!(!stamp.is_settled(at(1)));
        assert!(stamp.is_settled(at(4)));
    }

    #[test]
    fn what_changed_in_the_same_moment_is_not_settled() {
        let dir = tempfile::tempdir().unwrap();
        let stamp = FileStamp::at(dir.path()).unwrap();
        assert!(!stamp.is_before(&stamp));
        assert!(StampedFolder::settled((dir.path(), stamp), &[], &stamp).is_none());
    }
}
