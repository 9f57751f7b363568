//! Updating index and working tree of a checked-out branch to a commit of a few paths. The index is read and written by
//! the `git` program, which knows split, sparse and untracked-cache forms; libgit2 drops what it does not know.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{io, thread};

use git2::RepositoryState;

use crate::git::command::GitCommand;
use crate::git::error::printable;
use crate::git::refs::{PATIENCE, explain};
use crate::git::{EntryMode, GitError, ObjectId, Repo, TreeEntry};

/// How many paths go into the arguments of one run, whose length the kernel limits.
const PATHS_AT_ONCE: usize = 500;

/// How often a lock of Git is looked at.
const PAUSE: Duration = Duration::from_millis(50);

pub(super) struct WorkingTreeUpdate<'r> {
    repo: &'r Repo,
    work_tree: &'r Path,
}

/// What the working tree holds at one path.
enum PathState {
    Nothing,
    File(Vec<u8>),
}

impl<'r> WorkingTreeUpdate<'r> {
    pub(super) fn of(repo: &'r Repo) -> Result<Self, GitError> {
        let work_tree =
            repo.work_tree().ok_or_else(|| GitError::NotARepository { path: repo.git_dir().to_owned() })?;
        Ok(Self { repo, work_tree })
    }

    /// Updates index and working tree of the edited paths to `tree`, if each is what `base` or `tree` holds.
    pub(super) fn follow(
        &self,
        base: Option<ObjectId>,
        tree: ObjectId,
        edits: &BTreeMap<String, Option<Vec<u8>>>,
    ) -> Result<(), GitError> {
        self.refuse_operations()?;
        // Every path is checked before the first is written: a refusal leaves everything as it was.
        let staged = self.staged(edits)?;
        let mut writes = Vec::new();
        let mut index = Vec::new();
        for (path, content) in edits {
            let old = base.map(|base| self.repo.entry(base, path)).transpose()?.flatten();
            let new = self.repo.entry(tree, path)?;
            let entry = staged.get(path.as_bytes());
            self.check_staged(path, entry, old.as_ref(), new.as_ref())?;
            let found = self.inspect(path)?;
            // A file that already holds the new content is left alone, also its time: editors and build tools take a
            // new time for a change.
            if !self.is_as_wanted(&found, content.as_deref()) {
                self.check_clean(path, &found, old.as_ref())?;
                writes.push((path, content, new.as_ref().map(|new| new.mode)));
            }
            // An entry that is right is not written again: `--index-info` writes one without `stat` data, and the next
            // `git status` would have to read the file.
            if !same(entry, new.as_ref()) {
                index.push((path, new));
            }
        }
        // Before the files: a lock that a killed program left would else be met when they are written, and the next `git add -A`
        // would commit what nobody was told of.
        if !index.is_empty() {
            await_lock(&self.repo.git_dir().join("index.lock"))?;
        }
        for (path, content, mode) in writes {
            match content {
                Some(content) => self.write(path, content, mode == Some(EntryMode::Executable))?,
                None => self.remove(path)?,
            }
        }
        tracing::debug!(paths = edits.len(), staged = index.len(), "working tree updated");
        if index.is_empty() { Ok(()) } else { self.stage(&index) }
    }

    fn refuse_operations(&self) -> Result<(), GitError> {
        // In the middle of a merge, the next `git commit` of the user would take our paths for its own.
        let operation = match self.repo.git2().state() {
            RepositoryState::Clean => return Ok(()),
            RepositoryState::Merge => "merge",
            RepositoryState::Revert | RepositoryState::RevertSequence => "revert",
            RepositoryState::CherryPick | RepositoryState::CherryPickSequence => "cherry-pick",
            RepositoryState::Bisect => "bisection",
            _ => "rebase",
        };
        Err(GitError::Busy { operation })
    }

    /// The index entries of the edited paths, with whether each is without a conflict.
    fn staged(
        &self,
        edits: &BTreeMap<String, Option<Vec<u8>>>,
    ) -> Result<BTreeMap<Vec<u8>, Option<TreeEntry>>, GitError> {
        let paths: Vec<&String> = edits.keys().collect();
        let mut staged = BTreeMap::new();
        for some in paths.chunks(PATHS_AT_ONCE) {
            // `ls-files` shows all stages: a path in conflict has none with number 0.
            let output = GitCommand::new(self.work_tree, &[])
                .args(["ls-files", "--stage", "-z", "--full-name", "--"])
                .args(some)
                .run()?;
            if !output.success {
                return Err(GitError::Program { doing: "read the index", detail: output.stderr });
            }
            for line in output.stdout.split(|byte| *byte == 0).filter(|line| !line.is_empty()) {
                let text = String::from_utf8_lossy(line);
                let mut fields = text.split([' ', '\t']);
                let mode = fields.next();
                let id = fields.next();
                let stage = fields.next();
                let Some(tab) = line.iter().position(|byte| *byte == b'\t') else { continue };
                let path = line.get(tab + 1..).unwrap_or_default().to_vec();
                let entry = match (mode, id.and_then(|id| id.parse().ok()), stage) {
                    (Some(mode), Some(id), Some("0")) => Some(TreeEntry {
                        name: path.clone(),
                        id,
                        mode: EntryMode::from_octal(mode.as_bytes()),
                    }),
                    _ => None,
                };
                staged.insert(path, entry);
            }
        }
        Ok(staged)
    }

    fn check_staged(
        &self,
        path: &str,
        staged: Option<&Option<TreeEntry>>,
        old: Option<&TreeEntry>,
        new: Option<&TreeEntry>,
    ) -> Result<(), GitError> {
        // What is staged and different exists nowhere else; what is staged as `new` comes from a run that was killed.
        if same(staged, old) || same(staged, new) { Ok(()) } else { Err(dirty(path)) }
    }

    /// Inspects a path of the working tree. A symbolic link in it is refused: it could lead out of the repository.
    fn inspect(&self, path: &str) -> Result<PathState, GitError> {
        let mut place = self.work_tree.to_owned();
        let mut names = path.split('/').peekable();
        while let Some(name) = names.next() {
            place.push(name);
            let last = names.peek().is_none();
            let metadata = match fs::symlink_metadata(&place) {
                Ok(metadata) => metadata,
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(PathState::Nothing),
                Err(source) => return Err(GitError::Io { doing: "inspect", path: place, source }),
            };
            if metadata.is_symlink() {
                return Err(refused(path, EntryMode::Symlink));
            }
            if last && metadata.is_file() {
                let content = fs::read(&place);
                return content.map(PathState::File).map_err(|source| GitError::Io {
                    doing: "read",
                    path: place,
                    source,
                });
            }
            if last && metadata.is_dir() {
                // Git does not track empty directories.
                return if is_empty(&place) {
                    Ok(PathState::Nothing)
                } else {
                    Err(refused(path, EntryMode::Tree))
                };
            }
            if !metadata.is_dir() {
                return if metadata.is_file() { Ok(PathState::Nothing) } else { Err(dirty(path)) };
            }
        }
        Ok(PathState::Nothing)
    }

    fn is_as_wanted(&self, found: &PathState, content: Option<&[u8]>) -> bool {
        match (found, content) {
            (PathState::Nothing, None) => true,
            (PathState::File(found), Some(content)) => found == content,
            _ => false,
        }
    }

    /// Refuses to lose what is only in the working tree.
    fn check_clean(&self, path: &str, found: &PathState, old: Option<&TreeEntry>) -> Result<(), GitError> {
        let clean = match (found, old) {
            (PathState::Nothing, None) => true,
            // Removed by the user without `git rm`, or not tracked: neither can be restored from Git.
            (PathState::Nothing, Some(_)) | (PathState::File(_), None) => false,
            (PathState::File(found), Some(old)) => {
                let committed = self.repo.blob(old.id, u64::MAX)?;
                // Line ends and clean filters make the file differ from the blob although nothing was edited.
                *found == committed || self.repo.is_content_of(path, found, old.id)?
            }
        };
        if clean { Ok(()) } else { Err(dirty(path)) }
    }

    /// Writes a file under a temporary name and renames it: an editor never reads half of it.
    fn write(&self, path: &str, content: &[u8], executable: bool) -> Result<(), GitError> {
        let place = self.work_tree.join(path);
        let directory = place.parent().unwrap_or(self.work_tree);
        let write = || -> io::Result<()> {
            self.make_room(directory)?;
            fs::create_dir_all(directory)?;
            if place.is_dir() {
                fs::remove_dir(&place)?;
            }
            let mut file = tempfile::Builder::new()
                .prefix(".planspec-")
                // The user's `umask` takes its part off, as for files that Git writes; `tempfile` alone would make them
                // private.
                .permissions(fs::Permissions::from_mode(if executable { 0o777 } else { 0o666 }))
                .tempfile_in(directory)?;
            file.write_all(content)?;
            file.persist(&place).map_err(|error| error.error)?;
            Ok(())
        };
        write().map_err(|source| GitError::Io { doing: "write", path: place.clone(), source })
    }

    /// Removes a file that is in the way of `directory`; the same edit removes it from the branch.
    fn make_room(&self, directory: &Path) -> io::Result<()> {
        let mut ancestors = directory.ancestors().take_while(|place| *place != self.work_tree);
        match ancestors.find(|place| place.is_file()) {
            Some(file) => fs::remove_file(file),
            None => Ok(()),
        }
    }

    fn remove(&self, path: &str) -> Result<(), GitError> {
        let place = self.work_tree.join(path);
        match fs::remove_file(&place) {
            Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Err(GitError::Io { doing: "remove", path: place, source: error });
            }
            _ => {}
        }
        for directory in place.ancestors().skip(1).take_while(|place| *place != self.work_tree) {
            // A directory goes with its last file, as with `git rm`; removing one with files in it fails.
            if fs::remove_dir(directory).is_err() {
                break;
            }
        }
        Ok(())
    }

    /// Writes the index entries of these paths.
    fn stage(&self, entries: &[(&String, Option<TreeEntry>)]) -> Result<(), GitError> {
        let mut input = Vec::new();
        let mut add = |mode: &[u8], id: ObjectId, path: &str| {
            input.extend_from_slice(mode);
            input.extend_from_slice(format!(" {id}\t{path}\0").as_bytes());
        };
        // Removals first: a file may make room for a directory of its name.
        for (path, entry) in entries {
            if entry.is_none() {
                // Mode 0 is how `update-index --index-info` removes an entry; it takes no other word for it.
                add(b"0", ObjectId::from_bytes([0; 20]), path);
            }
        }
        for (path, entry) in entries {
            if let Some(entry) = entry {
                add(entry.mode.octal(), entry.id, path);
            }
        }
        // Editors and prompts run `git status`, which takes this lock for some milliseconds.
        let lock: PathBuf = self.repo.git_dir().join("index.lock");
        let mut waited = Duration::ZERO;
        loop {
            let output = GitCommand::new(self.work_tree, &[])
                // From standard input: paths of any length and number, and no check against the working tree.
                .args(["update-index", "-z", "--index-info"])
                .input(input.clone())
                .run()?;
            if output.success {
                return Ok(());
            }
            match explain(&lock) {
                Some(_) if waited < PATIENCE => {
                    tracing::debug!(lock = %lock.display(), waited_ms = waited.as_millis(), "waiting for the index");
                    thread::sleep(PAUSE);
                    waited += PAUSE;
                }
                Some(locked) => return Err(locked),
                None => return Err(GitError::Program { doing: "write the index", detail: output.stderr }),
            }
        }
    }
}

/// Waits until a lock of Git is gone, which takes milliseconds where a program holds it.
pub(super) fn await_lock(lock: &Path) -> Result<(), GitError> {
    let mut waited = Duration::ZERO;
    while let Some(locked) = explain(lock) {
        if waited >= PATIENCE {
            return Err(locked);
        }
        thread::sleep(PAUSE);
        waited += PAUSE;
    }
    Ok(())
}

/// Whether an index entry (outer `None`: absent; inner `None`: in conflict) is an entry of a tree.
fn same(staged: Option<&Option<TreeEntry>>, entry: Option<&TreeEntry>) -> bool {
    match (staged, entry) {
        (None, None) => true,
        (Some(Some(staged)), Some(entry)) => staged.id == entry.id && staged.mode == entry.mode,
        _ => false,
    }
}

// A directory that cannot be read counts as full: nothing in it may get lost.
fn is_empty(directory: &Path) -> bool {
    fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_none())
}

fn dirty(path: &str) -> GitError {
    GitError::DirtyPath { path: printable(path.as_bytes()) }
}

fn refused(path: &str, mode: EntryMode) -> GitError {
    GitError::RefusedEntry { path: printable(path.as_bytes()), mode }
}
