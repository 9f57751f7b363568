//! Check runs: the result of our work on a commit, with annotations on its lines.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::client::{ApiRequest, Method};
use super::{GitHub, GitHubError, RepoName};

/// How many annotations the host takes in one request.
const AT_ONCE: usize = 50;

/// The longest summary that the host takes, in bytes to be safe.
const LONGEST: usize = 65_000;

const NEEDS: &str = "checks: write";

/// How much an annotation weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AnnotationLevel {
    /// For information.
    Notice,
    /// Perhaps wrong.
    Warning,
    /// Wrong.
    Failure,
}

/// A remark on lines of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Annotation {
    /// The path in the repository.
    pub path: String,
    /// The first line.
    pub start_line: u32,
    /// The last line.
    pub end_line: u32,
    /// How much it weighs.
    #[serde(rename = "annotation_level")]
    pub level: AnnotationLevel,
    /// A short title.
    pub title: String,
    /// What is to be said.
    pub message: String,
}

/// The result of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CheckResult {
    /// The name that people see, and that a ruleset may require.
    pub name: String,
    /// The commit.
    pub sha: String,
    /// Whether all is well.
    pub passed: bool,
    /// A line.
    pub title: String,
    /// A Markdown text.
    pub summary: String,
    /// Remarks on lines.
    pub annotations: Vec<Annotation>,
}

/// A check run as the host knows it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct CheckRun {
    /// Its number.
    pub id: u64,
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// How it ended.
    #[serde(default)]
    pub conclusion: Option<String>,
}

#[derive(Deserialize)]
struct CheckRuns {
    check_runs: Vec<CheckRun>,
}

impl GitHub {
    /// Reports the result of a check, with all its annotations. A run of this name on this commit is brought up to
    /// date where there is one.
    ///
    /// # Errors
    /// [`GitHubError`]; [`GitHubError::Permission`] where the token may not write checks.
    pub(crate) async fn report_check(
        &self,
        repo: &RepoName,
        check: &CheckResult,
    ) -> Result<CheckRun, GitHubError> {
        // The host adds the annotations of an update to those that it has, so each share goes in a request of its own.
        let mut shares = check.annotations.chunks(AT_ONCE);
        let first = shares.next().unwrap_or_default();
        // One run for a name and a commit: a ruleset that requires the name sees the newest answer and no older one
        // beside it.
        let run = match self.check_named(repo, &check.sha, &check.name).await? {
            Some(old) => self.update_check(repo, old.id, check, first).await?,
            None => self.create_check(repo, check, first).await?,
        };
        for share in shares {
            self.update_check(repo, run.id, check, share).await?;
        }
        Ok(run)
    }

    /// The latest check run of a name on a commit.
    ///
    /// # Errors
    /// [`GitHubError`].
    pub(crate) async fn check_named(
        &self,
        repo: &RepoName,
        sha: &str,
        name: &str,
    ) -> Result<Option<CheckRun>, GitHubError> {
        let (sha, wanted) = (super::names::segment(sha)?, super::names::encoded(name));
        let path = repo.path(&format!("commits/{sha}/check-runs?check_name={wanted}&filter=latest"));
        let runs: CheckRuns = self.ask(ApiRequest::get(path, "list check runs", "checks: read")).await?;
        // The filter of the host is a help and no promise: only the exact name is ours.
        Ok(runs.check_runs.into_iter().find(|run| run.name == name))
    }

    async fn create_check(
        &self,
        repo: &RepoName,
        check: &CheckResult,
        share: &[Annotation],
    ) -> Result<CheckRun, GitHubError> {
        let mut body = body(check, share);
        if let Some(fields) = body.as_object_mut() {
            fields.insert("name".to_owned(), json!(check.name));
            fields.insert("head_sha".to_owned(), json!(check.sha));
        }
        self.ask(ApiRequest::create(repo.path("check-runs"), body, "create a check run", NEEDS)).await
    }

    async fn update_check(
        &self,
        repo: &RepoName,
        id: u64,
        check: &CheckResult,
        share: &[Annotation],
    ) -> Result<CheckRun, GitHubError> {
        let path = repo.path(&format!("check-runs/{id}"));
        let request =
            ApiRequest::change(Method::Patch, path, body(check, share), "update a check run", NEEDS);
        // The run may have been created a moment ago by the request before this one.
        self.ask(request.fresh(true)).await
    }
}

fn body(check: &CheckResult, share: &[Annotation]) -> Value {
    let mut end = check.summary.len().min(LONGEST);
    // The limit is in bytes here, and a character that is cut would be no text.
    while !check.summary.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    json!({
        "status": "completed",
        "conclusion": if check.passed { "success" } else { "failure" },
        "output": {
            "title": check.title,
            "summary": check.summary.get(..end).unwrap_or_default(),
            "annotations": share,
        },
    })
}
