//! One attempt by a local process, from the checkout to the report. Blocks.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;

use super::Shared;
use super::config::ToolConfig;
use super::environment::{environment, find_program};
use super::run_folder::RunFolder;
use crate::model::{JsonMap, NodeReason};
use crate::provider::interrupt::Interrupt;
use crate::provider::log::Log;
use crate::provider::process::{self, End, Program};
use crate::provider::{Attempt, Checkout, Outcome, Report, outputs};

/// One attempt.
pub(super) struct LocalRun<'a> {
    shared: &'a Shared,
    attempt: &'a Attempt,
    interrupt: &'a Interrupt,
    deadline: Option<Instant>,
}

impl<'a> LocalRun<'a> {
    /// Gets ready; the time of the attempt begins now.
    pub(super) fn new(shared: &'a Shared, attempt: &'a Attempt, interrupt: &'a Interrupt) -> Self {
        let deadline = attempt.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        Self { shared, attempt, interrupt, deadline }
    }

    /// Runs it to its end.
    pub(super) fn run(&self, lines: mpsc::Sender<String>) -> Report {
        let config = match ToolConfig::read(&self.attempt.provider, &self.attempt.config) {
            Ok(config) => config,
            Err(error) => {
                return self.report_of(Outcome::hopeless(NodeReason::ProviderFailed, error.to_string()));
            }
        };
        let folder = RunFolder::create(&self.attempt.run_dir, &self.attempt.inputs, &self.shared.no_inputs);
        let folder = match folder {
            Ok(folder) => folder,
            Err(error) => return self.report_of(failed(format!("no folder for the attempt: {error}"))),
        };
        let mut log = Log::new(folder.log(), Arc::clone(&self.shared.redactor), lines);
        let mut report = Report::from(Outcome::Succeeded { outputs: JsonMap::new() });
        report.outcome = match self.work(&config, &folder, &mut log, &mut report) {
            Ok(outputs) => Outcome::Succeeded { outputs },
            Err(outcome) => outcome,
        };
        report.log = log.finish();
        folder.tidy();
        self.clean(report)
    }

    /// The work itself: the outputs, or how else the attempt ended.
    fn work(
        &self,
        config: &ToolConfig,
        folder: &RunFolder,
        log: &mut Log,
        report: &mut Report,
    ) -> Result<JsonMap, Outcome> {
        let place = Place::prepare(self.attempt, config, folder)?;
        let environment = environment(&self.shared.settings, config, self.attempt, folder);
        let program = program(config, &environment, &place.directory)?;
        let end = process::run(&program, self.deadline, self.interrupt, &mut |bytes| log.write(bytes))
            .map_err(|error| cannot_start(&config.command, &error))?;
        log.end_part();
        match end {
            End::Stopped(stop) => return Err(Outcome::Stopped(stop)),
            End::TimedOut => return Err(self.timed_out()),
            End::Exited(status) => {
                report.exit_code = status.code();
                if !status.success() {
                    return Err(failed(how_it_ended(status)));
                }
            }
        }
        outputs::read(folder.output(), &self.attempt.declared_outputs)
            .map_err(|error| Outcome::failed(NodeReason::OutputInvalid, error.to_string()))
    }

    fn timed_out(&self) -> Outcome {
        let limit = self.attempt.timeout.unwrap_or_default();
        Outcome::failed(NodeReason::Timeout, format!("took longer than {limit:?}"))
    }

    fn report_of(&self, outcome: Outcome) -> Report {
        self.clean(Report::from(outcome))
    }

    /// Nothing that leaves here holds a secret; the log is clean already.
    fn clean(&self, mut report: Report) -> Report {
        let redactor = &self.shared.redactor;
        report.outcome = match report.outcome {
            Outcome::Succeeded { outputs } => Outcome::Succeeded { outputs: redactor.map(outputs) },
            Outcome::Failed { reason, message, retryable } => {
                Outcome::Failed { reason, message: redactor.text(&message), retryable }
            }
            other => other,
        };
        report
    }
}

/// Where the process works; given back, or removed, in the end.
struct Place {
    directory: PathBuf,
    _checkout: Option<Checkout>,
    scratch: Option<PathBuf>,
}

impl Place {
    fn prepare(attempt: &Attempt, config: &ToolConfig, folder: &RunFolder) -> Result<Self, Outcome> {
        let mut place = if config.checkout {
            let checkout = attempt.workspace.prepare().map_err(|error| failed(chain(&error)))?;
            Self { directory: checkout.to_path_buf(), _checkout: Some(checkout), scratch: None }
        } else {
            let scratch =
                folder.scratch().map_err(|error| failed(format!("no folder to work in: {error}")))?;
            Self { directory: scratch.clone(), _checkout: None, scratch: Some(scratch) }
        };
        if let Some(below) = &config.working_directory {
            place.directory = inside(&place.directory, below).map_err(|why| {
                Outcome::hopeless(NodeReason::ProviderFailed, format!("`config.workingDirectory` {why}"))
            })?;
        }
        Ok(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(scratch) = &self.scratch {
            // What cannot be removed stays in the attempt's folder, which the cache's owner clears.
            let _ = std::fs::remove_dir_all(scratch);
        }
    }
}

/// The folder `below` a root; links must not lead out.
fn inside(root: &Path, below: &str) -> Result<PathBuf, String> {
    let refuse = |error: io::Error| format!("cannot be entered: {error}");
    let root = root.canonicalize().map_err(refuse)?;
    let directory = root.join(below).canonicalize().map_err(refuse)?;
    if !directory.starts_with(&root) {
        return Err("leads out of the checkout".to_owned());
    }
    if directory.is_dir() { Ok(directory) } else { Err("is not a folder".to_owned()) }
}

/// The process to start for the settings of an attempt.
fn program(
    config: &ToolConfig,
    environment: &BTreeMap<OsString, OsString>,
    directory: &Path,
) -> Result<Program, Outcome> {
    let (command, line) =
        if config.shell { ("sh", Some(&config.command)) } else { (config.command.as_str(), None) };
    let path =
        find_program(command, environment, directory).map_err(|error| cannot_start(command, &error))?;
    let shell = line.map(|line| ["-c".into(), line.into(), "sh".into()]);
    Ok(Program {
        path,
        args: shell.into_iter().flatten().chain(config.args.iter().map(OsString::from)).collect(),
        environment: environment.clone().into_iter().collect(),
        directory: directory.to_owned(),
        grace: config.grace,
    })
}

fn cannot_start(command: &str, error: &io::Error) -> Outcome {
    let why = match error.kind() {
        io::ErrorKind::NotFound if command.contains('/') => "there is no such file".to_owned(),
        io::ErrorKind::NotFound => "there is no such program on the PATH".to_owned(),
        io::ErrorKind::PermissionDenied => "the file is not executable".to_owned(),
        _ => error.to_string(),
    };
    let message = format!("cannot start `{command}`: {why}");
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => {
            Outcome::hopeless(NodeReason::ProviderFailed, message)
        }
        _ => failed(message),
    }
}

fn how_it_ended(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended in an unknown way".to_owned(),
    }
}

fn failed(message: String) -> Outcome {
    Outcome::failed(NodeReason::ProviderFailed, message)
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
