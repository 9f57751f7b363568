//! Acceptance criteria: which of them can be checked, and checking them after the work is done.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use regex::bytes::Regex;
use rustix::fs::{Mode, OFlags};
use serde_json::json;

use super::endpoint::{Endpoint, Response};
use crate::model::{AcceptanceCriterion, CheckedFiles, CriterionCheck, CriterionResult, Digest};
use crate::provider::output::{AttemptLog, Redactor, plain_line};
use crate::provider::process::{
    self, CommandLine, EnvVars, Interrupt, ProcessEnd, SandboxCommand, StartError,
};
use crate::provider::settings::{is_inside, resolve};
use crate::provider::web::Web;
use crate::provider::{AttemptOutcome, ConfigError, Stop};

/// How much of a file, and of the end of what a command printed, is searched.
const SEARCHED: usize = 8 << 20;

/// How often requests to stop are listened for while an answer is awaited.
const LISTEN: Duration = Duration::from_millis(50);

/// How many characters of what was found are kept as evidence.
const EVIDENCE: usize = 200;

/// Checks acceptance criteria without running anything; to be asked before the work of a task starts.
///
/// # Errors
/// When one of them cannot be checked: it is malformed, or this build has nothing to check it with.
pub fn check_criteria(criteria: &[AcceptanceCriterion]) -> Result<(), ConfigError> {
    criteria.iter().try_for_each(|criterion| {
        can_be_checked(&criterion.check)
            .map_err(|why| ConfigError::Criterion { name: criterion.name.clone(), why })
    })
}

fn can_be_checked(check: &CriterionCheck) -> Result<(), String> {
    let command = |command: &str, args: &[String]| {
        if command.trim().is_empty() || command.contains('\0') || args.iter().any(|arg| arg.contains('\0')) {
            return Err("has a `command` or `args` that cannot be run".to_owned());
        }
        Ok(())
    };
    match check {
        CriterionCheck::ArtifactExists { path, .. } if !is_inside(path) => {
            Err("has a `path` that is not relative, or contains `..`".to_owned())
        }
        CriterionCheck::ArtifactExists { content_match, .. } => {
            pattern(content_match.as_deref(), "contentMatch").map(|_| ())
        }
        CriterionCheck::TestPasses { command: line, args, .. } => command(line, args),
        CriterionCheck::CommandSucceeds { command: line, args, output_match, .. } => {
            command(line, args)?;
            pattern(output_match.as_deref(), "outputMatch").map(|_| ())
        }
        CriterionCheck::EndpointResponds { .. } | CriterionCheck::Custom { .. } => {
            Endpoint::of(check).transpose().map(|_| ())
        }
    }
}

/// Whether a criterion is checked by a process of the machine.
pub(in crate::provider) fn runs_command(check: &CriterionCheck) -> bool {
    matches!(check, CriterionCheck::TestPasses { .. } | CriterionCheck::CommandSucceeds { .. })
}

/// Whether a criterion can only be checked where files are.
pub(in crate::provider) fn needs_checkout(check: &CriterionCheck) -> bool {
    !matches!(check, CriterionCheck::EndpointResponds { .. } | CriterionCheck::Custom { .. })
}

fn pattern(pattern: Option<&str>, key: &str) -> Result<Option<Regex>, String> {
    let compile =
        |text| Regex::new(text).map_err(|_| format!("has a `{key}` that is not a regular expression"));
    pattern.map(compile).transpose()
}

/// Checks criteria where the work was done.
pub(in crate::provider) struct Checker<'a> {
    /// The working directory of the process.
    pub(in crate::provider) directory: &'a Path,
    /// Its artifacts directory: a file may be in either.
    pub(in crate::provider) artifacts: &'a Path,
    /// Its environment.
    pub(in crate::provider) environment: &'a EnvVars,
    /// From TERM to KILL.
    pub(in crate::provider) grace: Duration,
    /// The sandbox around their commands, if there is one.
    pub(in crate::provider) enclosure: Option<&'a SandboxCommand>,
    /// The end of the time of the attempt.
    pub(in crate::provider) deadline: Option<Instant>,
    /// Requests to stop.
    pub(in crate::provider) interrupt: &'a Interrupt,
    /// Takes what the commands print.
    pub(in crate::provider) log: &'a mut AttemptLog,
    /// Asks addresses.
    pub(in crate::provider) web: &'a Web,
    /// Keeps secrets out of the evidence.
    pub(in crate::provider) redactor: &'a Redactor,
    /// What is checked, where that is a commit.
    pub(in crate::provider) checked: Option<CheckedCommit>,
}

/// A commit that criteria are checked on.
#[derive(Debug, Clone)]
pub(in crate::provider) struct CheckedCommit {
    /// The commit.
    pub(in crate::provider) commit: String,
    /// The tree that is checked out.
    pub(in crate::provider) tree: String,
    /// The folder in it in which commands run.
    pub(in crate::provider) below: Option<String>,
    /// How many files are not those of the commit.
    pub(in crate::provider) restored: u64,
}

impl CheckedCommit {
    /// What the verdict on a criterion is about. Whoever has the commit can compute the digest again.
    fn of(&self, criterion: &AcceptanceCriterion) -> CheckedFiles {
        let what = json!({ "check": criterion.check, "tree": self.tree, "workingDirectory": self.below });
        let digest = Digest::of_value(&what);
        CheckedFiles { commit: self.commit.clone(), digest, restored: self.restored }
    }
}

/// What ended the checks before their time.
#[derive(Debug)]
pub(in crate::provider) enum ChecksCut {
    /// A request to stop, or the end of the attempt's time.
    Ended(ProcessEnd),
    /// This machine could not start a command, which says nothing about the work.
    NoProcess(StartError),
}

impl ChecksCut {
    /// How the attempt ends, the work of which was done.
    pub(in crate::provider) fn outcome(self, timed_out: impl FnOnce() -> AttemptOutcome) -> AttemptOutcome {
        match self {
            Self::Ended(ProcessEnd::Stopped(stop)) => AttemptOutcome::Stopped(stop),
            Self::Ended(ProcessEnd::TimedOut | ProcessEnd::Exited(_)) => timed_out(),
            Self::NoProcess(error) => AttemptOutcome::broken_off_here(error.to_string()),
        }
    }
}

/// What was seen: `Ok` when the criterion holds.
type CriterionVerdict = Result<String, String>;

impl Checker<'_> {
    /// Checks all of them, in order, also after one that does not hold.
    ///
    /// # Errors
    /// What ended the attempt meanwhile.
    pub(in crate::provider) fn check_all(
        &mut self,
        criteria: &[AcceptanceCriterion],
        results: &mut Vec<CriterionResult>,
    ) -> Result<(), ChecksCut> {
        for criterion in criteria {
            let started = Instant::now();
            let verdict = self.check(criterion, started)?;
            let passed = verdict.is_ok();
            let (Ok(evidence) | Err(evidence)) = verdict;
            results.push(CriterionResult {
                name: criterion.name.clone(),
                passed,
                required: criterion.required,
                // Evidence is what files and services say: it goes into the record, to terminals and pages (Invariant
                // 8).
                evidence: plain_line(self.redactor.text(&evidence).as_bytes()),
                duration_millis: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
                checked: self.checked.as_ref().map(|checked| checked.of(criterion)),
            });
        }
        Ok(())
    }

    fn check(
        &mut self,
        criterion: &AcceptanceCriterion,
        started: Instant,
    ) -> Result<CriterionVerdict, ChecksCut> {
        let own = criterion.timeout.as_ref().and_then(|timeout| started.checked_add(timeout.span()));
        let until = self.deadline.into_iter().chain(own).min();
        match &criterion.check {
            CriterionCheck::ArtifactExists { path, content_match } => {
                Ok(self.check_file(path, content_match.as_deref()))
            }
            CriterionCheck::TestPasses { command, args, expected_exit_code } => {
                let line = CommandLine::guess(command, args);
                self.check_command(criterion, line, *expected_exit_code, None, until)
            }
            CriterionCheck::CommandSucceeds { command, args, expected_exit_code, output_match } => {
                let line = CommandLine::guess(command, args);
                self.check_command(criterion, line, *expected_exit_code, output_match.as_deref(), until)
            }
            check @ (CriterionCheck::EndpointResponds { .. } | CriterionCheck::Custom { .. }) => {
                self.check_endpoint(check, until)
            }
        }
    }

    fn check_file(&self, path: &str, content_match: Option<&str>) -> CriterionVerdict {
        // Links that lead out of these folders are refused: a criterion would read any file of the runner, and its
        // evidence show it.
        let found = [self.directory, self.artifacts].into_iter().find_map(|root| resolve(root, path).ok());
        let file = found.ok_or_else(|| format!("`{path}` does not exist"))?;
        let metadata = file.metadata().map_err(|error| format!("`{path}` cannot be read: {error}"))?;
        let Some(pattern) = pattern(content_match, "contentMatch")? else {
            let what =
                if metadata.is_dir() { "a folder".to_owned() } else { format!("{} bytes", metadata.len()) };
            return Ok(format!("`{path}` exists, {what}"));
        };
        if !metadata.is_file() {
            return Err(format!("`{path}` is not a regular file"));
        }
        let mut content = Vec::new();
        // A process that left the group may put a pipe in its place; opening that would wait for a writer without end.
        rustix::fs::open(&file, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())
            .map(File::from)
            .map_err(std::io::Error::from)
            .and_then(|file| file.take(SEARCHED as u64).read_to_end(&mut content))
            .map_err(|error| format!("`{path}` cannot be read: {error}"))?;
        let cut = metadata.len() > SEARCHED as u64;
        search(&pattern, &self.redactor.bytes(&content), &format!("the content of `{path}`"), cut)
    }

    fn check_endpoint(
        &self,
        check: &CriterionCheck,
        until: Option<Instant>,
    ) -> Result<CriterionVerdict, ChecksCut> {
        let endpoint = match Endpoint::of(check).transpose() {
            Ok(Some(endpoint)) => endpoint,
            Ok(None) => return Ok(Err("asks no address".to_owned())),
            Err(why) => return Ok(Err(why)),
        };
        let limit = until.map(|until| until.saturating_duration_since(Instant::now()));
        // This thread is one of those of the runtime that may block, so waiting here holds up nobody.
        let answer = tokio::runtime::Handle::current().block_on(async {
            tokio::select! {
                answer = endpoint.ask(self.web, limit) => Ok(answer),
                stop = self.stopped() => Err(ChecksCut::Ended(ProcessEnd::Stopped(stop))),
            }
        })?;
        // At the end of the attempt's own time the fault is the time, not the service that was cut off.
        if answer.is_err() && self.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return Err(ChecksCut::Ended(ProcessEnd::TimedOut));
        }
        Ok(answer.and_then(|Response { seen, body, cut }| match body {
            None => Ok(seen),
            Some((pattern, body)) => search(&pattern, &self.redactor.bytes(&body), "the body", cut)
                .map(|found| format!("{seen}, {found}"))
                .map_err(|why| format!("{seen}, {why}")),
        }))
    }

    /// Waits for a request to stop, which comes through a pipe that this thread holds.
    async fn stopped(&self) -> Stop {
        loop {
            if let Some(stop) = self.interrupt.heard() {
                return stop;
            }
            tokio::time::sleep(LISTEN).await;
        }
    }

    fn check_command(
        &mut self,
        criterion: &AcceptanceCriterion,
        line: CommandLine<'_>,
        expected: i32,
        output_match: Option<&str>,
        until: Option<Instant>,
    ) -> Result<CriterionVerdict, ChecksCut> {
        // What cannot be checked is a criterion that does not hold, never one that is left out.
        let pattern = match pattern(output_match, "outputMatch") {
            Ok(pattern) => pattern,
            Err(why) => return Ok(Err(why)),
        };
        let program = match line.program(self.environment, self.directory, self.grace) {
            // The commands of criteria come from the plan like the work itself, so they get no more freedom than it.
            Ok(program) => SandboxCommand::around(self.enclosure, program),
            Err(error) => return Ok(Err(error.to_string())),
        };
        let mut printed = Printed { log: self.log, name: &criterion.name, kept: Vec::new(), size: 0 };
        let keep = pattern.is_some();
        let end = process::run(&program, until, self.interrupt, &mut |_, bytes| printed.take(bytes, keep));
        let (kept, cut) = printed.finish();
        let status = match end {
            Ok(ProcessEnd::Exited(status)) => status,
            // The criterion's own time is over and the attempt's is not: this one does not hold, and the next one is
            // checked.
            Ok(ProcessEnd::TimedOut) if self.deadline.is_none_or(|deadline| Instant::now() < deadline) => {
                let limit = criterion.timeout.as_ref().map(ToString::to_string).unwrap_or_default();
                return Ok(Err(format!("took longer than {limit}")));
            }
            Ok(end) => return Err(ChecksCut::Ended(end)),
            Err(error) => {
                let error = line.start_error(error);
                return if error.is_machine_fault() {
                    Err(ChecksCut::NoProcess(error))
                } else {
                    Ok(Err(error.to_string()))
                };
            }
        };
        // A process that a signal ended has no code, and equals no expected one.
        if status.code() != Some(expected) {
            return Ok(Err(format!("{}, expected {expected}", exit(status))));
        }
        Ok(match pattern {
            Some(pattern) => search(&pattern, &self.redactor.bytes(&kept), "the output", cut),
            None => Ok(exit(status)),
        })
    }
}

/// What the command of a criterion prints.
struct Printed<'a> {
    log: &'a mut AttemptLog,
    name: &'a str,
    kept: Vec<u8>,
    size: usize,
}

impl Printed<'_> {
    fn take(&mut self, bytes: &[u8], keep: bool) {
        if self.size == 0 {
            self.log
                .write(format!("[planspec: criterion {}]\n", plain_line(self.name.as_bytes())).as_bytes());
        }
        self.log.write(bytes);
        self.size = self.size.saturating_add(bytes.len());
        if keep {
            self.kept.extend_from_slice(bytes);
            // Twice as much as is searched is kept before it is cut, so that bytes are moved seldom.
            if self.kept.len() > 2 * SEARCHED {
                self.kept.drain(..self.kept.len() - SEARCHED);
            }
        }
    }

    /// The end of what was printed, and whether something came before it.
    fn finish(mut self) -> (Vec<u8>, bool) {
        if self.size > 0 {
            self.log.end_part();
        }
        let surplus = self.kept.len().saturating_sub(SEARCHED);
        self.kept.drain(..surplus);
        let cut = self.size > self.kept.len();
        (self.kept, cut)
    }
}

/// Searches a text that holds no secrets any more: a pattern must not cut a piece out of one.
fn search(pattern: &Regex, text: &[u8], what: &str, cut: bool) -> CriterionVerdict {
    match pattern.find(text) {
        Some(found) => {
            let found = String::from_utf8_lossy(found.as_bytes());
            let line = found.lines().next().unwrap_or_default();
            Ok(format!("{what} matches: {}", line.chars().take(EVIDENCE).collect::<String>()))
        }
        // The part that was not searched could match: the message must not say more than is known.
        None if cut => Err(format!("{what} does not match, as far as it was searched ({SEARCHED} bytes)")),
        None => Err(format!("{what} does not match")),
    }
}

fn exit(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("ended by signal {signal}"),
        (None, None) => "ended in an unknown way".to_owned(),
    }
}
