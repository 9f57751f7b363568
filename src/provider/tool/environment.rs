//! The environment variables of a local command.

use std::ffi::OsStr;

use super::job::Job;
use super::run_folder::RunFolder;
use crate::provider::command_line::EnvVars;
use crate::provider::{Attempt, ProviderSettings};

/// The whole environment of a command. Later sources win: the runner's, `config.env`, ours.
pub(super) fn environment(
    settings: &ProviderSettings,
    job: &Job,
    attempt: &Attempt,
    folder: &RunFolder<'_>,
) -> EnvVars {
    let mut all = EnvVars::new();
    for (name, value) in settings.environment.iter().chain(&settings.secrets) {
        all.insert(name.into(), value.clone());
    }
    for (name, value) in &job.config.env {
        all.insert(name.into(), value.into());
    }
    let mut set = |name: &str, value: &OsStr| all.insert(name.into(), value.to_owned());
    set("PLANSPEC_INPUTS", folder.inputs().as_os_str());
    set("PLANSPEC_OUTPUT", folder.output().as_os_str());
    set("PLANSPEC_ARTIFACTS", folder.artifacts().as_os_str());
    set("PLANSPEC_NAMESPACE", OsStr::new(attempt.key.namespace.as_str()));
    set("PLANSPEC_EXECUTION", OsStr::new(attempt.key.name.as_str()));
    set("PLANSPEC_NODE", OsStr::new(attempt.node.as_str()));
    set("PLANSPEC_ATTEMPT", OsStr::new(&attempt.attempt.to_string()));
    set("PLANSPEC_IDEMPOTENCY_KEY", OsStr::new(&attempt.idempotency_key));
    set("PLANSPEC_WORK_KEY", OsStr::new(&attempt.work));
    set("PLANSPEC_FENCING_TOKEN", OsStr::new(&attempt.fencing_token.to_string()));
    set("PLANSPEC_RUN_ID", OsStr::new(&attempt.run_id));
    if job.brief.is_some() {
        set("PLANSPEC_BRIEF", folder.brief().as_os_str());
    }
    if job.config.sandbox.is_some() {
        // Of the folders for temporary files, only this one can be written to.
        set("TMPDIR", OsStr::new("/tmp"));
    }
    all
}
