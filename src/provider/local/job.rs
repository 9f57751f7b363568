//! What a local process is asked to do: its command, its environment, and how one talks with it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use super::config::ToolConfig;
use super::run_folder::RunFolder;
use crate::model::JsonMap;
use crate::provider::process::{EnvVars, ProcessInput};
use crate::provider::{Attempt, AttemptOutcome, ProviderSettings};

/// Makes the outputs, or another end, out of what a process wrote to its standard output.
pub(in crate::provider) type ReadAnswer = fn(&[u8], &Attempt) -> Result<JsonMap, AttemptOutcome>;

/// What a local process is asked to do.
pub(in crate::provider) struct Job {
    /// The command.
    pub(in crate::provider) config: ToolConfig,
    /// What it finds on its standard input.
    pub(in crate::provider) input: ProcessInput,
    /// What the work is about, as a file.
    pub(in crate::provider) brief: Option<String>,
    /// Takes the answer on standard output; without it, that is part of the log, and outputs come in a file.
    pub(in crate::provider) answer: Option<ReadAnswer>,
    // Taken for the end of the work, it would let another attempt run beside work that goes on.
    /// It only asks about work elsewhere: without a response, nothing was learned of that.
    pub(in crate::provider) is_question: bool,
}

impl Job {
    /// A command that gets nothing and gives its outputs in a file.
    pub(in crate::provider) fn command(config: ToolConfig) -> Self {
        Self { config, input: ProcessInput::Empty, brief: None, answer: None, is_question: false }
    }

    /// The same with what the work is about: in a file, and on standard input where that is what the job reads.
    pub(in crate::provider) fn with_brief(mut self, brief: String) -> Self {
        if let ProcessInput::Bytes(input) = &mut self.input {
            *input = brief.clone().into_bytes();
        }
        self.brief = Some(brief);
        self
    }
}

/// The whole environment of a command that gets these secrets. Later sources win: the runner's, `config.env`, ours.
pub(super) fn environment(
    settings: &ProviderSettings,
    job: &Job,
    attempt: &Attempt,
    folder: &RunFolder<'_>,
    secrets: &BTreeMap<String, OsString>,
) -> EnvVars {
    let mut all = EnvVars::new();
    for (name, value) in settings.environment.iter().chain(secrets) {
        all.insert(name.into(), value.clone());
    }
    for (name, value) in &job.config.env {
        all.insert(name.into(), value.into());
    }
    // Last, so that no setting can say which attempt this is or where its files are.
    let mut set = |name: &str, value: &OsStr| all.insert(name.into(), value.to_owned());
    set("PLANSPEC_INPUTS", folder.inputs().as_os_str());
    set("PLANSPEC_OUTPUT", folder.output().as_os_str());
    set("PLANSPEC_RESULT", folder.result().as_os_str());
    set("PLANSPEC_ARTIFACTS", folder.artifacts().as_os_str());
    if let Some(upstream) = folder.upstream() {
        set("PLANSPEC_UPSTREAM", upstream.as_os_str());
    }
    set("PLANSPEC_NAMESPACE", OsStr::new(attempt.key.namespace.as_str()));
    set("PLANSPEC_EXECUTION", OsStr::new(attempt.key.name.as_str()));
    set("PLANSPEC_NODE", OsStr::new(attempt.node.as_str()));
    set("PLANSPEC_ATTEMPT", OsStr::new(&attempt.attempt.to_string()));
    set("PLANSPEC_IDEMPOTENCY_KEY", OsStr::new(&attempt.idempotency_key));
    set("PLANSPEC_WORK_KEY", OsStr::new(&attempt.work));
    set("PLANSPEC_FENCING_TOKEN", OsStr::new(&attempt.fencing_token.to_string()));
    set("PLANSPEC_RUN_ID", OsStr::new(&attempt.run_id));
    if let Some(request) = &attempt.brief.requested {
        // Data, like an answer: nothing expands it unless the command itself does (Invariant 8).
        set("PLANSPEC_REVIEW", OsStr::new(&request.words));
    }
    if let Some(answer) = &attempt.answer {
        set("PLANSPEC_ANSWER", OsStr::new(&answer.text));
    }
    if job.brief.is_some() {
        set("PLANSPEC_BRIEF", folder.brief().as_os_str());
    }
    if job.config.sandbox(settings.sandbox.as_ref()).is_some() {
        // Of the folders for temporary files, only this one can be written to.
        set("TMPDIR", OsStr::new("/tmp"));
    }
    all
}
