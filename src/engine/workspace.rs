//! Private checkouts: one folder for each attempt that runs, made from the pinned commit and removed after it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::git::{GitError, ObjectId, Remote, Repo};
use crate::provider::{Checkout, Workspace, WorkspaceError};

/// Where checkouts are made.
pub(super) struct Checkouts {
    repo: Mutex<Repo>,
    remote: Option<Remote>,
    dir: PathBuf,
    next: AtomicU64,
}

impl Checkouts {
    /// Checkouts below `dir`, which belongs to this runner alone.
    pub(super) fn new(repo: Repo, remote: Option<Remote>, dir: PathBuf) -> Arc<Self> {
        Arc::new(Self { repo: Mutex::new(repo), remote, dir, next: AtomicU64::new(0) })
    }

    /// Gives checkouts of one commit.
    pub(super) fn of(self: &Arc<Self>, commit: ObjectId) -> Arc<dyn Workspace> {
        Arc::new(AtCommit { checkouts: Arc::clone(self), commit })
    }
}

impl Drop for Checkouts {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

struct AtCommit {
    checkouts: Arc<Checkouts>,
    commit: ObjectId,
}

impl Workspace for AtCommit {
    fn prepare(&self) -> Result<Checkout, WorkspaceError> {
        let number = self.checkouts.next.fetch_add(1, Ordering::Relaxed);
        let path = self.checkouts.dir.join(number.to_string());
        std::fs::create_dir_all(&path).map_err(WorkspaceError::new)?;
        let checkout = Checkout::new(path, |path| {
            let _ = std::fs::remove_dir_all(path);
        });
        // A poisoned lock only means that another attempt's checkout failed midway; the handle itself is sound.
        let repo = self.checkouts.repo.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        self.bring_in(&repo).map_err(WorkspaceError::new)?;
        repo.export(self.commit, &checkout).map_err(WorkspaceError::new)?;
        Ok(checkout)
    }
}

impl AtCommit {
    /// In a shallow clone, or after a force push, the pinned commit may not be here; the remote still has it.
    fn bring_in(&self, repo: &Repo) -> Result<(), GitError> {
        match &self.checkouts.remote {
            Some(remote) if repo.commit(self.commit).is_err() => remote.fetch_commit(repo, self.commit),
            _ => Ok(()),
        }
    }
}
