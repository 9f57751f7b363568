//! Moving several references in one transaction, all or none.

use std::thread;
use std::time::Duration;

use super::check_name;
use super::lock::{OwnLock, PATIENCE, REFERENCES_LOCK, explain, lock_file};
use crate::git::command::GitCommand;
use crate::git::{GitError, ObjectId, Repo, StopSignal};

/// A reference and where it should move, here or on a remote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefUpdate {
    /// The full name.
    pub reference: String,
    /// Its value now; `None` when it must not exist.
    pub expected: Option<ObjectId>,
    /// The commit that it should point to.
    pub new: ObjectId,
}

impl Repo {
    /// Moves references from their expected values, all or none (Invariant 3). Says whether they moved; when not, one of them
    /// had another value. A crash in the middle may leave the first ones moved: put first what the others rely on.
    ///
    /// # Errors
    /// When a name is invalid, or [`GitError::Locked`] when somebody else's lock does not go away.
    pub fn swap_refs(&self, updates: &[RefUpdate], why: &str) -> Result<bool, GitError> {
        let mut input = String::from("start\n");
        for RefUpdate { reference, expected, new } in updates {
            check_name(reference)?;
            // Forty zeros stand for a reference that does not exist.
            let expected = expected.unwrap_or(ObjectId::from_bytes([0; 20]));
            input.push_str(&format!("update {reference} {new} {expected}\n"));
        }
        input.push_str("prepare\ncommit\n");
        // The program, since libgit2 commits the references of a transaction in the order of a hash table.
        let mut own = OwnLock::take(self, REFERENCES_LOCK, PATIENCE, &StopSignal::default());
        if let Some(own) = &mut own {
            for RefUpdate { reference, .. } in updates {
                // What a process left that was killed while it moved this reference alone. The program leaves nothing: it
                // outlives a planspec that is killed.
                own.remove_leftover(reference, &lock_file(self, reference));
            }
        }
        let mut waited = Duration::ZERO;
        let mut pause = Duration::from_millis(2);
        loop {
            let program = GitCommand::new(self.git_dir(), &[]).args(["update-ref", "-m", why, "--stdin"]);
            let output = program.input(input.clone().into_bytes()).run()?;
            if output.success {
                tracing::debug!(references = updates.len(), why, "references moved");
                return Ok(true);
            }
            for update in updates {
                let found = self.read_ref(&update.reference)?;
                if found != update.expected {
                    let expected = update.expected;
                    tracing::debug!(
                        reference = update.reference,
                        ?expected,
                        ?found,
                        "lost race: reference moved"
                    );
                    return Ok(false);
                }
            }
            if waited >= PATIENCE {
                let locks = updates.iter().map(|update| lock_file(self, &update.reference));
                let locked = locks.chain([lock_file(self, "packed-refs")]).find_map(|lock| explain(&lock));
                return Err(
                    locked.unwrap_or(GitError::Program { doing: "move references", detail: output.stderr })
                );
            }
            thread::sleep(pause);
            waited += pause;
            pause = (pause * 2).min(Duration::from_millis(100));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::git::Signature;

    #[test]
    fn several_references_move_together_or_not_at_all() {
        let directory = tempfile::tempdir().unwrap();
        let repo = Repo::init_bare(directory.path(), "main").unwrap();
        let tree = repo.edit_tree(None, &BTreeMap::new()).unwrap();
        let person = Signature { name: "Wendy".into(), email: "wendy@example.com".into() };
        let commit =
            |text: &str| repo.write_commit(tree, &[], text, &person, jiff::Timestamp::UNIX_EPOCH).unwrap();
        let one = commit("one");
        let two = commit("two");
        let update = |name: &str, expected, new| RefUpdate { reference: name.to_owned(), expected, new };
        let kept = "refs/planspec/results/t/e";
        let status = "refs/heads/planspec/status";
        assert!(repo.swap_refs(&[update(kept, None, one), update(status, None, one)], "test").unwrap());
        let stale = [update(kept, Some(one), two), update(status, Some(two), one)];
        assert!(!repo.swap_refs(&stale, "test").unwrap());
        assert_eq!(repo.read_ref(kept).unwrap(), Some(one));
        assert!(repo.swap_refs(&[update("refs/heads/a b", None, one)], "test").is_err());
        // Killed while it moved one of them alone: its note and Git's lock file stay.
        let mut own = OwnLock::take(&repo, REFERENCES_LOCK, PATIENCE, &StopSignal::default()).unwrap();
        own.note(status);
        std::fs::write(lock_file(&repo, status), "").unwrap();
        drop(own);
        assert!(repo.swap_refs(&[update(status, Some(one), two)], "test").unwrap());
    }
}
