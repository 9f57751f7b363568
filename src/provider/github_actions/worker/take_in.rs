//! Taking in what a job left, as bytes of a stranger: whoever did the work there, or the work itself, may have written anything.
//! What can be found out here is found out; the rest is bounded, and held to what is asked of a local process.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::archive::{Archive, ArchiveBytes, ArchiveError};
use super::parcel::{LOG, REPORT, ReportedOutcome, VERSION, WorkReport, artifact_file, change_file};
use crate::model::{
    AcceptanceCriterion, CriterionResult, DiscardedChanges, JsonMap, NodeReason, NodeResult, UnfinishedWork,
};
use crate::provider::local::{ReadLimits, collect_artifacts, secrets};
use crate::provider::output::{AttemptLog, OUTPUT_LIMIT, OutputForm, check_outputs, plain_line};
use crate::provider::process::interrupt;
use crate::provider::settings::is_inside;
use crate::provider::{
    Attempt, AttemptOutcome, AttemptReport, ChangePolicy, ChangeRules, CollectError, CollectedChanges,
    HandedOverChange, HandedOverContent, LeftFiles, ProviderContext, UnfinishedChanges,
};

/// How large an archive may be.
pub(super) const ARCHIVE: u64 = 256 << 20;

/// How large a report may be, and a log, and one other file.
const REPORT_BYTES: u64 = 8 << 20;
const LOG_BYTES: u64 = 65 << 20;
const FILE_BYTES: u64 = 128 << 20;

/// How much all files together may hold: of a small archive, much could come.
const ALL_BYTES: u64 = 512 << 20;

/// How many artifacts are taken.
const ARTIFACTS: usize = 1_000;

/// How many characters of a text are kept: it goes into the record, which everybody fetches.
const WORDS: usize = 2_000;

/// What a report was asked for, and what is needed to take it in.
pub(super) struct TakeIn<'a> {
    pub(super) context: &'a ProviderContext,
    pub(super) attempt: &'a Attempt,
    pub(super) rules: &'a ChangeRules,
    pub(super) output: mpsc::Sender<String>,
}

impl TakeIn<'_> {
    /// How the attempt ended, by what is in the archive. Blocks.
    pub(super) fn report(mut self, archive: impl ArchiveBytes) -> AttemptReport {
        let archive = match Archive::open(archive) {
            Ok(archive) => archive,
            Err(error) => return unusable(&error.to_string()).into(),
        };
        let report = match read_report(&archive, &self.attempt.idempotency_key) {
            Ok(report) => report,
            Err(why) => return unusable(&why).into(),
        };
        tracing::info!(attempt = self.attempt.idempotency_key, "take in what a job has left");
        let mut taken = AttemptReport::from(AttemptOutcome::Succeeded { outputs: JsonMap::new() });
        let mut left = LeftBytes(ALL_BYTES);
        taken.outcome = match self.evidence(&archive, &report, &mut left, &mut taken) {
            Ok(()) => self.outcome(&archive, report, &mut left, &mut taken).unwrap_or_else(|outcome| outcome),
            Err(outcome) => outcome,
        };
        self.keep(&mut taken);
        taken.outcome = taken.outcome.cleaned(&self.context.redactor);
        taken
    }

    /// Log, artifacts and what it used up, which explain a failure as well.
    fn evidence(
        &mut self,
        archive: &Archive<impl ArchiveBytes>,
        report: &WorkReport,
        left: &mut LeftBytes,
        taken: &mut AttemptReport,
    ) -> Result<(), AttemptOutcome> {
        let run_dir = &self.attempt.run_dir;
        // What a poll before this one left, whose result was never recorded.
        match std::fs::remove_dir_all(run_dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(here(&error)),
            _ => {}
        }
        taken.evidence.exit_code = report.exit_code;
        taken.evidence.usage =
            report.usage.filter(|usage| usage.cost.is_none_or(|cost| cost.is_finite() && cost >= 0.0));
        if archive.holds(LOG) {
            let log = left.read(archive, LOG, LOG_BYTES)?;
            let redactor = Arc::clone(&self.context.redactor);
            let mut kept = AttemptLog::new(run_dir.join("log"), redactor, self.output.clone());
            kept.write(&log);
            taken.evidence.log = kept.finish();
        }
        if report.artifacts.len() > ARTIFACTS {
            return Err(unusable(&format!("it has more than {ARTIFACTS} artifacts")));
        }
        let folder = run_dir.join("artifacts");
        for (number, artifact) in report.artifacts.iter().enumerate() {
            let name = &artifact.name;
            if !is_inside(name) || name.chars().any(char::is_control) || name.len() > 1_024 {
                return Err(unusable("an artifact has a name that no file may have"));
            }
            let content = left.read(archive, &artifact_file(number), FILE_BYTES)?;
            write_below(&folder, name, &content).map_err(|error| match error.kind() {
                // Two names of which one is the folder of the other, or that are one and the same.
                io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
                    unusable("two artifacts have names that exclude each other")
                }
                io::ErrorKind::InvalidFilename => unusable("an artifact has a name that no file may have"),
                _ => here(&error),
            })?;
        }
        let (_asker, interrupt) = interrupt().map_err(|error| here(&error))?;
        let limits = ReadLimits { until: None, interrupt: &interrupt };
        let found = collect_artifacts(&folder, &self.context.settings.runs, self.attempt, &limits);
        taken.evidence.artifacts = found.map_err(|error| unusable(&error.to_string()))?;
        Ok(())
    }

    fn outcome(
        &self,
        archive: &Archive<impl ArchiveBytes>,
        report: WorkReport,
        left: &mut LeftBytes,
        taken: &mut AttemptReport,
    ) -> Result<AttemptOutcome, AttemptOutcome> {
        let words = |text: &str| plain_line(text.as_bytes()).chars().take(WORDS).collect::<String>();
        let seconds = |seconds: Option<u64>| seconds.map(Duration::from_secs);
        taken.evidence.criteria = self.criteria(&report.criteria, None);
        let later =
            matches!(report.outcome, ReportedOutcome::Postponed { .. } | ReportedOutcome::Asks { .. });
        let more = if later { self.unfinished(archive, &report, left, taken)? } else { String::new() };
        Ok(match report.outcome {
            ReportedOutcome::Succeeded { ref outputs } => {
                let outputs = self.outputs(outputs.clone())?;
                self.changes(archive, &report, left, taken)?;
                taken.evidence.criteria = self.criteria(&report.criteria, taken.evidence.result.as_ref());
                self.hold_criteria(&taken.evidence.criteria)?;
                AttemptOutcome::Succeeded { outputs }
            }
            ReportedOutcome::Failed { reason, message, retryable, retry_after_seconds } => {
                AttemptOutcome::Failed {
                    reason: failure(reason),
                    message: words(&message),
                    retryable,
                    retry_after: seconds(retry_after_seconds),
                }
            }
            ReportedOutcome::Postponed { message, retry_after_seconds } => AttemptOutcome::Postponed {
                message: format!("{}{more}", words(&message)),
                retry_after: seconds(retry_after_seconds),
            },
            ReportedOutcome::Asks { question } => {
                self.attempt.asks(self.context.redactor.text(&words(&question)), &more)
            }
            ReportedOutcome::Blocked { reason: NodeReason::ArtifactUnavailable, message } => {
                let reason = NodeReason::ArtifactUnavailable;
                AttemptOutcome::Blocked { reason, message: words(&message), handle: None, poll_after: None }
            }
            ReportedOutcome::Blocked { message, .. } | ReportedOutcome::Broken { message } => {
                AttemptOutcome::Lost {
                    message: format!("the job could not do the work: {}", words(&message)),
                }
            }
        })
    }

    fn outputs(&self, outputs: JsonMap) -> Result<JsonMap, AttemptOutcome> {
        // The limit of an output file, so that no job can give more than a local command.
        if serde_json::to_vec(&outputs).map_or(0, |bytes| bytes.len()) as u64 > OUTPUT_LIMIT {
            return Err(invalid(format!("the job returned outputs of more than {OUTPUT_LIMIT} bytes")));
        }
        check_outputs(outputs, &self.attempt.declared_outputs, OutputForm::File)
            .map_err(|error| invalid(error.to_string()))
    }

    /// Takes in the files that changed: what of them is a change is found here, and judged as every change is.
    fn handed_over(
        &self,
        archive: &Archive<impl ArchiveBytes>,
        report: &WorkReport,
        (left, rules): (&mut LeftBytes, &ChangeRules),
    ) -> Result<Result<CollectedChanges, CollectError>, AttemptOutcome> {
        if rules.policy != ChangePolicy::Commit && report.changes.is_empty() {
            return Ok(Ok(CollectedChanges::None));
        }
        let scratch = tempfile::tempdir().map_err(|error| here(&error))?;
        let mut changes = Vec::new();
        for (number, change) in report.changes.iter().enumerate() {
            let now = match change.kind {
                None => None,
                Some(kind) => {
                    let content = left.read(archive, &change_file(number), FILE_BYTES)?;
                    let file = scratch.path().join(number.to_string());
                    std::fs::write(&file, content).map_err(|error| here(&error))?;
                    Some(HandedOverContent { kind, file })
                }
            };
            changes.push(HandedOverChange { path: change.path.clone(), now });
        }
        Ok(self.attempt.workspace.take_in(&changes, rules))
    }

    /// Takes in what was changed so far by work that goes on later. What is refused is no reason to end it.
    fn unfinished(
        &self,
        archive: &Archive<impl ArchiveBytes>,
        report: &WorkReport,
        left: &mut LeftBytes,
        taken: &mut AttemptReport,
    ) -> Result<String, AttemptOutcome> {
        if !report.unfinished || self.rules.policy != ChangePolicy::Commit {
            return Ok(String::new());
        }
        let rules = ChangeRules { is_unfinished: true, ..self.rules.clone() };
        let work = match self.handed_over(archive, report, (left, &rules))? {
            Ok(CollectedChanges::Result(result)) => Some(UnfinishedWork::of(result, self.attempt.attempt)),
            Ok(CollectedChanges::None | CollectedChanges::Discarded(_)) => None,
            Err(CollectError::Refused(why)) => {
                return Ok(format!("; what it changed so far is not kept: {why}"));
            }
            Err(error @ CollectError::Runner(_)) => return Err(error.outcome()),
        };
        taken.evidence.unfinished = UnfinishedChanges::Left(work.map(Arc::new));
        Ok(String::new())
    }

    /// Takes in the result.
    fn changes(
        &self,
        archive: &Archive<impl ArchiveBytes>,
        report: &WorkReport,
        left: &mut LeftBytes,
        taken: &mut AttemptReport,
    ) -> Result<(), AttemptOutcome> {
        let changes = self.handed_over(archive, report, (left, self.rules))?;
        match changes.map_err(CollectError::outcome)? {
            CollectedChanges::Result(result) => taken.evidence.result = Some(result),
            CollectedChanges::None | CollectedChanges::Discarded(_) => {
                taken.evidence.discarded =
                    report.discarded.filter(|files| *files > 0).map(|files| DiscardedChanges { files });
            }
        }
        Ok(())
    }

    /// How the criteria of the node came out: what they are is known here, and whether they hold is what the job says.
    fn criteria(&self, said: &[CriterionResult], result: Option<&NodeResult>) -> Vec<CriterionResult> {
        let of = |criterion: &AcceptanceCriterion| {
            let said = said.iter().find(|said| said.name == criterion.name)?;
            let evidence = plain_line(self.context.redactor.text(&said.evidence).as_bytes());
            let mut checked = said.checked.clone();
            if let (Some(checked), Some(result)) = (&mut checked, result) {
                // The same files are another commit there.
                checked.commit.clone_from(&result.commit);
            }
            Some(CriterionResult {
                name: criterion.name.clone(),
                passed: said.passed,
                required: criterion.required,
                evidence: evidence.chars().take(WORDS).collect(),
                duration_millis: said.duration_millis,
                checked: checked.filter(|_| result.is_some()),
            })
        };
        self.attempt.criteria.iter().filter_map(of).collect()
    }

    fn hold_criteria(&self, found: &[CriterionResult]) -> Result<(), AttemptOutcome> {
        for criterion in self.attempt.criteria.iter().filter(|criterion| criterion.required) {
            let name = &criterion.name;
            let message = match found.iter().find(|result| result.name == *name) {
                Some(result) if result.passed => continue,
                Some(result) => format!("acceptance criterion `{name}`: {}", result.evidence),
                None => format!("acceptance criterion `{name}` was not checked by the job"),
            };
            return Err(AttemptOutcome::failed(NodeReason::CriterionFailed, message));
        }
        Ok(())
    }

    /// Hands in what travels, where the end is recorded with it.
    fn keep(&self, taken: &mut AttemptReport) {
        if matches!(taken.outcome, AttemptOutcome::Blocked { .. } | AttemptOutcome::RunnerFailed { .. }) {
            return;
        }
        let left = LeftFiles {
            run_dir: &self.attempt.run_dir,
            artifacts: &taken.evidence.artifacts,
            log: taken.evidence.log.as_ref(),
            is_secret: secrets(&self.context.redactor),
            goes_on: &|| true,
        };
        taken.evidence.stored = self.attempt.files.keep(&left);
    }
}

/// How many bytes may still be taken out of an archive.
struct LeftBytes(u64);

impl LeftBytes {
    fn read(
        &mut self,
        archive: &Archive<impl ArchiveBytes>,
        name: &str,
        most: u64,
    ) -> Result<Vec<u8>, AttemptOutcome> {
        let content = archive.read(name, most.min(self.0)).map_err(|error| match error {
            ArchiveError::Unreadable(error) => here(&error),
            error => unusable(&error.to_string()),
        })?;
        self.0 = self.0.saturating_sub(u64::try_from(content.len()).unwrap_or(u64::MAX));
        Ok(content)
    }
}

/// The report, if it is one of this attempt.
fn read_report(archive: &Archive<impl ArchiveBytes>, attempt: &str) -> Result<WorkReport, String> {
    let bytes = archive.read(REPORT, REPORT_BYTES).map_err(|error| error.to_string())?;
    parse_report(&bytes, attempt)
}

/// Reads the bytes of a report.
pub(super) fn parse_report(bytes: &[u8], attempt: &str) -> Result<WorkReport, String> {
    // As an object first: serde takes a list for a struct, too.
    let object: JsonMap = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let report: WorkReport =
        serde_json::from_value(object.into()).map_err(|error| plain_line(error.to_string().as_bytes()))?;
    if report.api_version != VERSION {
        return Err(format!("it is of another form than `{VERSION}`"));
    }
    if report.attempt != attempt {
        return Err("it is about another attempt".to_owned());
    }
    Ok(report)
}

/// What a job may say of a failure; the rest are reasons of this side.
fn failure(reason: NodeReason) -> NodeReason {
    match reason {
        NodeReason::Timeout
        | NodeReason::CriterionFailed
        | NodeReason::OutputInvalid
        | NodeReason::ChangeRefused => reason,
        _ => NodeReason::ProviderFailed,
    }
}

/// A report that cannot be used is a failure of the work: it may have written it itself.
fn unusable(why: &str) -> AttemptOutcome {
    AttemptOutcome::failed(NodeReason::ProviderFailed, format!("the report of the job cannot be used: {why}"))
}

fn invalid(message: String) -> AttemptOutcome {
    AttemptOutcome::failed(NodeReason::OutputInvalid, message)
}

/// This machine cannot take it in; the next poll tries again.
fn here(error: &io::Error) -> AttemptOutcome {
    AttemptOutcome::broken_off_here(format!("what the job left cannot be kept: {error}"))
}

/// Writes a new file below a folder that nobody else has.
fn write_below(folder: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    let path: PathBuf = folder.join(name);
    let parent = path.parent().unwrap_or(folder);
    DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?.write_all(content)
}
