//! One attempt whose command runs in the workflow: started, found again, followed to its end, and cancelled.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::WorkerWorkflow;
use crate::github::{GitHub, WorkflowArtifact, WorkflowRun};
use crate::host::HostError;
use crate::model::{JsonMap, NodeReason, QuestionAnswer};
use crate::provider::context::NO_HOST;
use crate::provider::github_actions::keyed_runs::{KeyedRuns, OF_SOMEBODY_ELSE};
use crate::provider::github_actions::{KEY, ONE_LOOK};
use crate::provider::output::plain_line;
use crate::provider::{Attempt, AttemptOutcome, ProviderContext, RunnerFault};

/// The input that names the Execution, as `NAMESPACE/NAME`.
const EXECUTION: &str = "planspec_execution";

/// The name of the artifact that holds the report.
const ARTIFACT: &str = "planspec-work";

/// What is recorded of an attempt that is under way.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WorkerHandle {
    /// The number of the run; `null` says that it was started and has not been found.
    pub(super) run: Option<u64>,
    /// What an attempt before this one asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) asked: Option<String>,
    /// What somebody answered to that: the record forgets it as soon as the attempt waits for something else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) answer: Option<QuestionAnswer>,
}

impl WorkerHandle {
    /// The one that is recorded; none where something else is, such as a question.
    pub(super) fn read(handle: Option<&str>) -> Option<Self> {
        // As an object first: serde takes a list for a struct, too, and a question may look like one.
        let handle: JsonMap = serde_json::from_str(handle?).ok()?;
        serde_json::from_value(handle.into()).ok()
    }

    /// That of an attempt which is about to start.
    fn of(attempt: &Attempt) -> Self {
        let answer = attempt.answer.clone();
        // Without an answer, what is there belongs to an earlier attempt.
        let asked = attempt.handle.clone().filter(|_| answer.is_some());
        let asked = match Self::read(asked.as_deref()) {
            Some(before) => before.asked,
            None => asked,
        };
        Self { run: None, asked, answer }
    }
}

/// One attempt, and what it takes to ask about it.
pub(super) struct WorkerJob {
    pub(super) attempt: Attempt,
    pub(super) runs: KeyedRuns,
    handle: WorkerHandle,
    /// When to poll again.
    again: Duration,
}

/// What a look at the run came to.
pub(super) enum RunState {
    /// It says all that there is to say.
    Ended(AttemptOutcome),
    /// It left a report.
    Reported(WorkflowArtifact),
}

impl WorkerJob {
    pub(super) fn new(
        attempt: Attempt,
        workflow: &WorkerWorkflow,
        context: &ProviderContext,
    ) -> Result<Self, AttemptOutcome> {
        let refused = |why: &str| AttemptOutcome::permanent(NodeReason::ProviderUnavailable, why);
        // No fault of the work: another runner has what this one lacks.
        let lacks = |message: String| AttemptOutcome::RunnerFailed {
            fault: RunnerFault::Access,
            message,
            begun: false,
        };
        let name = workflow.name().map_err(|error| refused(&error.to_string()))?;
        let (Some(home), Some(branch)) = (context.home(), &context.settings.branch) else {
            return Err(lacks(format!("a command runs in the workflow {name}, which {NO_HOST}")));
        };
        let host = context.host().map_err(|error| lacks(error.to_string()))?;
        let Some(github) = GitHub::of(host.as_ref()).cloned() else {
            return Err(refused("the Git host of this runner has no workflows"));
        };
        // By the name of the attempt and not by that of the work: its report answers this attempt and no other.
        let runs = KeyedRuns {
            host: github.within(ONE_LOOK),
            repo: home.repo.clone(),
            workflow: name.to_owned(),
            reference: branch.clone(),
            key: attempt.idempotency_key.clone(),
        };
        let handle = WorkerHandle::read(attempt.handle.as_deref()).unwrap_or_default();
        Ok(Self { attempt, runs, handle, again: workflow.again })
    }

    /// Starts the workflow.
    pub(super) async fn start(mut self) -> AttemptOutcome {
        self.handle = WorkerHandle::of(&self.attempt);
        let key = &self.attempt.key;
        let inputs = JsonMap::from_iter([
            (KEY.to_owned(), Value::String(self.runs.key.clone())),
            (EXECUTION.to_owned(), Value::String(format!("{}/{}", key.namespace, key.name))),
        ]);
        match self.runs.started(&inputs).await {
            Ok(Some(run)) => self.under_way(&run),
            Ok(None) => self.not_listed(),
            Err(error) => {
                AttemptOutcome::broken(error.to_string(), error.is_passing()).not_before(error.wait())
            }
        }
    }

    /// Looks how far it is.
    pub(super) async fn look(&self) -> RunState {
        let run = match self.runs.look_up(self.handle.run).await {
            Ok(Some(run)) => run,
            Ok(None) if self.handle.run.is_some() => {
                return RunState::Ended(AttemptOutcome::permanent(
                    NodeReason::ProviderFailed,
                    OF_SOMEBODY_ELSE,
                ));
            }
            Ok(None) => return RunState::Ended(self.not_listed()),
            Err(error) => return RunState::Ended(self.not_seen(&error)),
        };
        if run.status.as_deref() != Some("completed") {
            return RunState::Ended(self.under_way(&run));
        }
        self.ended(&run).await
    }

    /// What a run that is over has left.
    async fn ended(&self, run: &WorkflowRun) -> RunState {
        let conclusion = plain_line(run.conclusion.as_deref().unwrap_or("unknown").as_bytes());
        let url = plain_line(run.html_url.as_bytes());
        let message = format!("the workflow run ended with {conclusion} and without a report: {url}");
        if !matches!(conclusion.as_str(), "success" | "failure") {
            return RunState::Ended(match conclusion.as_str() {
                // Nobody knows how far it came.
                "cancelled" => AttemptOutcome::Lost { message },
                "timed_out" => AttemptOutcome::failed(NodeReason::Timeout, message),
                // Such as a workflow file that the host cannot read: it would be so again, and uses up the retries.
                _ => AttemptOutcome::failed(NodeReason::ProviderFailed, message),
            });
        }
        let left = match self.runs.host.artifacts(&self.runs.repo, run.id).await {
            Ok(left) => left,
            Err(error) => return RunState::Ended(self.not_seen(&error)),
        };
        // A run that was repeated leaves one more.
        let report = left.into_iter().filter(|file| file.name == ARTIFACT && !file.expired);
        match report.max_by_key(|file| file.id) {
            Some(report) => RunState::Reported(report),
            None => RunState::Ended(AttemptOutcome::failed(NodeReason::ProviderFailed, message)),
        }
    }

    /// Has the run cancelled.
    pub(super) async fn cancel(&self) -> Result<(), String> {
        self.runs.cancel(self.handle.run).await.map_err(|error| error.to_string())
    }

    /// What is made of an error of the host at a poll.
    pub(super) fn not_seen(&self, error: &HostError) -> AttemptOutcome {
        match error {
            // Work that is under way is not given up because the host cannot be asked.
            error if error.is_passing() => {
                self.waits("the host cannot be reached at the moment", &self.handle)
            }
            HostError::NotFound { .. } => {
                AttemptOutcome::Lost { message: "the workflow run no longer exists".to_owned() }
            }
            error => AttemptOutcome::broken(error.to_string(), false),
        }
    }

    fn not_listed(&self) -> AttemptOutcome {
        self.waits("the workflow was started, but its run is not listed yet", &self.handle)
    }

    fn under_way(&self, run: &WorkflowRun) -> AttemptOutcome {
        // The same words at each poll, so that a poll without news makes no commit.
        let message = format!("a workflow is doing the work: {}", plain_line(run.html_url.as_bytes()));
        self.waits(&message, &WorkerHandle { run: Some(run.id), ..self.handle.clone() })
    }

    fn waits(&self, message: &str, handle: &WorkerHandle) -> AttemptOutcome {
        AttemptOutcome::Blocked {
            reason: NodeReason::AwaitingProvider,
            message: message.to_owned(),
            // Work without a handle is never polled.
            handle: serde_json::to_string(handle).ok(),
            poll_after: Some(self.again),
        }
    }
}
