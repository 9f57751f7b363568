//! Running the `git` program: a clean environment, no hooks, no prompts, a time limit, bounded output without
//! credentials.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, waitid};

use super::GitError;
use super::running::{GRACE, send, start};
use super::stop::{POLL, StopSignal};
use super::url::redact;

/// How much of what the program prints is kept; everything beyond is read and dropped.
// `ls-remote` of a host with 100,000 references prints some 7 MB; a hostile server may send without end.
const OUTPUT_LIMIT: usize = 16 << 20;

/// Variables that would point the program at another repository, or make it print what it sends.
// Git sets most of them for its own hooks, so they are there whenever planspec runs inside one; the traces print
// `Authorization` headers.
const REMOVED: [&str; 21] = [
    // The descriptor is planspec's own, and empty.
    "PLANSPEC_CREDENTIALS_FD",
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_COMMON_DIR",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_QUARANTINE_PATH",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
    "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE",
    "GIT_GRAFT_FILE",
    "GIT_EXTERNAL_DIFF",
    "GIT_TRACE",
    "GIT_TRACE_CURL",
    "GIT_TRACE_PACKET",
    "GIT_TRACE_PACKFILE",
    "GIT_TRACE_SETUP",
    "GIT_TRACE2",
    "GIT_CURL_VERBOSE",
];

/// Settings for every run: nothing of the repository is executed, nothing prompts, nothing runs in the background.
const SETTINGS: [&str; 12] = [
    // Hooks and the file system monitor are programs that the repository's configuration names.
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "credential.interactive=false",
    "submodule.recurse=false",
    "fetch.recurseSubmodules=false",
    "push.recurseSubmodules=no",
    "push.gpgSign=false",
    // A background `gc` would outlive this run, hold `gc.pid`, and could prune objects that no reference names yet.
    "gc.auto=0",
    "maintenance.auto=false",
    "advice.pushUpdateRejected=false",
    // Without these, a connection that a firewall dropped is held until the time limit of the run.
    "http.lowSpeedLimit=1",
    "http.lowSpeedTime=60",
];

/// Credentials that are not in the environment of this process, from which `git` and the credential helpers that it starts would
/// inherit them.
// For the process as a whole, as the environment is that they were taken from.
static CREDENTIALS: OnceLock<Vec<(OsString, OsString)>> = OnceLock::new();

/// Gives these variables to every run of the program that may ask somebody. The first call counts.
pub fn pass_on(credentials: Vec<(OsString, OsString)>) {
    if CREDENTIALS.set(credentials).is_err() {
        tracing::debug!("credentials were passed on before");
    }
}

/// One run of the program, being put together.
pub(super) struct GitCommand {
    command: Command,
    /// The subcommand with its arguments, for traces: settings and environment may hold credentials, arguments do not.
    arguments: String,
    directory: PathBuf,
    timeout: Duration,
    stop: StopSignal,
    input: Option<Vec<u8>>,
    /// Whether it gets a process group of its own, so that its transport helpers end with it.
    own_group: bool,
}

/// What a run printed.
pub(super) struct GitOutput {
    pub(super) success: bool,
    pub(super) stdout: Vec<u8>,
    /// One line or more, without credentials and control characters.
    pub(super) stderr: String,
    /// How long an HTTP host asked to be left alone.
    pub(super) retry_after: Option<Duration>,
}

impl GitOutput {
    /// Whether the program printed more than was kept.
    pub(super) fn is_cut(&self) -> bool {
        self.stdout.len() >= OUTPUT_LIMIT
    }

    /// As of a successful run that printed nothing.
    pub(super) fn nothing() -> Self {
        Self { success: true, stdout: Vec::new(), stderr: String::new(), retry_after: None }
    }
}

impl GitCommand {
    /// A run in this directory. `settings` come before the subcommand, as global options.
    pub(super) fn new(directory: &Path, settings: &[OsString]) -> Self {
        let mut command = Command::new("git");
        // A file may be called `*.yaml` or `:(exclude)x`; no path of planspec is ever a pattern.
        command.current_dir(directory).arg("--literal-pathspecs");
        for setting in SETTINGS {
            command.arg("-c").arg(setting);
        }
        command.args(settings);
        // Before the removals, which hold for these as well.
        command.envs(CREDENTIALS.get().into_iter().flatten().map(|(name, value)| (name, value)));
        for name in REMOVED {
            command.env_remove(name);
        }
        // Objects are what their ids say: with a fetch of all references, whoever may push could replace any of them.
        command.env("GIT_NO_REPLACE_OBJECTS", "1");
        // Messages are classified by their English text, see `remote::failure`.
        command.env("GIT_TERMINAL_PROMPT", "0").env("GIT_OPTIONAL_LOCKS", "0").env("LC_ALL", "C");
        // No transport unless the caller names one: a local command on a partial clone would fetch from any address.
        command.env("GIT_ALLOW_PROTOCOL", "").stdin(Stdio::null());
        let timeout = Duration::from_secs(600);
        let arguments = String::new();
        let stop = StopSignal::default();
        // On a terminal it stays in the foreground: `ssh` asks there for a passphrase, and Ctrl-C reaches all of them.
        let own_group = !has_terminal();
        Self { command, arguments, directory: directory.to_owned(), timeout, stop, input: None, own_group }
    }

    /// A run that heeds no configuration but that of the repository which it is given: what the user has set up, such as
    /// filters and merge drivers, are programs, and here they would be chosen by files that a task wrote.
    pub(super) fn isolated(directory: &Path) -> Self {
        let mut isolated = Self::new(directory, &[]);
        for name in ["GIT_CONFIG_PARAMETERS", "GIT_CONFIG_COUNT", "GIT_ATTR_SOURCE"] {
            isolated.command.env_remove(name);
        }
        // It asks nobody, and files of a task decide what it reads.
        for (name, _) in CREDENTIALS.get().into_iter().flatten() {
            isolated.command.env_remove(name);
        }
        isolated
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_ATTR_NOSYSTEM", "1")
            // What is missing was to be fetched before; here it is an error.
            .env("GIT_NO_LAZY_FETCH", "1")
    }

    /// Adds arguments.
    pub(super) fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        for argument in args {
            self.arguments.push_str(&argument.as_ref().to_string_lossy());
            self.arguments.push(' ');
            self.command.arg(argument);
        }
        self
    }

    /// Sets a variable of the program's environment.
    pub(super) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Limits how long it may run.
    pub(super) fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Ends it early when this process is asked to end.
    pub(super) fn heeding(mut self, stop: StopSignal) -> Self {
        self.stop = stop;
        self
    }

    /// Adds what HTTP responses say to standard error, for [`GitOutput::retry_after`]: `git` itself does not print it.
    pub(super) fn watching_headers(self) -> Self {
        self.env("GIT_TRACE_CURL", "1").env("GIT_TRACE_CURL_NO_DATA", "1").env("GIT_TRACE_REDACT", "1")
    }

    /// What it reads.
    pub(super) fn input(mut self, input: Vec<u8>) -> Self {
        self.input = Some(input);
        self.command.stdin(Stdio::piped());
        self
    }

    /// Hands it a locked file to hold for as long as it lives, even if this process dies before it.
    pub(super) fn holding(mut self, lock: File) -> Self {
        // As its standard input: any other descriptor would have to lose its close-on-exec flag, and every child that
        // another thread starts meanwhile would hold the lock too.
        self.command.stdin(Stdio::from(lock));
        self
    }

    /// Runs it to its end.
    pub(super) fn run(mut self) -> Result<GitOutput, GitError> {
        let failed = |source| GitError::Io { doing: "run `git` in", path: self.directory.clone(), source };
        self.command.stdout(Stdio::piped()).stderr(Stdio::piped());
        if self.own_group {
            self.command.process_group(0);
        }
        let started = Instant::now();
        let (mut child, _known) = start(|| self.command.spawn(), self.own_group).map_err(failed)?;
        let (sender, receiver) = mpsc::channel();
        let (stdout, stderr) = match drain(&mut child, self.input.take(), sender) {
            Ok(pipes) => pipes,
            Err(source) => {
                // Nobody would read what it prints, and it would wait for that for ever.
                let ended = end(&mut child, self.own_group);
                tracing::debug!(?ended, %source, "git was ended: no thread for its pipes");
                return Err(failed(source));
            }
        };
        let mut open = 2;
        let too_long = loop {
            let left = self.left(started);
            if open == 0 || left.is_zero() {
                break open > 0;
            }
            match receiver.recv_timeout(left.min(POLL)) {
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Ok(()) | Err(mpsc::RecvTimeoutError::Disconnected) => open -= 1,
            }
        };
        let status = if too_long { end(&mut child, self.own_group) } else { child.wait() }.map_err(failed)?;
        let duration_ms = started.elapsed().as_millis();
        let args = redact(self.arguments.trim_end());
        tracing::debug!(%args, %status, duration_ms, too_long, "git exited");
        if too_long {
            // The pipes are left to their threads: a transport helper of the killed program may keep them open.
            if self.stop.left(started).is_some() {
                self.stop.has_cut(started);
                return Err(GitError::Interrupted);
            }
            return Err(GitError::TimedOut { seconds: self.timeout.as_secs() });
        }
        let stderr = stderr.join().unwrap_or_default();
        Ok(GitOutput {
            success: status.success(),
            stdout: stdout.join().unwrap_or_default(),
            retry_after: retry_after(&stderr),
            stderr: clean(&stderr),
        })
    }

    fn left(&self, started: Instant) -> Duration {
        let left = self.timeout.saturating_sub(started.elapsed());
        self.stop.left(started).map_or(left, |stop| left.min(stop))
    }
}

fn end(child: &mut Child, group: bool) -> std::io::Result<ExitStatus> {
    let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) else {
        child.kill()?;
        return child.wait();
    };
    // Asked before it is killed: only a live `git` removes its lock files, which the next fetch would stumble over.
    send(pid, group, Signal::TERM);
    let asked = Instant::now();
    // It stays unreaped, so that its id still names its group, in which a helper may have outlived it.
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    while asked.elapsed() < GRACE && matches!(waitid(WaitId::Pid(pid), options), Ok(None)) {
        thread::sleep(Duration::from_millis(10));
    }
    send(pid, group, Signal::KILL);
    child.wait()
}

/// Whether this process has a terminal, which the program may use even when its streams are pipes.
fn has_terminal() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| File::open("/dev/tty").is_ok())
}

type Collected = thread::JoinHandle<Vec<u8>>;

/// Feeds a program and reads what it prints, each on a thread of its own.
// Not `thread::spawn`, which panics where the system gives no thread: a machine that is full is the runner's fault, and an
// error as such.
fn drain(
    child: &mut Child,
    input: Option<Vec<u8>>,
    done: mpsc::Sender<()>,
) -> std::io::Result<(Collected, Collected)> {
    // A program that prints before it has read everything would block on us, and we on it.
    if let (Some(mut stdin), Some(input)) = (child.stdin.take(), input) {
        // A program that ends early closes its input; its exit code says why.
        thread::Builder::new().spawn(move || stdin.write_all(&input).is_ok())?;
    }
    // Both pipes are drained at once: a program that fills the one nobody reads would never end.
    let stdout = collect(child.stdout.take(), done.clone())?;
    Ok((stdout, collect(child.stderr.take(), done)?))
}

fn collect<R: Read + Send + 'static>(
    source: Option<R>,
    done: mpsc::Sender<()>,
) -> std::io::Result<Collected> {
    thread::Builder::new().spawn(move || {
        let mut kept = Vec::new();
        if let Some(mut source) = source {
            let limit = u64::try_from(OUTPUT_LIMIT).unwrap_or(u64::MAX);
            let read = source.by_ref().take(limit).read_to_end(&mut kept);
            if read.is_ok() {
                // The program must not stall on a full pipe.
                let _ = std::io::copy(&mut source, &mut std::io::sink());
            }
        }
        let _ = done.send(());
        kept
    })
}

/// What the program said, fit for an error: credentials and control characters gone, not too long.
fn clean(bytes: &[u8]) -> String {
    let text = redact(&String::from_utf8_lossy(bytes));
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && header(line).is_none());
    let plain = |line: &str| line.chars().filter(|c| !c.is_control()).collect::<String>();
    let kept: Vec<String> = lines.map(plain).take(20).collect();
    kept.join("\n").chars().take(4_000).collect()
}

/// The traced part of a line: `12:00:00.000000 http.c:800             <= Recv header: Retry-After: 5`.
fn header(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once(' ')?;
    rest.trim_start().strip_prefix("http.c:")
}

/// The last `Retry-After` in traced responses. Only seconds: a date would need the host's clock.
fn retry_after(stderr: &[u8]) -> Option<Duration> {
    let text = String::from_utf8_lossy(stderr);
    // A proxy and the host may both answer: the later one counts.
    let mut values = text.lines().rev().filter_map(|line| {
        let (_, received) = header(line)?.split_once("<= Recv header: ")?;
        let (name, value) = received.split_once(':')?;
        name.eq_ignore_ascii_case("retry-after").then(|| value.trim().parse().ok()).flatten()
    });
    values.next().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACED: &str = "12:00:00.000000 http.c:800              => Send header: Authorization: Basic <redacted>\n\
        12:00:00.000000 http.c:800              <= Recv header: HTTP/1.1 503 Service Unavailable\n\
        12:00:00.000000 http.c:800              <= Recv header: retry-after: 7\n\
        fatal: unable to access 'http://u:p@h/': The requested URL returned error: 503\n";

    #[test]
    fn traced_headers_tell_when_to_retry_and_are_no_part_of_the_message() {
        assert_eq!(retry_after(TRACED.as_bytes()), Some(Duration::from_secs(7)));
        assert_eq!(retry_after(b"12:0 http.c:8 <= Recv header: Retry-After: Wed, 21 Oct 2026\n"), None);
        assert_eq!(
            clean(TRACED.as_bytes()),
            "fatal: unable to access 'http://***@h/': The requested URL returned error: 503"
        );
    }

    #[test]
    fn a_run_ends_soon_after_the_process_is_asked_to_end() {
        let directory = tempfile::tempdir().unwrap();
        let stop = StopSignal::default();
        thread::scope(|scope| {
            let asked = stop.clone();
            scope.spawn(move || {
                thread::sleep(Duration::from_millis(100));
                asked.stop();
            });
            let began = Instant::now();
            // An alias that begins with `!` is a command: `sleep` stands for a host that never answers.
            let slow = GitCommand::new(directory.path(), &["-c".into(), "alias.slow=!exec sleep 60".into()]);
            let ended = slow.args(["slow"]).heeding(stop.clone()).run();
            assert!(matches!(ended, Err(GitError::Interrupted)));
            assert!(began.elapsed() < Duration::from_secs(10));
        });
    }

    #[test]
    fn a_run_that_takes_too_long_is_ended() {
        let directory = tempfile::tempdir().unwrap();
        let slow = GitCommand::new(directory.path(), &["-c".into(), "alias.slow=!exec sleep 60".into()]);
        let ended = slow.args(["slow"]).timeout(Duration::from_millis(50)).run();
        assert!(matches!(ended, Err(GitError::TimedOut { .. })));
    }

    #[test]
    fn no_helper_outlives_a_run_that_was_ended() {
        // Closed its output, as one that waits for the network; in a group it heeds nothing but KILL.
        check_helper_ends("(trap '' TERM; exec sleep 60 <&- >&- 2>&-)", true);
        if cfg!(target_os = "linux") {
            check_helper_ends("(exec sleep 60 <&- >&- 2>&-)", false);
        }
    }

    fn check_helper_ends(helper: &str, own_group: bool) {
        let directory = tempfile::tempdir().unwrap();
        let alias = format!("alias.slow=!{helper} & echo $! > helper; wait");
        let mut slow = GitCommand::new(directory.path(), &["-c".into(), alias.into()]);
        slow.own_group = own_group;
        let ended = slow.args(["slow"]).timeout(Duration::from_millis(500)).run();
        assert!(matches!(ended, Err(GitError::TimedOut { .. })));
        let helper = std::fs::read_to_string(directory.path().join("helper")).unwrap();
        let helper = Path::new("/proc").join(helper.trim());
        // Whoever inherits it may take a moment to reap it; a zombie runs no more.
        let state = || std::fs::read_to_string(helper.join("stat")).unwrap_or_else(|_| "Z".to_owned());
        let until = Instant::now() + Duration::from_secs(5);
        while !state().contains('Z') && Instant::now() < until {
            thread::sleep(Duration::from_millis(10));
        }
        assert!(state().contains('Z'), "own group: {own_group}: {}", state());
    }
}
