//! Issues: the form in which people get work.

use serde::Deserialize;
use serde_json::{Value, json};

use super::GitHub;
use super::client::{ApiRequest, Method};
use super::wire::{encoded, given, read_as, repo_path};
use crate::host::{Account, HostError, Issue, IssueChange, IssueEnd, NewIssue, RepoName};

const NEEDS: &str = "issues: write";

#[derive(Deserialize)]
struct IssueAnswer {
    number: u64,
    /// `open` or `closed`.
    state: String,
    /// `completed`, `not_planned`, `duplicate` and others.
    #[serde(default)]
    state_reason: Option<String>,
    #[serde(default)]
    title: String,
    #[serde(default)]
    body: Option<String>,
    user: Option<Account>,
    #[serde(default)]
    assignees: Vec<Account>,
    #[serde(default)]
    closed_by: Option<Account>,
    #[serde(default)]
    closed_at: Option<String>,
    #[serde(default)]
    html_url: String,
    /// Present when it is a pull request.
    #[serde(default)]
    pull_request: Option<Value>,
}

impl From<IssueAnswer> for Issue {
    fn from(answer: IssueAnswer) -> Self {
        let IssueAnswer { number, state, state_reason, title, body, user, assignees, .. } = answer;
        let ends = [IssueEnd::Completed, IssueEnd::NotPlanned, IssueEnd::Duplicate];
        Self {
            number,
            is_open: state == "open",
            closed_as: ends.into_iter().find(|end| state_reason.as_deref() == Some(word(*end))),
            title,
            body,
            user,
            assignees,
            closed_by: answer.closed_by,
            closed_at: answer.closed_at,
            url: answer.html_url,
            is_pull: answer.pull_request.is_some(),
        }
    }
}

read_as!(Issue, IssueAnswer);

/// As the host writes it.
fn word(end: IssueEnd) -> &'static str {
    match end {
        IssueEnd::Completed => "completed",
        IssueEnd::NotPlanned => "not_planned",
        IssueEnd::Duplicate => "duplicate",
    }
}

fn opening(issue: &NewIssue) -> Value {
    let mut body = given([("title", Some(issue.title.as_str())), ("body", Some(issue.body.as_str()))]);
    let lists = [("labels", &issue.labels), ("assignees", &issue.assignees)];
    // Left out where empty: nobody is asked for, and a token that may not assign need not be told so.
    let lists = lists.into_iter().filter(|(_, list)| !list.is_empty());
    body.extend(lists.map(|(name, list)| (name.to_owned(), json!(list))));
    Value::Object(body)
}

fn changing(change: &IssueChange) -> Value {
    let state = change.open.map(|open| if open { "open" } else { "closed" });
    // A field that is absent stays as it is; `null` would clear it.
    Value::Object(given([
        ("body", change.body.as_deref()),
        ("state", state),
        ("state_reason", change.closed_as.map(word)),
    ]))
}

impl GitHub {
    /// Opens an issue.
    ///
    /// # Errors
    /// [`HostError`]; after [`HostError::Down`] it may be there all the same: [`Self::issues`] shows it.
    pub(crate) async fn open_issue(&self, repo: &RepoName, issue: &NewIssue) -> Result<Issue, HostError> {
        self.ask(ApiRequest::create(repo_path(repo, "issues"), opening(issue), "open an issue", NEEDS)).await
    }

    /// One issue.
    ///
    /// # Errors
    /// [`HostError`].
    pub(crate) async fn issue(&self, repo: &RepoName, number: u64) -> Result<Issue, HostError> {
        let path = repo_path(repo, &format!("issues/{number}"));
        // It may have been opened a moment ago.
        self.ask(ApiRequest::get(path, &format!("read issue #{number}"), "issues: read").fresh(true)).await
    }

    /// The issues with a label: all that are open, and the hundred closed ones that changed last. Pull requests are left
    /// out.
    ///
    /// # Errors
    /// [`HostError`].
    pub(crate) async fn issues(&self, repo: &RepoName, label: &str) -> Result<Vec<Issue>, HostError> {
        // Closed ones, too: an issue that an attempt opened before its runner was lost may have been answered since.
        let mut issues = self.open_issues(repo, label).await?;
        let label = encoded(label);
        let path = repo_path(
            repo,
            &format!("issues?state=closed&labels={label}&sort=updated&direction=desc&per_page=100"),
        );
        let closed: Vec<Issue> = self.ask(ApiRequest::get(path, "list issues", "issues: read")).await?;
        issues.extend(closed.into_iter().filter(|issue| !issue.is_pull));
        Ok(issues)
    }

    /// The open issues with a label; pull requests are left out.
    ///
    /// # Errors
    /// [`HostError`].
    pub(crate) async fn open_issues(&self, repo: &RepoName, label: &str) -> Result<Vec<Issue>, HostError> {
        let path = repo_path(repo, &format!("issues?state=open&labels={}", encoded(label)));
        let mut issues: Vec<Issue> = self.all(&path, "list issues", "issues: read").await?;
        // In this list of the host, pull requests are issues, and anybody may give theirs a label that they can write.
        issues.retain(|issue| !issue.is_pull);
        Ok(issues)
    }

    /// Changes an issue.
    ///
    /// # Errors
    /// [`HostError`].
    pub(crate) async fn change_issue(
        &self,
        repo: &RepoName,
        number: u64,
        change: &IssueChange,
    ) -> Result<Issue, HostError> {
        let path = repo_path(repo, &format!("issues/{number}"));
        let body = changing(change);
        let what = format!("change issue #{number}");
        self.ask(ApiRequest::change(Method::Patch, path, body, &what, NEEDS).fresh(true)).await
    }
}
