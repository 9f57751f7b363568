//! One workspace of the pool: a working tree, and beside it the Git directory by which the runner knows its state. It is
//! reset by what differs: on a journaling file system, writing 20,000 files right after as many were deleted takes ten times
//! longer than the first time.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Instant;

use tempfile::NamedTempFile;

use super::form::{CheckoutForm, EVERYTHING, Leftovers, VisibleHistory, patterns};
use super::left_behind::ProcessWatch;
use super::object_cache::{ObjectCache, io};
use super::slot::{Slot, remove_all};
use super::submodules::{ModuleTree, Submodule, announce};
use super::task_git_dir::{SeenGitDir, TaskGitDir, open_runner_dir, remove, write};
use super::untouched::TrackedFilesCache;
use crate::git::command::GitCommand;
use crate::git::{GitError, ObjectId};

/// A working tree that nobody else uses.
#[derive(Debug)]
pub struct WorkingCopy {
    slot: Slot,
    /// The commit to which the runner's index was set, if it still is; the files may differ by now.
    holds: Option<ObjectId>,
    /// Which paths the runner's index says are to be there, as patterns of Git; all when empty.
    sparse: Vec<u8>,
    /// The submodules in it.
    modules: Vec<ModuleTree>,
    processes: ProcessWatch,
    tracked: TrackedFilesCache,
    git_dir: Option<SeenGitDir>,
}

/// What differs from the commit that was checked out.
#[derive(Debug, Default)]
pub struct ChangedPaths {
    /// Tracked files that changed or are gone, and new ones that are not ignored.
    pub paths: BTreeSet<Vec<u8>>,
    /// Repositories that were made inside.
    pub repositories: BTreeSet<Vec<u8>>,
    /// Files inside of submodules, which belong to other repositories.
    pub in_submodules: BTreeSet<Vec<u8>>,
    /// Whether there were more than can be listed.
    pub is_cut: bool,
}

impl WorkingCopy {
    /// A free one below `pool`, or a new one.
    ///
    /// # Errors
    /// When none can be made.
    pub fn take(pool: &Path) -> Result<Self, GitError> {
        Ok(Self {
            slot: Slot::take(pool)?,
            holds: None,
            sparse: Vec::new(),
            modules: Vec::new(),
            processes: ProcessWatch::default(),
            tracked: TrackedFilesCache::default(),
            git_dir: None,
        })
    }

    /// The working tree.
    #[must_use]
    pub fn tree(&self) -> PathBuf {
        self.slot().join("tree")
    }

    pub(super) fn slot(&self) -> &Path {
        self.slot.path()
    }

    /// The runner's own Git directory of this workspace.
    fn runner(&self) -> PathBuf {
        self.slot().join("runner")
    }

    /// Makes the working tree hold the files of a commit and nothing else, with a fresh `.git` at that commit. `tags` are
    /// lines of `packed-refs`.
    ///
    /// # Errors
    /// When an object is missing, or something in the way cannot be removed.
    pub fn check_out(
        &mut self,
        cache: &ObjectCache,
        commit: ObjectId,
        tags: &str,
        form: &CheckoutForm<'_>,
    ) -> Result<(), GitError> {
        let started = Instant::now();
        let keep = form.leftovers == Leftovers::KeepIgnored;
        let sparse = patterns(form.sparse.iter().map(String::as_bytes));
        let is_at = self.holds == Some(commit) && self.sparse == sparse;
        let reset = keep || !is_at || !self.is_clean(commit)?;
        if reset {
            self.holds = None;
            // Git takes what is left of it for a repository inside, and goes around it.
            remove(&self.tree().join(".git"))?;
            self.open_runner(cache)?;
            self.set_sparse(sparse)?;
            self.reset(commit, form.leftovers)?;
            if cache.is_partial() {
                self.refuse_gaps(self.git(commit))?;
            }
        }
        let history = VisibleHistory::of(cache, commit, form.depth, tags)?;
        let index = self.runner().join("index");
        let git_dir = TaskGitDir::new(cache, commit, history, (index, &self.sparse));
        git_dir.renew_seen(&self.tree(), &mut self.git_dir, || self.slot.written_now())?;
        self.holds = Some(commit);
        let duration_ms = started.elapsed().as_millis();
        tracing::debug!(%commit, workspace = %self.slot().display(), reset, duration_ms, "workspace ready");
        Ok(())
    }

    fn reset(&mut self, commit: ObjectId, leftovers: Leftovers) -> Result<(), GitError> {
        self.remove_untracked(commit, leftovers)?;
        let output = self.git(commit).args(["read-tree", "--reset", "-u", &commit.to_string()]).run()?;
        if !output.success {
            return Err(GitError::Program { doing: "check out the workspace", detail: output.stderr });
        }
        if leftovers == Leftovers::KeepIgnored {
            // Once more, by the rules of the commit: what the last task's own `.gitignore` hid would count as a change of
            // the next one.
            self.clean(commit, leftovers)?;
        }
        // All of it is there again: from here on nobody has to compare each path with a pattern.
        if self.sparse == EVERYTHING.as_bytes() {
            self.sparse.clear();
            remove(&self.sparse_file())?;
        }
        Ok(())
    }

    fn sparse_file(&self) -> PathBuf {
        self.runner().join("info/sparse-checkout")
    }

    /// Says which paths are to be there from the next reset on; all when empty.
    fn set_sparse(&mut self, wanted: Vec<u8>) -> Result<(), GitError> {
        let file = self.sparse_file();
        // Also where an earlier process has left it: the index that goes with it is still there, and leaves files out.
        let everything = || if file.exists() { EVERYTHING.as_bytes().to_vec() } else { Vec::new() };
        self.sparse = if wanted.is_empty() { everything() } else { wanted };
        if self.sparse.is_empty() { Ok(()) } else { self.write_sparse(&self.sparse) }
    }

    fn write_sparse(&self, patterns: &[u8]) -> Result<(), GitError> {
        let info = self.runner().join("info");
        fs::create_dir_all(&info).map_err(io("make the directory", &info))?;
        write(&self.sparse_file(), patterns)
    }

    /// Puts the files of a commit into the working tree, which was checked out at `base` and goes on to count as that: what differs
    /// are changes that nobody has committed.
    ///
    /// # Errors
    /// When an object is missing, or a file cannot be written.
    pub fn put_over(
        &self,
        cache: &ObjectCache,
        (base, commit): (ObjectId, ObjectId),
    ) -> Result<(), GitError> {
        // A copy, so that only what differs is written, and both indexes of the workspace stay those of the base.
        let index = NamedTempFile::new_in(self.slot()).map_err(io("make a file in", self.slot()))?;
        fs::copy(self.runner().join("index"), index.path()).map_err(io("copy", index.path()))?;
        let git = || self.git(base).env("GIT_INDEX_FILE", index.path());
        let run = |program: GitCommand| {
            let output = program.run()?;
            let failed = || GitError::Program { doing: "put unfinished changes back", detail: output.stderr };
            if output.success { Ok(output.stdout) } else { Err(failed()) }
        };
        let [from, to] = [base, commit].map(|id| id.to_string());
        if !self.sparse.is_empty() {
            // What the task wrote where nothing was to be comes back as well. By the runner's own index, which says that it is not
            // there, it counts as changed as soon as it is.
            let changed = run(self.git(base).args(["diff-tree", "-r", "-z", "--name-only", &from, &to]))?;
            let changed = changed.split(|byte| *byte == 0).filter(|path| !path.is_empty());
            self.write_sparse(&[self.sparse.as_slice(), &patterns(changed)].concat())?;
        }
        let put = run(git().args(["read-tree", "--reset", "-u", &to]));
        if !self.sparse.is_empty() {
            self.write_sparse(&self.sparse)?;
        }
        put?;
        if cache.is_partial() {
            self.refuse_gaps(git())?;
        }
        tracing::debug!(%base, %commit, workspace = %self.slot().display(), "unfinished changes put back");
        Ok(())
    }

    /// Notes to which commit the runner's index was set, by taking in what changed; none when it is of no commit.
    pub fn set_holds(&mut self, commit: Option<ObjectId>) {
        self.holds = commit;
    }

    /// Whether it was set to this commit last, so that resetting it is quick.
    #[must_use]
    pub fn is_at(&self, commit: ObjectId) -> bool {
        self.holds == Some(commit)
    }

    /// Whether no file differs from the index and none was added, ignored ones included. One look instead of a reset: most
    /// tasks leave the files as they were.
    fn is_clean(&self, commit: ObjectId) -> Result<bool, GitError> {
        if self.is_untouched() {
            return Ok(true);
        }
        let output = self
            .git(commit)
            .args(["ls-files", "-z", "--modified", "--deleted", "--others", "--directory"])
            .run()?;
        Ok(output.success && output.stdout.is_empty())
    }

    fn is_untouched(&self) -> bool {
        let index = self.runner().join("index");
        self.tracked.is_untouched(&self.tree(), &index, || self.slot.written_now())
    }

    /// Whether processes that somebody left behind still work in it.
    #[must_use]
    pub fn is_in_use(&mut self) -> bool {
        let tree = self.tree();
        self.processes.is_in(&tree)
    }

    /// Gives it up: nobody gets it again before a day has passed.
    pub fn spoil(self) {
        tracing::info!(workspace = %self.slot().display(), "workspace spoiled; it is not used again");
        // The mark first: without it, the next runner would reset what somebody may still write to.
        let marked = self.slot.spoil();
        if !marked || !remove_all(&self.tree()) {
            tracing::debug!(workspace = %self.slot().display(), "the spoiled workspace cannot be removed yet");
        }
    }

    /// A run of the program on the working tree, with the runner's Git directory and the attributes of a commit.
    pub(super) fn git(&self, attributes: ObjectId) -> GitCommand {
        let program = GitCommand::isolated(&self.tree());
        // With it, a file counts as soon as a task writes it, wherever that is.
        let sparse = ["-c", "core.sparseCheckout=true", "-c", "core.sparseCheckoutCone=false"];
        let program = if self.sparse.is_empty() { program } else { program.args(sparse) };
        program
            .env("GIT_DIR", self.runner())
            .env("GIT_WORK_TREE", self.tree())
            // The `.gitattributes` of the working tree are the task's.
            .env("GIT_ATTR_SOURCE", attributes.to_string())
    }

    fn open_runner(&self, cache: &ObjectCache) -> Result<(), GitError> {
        let tree = self.tree();
        let runner = self.runner();
        fs::create_dir_all(&tree).map_err(io("make the directory", &tree))?;
        open_runner_dir(&runner, cache)?;
        copy_if_there(&cache.dir().join("shallow"), &runner.join("shallow"))
    }

    fn remove_untracked(&self, commit: ObjectId, leftovers: Leftovers) -> Result<(), GitError> {
        let index = self.runner().join("index");
        // What a killed runner left: only the holder of the slot's lock runs Git here.
        let _ = fs::remove_file(self.runner().join("index.lock"));
        let is_fresh = fs::read_dir(self.tree()).is_ok_and(|mut entries| entries.next().is_none());
        if is_fresh {
            let _ = fs::remove_file(index);
            return Ok(());
        }
        self.clean(commit, leftovers)
    }

    fn clean(&self, commit: ObjectId, leftovers: Leftovers) -> Result<(), GitError> {
        let flags = match leftovers {
            Leftovers::Remove => "-ffdxq",
            Leftovers::KeepIgnored => "-ffdq",
        };
        let output = self.git(commit).args(["clean", flags]).run()?;
        if output.success {
            return Ok(());
        }
        Err(GitError::Program { doing: "clean the workspace", detail: output.stderr })
    }

    /// A checkout of a partial clone may end well with files missing, and what is missing would count as deleted.
    fn refuse_gaps(&self, program: GitCommand) -> Result<(), GitError> {
        let output = program.args(["ls-files", "-z", "--deleted"]).run()?;
        let first = output.stdout.split(|byte| *byte == 0).find(|path| !path.is_empty());
        match first {
            None if output.success => Ok(()),
            Some(path) => Err(GitError::BadPath {
                path: super::object_cache::shown(path),
                problem: "could not be checked out",
            }),
            None => Err(GitError::Program { doing: "check the workspace", detail: output.stderr }),
        }
    }

    /// What differs from the commit that was checked out.
    ///
    /// # Errors
    /// When the working tree cannot be read.
    pub fn changed(&self, base: ObjectId) -> Result<ChangedPaths, GitError> {
        if self.modules.is_empty() && self.is_untouched() {
            return Ok(ChangedPaths::default());
        }
        // What is in them belongs to the task by now, and Git would read there which commit it is.
        self.modules.iter().try_for_each(ModuleTree::hide_git_dir)?;
        let changed = self.list_changed(base);
        self.modules.iter().try_for_each(ModuleTree::show_git_dir)?;
        changed
    }

    fn list_changed(&self, base: ObjectId) -> Result<ChangedPaths, GitError> {
        // Not `status` or `add`: both start Git inside submodules, with the configuration that is found there.
        let args = ["ls-files", "-z", "--modified", "--deleted", "--others", "--exclude-standard"];
        let output = self.git(base).args(args).run()?;
        if !output.success {
            return Err(GitError::Program { doing: "list what changed", detail: output.stderr });
        }
        let mut changed = ChangedPaths { is_cut: output.is_cut(), ..ChangedPaths::default() };
        for path in output.stdout.split(|byte| *byte == 0).filter(|path| !path.is_empty()) {
            match path.strip_suffix(b"/") {
                Some(repository) => changed.repositories.insert(repository.to_vec()),
                None => changed.paths.insert(path.to_vec()),
            };
        }
        for module in &self.modules {
            changed.in_submodules.extend(module.changed()?);
        }
        Ok(changed)
    }

    /// Writes submodules into the working tree, whose commit was just checked out where nothing was: each with the cache of its
    /// objects, and with its address for the task's Git.
    ///
    /// # Errors
    /// When an object is missing, or a file cannot be written.
    pub fn check_out_modules(
        &mut self,
        modules: &[(&Submodule, &ObjectCache, &str)],
    ) -> Result<(), GitError> {
        let folder = self.slot().join("modules");
        fs::create_dir_all(&folder).map_err(io("make the directory", &folder))?;
        for (number, (module, cache, _)) in modules.iter().enumerate() {
            let runner = folder.join(number.to_string());
            self.modules.push(ModuleTree::check_out(&self.tree(), runner, module, cache)?);
        }
        announce(&self.tree(), modules.iter().map(|(module, _, address)| (module.name.as_str(), *address)))
    }

    /// Whether there are submodules in it.
    #[must_use]
    pub fn has_modules(&self) -> bool {
        !self.modules.is_empty()
    }

    /// Removes all that is in it, also what a runner has left that was killed.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub fn empty(&mut self) -> Result<(), GitError> {
        self.holds = None;
        self.sparse.clear();
        self.modules.clear();
        for part in ["tree", "runner", "modules"] {
            let path = self.slot().join(part);
            if !remove_all(&path) {
                let source = std::io::Error::other("a task has left what cannot be removed");
                return Err(GitError::Io { doing: "remove", path, source });
            }
        }
        Ok(())
    }
}

impl ChangedPaths {
    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        let count = self.paths.len() + self.repositories.len() + self.in_submodules.len();
        u64::try_from(count).unwrap_or(u64::MAX)
    }
}

fn copy_if_there(from: &Path, into: &Path) -> Result<(), GitError> {
    match fs::copy(from, into) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(io("copy", from)(error)),
        _ => Ok(()),
    }
}
