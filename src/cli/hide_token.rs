//! The host's token, moved out of the environment of this process: what runs as the same user can read that environment for as
//! long as the process lives, and a task of ours does.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};

use crate::config::{Ci, Environment};

/// The variable that a job passes the token in.
const TOKEN: &str = "GITHUB_TOKEN";

/// The variable that names the pipe in which the token waits.
const PIPE: &str = "PLANSPEC_TOKEN_PIPE";

/// The longest token that is moved. A pipe takes this much without anybody reading it.
const LONGEST: usize = 4096;

/// In a job of GitHub Actions, starts this program once more without the token in its environment; in that second process, gives
/// the environment with the token, which is then only in its memory, and closes that memory to other processes of the user.
///
/// Elsewhere the environment is left alone: a person's credential helper may read the token there. Where the program cannot be
/// started again, it goes on as it is.
#[must_use]
pub fn hide_token(mut environment: Environment, arguments: &[OsString]) -> Environment {
    if !cfg!(target_os = "linux") || environment.ci() != Some(Ci::GitHubActions) {
        return environment;
    }
    if let Some(pipe) = environment.take(PIPE) {
        if let Some(token) = read(&pipe) {
            environment.put(TOKEN, token);
        }
    } else if let Some(token) = environment.os(TOKEN).filter(|token| token.len() <= LONGEST) {
        // Returns only when it failed.
        let error = start_again(token, arguments);
        tracing::debug!(%error, "the token stays in the environment");
    }
    // Debuggers of the same user would find it in the memory. It does not keep out root, and not the processes above this one,
    // such as the shell of the step: SECURITY.md says so.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    environment
}

fn start_again(token: &OsStr, arguments: &[OsString]) -> io::Error {
    let (reader, mut writer) = match io::pipe() {
        Ok(pipe) => pipe,
        Err(error) => return error,
    };
    if let Err(error) = writer.write_all(token.as_bytes()) {
        return error;
    }
    // The only end that the next program gets. It finds the end of the data there once this writer is closed with the rest.
    if let Err(error) = fcntl_setfd(&reader, FdFlags::empty()) {
        return error.into();
    }
    let mut command = Command::new("/proc/self/exe");
    if let Some((name, rest)) = arguments.split_first() {
        command.arg0(name).args(rest);
    }
    command.env_remove(TOKEN).env(PIPE, reader.as_raw_fd().to_string()).exec()
}

/// What waits in the pipe, which is empty afterwards: children inherit it.
fn read(pipe: &OsStr) -> Option<OsString> {
    // A number and nothing else, since it becomes a part of a path.
    let number: u32 = pipe.to_str()?.parse().ok()?;
    let mut token = Vec::new();
    let pipe = File::open(format!("/proc/self/fd/{number}")).ok()?;
    pipe.take(LONGEST as u64).read_to_end(&mut token).ok()?;
    (!token.is_empty()).then(|| OsString::from_vec(token))
}
