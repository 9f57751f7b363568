//! Moving a branch forward to a commit that holds it, as `git merge --ff-only` does: where the branch is checked out, index
//! and working tree follow, and nothing that is not committed gets lost.

use crate::git::command::GitCommand;
use crate::git::refs::{check_name, explain};
use crate::git::{GitError, ObjectId, Repo, SwapResult};

impl Repo {
    /// Moves a branch from `from` to `to`, a descendant of it, if it still is at `from` (Invariant 3). Where it is checked out
    /// here, the working tree follows, so that `git status` does not list a reversal of what came in.
    ///
    /// # Errors
    /// [`GitError::Overwritten`] when changes that are not committed are in the way, [`GitError::CheckedOutElsewhere`],
    /// [`GitError::Locked`].
    pub fn advance_branch(
        &self,
        branch: &str,
        from: ObjectId,
        to: ObjectId,
        why: &str,
    ) -> Result<SwapResult, GitError> {
        let reference = format!("refs/heads/{branch}");
        check_name(&reference)?;
        self.refuse_other_checkouts(branch, &reference)?;
        let here = self.head_branch()?.as_deref() == Some(branch);
        let Some(work_tree) = self.work_tree().filter(|_| here) else {
            return self.swap_ref(&reference, Some(from), Some(to), why);
        };
        let now = self.read_ref(&reference)?;
        if now != Some(from) {
            return Ok(SwapResult::Moved(now));
        }
        // Git's own fast-forward: it looks before it writes, takes the user's filters and line ends, and moves the branch
        // only from where it began. Killed between the files and the branch, it leaves files of the new commit, which the next
        // call takes as they are.
        let settings = ["-c", "merge.verifySignatures=false"].map(Into::into);
        let output = GitCommand::new(work_tree, &settings)
            .args(["merge", "--ff-only", "--quiet", "--no-autostash", &to.to_string()])
            .env("GIT_REFLOG_ACTION", why)
            .run()?;
        let now = self.read_ref(&reference)?;
        if now == Some(to) {
            tracing::debug!(branch, %from, %to, "branch and working tree advanced");
            return Ok(SwapResult::Done);
        }
        if now != Some(from) {
            return Ok(SwapResult::Moved(now));
        }
        // An editor's `git status` holds this lock for some milliseconds: that is no matter of the user's changes.
        let locked = explain(&self.git_dir().join("index.lock"));
        let path = work_tree.to_owned();
        Err(locked.unwrap_or(GitError::Overwritten {
            branch: branch.to_owned(),
            path,
            detail: output.stderr,
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::git::Signature;

    fn commit(repo: &Repo, parents: &[ObjectId], files: &[(&str, &str)]) -> ObjectId {
        let edits: BTreeMap<String, Option<ObjectId>> = (files.iter())
            .map(|(path, text)| ((*path).to_owned(), Some(repo.write_blob(text.as_bytes()).unwrap())))
            .collect();
        let tree = repo.edit_tree(None, &edits).unwrap();
        let person = Signature { name: "Wendy".into(), email: "wendy@example.com".into() };
        repo.write_commit(tree, parents, "x", &person, jiff::Timestamp::UNIX_EPOCH).unwrap()
    }

    /// A working tree of `main` at the first of two commits; the second changes `a` and adds `b`.
    fn checkout(folder: &Path) -> (Repo, ObjectId, ObjectId) {
        let repo = Repo::init(folder, "main").unwrap();
        let from = commit(&repo, &[], &[("a", "1\n"), ("c", "c\n")]);
        let to = commit(&repo, &[from], &[("a", "2\n"), ("b", "b\n"), ("c", "c\n")]);
        repo.swap_ref("refs/heads/main", None, Some(from), "test").unwrap();
        let reset = GitCommand::new(folder, &[]).args(["reset", "--quiet", "--hard"]).run().unwrap();
        assert!(reset.success, "{}", reset.stderr);
        (repo, from, to)
    }

    #[test]
    fn a_checked_out_branch_takes_its_working_tree_along_and_keeps_what_is_not_committed() {
        let folder = tempfile::tempdir().unwrap();
        let (repo, from, to) = checkout(folder.path());
        let file = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        fs::write(folder.path().join("c"), "edited\n").unwrap();
        fs::write(folder.path().join("b"), "mine\n").unwrap();
        let refused = repo.advance_branch("main", from, to, "test").unwrap_err();
        assert!(
            matches!(&refused, GitError::Overwritten { detail, .. } if detail.contains('b')),
            "{refused}"
        );
        assert_eq!((file("a"), file("b")), ("1\n".to_owned(), "mine\n".to_owned()));
        fs::remove_file(folder.path().join("b")).unwrap();
        assert_eq!(repo.advance_branch("main", from, to, "test").unwrap(), SwapResult::Done);
        assert_eq!((file("a"), file("b"), file("c")), ("2\n".into(), "b\n".into(), "edited\n".into()));
        assert_eq!(repo.advance_branch("main", from, to, "test").unwrap(), SwapResult::Moved(Some(to)));
    }

    #[test]
    fn a_branch_that_is_not_checked_out_moves_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (repo, from, to) = checkout(folder.path());
        repo.swap_ref("refs/heads/next", None, Some(from), "test").unwrap();
        assert_eq!(repo.advance_branch("next", from, to, "test").unwrap(), SwapResult::Done);
        assert!(!folder.path().join("b").exists());
    }
}
