//! Pull requests, their files and their reviews.

use serde::{Deserialize, Serialize};

use super::client::{ApiRequest, Method};
use super::names::segment;
use super::people::Account;
use super::{GitHub, GitHubError, RepoName};

const NEEDS: &str = "pull-requests: read";
pub(super) const CHANGES: &str = "pull-requests: write";

/// A pull request.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct PullRequest {
    /// Its number in the repository.
    pub number: u64,
    /// `open` or `closed`.
    #[serde(default)]
    pub state: String,
    /// Whether it cannot be merged before somebody says that it is ready.
    #[serde(default)]
    pub draft: bool,
    /// Whether it was merged.
    #[serde(default)]
    pub merged_at: Option<String>,
    /// Its author.
    pub user: Option<Account>,
    /// Who merged it; only where one pull request is read, and not a list of them.
    #[serde(default)]
    pub merged_by: Option<Account>,
    /// How many commits it has; likewise.
    #[serde(default)]
    pub commits: Option<usize>,
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
    /// The title.
    #[serde(default)]
    pub title: String,
    /// The text.
    #[serde(default)]
    pub body: Option<String>,
    /// Its name in the other API of the host, which alone knows drafts and automatic merges.
    #[serde(default)]
    pub node_id: String,
    /// How the host merges it by itself; none unless somebody asked for that.
    #[serde(default)]
    pub auto_merge: Option<serde_json::Value>,
    /// What stands in the way of a merge: `dirty` for a conflict, `blocked` for a rule of the base. The host works it out in
    /// the background, and says `unknown` until then.
    #[serde(default)]
    pub mergeable_state: Option<String>,
}

/// A pull request that is to be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct NewPullRequest {
    /// The title.
    pub title: String,
    /// The text.
    pub body: String,
    /// The branch that is to be merged.
    pub head: String,
    /// The branch into which it is to be merged.
    pub base: String,
    /// Whether it cannot be merged before somebody says that it is ready.
    pub draft: bool,
}

/// What is to change of a pull request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct PullRequestChange {
    /// The title.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// `open` or `closed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
}

#[derive(Deserialize)]
struct DefaultBranch {
    default_branch: String,
}

#[derive(Deserialize)]
struct Branch {
    #[serde(default)]
    protection: Option<BranchProtection>,
}

#[derive(Deserialize)]
struct BranchProtection {
    #[serde(default)]
    required_status_checks: Option<RequiredChecks>,
}

#[derive(Deserialize)]
struct RequiredChecks {
    #[serde(default)]
    contexts: Vec<String>,
}

/// A rule of the rulesets that hold for a branch.
#[derive(Deserialize)]
struct BranchRule {
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    parameters: RuleParameters,
}

#[derive(Default, Deserialize)]
struct RuleParameters {
    #[serde(default)]
    required_status_checks: Vec<RequiredCheck>,
}

#[derive(Deserialize)]
struct RequiredCheck {
    context: String,
}

#[derive(Deserialize)]
struct CheckRuns {
    total_count: u64,
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
            // A repository that is gone was not planspec's.
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
    /// What the reviewer wrote.
    #[serde(default)]
    pub body: Option<String>,
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

    /// Opens a pull request.
    ///
    /// # Errors
    /// [`GitHubError`]; after [`GitHubError::Down`] it may be there all the same: [`Self::pulls_from`] shows it.
    pub(crate) async fn open_pull(
        &self,
        repo: &RepoName,
        pull: &NewPullRequest,
    ) -> Result<PullRequest, GitHubError> {
        let body = serde_json::to_value(pull).unwrap_or_default();
        self.ask(ApiRequest::create(repo.path("pulls"), body, "open a pull request", CHANGES)).await
    }

    /// Changes a pull request.
    ///
    /// # Errors
    /// [`GitHubError`].
    pub(crate) async fn change_pull(
        &self,
        repo: &RepoName,
        number: u64,
        change: &PullRequestChange,
    ) -> Result<PullRequest, GitHubError> {
        let path = repo.path(&format!("pulls/{number}"));
        let body = serde_json::to_value(change).unwrap_or_default();
        let what = format!("change pull request #{number}");
        self.ask(ApiRequest::change(Method::Patch, path, body, &what, CHANGES).fresh(true)).await
    }

    /// The branch that a repository shows first.
    ///
    /// # Errors
    /// [`GitHubError`].
    pub(crate) async fn default_branch(&self, repo: &RepoName) -> Result<String, GitHubError> {
        // Without a slash at its end, which the host answers with a redirect.
        let path = repo.path("").trim_end_matches('/').to_owned();
        let found: DefaultBranch =
            self.ask(ApiRequest::get(path, "read the default branch", "contents: read")).await?;
        Ok(found.default_branch)
    }

    /// The checks without which a branch takes no merge, as far as a reader is told: by its protection and by rulesets.
    ///
    /// # Errors
    /// [`GitHubError`].
    pub(crate) async fn required_checks(
        &self,
        repo: &RepoName,
        branch: &str,
    ) -> Result<Vec<String>, GitHubError> {
        const WHAT: &str = "read the rules of a branch";
        let path = repo.path(&format!("branches/{}", segment(branch)?));
        let found: Branch = self.ask(ApiRequest::get(path, WHAT, "contents: read")).await?;
        let checks = found.protection.and_then(|protection| protection.required_status_checks);
        let mut checks = checks.map(|checks| checks.contexts).unwrap_or_default();
        let path = repo.path(&format!("rules/branches/{}", segment(branch)?));
        let rules: Vec<BranchRule> = self.all(&path, WHAT, "metadata: read").await?;
        let rules = rules.into_iter().filter(|rule| rule.kind == "required_status_checks");
        checks
            .extend(rules.flat_map(|rule| rule.parameters.required_status_checks).map(|check| check.context));
        Ok(checks)
    }

    /// How many checks ran or run for a commit.
    ///
    /// # Errors
    /// [`GitHubError`].
    pub(crate) async fn checks_of(&self, repo: &RepoName, sha: &str) -> Result<u64, GitHubError> {
        let path = repo.path(&format!("commits/{}/check-runs", segment(sha)?));
        let found: CheckRuns =
            self.ask(ApiRequest::get(path, "list the checks of a commit", "checks: read")).await?;
        Ok(found.total_count)
    }

    /// All pull requests from a branch, `OWNER:BRANCH`, whatever became of them.
    ///
    /// # Errors
    /// [`GitHubError`].
    pub(crate) async fn pulls_from(
        &self,
        repo: &RepoName,
        origin: &str,
    ) -> Result<Vec<PullRequest>, GitHubError> {
        let path = repo.path(&format!("pulls?state=all&head={}", super::names::encoded(origin)));
        self.all(&path, "find the pull requests of a branch", NEEDS).await
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
