//! A plain private checkout of a commit: regular files and directories, no `.git`, nothing outside the directory.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Instant;

use crate::git::error::printable;
use crate::git::objects::problem_with_name;
use crate::git::{EntryMode, GitError, ObjectId, Repo, TreeEntry};

/// Directories nested deeper than this were made to break something: each level is a frame of recursion.
const DEPTH_LIMIT: usize = 256;

impl Repo {
    /// Writes the files of a commit into the directory `into`, which must be empty or absent. Executable
    /// files stay executable; symbolic links and submodules are left out, as they point outside; filters and line-end
    /// conversions are not applied, as filters are programs that the configuration names.
    ///
    /// # Errors
    /// When something is in the way, a name is unsafe, or an object is missing; what was written stays.
    pub fn export(&self, commit: ObjectId, into: &Path) -> Result<(), GitError> {
        let started = Instant::now();
        let tree = self.commit(commit)?.tree;
        fs::create_dir_all(into).map_err(io("make the directory", into))?;
        let mut content = fs::read_dir(into).map_err(io("read the directory", into))?;
        // Something that lies there already would be taken for a part of the commit by whatever runs in it.
        if content.next().is_some() {
            return Err(GitError::BadPath {
                path: printable(into.as_os_str().as_encoded_bytes()),
                problem: "is not empty",
            });
        }
        self.export_tree(tree, into, 0)?;
        tracing::debug!(%commit, into = %into.display(), duration_ms = started.elapsed().as_millis(), "commit exported");
        Ok(())
    }

    fn export_tree(&self, tree: ObjectId, into: &Path, depth: usize) -> Result<(), GitError> {
        if depth > DEPTH_LIMIT {
            return Err(GitError::BadTree { id: tree, problem: "is nested too deeply" });
        }
        for entry in self.entries(tree)? {
            // A tree may hold any bytes as a name: `..` or `a/b` would write outside of `into`.
            if let Some(problem) = problem_with_name(&entry.name) {
                return Err(GitError::BadPath { path: printable(&entry.name), problem });
            }
            let path = into.join(OsStr::from_bytes(&entry.name));
            match entry.mode {
                EntryMode::Tree => {
                    // `create_dir` fails on what exists, so this cannot be a symbolic link that somebody put there.
                    fs::create_dir(&path).map_err(io("make the directory", &path))?;
                    self.export_tree(entry.id, &path, depth + 1)?;
                }
                EntryMode::Blob | EntryMode::Executable => self.export_file(&entry, &path)?,
                EntryMode::Symlink | EntryMode::Submodule => {
                    // Left out and no error: a repository with links in other places must still be able to run tasks.
                    tracing::debug!(path = %path.display(), "left out of the export");
                }
            }
        }
        Ok(())
    }

    fn export_file(&self, entry: &TreeEntry, path: &Path) -> Result<(), GitError> {
        let odb = self.odb()?;
        let oid = entry.id.oid().map_err(GitError::doing("bad object id"))?;
        let object = odb.read(oid).map_err(|error| self.missing("blob", entry.id, error))?;
        let mode = if entry.mode == EntryMode::Executable { 0o777 } else { 0o666 };
        let mut options = OpenOptions::new();
        // Never into an existing file: a link, or the same name in another case on a file system that ignores case.
        options.write(true).create_new(true).mode(mode);
        let written = options.open(path).and_then(|mut file| file.write_all(object.data()));
        written.map_err(io("write", path))
    }
}

fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> GitError {
    let path = path.to_owned();
    move |source| GitError::Io { doing, path, source }
}
