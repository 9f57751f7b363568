//! `human://USER-OR-TEAM`: a person does the work. Where a Git host is at hand, as an issue there; else the person says so
//! with `planspec complete`. `docs/providers/human.md` describes both.

mod answer;
mod assignee;
mod issue_page;
mod issue_task;
mod responders;
#[cfg(test)]
mod tests;

pub(super) use self::answer::outputs as read_outputs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::assignee::Assignee;
use self::issue_task::{IssueHandle, IssueTask};
use super::criteria::check_elsewhere;
use super::output::{AttemptLog, plain_line};
use super::settings::Settings;
use super::{
    Attempt, AttemptFuture, AttemptOutcome, AttemptReport, CancelFuture, ConfigError, Control,
    HostRepository, Provider, ProviderContext, Stop, check_criteria,
};
use crate::host::HostError;
use crate::model::{JsonMap, NextStep, NodeReason};

const SCHEME: &str = "human://";

/// The longest that one poll may take, waits for the host's limits included.
const ONE_LOOK: Duration = Duration::from_secs(60);

/// The longest that cancelling may take.
const CALLING_OFF: Duration = Duration::from_secs(45);

/// The provider.
pub(super) struct Human {
    office: Option<Arc<IssueContext>>,
}

/// Where issues are opened, and what is needed for it.
struct IssueContext {
    home: HostRepository,
    common: ProviderContext,
}

impl Human {
    pub(super) fn new(common: ProviderContext) -> Self {
        let home = common.home().cloned();
        Self { office: home.map(|home| Arc::new(IssueContext { home, common })) }
    }

    /// The task as an issue; nothing where there is no Git host.
    fn task(&self, attempt: &Attempt, time: Duration) -> Option<Result<IssueTask, HostError>> {
        let office = Arc::clone(self.office.as_ref()?);
        let person = Assignee::parse(person(&attempt.provider));
        let host = office.common.host().map(|host| host.within(time));
        Some(host.map(|host| IssueTask { attempt: attempt.clone(), office, person, host }))
    }
}

impl Provider for Human {
    fn schemes(&self) -> &'static [&'static str] {
        &["human"]
    }

    fn check(&self, provider: &str, config: &JsonMap) -> Result<(), ConfigError> {
        Settings::new(config, &["instructions"])?.text("instructions")?;
        match person(provider) {
            "" | "team:" | "user:" => Err(ConfigError::Provider {
                provider: provider.to_owned(),
                why: "names nobody; write `human://USER` or `human://team:TEAM`",
            }),
            _ => Ok(()),
        }
    }

    fn run(&self, attempt: Attempt, _control: Control) -> AttemptFuture {
        let refused = |why: String| AttemptOutcome::permanent(NodeReason::ProviderFailed, why);
        if let Err(error) = self.check(&attempt.provider, &attempt.config) {
            return Box::pin(std::future::ready(refused(error.to_string()).into()));
        }
        let task = self.task(&attempt, ONE_LOOK);
        Box::pin(async move {
            match task {
                None => local(&attempt).into(),
                Some(Err(error)) => refused(error.to_string()).into(),
                Some(Ok(task)) => match check_criteria(&attempt.criteria) {
                    Ok(()) => task.start().await.into(),
                    Err(error) => refused(error.to_string()).into(),
                },
            }
        })
    }

    fn poll(&self, attempt: Attempt, control: Control) -> AttemptFuture {
        let task = self.task(&attempt, ONE_LOOK).zip(IssueHandle::read(&attempt));
        Box::pin(async move {
            match task {
                Some((Ok(task), handle)) => looked(&task, &handle, control).await,
                // A runner without a Git host learns nothing, and leaves things as they are.
                _ => AttemptOutcome::Stopped(Stop::Shutdown).into(),
            }
        })
    }

    fn cancel_remote(&self, attempt: Attempt) -> CancelFuture {
        let task = self.task(&attempt, CALLING_OFF);
        Box::pin(async move {
            let Some(handle) = IssueHandle::read(&attempt) else { return Ok(()) };
            let task =
                task.ok_or(HostError::NoHost).and_then(|task| task).map_err(|error| error.to_string())?;
            task.cancel(&handle).await.map_err(|error| error.to_string())
        })
    }
}

/// One poll of the issue, and the checks of an answer.
async fn looked(task: &IssueTask, handle: &IssueHandle, control: Control) -> AttemptReport {
    let began = Instant::now();
    let nothing = || AttemptReport::from(AttemptOutcome::Stopped(Stop::Shutdown));
    let mut report: AttemptReport = match task.look(handle).await {
        Ok(outcome) => outcome.into(),
        Err(error) if error.is_passing() => return nothing(),
        Err(error) => return task.cannot_look(handle, &error).into(),
    };
    let redactor = &task.office.common.redactor;
    report.outcome = match report.outcome {
        AttemptOutcome::Succeeded { outputs } => AttemptOutcome::Succeeded { outputs: redactor.map(outputs) },
        AttemptOutcome::Failed { reason, message, retryable, retry_after } => {
            AttemptOutcome::Failed { reason, message: redactor.text(&message), retryable, retry_after }
        }
        other => return other.into(),
    };
    if matches!(report.outcome, AttemptOutcome::Succeeded { .. }) && !task.attempt.criteria.is_empty() {
        let Control { mut stop, output, .. } = control;
        let log = AttemptLog::new(task.attempt.run_dir.join("log"), Arc::clone(redactor), output);
        check_elsewhere(&task.office.common, &task.attempt, began, &mut report, &mut stop, log).await;
    }
    // Marked before the end is published. A runner that is lost in between leaves the handle, by which the next poll
    // finds the same issue and the same answer.
    if matches!(report.outcome, AttemptOutcome::Stopped(_)) || task.end(handle).await.is_err() {
        return nothing();
    }
    report
}

fn person(provider: &str) -> &str {
    provider.strip_prefix(SCHEME).unwrap_or_default().trim()
}

/// Without a Git host.
fn local(attempt: &Attempt) -> AttemptOutcome {
    AttemptOutcome::Blocked {
        reason: NodeReason::AwaitingPerson,
        message: message(attempt),
        // Nothing to poll: a command of the person ends the wait.
        handle: None,
        poll_after: None,
    }
}

fn message(attempt: &Attempt) -> String {
    let mut message = format!(
        "waits for {} to run `{}`",
        plain_line(person(&attempt.provider).as_bytes()),
        NextStep::complete(&attempt.key, &attempt.node),
    );
    if !attempt.declared_outputs.is_empty() {
        message.push_str(" and provide the outputs ");
        message.push_str(&attempt.declared_outputs.join(", "));
    }
    if let Some(instructions) = attempt.config.get("instructions").and_then(|value| value.as_str()) {
        message.push_str(": ");
        message.push_str(&plain_line(instructions.as_bytes()));
    }
    message
}
