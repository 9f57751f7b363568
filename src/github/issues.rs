//! Issues: the form in which people get work.

use serde::{Deserialize, Serialize};

use super::client::{ApiRequest, Method};
use super::people::Account;
use super::{GitHub, GitHubError, RepoName};

const NEEDS: &str = "issues: write";

/// An issue; pull requests are issues too.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Issue {
    /// Its number in the repository.
    pub number: u64,
    /// `open` or `closed`.
    pub state: String,
    /// Why it is closed: `completed`, `not_planned` and others.
    #[serde(default)]
    pub state_reason: Option<String>,
    /// The title.
    #[serde(default)]
    pub title: String,
    /// The text.
    #[serde(default)]
    pub body: Option<String>,
    /// Who opened it.
    pub user: Option<Account>,
    /// Who has been asked to do it.
    #[serde(default)]
    pub assignees: Vec<Account>,
    /// Who closed it, where the host says so.
    #[serde(default)]
    pub closed_by: Option<Account>,
    /// When it was closed last.
    #[serde(default)]
    pub closed_at: Option<String>,
    /// Where to read it.
    #[serde(default)]
    pub html_url: String,
    /// Present when it is a pull request.
    #[serde(default)]
    pub pull_request: Option<serde_json::Value>,
}

/// An issue that is to be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct NewIssue {
    /// The title.
    pub title: String,
    /// The text.
    pub body: String,
    /// Labels; the host makes those that it does not know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// Logins. The host silently drops those that cannot be assigned.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub assignees: Vec<String>,
}

/// What is to change of an issue.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct IssueChange {
    /// The text.
    // A field that is absent stays as it is; `null` would clear it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// `open` or `closed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// `completed` or `not_planned`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_reason: Option<String>,
}

impl GitHub {
    /// Opens an issue.
    ///
    /// # Errors
    /// [`GitHubError`]; after [`GitHubError::Down`] it may be there all the same: [`Self::issues`] shows it.
    pub(crate) async fn open_issue(&self, repo: &RepoName, issue: &NewIssue) -> Result<Issue, GitHubError> {
        let body = serde_json::to_value(issue).unwrap_or_default();
        self.ask(ApiRequest::create(repo.path("issues"), body, "open an issue", NEEDS)).await
    }

    /// One issue.
    ///
    /// # Errors
    /// [`GitHubError`].
    pub(crate) async fn issue(&self, repo: &RepoName, number: u64) -> Result<Issue, GitHubError> {
        let path = repo.path(&format!("issues/{number}"));
        // It may have been opened a moment ago.
        self.ask(ApiRequest::get(path, &format!("read issue #{number}"), "issues: read").fresh(true)).await
    }

    /// The issues with a label: all that are open, and the hundred closed ones that changed last. Pull requests are left
    /// out.
    ///
    /// # Errors
    /// [`GitHubError`].
    pub(crate) async fn issues(&self, repo: &RepoName, label: &str) -> Result<Vec<Issue>, GitHubError> {
        // Closed ones, too: an issue that an attempt opened before its runner was lost may have been answered since.
        let mut issues = self.open_issues(repo, label).await?;
        let label = super::names::encoded(label);
        let path = repo
            .path(&format!("issues?state=closed&labels={label}&sort=updated&direction=desc&per_page=100"));
        let closed: Vec<Issue> = self.ask(ApiRequest::get(path, "list issues", "issues: read")).await?;
        issues.extend(closed.into_iter().filter(|issue| issue.pull_request.is_none()));
        Ok(issues)
    }

    /// The open issues with a label; pull requests are left out.
    ///
    /// # Errors
    /// [`GitHubError`].
    pub(crate) async fn open_issues(&self, repo: &RepoName, label: &str) -> Result<Vec<Issue>, GitHubError> {
        let path = repo.path(&format!("issues?state=open&labels={}", super::names::encoded(label)));
        let mut issues: Vec<Issue> = self.all(&path, "list issues", "issues: read").await?;
        // In this list of the host, pull requests are issues, and anybody may give theirs a label that they can write.
        issues.retain(|issue| issue.pull_request.is_none());
        Ok(issues)
    }

    /// Changes an issue.
    ///
    /// # Errors
    /// [`GitHubError`].
    pub(crate) async fn change_issue(
        &self,
        repo: &RepoName,
        number: u64,
        change: &IssueChange,
    ) -> Result<Issue, GitHubError> {
        let path = repo.path(&format!("issues/{number}"));
        let body = serde_json::to_value(change).unwrap_or_default();
        let what = format!("change issue #{number}");
        self.ask(ApiRequest::change(Method::Patch, path, body, &what, NEEDS).fresh(true)).await
    }
}
