//! Attempts by local processes: what `tool://`, agents with a command and plugins have in common.

mod artifacts;
mod changes;
mod config;
mod job;
mod run;
mod run_folder;
#[cfg(test)]
pub(super) mod tests;

use std::sync::Arc;

pub(super) use self::config::ToolConfig;
pub(super) use self::job::Job;
use self::run::LocalRun;
use self::run_folder::RunFolders;
use super::output::Redactor;
use super::process::interrupt;
use super::web::Web;
use super::{
    Attempt, AttemptFuture, AttemptOutcome, AttemptReport, ConfigError, Control, ProviderSettings, Stop,
};
use crate::model::NodeReason;

/// Runs jobs as local processes.
#[derive(Clone)]
pub(super) struct LocalProcesses(Arc<LocalRunContext>);

/// What all attempts by local processes have in common.
struct LocalRunContext {
    settings: ProviderSettings,
    redactor: Arc<Redactor>,
    folders: RunFolders,
    web: Web,
}

impl LocalProcesses {
    pub(super) fn new(settings: ProviderSettings) -> Self {
        let secrets = settings.secrets.values().map(|value| value.as_encoded_bytes());
        let redactor = Arc::new(Redactor::new(secrets));
        let folders = RunFolders::new(settings.runs.clone());
        let web = Web::new(&settings.allow_private);
        Self(Arc::new(LocalRunContext { settings, redactor, folders, web }))
    }

    /// Runs the job of an attempt to its end.
    pub(super) fn run(
        &self,
        attempt: Attempt,
        job: Result<Job, ConfigError>,
        control: Control,
    ) -> AttemptFuture {
        match job {
            Ok(job) => Box::pin(run(Arc::clone(&self.0), attempt, job, control)),
            Err(error) => {
                let outcome = AttemptOutcome::permanent(NodeReason::ProviderFailed, error.to_string());
                Box::pin(std::future::ready(AttemptReport::from(outcome)))
            }
        }
    }
}

/// The whole attempt happens on a thread that may block: making the checkout, waiting for the process,
/// reading and hashing a flood of output never hold up the runtime.
async fn run(shared: Arc<LocalRunContext>, attempt: Attempt, job: Job, control: Control) -> AttemptReport {
    // Nothing is prepared for an attempt that was stopped while it waited for its turn.
    if let Some(stop) = *control.stop.borrow() {
        return AttemptReport::from(AttemptOutcome::Stopped(stop));
    }
    let (mut asker, interrupt) = match interrupt() {
        Ok(ends) => ends,
        Err(error) => return failed(format!("no pipe for the process: {error}")),
    };
    let Control { mut stop, output } = control;
    let mut work =
        tokio::task::spawn_blocking(move || LocalRun::new(&shared, &attempt, &job, &interrupt).run(output));
    let asked = async {
        let seen = stop.wait_for(Option::is_some).await.ok().and_then(|seen| *seen);
        match seen {
            Some(asked) => asked,
            // The engine cannot ask any more.
            None => std::future::pending::<Stop>().await,
        }
    };
    let done = tokio::select! {
        done = &mut work => done,
        stop = asked => {
            // The thread is waited for: it gives the process its grace period, and brings log and artifacts back.
            asker.ask(stop);
            work.await
        }
    };
    done.unwrap_or_else(|error| failed(format!("the attempt broke off: {error}")))
}

fn failed(message: String) -> AttemptReport {
    AttemptReport::from(AttemptOutcome::failed(NodeReason::ProviderFailed, message))
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
