//! A world of its own for each test: a home, a repository, a fixed author, and nothing of the machine's
//! configuration. The repository is deleted with it.

use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::overdue::MustEnd;

/// A temporary home, and a directory for repositories in it.
pub(crate) struct TestEnvironment {
    root: tempfile::TempDir,
    variables: Vec<(String, String)>,
    _must_end: MustEnd,
}

/// What a program that ended left behind.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Outcome {
    fn of(output: &Output) -> Self {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        // A process that a signal ended has no code; shells say 128 and more.
        let code = output.status.code().unwrap_or(128);
        Self { code, stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    /// Asserts the exit code, and shows everything when it is another one.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "\nstdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Asserts success.
    #[track_caller]
    pub(crate) fn succeeds(self) -> Self {
        self.exits(0)
    }

    /// The standard output as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error} in:\n{}", self.stdout))
    }

    /// The lines of the standard output, without spaces at their ends.
    pub(crate) fn lines(&self) -> Vec<&str> {
        self.stdout.lines().map(str::trim_end).collect()
    }
}

impl TestEnvironment {
    /// A home and an empty directory `repo`.
    pub(crate) fn new() -> Self {
        let root = tempfile::Builder::new().prefix("planspec-e2e-").tempdir().unwrap();
        fs::create_dir_all(root.path().join("home")).unwrap();
        fs::create_dir_all(root.path().join("repo")).unwrap();
        Self { root, variables: Vec::new(), _must_end: MustEnd::begin() }
    }

    /// With a Git repository in `repo`, on branch `main`, without commits.
    pub(crate) fn with_repository() -> Self {
        let environment = Self::new();
        environment.git(&["init", "--quiet", "--initial-branch=main"]).succeeds();
        environment
    }

    /// With a Git repository that holds these files in one commit.
    pub(crate) fn with_files(files: &[(&str, &str)]) -> Self {
        let environment = Self::with_repository();
        environment.commit_files(files, "Begin");
        environment
    }

    /// Sets a variable for all programs to come.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// The directory that is deleted at the end.
    pub(crate) fn root(&self) -> &Path {
        self.root.path()
    }

    /// The repository.
    pub(crate) fn repo(&self) -> PathBuf {
        self.root.path().join("repo")
    }

    /// Writes a file into the working tree.
    pub(crate) fn write(&self, path: &str, content: &str) {
        let path = self.repo().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Reads a file of the working tree.
    #[track_caller]
    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.repo().join(path)).unwrap()
    }

    /// Writes files and commits everything.
    #[track_caller]
    pub(crate) fn commit_files(&self, files: &[(&str, &str)], message: &str) {
        for (path, content) in files {
            self.write(path, content);
        }
        self.git(&["add", "--all"]).succeeds();
        self.git(&["commit", "--quiet", "--allow-empty", "-m", message]).succeeds();
    }

    /// Runs `planspec` in the repository.
    pub(crate) fn planspec<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Outcome {
        self.planspec_with_input(arguments, "")
    }

    /// Runs `planspec` in the repository with a standard input.
    pub(crate) fn planspec_with_input<S: AsRef<OsStr>>(&self, arguments: &[S], input: &str) -> Outcome {
        let mut command = self.planspec_command(&self.repo());
        command.args(arguments);
        Self::finish(command, input)
    }

    /// Runs `planspec` in another directory.
    pub(crate) fn planspec_in<S: AsRef<OsStr>>(&self, directory: &Path, arguments: &[S]) -> Outcome {
        let mut command = self.planspec_command(directory);
        command.args(arguments);
        Self::finish(command, "")
    }

    /// `planspec`, ready to be given arguments and started.
    pub(crate) fn planspec_command(&self, directory: &Path) -> Command {
        self.command(env!("CARGO_BIN_EXE_planspec"), directory)
    }

    /// Runs `git` in the repository.
    pub(crate) fn git<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Outcome {
        self.git_in(&self.repo(), arguments)
    }

    /// Runs `git` in another directory.
    pub(crate) fn git_in<S: AsRef<OsStr>>(&self, directory: &Path, arguments: &[S]) -> Outcome {
        let mut command = self.command("git", directory);
        command.args(arguments);
        Self::finish(command, "")
    }

    /// The trimmed output of a `git` that must succeed.
    #[track_caller]
    pub(crate) fn git_output<S: AsRef<OsStr>>(&self, arguments: &[S]) -> String {
        self.git(arguments).succeeds().stdout.trim().to_owned()
    }

    /// Any program, with the variables of this environment.
    pub(crate) fn command(&self, program: &str, directory: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(directory).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.root.path().join("home"));
        command.env("TZ", "UTC").env("LANG", "C.UTF-8");
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        command.env("GIT_TERMINAL_PROMPT", "0");
        command.env("GIT_AUTHOR_NAME", "Wendy Writer").env("GIT_AUTHOR_EMAIL", "wendy@example.com");
        command.env("GIT_COMMITTER_NAME", "Wendy Writer").env("GIT_COMMITTER_EMAIL", "wendy@example.com");
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    fn finish(mut command: Command, input: &str) -> Outcome {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A program that does not read its input may have closed it already.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        Outcome::of(&child.wait_with_output().unwrap())
    }
}
