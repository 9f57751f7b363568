//! The object cache: a bare repository of ours that workspaces borrow objects from. It has no references and may be deleted
//! whenever nobody works: everything in it comes from the user's repository, or went there before it was published.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::link::link_objects;
use crate::git::command::GitCommand;
use crate::git::error::printable;
use crate::git::{GitError, ObjectId, Repo};

/// Packs below this size are taken apart into single objects, as Git does with small fetches: a repository slows down with
/// every pack, and `gc` collects single objects anyway.
const UNPACKED: u64 = 1 << 20;

/// A bare repository that workspaces borrow from.
#[derive(Debug, Clone)]
pub struct ObjectCache {
    dir: PathBuf,
}

impl ObjectCache {
    /// The cache at `dir`, made when it is not there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(dir: &Path) -> Result<Self, GitError> {
        let cache = Self { dir: dir.to_owned() };
        if dir.join("HEAD").exists() {
            return Ok(cache);
        }
        let parent = dir.parent().unwrap_or(dir);
        fs::create_dir_all(parent).map_err(io("make the directory", parent))?;
        let made = tempfile::Builder::new().prefix(".objects-").tempdir_in(parent);
        let made = made.map_err(io("make a directory in", parent))?;
        let repo = Repo::init_bare(made.path(), "main")?;
        set_own_files(&repo)?;
        fs::create_dir_all(made.path().join("complete")).map_err(io("make a directory in", made.path()))?;
        // Whole or not at all: another runner may be at the same, and one of the two renames fails.
        match fs::rename(made.path(), dir) {
            Ok(()) => drop(made.keep()),
            Err(_) if dir.join("HEAD").exists() => {}
            Err(source) => return Err(GitError::Io { doing: "make", path: dir.to_owned(), source }),
        }
        Ok(cache)
    }

    /// Where the objects are.
    #[must_use]
    pub fn objects(&self) -> PathBuf {
        self.dir.join("objects")
    }

    /// Whether some objects may be missing: they came from a partial clone.
    pub(super) fn is_partial(&self) -> bool {
        let packs = fs::read_dir(self.objects().join("pack"));
        packs.is_ok_and(|packs| {
            packs.flatten().any(|pack| pack.path().extension().is_some_and(|kind| kind == "promisor"))
        })
    }

    /// The repository's directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Takes in a commit of the user's repository, with all that it leads to.
    ///
    /// # Errors
    /// [`GitError::Missing`] when the commit is not there; or objects can neither be linked nor copied.
    pub fn import(&self, source: &Repo, commit: ObjectId) -> Result<(), GitError> {
        // That the commit is here says nothing of its files: a fill may have been killed halfway.
        let complete = self.marker(commit);
        if complete.exists() {
            return Ok(());
        }
        let started = Instant::now();
        source.fetch_missing(commit)?;
        let objects = source.common_dir().join("objects");
        link_objects(&objects, &self.objects()).map_err(io("link the objects of", &objects))?;
        let shallow = source.common_dir().join("shallow");
        if shallow.exists() {
            fs::copy(&shallow, self.dir.join("shallow")).map_err(io("copy", &shallow))?;
        }
        Repo::open(&self.dir)?.commit(commit)?;
        self.complete(commit)?;
        tracing::debug!(%commit, duration_ms = started.elapsed().as_millis(), "objects linked into the cache");
        Ok(())
    }

    /// Notes that a commit is here with all that it leads to.
    pub(super) fn complete(&self, commit: ObjectId) -> Result<(), GitError> {
        let marker = self.marker(commit);
        File::create(&marker).map(drop).map_err(io("write", &marker))
    }

    fn marker(&self, commit: ObjectId) -> PathBuf {
        self.dir.join("complete").join(commit.to_string())
    }

    /// A run of the program in the cache: objects only, nobody's configuration but ours.
    pub(super) fn git(&self) -> GitCommand {
        GitCommand::isolated(&self.dir).env("GIT_DIR", &self.dir)
    }

    /// Hands the objects that lead to `commit`, and not to any of `known`, to the user's repository.
    ///
    /// # Errors
    /// When they cannot be read or written.
    pub fn export(&self, commit: ObjectId, known: &[ObjectId], repo: &Repo) -> Result<(), GitError> {
        let scratch = tempfile::tempdir_in(&self.dir).map_err(io("make a directory in", &self.dir))?;
        let not_known: String = known.iter().map(|known| format!("^{known}\n")).collect();
        let wanted = format!("{commit}\n{not_known}");
        let program =
            self.git().args(["pack-objects", "--quiet", "--revs"]).args([scratch.path().join("pack")]);
        let pack = packed(program.input(wanted.into_bytes()), scratch.path())?;
        install(&pack, repo.common_dir())
    }
}

/// Runs `pack-objects` with a name in `folder`. The pack.
pub(super) fn packed(program: GitCommand, folder: &Path) -> Result<PathBuf, GitError> {
    let output = program.run()?;
    if !output.success {
        return Err(GitError::Program { doing: "pack objects", detail: output.stderr });
    }
    let name = String::from_utf8_lossy(&output.stdout);
    Ok(folder.join(format!("pack-{}.pack", name.trim())))
}

/// Writes the objects of a pack into a repository. Strictly: what a host's `fsck` would refuse later is refused now, before
/// anything names it.
pub(super) fn install(pack: &Path, git_dir: &Path) -> Result<(), GitError> {
    let file = File::open(pack).map_err(io("read", pack))?;
    let size = file.metadata().map_err(io("inspect", pack))?.len();
    let args: &[&str] = if size < UNPACKED {
        &["unpack-objects", "-q", "--strict"]
    } else {
        &["index-pack", "--stdin", "--strict"]
    };
    let output = GitCommand::isolated(git_dir).env("GIT_DIR", git_dir).args(args).holding(file).run()?;
    if output.success {
        return Ok(());
    }
    Err(GitError::Program { doing: "write the objects of a result", detail: output.stderr })
}

/// Settings that keep files of the user, such as a global `.gitignore`, from deciding what belongs to a result.
pub(super) fn set_own_files(repo: &Repo) -> Result<(), GitError> {
    let wrap = || GitError::doing("cannot write the configuration of a workspace");
    let config = repo.git2().config().map_err(wrap())?;
    let mut config = config.open_level(git2::ConfigLevel::Local).map_err(wrap())?;
    config.set_str("core.excludesFile", "/dev/null").map_err(wrap())?;
    config.set_str("core.attributesFile", "/dev/null").map_err(wrap())
}

pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> GitError + use<> {
    let path = path.to_owned();
    move |source| GitError::Io { doing, path, source }
}

/// A path of a tree, for messages.
pub(super) fn shown(path: &[u8]) -> String {
    printable(path)
}
