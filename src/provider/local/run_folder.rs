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
    spares: Vec<PathBuf>,
    next: u64,
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
        let path = match self.renamed_spare() {
            Some(path) => path,
            None => self.new_folder()?,
        };
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
            path,
            run_dir: run_dir.to_owned(),
            has_artifacts: OnceCell::new(),
        })
    }

    /// A spare folder under a new name: a process that outlived its attempt does not find the next one's files. Spares vanish when
    /// somebody clears the cache.
    fn renamed_spare(&self) -> Option<PathBuf> {
        let (spare, path) = {
            let mut state = self.state();
            let spare = state.spares.pop()?;
            (spare, state.next_path(None)?)
        };
        std::fs::rename(spare, &path).is_ok().then_some(path)
    }

    fn new_folder(&self) -> io::Result<PathBuf> {
        let path = {
            let mut state = self.state();
            let base = self.base(&mut state)?;
            state.next_path(Some(&base)).ok_or(io::ErrorKind::NotFound)?
        };
        create(&path.join(ARTIFACTS))?;
        create(&path.join(WORK))?;
        Ok(path)
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
}

impl RunFolder<'_> {
    /// The same, with the folder for artifacts of another: what one attempt leaves is kept together.
    pub(super) fn with_artifacts_of(mut self, other: &RunFolder<'_>) -> Self {
        self.artifacts.clone_from(&other.artifacts);
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
        *self.has_artifacts.get_or_init(|| !is_empty_folder(&self.artifacts))
    }

    fn move_out(&self, from: &Path, name: &str) -> io::Result<()> {
        create(&self.run_dir)?;
        match std::fs::rename(from, self.run_dir.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
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
        if self.is_clean() {
            self.pool.state().spares.push(std::mem::take(&mut self.path));
        } else {
            // What cannot be removed now goes with the pool, or with the cache.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

fn is_empty_folder(path: &Path) -> bool {
    all_entries(path, |_| false)
}

/// Whether this is true of every entry of a folder; not where it is no folder, but a link to one.
// With four calls of the system where the standard library makes six: this is asked four times for each attempt.
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
