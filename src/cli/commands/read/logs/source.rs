//! Where the log of an attempt is: a file of this machine, the store, or the record.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::cli::error::CliError;
use crate::cli::repo_context::RepoContext;
use crate::cli::view::execution_files::ExecutionFiles;
use crate::cli::view::log_window::{LogTimes, LogWindow};
use crate::model::{NodeId, NodeStatus, StatusRecord};
use crate::report::text;

/// Where the log of an attempt is, and what is recorded of it.
pub(super) struct LogSource {
    pub(super) path: PathBuf,
    attempt: u32,
    tail: Option<String>,
}

impl LogSource {
    pub(super) fn of(
        workspace: &RepoContext,
        record: &StatusRecord,
        id: &NodeId,
        node: &NodeStatus,
        attempt: Option<u32>,
    ) -> Self {
        let number = attempt.unwrap_or(node.attempt);
        // A record keeps the tail of the last attempt only.
        let recorded = node.extensions.log.as_ref().filter(|_| number == node.attempt);
        let runs = workspace.repo.cache_dir().join("runs");
        // The uid comes from a file that anyone may have written; only a plain word may name a directory.
        let uid: String =
            record.metadata.uid.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
        let folder = runs.join(uid).join(id.as_str());
        let current = (number == node.attempt).then(|| folder.join(node.attempt_id()));
        let run = current.filter(|run| run.exists()).or_else(|| run_of(&folder, number));
        let path = run.unwrap_or_else(|| folder.join(number.to_string())).join("log");
        Self { path, attempt: number, tail: recorded.map(|log| log.tail.clone()) }
    }

    /// Whether there is a file on this machine.
    pub(super) fn is_here(&self) -> bool {
        self.path.exists()
    }

    pub(super) fn read_anywhere(
        &self,
        files: &ExecutionFiles<'_>,
        id: &NodeId,
        node: &NodeStatus,
    ) -> Result<Option<LogContent>, CliError> {
        match std::fs::read(&self.path) {
            Ok(bytes) => Ok(Some(LogContent { bytes, times: LogTimes::beside(&self.path) })),
            // Another machine ran it, or the cache is gone (Invariant 1): what was stored, or the recorded tail, is left.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let stored = files.log(id, node, self.attempt)?;
                let stored = stored.map(|bytes| LogContent { bytes, times: LogTimes::default() });
                Ok(stored.or_else(|| self.recorded()))
            }
            Err(error) => Err(CliError::caused(&format!("cannot read {}", self.path.display()), &error)),
        }
    }
}

impl LogSource {
    fn recorded(&self) -> Option<LogContent> {
        let bytes = self.tail.clone()?.into_bytes();
        Some(LogContent { bytes, times: LogTimes::default() })
    }
}

/// A log that was read.
pub(super) struct LogContent {
    bytes: Vec<u8>,
    times: LogTimes,
}

impl LogContent {
    /// The part that was asked for.
    pub(super) fn part(&self, window: &LogWindow, node: &NodeStatus, now: Timestamp) -> String {
        // Of a log of another machine only the end of the node is known.
        let otherwise = node.completion_time;
        let start = window.start(&self.bytes, &self.times, otherwise, now);
        let piece = self.bytes.get(start..).unwrap_or_default();
        window.show(piece, u64::try_from(start).unwrap_or(u64::MAX), &self.times, otherwise, false)
    }
}

/// The newest run of an attempt below the folder of its node: `<lease token>.<n>`. A summary of what has ended keeps no
/// tokens, and attempts before the last one have none in the record.
fn run_of(folder: &Path, number: u32) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?.flatten();
    let runs = entries.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let (token, attempt) = name.split_once('.').unwrap_or(("0", &name));
        let run = (token.parse::<u64>().ok()?, entry.path());
        (attempt.parse() == Ok(number)).then_some(run)
    });
    runs.max().map(|(_, path)| path)
}

/// A log made safe, with a line end at its end.
pub(super) fn ended(content: &str) -> String {
    let mut safe = text::block(content).into_owned();
    if !safe.is_empty() && !safe.ends_with('\n') {
        safe.push('\n');
    }
    safe
}
