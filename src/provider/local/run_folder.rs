//! The folders of attempts. While an attempt is under way it has a folder from a small pool: on a journaling
//! file system, making and removing folders costs more than starting a process. What an attempt leaves goes
//! to its own `run_dir`, which is made only then.

use std::cell::OnceCell;
use std::fs::DirBuilder;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{Dir, Mode, OFlags};
use tempfile::TempDir;

use crate::model::JsonMap;
use crate::stamp::FileStamp;

const HOME: &str = "attempt";
const ARTIFACTS: &str = "artifacts";
const WORK: &str = "work";
const OUTPUT: &str = "output";
const BRIEF: &str = "brief.md";
const RESULT: &str = "result.json";
const INPUTS: &str = "inputs.json";
const UPSTREAM: &str = "upstream";
const NO_INPUTS: &str = "no-inputs.json";

/// The pool.
pub(super) struct RunFolders {
    runs: PathBuf,
    state: Mutex<PoolState>,
}

#[derive(Default)]
struct PoolState {
    /// This runner's own folder below `runs`, gone with the pool.
    base: Option<TempDir>,
    spares: Vec<PooledFolder>,
    next: u64,
}

/// A folder of the pool. It gets a new name for each attempt; the one in it, which is the attempt's, keeps its own, as another name would
/// change its stamp.
struct PooledFolder {
    path: PathBuf,
    /// What was written when the attempt began, unless it is known already how an empty folder is recognised.
    opened: Option<FileStamp>,
    empty: Option<EmptyStamps>,
}

/// By what a folder is known in which nobody has left anything: the stamps of the attempt's folder and of the two in it. Nothing has
/// changed in them since before the last attempt began, so that from then on every change shows.
#[derive(Clone, Copy, PartialEq, Eq)]
struct EmptyStamps {
    home: FileStamp,
    artifacts: FileStamp,
    work: FileStamp,
}

impl EmptyStamps {
    fn of(home: &Path) -> Option<Self> {
        Some(Self {
            home: FileStamp::at(home)?,
            artifacts: FileStamp::at(&home.join(ARTIFACTS))?,
            work: FileStamp::at(&home.join(WORK))?,
        })
    }

    fn are_before(&self, written: &FileStamp) -> bool {
        [self.home, self.artifacts, self.work].iter().all(|stamp| stamp.is_before(written))
    }
}

impl PoolState {
    /// The path of the next folder: in `base`, or in the one that is known.
    fn next_path(&mut self, base: Option<&Path>) -> Option<PathBuf> {
        self.next += 1;
        let base = base.or(self.base.as_ref().map(TempDir::path))?;
        Some(base.join(self.next.to_string()))
    }
}

impl RunFolders {
    /// A pool below `runs`, where every `run_dir` is, too.
    pub(super) fn new(runs: PathBuf) -> Self {
        Self { runs, state: Mutex::default() }
    }

    /// A folder for an attempt. What an earlier runner left under the same number is removed: it was never
    /// recorded.
    pub(super) fn open(&self, run_dir: &Path, inputs: &JsonMap) -> io::Result<RunFolder<'_>> {
        match std::fs::remove_dir_all(run_dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let folder = match self.renamed_spare() {
            Some(folder) => folder,
            None => self.new_folder()?,
        };
        let path = folder.path.join(HOME);
        let inputs_file = if inputs.is_empty() {
            self.no_inputs()?
        } else {
            let file = path.join(INPUTS);
            std::fs::write(&file, serde_json::to_vec_pretty(inputs)?)?;
            file
        };
        Ok(RunFolder {
            pool: self,
            inputs: inputs_file,
            output: path.join(OUTPUT),
            artifacts: path.join(ARTIFACTS),
            work: path.join(WORK),
            brief: path.join(BRIEF),
            result: path.join(RESULT),
            upstream: None,
            no_artifacts: folder.empty.map(|empty| empty.artifacts),
            folder,
            path,
            run_dir: run_dir.to_owned(),
            has_artifacts: OnceCell::new(),
        })
    }

    /// A spare folder under a new name: a process that outlived its attempt does not find the next one's files. Spares vanish when
    /// somebody clears the cache.
    fn renamed_spare(&self) -> Option<PooledFolder> {
        let (spare, path) = {
            let mut state = self.state();
            let spare = state.spares.pop()?;
            (spare, state.next_path(None)?)
        };
        std::fs::rename(spare.path, &path).ok()?;
        // That has written to the folder which both names are in.
        let opened = if spare.empty.is_none() { path.parent().and_then(FileStamp::at) } else { None };
        Some(PooledFolder { path, opened, empty: spare.empty })
    }

    fn new_folder(&self) -> io::Result<PooledFolder> {
        let path = {
            let mut state = self.state();
            let base = self.base(&mut state)?;
            state.next_path(Some(&base)).ok_or(io::ErrorKind::NotFound)?
        };
        create(&path.join(HOME).join(ARTIFACTS))?;
        create(&path.join(HOME).join(WORK))?;
        Ok(PooledFolder { path, opened: None, empty: None })
    }

    fn base(&self, state: &mut PoolState) -> io::Result<PathBuf> {
        // The cache may be deleted while tasks run (Invariant 1), so the folder is made again when it is gone.
        if let Some(base) = state.base.as_ref().filter(|base| base.path().is_dir()) {
            return Ok(base.path().to_owned());
        }
        if !self.runs.is_absolute() {
            // Processes run in other folders and get these paths in their environment, where a relative path would lead
            // nowhere.
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the folder of all runs is not known"));
        }
        create(&self.runs)?;
        let base = tempfile::Builder::new().prefix(".running-").tempdir_in(&self.runs)?;
        Ok(state.base.insert(base).path().to_owned())
    }

    /// The inputs file of every attempt without inputs.
    fn no_inputs(&self) -> io::Result<PathBuf> {
        let mut state = self.state();
        // Looked at first: where the file is there, so is its folder.
        let known = state.base.as_ref().map(|base| base.path().join(NO_INPUTS));
        if let Some(path) = known.filter(|path| path.exists()) {
            return Ok(path);
        }
        let base = self.base(&mut state)?;
        let path = base.join(NO_INPUTS);
        if !path.exists() {
            let mut file = tempfile::NamedTempFile::new_in(&base)?;
            file.write_all(b"{}\n")?;
            // All attempts without inputs share it: none may change what the next one reads. It is moved into place
            // whole, so none reads half of it.
            file.as_file().set_permissions(std::fs::Permissions::from_mode(0o444))?;
            file.persist(&path)?;
        }
        Ok(path)
    }

    fn state(&self) -> MutexGuard<'_, PoolState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The folder of one attempt that is under way.
pub(super) struct RunFolder<'a> {
    pool: &'a RunFolders,
    folder: PooledFolder,
    path: PathBuf,
    inputs: PathBuf,
    output: PathBuf,
    artifacts: PathBuf,
    work: PathBuf,
    brief: PathBuf,
    result: PathBuf,
    upstream: Option<PathBuf>,
    run_dir: PathBuf,
    has_artifacts: OnceCell<bool>,
    /// The stamp of the folder for artifacts as long as it is empty.
    no_artifacts: Option<FileStamp>,
}

impl RunFolder<'_> {
    /// The same, with the folder for artifacts of another: what one attempt leaves is kept together.
    pub(super) fn with_artifacts_of(mut self, other: &RunFolder<'_>) -> Self {
        self.artifacts.clone_from(&other.artifacts);
        self.no_artifacts = other.no_artifacts;
        self
    }

    /// The inputs, as a JSON file.
    pub(super) fn inputs(&self) -> &Path {
        &self.inputs
    }

    /// Where all of it is, but for the inputs of an attempt that has none.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the brief is, for those who get one.
    pub(super) fn brief(&self) -> &Path {
        &self.brief
    }

    /// Where the process may say that it cannot go on now, and what it used up; there is no file yet.
    pub(super) fn result(&self) -> &Path {
        &self.result
    }

    /// Where outputs are written; there is no file yet.
    pub(super) fn output(&self) -> &Path {
        &self.output
    }

    /// The folder for artifacts.
    pub(super) fn artifacts(&self) -> &Path {
        &self.artifacts
    }

    /// The folder for what the nodes before it left, for those who get something of it.
    pub(super) fn upstream(&self) -> Option<&Path> {
        self.upstream.as_deref()
    }

    /// The same, made now: most attempts get nothing, and one more folder for each of them would cost.
    pub(super) fn make_upstream(&mut self) -> io::Result<PathBuf> {
        let folder = self.path.join(UPSTREAM);
        create(&folder)?;
        Ok(self.upstream.insert(folder).clone())
    }

    /// An empty folder to work in, for those who need no checkout.
    pub(super) fn work(&self) -> &Path {
        &self.work
    }

    /// Removes the outputs once they were read: they go into the status, redacted, and the file is not.
    pub(super) fn forget_output(&self) {
        // There is no file when nothing was given.
        let _ = std::fs::remove_file(&self.output);
    }

    /// Moves what is worth keeping to the attempt's own folder: artifacts, outputs that could not be read,
    /// and, if anything else is kept, the inputs and the brief.
    pub(super) fn keep(&self) -> io::Result<()> {
        if self.has_artifacts() {
            self.move_out(&self.artifacts, ARTIFACTS)?;
        }
        if self.output.symlink_metadata().is_ok() {
            self.move_out(&self.output, OUTPUT)?;
        }
        // The file that attempts without inputs share stays where it is.
        if self.inputs.starts_with(&self.path) && self.run_dir.exists() {
            self.move_out(&self.inputs, INPUTS)?;
        }
        if self.run_dir.exists() {
            self.move_out(&self.brief, BRIEF)?;
        }
        Ok(())
    }

    /// Whether anything is in the folder for artifacts, or in its place. Found out once, after the work.
    pub(super) fn has_artifacts(&self) -> bool {
        let known = || self.no_artifacts.is_some() && FileStamp::at(&self.artifacts) == self.no_artifacts;
        *self.has_artifacts.get_or_init(|| !known() && !is_empty_folder(&self.artifacts))
    }

    fn move_out(&self, from: &Path, name: &str) -> io::Result<()> {
        create(&self.run_dir)?;
        match std::fs::rename(from, self.run_dir.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// The folder for the next attempt, where it is as good as new.
    fn spare(&self) -> Option<PooledFolder> {
        let PooledFolder { path, opened, empty } = &self.folder;
        // Before anything is looked at: a process that is still there may write meanwhile.
        let stamps = EmptyStamps::of(&self.path);
        let is_known = empty.is_some() && stamps == *empty;
        if !is_known && !self.is_clean() {
            return None;
        }
        let is_settled = |stamps: &EmptyStamps| is_known || opened.is_some_and(|at| stamps.are_before(&at));
        Some(PooledFolder { path: path.clone(), opened: None, empty: stamps.filter(is_settled) })
    }

    /// Whether it is as good as new.
    fn is_clean(&self) -> bool {
        let mut count = 0;
        let only_known = all_entries(&self.path, |name| {
            count += 1;
            name == ARTIFACTS.as_bytes() || name == WORK.as_bytes()
        });
        // A folder in which anything is left is not used again: the next attempt would find the files of this one. Looked at again
        // for that, as a process that is still there may have written since.
        only_known && count == 2 && is_empty_folder(&self.artifacts) && is_empty_folder(&self.work)
    }
}

impl Drop for RunFolder<'_> {
    fn drop(&mut self) {
        match self.spare() {
            Some(spare) => self.pool.state().spares.push(spare),
            // What cannot be removed now goes with the pool, or with the cache.
            None => drop(std::fs::remove_dir_all(&self.folder.path)),
        }
    }
}

fn is_empty_folder(path: &Path) -> bool {
    all_entries(path, |_| false)
}

/// Whether this is true of every entry of a folder; not where it is no folder, but a link to one.
// With four calls of the system where the standard library makes six: this is asked four times for an attempt that leaves something.
fn all_entries(path: &Path, mut is_so: impl FnMut(&[u8]) -> bool) -> bool {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Ok(folder) = rustix::fs::open(path, flags, Mode::empty()) else { return false };
    let Ok(mut entries) = Dir::new(folder) else { return false };
    entries.all(|entry| {
        entry.is_ok_and(|entry| {
            let name = entry.file_name().to_bytes();
            name == b"." || name == b".." || is_so(name)
        })
    })
}

/// Makes a folder that other users cannot read, and those on the way.
fn create(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stamp::clock::once_ticked;
    use std::fs;
    use std::os::unix::fs::symlink;

    /// What an attempt leaves in its folder.
    type Leave = fn(&RunFolder<'_>);

    fn open<'a>(pool: &'a RunFolders, runs: &Path) -> RunFolder<'a> {
        pool.open(&runs.join("uid/node/1"), &JsonMap::new()).unwrap()
    }

    /// A folder that is recognised by its stamps, once the clock of the file system has ticked since it was made.
    fn known<'a>(pool: &'a RunFolders, runs: &Path) -> RunFolder<'a> {
        once_ticked(|| Some(open(pool, runs)).filter(|folder| folder.folder.empty.is_some()))
    }

    #[test]
    fn whatever_is_left_in_a_folder_is_found_and_not_there_for_the_next_attempt() {
        let leaves: [(&str, bool, Leave); 9] = [
            ("outputs", false, |folder| fs::write(folder.output(), "a=b").unwrap()),
            ("a result", false, |folder| fs::write(folder.result(), "{}").unwrap()),
            ("an artifact", true, |folder| fs::write(folder.artifacts().join("a"), "").unwrap()),
            ("a file", false, |folder| fs::write(folder.work().join("a"), "").unwrap()),
            ("a folder", false, |folder| fs::create_dir(folder.work().join("a")).unwrap()),
            ("no folder for artifacts", true, |folder| fs::remove_dir(folder.artifacts()).unwrap()),
            ("another folder in its place", false, |folder| {
                fs::remove_dir(folder.work()).unwrap();
                fs::create_dir(folder.work()).unwrap();
            }),
            ("a link in its place", false, |folder| {
                fs::remove_dir(folder.work()).unwrap();
                symlink("/", folder.work()).unwrap();
            }),
            ("nothing at all", true, |folder| fs::remove_dir_all(folder.path()).unwrap()),
        ];
        for (what, is_artifact, leave) in leaves {
            let home = tempfile::tempdir().unwrap();
            let runs = home.path().join("runs");
            let pool = RunFolders::new(runs.clone());
            let folder = known(&pool, &runs);
            leave(&folder);
            assert_eq!(folder.has_artifacts(), is_artifact, "{what}");
            drop(folder);
            let next = open(&pool, &runs);
            assert!(is_empty_folder(next.artifacts()) && is_empty_folder(next.work()), "{what}");
            assert!(!next.output().exists() && !next.result().exists(), "{what}");
            assert!(
                next.folder.empty.is_none(),
                "{what}: what an empty folder is like has to be learned anew"
            );
        }
    }

    #[test]
    fn a_folder_that_nobody_touches_is_used_again_under_another_name() {
        let home = tempfile::tempdir().unwrap();
        let runs = home.path().join("runs");
        let pool = RunFolders::new(runs.clone());
        let folder = known(&pool, &runs);
        let (first, stamps) = (folder.path().to_owned(), EmptyStamps::of(folder.path()));
        assert!(!folder.has_artifacts());
        drop(folder);
        let folder = open(&pool, &runs);
        assert!(folder.path() != first && !first.exists());
        assert!(folder.folder.empty == stamps && EmptyStamps::of(folder.path()) == stamps);
        folder.keep().unwrap();
        assert!(!runs.join("uid").exists(), "nothing is kept of it");
    }
}
