//! Cache clones: bare repositories of ours, for work on a remote without a checkout.

use std::path::Path;

use super::{Remote, RemoteOptions};
use crate::git::{GitError, ObjectId, Repo};

/// The name of the one remote of a cache clone.
const ORIGIN: &str = "origin";

impl Remote {
    /// A bare cache clone of `url` at `into`, created or updated: `HEAD` names the remote's default branch, and that branch
    /// is here. Its configuration holds no credentials, so open its remote by the same address.
    ///
    /// # Errors
    /// When the remote cannot be read, or the clone cannot be written.
    pub fn clone_bare(url: &str, into: &Path, options: RemoteOptions) -> Result<Repo, GitError> {
        let address = Self::parse_address(url)?;
        let repo = match Repo::open(into) {
            Ok(repo) => repo,
            Err(_) => make(&address.url, into)?,
        };
        let remote = Self::open(&repo, url, options)?;
        // An empty remote names no branch; `main` is what the new clone has as its `HEAD` already.
        let branch = remote.default_branch()?.unwrap_or_else(|| "main".to_owned());
        let reference = format!("refs/heads/{branch}");
        let tip = remote.fetch(&repo, &[&reference])?.into_iter().next().flatten();
        // Before `HEAD`: one that names a branch without a commit would make the clone look empty.
        follow(&repo, &reference, tip)?;
        repo.git2()
            .reference_symbolic("HEAD", &reference, true, "planspec: the remote's default branch")
            .map_err(GitError::doing("cannot write HEAD"))?;
        Ok(repo)
    }
}

fn make(url: &str, into: &Path) -> Result<Repo, GitError> {
    create(into, |repo| {
        let configure = || -> Result<(), git2::Error> {
            repo.git2().remote(ORIGIN, url)?;
            // Marks it as ours: only in such a clone are histories cut off and stale `shallow.lock` files removed.
            repo.git2().config()?.set_bool("planspec.cacheClone", true)
        };
        configure().map_err(std::io::Error::other)
    })
}

/// Creates a bare repository of ours under a temporary name and renames it, so that it exists completely or not at all.
pub(super) fn create(
    into: &Path,
    configure: impl FnOnce(&Repo) -> std::io::Result<()>,
) -> Result<Repo, GitError> {
    let io = |doing: &'static str| move |source| GitError::Io { doing, path: into.to_owned(), source };
    let parent = into.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).map_err(io("make the directory of"))?;
    let new =
        tempfile::Builder::new().prefix(".clone-").tempdir_in(parent).map_err(io("make a directory for"))?;
    let repo = Repo::init_bare(new.path(), "main")?;
    configure(&repo).map_err(io("configure the clone at"))?;
    // Closed before the rename: the handle would go on with paths that are gone.
    drop(repo);
    let path = new.keep();
    if let Err(source) = std::fs::rename(&path, into) {
        if let Err(error) = std::fs::remove_dir_all(&path) {
            tracing::debug!(%error, "cannot remove an unfinished clone");
        }
        // Another process created it meanwhile.
        return Repo::open(into).map_err(|_| GitError::Io { doing: "make", path: into.to_owned(), source });
    }
    tracing::info!(clone = %into.display(), "created a repository of ours");
    Repo::open(into)
}

fn follow(repo: &Repo, reference: &str, tip: Option<ObjectId>) -> Result<(), GitError> {
    let before = repo.read_ref(reference)?;
    // A lost race means that another process fetched as well: its tip is as new as this one.
    if before != tip {
        repo.swap_ref(reference, before, tip, "planspec: fetched")?;
    }
    Ok(())
}
