//! The `.git` of a workspace, which belongs to the task: what is in it at the start, and that nothing of an earlier task stays.
//! And the runner's own beside it.

use std::fs::{self, File, Metadata};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::form::VisibleHistory;
use super::object_cache::{ObjectCache, io, set_own_files};
use crate::git::{GitError, ObjectId, Repo};

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
#[derive(Debug)]
pub(super) struct TaskGitDir {
    files: Vec<(&'static str, Vec<u8>)>,
}

impl TaskGitDir {
    /// One at a commit of the cache, with what is to be seen of its history. `index` is the runner's own, with the patterns of the
    /// paths that are there by it; all when empty.
    pub(super) fn new(
        cache: &ObjectCache,
        commit: ObjectId,
        history: VisibleHistory,
        (index, sparse): (&Path, &[u8]),
    ) -> Result<Self, GitError> {
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
        // A copy of the index, so that `git status` is quick: a link would let the task write into the runner's.
        match fs::read(index) {
            Ok(content) => files.push(("index", content)),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(io("read", index)(error)),
        }
        Ok(Self { files })
    }

    /// Puts it into a working tree, in the place of what is there.
    pub(super) fn renew(&self, tree: &Path) -> Result<(), GitError> {
        let dir = tree.join(".git");
        // Read and compared before anything is written: most tasks leave it alone, and on a journaling file system a dozen
        // files cost more to write than to read.
        if self.is_all_of(&dir) {
            return Ok(());
        }
        remove(&dir)?;
        for folder in FOLDERS {
            let path = dir.join(folder);
            fs::create_dir_all(&path).map_err(io("make the directory", &path))?;
        }
        self.files.iter().try_for_each(|(name, content)| write(&dir.join(name), content))
    }

    /// Whether it is there as it was written, and nothing else.
    fn is_all_of(&self, dir: &Path) -> bool {
        // Not a link to a directory that looks the same.
        if !fs::symlink_metadata(dir).is_ok_and(|found| found.is_dir() && has_mode(&found, 0o700)) {
            return false;
        }
        let mut left = vec![dir.to_owned()];
        let mut seen = 0;
        while let Some(folder) = left.pop() {
            let Ok(entries) = fs::read_dir(&folder) else { return false };
            for entry in entries {
                let Ok(path) = entry.map(|entry| entry.path()) else { return false };
                let Some(name) = path.strip_prefix(dir).ok().and_then(Path::to_str) else { return false };
                // Of the entry itself: a link is not what was written.
                let Ok(found) = fs::symlink_metadata(&path) else { return false };
                let file = self.files.iter().find(|(file, _)| *file == name);
                match file {
                    Some((_, content)) if is_as_written(&path, &found, content) => {}
                    None if found.is_dir() && FOLDERS.contains(&name) && has_mode(&found, 0o700) => {
                        left.push(path);
                    }
                    _ => return false,
                }
                seen += 1;
            }
        }
        seen == FOLDERS.len() + self.files.len()
    }
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
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    /// What a task did.
    type Change = fn(&Path);

    fn git_dir() -> TaskGitDir {
        TaskGitDir {
            files: vec![("HEAD", b"1234\n".to_vec()), ("objects/info/alternates", b"/x\n".to_vec())],
        }
    }

    #[test]
    fn what_nobody_touched_stays_and_whatever_a_task_did_is_undone() {
        let changes: [(&str, Change); 10] = [
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
        ];
        for (what, change) in changes {
            let tree = tempfile::tempdir().unwrap();
            let git = tree.path().join(".git");
            let wanted = git_dir();
            wanted.renew(tree.path()).unwrap();
            let written = fs::metadata(git.join("HEAD")).unwrap().ino();
            wanted.renew(tree.path()).unwrap();
            assert_eq!(
                fs::metadata(git.join("HEAD")).unwrap().ino(),
                written,
                "before {what}: the same file"
            );
            change(&git);
            assert!(!wanted.is_all_of(&git), "{what}");
            wanted.renew(tree.path()).unwrap();
            assert!(wanted.is_all_of(&git), "{what}");
        }
    }
}
