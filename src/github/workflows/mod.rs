//! Workflows: started, followed and cancelled.

mod download;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::github::client::{ApiRequest, GitHub, Method};
use crate::github::wire::{encoded, repo_path, segment};
use crate::host::{Account, HostError, RepoName};

/// How many pages of runs are read: the host gives a thousand runs at most of a list with conditions.
const MOST_PAGES: usize = 10;

/// A run of a workflow. octocrab's own type demands fields that the host may leave empty.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct WorkflowRun {
    /// Its number.
    pub id: u64,
    /// The name of the workflow.
    #[serde(default)]
    pub name: Option<String>,
    /// The title of the run: what `run-name` of the workflow says.
    #[serde(default)]
    pub display_title: Option<String>,
    /// `queued`, `in_progress`, `completed` …
    #[serde(default)]
    pub status: Option<String>,
    /// `success`, `failure`, `cancelled` …
    #[serde(default)]
    pub conclusion: Option<String>,
    /// What started it.
    #[serde(default)]
    pub event: String,
    /// The commit.
    #[serde(default)]
    pub head_sha: String,
    /// The branch or tag.
    #[serde(default)]
    pub head_branch: Option<String>,
    /// Who had it started.
    #[serde(default)]
    pub actor: Option<Account>,
    /// When it was made.
    #[serde(default)]
    pub created_at: String,
    /// Its page for people.
    #[serde(default)]
    pub html_url: String,
    /// Which attempt this is.
    #[serde(default)]
    pub run_attempt: Option<u64>,
}

/// A file that a run left.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct WorkflowArtifact {
    /// Its number.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Bytes.
    #[serde(default)]
    pub size_in_bytes: u64,
    /// Where to fetch it.
    #[serde(default)]
    pub archive_download_url: String,
    /// `sha256:…` of the archive, where the host says so.
    #[serde(default)]
    pub digest: Option<String>,
    /// Whether the host has removed it.
    #[serde(default)]
    pub expired: bool,
}

#[derive(Deserialize)]
struct WorkflowState {
    #[serde(default)]
    state: String,
}

#[derive(Deserialize)]
struct WorkflowRunList {
    workflow_runs: Vec<WorkflowRun>,
}

#[derive(Deserialize)]
struct WorkflowArtifactList {
    artifacts: Vec<WorkflowArtifact>,
}

impl GitHub {
    /// Starts a workflow by its file name or number. The host does not say which run that makes.
    ///
    /// # Errors
    /// [`HostError`]; after [`HostError::Down`] it may have started all the same.
    pub(crate) async fn dispatch(
        &self,
        repo: &RepoName,
        workflow: &str,
        reference: &str,
        inputs: &Map<String, Value>,
    ) -> Result<(), HostError> {
        let path = repo_path(repo, &format!("actions/workflows/{}/dispatches", segment(workflow)?));
        let body = json!({ "ref": reference, "inputs": inputs });
        // Never tried again here: a second run would do the work twice. The provider finds out by the title whether
        // there is one.
        self.tell(ApiRequest::create(path, body, "start a workflow", "actions: write")).await
    }

    /// Whether a workflow is on: events and schedules start its runs.
    ///
    /// # Errors
    /// [`HostError`].
    pub(crate) async fn is_workflow_on(&self, repo: &RepoName, workflow: &str) -> Result<bool, HostError> {
        let path = repo_path(repo, &format!("actions/workflows/{}", segment(workflow)?));
        let found: WorkflowState =
            self.ask(ApiRequest::get(path, "read whether a workflow is on", "actions: read")).await?;
        // The other states say who turned it off: a person or a program, the host after a quiet time, or that it is a fork's.
        Ok(found.state == "active")
    }

    /// Turns a workflow on or off.
    ///
    /// # Errors
    /// [`HostError`].
    pub(crate) async fn turn_workflow(
        &self,
        repo: &RepoName,
        workflow: &str,
        on: bool,
    ) -> Result<(), HostError> {
        let (word, what) =
            if on { ("enable", "turn a workflow on") } else { ("disable", "turn a workflow off") };
        let path = repo_path(repo, &format!("actions/workflows/{}/{word}", segment(workflow)?));
        self.tell(ApiRequest::put(path, what, "actions: write")).await
    }

    /// The runs of a workflow on a branch that were dispatched, newest first, until one is `wanted`: those wanted of the
    /// newest page that has any.
    ///
    /// # Errors
    /// [`HostError`].
    pub(crate) async fn dispatched_runs(
        &self,
        repo: &RepoName,
        workflow: &str,
        branch: &str,
        wanted: impl Fn(&WorkflowRun) -> bool,
    ) -> Result<Vec<WorkflowRun>, HostError> {
        let path = repo_path(
            repo,
            &format!(
                // Only runs that were dispatched: the title of a run by a push is a commit message, in which anybody may
                // write a key.
                "actions/workflows/{}/runs?event=workflow_dispatch&branch={}&per_page=100",
                segment(workflow)?,
                encoded(branch)
            ),
        );
        for page in 1..=MOST_PAGES {
            let path = format!("{path}&page={page}");
            let listed: WorkflowRunList =
                self.ask(ApiRequest::get(path, "list runs of a workflow", "actions: read")).await?;
            let last = listed.workflow_runs.len() < 100;
            let found: Vec<WorkflowRun> = listed.workflow_runs.into_iter().filter(&wanted).collect();
            if last || !found.is_empty() {
                return Ok(found);
            }
        }
        Ok(Vec::new())
    }

    /// One run.
    ///
    /// # Errors
    /// [`HostError`].
    pub(crate) async fn run(&self, repo: &RepoName, id: u64) -> Result<WorkflowRun, HostError> {
        let path = repo_path(repo, &format!("actions/runs/{id}"));
        // Its number may have been found in a list by one machine of the host, and be asked of another.
        self.ask(ApiRequest::get(path, "read a run of a workflow", "actions: read").fresh(true)).await
    }

    /// Cancels a run; one that is over already counts as cancelled.
    ///
    /// # Errors
    /// [`HostError`].
    pub(crate) async fn cancel_run(&self, repo: &RepoName, id: u64) -> Result<(), HostError> {
        let path = repo_path(repo, &format!("actions/runs/{id}/cancel"));
        // A POST, but one that changes: a run that was cancelled twice is cancelled, so it may be tried again.
        let request = ApiRequest::change(Method::Post, path, json!({}), "cancel a run", "actions: write");
        match self.tell(request).await {
            // The host's answer for a run that has ended.
            Err(HostError::Refused { status: 409, .. }) => Ok(()),
            answer => answer,
        }
    }

    /// What a run left behind, up to a hundred.
    ///
    /// # Errors
    /// [`HostError`].
    pub(crate) async fn artifacts(
        &self,
        repo: &RepoName,
        id: u64,
    ) -> Result<Vec<WorkflowArtifact>, HostError> {
        let path = repo_path(repo, &format!("actions/runs/{id}/artifacts?per_page=100"));
        let found: WorkflowArtifactList =
            self.ask(ApiRequest::get(path, "list artifacts", "actions: read")).await?;
        Ok(found.artifacts)
    }
}
