//! What commits of a person changed, as it is read from objects alone.

use super::quarantine::{FileChange, LIST_CHANGES, parse_changes};
use crate::git::command::GitCommand;
use crate::git::{GitError, ObjectId, Repo};

/// What lies between two commits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedWork {
    /// The files that differ.
    pub changes: Vec<FileChange>,
    /// How many lines are new.
    pub insertions: u64,
    /// How many lines are gone.
    pub deletions: u64,
    /// Every path of the later commit.
    pub paths: Vec<Vec<u8>>,
}

impl Repo {
    /// What changed from one commit to another.
    ///
    /// # Errors
    /// When an object is missing.
    pub fn work_between(&self, base: ObjectId, commit: ObjectId) -> Result<CommittedWork, GitError> {
        let base = base.to_string();
        let commit = commit.to_string();
        let run = |args: &[&str], doing: &'static str| {
            let program = GitCommand::isolated(self.common_dir()).env("GIT_DIR", self.common_dir());
            let output = program.args(args).run()?;
            if output.success {
                Ok(output.stdout)
            } else {
                Err(GitError::Program { doing, detail: output.stderr })
            }
        };
        let listed =
            run(&[&LIST_CHANGES[..], &["--end-of-options", &base, &commit]].concat(), "compare commits")?;
        let (changes, insertions, deletions) = parse_changes(&listed)?;
        let listed = run(
            &["ls-tree", "-r", "-z", "--name-only", "--full-tree", "--end-of-options", &commit],
            "list files",
        )?;
        let paths = listed.split(|byte| *byte == 0).filter(|path| !path.is_empty()).map(<[u8]>::to_vec);
        Ok(CommittedWork { changes, insertions, deletions, paths: paths.collect() })
    }
}
