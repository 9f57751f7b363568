//! A sandbox around local commands, by the program `bwrap` of bubblewrap: no network, and nothing that can be written
//! to but the checkout, the folder of the attempt and a `/tmp` of its own.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::child::ChildCommand;
use super::command_line::{EnvVars, find_program};
use crate::provider::settings::{ConfigError, Settings};

/// What a sandbox lets through.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::provider) struct Sandbox {
    /// Whether the network is there.
    network: bool,
    /// What can be written to, besides: absolute paths, or `~/…`.
    write: Vec<String>,
}

/// Why there is no sandbox.
#[derive(Debug, thiserror::Error)]
pub(in crate::provider) enum SandboxError {
    #[error("`config.sandbox` works on Linux only; remove it, or run this on Linux")]
    NotLinux,
    #[error(
        "`config.sandbox` needs the program `bwrap`, which is not on the PATH; install the package bubblewrap"
    )]
    NoProgram,
    #[error("`config.sandbox.write` names `{0}`, which does not exist")]
    NotThere(String),
}

/// The sandbox of one attempt: the start of its command lines.
#[derive(Debug)]
pub(in crate::provider) struct SandboxCommand {
    program: PathBuf,
    args: Vec<OsString>,
}

impl Sandbox {
    /// Reads the setting `sandbox`; nothing when it is `false`.
    pub(in crate::provider) fn read(value: &Value) -> Result<Option<Self>, ConfigError> {
        let map = match value {
            Value::Bool(false) => return Ok(None),
            Value::Bool(true) => return Ok(Some(Self::default())),
            Value::Object(map) => map,
            _ => {
                return Err(ConfigError::WrongType {
                    key: "sandbox".to_owned(),
                    expected: "true, false, or a map with `network` and `write`",
                });
            }
        };
        let settings = Settings::new(map, &["network", "write"]).map_err(ConfigError::below_sandbox)?;
        let read = Self {
            network: settings.flag("network").map_err(ConfigError::below_sandbox)?.unwrap_or(false),
            write: settings.texts("write").map_err(ConfigError::below_sandbox)?,
        };
        match read.write.iter().find(|path| !(path.starts_with('/') || path.starts_with("~/"))) {
            Some(path) => Err(ConfigError::Invalid {
                key: "sandbox.write".to_owned(),
                why: format!(
                    "contains `{path}`: use absolute paths or `~/…`; the checkout is always writable"
                ),
            }),
            None => Ok(Some(read)),
        }
    }

    /// The sandbox of an attempt, in which `writable` can be written to and `readable` read. Of the environments, the first is
    /// what the runner passes on to every task, the second that of this one.
    pub(in crate::provider) fn enclosure(
        &self,
        writable: &[&Path],
        readable: &[&Path],
        (runner, environment): (&EnvVars, &EnvVars),
    ) -> Result<SandboxCommand, SandboxError> {
        if !cfg!(target_os = "linux") {
            return Err(SandboxError::NotLinux);
        }
        // A sandbox that was asked for and cannot be had is an error. Running the command without one would be less
        // than was asked for.
        // On the runner's PATH: a Binding sets that of its task, and would choose the program that locks it in.
        let program = find_program("bwrap", runner, Path::new("/")).map_err(|_| SandboxError::NoProgram)?;
        let mut args: Vec<OsString> = [
            // Run by root, bwrap keeps all capabilities unless they are dropped, and with them a command could mount
            // what it likes. A user namespace is only tried for: root needs none, and some kernels refuse it.
            "--unshare-user-try --unshare-ipc --unshare-pid --unshare-uts --unshare-cgroup-try --cap-drop ALL",
            // `/run` holds the sockets of services that would act for the command.
            "--ro-bind / / --dev /dev --ro-bind /dev/null /dev/tty --proc /proc --tmpfs /tmp --tmpfs /run",
            // On machines with systemd, `/etc/resolv.conf` is a link into this folder, and names could not be resolved
            // without it.
            if self.network { "--ro-bind-try /run/systemd/resolve /run/systemd/resolve" } else { "--unshare-net" },
        ]
        .iter()
        .flat_map(|part| part.split(' ').map(OsString::from))
        .collect();
        // A file system that cannot be written to does not keep anybody from connecting to the sockets on it, behind which are
        // services and keys of the machine. Those with a name outside of the file system are gone with the network.
        let listed = std::fs::read_to_string("/proc/net/unix").unwrap_or_default();
        for socket in sockets(&listed).filter(|path| !writable.iter().any(|own| path.starts_with(own))) {
            args.extend(["--ro-bind-try".into(), "/dev/null".into(), socket.as_os_str().to_owned()]);
        }
        let mut bind = |how: &str, path: &OsStr| args.extend([how.into(), path.to_owned(), path.to_owned()]);
        for path in writable {
            bind("--bind", path.as_os_str());
        }
        // After the folder of the attempt, in which the file may be: a later mount lies above an earlier one, so it
        // cannot be written to.
        for path in readable {
            bind("--ro-bind", path.as_os_str());
        }
        // Last, so that also places below the empty `/tmp` and `/run` can be given back.
        for path in &self.write {
            let full = at_home(path, environment);
            if !full.exists() {
                return Err(SandboxError::NotThere(path.clone()));
            }
            bind("--bind", full.as_os_str());
        }
        Ok(SandboxCommand { program, args })
    }
}

/// The sockets in the file system that the machine's list names and that a sandbox would still see.
fn sockets(listed: &str) -> impl Iterator<Item = &Path> {
    // The path is the last column, and may hold blanks; names that begin with `@` are not in the file system.
    let paths = listed.lines().filter_map(|line| line.find(" /").and_then(|at| line.get(at + 1..)));
    // These folders are empty in a sandbox, and mounting below them would make places in them.
    let hidden = ["/tmp/", "/run/", "/var/run/", "/dev/", "/proc/"];
    let seen = move |path: &&str| !hidden.iter().any(|folder| path.starts_with(folder));
    // A list may name what is gone, and bwrap would fail for it.
    paths.filter(seen).map(Path::new).filter(|path| path.exists())
}

/// `~/…` as a path.
fn at_home(path: &str, environment: &EnvVars) -> PathBuf {
    match (path.strip_prefix("~/"), environment.get(OsStr::new("HOME"))) {
        (Some(below), Some(home)) => Path::new(home).join(below),
        _ => PathBuf::from(path),
    }
}

impl SandboxCommand {
    /// The program inside the sandbox; as it is, where there is none.
    pub(in crate::provider) fn around(this: Option<&Self>, mut program: ChildCommand) -> ChildCommand {
        let Some(this) = this else { return program };
        let mut args = this.args.clone();
        args.extend(["--chdir".into(), program.directory.clone().into_os_string()]);
        args.extend(["--".into(), program.path.into_os_string()]);
        args.append(&mut program.args);
        ChildCommand { path: this.program.clone(), args, ..program }
    }
}
