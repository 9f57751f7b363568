//! `planspec logs -f`: what a node prints while it runs, across its attempts.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::source::{LogSource, ended};
use crate::cli::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::repo_context::RepoContext;
use crate::cli::view::execution_files::{ExecutionFiles, bucket};
use crate::cli::view::log_window::{LogTimes, LogWindow};
use crate::model::{NodeId, NodePhase, NodeStatus, ResourceKey};
use crate::report::text;

/// How often a log that grows is read, and with it the status: of this repository, and of a remote.
const PAUSE: Duration = Duration::from_millis(200);
const REMOTE_PAUSE: Duration = Duration::from_secs(3);

/// How long a node may run before its missing log is worth a word: the file comes a moment after the record.
const PATIENCE: Duration = Duration::from_secs(2);

/// The most that is read of a log at once.
const CHUNK: u64 = 1 << 20;

/// Prints what comes until the node, or the attempt that was asked for, has ended and everything was read.
pub(super) fn follow(
    workspace: &RepoContext,
    (key, id): (&ResourceKey, &NodeId),
    wanted: Option<u32>,
    window: &LogWindow,
    context: &mut Context,
) -> Result<Exit, CliError> {
    let mut follower: Option<Follower> = None;
    let began = Instant::now();
    let mut said = None;
    loop {
        let tips = workspace.tips(context)?;
        // The record first, then the log: an end is recorded when the log is complete, so that nothing of it
        // can be missed.
        let record = workspace.status(&tips)?.get(&workspace.repo, key)?;
        let Some((record, node)) = record.and_then(|record| {
            let node = record.execution()?.node_statuses.get(id)?.clone();
            Some((record, node))
        }) else {
            return Err(CliError::no(format!("the record of {key} was removed")));
        };
        let last = wanted.unwrap_or(node.attempt);
        let follower = match &mut follower {
            Some(follower) => follower,
            first => {
                let log = LogSource::of(workspace, &record, id, &node, Some(last));
                first.insert(Follower {
                    attempt: last,
                    ..Follower::starting(&log.path, window, context.now())
                })
            }
        };
        loop {
            let log = LogSource::of(workspace, &record, id, &node, Some(follower.attempt));
            follower.print(&log.path, window, context)?;
            if follower.attempt >= last {
                if has_ended(&node, wanted) {
                    // There was nothing to follow on this machine.
                    if follower.at == 0 {
                        let bucket = bucket(&tips, context);
                        let files = ExecutionFiles::of(workspace, (&tips, bucket.as_ref()), &record);
                        print_end(&log, &files, (id, &node), window, context)?;
                    }
                    return Ok(Exit::Done);
                }
                // Silence would look like a command that hangs. Said again only when it has become something else.
                let silent = follower.at == 0 && !log.is_here();
                let now = silent.then(|| awaited((key, id), &node, last, began.elapsed())).flatten();
                if let Some(text) = now.as_ref().filter(|_| now != said) {
                    context.out.note(text::line(text))?;
                    said = now;
                }
                break;
            }
            // One by one, so that an attempt that began and ended between two polls is printed as well.
            *follower = Follower { attempt: follower.attempt.saturating_add(1), ..Follower::default() };
            context.out.note(format!("attempt {}", follower.attempt))?;
        }
        std::thread::sleep(if workspace.remote.is_some() { REMOTE_PAUSE } else { PAUSE });
    }
}

/// Prints the log of a node that has ended from wherever it is kept, or says that there is none.
fn print_end(
    log: &LogSource,
    files: &ExecutionFiles<'_>,
    (id, node): (&NodeId, &NodeStatus),
    window: &LogWindow,
    context: &mut Context,
) -> Result<(), CliError> {
    match log.read_anywhere(files, id, node)? {
        Some(content) => context.out.text(&ended(&content.part(window, node, context.now()))),
        None => context.out.note(text::line(&without_log(id, node))),
    }
}

/// Whether nothing more comes of the node, or of the attempt that was asked for.
fn has_ended(node: &NodeStatus, wanted: Option<u32>) -> bool {
    let passed =
        |wanted: u32| node.attempt > wanted || (node.attempt == wanted && node.phase == NodePhase::Pending);
    node.phase.is_terminal() || wanted.is_some_and(passed)
}

/// What is waited for while there is no log of this attempt.
fn awaited(
    (key, id): (&ResourceKey, &NodeId),
    node: &NodeStatus,
    attempt: u32,
    waited: Duration,
) -> Option<String> {
    let why = match node.message.as_str() {
        // Planning gives a reason only to what is blocked.
        "" => format!(" (`planspec explain {}/{id} -n {}` says what it waits for)", key.name, key.namespace),
        message => format!(": {message}"),
    };
    match node.phase {
        NodePhase::Running if attempt > node.attempt => {
            Some(format!("{id} runs in attempt {}; attempt {attempt} is shown when it runs", node.attempt))
        }
        NodePhase::Running if waited < PATIENCE => None,
        NodePhase::Running => Some(format!(
            "{id} runs, and its log is not on this machine so far; where another one runs it, what is recorded is \
             shown when it has ended"
        )),
        phase => Some(format!("{id} is {phase}{why}; what it prints is shown when it runs")),
    }
}

/// What is said of a node that has ended and has no log.
fn without_log(id: &NodeId, node: &NodeStatus) -> String {
    if node.attempt > 0 {
        return format!("no log of {id} on this machine, and none recorded");
    }
    let why = if node.message.is_empty() { String::new() } else { format!(": {}", node.message) };
    format!("{id} is {}, without an attempt that could have a log{why}", node.phase)
}

/// How far the log of an attempt was printed.
#[derive(Default)]
struct Follower {
    attempt: u32,
    at: u64,
    /// Whether what was printed last is a line without its end.
    begun: bool,
}

impl Follower {
    /// Where the part begins that was asked for of what is there already.
    fn starting(path: &Path, window: &LogWindow, now: Timestamp) -> Self {
        if window.is_whole() {
            return Self::default();
        }
        let log = std::fs::read(path).unwrap_or_default();
        let at = window.start(&log, &LogTimes::beside(path), None, now);
        Self { at: u64::try_from(at).unwrap_or(u64::MAX), ..Self::default() }
    }

    /// Prints what has come since.
    fn print(&mut self, path: &Path, window: &LogWindow, context: &mut Context) -> Result<(), CliError> {
        while let Some(chunk) = read_from(path, self.at)? {
            // After the chunk: the time of a line is noted when the line is in the log.
            let times = if window.timestamps { LogTimes::beside(path) } else { LogTimes::default() };
            let shown = window.show(&chunk, self.at, &times, None, self.begun);
            self.at += u64::try_from(chunk.len()).unwrap_or(0);
            self.begun = !chunk.ends_with(b"\n");
            context.out.text(&text::block(&shown))?;
            context.out.flush()?;
        }
        Ok(())
    }
}

/// The next piece of a file, up to its last line end where there is one, and never ending within a character; `None` when
/// there is nothing new.
fn read_from(path: &Path, at: u64) -> Result<Option<Vec<u8>>, CliError> {
    // There is none yet, or the attempt runs on another machine.
    let Ok(mut file) = File::open(path) else { return Ok(None) };
    let failed = |error: std::io::Error| CliError::caused(&format!("cannot read {}", path.display()), &error);
    file.seek(SeekFrom::Start(at)).map_err(failed)?;
    let mut chunk = Vec::new();
    file.take(CHUNK).read_to_end(&mut chunk).map_err(failed)?;
    if let Some(end) = chunk.iter().rposition(|byte| *byte == b'\n') {
        chunk.truncate(end + 1);
    } else if let Err(error) = std::str::from_utf8(&chunk)
        && error.error_len().is_none()
    {
        chunk.truncate(error.valid_up_to());
    }
    Ok((!chunk.is_empty()).then_some(chunk))
}
