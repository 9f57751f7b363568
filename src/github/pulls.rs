//! Pull requests, their files and their reviews.

use serde::Deserialize;

use super::client::Request;
use super::names::segment;
use super::people::Account;
use super::{GitHub, GitHubError, RepoName};

const NEEDS: &str = "pull-requests: read";

/// A pull request.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct PullRequest {
    /// Its number in the repository.
    pub number: u64,
    /// `open` or `closed`.
    #[serde(default)]
    pub state: String,
    /// Whether it was merged.
    #[serde(default)]
    pub merged_at: Option<String>,
    /// Its author.
    pub user: Option<Account>,
    /// What is to be merged.
    pub head: Side,
    /// Into what.
    pub base: Side,
    /// The commit that merging made, or a trial of the host.
    #[serde(default)]
    pub merge_commit_sha: Option<String>,
    /// Where to read it.
    #[serde(default)]
    pub html_url: String,
}

/// One side of a pull request.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Side {
    /// The branch.
    #[serde(rename = "ref")]
    pub branch: String,
    /// The commit.
    pub sha: String,
    /// The repository; none when it is gone.
    #[serde(default)]
    pub repo: Option<SideRepo>,
}

/// The repository of one side of a pull request.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct SideRepo {
    /// `OWNER/NAME`.
    pub full_name: String,
}

impl PullRequest {
    /// Whether the head lies in another repository than the base.
    #[must_use]
    pub fn is_from_fork(&self) -> bool {
        let name = |side: &Side| side.repo.as_ref().map(|repo| repo.full_name.to_lowercase());
        match (name(&self.head), name(&self.base)) {
            (Some(head), Some(base)) => head != base,
            // A repository that is gone was none of ours.
            _ => true,
        }
    }
}

/// A file that a pull request changes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ChangedFile {
    /// Its path.
    pub filename: String,
    /// `added`, `modified`, `removed`, `renamed` …
    #[serde(default)]
    pub status: String,
}

/// A review of a pull request.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Review {
    /// Its number.
    pub id: u64,
    /// Who wrote it.
    pub user: Option<Account>,
    /// `APPROVED`, `CHANGES_REQUESTED`, `COMMENTED`, `DISMISSED` or `PENDING`.
    pub state: String,
    /// The commit that was reviewed.
    #[serde(default)]
    pub commit_id: Option<String>,
}

impl GitHub {
    /// One pull request.
    ///
    /// # Errors
    /// [`GitHubError`].
    pub async fn pull(&self, repo: &RepoName, number: u64) -> Result<PullRequest, GitHubError> {
        let path = repo.path(&format!("pulls/{number}"));
        self.ask(Request::get(path, &format!("read pull request #{number}"), NEEDS).fresh(true)).await
    }

    /// The files that a pull request changes.
    ///
    /// # Errors
    /// [`GitHubError`].
    pub async fn pull_files(&self, repo: &RepoName, number: u64) -> Result<Vec<ChangedFile>, GitHubError> {
        let path = repo.path(&format!("pulls/{number}/files"));
        self.all(&path, &format!("read the files of #{number}"), NEEDS).await
    }

    /// The reviews of a pull request, oldest first.
    ///
    /// # Errors
    /// [`GitHubError`].
    pub async fn reviews(&self, repo: &RepoName, number: u64) -> Result<Vec<Review>, GitHubError> {
        let path = repo.path(&format!("pulls/{number}/reviews"));
        self.all(&path, &format!("read the reviews of #{number}"), NEEDS).await
    }

    /// One review of a pull request.
    ///
    /// # Errors
    /// [`GitHubError`].
    pub async fn review(&self, repo: &RepoName, number: u64, id: u64) -> Result<Review, GitHubError> {
        let path = repo.path(&format!("pulls/{number}/reviews/{id}"));
        self.ask(Request::get(path, "read a review", NEEDS).fresh(true)).await
    }

    /// The open pull requests from a branch, `OWNER:BRANCH`.
    ///
    /// # Errors
    /// [`GitHubError`].
    pub async fn open_pulls_from(
        &self,
        repo: &RepoName,
        origin: &str,
    ) -> Result<Vec<PullRequest>, GitHubError> {
        let path = repo.path(&format!("pulls?state=open&head={}", super::names::encoded(origin)));
        self.all(&path, "find the pull request of a branch", NEEDS).await
    }

    /// The pull requests that a commit belongs to: those that brought it, or that have it as their head.
    ///
    /// # Errors
    /// [`GitHubError`].
    pub async fn pulls_of(&self, repo: &RepoName, sha: &str) -> Result<Vec<PullRequest>, GitHubError> {
        let path = repo.path(&format!("commits/{}/pulls", segment(sha)?));
        self.all(&path, "find the pull request of a commit", NEEDS).await
    }
}
