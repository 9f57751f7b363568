//! What a file system says of a file or a folder by which every change of it shows, so that it need not be read again.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rayon::prelude::*;
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

/// Files and folders that were found to be as they should be: all of it is so again as long as none has another stamp.
#[derive(Debug)]
pub struct StampedPlaces(Vec<(PathBuf, FileStamp)>);

impl StampedPlaces {
    /// These places, whose stamps were taken before what is in them was looked at, and that after something was written in the same
    /// file system. None where a change since might not show.
    #[must_use]
    pub fn settled(places: Vec<(PathBuf, FileStamp)>, written: &FileStamp) -> Option<Self> {
        places.iter().all(|(_, stamp)| stamp.is_before(written)).then_some(Self(places))
    }

    /// The same by the time alone, where nothing may be written: `now` is from before all of it.
    #[must_use]
    pub fn settled_at(places: Vec<(PathBuf, FileStamp)>, now: Timestamp) -> Option<Self> {
        places.iter().all(|(_, stamp)| stamp.is_settled(now)).then_some(Self(places))
    }

    /// Whether nothing happened to any of them since.
    #[must_use]
    pub fn are_unchanged(&self) -> bool {
        let is_unchanged = |(path, stamp): &(PathBuf, FileStamp)| FileStamp::at(path) == Some(*stamp);
        if self.0.len() <= FEW {
            return self.0.iter().all(is_unchanged);
        }
        // The time goes into calls of the system, which all cores can make; Git asks for the `stat` of its files in threads, too.
        self.0.par_iter().with_min_len(FEW).all(is_unchanged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::thread::sleep;
    use std::time::Duration;

    /// What happens to a folder with a file `a` and an empty folder `b`.
    type Change = fn(&Path);

    /// Writes until the clock of the file system has ticked since these stamps.
    fn settle(dir: &Path, places: &[PathBuf]) -> StampedPlaces {
        loop {
            let clock = tempfile::NamedTempFile::new_in(dir).unwrap();
            let written = FileStamp::of(&clock.as_file().metadata().unwrap());
            let stamped = places.iter().map(|path| (path.clone(), FileStamp::at(path).unwrap())).collect();
            if let Some(settled) = StampedPlaces::settled(stamped, &written) {
                return settled;
            }
            sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn any_change_of_a_file_or_of_the_entries_of_a_folder_shows() {
        let changes: [(&str, Change); 8] = [
            ("the same again", |dir| fs::write(dir.join("a"), "a").unwrap()),
            ("another time", |dir| {
                let file = fs::File::options().write(true).open(dir.join("a")).unwrap();
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
            let seen = settle(base.path(), &["a", "b"].map(|name| dir.join(name)));
            assert!(seen.are_unchanged(), "before {what}");
            change(&dir);
            assert!(!seen.are_unchanged(), "{what}");
        }
    }

    #[test]
    fn one_change_among_many_places_shows() {
        let base = tempfile::tempdir().unwrap();
        let places: Vec<PathBuf> = (0..2 * FEW + 3).map(|n| base.path().join(n.to_string())).collect();
        places.iter().for_each(|path| fs::write(path, "").unwrap());
        let seen = settle(base.path(), &places);
        assert!(seen.are_unchanged());
        fs::write(&places[2 * FEW], "x").unwrap();
        assert!(!seen.are_unchanged());
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
        let file = tempfile::NamedTempFile::new().unwrap();
        let stamp = FileStamp::at(file.path()).unwrap();
        assert!(!stamp.is_before(&stamp));
        assert!(StampedPlaces::settled(vec![(file.path().to_owned(), stamp)], &stamp).is_none());
    }
}
