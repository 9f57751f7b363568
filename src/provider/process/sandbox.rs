//! A sandbox around local commands, by the program `bwrap` of bubblewrap: no network, no sockets of the machine, nothing to read
//! but the system, toolchains and the checkout, and nothing that can be written to but this, the folder of the attempt, and a
//! `/tmp` and a home folder that are empty.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use tracing::debug;

use super::child::ChildCommand;
use super::closed_places::{ClosedPlaces, shown_anywhere};
use super::command_line::{EnvVars, find_program};
use super::socket_filter::own_filter;
use super::visible_paths::VisiblePaths;
use crate::config::SandboxConfig;
use crate::provider::settings::{ConfigError, Settings, is_allowed, provider_globs};

/// What a sandbox lets through.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::provider) struct Sandbox {
    /// Whether the network is there.
    network: bool,
    /// Whether sockets can be made and connected to that have a name in the file system, or an abstract one.
    unix_sockets: bool,
    /// What can be read, besides: absolute paths, or `~/…`.
    read: Vec<String>,
    /// What can be written to, besides.
    write: Vec<String>,
}

/// The places of an attempt itself.
#[derive(Debug)]
pub(in crate::provider) struct OwnPaths<'a> {
    /// What can be written to.
    pub(in crate::provider) writable: Vec<&'a Path>,
    /// What can be read.
    pub(in crate::provider) readable: Vec<&'a Path>,
    /// What of these is not seen.
    pub(in crate::provider) hidden: Vec<&'a Path>,
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
    #[error("`config.sandbox.{key}` names `{path}`, which does not exist")]
    NotThere { key: &'static str, path: String },
    #[error(
        "`config.sandbox.{key}` names `{path}`, which would show {what}; with `providers.sandbox: required` no task sees that: name a \
         folder without it"
    )]
    Closed { key: &'static str, path: String, what: &'static str },
    #[error(
        "`config.sandbox` cannot keep a command on this processor from the sockets of the machine; to do without that, set \
         `config.sandbox.unixSockets: true`"
    )]
    NoFilter,
}

/// The sandbox of one attempt: the start of its command lines.
#[derive(Debug)]
pub(in crate::provider) struct SandboxCommand {
    program: PathBuf,
    args: Vec<OsString>,
    filter: Option<Arc<[u8]>>,
}

/// The settings of a sandbox.
const KEYS: [&str; 4] = ["network", "read", "unixSockets", "write"];

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
                    expected: "true, false, or a map with `network`, `read`, `unixSockets` and `write`",
                });
            }
        };
        let below = |error: ConfigError| error.below("sandbox");
        let settings = Settings::new(map, &KEYS).map_err(below)?;
        let flag = |key| settings.flag(key).map_err(below).map(Option::unwrap_or_default);
        let places = |key: &'static str| {
            let paths = settings.texts(key).map_err(below)?;
            match paths.iter().find(|path| !(path.starts_with('/') || path.starts_with("~/"))) {
                Some(path) => Err(ConfigError::Invalid {
                    key: format!("sandbox.{key}"),
                    why: format!(
                        "contains `{path}`: use absolute paths or `~/…`; the checkout is always writable"
                    ),
                }),
                None => Ok(paths),
            }
        };
        Ok(Some(Self {
            network: flag("network")?,
            unix_sockets: flag("unixSockets")?,
            read: places("read")?,
            write: places("write")?,
        }))
    }

    /// Refuses settings by which a sandbox that is required would be opened to more than the configuration lets this provider
    /// have: whoever merges a Binding need not be whoever decides about that.
    pub(in crate::provider) fn check_opened(
        &self,
        provider: &str,
        word: &SandboxConfig,
    ) -> Result<(), ConfigError> {
        if !word.is_required() {
            return Ok(());
        }
        let opened = [
            ("network", self.network, &word.network),
            ("unixSockets", self.unix_sockets, &word.unix_sockets),
        ];
        let is_listed = |globs: &[String]| is_allowed(Some(&provider_globs(globs)), provider);
        if let Some((key, ..)) = opened.into_iter().find(|(_, asked, listed)| *asked && !is_listed(listed)) {
            let why = format!(
                "cannot be set for `{provider}`: `providers.sandbox` is `required`; whoever owns .planspec.yaml can allow it there with \
                 `sandbox: {{mode: required, {key}: [\"{provider}\"]}}`"
            );
            return Err(ConfigError::Invalid { key: format!("sandbox.{key}"), why });
        }
        Ok(())
    }

    /// The same, and refuses settings by which it would show what it is there to hide, as far as that is known without the
    /// machine.
    pub(in crate::provider) fn check_required(
        &self,
        provider: &str,
        word: &SandboxConfig,
    ) -> Result<(), ConfigError> {
        self.check_opened(provider, word)?;
        if !word.is_required() {
            return Ok(());
        }
        for (key, paths) in [("read", &self.read), ("write", &self.write)] {
            let shown = paths.iter().find_map(|path| Some((path, shown_anywhere(path)?)));
            if let Some((path, what)) = shown {
                let why = format!(
                    "contains `{path}`, which would show {what}; with `providers.sandbox: required` no task sees that: name a folder \
                     without it"
                );
                return Err(ConfigError::Invalid { key: format!("sandbox.{key}"), why });
            }
        }
        Ok(())
    }

    /// The sandbox of an attempt with these places. Of the environments, the first is what the runner passes on to every task, the
    /// second that of this one. What is `closed` is shown by no setting.
    pub(in crate::provider) fn enclosure(
        &self,
        OwnPaths { writable, readable, hidden }: &OwnPaths<'_>,
        (runner, environment): (&EnvVars, &EnvVars),
        closed: &ClosedPlaces,
    ) -> Result<SandboxCommand, SandboxError> {
        if !cfg!(target_os = "linux") {
            return Err(SandboxError::NotLinux);
        }
        // A sandbox that was asked for and cannot be had is an error. Running the command without one would be less
        // than was asked for.
        // On the runner's PATH: a Binding sets that of its task, and would choose the program that locks it in.
        let program = find_program("bwrap", runner, Path::new("/")).map_err(|_| SandboxError::NoProgram)?;
        let filter = own_filter(self.unix_sockets);
        if filter.is_none() && !self.unix_sockets {
            return Err(SandboxError::NoFilter);
        }
        let own: Vec<&Path> = writable.iter().chain(readable).copied().collect();
        let visible = VisiblePaths::new(runner, &own);
        let mut args = self.namespaces();
        let [system, own_folders] = visible.mounts();
        args.extend(system);
        // `/run` holds the sockets of services that would act for the command.
        let apart = "--dev /dev --ro-bind /dev/null /dev/tty --proc /proc --tmpfs /tmp --tmpfs /run";
        args.extend(apart.split(' ').map(OsString::from));
        args.extend(kernel_tables());
        args.extend(self.name_service());
        args.extend(own_folders);
        args.extend(self.hidden_sockets(&visible));
        let mut bind = |how: &str, path: &OsStr| args.extend([how.into(), path.to_owned(), path.to_owned()]);
        for path in writable {
            bind("--bind", path.as_os_str());
        }
        // After the folder of the attempt, in which the file may be: a later mount lies above an earlier one, so it
        // cannot be written to.
        for path in readable {
            bind("--ro-bind", path.as_os_str());
        }
        // After the checkout that they are in, and before what the settings name, which may give a part of them back.
        for path in hidden {
            args.extend(hide(path));
        }
        // Last, so that also places below the empty folders can be given back.
        args.extend(self.given_back(environment, closed)?);
        // What is written beside all of this would vanish without a word.
        args.extend(["--remount-ro".into(), "/".into()]);
        debug!(network = self.network, unix_sockets = self.unix_sockets, "sandbox made ready");
        Ok(SandboxCommand { program, args, filter: filter.map(Arc::from) })
    }

    /// What the settings show besides.
    fn given_back(
        &self,
        environment: &EnvVars,
        closed: &ClosedPlaces,
    ) -> Result<Vec<OsString>, SandboxError> {
        let mut args = Vec::new();
        for (how, key, paths) in [("--ro-bind", "read", &self.read), ("--bind", "write", &self.write)] {
            for path in paths {
                let full = at_home(path, environment);
                // As it really lies, both judged and mounted: a task may have left a link in a folder that it can write to.
                let Ok(real) = full.canonicalize() else {
                    return Err(SandboxError::NotThere { key, path: path.clone() });
                };
                if let Some(what) = closed.shown_by(&real) {
                    return Err(SandboxError::Closed { key, path: path.clone(), what });
                }
                args.extend([how.into(), real.into_os_string(), full.into_os_string()]);
            }
        }
        Ok(args)
    }

    /// What of the system is not shared.
    fn namespaces(&self) -> Vec<OsString> {
        // Run by root, bwrap keeps all capabilities unless they are dropped, and with them a command could mount
        // what it likes. A user namespace is only tried for: root needs none, and some kernels refuse it.
        let always = "--unshare-user-try --unshare-ipc --unshare-pid --unshare-uts --unshare-cgroup-try --cap-drop ALL";
        let network = (!self.network).then_some("--unshare-net");
        always.split(' ').chain(network).map(OsString::from).collect()
    }

    /// What names of hosts are resolved by, where `/etc/resolv.conf` is a link to it, as on machines with systemd.
    fn name_service(&self) -> Vec<OsString> {
        let file = self.network.then(|| Path::new("/etc/resolv.conf").canonicalize().ok()).flatten();
        let file = file.filter(|file| !file.starts_with("/etc"));
        file.map_or_else(Vec::new, |file| vec!["--ro-bind-try".into(), file.clone().into(), file.into()])
    }

    /// Puts something else in the place of sockets that can be seen, where the filter lets sockets through.
    fn hidden_sockets(&self, visible: &VisiblePaths) -> Vec<OsString> {
        if !self.unix_sockets {
            return Vec::new();
        }
        // A file system that cannot be written to does not keep anybody from connecting to the sockets on it, behind which are
        // services and keys of the machine. Those with a name outside of the file system are gone with the network.
        let listed = std::fs::read_to_string("/proc/net/unix").unwrap_or_default();
        let hide =
            |socket: &Path| ["--ro-bind-try".into(), "/dev/null".into(), socket.as_os_str().to_owned()];
        sockets(&listed).filter(|path| visible.shows(path)).flat_map(hide).collect()
    }
}

/// Tables of the kernel that root may write to, whatever capabilities it has given away: a program that `core_pattern` names is
/// started outside of every sandbox. What bwrap covers by itself is not all of them.
fn kernel_tables() -> impl Iterator<Item = OsString> {
    let tables = ["/proc/sys", "/proc/sysrq-trigger", "/proc/fs", "/proc/acpi", "/proc/scsi", "/proc/mtrr"];
    let tables = tables.into_iter().filter(|_| rustix::process::geteuid().is_root());
    tables.flat_map(|table| ["--ro-bind-try", table, table]).map(OsString::from)
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

/// Puts something empty in the place of a file or a folder. What a task writes there would vanish without a word, so it cannot.
fn hide(path: &Path) -> Vec<OsString> {
    match path.is_dir() {
        true => vec!["--tmpfs".into(), path.into(), "--remount-ro".into(), path.into()],
        false => vec!["--ro-bind".into(), "/dev/null".into(), path.into()],
    }
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
        ChildCommand { path: this.program.clone(), args, filter: this.filter.clone(), ..program }
    }
}
