//! `github-actions://OWNER/REPO/WORKFLOW[@REF]`: a workflow does the work on the host's machines. It is started once, found
//! again by the idempotency key in the title of its run, and followed to its conclusion.

mod keyed_runs;
pub(super) mod worker;

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use self::keyed_runs::{KeyedRuns, OF_SOMEBODY_ELSE};
use super::criteria::check_elsewhere;
use super::output::{AttemptLog, plain_line};
use super::settings::{Settings, has_expression};
use super::{
    Attempt, AttemptFuture, AttemptOutcome, AttemptReport, CancelFuture, ConfigError, Control, Provider,
    ProviderContext, check_criteria,
};
use crate::github::{GitHub, WorkflowArtifact, WorkflowRun};
use crate::host::{HostError, RepoName};
use crate::model::{Artifact, ArtifactType, JsonMap, NodeReason};

const SCHEME: &str = "github-actions://";

/// The input of the workflow that carries the idempotency key.
const KEY: &str = "planspec_key";

/// The branch when none is named.
const BRANCH: &str = "main";

/// The longest that one poll may take, waits for the host's limits included.
const ONE_LOOK: Duration = Duration::from_secs(60);

/// When to poll again.
const AGAIN: Duration = Duration::from_secs(30);

/// The provider.
pub(super) struct GitHubActions(ProviderContext);

impl GitHubActions {
    pub(super) fn new(context: ProviderContext) -> Self {
        Self(context)
    }

    fn job(&self, attempt: Attempt) -> Result<WorkflowAttempt, AttemptOutcome> {
        let refused = |why: String| AttemptOutcome::permanent(NodeReason::ProviderUnavailable, why);
        let checked = self.check(&attempt.provider, &attempt.config);
        checked
            .and_then(|()| check_criteria(&attempt.criteria))
            .map_err(|error| refused(error.to_string()))?;
        let place = WorkflowRef::parse(&attempt.provider).map_err(|why| refused(why.to_owned()))?;
        let host = self.0.host().map_err(|error| refused(error.to_string()))?;
        let github = GitHub::of(host.as_ref()).cloned();
        let github =
            github.ok_or_else(|| refused("the Git host of this runner has no workflows".to_owned()))?;
        let WorkflowRef { repo, workflow, reference } = place;
        // The key is that of the work: the run that a lost runner began is found by the attempt that follows.
        let key = attempt.work.clone();
        let runs = KeyedRuns { host: github.within(ONE_LOOK), repo, workflow, reference, key };
        Ok(WorkflowAttempt { attempt, runs })
    }
}

impl Provider for GitHubActions {
    fn schemes(&self) -> &'static [&'static str] {
        &["github-actions"]
    }

    fn check(&self, provider: &str, config: &JsonMap) -> Result<(), ConfigError> {
        let settings = Settings::new(config, &["inputs"])?;
        if !config.get("inputs").is_some_and(has_expression) {
            settings.pairs("inputs")?;
        }
        match WorkflowRef::parse(provider) {
            Ok(_) => Ok(()),
            Err(why) => Err(ConfigError::Provider { provider: provider.to_owned(), why }),
        }
    }

    fn run(&self, attempt: Attempt, control: Control) -> AttemptFuture {
        let job = self.job(attempt);
        let shared = self.0.clone();
        Box::pin(async move {
            match job {
                Ok(job) => {
                    let began = Instant::now();
                    checked(job.start().await, &job.attempt, began, &shared, control).await
                }
                Err(outcome) => outcome.into(),
            }
        })
    }

    fn poll(&self, attempt: Attempt, control: Control) -> AttemptFuture {
        let job = self.job(attempt);
        let shared = self.0.clone();
        Box::pin(async move {
            match job {
                Ok(job) => {
                    let began = Instant::now();
                    checked(job.look().await, &job.attempt, began, &shared, control).await
                }
                Err(outcome) => outcome.into(),
            }
        })
    }

    fn cancel_remote(&self, attempt: Attempt) -> CancelFuture {
        let job = self.job(attempt);
        Box::pin(async move {
            let job = match job {
                Ok(job) => job,
                Err(AttemptOutcome::Failed { message, .. }) => return Err(message),
                Err(_) => return Ok(()),
            };
            job.runs.cancel(job.known()).await.map_err(|error| error.to_string())
        })
    }
}

/// The report, with the acceptance criteria checked where the workflow succeeded.
async fn checked(
    mut report: AttemptReport,
    attempt: &Attempt,
    began: Instant,
    shared: &ProviderContext,
    control: Control,
) -> AttemptReport {
    if matches!(report.outcome, AttemptOutcome::Succeeded { .. }) && !attempt.criteria.is_empty() {
        let Control { mut stop, output, .. } = control;
        let log = AttemptLog::new(attempt.run_dir.join("log"), Arc::clone(&shared.redactor), output);
        check_elsewhere(shared, attempt, began, &mut report, &mut stop, log).await;
    }
    report
}

/// Where the workflow is.
struct WorkflowRef {
    repo: RepoName,
    workflow: String,
    reference: String,
}

impl WorkflowRef {
    fn parse(provider: &str) -> Result<Self, &'static str> {
        const FORM: &str =
            "must be `github-actions://OWNER/REPO/WORKFLOW.yml`, with `@BRANCH` where it is not `main`";
        let rest = provider.strip_prefix(SCHEME).ok_or(FORM)?;
        let (path, reference) = rest.split_once('@').unwrap_or((rest, BRANCH));
        let (repo, workflow) = path.rsplit_once('/').ok_or(FORM)?;
        let sound = |text: &str| {
            !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./".contains(&b))
        };
        // A workflow that is named `..` would be another address of the API.
        if !sound(workflow) || !sound(reference) || workflow.bytes().all(|b| b == b'.') {
            return Err(FORM);
        }
        let repo = repo.parse().map_err(|_| FORM)?;
        Ok(Self { repo, workflow: workflow.to_owned(), reference: reference.to_owned() })
    }
}

/// One attempt, and what it needs.
struct WorkflowAttempt {
    attempt: Attempt,
    runs: KeyedRuns,
}

impl WorkflowAttempt {
    /// Starts the workflow, unless an earlier start of this attempt did, or an attempt before it whose runner was lost.
    async fn start(&self) -> AttemptReport {
        match self.runs.started(&self.inputs()).await {
            Ok(Some(run)) => self.report(&run).await,
            Ok(None) => self.blocked(None, "the workflow was started, but its run is not listed yet"),
            Err(error) => failure(&error).into(),
        }
    }

    fn inputs(&self) -> JsonMap {
        // The host takes texts only as the inputs of a workflow.
        let text = |value: &Value| match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let given = self.attempt.config.get("inputs").and_then(Value::as_object);
        let mut inputs: JsonMap = self
            .attempt
            .inputs
            .iter()
            .chain(given.into_iter().flatten())
            .map(|(name, value)| (name.clone(), Value::String(text(value))))
            .collect();
        // Last, so that no input of the node takes its place.
        inputs.insert(KEY.to_owned(), Value::String(self.runs.key.clone()));
        inputs
    }

    /// The run that was found before.
    fn known(&self) -> Option<u64> {
        serde_json::from_str::<Value>(self.attempt.handle.as_deref()?).ok()?.get("run")?.as_u64()
    }

    async fn look(&self) -> AttemptReport {
        let known = self.known();
        match self.runs.look_up(known).await {
            Ok(Some(run)) => self.report(&run).await,
            Ok(None) if known.is_some() => {
                AttemptOutcome::permanent(NodeReason::ProviderFailed, OF_SOMEBODY_ELSE).into()
            }
            Ok(None) => self.blocked(None, "the workflow was started, but its run is not listed yet"),
            // Work that is under way is not given up because the host cannot be asked.
            Err(error) if error.is_passing() => {
                self.blocked(known, "the host cannot be reached at the moment")
            }
            Err(error) => gone_or_failed(&error).into(),
        }
    }

    async fn report(&self, run: &WorkflowRun) -> AttemptReport {
        if run.status.as_deref() != Some("completed") {
            // The same words at each poll, so that a poll without news makes no commit.
            let message = format!("a workflow is doing the work: {}", plain_line(run.html_url.as_bytes()));
            return self.blocked(Some(run.id), &message);
        }
        let conclusion = plain_line(run.conclusion.as_deref().unwrap_or("unknown").as_bytes());
        let url = plain_line(run.html_url.as_bytes());
        let mut report: AttemptReport = if conclusion == "success" {
            let mut outputs = JsonMap::new();
            outputs.insert("url".to_owned(), json!(url));
            outputs.insert("conclusion".to_owned(), json!(conclusion));
            outputs.insert("run_id".to_owned(), json!(run.id.to_string()));
            outputs.insert("commit".to_owned(), json!(plain_line(run.head_sha.as_bytes())));
            self.declared(outputs).into()
        } else {
            AttemptOutcome::failed(
                NodeReason::ProviderFailed,
                format!("the workflow ended with {conclusion}: {url}"),
            )
            .into()
        };
        // Links to what was left are worth having, and no reason to fail.
        let left = self.runs.host.artifacts(&self.runs.repo, run.id).await.unwrap_or_default();
        report.evidence.artifacts = left.iter().filter(|file| !file.expired).map(artifact).collect();
        report
    }

    /// Only what the node declares, when it declares something.
    fn declared(&self, mut outputs: JsonMap) -> AttemptOutcome {
        let declared = &self.attempt.declared_outputs;
        // A workflow cannot return values by the API, so only what the host knows of a run can be declared.
        if let Some(missing) = declared.iter().find(|name| !outputs.contains_key(*name)) {
            let why =
                format!("a workflow has the outputs url, conclusion, run_id and commit, but not `{missing}`");
            return AttemptOutcome::permanent(NodeReason::OutputInvalid, why);
        }
        if !declared.is_empty() {
            outputs.retain(|name, _| declared.contains(name));
        }
        AttemptOutcome::Succeeded { outputs }
    }

    fn blocked(&self, run: Option<u64>, message: &str) -> AttemptReport {
        AttemptOutcome::Blocked {
            reason: NodeReason::AwaitingProvider,
            message: message.to_owned(),
            // `null` says that it was started and has not been found: work without a handle is never polled.
            handle: Some(json!({ "run": run }).to_string()),
            poll_after: Some(AGAIN),
        }
        .into()
    }
}

/// What the host refuses would be refused again; what passes is left alone for as long as the host asks.
fn failure(error: &HostError) -> AttemptOutcome {
    AttemptOutcome::broken(error.to_string(), error.is_passing()).not_before(error.wait())
}

/// The same at a poll: a run that was there and is not found has been deleted.
fn gone_or_failed(error: &HostError) -> AttemptOutcome {
    match error {
        HostError::NotFound { .. } => {
            AttemptOutcome::Lost { message: "the workflow run no longer exists".to_owned() }
        }
        error => failure(error),
    }
}

fn artifact(file: &WorkflowArtifact) -> Artifact {
    Artifact {
        name: plain_line(file.name.as_bytes()),
        kind: ArtifactType::Url,
        path: None,
        url: Some(plain_line(file.archive_download_url.as_bytes())),
        checksum: None,
        size: Some(file.size_in_bytes),
        media_type: Some("application/zip".to_owned()),
        metadata: JsonMap::new(),
    }
}

#[cfg(test)]
mod tests;
