//! A command as a manifest gives it, and the executable file that it means.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;

use super::child::{ChildCommand, ProcessInput, RunError, name_interpreter};
use crate::run::AttemptOutcome;

/// Where programs are searched for when there is no `PATH`.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Environment variables.
pub(in crate::provider) type EnvVars = BTreeMap<OsString, OsString>;

/// A program with arguments, or a line for the shell.
#[derive(Debug, Clone, Copy)]
pub(in crate::provider) struct CommandLine<'a> {
    /// The program, or the shell line.
    pub(in crate::provider) command: &'a str,
    /// Arguments; positional parameters of a shell line.
    pub(in crate::provider) args: &'a [String],
    /// Whether `command` is a shell line.
    pub(in crate::provider) shell: bool,
}

/// Why a command cannot be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot start `{command}`: {}", explain(.command, .source))]
pub(in crate::provider) struct StartError {
    command: String,
    source: io::Error,
    /// Whether the machine is to blame, and not who named the command.
    is_machine_fault: bool,
    /// Whether a process ran.
    begun: bool,
}

impl<'a> CommandLine<'a> {
    /// A command whose form shows whether it is meant for a shell: it holds spaces, and its arguments are
    /// not given apart.
    pub(in crate::provider) fn guess(command: &'a str, args: &'a [String]) -> Self {
        // The published examples write `command: npm test`. Arguments that are given apart show that the command is a
        // program's name.
        let shell = args.is_empty() && command.trim().contains(char::is_whitespace);
        Self { command, args, shell }
    }

    /// What to start for it.
    pub(in crate::provider) fn program(
        &self,
        environment: &EnvVars,
        directory: &Path,
        grace: Duration,
    ) -> Result<ChildCommand, StartError> {
        let command = if self.shell { "sh" } else { self.command };
        let path = find_program(command, environment, directory)
            .map_err(|error| self.start_error(RunError::Program(error)))?;
        // The `sh` after the line becomes `$0`; without it the first argument would, and `$1` would be the second.
        let shell = self.shell.then(|| ["-c".into(), self.command.into(), "sh".into()]);
        Ok(ChildCommand {
            path,
            args: shell.into_iter().flatten().chain(self.args.iter().map(OsString::from)).collect(),
            environment: environment.clone(),
            directory: directory.to_owned(),
            grace,
            input: ProcessInput::Empty,
            split: false,
            filter: None,
        })
    }

    /// Why a shell line may have ended with the code by which shells say that they did not find or could not start a program:
    /// what is the matter with the file that it begins with. The shell's own words name the file alone, and where its
    /// interpreter is what is missing they are plainly wrong.
    pub(in crate::provider) fn why_not_run(&self, code: Option<i32>, directory: &Path) -> Option<String> {
        let first = self.command.split_whitespace().next().filter(|word| self.shell && word.contains('/'))?;
        let path = directory.join(first);
        let said = |error: io::Error| Some(format!("`{first}`: {}", explain(first, &error)));
        match (code, path.metadata()) {
            (Some(126 | 127), Err(error)) if error.kind() == io::ErrorKind::NotFound => said(error),
            (Some(126), Ok(metadata)) if !is_executable(&metadata) => {
                said(io::ErrorKind::PermissionDenied.into())
            }
            (Some(126 | 127), Ok(_)) => {
                let error = name_interpreter(&path, io::ErrorKind::NotFound.into());
                error.get_ref().is_some().then(|| format!("`{first}`: {error}"))
            }
            _ => None,
        }
    }

    /// Says which command could not be started.
    pub(in crate::provider) fn start_error(&self, error: RunError) -> StartError {
        let (is_machine_fault, begun) = match &error {
            RunError::Program(error) => (is_machine_fault(error), false),
            RunError::Setup(_) => (true, false),
            RunError::Wait(_) => (true, true),
        };
        let (RunError::Program(source) | RunError::Setup(source) | RunError::Wait(source)) = error;
        StartError { command: self.command.to_owned(), source, is_machine_fault, begun }
    }
}

impl StartError {
    /// How an attempt ends whose command was not started.
    pub(in crate::provider) fn outcome(&self) -> AttemptOutcome {
        let message = self.to_string();
        match (self.is_machine_fault, self.begun) {
            (true, false) => AttemptOutcome::not_possible_here(message),
            (true, true) => AttemptOutcome::broken_off_here(message),
            (false, _) => AttemptOutcome::broken(message, self.may_pass()),
        }
    }

    /// Whether the machine is to blame.
    pub(in crate::provider) fn is_machine_fault(&self) -> bool {
        self.is_machine_fault
    }

    /// Whether another attempt may find the command.
    fn may_pass(&self) -> bool {
        !matches!(self.source.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied)
    }
}

/// Whether the system lacks something just now, so that the same would have worked on another machine.
pub(in crate::provider) fn is_machine_fault(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(
            Errno::AGAIN
                | Errno::NOMEM
                | Errno::MFILE
                | Errno::NFILE
                | Errno::NOSPC
                | Errno::DQUOT
                | Errno::ROFS
                | Errno::IO
        )
    )
}

fn explain(command: &str, source: &io::Error) -> String {
    // A reason of our own says more than its kind.
    if let Some(why) = source.get_ref() {
        return why.to_string();
    }
    match source.kind() {
        io::ErrorKind::NotFound if command.starts_with('/') => "there is no such file".to_owned(),
        // The author sees it in the working tree, and the task works on a commit.
        io::ErrorKind::NotFound if command.contains('/') => {
            "there is no such file; a task sees only files that are committed".to_owned()
        }
        io::ErrorKind::NotFound => "there is no such program on the PATH".to_owned(),
        io::ErrorKind::PermissionDenied => "the file is not executable".to_owned(),
        _ => source.to_string(),
    }
}

/// The executable file that a command names: one with a `/` as seen from `directory`, else the first on the
/// environment's `PATH`. A full path also lets the standard library start the process without a fork.
pub(in crate::provider) fn find_program(
    command: &str,
    environment: &EnvVars,
    directory: &Path,
) -> io::Result<PathBuf> {
    if command.contains('/') {
        let path = directory.join(command);
        return match path.metadata()? {
            metadata if is_executable(&metadata) => Ok(path),
            _ => Err(io::ErrorKind::PermissionDenied.into()),
        };
    }
    program_folders(environment)
        .map(|folder| folder.join(command))
        .find(|candidate| candidate.metadata().is_ok_and(|metadata| is_executable(&metadata)))
        .ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// The folders in which an environment's programs are looked for.
pub(super) fn program_folders(environment: &EnvVars) -> impl Iterator<Item = PathBuf> {
    let path = environment.get(OsStr::new("PATH")).map_or(OsStr::new(DEFAULT_PATH), OsString::as_os_str);
    // Relative folders on a PATH would let the checkout stand in for any program.
    std::env::split_paths(path).filter(|folder| folder.is_absolute())
}

fn is_executable(metadata: &std::fs::Metadata) -> bool {
    metadata.is_file() && metadata.permissions().mode() & 0o111 != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(command: &str, path: &str, directory: &Path) -> String {
        let environment = [("PATH".into(), path.into())].into();
        let line = CommandLine { command, args: &[], shell: false };
        line.program(&environment, directory, Duration::ZERO).unwrap_err().to_string()
    }

    #[test]
    fn a_command_that_is_not_there_is_explained() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("plain"), "").unwrap();
        let folder = folder.path();
        assert_eq!(
            message("no-such-thing", "/usr/bin", folder),
            "cannot start `no-such-thing`: there is no such program on the PATH"
        );
        assert_eq!(
            message("./nothing", "", folder),
            "cannot start `./nothing`: there is no such file; a task sees only files that are committed"
        );
        assert_eq!(message("/nothing", "", folder), "cannot start `/nothing`: there is no such file");
        assert_eq!(message("./plain", "", folder), "cannot start `./plain`: the file is not executable");
    }

    #[test]
    fn a_lack_of_the_machine_is_told_from_a_command_that_is_not_there() {
        let line = CommandLine { command: "make", args: &[], shell: false };
        let fault = |error: RunError| line.start_error(error).outcome();
        let raw = |errno: Errno| io::Error::from_raw_os_error(errno.raw_os_error());
        for errno in [Errno::AGAIN, Errno::NOMEM, Errno::MFILE, Errno::NFILE, Errno::NOSPC, Errno::ROFS] {
            let outcome = fault(RunError::Program(raw(errno)));
            assert!(matches!(outcome, AttemptOutcome::RunnerFailed { begun: false, .. }), "{outcome:?}");
        }
        for errno in [Errno::NOENT, Errno::ACCESS, Errno::NOEXEC, Errno::TOOBIG] {
            assert!(matches!(fault(RunError::Program(raw(errno))), AttemptOutcome::Failed { .. }));
            assert!(matches!(fault(RunError::Setup(raw(errno))), AttemptOutcome::RunnerFailed { .. }));
        }
        let waited = fault(RunError::Wait(raw(Errno::CHILD)));
        assert!(matches!(waited, AttemptOutcome::RunnerFailed { begun: true, .. }));
    }

    #[test]
    fn a_script_whose_interpreter_is_missing_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let said = |first: &str| {
            let path = folder.path().join("script");
            std::fs::write(&path, first).unwrap();
            let line = CommandLine { command: "./script", args: &[], shell: false };
            let error = name_interpreter(&path, io::ErrorKind::NotFound.into());
            line.start_error(RunError::Program(error)).to_string()
        };
        assert_eq!(
            said("#!/bin/sh\r\necho hi\r\n"),
            "cannot start `./script`: its first line ends as on Windows, so the system looks for an interpreter `/bin/sh\\r`; save \
             the file with LF line ends"
        );
        assert_eq!(
            said("#! /opt/none/python3 -u\n"),
            "cannot start `./script`: its interpreter `/opt/none/python3`, which its first line names, is not there"
        );
        assert!(said("\u{7f}ELF").starts_with("cannot start `./script`: there is no such file"));
    }

    #[test]
    fn a_shell_line_that_cannot_run_its_file_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let why = |command: &str, code| {
            let line = CommandLine { command, args: &[], shell: true };
            line.why_not_run(Some(code), folder.path())
        };
        let script = |name: &str, text: &str, mode: u32| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        let missing = "`./gone.sh`: there is no such file; a task sees only files that are committed";
        assert_eq!(why("./gone.sh --fast", 127).as_deref(), Some(missing));
        script("windows.sh", "#!/bin/sh\r\ntrue\r\n", 0o755);
        assert!(why("./windows.sh", 127).unwrap().contains("line ends"));
        script("plain.sh", "true\n", 0o644);
        assert_eq!(why("./plain.sh", 126).as_deref(), Some("`./plain.sh`: the file is not executable"));
        // What ran and failed, and what no file of the task is about.
        script("whole.sh", "#!/bin/sh\nexit 127\n", 0o755);
        for (command, code) in [("./gone.sh", 1), ("./plain.sh", 1), ("nothing-there", 127)] {
            assert_eq!(why(command, code), None, "{command}");
        }
    }

    #[test]
    fn the_working_directory_is_not_on_the_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tool");
        std::fs::write(&path, "#!/bin/sh\n").unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        assert!(message("tool", ".::", folder.path()).contains("no such program"));
        let environment = [("PATH".into(), folder.path().into())].into();
        assert_eq!(find_program("tool", &environment, Path::new("/")).unwrap(), path);
        assert_eq!(
            find_program("./tool", &environment, folder.path()).unwrap(),
            folder.path().join("./tool")
        );
    }

    #[test]
    fn a_command_with_spaces_and_no_arguments_is_a_shell_line() {
        assert!(CommandLine::guess("npm test", &[]).shell);
        assert!(!CommandLine::guess("npm", &[]).shell);
        assert!(!CommandLine::guess("my tool", &["x".to_owned()]).shell);
    }
}
