//! Showing a commit to a person: what differs from another one, and a working tree of it.

use std::path::Path;

use crate::git::command::GitCommand;
use crate::git::error::printable;
use crate::git::{GitError, ObjectId, Repo};

impl Repo {
    /// What differs between two commits: as a patch, or as a summary of the files. Long ones are cut.
    ///
    /// # Errors
    /// When a commit is not here.
    pub fn difference(&self, base: ObjectId, commit: ObjectId, summary: bool) -> Result<Vec<u8>, GitError> {
        // Isolated: the commit may be an agent's, and a program that the user has set up for patches would read its files.
        let program = GitCommand::isolated(self.common_dir()).env("GIT_DIR", self.common_dir());
        let how: &[&str] = if summary { &["--stat=100", "--summary"] } else { &["--patch"] };
        let program = program.args(["diff", "--no-color", "--no-ext-diff", "--no-textconv"]).args(how);
        let output = program.args([base.to_string(), commit.to_string()]).run()?;
        if output.success {
            return Ok(output.stdout);
        }
        Err(GitError::Program { doing: "compare the commits", detail: output.stderr })
    }

    /// Makes a working tree of a commit beside those that the repository has, as `git worktree add --detach` does.
    ///
    /// # Errors
    /// When something is in the way.
    pub fn add_work_tree(&self, path: &Path, commit: ObjectId) -> Result<(), GitError> {
        let Some(text) = path.to_str() else {
            let path = printable(path.as_os_str().as_encoded_bytes());
            return Err(GitError::BadPath { path, problem: "is not UTF-8" });
        };
        let commit = commit.to_string();
        let args = ["worktree", "add", "--quiet", "--detach", "--end-of-options", text, &commit];
        let output = GitCommand::new(self.common_dir(), &[]).args(args).run()?;
        if output.success {
            return Ok(());
        }
        Err(GitError::Program { doing: "make a working tree", detail: output.stderr })
    }

    /// Begins to merge a commit into what a working tree of this repository holds, as `git merge --no-commit` does: conflicts are
    /// left in its files for a person.
    ///
    /// # Errors
    /// When the merge does not begin.
    pub fn begin_merge(&self, tree: &Path, commit: ObjectId, message: &str) -> Result<(), GitError> {
        let args = ["merge", "--quiet", "--no-commit", "--no-ff", "-m", message, &commit.to_string()];
        let output = GitCommand::new(tree, &[]).args(args).run()?;
        // The exit code is the same for a conflict and for a merge that did not begin.
        let args = ["rev-parse", "--quiet", "--verify", "MERGE_HEAD"];
        if output.success || GitCommand::new(tree, &[]).args(args).run()?.success {
            return Ok(());
        }
        Err(GitError::Program { doing: "begin the merge", detail: output.stderr })
    }
}
