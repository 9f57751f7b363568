//! Merging two commits in the object database, without touching a branch or a working tree.

use crate::git::{GitError, ObjectId, Repo, Signature};

/// The result of a merge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MergeResult {
    /// This commit, which no reference names.
    Commit(ObjectId),
    /// The two conflict.
    Conflicts,
}

impl Repo {
    /// Merges `theirs` into `ours`, in the object database alone.
    ///
    /// # Errors
    /// When a commit is not here, or history is cut off before the two meet.
    pub fn merge(&self, ours: ObjectId, theirs: ObjectId) -> Result<MergeResult, GitError> {
        if self.is_ancestor(ours, theirs)? == Some(true) {
            return Ok(MergeResult::Commit(theirs));
        }
        if self.is_ancestor(theirs, ours)? == Some(true) {
            return Ok(MergeResult::Commit(ours));
        }
        let oid = |id: ObjectId| id.oid().map_err(GitError::doing("bad object id"));
        // Without the common ancestor, libgit2 merges as if there were none, and what one side deleted comes back.
        if self.is_shallow() && self.git2().merge_base(oid(ours)?, oid(theirs)?).is_err() {
            return Err(GitError::CutOff { ours, theirs });
        }
        let find = |id: ObjectId| {
            let oid = oid(id)?;
            self.git2().find_commit(oid).map_err(|error| self.missing("commit", id, error))
        };
        let merged = self.git2().merge_commits(&find(ours)?, &find(theirs)?, None);
        let mut index = merged.map_err(GitError::doing("cannot merge"))?;
        if index.has_conflicts() {
            tracing::debug!(%ours, %theirs, "merge has conflicts");
            return Ok(MergeResult::Conflicts);
        }
        let tree = index.write_tree_to(self.git2()).map_err(GitError::doing("cannot write a merged tree"))?;
        let tree = ObjectId::from_oid(tree);
        let author = Signature { name: "planspec".to_owned(), email: "planspec@localhost".to_owned() };
        // No clock and no user: the same two commits always merge into the same commit, whoever asks.
        let at = self.commit(theirs)?.committer_time;
        let message = format!("What merging {theirs} into {ours} would give\n");
        Ok(MergeResult::Commit(self.write_commit(tree, &[ours, theirs], &message, &author, at)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// A commit with these files on top of others.
    fn commit(repo: &Repo, parents: &[ObjectId], files: &[(&str, &str)]) -> ObjectId {
        let base = parents.first().map(|parent| repo.commit(*parent).unwrap().tree);
        let blob = |text: &str| Some(repo.write_blob(text.as_bytes()).unwrap());
        let edits: BTreeMap<String, Option<ObjectId>> =
            files.iter().map(|(path, text)| ((*path).to_owned(), blob(text))).collect();
        let tree = repo.edit_tree(base, &edits).unwrap();
        let wendy = Signature { name: "Wendy".to_owned(), email: "wendy@example.com".to_owned() };
        repo.write_commit(tree, parents, "x", &wendy, jiff::Timestamp::UNIX_EPOCH).unwrap()
    }

    #[test]
    fn both_sides_are_in_what_merging_would_give_and_no_reference_moves() {
        let folder = tempfile::tempdir().unwrap();
        let repo = Repo::init_bare(folder.path(), "main").unwrap();
        let root = commit(&repo, &[], &[("a", "1\n")]);
        let ours = commit(&repo, &[root], &[("b", "2\n")]);
        let theirs = commit(&repo, &[root], &[("c", "3\n")]);
        let MergeResult::Commit(merged) = repo.merge(ours, theirs).unwrap() else { panic!() };
        let tree = repo.commit(merged).unwrap().tree;
        for path in ["a", "b", "c"] {
            assert!(repo.file(tree, path).unwrap().is_some(), "{path}");
        }
        assert_eq!(repo.merge(root, theirs).unwrap(), MergeResult::Commit(theirs));
        assert_eq!(repo.merge(ours, root).unwrap(), MergeResult::Commit(ours));
        assert_eq!(
            repo.merge(ours, commit(&repo, &[root], &[("b", "4\n")])).unwrap(),
            MergeResult::Conflicts
        );
        assert_eq!(repo.read_ref("refs/heads/main").unwrap(), None);
    }
}
