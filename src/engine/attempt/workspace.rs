//! Private checkouts: one folder for each attempt that runs, made from the pinned commit and removed after it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::git::{GitError, ObjectId, Remote, Repo};
use crate::provider::{PrivateCheckout, Workspace, WorkspaceError, WorkspaceFault};
use crate::run::RunnerFault;

/// Where checkouts are made.
pub(crate) struct Checkouts {
    git_dir: PathBuf,
    /// Handles on the repository that nobody uses just now.
    repos: Mutex<Vec<Repo>>,
    remote: Option<Remote>,
    dir: PathBuf,
    /// The folder that every attempt works in, where there are no checkouts.
    shared: Option<PathBuf>,
    next: AtomicU64,
}

impl Checkouts {
    /// Checkouts of the repository at `git_dir` below `dir`, which belongs to this runner alone; or none, where all work
    /// in the folder `shared`.
    pub(crate) fn new(
        git_dir: &Path,
        remote: Option<Remote>,
        dir: PathBuf,
        shared: Option<PathBuf>,
    ) -> Arc<Self> {
        let git_dir = git_dir.to_owned();
        let repos = Mutex::default();
        Arc::new(Self { git_dir, repos, remote, dir, shared, next: AtomicU64::new(0) })
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
        if let Some(shared) = &self.checkouts.shared {
            // It belongs to a person: nothing of it is removed when the attempt gives it back.
            return Ok(PrivateCheckout::new(shared.clone(), |_| {}));
        }
        let number = self.checkouts.next.fetch_add(1, Ordering::Relaxed);
        let path = self.checkouts.dir.join(number.to_string());
        let disk = |error| WorkspaceError::new(WorkspaceFault::Runner(RunnerFault::Machine), error);
        std::fs::create_dir_all(&path).map_err(disk)?;
        // Before the export, so that dropping it removes what a failed one has left.
        let checkout = PrivateCheckout::new(path, |path| {
            let _ = std::fs::remove_dir_all(path);
        });
        let exported = self.checkouts.export(self.commit, &checkout);
        exported.map_err(|error| WorkspaceError::new(fault_of(&error), error))?;
        Ok(checkout)
    }
}

/// Whose fault it is that a commit cannot be checked out. What is not known to be the commit's is this machine's: a failure
/// of the work is for good, a claim that is given back is not.
fn fault_of(error: &GitError) -> WorkspaceFault {
    match error {
        GitError::Interrupted => WorkspaceFault::Interrupted,
        GitError::BadTree { .. } | GitError::BadPath { .. } | GitError::RefusedEntry { .. } => {
            WorkspaceFault::Commit
        }
        // Names that differ only in case, or are too long for this file system.
        GitError::Io { source, .. }
            if matches!(source.kind(), ErrorKind::AlreadyExists | ErrorKind::InvalidFilename) =>
        {
            WorkspaceFault::Commit
        }
        GitError::Missing { .. }
        | GitError::TimedOut { .. }
        | GitError::Authentication { .. }
        | GitError::Permission { .. }
        | GitError::Unreachable { .. }
        | GitError::Remote { .. } => WorkspaceFault::Runner(RunnerFault::Commit),
        _ => WorkspaceFault::Runner(RunnerFault::Machine),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_wrong_with_the_commit_itself_is_the_commits_fault() {
        let io = |kind: ErrorKind| GitError::Io { doing: "write", path: PathBuf::new(), source: kind.into() };
        let unreachable = GitError::Unreachable { remote: "origin".to_owned(), detail: "503".to_owned() };
        let cases = [
            (io(ErrorKind::StorageFull), WorkspaceFault::Runner(RunnerFault::Machine)),
            (io(ErrorKind::PermissionDenied), WorkspaceFault::Runner(RunnerFault::Machine)),
            (io(ErrorKind::AlreadyExists), WorkspaceFault::Commit),
            (unreachable, WorkspaceFault::Runner(RunnerFault::Commit)),
            (GitError::BadPath { path: "..".to_owned(), problem: "is unsafe" }, WorkspaceFault::Commit),
            (GitError::Interrupted, WorkspaceFault::Interrupted),
        ];
        for (error, fault) in cases {
            assert_eq!(fault_of(&error), fault, "{error}");
        }
    }
}
