//! The `.git` of a workspace, which belongs to the task: what is in it at the start, and that nothing of an earlier task stays.
//! And the runner's own beside it.

use std::fs::{self, File, Metadata};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::form::VisibleHistory;
use super::object_cache::{ObjectCache, io, set_own_files};
use crate::git::{GitError, ObjectId, Repo};
use crate::stamp::{FileStamp, PlaceBelow, StampedFolder};

/// Who commits in a workspace when the task says nothing else.
const TASK_CONFIG: &str = "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n\
    \tlogallrefupdates = true\n[user]\n\tname = planspec task\n\temail = task@planspec.invalid\n\
    [gc]\n\tauto = 0\n[advice]\n\tdetachedHead = false\n";

/// What is said besides where not all files of the commit are there.
const SPARSE_CONFIG: &str = "[core]\n\tsparseCheckout = true\n\tsparseCheckoutCone = false\n";

/// Its folders.
const FOLDERS: [&str; 7] =
    ["info", "objects", "objects/info", "objects/pack", "refs", "refs/heads", "refs/tags"];

/// What a task's `.git` holds at the start.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TaskGitDir {
    files: Vec<(&'static str, Vec<u8>)>,
    /// The index of the runner, of which it holds a copy.
    index: PathBuf,
}

/// A task's `.git` as it was when all of it was as it should be.
#[derive(Debug)]
pub(super) struct SeenGitDir {
    content: TaskGitDir,
    index: Option<FileStamp>,
    folder: StampedFolder,
}

impl TaskGitDir {
    /// One at a commit of the cache, with what is to be seen of its history. `index` is the runner's own, with the patterns of the
    /// paths that are there by it; all when empty.
    pub(super) fn new(
        cache: &ObjectCache,
        commit: ObjectId,
        history: VisibleHistory,
        (index, sparse): (PathBuf, &[u8]),
    ) -> Self {
        let more = if sparse.is_empty() { "" } else { SPARSE_CONFIG };
        let mut files = vec![
            ("HEAD", format!("{commit}\n").into_bytes()),
            ("config", format!("{TASK_CONFIG}{more}").into_bytes()),
            ("objects/info/alternates", format!("{}\n", cache.objects().display()).into_bytes()),
        ];
        if !history.tags.is_empty() {
            files.push(("packed-refs", history.tags.into_bytes()));
        }
        files.extend(history.shallow.map(|lines| ("shallow", lines)));
        if !sparse.is_empty() {
            files.push(("info/sparse-checkout", sparse.to_vec()));
        }
        Self { files, index }
    }

    /// Puts it into a working tree, in the place of what is there. Where nothing happened to what was `seen`, nothing is read;
    /// `written_now` writes something in the same file system.
    pub(super) fn renew_seen(
        self,
        tree: &Path,
        seen: &mut Option<SeenGitDir>,
        written_now: impl FnOnce() -> Option<FileStamp>,
    ) -> Result<(), GitError> {
        let index = FileStamp::at(&self.index);
        let is_same = |seen: &SeenGitDir| seen.content == self && seen.index == index;
        if seen.as_ref().is_some_and(|seen| is_same(seen) && seen.folder.is_unchanged()) {
            return Ok(());
        }
        // Before anything is looked at, so that whatever changes from then on shows the next time.
        let now = written_now();
        *seen = None;
        let dir = tree.join(".git");
        let found = self.renew(tree)?.zip(now);
        let folder =
            found.and_then(|((stamp, below), now)| StampedFolder::settled((&dir, stamp), &below, &now));
        *seen = folder.map(|folder| SeenGitDir { content: self, index, folder });
        Ok(())
    }

    /// The same without anything that was seen. The stamps of all that is there, where nothing had to be written.
    pub(super) fn renew(&self, tree: &Path) -> Result<Option<(FileStamp, Vec<PlaceBelow>)>, GitError> {
        let dir = tree.join(".git");
        // A copy of the index, so that `git status` is quick: a link would let the task write into the runner's.
        let index = match fs::read(&self.index) {
            Ok(content) => Some(content),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(io("read", &self.index)(error)),
        };
        let files = self.files.iter().map(|(name, content)| (*name, content.as_slice()));
        let files: Vec<(&str, &[u8])> = files.chain(index.as_deref().map(|index| ("index", index))).collect();
        // Read and compared before anything is written: most tasks leave it alone, and on a journaling file system a dozen
        // files cost more to write than to read.
        if let Some(places) = places_of(&dir, &files) {
            return Ok(Some(places));
        }
        remove(&dir)?;
        for folder in FOLDERS {
            let path = dir.join(folder);
            fs::create_dir_all(&path).map_err(io("make the directory", &path))?;
        }
        files.iter().try_for_each(|(name, content)| write(&dir.join(name), content)).map(|()| None)
    }
}

/// All that is in a task's `.git`, with the stamps from before it was read; none where it is not as it was written with these files,
/// or holds anything else.
fn places_of(dir: &Path, files: &[(&str, &[u8])]) -> Option<(FileStamp, Vec<PlaceBelow>)> {
    // Not a link to a directory that looks the same.
    let found = fs::symlink_metadata(dir).ok().filter(is_own_folder)?;
    let stamp = FileStamp::of(&found);
    let mut places = Vec::new();
    let mut left = vec![dir.to_owned()];
    while let Some(folder) = left.pop() {
        for entry in fs::read_dir(&folder).ok()? {
            let path = entry.ok()?.path();
            let name = path.strip_prefix(dir).ok().and_then(Path::to_str)?;
            // Of the entry itself: a link is not what was written.
            let found = fs::symlink_metadata(&path).ok()?;
            match files.iter().find(|(file, _)| *file == name) {
                Some((_, content)) if is_as_written(&path, &found, content) => {}
                None if is_own_folder(&found) && FOLDERS.contains(&name) => left.push(path.clone()),
                _ => return None,
            }
            places.push((name.as_bytes().to_vec(), FileStamp::of(&found)));
        }
    }
    (places.len() == FOLDERS.len() + files.len()).then_some((stamp, places))
}

fn is_own_folder(found: &Metadata) -> bool {
    found.is_dir() && has_mode(found, 0o700)
}

/// Whether it is a file with this content, and with no second name through which it could be changed.
fn is_as_written(path: &Path, found: &Metadata, content: &[u8]) -> bool {
    found.is_file()
        && found.nlink() == 1
        && has_mode(found, 0o600)
        && found.len() == content.len() as u64
        && fs::read(path).is_ok_and(|bytes| bytes == content)
}

fn has_mode(found: &Metadata, wanted: u32) -> bool {
    found.mode() & 0o700 == wanted
}

/// Removes whatever a task put there: a link is removed, not followed.
pub(super) fn remove(path: &Path) -> Result<(), GitError> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    };
    removed.map_err(io("remove", path))
}

/// Makes the runner's own Git directory of a working tree, unless it is there, and has it borrow objects from a cache.
pub(super) fn open_runner_dir(runner: &Path, cache: &ObjectCache) -> Result<(), GitError> {
    if !runner.join("HEAD").exists() {
        let repo = Repo::init_bare(runner, "main")?;
        set_own_files(&repo)?;
        let config = repo.git2().config().and_then(|mut config| config.set_bool("core.bare", false));
        config.map_err(GitError::doing("cannot write the configuration of a workspace"))?;
    }
    let alternates = runner.join("objects/info/alternates");
    write(&alternates, format!("{}\n", cache.objects().display()).as_bytes())
}

pub(super) fn write(path: &Path, content: &[u8]) -> Result<(), GitError> {
    File::create(path).and_then(|mut file| file.write_all(content)).map_err(io("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stamp::clock::{once_ticked, written_in};
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    /// What a task did.
    type Change = fn(&Path);

    fn git_dir(tree: &Path) -> TaskGitDir {
        TaskGitDir {
            files: vec![("HEAD", b"1234\n".to_vec()), ("objects/info/alternates", b"/x\n".to_vec())],
            index: tree.join("index"),
        }
    }

    fn is_there(tree: &Path) -> bool {
        git_dir(tree).renew(tree).unwrap().is_some()
    }

    fn changes() -> [(&'static str, Change); 10] {
        [
            ("a file of the same size", |git| fs::write(git.join("HEAD"), "1235\n").unwrap()),
            ("a removed file", |git| fs::remove_file(git.join("HEAD")).unwrap()),
            ("a removed folder", |git| fs::remove_dir(git.join("refs/tags")).unwrap()),
            ("a new file", |git| fs::write(git.join("objects/pack/x.pack"), "").unwrap()),
            ("a new folder", |git| fs::create_dir(git.join("hooks")).unwrap()),
            ("a folder for a file", |git| {
                fs::remove_file(git.join("HEAD")).unwrap();
                fs::create_dir(git.join("HEAD")).unwrap();
            }),
            ("a link with the same content", |git| {
                fs::rename(git.join("HEAD"), git.join("../HEAD")).unwrap();
                symlink("../HEAD", git.join("HEAD")).unwrap();
            }),
            ("a second name", |git| fs::hard_link(git.join("HEAD"), git.join("../other")).unwrap()),
            ("a link in its own place", |git| {
                fs::rename(git, git.with_extension("moved")).unwrap();
                symlink(git.with_extension("moved"), git).unwrap();
            }),
            ("permissions", |git| {
                fs::set_permissions(git.join("HEAD"), fs::Permissions::from_mode(0o400)).unwrap();
            }),
        ]
    }

    #[test]
    fn what_nobody_touched_stays_and_whatever_a_task_did_is_undone() {
        for (what, change) in changes() {
            let tree = tempfile::tempdir().unwrap();
            let tree = tree.path();
            let git = tree.join(".git");
            fs::write(tree.join("index"), "DIRC").unwrap();
            assert!(!is_there(tree));
            let written = fs::metadata(git.join("HEAD")).unwrap().ino();
            assert!(is_there(tree), "before {what}");
            assert_eq!(
                fs::metadata(git.join("HEAD")).unwrap().ino(),
                written,
                "before {what}: the same file"
            );
            change(&git);
            assert!(!is_there(tree), "{what}");
            assert!(is_there(tree), "{what}");
        }
    }

    #[test]
    fn whatever_a_task_did_is_undone_also_where_it_was_looked_at_before() {
        for (what, change) in changes() {
            let tree = tempfile::tempdir().unwrap();
            let tree = tree.path();
            let git = tree.join(".git");
            let mut seen = None;
            once_ticked(|| {
                git_dir(tree).renew_seen(tree, &mut seen, || written_in(tree)).unwrap();
                seen.is_some().then_some(())
            });
            git_dir(tree).renew_seen(tree, &mut seen, || panic!("it is known")).unwrap();
            change(&git);
            git_dir(tree).renew_seen(tree, &mut seen, || None).unwrap();
            assert!(seen.is_none(), "{what}");
            assert!(is_there(tree), "{what}");
        }
    }

    #[test]
    fn what_was_seen_is_of_one_commit_and_one_index() {
        let tree = tempfile::tempdir().unwrap();
        let tree = tree.path();
        fs::write(tree.join("index"), "DIRC").unwrap();
        let renew = |seen: &mut Option<SeenGitDir>, head: &str| {
            let mut wanted = git_dir(tree);
            wanted.files[0].1 = head.as_bytes().to_vec();
            wanted.renew_seen(tree, seen, || written_in(tree)).unwrap();
            assert_eq!(fs::read_to_string(tree.join(".git/HEAD")).unwrap(), head);
            assert_eq!(fs::read(tree.join(".git/index")).ok(), fs::read(tree.join("index")).ok());
        };
        let mut seen = None;
        let settle = |seen: &mut Option<SeenGitDir>, head| {
            once_ticked(|| {
                renew(seen, head);
                seen.is_some().then_some(())
            });
        };
        settle(&mut seen, "1");
        renew(&mut seen, "2");
        assert!(seen.is_none());
        settle(&mut seen, "2");
        fs::write(tree.join("new"), "DIRX").unwrap();
        fs::rename(tree.join("new"), tree.join("index")).unwrap();
        renew(&mut seen, "2");
        fs::remove_file(tree.join("index")).unwrap();
        renew(&mut seen, "2");
    }
}
