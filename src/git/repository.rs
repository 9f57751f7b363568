//! Opening and initialising repositories: paths, the checked-out branch, configured remotes, the identity that commits.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use git2::{ErrorCode, Repository, RepositoryInitOptions, RepositoryOpenFlags};

use super::command::GitCommand;
use super::error::printable;
use super::gathered::GatheredObjects;
use super::{GitError, ObjectId, SigningKey};

/// A person or a program, as commits name them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Signature {
    /// The name.
    pub name: String,
    /// The email address.
    pub email: String,
}

impl Signature {
    /// From libgit2; bytes that are not UTF-8 are replaced.
    pub(super) fn of(signature: &git2::Signature<'_>) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { name: text(signature.name_bytes()), email: text(signature.email_bytes()) }
    }
}

/// A Git repository. It may move to another thread; [`Repo::reopen`] gives one to each that needs its own.
// libgit2 lets one thread at a time use a repository; a mutex around one handle would serialise all reading.
pub struct Repo {
    inner: Repository,
    identity: Option<Signature>,
    /// What status commits are signed with, where that is not the user's own key.
    signing_key: Option<SigningKey>,
    gathered: Box<GatheredObjects>,
    /// Whether the user wants each object on the disk before anything else happens, once somebody asked.
    syncs_objects: OnceCell<bool>,
}

impl Repo {
    /// The repository that holds `start`: there, or in a directory above it.
    ///
    /// # Errors
    /// When there is none, or it cannot be opened.
    pub fn discover(start: &Path) -> Result<Self, GitError> {
        Self::open_with(start, RepositoryOpenFlags::empty())
    }

    /// The repository at exactly this path: a working tree, a `.git` directory, or a bare repository.
    ///
    /// # Errors
    /// When there is none, or it cannot be opened.
    pub fn open(path: &Path) -> Result<Self, GitError> {
        Self::open_with(path, RepositoryOpenFlags::NO_SEARCH)
    }

    fn around(inner: Repository) -> Self {
        let gathered = Box::default();
        Self { inner, identity: None, signing_key: None, gathered, syncs_objects: OnceCell::new() }
    }

    fn open_with(path: &Path, flags: RepositoryOpenFlags) -> Result<Self, GitError> {
        let none: [&Path; 0] = [];
        let inner = match Repository::open_ext(path, flags, none) {
            Ok(inner) => inner,
            // Only on this error: asking the program costs a process, and nearly every repository belongs to its user.
            Err(error) if error.code() == ErrorCode::Owner => open_trusted(path, error)?,
            Err(source) => return Err(cannot_open(path, source)),
        };
        Ok(Self::around(inner))
    }

    /// Makes a repository with a working tree, or opens the one that is there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn init(path: &Path, branch: &str) -> Result<Self, GitError> {
        Self::init_with(path, branch, false)
    }

    /// Makes a bare repository, or opens the one that is there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn init_bare(path: &Path, branch: &str) -> Result<Self, GitError> {
        Self::init_with(path, branch, true)
    }

    fn init_with(path: &Path, branch: &str, bare: bool) -> Result<Self, GitError> {
        if !git2::Reference::is_valid_name(&format!("refs/heads/{branch}")) {
            return Err(GitError::BadReference { name: printable(branch.as_bytes()) });
        }
        let mut options = RepositoryInitOptions::new();
        // A template could bring hooks in.
        options.bare(bare).mkpath(true).external_template(false).initial_head(branch);
        let inner = Repository::init_opts(path, &options)
            .map_err(|source| GitError::Open { path: path.to_owned(), source })?;
        Ok(Self::around(inner))
    }

    /// Another handle on the same repository, for another thread.
    ///
    /// # Errors
    /// When it is gone.
    pub fn reopen(&self) -> Result<Self, GitError> {
        // By the path of the `.git` directory, so that the same working tree is found again, also a linked one.
        let mut repo = Self::open(self.inner.path())?;
        repo.identity.clone_from(&self.identity);
        repo.signing_key.clone_from(&self.signing_key);
        Ok(repo)
    }

    /// Sets who commits, before the repository's configuration; from `GIT_AUTHOR_*` and the like.
    #[must_use]
    pub fn with_identity(mut self, identity: Option<Signature>) -> Self {
        self.identity = identity;
        self
    }

    /// With the key of this process, which status commits are signed with in place of the user's own.
    #[must_use]
    pub fn with_signing_key(mut self, key: Option<SigningKey>) -> Self {
        self.signing_key = key;
        self
    }

    /// The key of this process.
    #[must_use]
    pub fn signing_key(&self) -> Option<&SigningKey> {
        self.signing_key.as_ref()
    }

    /// Who commits: what [`Repo::with_identity`] set, else `user.name` and `user.email`.
    ///
    /// # Errors
    /// [`GitError::NoIdentity`] when neither is set.
    pub fn identity(&self) -> Result<Signature, GitError> {
        if let Some(person) = &self.identity {
            return Ok(person.clone());
        }
        // libgit2 fails where Git would guess from the host name; a guessed author in a shared history helps nobody.
        let signature = self.inner.signature().map_err(|_| GitError::NoIdentity)?;
        Ok(Signature::of(&signature))
    }

    /// The same, or planspec itself: a runner needs no name of its own, since its trailer says which it was.
    #[must_use]
    pub fn runner_identity(&self) -> Signature {
        self.identity().unwrap_or_else(|_| Signature {
            name: "planspec".to_owned(),
            email: "planspec@localhost".to_owned(),
        })
    }

    /// Writes the identity into this repository's own configuration.
    ///
    /// # Errors
    /// When the configuration cannot be written.
    pub fn set_local_identity(&self, person: &Signature) -> Result<(), GitError> {
        let wrap = |source| GitError::Git { doing: "cannot write the configuration".to_owned(), source };
        let mut config = self
            .inner
            .config()
            // The merged view would write to the file with the highest priority, which may be the user's global one.
            .and_then(|config| config.open_level(git2::ConfigLevel::Local))
            .map_err(wrap)?;
        config.set_str("user.name", &person.name).map_err(wrap)?;
        config.set_str("user.email", &person.email).map_err(wrap)
    }

    /// The directory that all working trees of the repository share: `.git`, or the bare repository.
    #[must_use]
    pub fn common_dir(&self) -> &Path {
        self.inner.commondir()
    }

    /// The directory of this working tree's own state: index and `HEAD`.
    pub(super) fn git_dir(&self) -> &Path {
        self.inner.path()
    }

    /// The working tree; `None` for a bare repository.
    #[must_use]
    pub fn work_tree(&self) -> Option<&Path> {
        self.inner.workdir()
    }

    /// Where caches go, which may be deleted at any moment; not made yet.
    #[must_use]
    pub fn cache_dir(&self) -> PathBuf {
        self.common_dir().join("planspec")
    }

    /// Whether history is cut off somewhere.
    #[must_use]
    pub fn is_shallow(&self) -> bool {
        self.inner.is_shallow()
    }

    /// The branch that is checked out, without `refs/heads/`, also when it has no commit yet; `None` when
    /// `HEAD` is detached.
    ///
    /// # Errors
    /// When `HEAD` cannot be read.
    pub fn head_branch(&self) -> Result<Option<String>, GitError> {
        // `Repository::head` fails on an unborn branch; the symbolic target is there before the first commit.
        let head = self.inner.find_reference("HEAD").map_err(GitError::doing("cannot read HEAD"))?;
        // As bytes, since a branch may have any; the name is only compared and shown.
        let target = head.symbolic_target_bytes().map(String::from_utf8_lossy);
        Ok(target.and_then(|target| target.strip_prefix("refs/heads/").map(str::to_owned)))
    }

    /// The local branches, without `refs/heads/`. Names that are not UTF-8 are left out: no setting can name them.
    ///
    /// # Errors
    /// When the references cannot be read.
    pub fn branches(&self) -> Result<Vec<String>, GitError> {
        let failed = || GitError::doing("cannot list the branches");
        let found = self.inner.references_glob("refs/heads/*").map_err(failed())?;
        let mut branches = Vec::new();
        for reference in found {
            let reference = reference.map_err(failed())?;
            let name = std::str::from_utf8(reference.name_bytes()).ok();
            branches.extend(name.and_then(|name| name.strip_prefix("refs/heads/")).map(str::to_owned));
        }
        Ok(branches)
    }

    /// The references whose names begin with one of these prefixes, which end with `/`.
    ///
    /// # Errors
    /// When the references cannot be read.
    pub fn refs_below(&self, prefixes: &[&str]) -> Result<Vec<(String, ObjectId)>, GitError> {
        let failed = || GitError::doing("cannot list the references");
        let mut found = Vec::new();
        for prefix in prefixes {
            for reference in self.inner.references_glob(&format!("{prefix}*")).map_err(failed())? {
                let reference = reference.map_err(failed())?;
                let name = std::str::from_utf8(reference.name_bytes()).ok();
                if let (Some(name), Some(target)) = (name, reference.target()) {
                    found.push((name.to_owned(), ObjectId::from_oid(target)));
                }
            }
        }
        Ok(found)
    }

    /// The names of the configured remotes.
    ///
    /// # Errors
    /// When the configuration cannot be read.
    pub fn remote_names(&self) -> Result<Vec<String>, GitError> {
        let names = self.inner.remotes().map_err(GitError::doing("cannot list the remotes"))?;
        Ok(names.iter().filter_map(|name| name.ok().flatten().map(str::to_owned)).collect())
    }

    /// The remote to work with: the wanted one; else the only one; else `origin`; else the one that the current branch
    /// follows. `None` when there is nothing to choose from.
    ///
    /// # Errors
    /// When the configuration cannot be read.
    pub fn default_remote(&self, wanted: Option<&str>) -> Result<Option<String>, GitError> {
        if let Some(wanted) = wanted {
            return Ok(Some(wanted.to_owned()));
        }
        let names = self.remote_names()?;
        if let [only] = names.as_slice() {
            return Ok(Some(only.clone()));
        }
        // Before the branch's own remote: a work branch often follows a fork, and what is checked out must not decide
        // whose manifests run.
        if let Some(origin) = names.iter().find(|name| *name == "origin") {
            return Ok(Some(origin.clone()));
        }
        if let Some(branch) = self.head_branch()?
            && let Ok(config) = self.inner.config()
            && let Ok(remote) = config.get_string(&format!("branch.{branch}.remote"))
            // `branch.X.remote` may also be `.` or an address, which is no remote to work with.
            && names.contains(&remote)
        {
            return Ok(Some(remote));
        }
        Ok(None)
    }

    /// Whether the user wants each object on the disk before anything else happens. Looked up once: every commit asks, and to find
    /// out, the configuration files of user and system are looked at anew.
    pub(super) fn syncs_objects(&self) -> bool {
        *self.syncs_objects.get_or_init(|| {
            let wanted = self.inner.config().and_then(|config| config.get_bool("core.fsyncObjectFiles"));
            wanted.unwrap_or(false)
        })
    }

    pub(super) fn gathered(&self) -> &GatheredObjects {
        &self.gathered
    }

    pub(super) fn git2(&self) -> &Repository {
        &self.inner
    }

    pub(super) fn odb(&self) -> Result<git2::Odb<'_>, GitError> {
        self.inner.odb().map_err(GitError::doing("cannot open the object database"))
    }

    /// Reads an object again that was not found, after its remote was asked for it: a partial clone leaves out what it does not
    /// need at once, and Git fetches it when it is asked for.
    pub(super) fn promised<T>(
        &self,
        id: ObjectId,
        error: git2::Error,
        again: impl FnOnce() -> Result<T, git2::Error>,
    ) -> Result<T, git2::Error> {
        if error.code() == ErrorCode::NotFound && self.fetch_object(id) { again() } else { Err(error) }
    }

    /// An object that was not found, or could not be read.
    pub(super) fn missing(&self, kind: &'static str, id: ObjectId, source: git2::Error) -> GitError {
        if source.code() == ErrorCode::NotFound {
            GitError::Missing { kind, id, shallow: self.is_shallow() }
        } else {
            GitError::Git { doing: format!("cannot read the {kind} {id}"), source }
        }
    }
}

/// Opens a repository that another user owns, if the `git` program does: it heeds `safe.directory` in all its forms, with
/// prefixes and from `GIT_CONFIG_*`, and libgit2 only the plain ones.
fn open_trusted(path: &Path, refused: git2::Error) -> Result<Repository, GitError> {
    let ask = |question: &str| -> Result<Option<PathBuf>, GitError> {
        // An error here is the answer "no" and not a failure: the program refuses what it does not trust.
        let output = GitCommand::new(path, &[]).args(["rev-parse", question]).run()?;
        let answer = String::from_utf8_lossy(&output.stdout).trim_end_matches('\n').to_owned();
        Ok((output.success && !answer.is_empty()).then(|| PathBuf::from(answer)))
    };
    let Some(directory) = ask("--absolute-git-dir")? else { return Err(cannot_open(path, refused)) };
    let failed = |source| GitError::Open { path: path.to_owned(), source };
    // Opening the directory itself asks nothing about its owner; the working tree is set afterwards.
    let inner = Repository::open_bare(&directory).map_err(failed)?;
    if let Some(work_tree) = ask("--show-toplevel")? {
        inner.set_workdir(&work_tree, false).map_err(failed)?;
    }
    Ok(inner)
}

fn cannot_open(path: &Path, source: git2::Error) -> GitError {
    let path = path.to_owned();
    // libgit2 has no code of its own for formats that it does not know.
    let unsupported = ["extension", "object format"].iter().any(|word| source.message().contains(word));
    match source.code() {
        ErrorCode::NotFound => GitError::NotARepository { path },
        ErrorCode::Owner => GitError::Distrusted { path },
        // After the codes: a message may hold one of these words by chance, as in a path.
        _ if unsupported => GitError::UnsupportedFormat { path, source },
        _ => GitError::Open { path, source },
    }
}
