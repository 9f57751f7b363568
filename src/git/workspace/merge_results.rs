//! Merging the results of nodes into the base of the next: in the cache, where no merge driver of anybody's configuration
//! runs, with the attributes of the pinned commit, and with nothing of the moment in the commit.

use jiff::Timestamp;

use super::object_cache::{ObjectCache, shown};
use super::quarantine::parse_id;
use crate::git::{GitError, ObjectId, Repo};

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
        let args = ["merge-tree", "--write-tree", "-z", "--name-only", "--no-messages"];
        let ours_text = ours.to_string();
        let theirs_text = theirs.to_string();
        let program = self.git().env("GIT_ATTR_SOURCE", pinned.to_string());
        let output = program.args(args).args([&ours_text, &theirs_text]).run()?;
        let mut parts = output.stdout.split(|byte| *byte == 0).filter(|part| !part.is_empty());
        let tree = parts.next().and_then(parse_id);
        let Some(tree) = tree else {
            return Err(GitError::Program { doing: "merge results", detail: output.stderr });
        };
        if !output.success {
            tracing::debug!(%ours, %theirs, "results conflict");
            return Ok(ResultMerge::Conflicts(parts.map(shown).collect()));
        }
        let at: Timestamp = Repo::open(self.dir())?.commit(pinned)?.committer_time;
        let at = format!("{} +0000", at.as_second());
        let output = self
            .git()
            .args(["commit-tree", &tree.to_string(), "-p", &ours_text, "-p", &theirs_text, "-F", "-"])
            .env("GIT_AUTHOR_NAME", NAME)
            .env("GIT_AUTHOR_EMAIL", EMAIL)
            .env("GIT_AUTHOR_DATE", &at)
            .env("GIT_COMMITTER_NAME", NAME)
            .env("GIT_COMMITTER_EMAIL", EMAIL)
            .env("GIT_COMMITTER_DATE", &at)
            .input(message.as_bytes().to_vec())
            .run()?;
        let commit = parse_id(&output.stdout).filter(|_| output.success);
        let commit = commit.ok_or(GitError::Program { doing: "merge results", detail: output.stderr })?;
        self.complete(commit)?;
        Ok(ResultMerge::Commit(commit))
    }
}
