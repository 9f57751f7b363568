//! `human://USER-OR-TEAM`: a person does the work. Where a Git host is at hand, as an issue there; else the person says so
//! with `planspec complete`. `docs/providers/human.md` describes both.

mod answer;
mod page;
mod person;
mod task;
#[cfg(test)]
mod tests;
mod who;

use std::sync::Arc;
use std::time::Duration;

use self::person::Person;
use self::task::{Handle, Task};
use super::check::Settings;
use super::checked_elsewhere::check_elsewhere;
use super::git_host::GitHost;
use super::log::Log;
use super::plain_text::plain_line;
use super::redact::Redactor;
use super::{
    Attempt, CallingOff, ConfigError, Control, Home, Outcome, Provider, ProviderSettings, Report, Running,
    Stop, check_criteria,
};
use crate::github::GitHubError;
use crate::model::{JsonMap, NodeReason};

const SCHEME: &str = "human://";

/// The longest that one look may take, waits for the host's limits included.
const ONE_LOOK: Duration = Duration::from_secs(60);

/// The longest that calling off may take.
const CALLING_OFF: Duration = Duration::from_secs(45);

/// The provider.
pub(super) struct Human {
    office: Option<Arc<Office>>,
}

/// Where issues are opened, and what is needed for it.
struct Office {
    host: GitHost,
    home: Home,
    settings: ProviderSettings,
    redactor: Arc<Redactor>,
}

impl Human {
    pub(super) fn new(settings: &ProviderSettings, host: &GitHost) -> Self {
        let office = settings.home.clone().filter(|_| host.is_known()).map(|home| {
            let secrets = settings.secrets.values().map(|value| value.as_encoded_bytes());
            let redactor = Arc::new(Redactor::new(secrets));
            Arc::new(Office { host: host.clone(), home, settings: settings.clone(), redactor })
        });
        Self { office }
    }

    /// The task as an issue; nothing where there is no Git host.
    fn task(&self, attempt: &Attempt, time: Duration) -> Option<Result<Task, GitHubError>> {
        let office = Arc::clone(self.office.as_ref()?);
        let person = Person::parse(person(&attempt.provider));
        let host = office.host.open().map(|host| host.within(time));
        Some(host.map(|host| Task { attempt: attempt.clone(), office, person, host }))
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

    fn run(&self, attempt: Attempt, _control: Control) -> Running {
        let refused = |why: String| Outcome::hopeless(NodeReason::ProviderFailed, why);
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

    fn poll(&self, attempt: Attempt, control: Control) -> Running {
        let task = self.task(&attempt, ONE_LOOK).zip(Handle::read(&attempt));
        Box::pin(async move {
            match task {
                Some((Ok(task), handle)) => looked(&task, &handle, control).await,
                // A runner without a Git host learns nothing, and leaves things as they are.
                _ => Outcome::Stopped(Stop::Shutdown).into(),
            }
        })
    }

    fn call_off(&self, attempt: Attempt) -> CallingOff {
        let task = self.task(&attempt, CALLING_OFF);
        Box::pin(async move {
            let Some(handle) = Handle::read(&attempt) else { return Ok(()) };
            let task =
                task.ok_or(GitHubError::NoToken).and_then(|task| task).map_err(|error| error.to_string())?;
            task.call_off(&handle).await.map_err(|error| error.to_string())
        })
    }
}

/// One look at the issue, and the checks of an answer.
async fn looked(task: &Task, handle: &Handle, control: Control) -> Report {
    let nothing = || Report::from(Outcome::Stopped(Stop::Shutdown));
    let mut report: Report = match task.look(handle).await {
        Ok(outcome) => outcome.into(),
        Err(error) if error.is_passing() => return nothing(),
        Err(error) => return task.cannot_look(handle, &error).into(),
    };
    let redactor = &task.office.redactor;
    report.outcome = match report.outcome {
        Outcome::Succeeded { outputs } => Outcome::Succeeded { outputs: redactor.map(outputs) },
        Outcome::Failed { reason, message, retryable, retry_after } => {
            Outcome::Failed { reason, message: redactor.text(&message), retryable, retry_after }
        }
        other => return other.into(),
    };
    if matches!(report.outcome, Outcome::Succeeded { .. }) && !task.attempt.criteria.is_empty() {
        let Control { mut stop, output } = control;
        let log = Log::new(task.attempt.run_dir.join("log"), Arc::clone(redactor), output);
        check_elsewhere(&task.office.settings, &task.attempt, &mut report, &mut stop, log).await;
    }
    if matches!(report.outcome, Outcome::Stopped(_)) || task.end(handle).await.is_err() {
        return nothing();
    }
    report
}

fn person(provider: &str) -> &str {
    provider.strip_prefix(SCHEME).unwrap_or_default().trim()
}

/// Without a Git host.
fn local(attempt: &Attempt) -> Outcome {
    Outcome::Blocked {
        reason: NodeReason::AwaitingPerson,
        message: message(attempt),
        handle: None,
        poll_after: None,
    }
}

fn message(attempt: &Attempt) -> String {
    let mut message = format!(
        "waits for {} to run `planspec complete {}/{} -n {}`",
        plain_line(person(&attempt.provider).as_bytes()),
        attempt.key.name,
        attempt.node,
        attempt.key.namespace,
    );
    if !attempt.declared_outputs.is_empty() {
        message.push_str(" and give the outputs ");
        message.push_str(&attempt.declared_outputs.join(", "));
    }
    if let Some(instructions) = attempt.config.get("instructions").and_then(|value| value.as_str()) {
        message.push_str(": ");
        message.push_str(&plain_line(instructions.as_bytes()));
    }
    message
}
