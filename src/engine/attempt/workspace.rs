//! Private checkouts: one folder for each attempt that runs, made from the pinned commit and removed after it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::git::{GitError, ObjectId, Remote, Repo};
use crate::provider::{PrivateCheckout, Workspace, WorkspaceError};

/// Where checkouts are made.
pub(crate) struct Checkouts {
    git_dir: PathBuf,
    /// Handles on the repository that nobody uses just now.
    repos: Mutex<Vec<Repo>>,
    remote: Option<Remote>,
    dir: PathBuf,
    next: AtomicU64,
}

impl Checkouts {
    /// Checkouts of the repository at `git_dir` below `dir`, which belongs to this runner alone.
    pub(crate) fn new(git_dir: &Path, remote: Option<Remote>, dir: PathBuf) -> Arc<Self> {
        let git_dir = git_dir.to_owned();
        let repos = Mutex::default();
        Arc::new(Self { git_dir, repos, remote, dir, next: AtomicU64::new(0) })
    }

    fn export(&self, commit: ObjectId, into: &Path) -> Result<(), GitError> {
        // A poisoned lock only means that another thread panicked; the handles themselves are sound.
        let spare = self.repos.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let repo = spare.map_or_else(|| Repo::open(&self.git_dir), Ok)?;
        let exported = self.bring_in(&repo, commit).and_then(|()| repo.export(commit, into));
        // Back also after a failure, which is about the commit and not about the handle.
        self.repos.lock().unwrap_or_else(PoisonError::into_inner).push(repo);
        exported
    }

    /// In a shallow clone, or after a force push, the pinned commit may not be here; the remote still has it.
    fn bring_in(&self, repo: &Repo, commit: ObjectId) -> Result<(), GitError> {
        match &self.remote {
            Some(remote) if repo.commit(commit).is_err() => remote.fetch_commit(repo, commit),
            _ => Ok(()),
        }
    }

    /// Gives checkouts of one commit.
    pub(crate) fn of(self: &Arc<Self>, commit: ObjectId) -> Arc<dyn Workspace> {
        Arc::new(CommitWorkspace { checkouts: Arc::clone(self), commit })
    }
}

impl Drop for Checkouts {
    fn drop(&mut self) {
        // Best effort: files of a task that cannot be removed must not fail a reconcile that did its work.
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

struct CommitWorkspace {
    checkouts: Arc<Checkouts>,
    commit: ObjectId,
}

impl Workspace for CommitWorkspace {
    fn prepare(&self) -> Result<PrivateCheckout, WorkspaceError> {
        let number = self.checkouts.next.fetch_add(1, Ordering::Relaxed);
        let path = self.checkouts.dir.join(number.to_string());
        std::fs::create_dir_all(&path).map_err(WorkspaceError::new)?;
        // Before the export, so that dropping it removes what a failed one has left.
        let checkout = PrivateCheckout::new(path, |path| {
            let _ = std::fs::remove_dir_all(path);
        });
        self.checkouts.export(self.commit, &checkout).map_err(WorkspaceError::new)?;
        Ok(checkout)
    }
}
