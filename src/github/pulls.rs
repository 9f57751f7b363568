//! Pull requests, their files and their reviews.

use serde::Deserialize;

use super::client::ApiRequest;
use super::names::segment;
use super::people::Account;
use super::{GitHub, GitHubError, RepoName};

const NEEDS: &str = "pull-requests: read";

/// A pull request.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct PullRequest {
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
    pub head: PullRequestSide,
    /// Into what.
    pub base: PullRequestSide,
    /// The commit that merging made, or a trial of the host.
    #[serde(default)]
    pub merge_commit_sha: Option<String>,
    /// Where to read it.
    #[serde(default)]
    pub html_url: String,
}

/// One side of a pull request.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct PullRequestSide {
    /// The branch.
    #[serde(rename = "ref")]
    pub branch: String,
    /// The commit.
    pub sha: String,
    /// The repository; none when it is gone.
    #[serde(default)]
    pub repo: Option<PullRequestRepo>,
}

/// The repository of one side of a pull request.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct PullRequestRepo {
    /// `OWNER/NAME`.
    pub full_name: String,
}

impl PullRequest {
    /// Whether the head lies in another repository than the base.
    #[must_use]
    pub(crate) fn is_from_fork(&self) -> bool {
        // The host takes names that differ in case alone for the same.
        let name = |side: &PullRequestSide| side.repo.as_ref().map(|repo| repo.full_name.to_lowercase());
        match (name(&self.head), name(&self.base)) {
            (Some(head), Some(base)) => head != base,
            // A repository that is gone was none of ours.
            _ => true,
        }
    }
}

/// A review of a pull request.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct PullRequestReview {
    /// Its number.
    pub id: u64,
    /// Who wrote it.
    pub user: Option<Account>,
    /// `APPROVED`, `CHANGES_REQUESTED`, `COMMENTED`, `DISMISSED` or `PENDING`.
    pub state: String,
    /// The commit that was reviewed.
    #[serde(default)]
    pub commit_id: Option<String>,
    /// When it was submitted; absent while it is pending.
    #[serde(default)]
    pub submitted_at: Option<String>,
}

impl GitHub {
    /// One pull request.
    ///
    /// # Errors
    /// [`GitHubError`].
    pub(crate) async fn pull(&self, repo: &RepoName, number: u64) -> Result<PullRequest, GitHubError> {
        let path = repo.path(&format!("pulls/{number}"));
        // The event about a pull request may arrive before every machine of the host knows it.
        self.ask(ApiRequest::get(path, &format!("read pull request #{number}"), NEEDS).fresh(true)).await
    }

    /// The reviews of a pull request, oldest first.
    ///
    /// # Errors
    /// [`GitHubError`].
    pub(crate) async fn reviews(
        &self,
        repo: &RepoName,
        number: u64,
    ) -> Result<Vec<PullRequestReview>, GitHubError> {
        let path = repo.path(&format!("pulls/{number}/reviews"));
        self.all(&path, &format!("read the reviews of #{number}"), NEEDS).await
    }

    /// The open pull requests from a branch, `OWNER:BRANCH`.
    ///
    /// # Errors
    /// [`GitHubError`].
    pub(crate) async fn open_pulls_from(
        &self,
        repo: &RepoName,
        origin: &str,
    ) -> Result<Vec<PullRequest>, GitHubError> {
        // The name of a branch may hold anything that Git allows, `&` and `#` included.
        let path = repo.path(&format!("pulls?state=open&head={}", super::names::encoded(origin)));
        self.all(&path, "find the pull request of a branch", NEEDS).await
    }

    /// The pull requests that a commit belongs to: those that brought it, or that have it as their head.
    ///
    /// # Errors
    /// [`GitHubError`].
    pub(crate) async fn pulls_of(&self, repo: &RepoName, sha: &str) -> Result<Vec<PullRequest>, GitHubError> {
        let path = repo.path(&format!("commits/{}/pulls", segment(sha)?));
        self.all(&path, "find the pull request of a commit", NEEDS).await
    }
}
