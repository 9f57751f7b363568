//! Which branch holds the desired state. What is checked out decides only in a repository without a remote, and only until
//! the status branch has recorded a branch.

use crate::config::{CONFIG_FILE, Config};
use crate::git::{GitError, Remote, Repo};
use crate::manifest::{self, overlaps};
use crate::record;

use super::{BranchError, EngineError};

/// The largest `.planspec.yaml`, in bytes.
pub(super) const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// Branches of ours: the default status branch, work branches and proposals.
const OURS: &str = "planspec/";

/// How many commits of the status branch are searched for the branch that they record.
const TRAILERS_READ: usize = 20;

/// Who says which branch holds the desired state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum BranchChoice {
    /// The user, for one command: a branch, or any revision where there is no remote.
    Given(String),
    /// The Git host, which names its default branch in events.
    HostDefault(String),
    /// The repository and its remote.
    #[default]
    Repository,
}

/// The branch at which the search begins, before its configuration is read.
///
/// # Errors
/// Git; [`BranchError`] when no branch can be determined.
pub fn starting_branch(repo: &Repo, remote: Option<&Remote>) -> Result<String, EngineError> {
    let Some(remote) = remote else { return of_repository(repo) };
    // `git clone` writes down what the remote's HEAD names. Asking costs a round trip, so it comes second.
    match remote.known_default_branch(repo)? {
        Some(branch) => Ok(branch),
        None => ask_remote(remote),
    }
}

/// The remote's default branch, else its only branch, as the remote says now.
///
/// # Errors
/// Git; [`BranchError::Undetermined`].
pub(super) fn ask_remote(remote: &Remote) -> Result<String, EngineError> {
    if let Some(branch) = remote.default_branch()? {
        return Ok(branch);
    }
    // A bare repository keeps the HEAD that it was made with, whatever is pushed to it.
    let mut branches = remote.branches()?;
    // A status branch must not pass for the only branch of a remote to which nothing else was pushed.
    branches.retain(|branch| !branch.starts_with(OURS));
    match branches.as_slice() {
        [only] => Ok(only.clone()),
        [] => Err(BranchError::Empty { remote: remote.name().to_owned() }.into()),
        several => {
            // A remote may have thousands, and this is one line of a message.
            let named: Vec<String> = several.iter().take(5).map(|branch| format!("`{branch}`")).collect();
            let more = if several.len() > named.len() { ", …" } else { "" };
            let branches = format!("{}{more}", named.join(", "));
            Err(BranchError::Undetermined { remote: remote.name().to_owned(), branches }.into())
        }
    }
}

/// Without a remote: the branch that the status branch records; at first the one that is checked out.
fn of_repository(repo: &Repo) -> Result<String, EngineError> {
    if let Some(recorded) = recorded_branch(repo)? {
        return Ok(recorded);
    }
    repo.head_branch()?.ok_or_else(|| BranchError::Detached.into())
}

/// The branch that the newest status commits record. A repository with a remote needs none.
///
/// # Errors
/// Git.
pub(super) fn recorded_branch(repo: &Repo) -> Result<Option<String>, EngineError> {
    // The name of the status branch is configured on the branch that is being searched for. The default comes first;
    // else the configuration of what is checked out only says where to search, and the record there decides.
    let mut names = vec![Config::default().status_branch];
    if let Some(config) = checked_out_config(repo)?
        && !names.contains(&config.status_branch)
    {
        names.push(config.status_branch);
    }
    for name in names {
        let Some(tip) = repo.read_ref(&format!("refs/heads/{name}"))? else { continue };
        // Not the tip alone: commits of a runner that used a remote do not say it.
        for commit in repo.log(tip).take(TRAILERS_READ) {
            if let Some(branch) = record::desired_branch(&commit?) {
                return Ok(Some(branch));
            }
        }
    }
    Ok(None)
}

fn checked_out_config(repo: &Repo) -> Result<Option<Config>, EngineError> {
    let commit = match repo.resolve_commit("HEAD") {
        Ok(commit) => commit,
        Err(GitError::UnknownRevision { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let tree = repo.commit(commit)?.tree;
    let Some(blob) = repo.file(tree, CONFIG_FILE)? else { return Ok(None) };
    let bytes = repo.blob(blob, MAX_CONFIG_BYTES)?;
    // What is wrong with it is not said here: it only names where to search, and the one in force is judged
    // when it is read.
    Ok(Some(manifest::load_config(&bytes).0))
}

/// The other branch to which the configuration at `branch` points, if any.
#[must_use]
pub fn redirect<'c>(config: &'c Config, branch: &str) -> Option<&'c str> {
    config.desired_branch.as_deref().filter(|named| *named != branch)
}

/// A branch of ours is never the desired one: its tree holds no manifests, and everything would count as deleted.
///
/// # Errors
/// [`BranchError::Ours`], [`BranchError::Overlap`].
pub(super) fn check_names(branch: &str, config: &Config, is_status_commit: bool) -> Result<(), BranchError> {
    let status = config.status_branch.as_str();
    let ours = |what| Err(BranchError::Ours { branch: branch.to_owned(), what });
    // By its commit and by its name: under another `statusBranch` the default one may still be there from
    // before.
    if is_status_commit || branch == Config::default().status_branch {
        return ours("the status branch");
    }
    // Work branches hold what tasks wrote, and nobody has merged it.
    if branch.starts_with(OURS) {
        return ours("a work branch of planspec");
    }
    if overlaps(branch, status) {
        return Err(BranchError::Overlap { status: status.to_owned(), other: branch.to_owned() });
    }
    Ok(())
}

/// The branch beside which Git could not make the status branch: one of the two names is a folder of the other. A branch of the
/// very same name is the status branch itself.
pub(super) fn in_the_way<'b>(branches: &'b [String], status: &str) -> Option<&'b str> {
    let clashes = |branch: &&String| branch.as_str() != status && overlaps(branch, status);
    branches.iter().find(clashes).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_branch_that_has_just_been_made_is_in_nobody_s_way() {
        let branches = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(in_the_way(&branches(&["main", "planspec/status"]), "planspec/status"), None);
        assert_eq!(in_the_way(&branches(&["main", "planspec"]), "planspec/status"), Some("planspec"));
        let inside = branches(&["planspec/status/old", "planspec/status"]);
        assert_eq!(in_the_way(&inside, "planspec/status"), Some("planspec/status/old"));
    }

    #[test]
    fn branches_of_ours_hold_no_desired_state() {
        let config = Config::default();
        let refused =
            |branch: &str, status: bool| check_names(branch, &config, status).unwrap_err().to_string();
        assert_eq!(
            refused("planspec/status", false),
            "`planspec/status` is the status branch, so it cannot hold the desired state"
        );
        assert!(refused("records", true).contains("is the status branch"));
        assert!(refused("planspec/work/team/run-1/build", false).contains("is a work branch"));
        assert!(refused("planspec", false).contains("cannot be used beside the branch `planspec`"));
        check_names("main", &config, false).unwrap();
    }

    #[test]
    fn the_configuration_points_to_another_branch_only() {
        let config = Config { desired_branch: Some("release".to_owned()), ..Config::default() };
        assert_eq!(redirect(&config, "main"), Some("release"));
        assert_eq!(redirect(&config, "release"), None);
        assert_eq!(redirect(&Config::default(), "main"), None);
    }
}
