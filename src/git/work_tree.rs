//! Asking what a working tree leaves to Git's ignore rules.

use std::path::Path;

use super::{GitError, Repo};

impl Repo {
    /// Whether `.gitignore` and the like exclude a path, given relative to the working tree. Tracked files
    /// are not looked up: what is tracked in spite of a rule counts as excluded here.
    ///
    /// # Errors
    /// When the rules cannot be read.
    pub fn is_ignored(&self, path: &Path) -> Result<bool, GitError> {
        self.git2().is_path_ignored(path).map_err(GitError::doing("cannot read the ignore rules"))
    }
}
