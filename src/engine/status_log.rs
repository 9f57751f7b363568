//! The commits of the status branch. A clone that is shallow and new has only the newest of them, as they hold everything that most passes
//! ask for; whoever walks further brings the rest here.

use super::EngineError;
use crate::config::Config;
use crate::git::{Commit, CommitLog, GitError, NewestCommits, ObjectId, Remote, Repo};

/// How many commits a shallow clone gets that has none of the branch yet: as many as the longest search reads that does without the rest,
/// that for who signed what is shown.
const NEWEST: u32 = 2_000;

/// The full name of the status branch.
#[must_use]
pub fn status_ref(config: &Config) -> String {
    format!("refs/heads/{}", config.status_branch)
}

/// What a remote is asked for of a status branch, by its full name.
pub(crate) fn newest_of(reference: &str) -> NewestCommits<'_> {
    NewestCommits { reference, count: NEWEST }
}

/// The commits of the status branch along first parents, newest first; see [`CommitLog`]. Where a shallow clone is cut off, the rest is
/// fetched when it is asked for.
pub(crate) struct StatusLog<'a> {
    repo: &'a Repo,
    log: CommitLog<'a>,
    /// Where the rest can be had; nothing once it was asked for.
    rest: Option<(&'a Remote, String)>,
    /// The last commit that is here, after the rest could not be had.
    held: Option<Commit>,
}

impl<'a> StatusLog<'a> {
    /// The commits from this one back. An error where the rest cannot be had, and after it the last commit that is here.
    pub(crate) fn new(repo: &'a Repo, remote: Option<&'a Remote>, config: &Config, from: ObjectId) -> Self {
        let rest = remote.map(|remote| (remote, status_ref(config)));
        Self { repo, log: repo.log(from), rest, held: None }
    }

    /// Whether there are older commits that are not here.
    pub(crate) fn is_cut(&self) -> bool {
        self.log.is_cut()
    }

    /// The commit again at which the clone was cut off, with its parents.
    fn continue_at(&mut self, commit: ObjectId) -> Result<Option<Commit>, EngineError> {
        let Some((remote, reference)) = self.rest.take() else { return Ok(None) };
        remote.fetch_whole(self.repo, &reference)?;
        let mut log = self.repo.log(commit);
        let again = log.next().transpose()?;
        // Another history took the place of this one meanwhile, and its commits are not to be had by the branch.
        if log.is_cut() {
            return Err(GitError::Missing { kind: "parent of", id: commit, shallow: true }.into());
        }
        self.log = log;
        Ok(again)
    }
}

impl Iterator for StatusLog<'_> {
    type Item = Result<Commit, EngineError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(held) = self.held.take() {
            return Some(Ok(held));
        }
        let commit = match self.log.next()? {
            Ok(commit) => commit,
            Err(error) => return Some(Err(error.into())),
        };
        if !self.log.is_cut() {
            return Some(Ok(commit));
        }
        // Before it is looked at: without its parents it would pass for the first one.
        match self.continue_at(commit.id) {
            Ok(again) => Some(Ok(again.unwrap_or(commit))),
            Err(error) => {
                self.held = Some(commit);
                Some(Err(error))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;
    use std::time::Duration;

    use jiff::Timestamp;

    use super::*;
    use crate::git::{RemoteOptions, Signature};

    /// A repository with a status branch of three commits, and a clone that has the newest one.
    fn cut(dir: &Path) -> (Repo, Remote, ObjectId) {
        let (served, branch) = (dir.join("served"), status_ref(&Config::default()));
        let repo = Repo::init_bare(&served, "main").unwrap();
        let tree = repo.edit_tree(None, &BTreeMap::new()).unwrap();
        let by = Signature { name: "W".into(), email: "w@example.com".into() };
        let mut tip = None;
        for number in 0..3 {
            let message = format!("commit {number}");
            let parents: Vec<ObjectId> = tip.into_iter().collect();
            tip = Some(repo.write_commit(tree, &parents, &message, &by, Timestamp::UNIX_EPOCH).unwrap());
        }
        repo.swap_ref(&branch, None, tip, "test").unwrap();
        repo.swap_ref("refs/heads/main", None, tip, "test").unwrap();
        let mut git = std::process::Command::new("git");
        let url = format!("file://{}", served.display());
        let clone =
            git.args(["clone", "--quiet", "--depth=1", &url]).arg(dir.join("clone")).status().unwrap();
        assert!(clone.success());
        let clone = Repo::open(&dir.join("clone")).unwrap();
        let options =
            RemoteOptions { retries: 0, backoff: Duration::from_millis(1), ..RemoteOptions::default() };
        let remote = Remote::open(&clone, "origin", options).unwrap();
        (clone, remote, tip.unwrap())
    }

    fn subjects(log: &mut StatusLog<'_>) -> Vec<Result<String, String>> {
        let shown = |commit: Result<Commit, EngineError>| {
            commit.map(|commit| commit.subject().to_owned()).map_err(|error| error.to_string())
        };
        log.map(shown).collect()
    }

    #[test]
    fn the_rest_comes_before_the_commit_is_shown_at_which_it_was_cut_off() {
        let dir = tempfile::tempdir().unwrap();
        let (clone, remote, tip) = cut(dir.path());
        let config = Config::default();
        let mut log = StatusLog::new(&clone, Some(&remote), &config, tip);
        let first = log.next().unwrap().unwrap();
        assert_eq!(first.parents.len(), 1);
        assert_eq!(subjects(&mut log), [Ok("commit 1".to_owned()), Ok("commit 0".to_owned())]);
        assert!(!log.is_cut());
    }

    #[test]
    fn where_the_rest_cannot_be_had_an_error_comes_before_what_is_here() {
        let dir = tempfile::tempdir().unwrap();
        let (clone, remote, tip) = cut(dir.path());
        std::fs::remove_dir_all(dir.path().join("served")).unwrap();
        let config = Config::default();
        let mut log = StatusLog::new(&clone, Some(&remote), &config, tip);
        let shown = subjects(&mut log);
        assert!(matches!(&shown[..], [Err(_), Ok(last)] if last == "commit 2"), "{shown:?}");
        assert!(log.is_cut());
        // Nobody can be asked, and whoever looks can tell.
        let mut alone = StatusLog::new(&clone, None, &config, tip);
        assert_eq!(subjects(&mut alone), [Ok("commit 2".to_owned())]);
        assert!(alone.is_cut());
    }
}
