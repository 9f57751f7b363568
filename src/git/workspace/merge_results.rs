//! Merging the results of nodes into the base of the next: in the cache, where no merge driver of anybody's configuration
//! runs, with the attributes of the pinned commit, and with nothing of the moment in the commit.

use jiff::Timestamp;

use super::object_cache::{ObjectCache, shown};
use super::quarantine::{LIST_CHANGES, NewCommit, parse_changes, parse_id};
use crate::git::{GitError, ObjectId, Repo, Signature};

/// Who merges: nobody in particular, so that the same results always give the same commit.
const NAME: &str = "planspec";
const EMAIL: &str = "planspec@localhost";

/// The outcome of merging two results.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResultMerge {
    /// This commit.
    Commit(ObjectId),
    /// They conflict in these files.
    Conflicts(Vec<String>),
}

impl ObjectCache {
    /// Merges `theirs` into `ours`; both are in the cache. `pinned` says with which attributes.
    ///
    /// # Errors
    /// When an object is missing, or history is cut off before the two meet.
    pub fn merge(
        &self,
        ours: ObjectId,
        theirs: ObjectId,
        pinned: ObjectId,
        message: &str,
    ) -> Result<ResultMerge, GitError> {
        let at: Timestamp = Repo::open(self.dir())?.commit(pinned)?.committer_time;
        let nobody = || Signature { name: NAME.to_owned(), email: EMAIL.to_owned() };
        let commit = NewCommit { author: nobody(), committer: nobody(), at, message: message.to_owned() };
        self.merge_as([ours, theirs], None, pinned, &commit)
    }

    /// How many files differ between two commits of the cache, and how many lines are new and gone.
    ///
    /// # Errors
    /// When an object is missing.
    pub fn count_changes(&self, base: ObjectId, commit: ObjectId) -> Result<(u64, u64, u64), GitError> {
        let program = self.git().args(LIST_CHANGES);
        let output = program.args([&base.to_string(), &commit.to_string()]).run()?;
        if !output.success {
            return Err(GitError::Program { doing: "compare a result with its base", detail: output.stderr });
        }
        let (changes, insertions, deletions) = parse_changes(&output.stdout)?;
        Ok((u64::try_from(changes.len()).unwrap_or(u64::MAX), insertions, deletions))
    }

    /// Merges in somebody's name, as for a branch that people see: both are in the cache, and `attributes` is the commit
    /// whose attributes count. `base` is where the two parted, for a clone that is too shallow to find that out.
    ///
    /// # Errors
    /// As for [`Self::merge`].
    pub fn merge_as(
        &self,
        [ours, theirs]: [ObjectId; 2],
        base: Option<ObjectId>,
        attributes: ObjectId,
        commit: &NewCommit,
    ) -> Result<ResultMerge, GitError> {
        let args = ["merge-tree", "--write-tree", "-z", "--name-only", "--no-messages"];
        let ours_text = ours.to_string();
        let theirs_text = theirs.to_string();
        let mut program = self.git().env("GIT_ATTR_SOURCE", attributes.to_string()).args(args);
        if let Some(base) = base {
            program = program.args([format!("--merge-base={base}")]);
        }
        let output = program.args([&ours_text, &theirs_text]).run()?;
        let mut parts = output.stdout.split(|byte| *byte == 0).filter(|part| !part.is_empty());
        let tree = parts.next().and_then(parse_id);
        let Some(tree) = tree else {
            return Err(GitError::Program { doing: "merge results", detail: output.stderr });
        };
        if !output.success {
            tracing::debug!(%ours, %theirs, "results conflict");
            return Ok(ResultMerge::Conflicts(parts.map(shown).collect()));
        }
        let program =
            self.git().args(["commit-tree", &tree.to_string(), "-p", &ours_text, "-p", &theirs_text]);
        let output = commit.signed(program.args(["-F", "-"])).run()?;
        let commit = parse_id(&output.stdout).filter(|_| output.success);
        let commit = commit.ok_or(GitError::Program { doing: "merge results", detail: output.stderr })?;
        self.complete(commit)?;
        Ok(ResultMerge::Commit(commit))
    }
}
