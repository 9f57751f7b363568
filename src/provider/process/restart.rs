//! Starting this very program again without the credentials in its environment, before anything else is started.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use crate::config::Environment;

/// The environment without a trace of credentials in what the system shows of this process. Where that takes a new start of the
/// program, this does not return; where the system cannot do it, the environment stays as it is.
#[must_use]
pub fn out_of_sight(
    environment: Environment,
    program: io::Result<PathBuf>,
    arguments: &[OsString],
) -> Environment {
    if environment.is_cleared() {
        hide_memory();
        return environment;
    }
    if environment.credentials().is_empty() {
        return environment;
    }
    // Not an error: a machine that cannot do it is one on which the work has been done so far, and SECURITY.md says what to do.
    if let Err(error) = program.and_then(|program| restart(&environment, program, arguments)) {
        tracing::debug!(%error, "credentials stay in the environment of this process");
    }
    hide_memory();
    environment
}

#[cfg(target_os = "linux")]
fn restart(environment: &Environment, program: PathBuf, arguments: &[OsString]) -> io::Result<()> {
    use std::os::unix::process::CommandExt as _;
    use std::process::Command;

    use crate::config::HANDED_OVER;

    let (file, number) = environment.hand_over()?;
    let mut command = Command::new(program);
    let mut arguments = arguments.iter();
    if let Some(name) = arguments.next() {
        // The name that it was called by: a link to it stays one, and so does the line in a list of processes.
        command.arg0(name);
    }
    command.args(arguments).env(HANDED_OVER, number.to_string());
    for (name, _) in environment.credentials() {
        command.env_remove(name);
    }
    // In place, as the same process: whoever started it waits for this one and signals this one.
    let error = command.exec();
    drop(file);
    Err(error)
}

#[cfg(not(target_os = "linux"))]
fn restart(_: &Environment, _: PathBuf, _: &[OsString]) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Keeps other processes of the same user from reading the memory, in which the credentials still are, and the environment.
#[cfg(target_os = "linux")]
fn hide_memory() {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    // It holds until the next `exec`, and so for this process and none that it starts. Root reads everything all the same.
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::debug!(%error, "other processes may read the memory of this one");
    }
}

#[cfg(not(target_os = "linux"))]
fn hide_memory() {}
