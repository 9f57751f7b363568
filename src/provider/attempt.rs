//! One attempt at a node, as a provider gets it, and what comes back.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use super::output::{Redactor, plain_line};
use super::process::Heed;
use super::{AttemptFiles, UpstreamWork, Workspace};
use crate::model::{
    AcceptanceCriterion, ChangeRequest, ContextItem, GoalSpec, JsonMap, NextStep, NodeId, NodeReason,
    QuestionAnswer, ResourceKey, UnfinishedWork,
};
use crate::run::{AttemptOutcome, AttemptReport, Stop};

/// Everything that a provider may know about one attempt at a node.
#[derive(Clone)]
pub struct Attempt {
    /// The execution.
    pub key: ResourceKey,
    /// The node.
    pub node: NodeId,
    /// The number of the attempt, from 1.
    pub attempt: u32,
    /// The id of the run.
    pub run_id: String,
    /// The name of the attempt, `<execution uid>/<node>/<lease token>.<n>`: no other runner ever uses it.
    pub idempotency_key: String,
    /// The same for the same work, also after a runner was lost, and another one after a failure: what one attempt began,
    /// another with this key may continue with.
    pub work: String,
    /// The token of the lease under which the attempt was started.
    pub fencing_token: u64,
    /// The provider string of the binding's target.
    pub provider: String,
    /// The provider's settings, expressions replaced.
    pub config: JsonMap,
    /// The node's inputs, expressions replaced.
    pub inputs: JsonMap,
    /// The outputs that the node declares; when empty, any are taken.
    pub declared_outputs: Vec<String>,
    /// What is checked after the work.
    pub criteria: Vec<AcceptanceCriterion>,
    /// How long the attempt may take, its checks included.
    pub timeout: Option<Duration>,
    /// The desired commit that the execution is pinned to.
    pub commit: String,
    /// The folder of this attempt, made when it is needed; holds `inputs.json`, `output`, `artifacts/`
    /// and `log`.
    pub run_dir: PathBuf,
    /// Gives a checkout of `commit` to those who need one.
    pub workspace: Arc<dyn Workspace>,
    /// Keeps what it leaves, and has what the nodes before it left.
    pub files: Arc<dyn AttemptFiles>,
    /// What the nodes before it changed, for those who deliver it.
    pub upstream: Arc<UpstreamWork>,
    /// What this provider gave as `handle` when it was blocked before.
    pub handle: Option<String>,
    /// How long ago it was started, when it is polled.
    pub age: Duration,
    /// What the capabilities of the task say to its outputs.
    pub output_contract: OutputContract,
    /// What a person answered to a question that the provider asked back when it was blocked before.
    pub answer: Option<QuestionAnswer>,
    /// What the work is about, for whoever does it with understanding: an agent or a person.
    pub brief: Arc<Brief>,
}

impl Attempt {
    /// The fields by which whoever is asked over HTTP knows the attempt: the same for services, webhooks and agents.
    pub(super) fn document(&self) -> JsonMap {
        let fields = [
            ("namespace", json!(self.key.namespace)),
            ("execution", json!(self.key.name)),
            ("node", json!(self.node)),
            ("attempt", json!(self.attempt)),
            ("runId", json!(self.run_id)),
            ("idempotencyKey", json!(self.idempotency_key)),
            ("workKey", json!(self.work)),
            ("inputs", Value::Object(self.inputs.clone())),
        ];
        fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// How it ends where its work asks a person; `more` follows in the message.
    pub(super) fn asks(&self, question: String, more: &str) -> AttemptOutcome {
        let step = NextStep::answer(&self.key, &self.node);
        AttemptOutcome::Blocked {
            reason: NodeReason::InputRequired,
            message: format!("{} asks: {question} (`{step}`){more}", self.provider),
            // With it the next attempt can repeat what was asked; without any, nobody could answer.
            handle: Some(question),
            poll_after: None,
        }
    }
}

/// What was promised of the outputs of an attempt beyond their names. The engine holds every provider to it; one that can
/// have a wrong answer put right asks before.
#[derive(Clone, Default)]
pub struct OutputContract {
    check: Option<Arc<OutputCheck>>,
    hints: BTreeMap<String, String>,
}

type OutputCheck = dyn Fn(JsonMap) -> Result<JsonMap, String> + Send + Sync;

impl OutputContract {
    /// A promise that is kept when `check` agrees; it may read texts as the types that are asked for. `hints` say in words
    /// what an output is to be.
    pub fn new(
        hints: impl IntoIterator<Item = (String, String)>,
        check: impl Fn(JsonMap) -> Result<JsonMap, String> + Send + Sync + 'static,
    ) -> Self {
        // A closure, because what Capabilities promise is checked in a module that providers may not import.
        Self { check: Some(Arc::new(check)), hints: hints.into_iter().collect() }
    }

    /// The outputs as they were promised, or what is wrong with them.
    pub(super) fn check(&self, outputs: JsonMap) -> Result<JsonMap, String> {
        match &self.check {
            Some(check) => check(outputs),
            None => Ok(outputs),
        }
    }

    /// What an output is to be, as text.
    pub(super) fn hint(&self, output: &str) -> Option<&str> {
        self.hints.get(output).map(String::as_str)
    }
}

/// What the work of a node is about, expressions not replaced.
#[derive(Debug, Clone, Default)]
pub struct Brief {
    /// The goal that the execution serves.
    pub goal: Option<GoalSpec>,
    /// What a reviewer wants changed of what the task made before.
    pub requested: Option<ChangeRequest>,
    /// What an earlier attempt had changed and did not finish: the workspace holds it.
    pub unfinished: Option<UnfinishedWork>,
    /// What the plan is for.
    pub plan: String,
    /// The material of the plan.
    pub plan_context: Vec<ContextItem>,
    /// The title of the task.
    pub title: Option<String>,
    /// The task, as text.
    pub task: Option<String>,
    /// The material of the task.
    pub task_context: Vec<ContextItem>,
    /// The material of the execution.
    pub execution_context: Vec<ContextItem>,
}

/// How the engine talks with a running attempt.
pub struct Control {
    /// Becomes `Some` when the attempt shall end early.
    // A watch and not a queue: whoever begins to listen late still sees the request.
    pub stop: watch::Receiver<Option<Stop>>,
    /// Takes the lines that the provider prints, redacted and without control characters. A line that
    /// finds no room is dropped; the log has it.
    pub output: mpsc::Sender<String>,
    /// There where the thread that polls the attempt belongs to it alone and may be blocked. Such a thread asks this now and then, a few
    /// times a second, whether the attempt shall end, since nothing else tells it.
    pub heed: Option<Heed>,
}

/// Waits until the engine asks to stop; for ever when it cannot ask any more, so that work which nobody follows runs to
/// its end instead of being taken for cancelled.
pub(super) async fn stop_requested(stop: &mut watch::Receiver<Option<Stop>>) -> Stop {
    match stop.wait_for(Option::is_some).await.ok().and_then(|seen| *seen) {
        Some(stop) => stop,
        None => std::future::pending().await,
    }
}

impl AttemptReport {
    /// Takes another outcome in the place of success; what had gone wrong before stays the reason.
    pub(super) fn override_success(&mut self, outcome: AttemptOutcome) {
        // What is found while artifacts are collected or folders are moved must not hide the cause.
        if matches!(self.outcome, AttemptOutcome::Succeeded { .. }) {
            self.outcome = outcome;
        }
    }
}

impl AttemptOutcome {
    /// A failure of the provider that another attempt may overcome, if `retryable`.
    pub(super) fn broken(message: impl Into<String>, retryable: bool) -> Self {
        Self::Failed {
            reason: NodeReason::ProviderFailed,
            message: message.into(),
            retryable,
            retry_after: None,
        }
    }

    /// The same, but a failure is not followed by another attempt before `after`.
    pub(super) fn not_before(mut self, after: Option<Duration>) -> Self {
        if let Self::Failed { retry_after, .. } = &mut self {
            *retry_after = after;
        }
        self
    }

    /// The same without secrets and control characters; of outputs only the secrets go.
    pub(super) fn cleaned(mut self, redactor: &Redactor) -> Self {
        let line = |text: &mut String| *text = plain_line(redactor.text(text).as_bytes());
        match &mut self {
            // Outputs are data that later nodes get as they are. Control characters of them are removed where they are
            // shown (Invariant 8).
            Self::Succeeded { outputs } => *outputs = redactor.map(std::mem::take(outputs)),
            // Messages go into the record, and from there to terminals and pages: one line, whatever a provider wrote.
            Self::Failed { message, .. }
            | Self::NotStarted { message }
            | Self::RunnerFailed { message, .. }
            | Self::Lost { message }
            | Self::Postponed { message, .. }
            | Self::Blocked { message, .. } => line(message),
            Self::Stopped(_) => {}
        }
        self
    }
}
