//! What a task changed, as objects in a place of their own: looked at there, and handed on only when nothing is wrong with it.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use tempfile::TempDir;

use super::object_cache::{ObjectCache, install, io, packed};
use super::working_copy::{ChangedPaths, WorkingCopy};
use crate::git::command::GitCommand;
use crate::git::{EntryMode, GitError, ObjectId, Repo, Signature};

/// What `update-index` says of a path that no working tree may hold.
const IGNORED: &str = "Ignoring path ";

/// What lists the differences of two trees as [`parse_changes`] reads them.
pub(super) const LIST_CHANGES: [&str; 9] = [
    "diff-tree",
    "-r",
    "-z",
    "--raw",
    "--numstat",
    // A moved file is one that is gone and a new one.
    "--no-renames",
    "--full-index",
    // External programs of attributes would need a configuration, and there is none; said all the same.
    "--no-ext-diff",
    "--no-textconv",
];

/// A file that differs between a base and a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileChange {
    /// The path; hostile bytes.
    pub path: Vec<u8>,
    /// What was there, with its object; none for a new file.
    pub before: Option<(EntryMode, ObjectId)>,
    /// What is there, with its object; none for a file that is gone.
    pub after: Option<(EntryMode, ObjectId)>,
}

/// A file as somebody else says that it became, who has no part in this repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandedOverFile {
    /// The path from the root, with `/`.
    pub path: String,
    /// What it is, and a file that holds its content, or where a link leads; none for one that is gone.
    pub content: Option<(EntryMode, PathBuf)>,
}

/// Who makes a result, when, and what is said of it.
#[derive(Debug, Clone)]
pub struct NewCommit {
    /// Who did the work.
    pub author: Signature,
    /// Who took it in.
    pub committer: Signature,
    /// When.
    pub at: Timestamp,
    /// The message, trailers included.
    pub message: String,
}

impl NewCommit {
    /// A run of `commit-tree` in the name of these people, which reads the message from its input.
    // By environment: the program would otherwise take what `user.name` says at this moment.
    pub(super) fn signed(&self, program: GitCommand) -> GitCommand {
        let at = format!("{} +0000", self.at.as_second());
        program
            .env("GIT_AUTHOR_NAME", &self.author.name)
            .env("GIT_AUTHOR_EMAIL", &self.author.email)
            .env("GIT_AUTHOR_DATE", &at)
            .env("GIT_COMMITTER_NAME", &self.committer.name)
            .env("GIT_COMMITTER_EMAIL", &self.committer.email)
            .env("GIT_COMMITTER_DATE", &at)
            .input(self.message.clone().into_bytes())
    }
}

/// Changes as objects that nobody else sees yet. Dropped, they are gone.
pub struct Quarantine<'w> {
    /// The working copy in which they were made; none where they came from elsewhere.
    copy: Option<&'w WorkingCopy>,
    cache: &'w ObjectCache,
    base: ObjectId,
    objects: TempDir,
    tree: ObjectId,
    /// The files that differ.
    pub changes: Vec<FileChange>,
    /// How many lines are new.
    pub insertions: u64,
    /// How many lines are gone.
    pub deletions: u64,
}

impl<'w> Quarantine<'w> {
    /// Takes in these paths.
    ///
    /// # Errors
    /// When a file cannot be read, or an object not be written.
    pub fn take_in(
        copy: &'w WorkingCopy,
        cache: &'w ObjectCache,
        base: ObjectId,
        changed: &ChangedPaths,
    ) -> Result<Self, GitError> {
        let objects = tempfile::Builder::new().prefix("quarantine-").tempdir_in(copy.slot());
        let objects = objects.map_err(io("make a directory in", copy.slot()))?;
        let quarantine = Self::empty(Some(copy), cache, base, objects);
        let mut input = Vec::new();
        for path in &changed.paths {
            input.extend_from_slice(path);
            input.push(0);
        }
        // From standard input: paths of any number, which no shell and no pattern sees. What is left out of the workspace is never
        // taken for removed, also where a file there vanishes in this moment.
        let program = quarantine.git().args([
            "update-index",
            "-z",
            "--add",
            "--remove",
            "--ignore-skip-worktree-entries",
            "--stdin",
        ]);
        quarantine.run(program.input(input), "read what changed")?;
        quarantine.write_tree()
    }

    /// Takes in files that came from elsewhere, as changes of a commit that the cache has. No file of theirs is ever written
    /// under its own name: Git makes a tree of them, and refuses what no working tree may hold.
    ///
    /// # Errors
    /// [`GitError::BadPath`] for a path that no tree may have; when an object cannot be written.
    pub fn of_files(
        cache: &'w ObjectCache,
        base: ObjectId,
        files: &[HandedOverFile],
    ) -> Result<Self, GitError> {
        if let Some(file) = files.iter().find(|file| !is_sound(&file.path)) {
            let path = super::object_cache::shown(file.path.as_bytes());
            return Err(GitError::BadPath { path, problem: "is unsafe" });
        }
        let objects = tempfile::Builder::new().prefix("quarantine-").tempdir_in(cache.dir());
        let objects = objects.map_err(io("make a directory in", cache.dir()))?;
        let quarantine = Self::empty(None, cache, base, objects);
        let read = quarantine.git().args(["read-tree", &base.to_string()]);
        quarantine.run(read, "read the base of a result")?;
        let blobs = quarantine.write_blobs(files)?;
        let mut blobs = blobs.iter();
        let nothing = "0".repeat(base.to_string().len());
        // What is gone first: a folder may take the place of a file.
        let (mut gone, mut new) = (Vec::new(), Vec::new());
        for file in files {
            let (list, mode, id) = match &file.content {
                None => (&mut gone, &b"0"[..], nothing.as_str()),
                Some((mode, _)) => (&mut new, mode.octal(), blobs.next().ok_or_else(malformed)?.as_str()),
            };
            list.extend_from_slice(mode);
            list.extend_from_slice(format!(" {id}\t{}\0", file.path).as_bytes());
        }
        gone.append(&mut new);
        let program = quarantine.git().args(["update-index", "-z", "--index-info"]);
        let output = program.input(gone).run()?;
        if !output.success {
            return Err(GitError::Program { doing: "make the tree of a result", detail: output.stderr });
        }
        // Names such as `.git`, in any spelling, Git leaves out with no more than a word.
        match output.stderr.split_once(IGNORED) {
            Some((_, path)) => {
                let path = path.lines().next().unwrap_or_default().to_owned();
                Err(GitError::BadPath { path, problem: "is unsafe" })
            }
            None => quarantine.write_tree(),
        }
    }

    /// The ids of the contents of files, in their order.
    fn write_blobs(&self, files: &[HandedOverFile]) -> Result<Vec<String>, GitError> {
        let mut input = Vec::new();
        for (_, content) in files.iter().filter_map(|file| file.content.as_ref()) {
            input.extend_from_slice(content.as_os_str().as_bytes());
            input.push(b'\n');
        }
        // As they are: filters are for files of a working tree.
        let program = self.git().args(["hash-object", "-w", "--no-filters", "--stdin-paths"]);
        let written = self.run(program.input(input), "write the files of a result")?;
        Ok(String::from_utf8_lossy(&written).lines().map(str::to_owned).collect())
    }

    fn empty(
        copy: Option<&'w WorkingCopy>,
        cache: &'w ObjectCache,
        base: ObjectId,
        objects: TempDir,
    ) -> Self {
        Self { copy, cache, base, objects, tree: base, changes: Vec::new(), insertions: 0, deletions: 0 }
    }

    fn write_tree(mut self) -> Result<Self, GitError> {
        let tree = self.run(self.git().args(["write-tree"]), "write the tree of a result")?;
        self.tree = parse_id(&tree).ok_or_else(malformed)?;
        self.compare()?;
        Ok(self)
    }

    fn git(&self) -> GitCommand {
        let program = match self.copy {
            Some(copy) => copy.git(self.base),
            // An index of its own: the cache has none, and several results may be taken in at once.
            None => {
                let program = self.cache.git().env("GIT_ATTR_SOURCE", self.base.to_string());
                program.env("GIT_INDEX_FILE", self.objects.path().join("index"))
            }
        };
        program
            .env("GIT_OBJECT_DIRECTORY", self.objects.path())
            .env("GIT_ALTERNATE_OBJECT_DIRECTORIES", self.cache.objects())
    }

    fn run(&self, program: GitCommand, doing: &'static str) -> Result<Vec<u8>, GitError> {
        let output = program.run()?;
        if output.success {
            Ok(output.stdout)
        } else {
            Err(GitError::Program { doing, detail: output.stderr })
        }
    }

    fn compare(&mut self) -> Result<(), GitError> {
        let base = self.base.to_string();
        let tree = self.tree.to_string();
        let program = self.git().args(LIST_CHANGES).args([&base, &tree]);
        let listed = self.run(program, "compare a result with its base")?;
        (self.changes, self.insertions, self.deletions) = parse_changes(&listed)?;
        Ok(())
    }

    /// Every path of the result.
    ///
    /// # Errors
    /// When its tree cannot be read.
    pub fn paths(&self) -> Result<Vec<Vec<u8>>, GitError> {
        let tree = self.tree.to_string();
        let program = self.git().args(["ls-tree", "-r", "-z", "--name-only", "--full-tree", &tree]);
        let listed = self.run(program, "list the files of a result")?;
        Ok(listed.split(|byte| *byte == 0).filter(|path| !path.is_empty()).map(<[u8]>::to_vec).collect())
    }

    /// The filter that the attributes of the base name for each of the files that are new or other than before, where they name
    /// one. None of them was run: it would be a program of the machine's, chosen by the repository.
    ///
    /// # Errors
    /// When the attributes cannot be read.
    pub fn filters(&self) -> Result<BTreeMap<Vec<u8>, String>, GitError> {
        let mut input = Vec::new();
        for change in self.changes.iter().filter(|change| change.after.is_some()) {
            input.extend_from_slice(&change.path);
            input.push(0);
        }
        let program = self.git().args(["check-attr", "-z", "--stdin", "filter"]).input(input);
        let listed = self.run(program, "read the attributes of a result")?;
        let mut parts = listed.split(|byte| *byte == 0);
        let mut found = BTreeMap::new();
        while let (Some(path), Some(_), Some(value)) = (parts.next(), parts.next(), parts.next()) {
            if !matches!(value, b"unspecified" | b"unset" | b"set") {
                found.insert(path.to_vec(), String::from_utf8_lossy(value).into_owned());
            }
        }
        Ok(found)
    }

    /// The size of a new object.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn size(&self, id: ObjectId) -> Result<u64, GitError> {
        self.with_objects(id, |odb, oid| odb.read_header(oid).map(|(size, _)| size as u64))
    }

    /// The content of a new object.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn blob(&self, id: ObjectId) -> Result<Vec<u8>, GitError> {
        self.with_objects(id, |odb, oid| odb.read(oid).map(|object| object.data().to_vec()))
    }

    fn with_objects<T>(
        &self,
        id: ObjectId,
        read: impl FnOnce(&git2::Odb<'_>, git2::Oid) -> Result<T, git2::Error>,
    ) -> Result<T, GitError> {
        let doing = || GitError::doing("cannot read an object of a result");
        let odb = git2::Odb::new().map_err(doing())?;
        for place in [self.objects.path(), &self.cache.objects()] {
            let place = place.to_str().ok_or_else(malformed)?;
            odb.add_disk_alternate(place).map_err(doing())?;
        }
        read(&odb, id.oid().map_err(doing())?).map_err(doing())
    }

    /// Commits what was taken in on top of its base, and hands the objects to the cache and to the user's repository.
    ///
    /// # Errors
    /// When an object is not as Git's `fsck` wants it, or cannot be written.
    pub fn commit(self, commit: &NewCommit, repo: &Repo) -> Result<ObjectId, GitError> {
        let tree = self.tree.to_string();
        let base = self.base.to_string();
        let program = self.git().args(["commit-tree", &tree, "-p", &base, "-F", "-"]);
        let program = commit.signed(program);
        let id = parse_id(&self.run(program, "commit a result")?).ok_or_else(malformed)?;
        // Exactly what is new: nothing else was written to the quarantine.
        let list = loose_objects(self.objects.path()).map_err(io("read", self.objects.path()))?;
        let name = self.objects.path().join("pack");
        let program = self.git().args(["pack-objects", "--quiet"]).args([&name]).input(list.into_bytes());
        let pack = packed(program, self.objects.path())?;
        install(&pack, self.cache.dir())?;
        // Not the same pack: what the cache has of earlier work, this repository may never have had, or has pruned.
        self.cache.export(id, &[self.base], repo)?;
        self.cache.complete(id)?;
        tracing::debug!(commit = %id, base = %self.base, files = self.changes.len(), "result committed");
        Ok(id)
    }
}

/// Whether a tree may have a path: Git refuses more than this, and is not asked about what would already be another path.
fn is_sound(path: &str) -> bool {
    path.split('/').all(|part| !part.is_empty() && part != "." && part != "..") && !path.contains('\0')
}

/// The ids of all single objects in an object directory, one a line.
fn loose_objects(objects: &Path) -> std::io::Result<String> {
    let mut list = String::new();
    for folder in std::fs::read_dir(objects)? {
        let folder = folder?;
        let name = folder.file_name().to_string_lossy().into_owned();
        if name.len() != 2 || !folder.file_type()?.is_dir() {
            continue;
        }
        for object in std::fs::read_dir(folder.path())? {
            list.push_str(&format!("{name}{}\n", object?.file_name().to_string_lossy()));
        }
    }
    Ok(list)
}

/// What `diff-tree -z --raw`, with or without `--numstat`, prints: the files that differ, and how many lines are new and gone.
pub(super) fn parse_changes(listed: &[u8]) -> Result<(Vec<FileChange>, u64, u64), GitError> {
    let mut changes = Vec::new();
    let mut insertions = 0;
    let mut deletions = 0;
    let mut parts = listed.split(|byte| *byte == 0).filter(|part| !part.is_empty());
    while let Some(part) = parts.next() {
        if let Some(raw) = part.strip_prefix(b":") {
            let path = parts.next().ok_or_else(malformed)?;
            changes.push(file_change(raw, path).ok_or_else(malformed)?);
        } else {
            let text = String::from_utf8_lossy(part);
            // Of binary files, both are `-`.
            let mut counts = text.split('\t').map(|count| count.parse::<u64>().unwrap_or_default());
            insertions += counts.next().unwrap_or_default();
            deletions += counts.next().unwrap_or_default();
        }
    }
    Ok((changes, insertions, deletions))
}

/// A line of `diff-tree --raw`, without its colon: `100644 100755 <id> <id> M`.
fn file_change(raw: &[u8], path: &[u8]) -> Option<FileChange> {
    let text = std::str::from_utf8(raw).ok()?;
    let mut fields = text.split(' ');
    let before = fields.next()?;
    let after = fields.next()?;
    let old = fields.next()?;
    let new = fields.next()?;
    let entry = |digits: &str, id: &str| {
        (digits != "000000").then(|| Some((EntryMode::from_octal(digits.as_bytes()), id.parse().ok()?)))
    };
    let before = entry(before, old).map_or(Some(None), |entry| entry.map(Some))?;
    let after = entry(after, new).map_or(Some(None), |entry| entry.map(Some))?;
    Some(FileChange { path: path.to_vec(), before, after })
}

pub(super) fn parse_id(output: &[u8]) -> Option<ObjectId> {
    String::from_utf8_lossy(output).trim().parse().ok()
}

pub(super) fn malformed() -> GitError {
    GitError::Program { doing: "read what git printed", detail: "it is not of the expected form".to_owned() }
}
