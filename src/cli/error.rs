//! The one funnel through which every failure reaches the user: kinds with documented exit codes, hints as
//! data. Nothing else prints an error or chooses an exit code.

use std::any::Any;
use std::error::Error;
use std::fmt;

use serde_json::json;

use crate::engine::{BranchError, EngineError, StoredFileError};
use crate::git::GitError;
use crate::index::IndexError;
use crate::record::RecordError;
use crate::report::style::Tone;
use crate::report::text;
use crate::run::{DISK_FULL, cause_first};

/// What the system says where nothing may be written.
const READ_ONLY: &str = "Read-only file system";

/// What the runtime, the pool of readers and the standard library panic with where the system gives them no thread.
const NO_THREAD: [&str; 3] =
    ["OS can't spawn worker thread", "ThreadPoolBuildError", "failed to spawn thread"];

/// How a command ended, as the exit code says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Yes, or done.
    Done,
    /// A clear no: invalid manifests, differences, a failed execution that was waited for.
    No,
    /// The command line is wrong.
    Usage,
    /// Git, the network, permissions.
    Environment,
    /// A race was lost after all retries.
    Race,
    /// A bug in planspec.
    Bug,
    /// Ctrl-C at a question.
    Interrupted,
}

impl Exit {
    /// The exit code of the process.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::No => 1,
            Self::Usage => 2,
            Self::Environment => 3,
            Self::Race => 4,
            // `EX_SOFTWARE` of sysexits.h.
            Self::Bug => 70,
            // 128 and the number of SIGINT, as shells say it.
            Self::Interrupted => 130,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::No => "no",
            Self::Usage => "usage",
            Self::Environment => "environment",
            Self::Race => "race",
            Self::Bug => "bug",
            Self::Interrupted => "interrupted",
        }
    }
}

/// The words without the numbers that the standard library and libgit2 put behind an error: nobody looks them up.
fn in_words(message: &str) -> String {
    let mut words = message.to_owned();
    for (begin, end) in [(" (os error ", ")"), ("; class=", ")"), ("; code=", ")")] {
        while let Some(at) = words.find(begin) {
            let Some(length) = words.get(at..).and_then(|rest| rest.find(end)) else { break };
            words.replace_range(at..at + length + end.len(), "");
        }
    }
    words
}

/// A failure on its way to the user.
#[derive(Debug)]
pub(crate) struct CliError {
    exit: Exit,
    message: String,
    hints: Vec<String>,
    closed_pipe: bool,
}

impl CliError {
    fn new(exit: Exit, message: impl Into<String>) -> Self {
        let message = in_words(&message.into());
        // Whatever failed to be written, this is why, and everything else in the message is its consequence.
        if exit == Exit::Environment && message.contains(DISK_FULL) {
            let hints = vec!["free space and try again; nothing that is recorded in Git is lost".to_owned()];
            return Self { exit, message: cause_first(message), hints, closed_pipe: false };
        }
        let mut hints = Vec::new();
        if exit == Exit::Environment && message.contains(READ_ONLY) {
            hints.push(
                "use a clone on a file system that can be written to; `--repo PATH` names it".to_owned(),
            );
        }
        Self { exit, message, hints, closed_pipe: false }
    }

    /// The user ended the command at a question.
    pub(crate) fn interrupted() -> Self {
        Self::new(Exit::Interrupted, "interrupted; the answer counts as no")
    }

    /// A clear no.
    pub(crate) fn no(message: impl Into<String>) -> Self {
        Self::new(Exit::No, message)
    }

    /// A wrong command line.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// Git, the network or a file does not let us.
    pub(crate) fn environment(message: impl Into<String>) -> Self {
        Self::new(Exit::Environment, message)
    }

    /// A race was lost after all retries.
    pub(crate) fn race(message: impl Into<String>) -> Self {
        Self::new(Exit::Race, message)
    }

    /// Something that cannot be.
    pub(crate) fn bug(message: impl Into<String>) -> Self {
        Self::new(Exit::Bug, message).hint("this is a bug in planspec; please report it")
    }

    /// What a panic comes to: a bug, unless the system gave a library no thread that has no error for it.
    pub(super) fn of_panic(payload: &(dyn Any + Send), place: &str) -> Self {
        let owned = payload.downcast_ref::<String>().map(String::as_str);
        let said = owned.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or_default();
        if NO_THREAD.iter().any(|known| said.contains(known)) {
            return Self::environment("the system gives planspec no further thread; nothing recorded in Git is lost")
                .hint("raise the limit of processes and threads (`ulimit -u`, or `pids.max` of the container) by 32");
        }
        let version = env!("CARGO_PKG_VERSION");
        let message = format!("internal error in planspec {version}{place}; nothing recorded in Git is lost");
        Self::new(Exit::Bug, message).hint("please report it, with the command line and this message")
    }

    /// A failure of the environment, with its chain of causes in one message.
    pub(crate) fn caused(what: &str, cause: &(dyn Error + 'static)) -> Self {
        Self::environment(format!("{what}: {}", chain(cause)))
    }

    /// Adds what the user may do about it.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// What the user may do about it.
    pub(crate) fn hints(&self) -> &[String] {
        &self.hints
    }

    /// The exit code: a reader that went away is no failure.
    pub(crate) fn exit(&self) -> Exit {
        if self.closed_pipe { Exit::Done } else { self.exit }
    }

    /// What is printed on standard error; nothing when the reader went away.
    pub(crate) fn render(&self, as_json: bool) -> String {
        if self.closed_pipe {
            return String::new();
        }
        if as_json {
            let error = json!({
                "kind": self.exit.word(),
                "exitCode": self.exit.code(),
                "message": self.message,
                "hints": self.hints,
            });
            return format!("{}\n", json!({ "error": error }));
        }
        // A message may repeat names and answers from outside (Invariant 8).
        let mut out = format!("{} {}\n", Tone::Bad.paint("error:"), text::block(&self.message));
        for hint in &self.hints {
            out.push_str(&format!("{} {}\n", Tone::Active.paint("hint:"), text::block(hint)));
        }
        out
    }
}

/// An error and all its causes, separated by colons; a cause that the text before already ends with is left
/// out, because some libraries repeat their source in their own message.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut out = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        // Without this, the same words would be printed twice in one line.
        if !out.ends_with(&text) {
            out.push_str(": ");
            out.push_str(&text);
        }
        next = cause.source();
    }
    out
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// An error of writing output: a closed pipe is the reader's right.
impl From<std::io::Error> for CliError {
    fn from(error: std::io::Error) -> Self {
        // `planspec get all | head` has to end as any program in a pipe does: without a word.
        let closed_pipe = error.kind() == std::io::ErrorKind::BrokenPipe;
        Self { closed_pipe, ..Self::environment(format!("cannot write the output: {error}")) }
    }
}

impl From<StoredFileError> for CliError {
    fn from(error: StoredFileError) -> Self {
        match error {
            StoredFileError::Git(error) => error.into(),
            StoredFileError::Store(error) => Self::environment(chain(&error)),
        }
    }
}

impl From<GitError> for CliError {
    fn from(error: GitError) -> Self {
        let hint = match &error {
            GitError::NotARepository { .. } => Some(
                "go to a repository, name one with `-C DIR` or `--repo`, or make one with `planspec init`",
            ),
            // Git's rule against repositories of another user, whose configuration could run programs. It is
            // never lifted by us.
            GitError::Distrusted { .. } => {
                Some("if you trust it: `git config --global --add safe.directory DIRECTORY`")
            }
            GitError::UnsupportedFormat { .. } => Some(
                "planspec supports only SHA-1 objects and file-based references: clone into a repository with that format",
            ),
            GitError::BadTree { .. } => Some(
                "a commit that somebody pushed holds it: put that branch back to the commit before, and restrict who may push there",
            ),
            GitError::UnknownRevision { .. } => Some("`git branch --all` lists the branches"),
            GitError::Signing { .. } => Some(
                "`git commit -S` shows the same failure; `commit.gpgSign` and `user.signingKey` say how commits are signed",
            ),
            _ => None,
        };
        let shown = Self::environment(chain(&error));
        match hint {
            Some(hint) => shown.hint(hint),
            None => shown,
        }
    }
}

impl From<RecordError> for CliError {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::Git(error) => error.into(),
            other => Self::environment(chain(&other)),
        }
    }
}

impl From<IndexError> for CliError {
    fn from(error: IndexError) -> Self {
        match error {
            IndexError::Git(error) => error.into(),
            IndexError::Record(error) => error.into(),
            other => Self::environment(chain(&other)),
        }
    }
}

/// How a job takes over a status branch that was refused. By a merged change and not by an input of whoever starts the workflow:
/// anybody who may push could else let the runner sign a history of their own.
const ACCEPT_IN_JOB: &str = "in a workflow: merge `accept-status-history: true` below `with:` of the step that runs planspec, and take it out after one run";

impl From<EngineError> for CliError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Git(error) => error.into(),
            EngineError::Index(error) => error.into(),
            EngineError::Record(error) => error.into(),
            EngineError::NothingDesired { .. } => Self::environment(chain(&error)).hint(
                "commit a manifest first: `planspec init` makes one, `planspec apply -f FILE` commits one",
            ),
            EngineError::Branch(error) => error.into(),
            // Exit code 1: the content of the branch is at fault, and the same command fails again until it
            // is changed.
            EngineError::Config { .. } => {
                Self::no(chain(&error)).hint("`planspec validate` lists all problems")
            }
            EngineError::Contended { .. } => Self::race(chain(&error))
                .hint("other runners are writing at the same time; try again in a moment"),
            EngineError::StatusWentBack { ref branch, ref last, .. } => Self::environment(chain(&error))
                .hint(format!("put it back: `git push --force REMOTE {last}:refs/heads/{branch}`, or `git branch -f {branch} {last}`"))
                .hint("if it is meant, as after a restore: `planspec reconcile --accept-status-history` in any clone; with `trust.status`, with the key of a runner")
                .hint(ACCEPT_IN_JOB),
            EngineError::NotSigned { .. } => Self::environment(chain(&error))
                .hint("`planspec verify` says who signed what; put the branch back to a commit that holds")
                .hint("if it is meant: `planspec reconcile --accept-status-history` with the key of a runner")
                .hint(ACCEPT_IN_JOB),
            EngineError::DesiredNotSigned { .. } => Self::environment(chain(&error)).hint(
                "nothing was started; let one of the signers of `trust.desired`, as the commit in force before lists them, \
                 put a signed commit on the branch",
            ),
            EngineError::CannotSign { .. } | EngineError::NotSigner { .. } => Self::environment(chain(&error)).hint(
                "a runner signs with the SSH key in PLANSPEC_SIGNING_KEY (its text, or the path of its file, without a passphrase), a person as `gpg.format` and `user.signingkey` say; \
                 `trust.status` in .planspec.yaml lists their keys",
            ),
            EngineError::Refused(message) => Self::no(message),
            EngineError::WorkerLost => Self::bug(chain(&error)),
            EngineError::Io { .. } => Self::environment(chain(&error)),
        }
    }
}

impl From<BranchError> for CliError {
    fn from(error: BranchError) -> Self {
        let hint = match &error {
            BranchError::Detached => "name a branch with `--ref BRANCH`",
            BranchError::Undetermined { .. } => {
                "set the remote's default branch (and `desiredBranch` in its .planspec.yaml if manifests are on another one); \
                 `--ref BRANCH` selects one for this command"
            }
            BranchError::Empty { .. } => "push the branch that holds the manifests",
            BranchError::NotFound { .. } => {
                "`git branch --all` lists the branches; if the desired branch was renamed, set `desiredBranch` in .planspec.yaml on it, \
                 or use `--ref BRANCH`"
            }
            BranchError::Circular { .. } => "set `desiredBranch` to the same branch on both",
            BranchError::Ours { .. } => {
                "name the branch that holds the manifests: `desiredBranch` in .planspec.yaml, or `--ref BRANCH`"
            }
            BranchError::StatusCheckedOut { .. } => {
                "check out the branch that holds the manifests, and try again"
            }
            BranchError::Overlap { .. } => "rename that branch, or set `statusBranch` in .planspec.yaml",
        };
        // Exit code 3: which branches there are is a fact of the repository, not of the command line.
        Self::environment(error.to_string()).hint(hint)
    }
}

impl From<serde_json::Error> for CliError {
    fn from(error: serde_json::Error) -> Self {
        // A closed pipe arrives wrapped when JSON is written into it, and is as little of a failure then.
        match error.io_error_kind() {
            Some(kind) => std::io::Error::from(kind).into(),
            None => Self::bug(format!("a value cannot be written as JSON: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_bug_unless_the_system_gave_no_thread() {
        let of = |said: &'static str| CliError::of_panic(&said, " at a.rs:1");
        assert!(of("index out of bounds").render(false).contains("internal error in planspec"));
        assert_eq!(of("index out of bounds").exit(), Exit::Bug);
        for said in [
            "OS can't spawn worker thread: Resource temporarily unavailable (os error 11)",
            "The global thread pool has not been initialized.: ThreadPoolBuildError { kind: IOError(Os { code: 11 }) }",
        ] {
            assert_eq!(of(said).exit(), Exit::Environment, "{said}");
        }
    }

    #[test]
    fn the_exit_codes_are_those_of_the_manual() {
        let all =
            [Exit::Done, Exit::No, Exit::Usage, Exit::Environment, Exit::Race, Exit::Bug, Exit::Interrupted];
        assert_eq!(all.map(Exit::code), [0, 1, 2, 3, 4, 70, 130]);
    }

    #[test]
    fn a_closed_pipe_is_a_silent_success() {
        let error = CliError::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        assert_eq!((error.exit(), error.render(false).as_str()), (Exit::Done, ""));
    }

    #[test]
    fn errors_and_hints_are_lines_or_json() {
        let error = CliError::race("the branch moved\u{1b}[2J").hint("try again");
        let text = error.render(false);
        assert_eq!(
            anstream::adapter::strip_str(&text).to_string(),
            "error: the branch moved\nhint: try again\n"
        );
        let value: serde_json::Value = serde_json::from_str(&error.render(true)).unwrap();
        assert_eq!(value["error"]["exitCode"], 4);
        assert_eq!(value["error"]["hints"][0], "try again");
    }

    #[test]
    fn a_full_disk_is_said_first() {
        let full = std::io::Error::from_raw_os_error(28);
        let error = CliError::caused("cannot write the index", &full);
        assert!(error.to_string().starts_with("the disk is full: cannot write the index"), "{error}");
        assert!(error.hints()[0].contains("free space"));
    }

    #[test]
    fn an_error_of_the_system_is_told_in_words() {
        let missing = std::io::Error::from_raw_os_error(2);
        let error = CliError::caused("cannot read a.yaml", &missing);
        assert_eq!(error.to_string(), "cannot read a.yaml: No such file or directory");
        let git =
            CliError::environment("cannot open it: no; class=Repository (6); code=Invalid (-21), says git");
        assert_eq!(git.to_string(), "cannot open it: no, says git");
    }

    #[test]
    fn a_cause_is_told_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot open it: {0}")]
        struct Outer(#[source] std::io::Error);
        let outer = Outer(std::io::Error::other("no such file"));
        assert_eq!(chain(&outer), "cannot open it: no such file");
    }
}
