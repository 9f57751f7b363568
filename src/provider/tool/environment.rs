//! What a local command finds around it: its environment variables, and where its program is.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::config::ToolConfig;
use super::run_folder::RunFolder;
use crate::provider::{Attempt, ProviderSettings};

/// Where programs are looked for when there is no `PATH`.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// The whole environment of a command. Later sources win: the runner's, `config.env`, ours.
pub(super) fn environment(
    settings: &ProviderSettings,
    config: &ToolConfig,
    attempt: &Attempt,
    folder: &RunFolder,
) -> BTreeMap<OsString, OsString> {
    let mut all: BTreeMap<OsString, OsString> = BTreeMap::new();
    for (name, value) in settings.environment.iter().chain(&settings.secrets) {
        all.insert(name.into(), value.clone());
    }
    for (name, value) in &config.env {
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
    set("PLANSPEC_FENCING_TOKEN", OsStr::new(&attempt.fencing_token.to_string()));
    set("PLANSPEC_RUN_ID", OsStr::new(&attempt.run_id));
    all
}

/// The executable file that a command names: one with a `/` as seen from `directory`, else the first on the
/// environment's `PATH`. A full path also lets the standard library start the process without a fork.
///
/// # Errors
/// `NotFound`, or `PermissionDenied` when there is a file that cannot be executed.
pub(super) fn find_program(
    command: &str,
    environment: &BTreeMap<OsString, OsString>,
    directory: &Path,
) -> io::Result<PathBuf> {
    if command.contains('/') {
        let path = directory.join(command);
        return match path.metadata()? {
            metadata if is_executable(&metadata) => Ok(path),
            _ => Err(io::ErrorKind::PermissionDenied.into()),
        };
    }
    let path = environment.get(OsStr::new("PATH")).map_or(OsStr::new(DEFAULT_PATH), OsString::as_os_str);
    // Relative folders on a PATH would let the checkout stand in for any program.
    std::env::split_paths(path)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(command))
        .find(|candidate| candidate.metadata().is_ok_and(|metadata| is_executable(&metadata)))
        .ok_or_else(|| io::ErrorKind::NotFound.into())
}

fn is_executable(metadata: &std::fs::Metadata) -> bool {
    metadata.is_file() && metadata.permissions().mode() & 0o111 != 0
}
