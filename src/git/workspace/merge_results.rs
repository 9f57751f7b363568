//! Merging the results of nodes into the base of the next: in the cache, where no merge driver of anybody's configuration
//! runs, with the attributes of the pinned commit, and with nothing of the moment in the commit.

use jiff::Timestamp;

use super::object_cache::{ObjectCache, shown};
use super::quarantine::{LIST_CHANGES, NewCommit, parse_changes, parse_id};
use crate::git::{GitError, ObjectId, Repo, Signature};

/// Who merges: nobody in particular, so that the same results always give the same commit.
const NAME: &str = "planspec";
const EMAIL: &str = "planspec@localhost";

/// The hexadecimal digits of an object id, of the shorter of Git's two formats.
const ID_DIGITS: usize = 40;

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
        let commit = NewCommit { author: nobody(), committer: nobody(), at, message: message.to_owned() };
        self.merge_as([ours, theirs], None, pinned, &commit)
    }

    /// Makes what `result` changed of `from` once more, on top of `onto`: a commit by the same author, with the same message. All
    /// three are in the cache; `pinned` says with which attributes.
    ///
    /// # Errors
    /// When an object is missing.
    pub fn carry(
        &self,
        (from, result): (ObjectId, ObjectId),
        onto: ObjectId,
        pinned: ObjectId,
    ) -> Result<ResultMerge, GitError> {
        let (tree, conflicts) = self.merge_tree([onto, result], Some(from), pinned)?;
        if let Some(files) = conflicts {
            tracing::debug!(%onto, %result, "a result conflicts with what it is carried to");
            return Ok(ResultMerge::Conflicts(files));
        }
        let made = Repo::open(self.dir())?.commit(result)?;
        // One parent: the history of the old base may hold what this one has in other commits, or not at all, and a later merge
        // would take the difference for a change.
        let message = format!("{}\nPlanspec-Carried-From: {result}\n", made.message.trim_end());
        let commit =
            NewCommit { author: made.author, committer: made.committer, at: made.committer_time, message };
        Ok(ResultMerge::Commit(self.commit_tree(tree, &[onto], &commit)?))
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
        let (tree, conflicts) = self.merge_tree([ours, theirs], base, attributes)?;
        if let Some(files) = conflicts {
            tracing::debug!(%ours, %theirs, "results conflict");
            return Ok(ResultMerge::Conflicts(files));
        }
        Ok(ResultMerge::Commit(self.commit_tree(tree, &[ours, theirs], commit)?))
    }

    /// Merges `theirs` into `ours` whatever conflicts: the files hold both sides between conflict markers, and the message names
    /// them. Both are in the cache; `base` is where the two parted, for a clone that is too shallow to find that out.
    ///
    /// # Errors
    /// As for [`Self::merge`].
    pub fn merge_marked(
        &self,
        [ours, theirs]: [ObjectId; 2],
        base: Option<ObjectId>,
        subject: &str,
    ) -> Result<ObjectId, GitError> {
        let at: Timestamp = Repo::open(self.dir())?.commit(theirs)?.committer_time;
        let (tree, conflicts) = self.merge_tree([ours, theirs], base, ours)?;
        let list = conflicts.map(|files| format!("\nConflicts:\n\t{}\n", files.join("\n\t")));
        let message = format!("{subject}\n{}", list.unwrap_or_default());
        let commit = NewCommit { author: nobody(), committer: nobody(), at, message };
        self.commit_tree(tree, &[ours, theirs], &commit)
    }

    /// The files in which a merge of [`Self::merge_marked`] left conflict markers.
    ///
    /// # Errors
    /// When an object is missing.
    pub fn marked_files(&self, merge: ObjectId) -> Result<Vec<Vec<u8>>, GitError> {
        let repo = Repo::open(self.dir())?;
        let commit = repo.commit(merge)?;
        let &[ours, _] = commit.parents.as_slice() else { return Ok(Vec::new()) };
        let mut marked = Vec::new();
        for change in self.changes(ours, merge)? {
            let Some((_, id)) = change.after.filter(|(mode, _)| mode.is_file()) else { continue };
            if holds_marker(&repo.blob(id, u64::MAX)?) {
                marked.push(change.path);
            }
        }
        Ok(marked)
    }

    /// The tree of a merge, and the files that conflict in it, if any do.
    fn merge_tree(
        &self,
        [ours, theirs]: [ObjectId; 2],
        base: Option<ObjectId>,
        attributes: ObjectId,
    ) -> Result<(ObjectId, Option<Vec<String>>), GitError> {
        let args = ["merge-tree", "--write-tree", "-z", "--name-only", "--no-messages"];
        let mut program = self.git().env("GIT_ATTR_SOURCE", attributes.to_string()).args(args);
        if let Some(base) = base {
            program = program.args([format!("--merge-base={base}")]);
        }
        let output = program.args([ours.to_string(), theirs.to_string()]).run()?;
        let mut parts = output.stdout.split(|byte| *byte == 0).filter(|part| !part.is_empty());
        let tree = parts.next().and_then(parse_id);
        let tree = tree.ok_or(GitError::Program { doing: "merge results", detail: output.stderr })?;
        Ok((tree, (!output.success).then(|| parts.map(shown).collect())))
    }

    fn commit_tree(
        &self,
        tree: ObjectId,
        parents: &[ObjectId],
        commit: &NewCommit,
    ) -> Result<ObjectId, GitError> {
        let parents = parents.iter().flat_map(|parent| ["-p".to_owned(), parent.to_string()]);
        let program = self.git().args(["commit-tree", &tree.to_string()]).args(parents);
        let output = commit.signed(program.args(["-F", "-"])).run()?;
        let commit = parse_id(&output.stdout).filter(|_| output.success);
        let commit = commit.ok_or(GitError::Program { doing: "merge results", detail: output.stderr })?;
        self.complete(commit)?;
        Ok(commit)
    }
}

fn nobody() -> Signature {
    Signature { name: NAME.to_owned(), email: EMAIL.to_owned() }
}

/// Whether a file holds a conflict marker with the id of a commit, as a merge of ours writes it: other lines that begin like one
/// may be part of a text.
#[must_use]
pub fn holds_marker(content: &[u8]) -> bool {
    content.split(|byte| *byte == b'\n').any(|line| {
        let id = line.strip_prefix(b"<<<<<<< ").or_else(|| line.strip_prefix(b">>>>>>> "));
        // Behind the id there may be the path, where the two sides have different ones.
        let digits = id.map_or(0, |id| id.iter().take_while(|byte| byte.is_ascii_hexdigit()).count());
        digits >= ID_DIGITS
    })
}
