//! Pull requests, their files and their reviews.

use serde::Deserialize;
use serde_json::{Value, json};

use super::GitHub;
use super::client::{ApiRequest, Method};
use super::wire::{encoded, given, read_as, repo_path, segment};
use crate::host::{
    Account, HostError, MergeObstacle, NewPullRequest, PullRequest, PullRequestChange, PullRequestReview,
    PullRequestSide, RepoName, ReviewVerdict,
};

const NEEDS: &str = "pull-requests: read";

/// The account that the token of a job acts as.
const JOB_LOGIN: &str = "github-actions[bot]";
pub(super) const CHANGES: &str = "pull-requests: write";

#[derive(Deserialize)]
struct PullAnswer {
    number: u64,
    /// `open` or `closed`.
    #[serde(default)]
    state: String,
    #[serde(default)]
    draft: bool,
    #[serde(default)]
    merged_at: Option<String>,
    user: Option<Account>,
    /// Only where one pull request is read, and not a list of them; `commits` likewise.
    #[serde(default)]
    merged_by: Option<Account>,
    #[serde(default)]
    commits: Option<usize>,
    head: SideAnswer,
    base: SideAnswer,
    #[serde(default)]
    merge_commit_sha: Option<String>,
    #[serde(default)]
    html_url: String,
    #[serde(default)]
    title: String,
    #[serde(default)]
    body: Option<String>,
    /// Its name in the other API of the host, which alone knows drafts and automatic merges.
    #[serde(default)]
    node_id: String,
    /// How the host merges it by itself.
    #[serde(default)]
    auto_merge: Option<Value>,
    /// The host works it out in the background, and says `unknown` until then.
    #[serde(default)]
    mergeable_state: Option<String>,
    /// Whether its commits can be merged, whatever else stands in the way; worked out in the background as well.
    #[serde(default)]
    mergeable: Option<bool>,
}

#[derive(Deserialize)]
struct SideAnswer {
    #[serde(rename = "ref")]
    branch: String,
    sha: String,
    #[serde(default)]
    repo: Option<SideRepo>,
}

#[derive(Deserialize)]
struct SideRepo {
    full_name: String,
}

impl From<SideAnswer> for PullRequestSide {
    fn from(SideAnswer { branch, sha, repo }: SideAnswer) -> Self {
        Self { branch, sha, repo: repo.map(|repo| repo.full_name) }
    }
}

impl From<PullAnswer> for PullRequest {
    fn from(answer: PullAnswer) -> Self {
        let obstacle = match answer.mergeable_state.as_deref() {
            // Of a draft, the host may give that as the reason, and its conflicts only here.
            _ if answer.mergeable == Some(false) => Some(MergeObstacle::Conflict),
            Some("dirty") => Some(MergeObstacle::Conflict),
            Some("blocked") => Some(MergeObstacle::Rule),
            Some("behind") => Some(MergeObstacle::Behind),
            Some("draft") => Some(MergeObstacle::Draft),
            _ => None,
        };
        Self {
            number: answer.number,
            handle: answer.node_id,
            is_open: answer.state == "open",
            draft: answer.draft,
            merged_at: answer.merged_at,
            user: answer.user,
            merged_by: answer.merged_by,
            commits: answer.commits,
            head: answer.head.into(),
            base: answer.base.into(),
            merge_commit: answer.merge_commit_sha,
            url: answer.html_url,
            title: answer.title,
            body: answer.body,
            auto_merge: answer.auto_merge.is_some(),
            obstacle,
        }
    }
}

read_as!(PullRequest, PullAnswer);

#[derive(Deserialize)]
struct ReviewAnswer {
    id: u64,
    user: Option<Account>,
    /// `APPROVED`, `CHANGES_REQUESTED`, `COMMENTED`, `DISMISSED` or `PENDING`.
    state: String,
    #[serde(default)]
    commit_id: Option<String>,
    #[serde(default)]
    submitted_at: Option<String>,
    #[serde(default)]
    body: Option<String>,
}

impl From<ReviewAnswer> for PullRequestReview {
    fn from(ReviewAnswer { id, user, state, commit_id, submitted_at, body }: ReviewAnswer) -> Self {
        let verdict = match state.as_str() {
            "APPROVED" => ReviewVerdict::Approved,
            "CHANGES_REQUESTED" => ReviewVerdict::ChangesRequested,
            "DISMISSED" => ReviewVerdict::Dismissed,
            "COMMENTED" | "PENDING" => ReviewVerdict::Comment,
            _ => ReviewVerdict::Unknown,
        };
        Self { id, user, verdict, commit: commit_id, submitted_at, body }
    }
}

read_as!(PullRequestReview, ReviewAnswer);

fn changing(change: &PullRequestChange) -> Value {
    let state = change.open.map(|open| if open { "open" } else { "closed" });
    Value::Object(given([
        ("title", change.title.as_deref()),
        ("body", change.body.as_deref()),
        ("state", state),
    ]))
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

impl GitHub {
    /// One pull request.
    ///
    /// # Errors
    /// [`HostError`].
    pub(crate) async fn pull(&self, repo: &RepoName, number: u64) -> Result<PullRequest, HostError> {
        let path = repo_path(repo, &format!("pulls/{number}"));
        // The event about a pull request may arrive before every machine of the host knows it.
        self.ask(ApiRequest::get(path, &format!("read pull request #{number}"), NEEDS).fresh(true)).await
    }

    /// The reviews of a pull request, oldest first.
    ///
    /// # Errors
    /// [`HostError`].
    pub(crate) async fn reviews(
        &self,
        repo: &RepoName,
        number: u64,
    ) -> Result<Vec<PullRequestReview>, HostError> {
        let path = repo_path(repo, &format!("pulls/{number}/reviews"));
        self.all(&path, &format!("read the reviews of #{number}"), NEEDS).await
    }

    /// Opens a pull request.
    ///
    /// # Errors
    /// [`HostError`]; after [`HostError::Down`] it may be there all the same: [`Self::pulls_from`] shows it.
    pub(crate) async fn open_pull(
        &self,
        repo: &RepoName,
        pull: &NewPullRequest,
    ) -> Result<PullRequest, HostError> {
        let NewPullRequest { title, body, head, base, draft } = pull;
        let body = json!({ "title": title, "body": body, "head": head, "base": base, "draft": draft });
        self.ask(ApiRequest::create(repo_path(repo, "pulls"), body, "open a pull request", CHANGES)).await
    }

    /// Changes a pull request.
    ///
    /// # Errors
    /// [`HostError`].
    pub(crate) async fn change_pull(
        &self,
        repo: &RepoName,
        number: u64,
        change: &PullRequestChange,
    ) -> Result<PullRequest, HostError> {
        let path = repo_path(repo, &format!("pulls/{number}"));
        let body = changing(change);
        let what = format!("change pull request #{number}");
        self.ask(ApiRequest::change(Method::Patch, path, body, &what, CHANGES).fresh(true)).await
    }

    /// The branch that a repository shows first.
    ///
    /// # Errors
    /// [`HostError`].
    pub(crate) async fn default_branch(&self, repo: &RepoName) -> Result<String, HostError> {
        // Without a slash at its end, which the host answers with a redirect.
        let path = repo_path(repo, "").trim_end_matches('/').to_owned();
        let found: DefaultBranch =
            self.ask(ApiRequest::get(path, "read the default branch", "contents: read")).await?;
        Ok(found.default_branch)
    }

    /// Whether the base asks for checks and none was started, because the token of a job opened the pull request.
    pub(crate) async fn checks_cannot_start(&self, repo: &RepoName, pull: &PullRequest) -> bool {
        // The host does not start workflows for what this token does, lest they start each other without end.
        if pull.user.as_ref().is_none_or(|user| user.login != JOB_LOGIN) {
            return false;
        }
        let required = self.required_checks(repo, &pull.base.branch).await.unwrap_or_default();
        // What cannot be read is no reason to say so: the pull request is waited for as before.
        !required.is_empty() && self.checks_of(repo, &pull.head.sha).await == Ok(0)
    }

    /// The checks without which a branch takes no merge, as far as a reader is told: by its protection and by rulesets.
    ///
    /// # Errors
    /// [`HostError`].
    pub(super) async fn required_checks(
        &self,
        repo: &RepoName,
        branch: &str,
    ) -> Result<Vec<String>, HostError> {
        const WHAT: &str = "read the rules of a branch";
        let path = repo_path(repo, &format!("branches/{}", segment(branch)?));
        let found: Branch = self.ask(ApiRequest::get(path, WHAT, "contents: read")).await?;
        let checks = found.protection.and_then(|protection| protection.required_status_checks);
        let mut checks = checks.map(|checks| checks.contexts).unwrap_or_default();
        let path = repo_path(repo, &format!("rules/branches/{}", segment(branch)?));
        let rules: Vec<BranchRule> = self.all(&path, WHAT, "metadata: read").await?;
        let rules = rules.into_iter().filter(|rule| rule.kind == "required_status_checks");
        checks
            .extend(rules.flat_map(|rule| rule.parameters.required_status_checks).map(|check| check.context));
        Ok(checks)
    }

    /// How many checks ran or run for a commit.
    ///
    /// # Errors
    /// [`HostError`].
    pub(super) async fn checks_of(&self, repo: &RepoName, sha: &str) -> Result<u64, HostError> {
        let path = repo_path(repo, &format!("commits/{}/check-runs", segment(sha)?));
        let found: CheckRuns =
            self.ask(ApiRequest::get(path, "list the checks of a commit", "checks: read")).await?;
        Ok(found.total_count)
    }

    /// All pull requests from a branch, `OWNER:BRANCH`, whatever became of them.
    ///
    /// # Errors
    /// [`HostError`].
    pub(crate) async fn pulls_from(
        &self,
        repo: &RepoName,
        origin: &str,
    ) -> Result<Vec<PullRequest>, HostError> {
        let path = repo_path(repo, &format!("pulls?state=all&head={}", encoded(origin)));
        self.all(&path, "find the pull requests of a branch", NEEDS).await
    }

    /// The open pull requests from a branch, `OWNER:BRANCH`.
    ///
    /// # Errors
    /// [`HostError`].
    pub(crate) async fn open_pulls_from(
        &self,
        repo: &RepoName,
        origin: &str,
    ) -> Result<Vec<PullRequest>, HostError> {
        // The name of a branch may hold anything that Git allows, `&` and `#` included.
        let path = repo_path(repo, &format!("pulls?state=open&head={}", encoded(origin)));
        self.all(&path, "find the pull request of a branch", NEEDS).await
    }

    /// The pull requests that a commit belongs to: those that brought it, or that have it as their head.
    ///
    /// # Errors
    /// [`HostError`].
    pub(crate) async fn pulls_of(&self, repo: &RepoName, sha: &str) -> Result<Vec<PullRequest>, HostError> {
        let path = repo_path(repo, &format!("commits/{}/pulls", segment(sha)?));
        self.all(&path, "find the pull request of a commit", NEEDS).await
    }
}
