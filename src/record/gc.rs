//! Squashing the old history of the status branch into one commit. Makes objects only; the caller publishes the new tip with
//! an exact lease. Old records themselves are shortened by `shrink`.

use jiff::Timestamp;

use super::RecordError;
use super::message::{DESIRED_BRANCH, SQUASHED, desired_branch};
use crate::git::{Commit, GitError, ObjectId, Repo};
use crate::markup::grouped;

/// A history made shorter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Squash {
    /// The new tip; its tree is that of the old one.
    pub tip: ObjectId,
    /// How many commits were put together into the new root.
    pub squashed: usize,
    /// How many commits follow it, with the content, message, author and time that they had.
    pub kept: usize,
}

/// Squashes the commits made before `cutoff` into one, which becomes the root, and rewrites the later ones on top of it.
/// `None` when there are fewer than two to squash. A pure function of the history: two runners that squash at once make the
/// same commits, so one of them finds the branch up to date. In a shallow clone only the commits that are here are counted;
/// the trees are the same.
///
/// # Errors
/// When Git fails.
pub fn squash(repo: &Repo, tip: ObjectId, cutoff: Timestamp) -> Result<Option<Squash>, RecordError> {
    squash_with(repo, tip, cutoff, &Ok::<ObjectId, GitError>)
}

/// The same, with each commit as `finish` gives it: one that is made anew has lost the signature that it had.
///
/// # Errors
/// When Git or `finish` fails.
pub fn squash_with(
    repo: &Repo,
    tip: ObjectId,
    cutoff: Timestamp,
    finish: &dyn Fn(ObjectId) -> Result<ObjectId, GitError>,
) -> Result<Option<Squash>, RecordError> {
    let mut later = Vec::new();
    let mut last_old: Option<Commit> = None;
    let mut squashed = 0_usize;
    // First parents alone, as only such commits are made here; a merge by hand keeps its tree and loses its other side.
    for commit in repo.log(tip) {
        let commit = commit?;
        if last_old.is_some() {
            squashed += 1;
        } else if commit.committer_time < cutoff {
            squashed = 1;
            last_old = Some(commit);
        } else {
            // Ids only, as the part that is kept may be as long as a month of a busy repository.
            later.push(commit.id);
        }
    }
    let Some(last_old) = last_old.filter(|_| squashed > 1) else { return Ok(None) };
    let mut message = format!(
        "{} status commits up to {}\n\nThe state of this branch at that time; what led to it was squashed by `planspec gc`.\n\n{SQUASHED}: {}\n",
        grouped(squashed),
        last_old.committer_time,
        last_old.id,
    );
    if let Some(branch) = desired_branch(&last_old) {
        message.push_str(&format!("{DESIRED_BRANCH}: {branch}\n"));
    }
    let mut new = finish(repo.write_commit(
        last_old.tree,
        &[],
        &message,
        &last_old.committer,
        last_old.committer_time,
    )?)?;
    // Author and time stay those of the runner that wrote the commit: `history` and the shared push budget read them.
    for id in later.iter().rev() {
        let commit = repo.commit(*id)?;
        let kept =
            repo.write_commit(commit.tree, &[new], &commit.message, &commit.author, commit.author_time)?;
        new = finish(kept)?;
    }
    tracing::info!(old_tip = %tip, tip = %new, squashed, kept = later.len(), "history of the status branch squashed");
    Ok(Some(Squash { tip: new, squashed, kept: later.len() }))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::git::Signature;

    struct History {
        _dir: tempfile::TempDir,
        repo: Repo,
        tip: ObjectId,
    }

    fn day(number: i64) -> Timestamp {
        Timestamp::from_second(number * 86_400).unwrap()
    }

    /// One commit a day, each with a file more than the one before.
    fn history(days: i64) -> History {
        let dir = tempfile::tempdir().unwrap();
        let repo = Repo::init_bare(dir.path(), "main").unwrap();
        let mut tip: Option<ObjectId> = None;
        for number in 0..days {
            let blob = repo.write_blob(number.to_string().as_bytes()).unwrap();
            let base = tip.map(|tip| repo.commit(tip).unwrap().tree);
            let tree = repo.edit_tree(base, &BTreeMap::from([(number.to_string(), Some(blob))])).unwrap();
            let author = Signature { name: format!("runner {number}"), email: "r@example.org".into() };
            let message = format!("day {number}\n\na/goal/b: Pending\n\nPlanspec-Runner: r\n");
            let parents: Vec<ObjectId> = tip.into_iter().collect();
            tip = Some(repo.write_commit(tree, &parents, &message, &author, day(number)).unwrap());
        }
        History { _dir: dir, repo, tip: tip.unwrap() }
    }

    fn log(repo: &Repo, tip: ObjectId) -> Vec<Commit> {
        repo.log(tip).map(Result::unwrap).collect()
    }

    #[test]
    fn old_commits_become_one_and_later_ones_stay_as_they_were() {
        let History { _dir, repo, tip } = history(10);
        let before = log(&repo, tip);
        let squash = squash(&repo, tip, day(6)).unwrap().unwrap();
        assert_eq!((squash.squashed, squash.kept), (6, 4));
        let after = log(&repo, squash.tip);
        assert_eq!(after.len(), 5);
        for (old, new) in before.iter().zip(&after[..4]) {
            let same = Commit { id: old.id, parents: old.parents.clone(), ..new.clone() };
            assert_eq!(same, *old);
        }
        let root = &after[4];
        assert!(root.parents.is_empty());
        assert_eq!(root.tree, before[4].tree);
        assert_eq!(root.committer_time, day(5));
        assert_eq!(root.subject(), "6 status commits up to 1970-01-06T00:00:00Z");
        assert_eq!(root.trailers(), [(SQUASHED.to_owned(), before[4].id.to_string())]);
    }

    #[test]
    fn the_same_history_is_squashed_into_the_same_commits() {
        let History { _dir, repo, tip } = history(5);
        let once = squash(&repo, tip, day(3)).unwrap().unwrap();
        assert_eq!(squash(&repo, tip, day(3)).unwrap(), Some(once));
        assert_eq!(squash(&repo, once.tip, day(3)).unwrap(), None, "one old commit is left");
        assert_eq!(squash(&repo, once.tip, day(5)).unwrap().unwrap().squashed, 3);
    }

    #[test]
    fn a_young_history_is_left_alone() {
        let History { _dir, repo, tip } = history(3);
        assert_eq!(squash(&repo, tip, day(0)).unwrap(), None);
        assert_eq!(squash(&repo, tip, day(1)).unwrap(), None);
        let all = squash(&repo, tip, day(99)).unwrap().unwrap();
        assert_eq!((all.squashed, all.kept), (3, 0));
        assert_eq!(repo.commit(all.tip).unwrap().tree, repo.commit(tip).unwrap().tree);
    }
}
