//! One attempt by a local process, from the checkout to the report. Blocks.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::statvfs;
use tokio::sync::mpsc;

use super::artifacts::{ArtifactError, ReadLimits};
use super::config::ToolConfig;
use super::job::{Job, environment};
use super::process_report::ProcessReport;
use super::run_folder::RunFolder;
use super::{LocalRunContext, artifacts, stopped_before_start};
use crate::config::SandboxConfig;
use crate::model::{JsonMap, NodeReason};
use crate::provider::criteria::check_criteria;
use crate::provider::output::{AttemptLog, OUTPUT_LIMIT, read_outputs};
use crate::provider::process::{
    self, ClosedPlaces, EnvVars, Interrupt, OutputStream, OwnPaths, ProcessEnd, SandboxCommand,
    is_machine_fault,
};
use crate::provider::settings::resolve;
use crate::provider::{Attempt, AttemptOutcome, AttemptReport, ConfigError, PrivateCheckout, Stop};

/// How long reading the artifacts of an attempt may take that failed, when its time is over.
const EXPLAINED: Duration = Duration::from_secs(2);

/// One attempt.
pub(super) struct LocalRun<'a> {
    pub(super) shared: &'a LocalRunContext,
    pub(super) attempt: &'a Attempt,
    pub(super) job: &'a Job,
    pub(super) interrupt: &'a Interrupt,
    pub(super) deadline: Option<Instant>,
}

impl<'a> LocalRun<'a> {
    /// Gets ready.
    pub(super) fn new(
        shared: &'a LocalRunContext,
        attempt: &'a Attempt,
        job: &'a Job,
        interrupt: &'a Interrupt,
    ) -> Self {
        Self { shared, attempt, job, interrupt, deadline: None }
    }

    /// Runs it to its end.
    pub(super) fn run(mut self, lines: mpsc::Sender<String>) -> AttemptReport {
        let report = self.prepare_and_run(lines).unwrap_or_else(AttemptReport::from);
        self.clean(report)
    }

    fn prepare_and_run(&mut self, lines: mpsc::Sender<String>) -> Result<AttemptReport, AttemptOutcome> {
        // Work whose result cannot be judged is not begun.
        check_criteria(&self.attempt.criteria).map_err(refused)?;
        self.go_on()?;
        let shared = self.shared;
        let mut folder =
            (shared.folders.open(&self.attempt.run_dir, &self.attempt.inputs)).map_err(|error| {
                let runs = shared.common.settings.runs.display();
                AttemptOutcome::not_possible_here(format!(
                    "no folder for the attempt below `{runs}`: {error}"
                ))
            })?;
        if let Some(brief) = &self.job.brief {
            std::fs::write(folder.brief(), brief).map_err(|error| {
                AttemptOutcome::not_possible_here(format!("the brief cannot be written: {error}"))
            })?;
        }
        let mut place = self.working_folder(&folder)?;
        self.bring_upstream(&mut folder)?;
        self.go_on()?;
        // The time of the attempt begins now: a remote that is slow to give the commit is not the work's fault.
        // A poll of a plugin's remote work has what the time before it left.
        let left = self.attempt.timeout.map(|timeout| timeout.saturating_sub(self.attempt.age));
        self.deadline = left.and_then(|left| Instant::now().checked_add(left));
        let mut log =
            AttemptLog::new(self.attempt.run_dir.join("log"), Arc::clone(&shared.common.redactor), lines);
        let mut report = AttemptReport::from(AttemptOutcome::Succeeded { outputs: JsonMap::new() });
        // Whatever the work came to, its log and artifacts are kept below: after a failure they are what explains it.
        report.outcome = match self.work(&folder, &mut place, &mut log, &mut report) {
            Ok(outputs) => AttemptOutcome::Succeeded { outputs },
            Err(outcome) => outcome,
        };
        self.keep_unfinished(&mut place, &mut report);
        report.evidence.log = log.finish();
        self.collect_artifacts(&folder, &mut report);
        if let Err(error) = folder.keep() {
            // A success would list artifacts in the record that are not there.
            let message = format!("what the attempt left cannot be kept: {error}");
            report.override_success(AttemptOutcome::broken_off_here(message));
        }
        self.store(&mut report);
        Ok(report)
    }

    /// The work itself: the outputs, or how else the attempt ended.
    fn work(
        &self,
        folder: &RunFolder<'_>,
        place: &mut WorkingFolder,
        log: &mut AttemptLog,
        report: &mut AttemptReport,
    ) -> Result<JsonMap, AttemptOutcome> {
        let outputs = self.process((folder, place), &self.shared.common.settings.secrets, log, report)?;
        // Before the criteria: what tests and builds write belongs to no result.
        if let Some(checkout) = &mut place.checkout {
            let changes = &self.job.config.changes;
            changes.collect(checkout, &self.shared.common.redactor, &mut report.evidence)?;
        }
        self.judge(folder, place, log, report)?;
        Ok(outputs)
    }

    /// Runs the process with these secrets, and reads what it gives.
    pub(super) fn process(
        &self,
        (folder, place): (&RunFolder<'_>, &WorkingFolder),
        secrets: &BTreeMap<String, OsString>,
        log: &mut AttemptLog,
        report: &mut AttemptReport,
    ) -> Result<JsonMap, AttemptOutcome> {
        let config = &self.job.config;
        let environment = self.environment(place, folder, secrets);
        let enclosure = self.enclosure(place, folder, &environment)?;
        let line = config.command_line();
        let program = line.program(&environment, &place.directory, config.grace);
        let program = program.map_err(|error| error.outcome())?;
        let mut program = SandboxCommand::around(enclosure.as_ref(), program);
        program.input.clone_from(&self.job.input);
        program.split = self.job.answer.is_some();
        let mut answer = Vec::new();
        let mut sink = |source, bytes: &[u8]| match source {
            OutputStream::Log => log.write(bytes),
            // One byte more than is allowed tells that there was more.
            OutputStream::Answer => {
                let room = (OUTPUT_LIMIT as usize + 1).saturating_sub(answer.len());
                answer.extend_from_slice(bytes.get(..room.min(bytes.len())).unwrap_or_default());
            }
        };
        let end = process::run(&program, self.deadline, self.interrupt, &mut sink)
            .map_err(|error| line.start_error(error).outcome())?;
        log.end_part();
        let status = self.exited(end)?;
        // Before it is judged: a failure is explained by its code.
        report.evidence.exit_code = status.code();
        self.heed(folder, status, report)?;
        if !status.success() {
            let why = line.why_not_run(status.code(), &place.directory);
            let why = why.map(|why| format!("; {why}")).unwrap_or_default();
            let how = format!("{}{why}", how_it_ended(status));
            if self.job.is_question {
                return Err(AttemptOutcome::broken_off_here(format!("the question about it {how}")));
            }
            return Err(failed_on(folder.path(), log, how));
        }
        let outputs = match self.job.answer {
            Some(read) => read(&answer, self.attempt)?,
            None => self.read_outputs(folder)?,
        };
        folder.forget_output();
        Ok(outputs)
    }

    /// Takes in what the process says of itself, which may be why it is not at its end.
    fn heed(
        &self,
        folder: &RunFolder<'_>,
        status: ExitStatus,
        report: &mut AttemptReport,
    ) -> Result<(), AttemptOutcome> {
        // A plugin has a protocol of its own, in which it says all of this.
        if self.job.answer.is_some() {
            return Ok(());
        }
        let said = ProcessReport::read(folder.result(), &self.shared.common.redactor);
        let said = said.map_err(|why| AttemptOutcome::failed(NodeReason::OutputInvalid, why))?;
        report.evidence.usage = said.usage;
        said.outcome(status, self.attempt).map_or(Ok(()), Err)
    }

    pub(super) fn environment(
        &self,
        place: &WorkingFolder,
        folder: &RunFolder<'_>,
        secrets: &BTreeMap<String, OsString>,
    ) -> EnvVars {
        let settings = &self.shared.common.settings;
        let mut environment = environment(settings, self.job, self.attempt, folder, secrets);
        if let Some(above) = place.root.parent() {
            // Git that finds no `.git` here would walk up to whatever repository the folder happens to be in.
            environment.insert("GIT_CEILING_DIRECTORIES".into(), above.into());
        }
        environment
    }

    fn read_outputs(&self, folder: &RunFolder<'_>) -> Result<JsonMap, AttemptOutcome> {
        let read = read_outputs(folder.output(), &self.attempt.declared_outputs);
        read.map_err(|error| match error.is_machine_fault() {
            true => AttemptOutcome::broken_off_here(error.to_string()),
            false => AttemptOutcome::failed(NodeReason::OutputInvalid, error.to_string()),
        })
    }

    /// Where the process will work. Blocks while the checkout is made.
    fn working_folder(&self, folder: &RunFolder<'_>) -> Result<WorkingFolder, AttemptOutcome> {
        WorkingFolder::prepare(self.attempt, &self.job.config, folder).map_err(|outcome| {
            // A stop interrupts the fetch of the commit, and then that is why there is none.
            self.go_on().err().unwrap_or(outcome)
        })
    }

    /// The sandbox that the settings ask for.
    pub(super) fn enclosure(
        &self,
        place: &WorkingFolder,
        folder: &RunFolder<'_>,
        environment: &EnvVars,
    ) -> Result<Option<SandboxCommand>, AttemptOutcome> {
        let Some(sandbox) = self.job.config.sandbox(self.shared.common.settings.sandbox.as_ref()) else {
            return Ok(None);
        };
        // What an expression has made of the settings is known only now.
        if let Some(word) = &self.shared.common.settings.sandbox {
            sandbox
                .check_opened(&self.attempt.provider, word)
                .map_err(|error| AttemptOutcome::permanent(NodeReason::ProviderFailed, error.to_string()))?;
        }
        // The settings are checked for this where they ask for a sandbox themselves.
        if let Some((name, _)) = self.job.config.env.iter().find(|(name, _)| name.starts_with("LD_")) {
            let message = format!("`config.env.{name}` cannot be set for a command in a sandbox");
            return Err(AttemptOutcome::permanent(NodeReason::ProviderFailed, message));
        }
        let mut writable = vec![place.root.as_path(), folder.path()];
        if !folder.artifacts().starts_with(folder.path()) {
            writable.push(folder.artifacts());
        }
        let mut readable = vec![folder.inputs()];
        readable.extend(place.checkout.iter().flat_map(PrivateCheckout::readable).map(PathBuf::as_path));
        let hidden: Vec<&Path> =
            place.checkout.iter().flat_map(PrivateCheckout::hidden).map(PathBuf::as_path).collect();
        let runner: EnvVars = (self.shared.common.settings.environment.iter())
            .map(|(name, value)| (name.into(), value.clone()))
            .collect();
        let settings = &self.shared.common.settings;
        let closed = match settings.sandbox.as_ref().is_some_and(SandboxConfig::is_required) {
            true => ClosedPlaces::of(&runner, &settings.private),
            // Here a Binding may do without a sandbox, and so it may open one as it likes.
            false => ClosedPlaces::default(),
        };
        let enclosure = sandbox
            .enclosure(&OwnPaths { writable, readable, hidden }, (&runner, environment), &closed)
            // Another attempt would find the same system and the same packages.
            .map_err(|error| AttemptOutcome::permanent(NodeReason::ProviderFailed, error.to_string()))?;
        Ok(Some(enclosure))
    }

    /// The status of a process that ended by itself.
    fn exited(&self, end: ProcessEnd) -> Result<ExitStatus, AttemptOutcome> {
        match end {
            ProcessEnd::Exited(status) => Ok(status),
            // That the time of the work is over, planning finds by itself, and has the work cancelled first.
            ProcessEnd::TimedOut if self.job.is_question => Err(AttemptOutcome::Stopped(Stop::Shutdown)),
            ProcessEnd::TimedOut => Err(self.timed_out()),
            ProcessEnd::Stopped(stop) => Err(AttemptOutcome::Stopped(stop)),
        }
    }

    /// Nothing is started any more after a request to stop.
    pub(super) fn go_on(&self) -> Result<(), AttemptOutcome> {
        self.interrupt.heard().map_or(Ok(()), |stop| Err(stopped_before_start(stop)))
    }

    pub(super) fn timed_out(&self) -> AttemptOutcome {
        let limit = self.attempt.timeout.unwrap_or_default();
        AttemptOutcome::failed(NodeReason::Timeout, format!("took longer than {}", in_words(limit)))
    }

    /// Artifacts are of use after a failure, too; an attempt that was stopped is started again.
    fn collect_artifacts(&self, folder: &RunFolder<'_>, report: &mut AttemptReport) {
        if matches!(report.outcome, AttemptOutcome::Stopped(_)) || !folder.has_artifacts() {
            return;
        }
        // What is left of the attempt's time; after a failure, enough to keep what explains it.
        let failed = !matches!(report.outcome, AttemptOutcome::Succeeded { .. });
        let until = self.deadline.map(|end| if failed { end.max(Instant::now() + EXPLAINED) } else { end });
        let limits = ReadLimits { until, interrupt: self.interrupt };
        match artifacts::collect(folder.artifacts(), &self.shared.common.settings.runs, self.attempt, &limits)
        {
            Ok(found) => report.evidence.artifacts = found,
            Err(ArtifactError::TooLong) => report.override_success(self.timed_out()),
            Err(ArtifactError::Stopped(stop)) => report.override_success(AttemptOutcome::Stopped(stop)),
            Err(ArtifactError::Unreadable(error)) if is_machine_fault(&error) => {
                let message = format!("the artifacts cannot be read: {error}");
                report.override_success(AttemptOutcome::broken_off_here(message));
            }
            Err(error) => {
                report.override_success(AttemptOutcome::failed(NodeReason::OutputInvalid, error.to_string()));
            }
        }
    }

    /// Nothing that leaves here holds a secret; log and evidence are clean already.
    fn clean(&self, mut report: AttemptReport) -> AttemptReport {
        let redactor = &self.shared.common.redactor;
        report.outcome = report.outcome.cleaned(redactor);
        for artifact in &mut report.evidence.artifacts {
            // The name of a file is the process's own words, and may hold a secret like any other text.
            artifact.name = redactor.text(&artifact.name);
            artifact.path = artifact.path.take().map(|path| redactor.text(&path));
        }
        for left in report.evidence.stored.iter_mut().flat_map(|stored| &mut Arc::make_mut(stored).left_out) {
            left.name = redactor.text(&left.name);
        }
        report
    }
}

/// Where the process works; given back in the end.
pub(super) struct WorkingFolder {
    pub(super) directory: PathBuf,
    /// The checkout, or the folder in its place.
    root: PathBuf,
    // Kept until the criteria are checked: dropping it gives the checkout to another attempt.
    pub(super) checkout: Option<PrivateCheckout>,
}

impl WorkingFolder {
    fn prepare(
        attempt: &Attempt,
        config: &ToolConfig,
        folder: &RunFolder<'_>,
    ) -> Result<Self, AttemptOutcome> {
        let place = if config.checkout {
            let made = attempt.workspace.prepare_as(&config.workspace);
            Self::of(made.map_err(|error| error.outcome())?)
        } else {
            let root = folder.work().to_owned();
            Self { directory: root.clone(), root, checkout: None }
        };
        // A folder that the pinned commit does not have will be in no later attempt, either (Invariant 9).
        let refuse = |why| AttemptOutcome::permanent(NodeReason::ProviderFailed, why);
        place.below(config.working_directory.as_deref()).map_err(refuse)
    }

    pub(super) fn of(checkout: PrivateCheckout) -> Self {
        let root = checkout.to_path_buf();
        Self { directory: root.clone(), root, checkout: Some(checkout) }
    }

    /// The same, in the folder that the settings name.
    pub(super) fn below(mut self, folder: Option<&str>) -> Result<Self, String> {
        let Some(below) = folder else { return Ok(self) };
        let refused = |why: &str| format!("`config.workingDirectory` is `{below}`: {why}");
        self.directory = resolve(&self.directory, below).map_err(|error| refused(&error.to_string()))?;
        if self.directory.is_dir() { Ok(self) } else { Err(refused("it is not a folder")) }
    }
}

#[allow(clippy::needless_pass_by_value, reason = "the form that `map_err` asks for")]
fn refused(error: ConfigError) -> AttemptOutcome {
    AttemptOutcome::permanent(NodeReason::ProviderFailed, error.to_string())
}

/// A process failed. On a full disk it may well have failed because of that: whatever it wrote was lost, as our own log of
/// it was.
fn failed_on(disk: &Path, log: &AttemptLog, how: String) -> AttemptOutcome {
    if let Some(error) = log.failure().filter(|error| is_machine_fault(error)) {
        return AttemptOutcome::broken_off_here(format!("{how}; its log could not be written: {error}"));
    }
    if is_full(disk) {
        return AttemptOutcome::broken_off_here(format!("the disk is full: `{}`; {how}", disk.display()));
    }
    AttemptOutcome::failed(NodeReason::ProviderFailed, how)
}

/// Whether nothing can be written to the disk of a folder any more.
fn is_full(folder: &Path) -> bool {
    // The last blocks are kept for the superuser.
    let root = rustix::process::geteuid().is_root();
    statvfs(folder)
        .is_ok_and(|disk| disk.f_blocks > 0 && if root { disk.f_bfree } else { disk.f_bavail } == 0)
}

fn how_it_ended(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended in an unknown way".to_owned(),
    }
}

/// `1h 30m`, as people write it.
fn in_words(span: Duration) -> String {
    jiff::SignedDuration::try_from(span).map_or_else(|_| format!("{span:?}"), |span| format!("{span:#}"))
}
