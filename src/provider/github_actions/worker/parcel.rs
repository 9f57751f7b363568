//! What a job that did the work hands over: a report, and numbered files beside it. Names are in the report only, so that no archive
//! has to keep them, and nothing is ever written under one before it was judged.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{Artifact, CriterionResult, JsonMap, NodeReason, NodeResult, Usage};
use crate::provider::{
    AttemptOutcome, AttemptReport, Evidence, FileKind, HandedOverChange, UnfinishedChanges, Workspace,
    WorkspaceError,
};

/// The file of the report.
pub(super) const REPORT: &str = "report.json";

/// The file of the log.
pub(super) const LOG: &str = "log";

/// The form of it that is written and read here.
pub(super) const VERSION: &str = "planspec.work/v1";

/// The report. Whoever reads one believes nothing of it that can be found out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct WorkReport {
    /// The form.
    pub(super) api_version: String,
    /// The name of the attempt.
    pub(super) attempt: String,
    /// How it ended.
    pub(super) outcome: ReportedOutcome,
    /// The exit code, if a process ran and was not ended by a signal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) exit_code: Option<i32>,
    /// How the acceptance criteria came out there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) criteria: Vec<CriterionResult>,
    /// What it says it used up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) usage: Option<Usage>,
    /// How many changed files were dropped there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) discarded: Option<u64>,
    /// Whether what it changed is not finished, and is for the next attempt.
    #[serde(default)]
    pub(super) unfinished: bool,
    /// What it changed, where that is kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) changes: Vec<ReportedChange>,
    /// What it left in its artifacts directory.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) artifacts: Vec<ReportedArtifact>,
}

/// How the work ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub(super) enum ReportedOutcome {
    /// It is done.
    Succeeded { outputs: JsonMap },
    /// It failed.
    Failed {
        reason: NodeReason,
        message: String,
        retryable: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after_seconds: Option<u64>,
    },
    /// It asks to be begun again later.
    Postponed {
        message: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after_seconds: Option<u64>,
    },
    /// It asks a person.
    Asks { question: String },
    /// It waits for something that another attempt may find.
    Blocked { reason: NodeReason, message: String },
    /// It was not brought to its end there.
    Broken { message: String },
}

/// A file that changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReportedChange {
    /// The path from the root.
    pub(super) path: String,
    /// What it is now; none where it is gone. The content is in the file of its number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) kind: Option<FileKind>,
}

/// A file in the artifacts directory; the content is in the file of its number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReportedArtifact {
    /// Its name below that directory.
    pub(super) name: String,
}

/// The file that holds the content of the changed file of a number.
pub(super) fn change_file(number: usize) -> String {
    format!("change-{number}")
}

/// The file that holds the artifact of a number.
pub(super) fn artifact_file(number: usize) -> String {
    format!("artifact-{number}")
}

impl ReportedOutcome {
    fn of(outcome: &AttemptOutcome) -> Self {
        let seconds = |after: &Option<Duration>| after.map(|after| after.as_secs());
        match outcome {
            AttemptOutcome::Succeeded { outputs } => Self::Succeeded { outputs: outputs.clone() },
            AttemptOutcome::Failed { reason, message, retryable, retry_after } => Self::Failed {
                reason: *reason,
                message: message.clone(),
                retryable: *retryable,
                retry_after_seconds: seconds(retry_after),
            },
            AttemptOutcome::Postponed { message, retry_after } => {
                Self::Postponed { message: message.clone(), retry_after_seconds: seconds(retry_after) }
            }
            AttemptOutcome::Blocked { reason: NodeReason::InputRequired, handle: Some(question), .. } => {
                Self::Asks { question: question.clone() }
            }
            AttemptOutcome::Blocked { reason, message, .. } => {
                Self::Blocked { reason: *reason, message: message.clone() }
            }
            AttemptOutcome::NotStarted { message }
            | AttemptOutcome::RunnerFailed { message, .. }
            | AttemptOutcome::Lost { message } => Self::Broken { message: message.clone() },
            AttemptOutcome::Stopped(_) => Self::Broken { message: "the job was stopped".to_owned() },
        }
    }
}

/// Why a parcel cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ParcelError {
    /// What was changed cannot be read.
    #[error(transparent)]
    Changes(#[from] WorkspaceError),
    /// A file cannot be written.
    #[error("what the work left cannot be written: {0}")]
    Io(#[from] std::io::Error),
}

/// The commit that holds what is handed over.
fn left_behind(evidence: &Evidence) -> Option<NodeResult> {
    match (&evidence.result, &evidence.unfinished) {
        (Some(result), _) => Some(result.clone()),
        (None, UnfinishedChanges::Left(Some(work))) => {
            let (commit, base) = (work.commit.clone(), work.base.clone());
            Some(NodeResult { commit, base, files: work.files, insertions: 0, deletions: 0 })
        }
        _ => None,
    }
}

/// Writes what an attempt left into an empty folder.
pub(super) fn write(
    into: &Path,
    (attempt, run_dir): (&str, &Path),
    workspace: &dyn Workspace,
    report: &AttemptReport,
) -> Result<(), ParcelError> {
    let evidence = &report.evidence;
    let mut changes = Vec::new();
    if let Some(work) = left_behind(evidence) {
        let scratch = tempfile::tempdir_in(into)?;
        for (number, change) in workspace.hand_over(&work, scratch.path())?.into_iter().enumerate() {
            let HandedOverChange { path, now } = change;
            if let Some(now) = &now {
                std::fs::rename(&now.file, into.join(change_file(number)))?;
            }
            changes.push(ReportedChange { path, kind: now.map(|now| now.kind) });
        }
    }
    let mut artifacts = Vec::new();
    for (number, Artifact { name, .. }) in evidence.artifacts.iter().enumerate() {
        std::fs::copy(run_dir.join("artifacts").join(name), into.join(artifact_file(number)))?;
        artifacts.push(ReportedArtifact { name: name.clone() });
    }
    if evidence.log.is_some() {
        std::fs::copy(run_dir.join("log"), into.join(LOG))?;
    }
    let written = WorkReport {
        api_version: VERSION.to_owned(),
        attempt: attempt.to_owned(),
        outcome: ReportedOutcome::of(&report.outcome),
        exit_code: evidence.exit_code,
        criteria: evidence.criteria.clone(),
        usage: evidence.usage,
        discarded: evidence.discarded.map(|discarded| discarded.files),
        unfinished: matches!(evidence.unfinished, UnfinishedChanges::Left(_)),
        changes,
        artifacts,
    };
    std::fs::write(into.join(REPORT), serde_json::to_vec_pretty(&written).map_err(std::io::Error::from)?)?;
    Ok(())
}
