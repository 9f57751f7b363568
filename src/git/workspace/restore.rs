//! Files of a result put back to what they were: what the work is judged by is not the worker's to write.

use tempfile::NamedTempFile;

use super::object_cache::{ObjectCache, io, shown};
use super::quarantine::{FileChange, malformed, parse_changes, parse_id};
use crate::git::command::GitCommand;
use crate::git::{GitError, ObjectId};

/// Who puts files back, and when: nobody and never, so that the same result always gives the same commit.
const NOBODY: [(&str, &str); 6] = [
    ("GIT_AUTHOR_NAME", "planspec"),
    ("GIT_AUTHOR_EMAIL", "planspec@localhost"),
    ("GIT_AUTHOR_DATE", "@0 +0000"),
    ("GIT_COMMITTER_NAME", "planspec"),
    ("GIT_COMMITTER_EMAIL", "planspec@localhost"),
    ("GIT_COMMITTER_DATE", "@0 +0000"),
];

/// A commit to judge, with its tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JudgedCommit {
    /// The commit to check out.
    pub commit: ObjectId,
    /// Its tree.
    pub tree: ObjectId,
    /// How many files are those of the base.
    pub restored: u64,
}

impl ObjectCache {
    /// A commit with the files of `result`, but where a path `is_restored` with what `base` has there, which may be nothing;
    /// the result itself where that is the same. Both are in the cache.
    ///
    /// # Errors
    /// When an object is missing, or cannot be written.
    pub fn restore(
        &self,
        base: ObjectId,
        result: ObjectId,
        is_restored: &dyn Fn(&str) -> bool,
    ) -> Result<JudgedCommit, GitError> {
        let changes = self.changes(base, result)?;
        let restored: Vec<&FileChange> =
            changes.iter().filter(|change| is_restored(&shown(&change.path))).collect();
        if restored.is_empty() {
            let tree = self.git().args(["rev-parse", &format!("{result}^{{tree}}")]);
            let tree = parse_id(&run(tree, "read the tree of a result")?).ok_or_else(malformed)?;
            return Ok(JudgedCommit { commit: result, tree, restored: 0 });
        }
        let index = NamedTempFile::new_in(self.dir()).map_err(io("make a file in", self.dir()))?;
        let git = || self.git().env("GIT_INDEX_FILE", index.path());
        run(git().args(["read-tree", &result.to_string()]), "read a result")?;
        // What goes before what comes: a folder may have become a file.
        let mut input = Vec::new();
        for change in restored.iter().filter(|change| change.before.is_none()) {
            entry(&mut input, b"0", base, &change.path);
        }
        for change in &restored {
            if let Some((mode, id)) = change.before {
                entry(&mut input, mode.octal(), id, &change.path);
            }
        }
        let program = git().args(["update-index", "-z", "--replace", "--index-info"]).input(input);
        run(program, "put files back")?;
        let tree = run(git().args(["write-tree"]), "put files back")?;
        let tree = parse_id(&tree).ok_or_else(malformed)?;
        let mut program = self
            .git()
            .args(["commit-tree", &tree.to_string(), "-p", &result.to_string(), "-F", "-"])
            .input(b"Put back what the work is judged by\n".to_vec());
        for (name, value) in NOBODY {
            program = program.env(name, value);
        }
        let commit = parse_id(&run(program, "put files back")?).ok_or_else(malformed)?;
        self.complete(commit)?;
        let count = u64::try_from(restored.len()).unwrap_or(u64::MAX);
        tracing::debug!(%result, %commit, files = count, "files put back before the work is judged");
        Ok(JudgedCommit { commit, tree, restored: count })
    }

    pub(super) fn changes(&self, base: ObjectId, result: ObjectId) -> Result<Vec<FileChange>, GitError> {
        let args = ["diff-tree", "-r", "-z", "--raw", "--no-renames", "--full-index"];
        let program = self.git().args(args).args([&base.to_string(), &result.to_string()]);
        let (changes, _, _) = parse_changes(&run(program, "compare a result with its base")?)?;
        Ok(changes)
    }
}

/// A line of `update-index --index-info`.
fn entry(input: &mut Vec<u8>, mode: &[u8], id: ObjectId, path: &[u8]) {
    input.extend_from_slice(mode);
    input.extend_from_slice(format!(" {id}\t").as_bytes());
    input.extend_from_slice(path);
    input.push(0);
}

fn run(program: GitCommand, doing: &'static str) -> Result<Vec<u8>, GitError> {
    let output = program.run()?;
    if output.success { Ok(output.stdout) } else { Err(GitError::Program { doing, detail: output.stderr }) }
}
