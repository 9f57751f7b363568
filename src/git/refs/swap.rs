//! References: reading them, and moving them by compare-and-swap under their lock.

use std::thread;
use std::time::Duration;

use git2::{ErrorCode, Oid};

use super::check_name;
use super::lock::{OwnLock, PATIENCE, REFERENCES_LOCK, explain, lock_file};
use crate::git::command::GitCommand;
use crate::git::{GitError, ObjectId, Repo, StopSignal};

/// The outcome of a compare-and-swap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SwapResult {
    /// The reference has the new value.
    Done,
    /// The reference had another value than expected, namely this; nothing was changed.
    Moved(Option<ObjectId>),
}

impl Repo {
    /// The object that a reference (full name) points to; `None` when there is no such reference.
    ///
    /// # Errors
    /// When the name is invalid or the reference broken.
    pub fn read_ref(&self, full_name: &str) -> Result<Option<ObjectId>, GitError> {
        check_name(full_name)?;
        match self.git2().refname_to_id(full_name) {
            Ok(oid) => Ok(Some(ObjectId::from_oid(oid))),
            Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
            Err(source) => Err(GitError::Git { doing: format!("cannot read {full_name}"), source }),
        }
    }

    /// Moves a reference from one value to another in one step: lock, verify, write (Invariant 3). `None` means
    /// absent. `why` goes into the reflog. A lock file that a killed process of planspec left is removed.
    ///
    /// # Errors
    /// When the name is invalid, or [`GitError::Locked`] when somebody else's lock does not go away.
    pub fn swap_ref(
        &self,
        full_name: &str,
        old: Option<ObjectId>,
        new: Option<ObjectId>,
        why: &str,
    ) -> Result<SwapResult, GitError> {
        check_name(full_name)?;
        // libgit2 does not wait for a reference's lock at all; with this one, local runners queue instead of colliding.
        // No signal shortens a wait of 2 s: the last words of a runner that leaves go through here.
        let mut own = OwnLock::take(self, REFERENCES_LOCK, PATIENCE, &StopSignal::default());
        let swapped = self.swap_patiently(full_name, old, new, why, own.as_mut());
        if let Some(own) = &mut own {
            // Also after an error: the note speaks of a lock that this process would have left by dying, and it lives.
            own.clear();
        }
        match &swapped {
            Ok(SwapResult::Done) => {
                tracing::debug!(reference = full_name, ?old, ?new, why, "reference moved");
            }
            Ok(SwapResult::Moved(found)) => {
                tracing::debug!(reference = full_name, expected = ?old, ?found, "lost race: reference moved by another writer");
            }
            Err(error) => {
                tracing::debug!(reference = full_name, %error, "reference not moved");
            }
        }
        swapped
    }

    fn swap_patiently(
        &self,
        full_name: &str,
        old: Option<ObjectId>,
        new: Option<ObjectId>,
        why: &str,
        mut own: Option<&mut OwnLock>,
    ) -> Result<SwapResult, GitError> {
        let lock = lock_file(self, full_name);
        if let Some(own) = &mut own {
            if lock.exists() {
                own.remove_leftover(full_name, &lock);
            }
            // Before Git's lock is made: a process killed in between leaves a note without a lock, which is harmless; the
            // other order would leave a lock without an explanation.
            own.note(full_name);
        }
        let mut waited = Duration::ZERO;
        let mut pause = Duration::from_millis(2);
        loop {
            match self.try_swap(full_name, old, new, why)? {
                Some(swap) => return Ok(swap),
                None if waited >= PATIENCE => break,
                None => {
                    // The holder of the lock may have finished: then waiting on only delays the news of a lost race.
                    let now = self.read_ref(full_name)?;
                    if now != old {
                        return Ok(SwapResult::Moved(now));
                    }
                }
            }
            if waited.is_zero() {
                tracing::info!(reference = full_name, "waiting for another process to release the reference");
            }
            thread::sleep(pause);
            waited += pause;
            pause = (pause * 2).min(Duration::from_millis(100));
        }
        let packed = lock_file(self, "packed-refs");
        Err(explain(&lock)
            .or_else(|| explain(&packed))
            .unwrap_or_else(|| GitError::Contended { reference: full_name.to_owned() }))
    }

    /// One attempt; `None` when the reference is locked.
    fn try_swap(
        &self,
        full_name: &str,
        old: Option<ObjectId>,
        new: Option<ObjectId>,
        why: &str,
    ) -> Result<Option<SwapResult>, GitError> {
        let expected = old.map_or(Ok(Oid::ZERO_SHA1), ObjectId::oid);
        let expected = expected.map_err(GitError::doing("bad object id"))?;
        let Some(new) = new else { return self.try_remove(full_name, old) };
        let new = new.oid().map_err(GitError::doing("bad object id"))?;
        // libgit2 compares under the lock; an expected value of zeros means absent.
        match self.git2().reference_matching(full_name, new, true, expected, why) {
            Ok(_) => Ok(Some(SwapResult::Done)),
            Err(error) => match error.code() {
                ErrorCode::Modified | ErrorCode::NotFound => {
                    let now = self.read_ref(full_name)?;
                    // Removed and made again in between is a race like any other.
                    Ok(if now == old { None } else { Some(SwapResult::Moved(now)) })
                }
                ErrorCode::Locked => Ok(None),
                // libgit2 reports some held locks as other errors; the file shows what it was.
                _ if lock_file(self, full_name).exists() => Ok(None),
                _ => Err(GitError::Git { doing: format!("cannot write {full_name}"), source: error }),
            },
        }
    }

    /// Removes a reference through the `git` program: it also locks `packed-refs`, which libgit2 rewrites
    /// from what it read before the lock.
    fn try_remove(&self, full_name: &str, old: Option<ObjectId>) -> Result<Option<SwapResult>, GitError> {
        let Some(expected) = old else {
            let now = self.read_ref(full_name)?;
            return Ok(Some(if now.is_none() { SwapResult::Done } else { SwapResult::Moved(now) }));
        };
        let expected = expected.to_string();
        // With the old value, so that this is a compare-and-swap as well (Invariant 3).
        let output = GitCommand::new(self.git_dir(), &[])
            .args(["update-ref", "--no-deref", "-d", "--end-of-options", full_name, &expected])
            .run()?;
        if output.success {
            return Ok(Some(SwapResult::Done));
        }
        let now = self.read_ref(full_name)?;
        if now != old {
            return Ok(Some(SwapResult::Moved(now)));
        }
        // Only a lock is worth waiting for. By Git's words and not by a look for the file, which may be gone again by now.
        if output.stderr.contains(".lock': File exists") {
            return Ok(None);
        }
        Err(GitError::Program { doing: "remove a reference", detail: output.stderr })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::{GitError, Signature};
    use jiff::Timestamp;
    use std::fs;

    const NAME: &str = "refs/heads/planspec/status";

    fn repo() -> (tempfile::TempDir, Repo, Vec<ObjectId>) {
        let dir = tempfile::tempdir().unwrap();
        let repo = Repo::init_bare(dir.path(), "main").unwrap();
        let tree = repo.edit_tree(None, &std::collections::BTreeMap::new()).unwrap();
        let person = Signature { name: "Wendy Writer".into(), email: "wendy@example.com".into() };
        let commit = |text| repo.write_commit(tree, &[], text, &person, Timestamp::UNIX_EPOCH).unwrap();
        let commits = ["one", "two", "three"].map(commit).to_vec();
        (dir, repo, commits)
    }

    fn check_swap(repo: &Repo, old: Option<ObjectId>, new: Option<ObjectId>, expected: SwapResult) {
        assert_eq!(repo.swap_ref(NAME, old, new, "test").unwrap(), expected);
        if expected == SwapResult::Done {
            assert_eq!(repo.read_ref(NAME).unwrap(), new);
        }
    }

    #[test]
    fn a_reference_moves_only_from_the_expected_value() {
        let (_dir, repo, c) = repo();
        check_swap(&repo, Some(c[0]), Some(c[1]), SwapResult::Moved(None));
        check_swap(&repo, None, None, SwapResult::Done);
        check_swap(&repo, None, Some(c[0]), SwapResult::Done);
        check_swap(&repo, None, Some(c[1]), SwapResult::Moved(Some(c[0])));
        check_swap(&repo, None, None, SwapResult::Moved(Some(c[0])));
        check_swap(&repo, Some(c[1]), Some(c[2]), SwapResult::Moved(Some(c[0])));
        check_swap(&repo, Some(c[0]), Some(c[1]), SwapResult::Done);
        check_swap(&repo, Some(c[0]), None, SwapResult::Moved(Some(c[1])));
        check_swap(&repo, Some(c[1]), None, SwapResult::Done);
        check_swap(&repo, Some(c[1]), None, SwapResult::Moved(None));
    }

    #[test]
    fn a_packed_reference_is_compared_and_removed_like_any_other() {
        let (dir, repo, c) = repo();
        fs::write(
            dir.path().join("packed-refs"),
            format!("# pack-refs with: peeled fully-peeled sorted \n{} {NAME}\n", c[0]),
        )
        .unwrap();
        assert_eq!(repo.read_ref(NAME).unwrap(), Some(c[0]));
        check_swap(&repo, None, Some(c[1]), SwapResult::Moved(Some(c[0])));
        check_swap(&repo, Some(c[0]), Some(c[1]), SwapResult::Done);
        check_swap(&repo, Some(c[1]), None, SwapResult::Done);
    }

    #[test]
    fn of_many_writers_that_expect_the_same_value_exactly_one_wins_each_round() {
        let (_dir, repo, c) = repo();
        let tree = repo.commit(c[0]).unwrap().tree;
        let rounds = 20;
        let wins: usize = thread::scope(|scope| {
            let write = |number: usize| {
                let repo = repo.reopen().unwrap();
                scope.spawn(move || {
                    let person = Signature { name: format!("W {number}"), email: "w@example.com".into() };
                    let mut wins = 0;
                    loop {
                        let old = repo.read_ref(NAME).unwrap();
                        let parents: Vec<ObjectId> = old.into_iter().collect();
                        if old.is_some_and(|old| repo.log(old).count() >= rounds) {
                            return wins;
                        }
                        let new =
                            repo.write_commit(tree, &parents, "w", &person, Timestamp::UNIX_EPOCH).unwrap();
                        wins += usize::from(
                            repo.swap_ref(NAME, old, Some(new), "w").unwrap() == SwapResult::Done,
                        );
                    }
                })
            };
            let writers: Vec<_> = (0..4).map(write).collect();
            writers.into_iter().map(|writer| writer.join().unwrap()).sum()
        });
        let tip = repo.read_ref(NAME).unwrap().unwrap();
        assert_eq!(repo.log(tip).count(), wins, "every win is in the history, none was overwritten");
        assert!(wins >= rounds);
    }

    #[test]
    fn a_lock_that_a_killed_process_of_ours_left_is_removed() {
        let (_dir, repo, c) = repo();
        let mut own = OwnLock::take(&repo, REFERENCES_LOCK, PATIENCE, &StopSignal::default()).unwrap();
        own.note(NAME);
        // Killed here: the kernel gives the own lock up, the note and Git's lock file stay.
        let lock = lock_file(&repo, NAME);
        fs::create_dir_all(lock.parent().unwrap()).unwrap();
        fs::write(&lock, "").unwrap();
        drop(own);
        check_swap(&repo, None, Some(c[0]), SwapResult::Done);
        assert!(!lock.exists());
    }

    #[test]
    fn a_lock_of_somebody_else_is_waited_for_then_explained_and_never_removed() {
        let (_dir, repo, c) = repo();
        let lock = lock_file(&repo, NAME);
        fs::create_dir_all(lock.parent().unwrap()).unwrap();
        fs::write(&lock, "").unwrap();
        let error = repo.swap_ref(NAME, None, Some(c[0]), "test").unwrap_err();
        assert!(matches!(&error, GitError::Locked { path, .. } if *path == lock), "{error}");
        assert!(error.to_string().contains("remove that file"));
        assert!(lock.exists());
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(Duration::from_millis(100));
                fs::remove_file(&lock).unwrap();
            });
            check_swap(&repo, None, Some(c[0]), SwapResult::Done);
        });
    }

    #[test]
    fn an_old_note_does_not_explain_a_new_lock() {
        let (_dir, repo, c) = repo();
        let mut own = OwnLock::take(&repo, REFERENCES_LOCK, PATIENCE, &StopSignal::default()).unwrap();
        own.note(NAME);
        let file = own.share().unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
        drop((own, file));
        let lock = lock_file(&repo, NAME);
        fs::create_dir_all(lock.parent().unwrap()).unwrap();
        fs::write(&lock, "").unwrap();
        repo.swap_ref(NAME, None, Some(c[0]), "test").unwrap_err();
        assert!(lock.exists());
    }

    #[test]
    fn a_removal_that_fails_for_another_reason_than_a_lock_says_that_reason_at_once() {
        let (dir, repo, c) = repo();
        let packed = format!("# pack-refs with: peeled fully-peeled sorted \n{} {NAME}\n", c[0]);
        fs::write(dir.path().join("packed-refs"), packed).unwrap();
        // Git writes the new list here, under its lock.
        fs::create_dir(dir.path().join("packed-refs.new")).unwrap();
        let begun = std::time::Instant::now();
        let error = repo.swap_ref(NAME, Some(c[0]), None, "test").unwrap_err();
        assert!(
            matches!(&error, GitError::Program { detail, .. } if detail.contains("packed-refs.new")),
            "{error}"
        );
        assert!(begun.elapsed() < PATIENCE, "nothing was there to wait for");
        fs::remove_dir(dir.path().join("packed-refs.new")).unwrap();
        check_swap(&repo, Some(c[0]), None, SwapResult::Done);
    }

    #[test]
    fn names_that_are_no_references_are_refused() {
        let (_dir, repo, c) = repo();
        for name in [
            "",
            "main",
            "refs/heads/",
            "refs/heads/a b",
            "refs/heads/../x",
            "refs/heads/a\nb",
            "refs/heads/x.lock",
        ] {
            assert!(repo.read_ref(name).is_err(), "{name:?}");
            assert!(repo.swap_ref(name, None, Some(c[0]), "test").is_err(), "{name:?}");
        }
    }
}
