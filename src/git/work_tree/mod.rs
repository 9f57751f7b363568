//! Working trees: plain exports of a commit, commits on a checked-out branch, ignored and tracked paths.

mod advance;
mod branch_commit;
mod checkout;
mod show;
mod user_commit;

use std::collections::HashSet;
use std::path::Path;

pub use branch_commit::BranchCommit;

use super::{GitError, Repo};

impl Repo {
    /// Whether `.gitignore` and the like exclude a path, given relative to the working tree. Tracked files
    /// are not considered: what is tracked in spite of a rule counts as excluded here.
    ///
    /// # Errors
    /// When the rules cannot be read.
    pub fn is_ignored(&self, path: &Path) -> Result<bool, GitError> {
        self.git2().is_path_ignored(path).map_err(GitError::doing("cannot read the ignore rules"))
    }

    /// The paths that Git's index holds, which it never ignores whatever the rules say.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn tracked(&self) -> Result<HashSet<Vec<u8>>, GitError> {
        let index = self.git2().index().map_err(GitError::doing("cannot read the index"))?;
        // As bytes: Git's paths need not be UTF-8, and two that differ must not become equal by replacement characters.
        Ok(index.iter().map(|entry| entry.path).collect())
    }
}
