//! Attempts by local processes: `tool://NAME` or a plain word, as `docs/providers/tool.md` describes it, and what agents
//! with a command and plugins have in common with it.

mod artifacts;
mod changes;
mod config;
mod job;
mod judge;
mod process_report;
mod run;
mod run_folder;
#[cfg(test)]
pub(super) mod tests;
mod travelling;
mod unfinished;
mod verify;
mod verify_settings;
mod workspace_settings;

use std::sync::Arc;

pub(super) use self::artifacts::{ReadLimits, collect as collect_artifacts};
pub(super) use self::changes::secrets;
pub(super) use self::config::ToolConfig;
pub(super) use self::job::Job;
pub(super) use self::process_report::read_result;
use self::run::LocalRun;
use self::run_folder::RunFolders;
pub(super) use self::verify::{DoneWork, Verifiers};
use self::verify::{check_known_verifier, check_verifier};
use super::process::{Interrupt, interrupt};
use super::{
    Attempt, AttemptFuture, AttemptOutcome, AttemptReport, ChangeRules, ConfigError, Control, Provider,
    ProviderContext, Stop, stop_requested,
};
use crate::model::{JsonMap, NodeReason};

/// Runs jobs as local processes; as a provider, the command that the settings name.
#[derive(Clone)]
pub(super) struct LocalProcesses(Arc<LocalRunContext>);

/// What all attempts by local processes have in common.
struct LocalRunContext {
    common: ProviderContext,
    folders: RunFolders,
    verifiers: Arc<dyn Verifiers>,
}

impl LocalProcesses {
    pub(super) fn new(common: ProviderContext, verifiers: Arc<dyn Verifiers>) -> Self {
        let folders = RunFolders::new(common.settings.runs.clone());
        Self(Arc::new(LocalRunContext { common, folders, verifiers }))
    }

    /// Checks the settings of a command, with those of whoever verifies what it did.
    pub(super) fn check_command(&self, provider: &str, config: &JsonMap) -> Result<(), ConfigError> {
        match ToolConfig::check(provider, config, self.0.common.settings.sandbox.as_ref())? {
            Some(settings) => check_verifier(&settings, &*self.0.verifiers),
            None => Ok(()),
        }
    }

    /// What a command with these settings may change, and what becomes of it.
    pub(super) fn rules_of(&self, config: &ToolConfig) -> ChangeRules {
        config.changes.rules(&self.0.common.redactor)
    }

    /// Runs the job of an attempt to its end.
    pub(super) fn run_job(
        &self,
        attempt: Attempt,
        job: Result<Job, ConfigError>,
        control: Control,
    ) -> AttemptFuture {
        // Work that nobody can verify is not begun.
        let checked = job.and_then(|job| match &job.config.verify {
            Some(settings) => check_known_verifier(settings, &*self.0.verifiers).map(|()| job),
            None => Ok(job),
        });
        match checked {
            Ok(job) => Box::pin(run(Arc::clone(&self.0), attempt, job, control)),
            Err(error) => {
                let outcome = AttemptOutcome::permanent(NodeReason::ProviderFailed, error.to_string());
                Box::pin(std::future::ready(AttemptReport::from(outcome)))
            }
        }
    }
}

impl Provider for LocalProcesses {
    fn schemes(&self) -> &'static [&'static str] {
        &["tool", ""]
    }

    fn check(&self, provider: &str, config: &JsonMap) -> Result<(), ConfigError> {
        self.check_command(provider, config)
    }

    fn starts_process(&self, _provider: &str) -> bool {
        true
    }

    fn blocks(&self, _provider: &str) -> bool {
        true
    }

    fn change_rules(&self, attempt: &Attempt) -> Result<ChangeRules, ConfigError> {
        ToolConfig::read(&attempt.provider, &attempt.config).map(|config| self.rules_of(&config))
    }

    fn run(&self, attempt: Attempt, control: Control) -> AttemptFuture {
        let job = ToolConfig::read(&attempt.provider, &attempt.config).map(Job::command);
        self.run_job(attempt, job, control)
    }
}

/// The whole attempt happens on a thread that may block: making the checkout, waiting for the process,
/// reading and hashing a flood of output never hold up the runtime.
async fn run(shared: Arc<LocalRunContext>, attempt: Attempt, job: Job, control: Control) -> AttemptReport {
    // Nothing is prepared for an attempt that was stopped while it waited for its turn.
    if let Some(stop) = *control.stop.borrow() {
        return AttemptReport::from(stopped_before_start(stop));
    }
    if let Some(heed) = control.heed {
        // Outside of the runtime, where criteria wait for answers over the network.
        return tokio::task::block_in_place(|| {
            LocalRun::new(&shared, &attempt, &job, &Interrupt::by(heed)).run(control.output)
        });
    }
    let (mut asker, interrupt) = match interrupt() {
        Ok(ends) => ends,
        Err(error) => {
            let message = format!("cannot create a pipe for the process: {error}");
            return AttemptOutcome::not_possible_here(message).into();
        }
    };
    let Control { mut stop, output, .. } = control;
    let mut work =
        tokio::task::spawn_blocking(move || LocalRun::new(&shared, &attempt, &job, &interrupt).run(output));
    let done = tokio::select! {
        done = &mut work => done,
        stop = stop_requested(&mut stop) => {
            // The thread is waited for: it gives the process its grace period, and brings log and artifacts back.
            asker.ask(stop);
            work.await
        }
    };
    // Nobody knows how far the thread came.
    done.unwrap_or_else(|error| {
        AttemptOutcome::broken_off_here(format!("the attempt was aborted: {error}")).into()
    })
}

/// How an attempt ends that was stopped before its process was started: a runner that goes away leaves nothing to decide.
fn stopped_before_start(stop: Stop) -> AttemptOutcome {
    match stop {
        Stop::Cancel => AttemptOutcome::Stopped(stop),
        Stop::Shutdown => {
            AttemptOutcome::NotStarted { message: "the runner stopped before it began".to_owned() }
        }
    }
}
