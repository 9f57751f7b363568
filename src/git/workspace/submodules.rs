//! Submodules of a commit, and their files in a workspace: fetched before by whoever prepares it, each with a `.git` of its own.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::form::VisibleHistory;
use super::object_cache::{ObjectCache, io, shown};
use super::task_git_dir::{TaskGitDir, open_runner_dir, remove, write};
use crate::git::command::GitCommand;
use crate::git::url::short_digest;
use crate::git::{GitError, ObjectId, Repo};

/// A submodule, as a commit has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submodule {
    /// Its name in `.gitmodules`.
    pub name: String,
    /// Where it is in the working tree.
    pub path: String,
    /// Its address, as `.gitmodules` has it; perhaps relative.
    pub url: String,
    /// The commit of it that belongs there.
    pub commit: ObjectId,
}

impl Submodule {
    /// What is wrong with it, whichever machine looks at it.
    #[must_use]
    pub fn bad(&self, problem: impl Into<String>) -> GitError {
        GitError::BadSubmodule { path: self.path.clone(), problem: problem.into() }
    }

    /// Whether it is among the only paths that a workspace has; all when empty.
    #[must_use]
    pub fn is_among(&self, sparse: &[String]) -> bool {
        let is_below = |folder: &str| {
            self.path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        sparse.is_empty() || sparse.iter().any(|path| is_below(path))
    }
}

impl ObjectCache {
    /// The submodules of a commit of the cache, in the order of their paths.
    ///
    /// # Errors
    /// [`GitError::BadSubmodule`] where `.gitmodules` does not say where one comes from.
    pub fn submodules(&self, commit: ObjectId) -> Result<Vec<Submodule>, GitError> {
        let args = ["ls-tree", "-r", "-z", "--full-tree"];
        let listed = self.git().args(args).args([commit.to_string()]).run()?;
        if !listed.success {
            return Err(GitError::Program { doing: "list submodules", detail: listed.stderr });
        }
        let mut found = Vec::new();
        let mut declared = None;
        for line in listed.stdout.split(|byte| *byte == 0) {
            let Some(entry) = line.strip_prefix(b"160000 commit ") else { continue };
            let bad = || GitError::BadSubmodule {
                path: shown(entry),
                problem: "its entry is malformed".to_owned(),
            };
            let text = std::str::from_utf8(entry).map_err(|_| bad())?;
            let (id, path) = text.split_once('\t').ok_or_else(bad)?;
            let declared = match &declared {
                Some(known) => known,
                None => &*declared.insert(self.declared_modules(commit)?),
            };
            let (name, url) = declared.get(path).cloned().ok_or_else(|| GitError::BadSubmodule {
                path: path.to_owned(),
                problem: "`.gitmodules` names no address for it".to_owned(),
            })?;
            found.push(Submodule {
                name,
                path: path.to_owned(),
                url,
                commit: id.parse().map_err(|_| bad())?,
            });
        }
        Ok(found)
    }

    /// What `.gitmodules` says: of each path, the name and the address.
    fn declared_modules(&self, commit: ObjectId) -> Result<BTreeMap<String, (String, String)>, GitError> {
        let blob = format!("--blob={commit}:.gitmodules");
        // Read by Git itself, as an object: nothing of it becomes a configuration.
        let listed =
            self.git().args(["config", "-z", &blob, "--get-regexp", r"^submodule\..*\.(path|url)$"]).run()?;
        let mut modules: BTreeMap<&str, (Option<&str>, Option<&str>)> = BTreeMap::new();
        let text = String::from_utf8_lossy(&listed.stdout);
        for entry in text.split('\0').filter(|_| listed.success) {
            let Some((key, value)) = entry.split_once('\n') else { continue };
            let Some((name, field)) = key.strip_prefix("submodule.").and_then(|key| key.rsplit_once('.'))
            else {
                continue;
            };
            let (path, url) = modules.entry(name).or_default();
            *(if field == "path" { path } else { url }) = Some(value);
        }
        let complete = modules.into_iter().filter_map(|(name, (path, url))| {
            Some((path?.trim_end_matches('/').to_owned(), (name.to_owned(), url?.to_owned())))
        });
        Ok(complete.collect())
    }

    /// The cache of what comes from this address, beside this one.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn module_cache(&self, url: &str) -> Result<Self, GitError> {
        let name = format!("{}.git", short_digest(url));
        let dir = self.dir().parent().unwrap_or(self.dir()).join("modules").join(name);
        let cache = Self::open(&dir)?;
        // Nobody else works in it, so that a fetch may cut history off.
        let config = Repo::open(&dir)?;
        let mark = || config.git2().config()?.set_bool("planspec.cacheClone", true);
        mark().map_err(GitError::doing("cannot write the configuration of a submodule's cache"))?;
        Ok(cache)
    }
}

/// The files of one submodule in a workspace.
#[derive(Debug)]
pub(super) struct ModuleTree {
    path: String,
    /// Its folder, by its real path.
    tree: PathBuf,
    /// The runner's own Git directory, with the index by which it knows what changed.
    runner: PathBuf,
    commit: ObjectId,
    git_dir: TaskGitDir,
}

impl ModuleTree {
    /// Writes them where the working tree of a workspace has an empty folder for them; `runner` is where the runner's Git
    /// directory is made.
    pub(super) fn check_out(
        workspace: &Path,
        runner: PathBuf,
        module: &Submodule,
        cache: &ObjectCache,
    ) -> Result<Self, GitError> {
        let tree = workspace.join(&module.path);
        // Everything was written anew just before. Still not through a link of the repository's: it leads anywhere.
        let real = tree.canonicalize().map_err(io("find", &tree))?;
        if real != workspace.canonicalize().map_err(io("find", workspace))?.join(&module.path) {
            return Err(module.bad("its place is behind a symbolic link"));
        }
        open_runner_dir(&runner, cache)?;
        let history = VisibleHistory::of(cache, module.commit, None, "")?;
        if let Some(lines) = &history.shallow {
            write(&runner.join("shallow"), lines)?;
        }
        let commit = module.commit;
        let output =
            git(&tree, &runner, commit).args(["read-tree", "--reset", "-u", &commit.to_string()]).run()?;
        if !output.success {
            return Err(GitError::Program { doing: "check out a submodule", detail: output.stderr });
        }
        let git_dir = TaskGitDir::new(cache, commit, history, (runner.join("index"), &[]));
        git_dir.renew(&real)?;
        Ok(Self { path: module.path.clone(), tree: real, runner, commit, git_dir })
    }

    /// Whether its folder is still there. A task may have removed it, or put a link in its place or before it, behind which nothing
    /// is ours; then the workspace says that the submodule is another one.
    fn is_in_place(&self) -> bool {
        self.tree.canonicalize().is_ok_and(|real| real == self.tree && real.is_dir())
    }

    /// Takes the `.git` away that the task could write.
    pub(super) fn hide_git_dir(&self) -> Result<(), GitError> {
        if self.is_in_place() { remove(&self.tree.join(".git")) } else { Ok(()) }
    }

    /// Puts a `.git` there as it was in the beginning.
    pub(super) fn show_git_dir(&self) -> Result<(), GitError> {
        if self.is_in_place() { self.git_dir.renew(&self.tree).map(drop) } else { Ok(()) }
    }

    /// Which files in it differ, by their paths in the workspace; not with a `.git` that the task could write.
    pub(super) fn changed(&self) -> Result<Vec<Vec<u8>>, GitError> {
        if !self.is_in_place() {
            return Ok(Vec::new());
        }
        let args = ["ls-files", "-z", "--modified", "--deleted", "--others", "--exclude-standard"];
        let output = git(&self.tree, &self.runner, self.commit).args(args).run()?;
        if !output.success {
            return Err(GitError::Program {
                doing: "list what changed in a submodule",
                detail: output.stderr,
            });
        }
        let paths = output.stdout.split(|byte| *byte == 0).filter(|path| !path.is_empty());
        Ok(paths.map(|path| [self.path.as_bytes(), b"/", path].concat()).collect())
    }
}

/// A run on the files of a submodule, with the runner's Git directory.
fn git(tree: &Path, runner: &Path, attributes: ObjectId) -> GitCommand {
    GitCommand::isolated(tree)
        .env("GIT_DIR", runner)
        .env("GIT_WORK_TREE", tree)
        .env("GIT_ATTR_SOURCE", attributes.to_string())
}

/// Tells the task's Git which submodules are there already, by name and by an address without credentials, so that `git submodule
/// update` fetches nothing.
pub(super) fn announce<'m>(
    workspace: &Path,
    modules: impl Iterator<Item = (&'m str, &'m str)>,
) -> Result<(), GitError> {
    let path = workspace.join(".git/config");
    let mut file = OpenOptions::new().append(true).open(&path).map_err(io("open", &path))?;
    for (name, url) in modules {
        let [name, url] = [name, url].map(|text| text.replace('\\', "\\\\").replace('"', "\\\""));
        let entry = format!("[submodule \"{name}\"]\n\tactive = true\n\turl = \"{url}\"\n");
        file.write_all(entry.as_bytes()).map_err(io("write", &path))?;
    }
    Ok(())
}
