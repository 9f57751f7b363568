//! `providers.commands.workflow`: what would be a process of this runner runs in a workflow of the repository instead, whose job has
//! no token that can write. The pass only starts it, and takes in what it left as bytes of a stranger.

mod archive;
mod job;
mod parcel;
mod take_in;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{Seek as _, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::{mpsc, watch};

use self::archive::Archive;
use self::job::{RunState, WorkerHandle, WorkerJob};
pub use self::parcel::ParcelError;
use self::take_in::{ARCHIVE, TakeIn, parse_report};
use crate::github::WorkflowArtifact;
use crate::model::{self, JsonMap, NodeReason};
use crate::provider::criteria::runs_command;
use crate::provider::{
    Attempt, AttemptFuture, AttemptOutcome, AttemptReport, CancelFuture, ChangeRules, ConfigError, Control,
    Provider, ProviderContext, ProviderSettings, SectionError, Stop, check_criteria, stop_requested,
};

/// The key below `providers`, and those in it.
const SECTION: &str = "commands";
const WORKFLOW: &str = "workflow";
const INTERVAL: &str = "pollInterval";

/// When to poll again, where the configuration does not say.
const AGAIN: Duration = Duration::from_secs(30);

/// The workflow that the configuration names.
#[derive(Debug, Clone)]
pub(in crate::provider) struct WorkerWorkflow {
    workflow: Value,
    again: Duration,
}

impl WorkerWorkflow {
    /// The one that the settings name; none where commands run here.
    pub(in crate::provider) fn of(settings: &ProviderSettings) -> Option<Self> {
        let workflow = settings.section(SECTION, WORKFLOW).cloned()?;
        let interval = settings.section(SECTION, INTERVAL).and_then(Value::as_str);
        let again =
            interval.and_then(|text| text.parse().ok()).map(|interval: model::Duration| interval.span());
        Some(Self { workflow, again: again.unwrap_or(AGAIN) })
    }

    /// The name of its file.
    fn name(&self) -> Result<&str, ConfigError> {
        // It becomes a part of an address, and is looked for in one folder.
        let plain = |name: &&str| {
            let ends = name.ends_with(".yml") || name.ends_with(".yaml");
            ends && !name.starts_with(['.', '-'])
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        };
        self.workflow.as_str().filter(plain).ok_or_else(|| ConfigError::WrongType {
            key: format!("{SECTION}.{WORKFLOW}"),
            expected: "the file name of a workflow in `.github/workflows`",
        })
    }
}

/// Reads the bytes of an archive and of a report in it, as they are read before anything of them counts: see `cli::foreign`.
pub(in crate::provider) fn read_foreign(bytes: &[u8]) {
    const MOST: u64 = 1 << 20;
    if let Ok(archive) = Archive::open(bytes) {
        for name in archive.names() {
            let read = archive.read(name, MOST);
            assert!(read.is_ok_and(|content| content.len() as u64 <= MOST) || archive.holds(name));
        }
    }
    drop(parse_report(bytes, "uid/node/1.1"));
}

/// The file name of the workflow in which commands run, as the sections of the configuration have it.
#[must_use]
pub(crate) fn worker_workflow(sections: &JsonMap) -> Option<&str> {
    sections.get(SECTION)?.get(WORKFLOW)?.as_str()
}

/// Whether commands run in a workflow, by the sections of the configuration.
#[must_use]
pub(crate) fn has_worker(sections: &JsonMap) -> bool {
    sections.contains_key(SECTION)
}

/// The sections of the configuration for whoever runs the commands.
#[must_use]
pub(crate) fn without_worker(sections: &JsonMap) -> JsonMap {
    sections
        .iter()
        .filter(|(key, _)| *key != SECTION)
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// A provider whose processes run in the workflow.
pub(in crate::provider) struct InWorkflow {
    inner: Arc<dyn Provider>,
    workflow: WorkerWorkflow,
    context: ProviderContext,
}

impl InWorkflow {
    pub(in crate::provider) fn new(
        inner: Arc<dyn Provider>,
        workflow: WorkerWorkflow,
        context: ProviderContext,
    ) -> Self {
        Self { inner, workflow, context }
    }

    fn job(&self, attempt: Attempt) -> Result<WorkerJob, AttemptOutcome> {
        // Work that cannot be done, or whose result cannot be judged, is not begun.
        let sound = self.inner.check(&attempt.provider, &attempt.config);
        sound
            .and_then(|()| check_criteria(&attempt.criteria))
            .map_err(|error| AttemptOutcome::permanent(NodeReason::ProviderFailed, error.to_string()))?;
        WorkerJob::new(attempt, &self.workflow, &self.context)
    }

    /// Why an attempt is not made here: its work is done elsewhere, and is judged by commands that would run beside the token.
    fn refused(&self, attempt: &Attempt) -> Option<AttemptOutcome> {
        let command = attempt.criteria.iter().find(|criterion| runs_command(&criterion.check))?;
        let message = format!(
            "acceptance criterion `{}` runs a command, and `providers.{SECTION}` keeps commands out of this job; check it in a Task of its own behind this one",
            command.name
        );
        Some(AttemptOutcome::permanent(NodeReason::ProviderFailed, message))
    }
}

impl Provider for InWorkflow {
    fn schemes(&self) -> &'static [&'static str] {
        self.inner.schemes()
    }

    fn check(&self, provider: &str, config: &JsonMap) -> Result<(), ConfigError> {
        self.workflow.name()?;
        self.inner.check(provider, config)
    }

    fn check_sections(&self) -> Vec<SectionError> {
        // What is wrong with its own, the schema says.
        self.inner.check_sections()
    }

    fn run(&self, attempt: Attempt, control: Control) -> AttemptFuture {
        if !self.inner.starts_process(&attempt.provider) {
            return match self.refused(&attempt) {
                Some(outcome) => Box::pin(std::future::ready(outcome.into())),
                None => self.inner.run(attempt, control),
            };
        }
        let job = self.job(attempt);
        Box::pin(async move {
            match job {
                Ok(job) => job.start().await.into(),
                Err(outcome) => outcome.into(),
            }
        })
    }

    fn poll(&self, attempt: Attempt, control: Control) -> AttemptFuture {
        if !self.inner.starts_process(&attempt.provider) {
            return match self.refused(&attempt) {
                Some(outcome) => Box::pin(std::future::ready(outcome.into())),
                None => self.inner.poll(attempt, control),
            };
        }
        // A question waits for a person; no run knows more of it.
        if attempt.handle.is_some() && WorkerHandle::read(attempt.handle.as_deref()).is_none() {
            return Box::pin(std::future::ready(AttemptOutcome::Stopped(Stop::Shutdown).into()));
        }
        let rules = self.inner.change_rules(&attempt);
        let context = self.context.clone();
        let job = self.job(attempt);
        Box::pin(async move {
            let ready = job.and_then(|job| match rules {
                Ok(rules) => Ok((job, rules)),
                Err(error) => Err(AttemptOutcome::permanent(NodeReason::ProviderFailed, error.to_string())),
            });
            match ready {
                Ok((job, rules)) => look(job, rules, context, control).await,
                Err(outcome) => outcome.into(),
            }
        })
    }

    fn propose(&self, attempt: Attempt) -> AttemptFuture {
        self.inner.propose(attempt)
    }

    fn cancel_remote(&self, attempt: Attempt) -> CancelFuture {
        if !self.inner.starts_process(&attempt.provider) {
            return self.inner.cancel_remote(attempt);
        }
        let job = WorkerJob::new(attempt, &self.workflow, &self.context);
        Box::pin(async move {
            match job {
                Ok(job) => job.cancel().await,
                Err(
                    AttemptOutcome::Failed { message, .. } | AttemptOutcome::RunnerFailed { message, .. },
                ) => Err(message),
                Err(_) => Ok(()),
            }
        })
    }
}

/// How far the run is, and what came of it if it is over.
async fn look(
    job: WorkerJob,
    rules: ChangeRules,
    context: ProviderContext,
    control: Control,
) -> AttemptReport {
    let artifact = match job.look().await {
        RunState::Ended(outcome) => return outcome.into(),
        RunState::Reported(artifact) => artifact,
    };
    let archive = match fetched(&job, &artifact).await {
        Ok(archive) => archive,
        Err(outcome) => return outcome.into(),
    };
    let attempt = job.attempt.clone();
    let output = control.output;
    let taken = tokio::task::spawn_blocking(move || {
        TakeIn { context: &context, attempt: &attempt, rules: &rules, output }.report(archive)
    });
    taken.await.unwrap_or_else(|error| {
        AttemptOutcome::broken_off_here(format!("taking in the work was aborted: {error}")).into()
    })
}

/// The archive of a report, as a file that has no name.
async fn fetched(job: &WorkerJob, artifact: &WorkflowArtifact) -> Result<File, AttemptOutcome> {
    if artifact.size_in_bytes > ARCHIVE {
        let message = format!("the report of the job has more than {ARCHIVE} bytes");
        return Err(AttemptOutcome::failed(NodeReason::ProviderFailed, message));
    }
    let here =
        |error: std::io::Error| AttemptOutcome::broken_off_here(format!("no room for the report: {error}"));
    let mut file = tempfile::tempfile().map_err(here)?;
    let download = job.runs.host.download(&job.runs.repo, artifact.id, (&mut file, ARCHIVE)).await;
    download.map_err(|error| job.not_seen(&error))?;
    file.seek(SeekFrom::Start(0)).map_err(here)?;
    Ok(file)
}

/// Does the work of an attempt, in the job that is there for it: to its end, also where that is reached by polling. Then writes
/// what it left into an empty folder.
///
/// # Errors
/// When that cannot be written.
pub(crate) async fn work(
    provider: &dyn Provider,
    mut attempt: Attempt,
    stop: watch::Receiver<Option<Stop>>,
    (output, into): (mpsc::Sender<String>, &Path),
) -> Result<AttemptReport, ParcelError> {
    let begun = Instant::now();
    if let Some(handle) = WorkerHandle::read(attempt.handle.as_deref()) {
        (attempt.handle, attempt.answer) = (handle.asked, handle.answer.or(attempt.answer.take()));
    }
    let control = || Control { stop: stop.clone(), output: output.clone(), heed: None };
    let mut report = provider.run(attempt.clone(), control()).await;
    while let AttemptOutcome::Blocked { handle: Some(handle), poll_after: Some(after), .. } = &report.outcome
    {
        // Work of a plugin that goes on elsewhere: this job stays for it, since nobody else may start the plugin.
        attempt.handle = Some(handle.clone());
        let after = *after;
        if paused(after, &stop).await.is_some() {
            let _cancelled = provider.cancel_remote(attempt.clone()).await;
            report = AttemptOutcome::Stopped(Stop::Cancel).into();
            break;
        }
        attempt.age = begun.elapsed();
        let polled = provider.poll(attempt.clone(), control()).await;
        // Nothing was learned.
        if !matches!(polled.outcome, AttemptOutcome::Stopped(_) | AttemptOutcome::RunnerFailed { .. }) {
            report = polled;
        }
    }
    let named = (attempt.idempotency_key.as_str(), attempt.run_dir.as_path());
    parcel::write(into, named, attempt.workspace.as_ref(), &report)?;
    Ok(report)
}

/// Waits; says why it ended early.
async fn paused(pause: Duration, stop: &watch::Receiver<Option<Stop>>) -> Option<Stop> {
    let mut stop = stop.clone();
    tokio::select! {
        biased;
        stop = stop_requested(&mut stop) => Some(stop),
        () = tokio::time::sleep(pause) => None,
    }
}
