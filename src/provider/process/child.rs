//! One local process in a group of its own: input from memory, output streamed to a sink, ended at a deadline or
//! on request with TERM, a grace period and KILL; whatever it leaves behind in its group is killed.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, PipeReader, Read as _, Seek as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid};

use super::groups::{forget, group_of, start};
use super::interrupt::Interrupt;
use super::socket_filter::sealed_filter;
use crate::provider::Stop;

/// How long output is waited for after the process has ended and its group was killed: only a process
/// that left the group can still hold the pipe open.
const DRAIN: Duration = Duration::from_millis(200);

/// How long a killed process may take to vanish before it is left alone.
// A process in an uninterruptible wait, as on a network file system that is gone, does not react to KILL.
const ABANDON: Duration = Duration::from_secs(10);

/// How often a process is asked about where the system has no descriptor that becomes readable at its end.
const SLICE: Duration = Duration::from_millis(5);

/// How many bytes are read at once.
const READ: usize = 64 * 1024;

/// What to run.
#[derive(Debug, Clone)]
pub(in crate::provider) struct ChildCommand {
    /// The executable file, as an absolute path.
    pub(in crate::provider) path: PathBuf,
    /// Its arguments, without its name.
    pub(in crate::provider) args: Vec<OsString>,
    /// Its whole environment.
    pub(in crate::provider) environment: BTreeMap<OsString, OsString>,
    /// Its working directory.
    pub(in crate::provider) directory: PathBuf,
    /// From TERM to KILL.
    pub(in crate::provider) grace: Duration,
    /// What it finds on its standard input.
    pub(in crate::provider) input: ProcessInput,
    /// Whether standard output is kept apart from standard error.
    pub(in crate::provider) split: bool,
    /// The filter of system calls that `bwrap`, which the program then is, puts around what it starts.
    pub(in crate::provider) filter: Option<Arc<[u8]>>,
}

/// What a process finds on its standard input.
#[derive(Debug, Clone, Default)]
pub(in crate::provider) enum ProcessInput {
    /// Nothing.
    #[default]
    Empty,
    /// A text.
    Bytes(Vec<u8>),
    /// What somebody writes into a pipe meanwhile.
    Pipe(Arc<OwnedFd>),
}

/// Where a piece of output comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::provider) enum OutputStream {
    /// Standard error, and standard output unless they are kept apart.
    Log,
    /// Standard output, kept apart.
    Answer,
}

/// Takes what a process writes.
pub(in crate::provider) type OutputSink<'a> = dyn FnMut(OutputStream, &[u8]) + 'a;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::provider) enum ProcessEnd {
    /// By itself.
    Exited(ExitStatus),
    /// At the deadline.
    TimedOut,
    /// On request.
    Stopped(Stop),
}

/// Why there is no end of a process to tell of.
#[derive(Debug)]
pub(in crate::provider) enum RunError {
    /// The system did not give what every process needs: a pipe, a file for its input, its directory.
    Setup(io::Error),
    /// The program itself cannot be started.
    Program(io::Error),
    /// It ran, and the system does not tell how it ended.
    Wait(io::Error),
}

/// Runs a program to its end. Blocks; `sink` gets standard output and error in the order of writing, or, where they
/// are kept apart, each in its own order.
///
/// # Errors
/// When the program cannot be started.
pub(in crate::provider) fn run(
    program: &ChildCommand,
    deadline: Option<Instant>,
    interrupt: &Interrupt,
    sink: &mut OutputSink<'_>,
) -> Result<ProcessEnd, RunError> {
    let filter = program.filter.as_deref().map(sealed_filter).transpose().map_err(RunError::Setup)?;
    let (mut command, pipes) = assemble(program, filter.as_ref()).map_err(RunError::Setup)?;
    let child = start(&mut command, filter.as_ref()).map_err(|error| match program.directory.is_dir() {
        true => RunError::Program(name_interpreter(&program.path, error)),
        // Somebody cleared the cache; the system's "no such file" does not mean the program.
        false => RunError::Setup(error),
    })?;
    // The command holds the writing ends; as long as it lives, the pipe does not end.
    drop(command);
    let mut watch = WatchedProcess::new(child, pipes, program.grace, interrupt);
    watch.follow(deadline, sink);
    watch.finish(sink).map_err(RunError::Wait)
}

/// The command, and the reading ends of its pipes.
fn assemble(
    program: &ChildCommand,
    filter: Option<&OwnedFd>,
) -> io::Result<(Command, [Option<PipeReader>; 2])> {
    // One pipe for both streams keeps the order of writing, which is lost between two.
    let (output, writer) = io::pipe()?;
    let (answer, answers) = if program.split {
        let (reader, writer) = io::pipe()?;
        (Some(reader), writer)
    } else {
        (None, writer.try_clone()?)
    };
    let mut command = Command::new(&program.path);
    if let Some(filter) = filter {
        command.args(["--seccomp", &filter.as_raw_fd().to_string()]);
    }
    command
        .args(&program.args)
        // The runner's environment holds the token of the Git host; a command gets only what the configuration names.
        .env_clear()
        .envs(&program.environment)
        .current_dir(&program.directory)
        // A group of its own: TERM and KILL reach whatever the command starts, and Ctrl-C on a terminal reaches the
        // runner alone, which ends its processes in order.
        .process_group(0)
        .stdin(input(&program.input)?)
        .stdout(answers)
        .stderr(writer);
    Ok((command, [Some(output), answer]))
}

/// A file without a name, not a pipe: nobody has to write while the process reads.
fn input(input: &ProcessInput) -> io::Result<Stdio> {
    let bytes = match input {
        ProcessInput::Empty => return Ok(Stdio::null()),
        ProcessInput::Pipe(end) => return Ok(end.try_clone()?.into()),
        ProcessInput::Bytes(bytes) => bytes,
    };
    let mut file: File = tempfile::tempfile()?;
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file.into())
}

/// A process that is being watched.
struct WatchedProcess<'a> {
    child: Child,
    group: Option<Pid>,
    /// Readable once the process has ended, where the system has that.
    exit: Option<OwnedFd>,
    /// What is not at its end: the log, and the answer if it is kept apart.
    output: [Option<PipeReader>; 2],
    grace: Duration,
    interrupt: &'a Interrupt,
    /// Why it was asked to end, once it was.
    told: Option<ProcessEnd>,
    /// When the next signal is due, or the wait is given up.
    next_step: Option<Instant>,
    killed: bool,
    exited: bool,
    buffer: Vec<u8>,
}

impl<'a> WatchedProcess<'a> {
    fn new(child: Child, output: [Option<PipeReader>; 2], grace: Duration, interrupt: &'a Interrupt) -> Self {
        let group = group_of(&child);
        Self {
            exit: group.and_then(exit_descriptor),
            child,
            group,
            output,
            grace,
            interrupt,
            told: None,
            next_step: None,
            killed: false,
            exited: false,
            buffer: Vec::new(),
        }
    }

    /// Follows the process until it has ended, or until it was asked to and did not.
    fn follow(&mut self, deadline: Option<Instant>, sink: &mut OutputSink<'_>) {
        loop {
            let now = Instant::now();
            if self.told.is_none() {
                // A request to stop counts more than a deadline that is reached at the same moment: such an attempt was
                // ended and did not fail.
                let stop = self.interrupt.heard().map(ProcessEnd::Stopped);
                self.told = stop.or_else(|| deadline.filter(|at| *at <= now).map(|_| ProcessEnd::TimedOut));
                if self.told.is_some() && !self.exited {
                    self.signal(Signal::TERM);
                    self.next_step = now.checked_add(self.grace);
                }
            } else if self.next_step.is_some_and(|at| at <= now) {
                if self.killed {
                    return;
                }
                self.signal(Signal::KILL);
                self.killed = true;
                self.next_step = now.checked_add(ABANDON);
            }
            // Those that the process leaves behind have the rest of the grace period, too.
            let waits_for_others =
                self.told.is_some() && !self.killed && self.output.iter().any(Option::is_some);
            if self.exited && !waits_for_others {
                return;
            }
            let until = if self.told.is_some() { self.next_step } else { deadline };
            self.wait(until.map(|at| at.saturating_duration_since(now)), sink);
        }
    }

    /// Waits for output, for the end of the process or for a request, and takes what is there.
    fn wait(&mut self, timeout: Option<Duration>, sink: &mut OutputSink<'_>) {
        let slice = self.exit.is_none().then_some(SLICE);
        // Once it was told to end, nothing more is asked.
        let patience = self.interrupt.patience().filter(|_| self.told.is_none());
        let timeout = [timeout, slice, patience].into_iter().flatten().min();
        let exit = self.exit.as_ref().filter(|_| !self.exited);
        let request = self.interrupt.waitable().filter(|_| self.told.is_none());
        let [log, answer] = self.pipes();
        let [has_log, has_answer, has_exit, _] =
            ready([log, answer, exit.map(|fd| fd.as_fd()), request], timeout);
        self.read([has_log, has_answer], sink);
        if !self.exited {
            // A descriptor that is readable says it all.
            self.exited = if self.exit.is_some() { has_exit } else { self.has_exited() };
        }
    }

    fn pipes(&self) -> [Option<BorrowedFd<'_>>; 2] {
        self.output.each_ref().map(|pipe| pipe.as_ref().map(|pipe| pipe.as_fd()))
    }

    /// Takes one read of the output that is known to be ready.
    fn read(&mut self, ready: [bool; 2], sink: &mut OutputSink<'_>) {
        // Not filled with zeros first: most processes print nothing, and 64 KiB of them would be for their end alone.
        self.buffer.reserve(READ);
        let sources = [OutputStream::Log, OutputStream::Answer];
        for ((slot, source), _) in
            self.output.iter_mut().zip(sources).zip(ready).filter(|(_, has_output)| *has_output)
        {
            let Some(pipe) = slot else { continue };
            match rustix::io::read(&*pipe, spare_capacity(&mut self.buffer)) {
                Ok(0) => *slot = None,
                Ok(_) => sink(source, &self.buffer),
                Err(Errno::INTR) => {}
                Err(_) => *slot = None,
            }
            self.buffer.clear();
        }
    }

    /// Whether the process has ended; it stays unreaped, so that its id still names its group.
    fn has_exited(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        self.group.is_none_or(|pid| !matches!(waitid(WaitId::Pid(pid), options), Ok(None)))
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.group {
            // Errors mean that there is nobody left.
            let _ = kill_process_group(pid, signal);
            // The process may have moved to another group; then only its own id reaches it, as long as it is there.
            if !self.exited {
                let _ = kill_process(pid, signal);
            }
        }
    }

    /// Kills what is left of the group, reaps the process and takes the last output.
    fn finish(mut self, sink: &mut OutputSink<'_>) -> io::Result<ProcessEnd> {
        self.signal(Signal::KILL);
        // Before it is reaped: from then on its id may be somebody else's.
        if let Some(group) = self.group {
            forget(group);
        }
        let end = if self.exited {
            // A process that answers TERM with exit code 0 was ended all the same: the reason counts more than the
            // status.
            let status = self.child.wait()?;
            self.told.unwrap_or(ProcessEnd::Exited(status))
        } else {
            // The system does not let go of it; a zombie is the lesser evil than a runner that hangs.
            let _ = self.child.try_wait();
            self.told.unwrap_or(ProcessEnd::TimedOut)
        };
        let until = Instant::now() + DRAIN;
        while self.output.iter().any(Option::is_some) {
            let left = until.saturating_duration_since(Instant::now());
            let has_output = ready(self.pipes(), Some(left));
            if has_output == [false; 2] || left.is_zero() {
                break;
            }
            self.read(has_output, sink);
        }
        Ok(end)
    }
}

/// Waits until one of the descriptors is ready; says which are. Spurious returns are possible.
fn ready<const N: usize>(fds: [Option<BorrowedFd<'_>>; N], timeout: Option<Duration>) -> [bool; N] {
    let mut polled: Vec<PollFd<'_>> =
        fds.iter().flatten().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
    let timeout = timeout.and_then(|span| Timespec::try_from(span).ok());
    if poll(&mut polled, timeout.as_ref()).is_err() {
        return [false; N];
    }
    let mut results = polled.iter().map(|fd| !fd.revents().is_empty());
    fds.map(|fd| fd.is_some() && results.next().unwrap_or(false))
}

#[cfg(target_os = "linux")]
fn exit_descriptor(pid: Pid) -> Option<OwnedFd> {
    // Linux has it since 5.3. An older kernel gives none, and then the process is asked about every `SLICE`.
    rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok()
}

#[cfg(not(target_os = "linux"))]
fn exit_descriptor(_pid: Pid) -> Option<OwnedFd> {
    None
}
/// Says what is missing when a file that is there cannot be started. The system answers "no such file" for the interpreter that
/// its first line names in the same words as for the file itself, and a line end of Windows is a part of that name.
pub(super) fn name_interpreter(path: &Path, error: io::Error) -> io::Error {
    if error.kind() != io::ErrorKind::NotFound {
        return error;
    }
    let mut start = Vec::new();
    // Linux reads as much of the first line.
    if File::open(path).and_then(|file| file.take(256).read_to_end(&mut start)).is_err() {
        return error;
    }
    let Some(line) = start.strip_prefix(b"#!").and_then(|rest| rest.split(|byte| *byte == b'\n').next())
    else {
        return error;
    };
    let line = String::from_utf8_lossy(line);
    let name = line.trim_start().split([' ', '\t']).next().unwrap_or_default();
    let why = match name.strip_suffix('\r') {
        Some(name) => format!(
            "its first line ends as on Windows, so the system looks for an interpreter `{name}\\r`; save the file with LF \
             line ends"
        ),
        // It is there, so that something else is not.
        None if Path::new(name).exists() => return error,
        None => format!("its interpreter `{name}`, which its first line names, is not there"),
    };
    io::Error::new(io::ErrorKind::NotFound, why)
}
