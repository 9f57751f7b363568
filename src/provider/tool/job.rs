//! What a local process is asked to do: the settings of a command, and how one talks with it.

use super::config::ToolConfig;
use crate::model::JsonMap;
use crate::provider::process::ProcessInput;
use crate::provider::{Attempt, AttemptOutcome};

/// Makes the outputs, or another end, out of what a process wrote to its standard output.
pub(in crate::provider) type ReadAnswer = fn(&[u8], &Attempt) -> Result<JsonMap, AttemptOutcome>;

/// What a local process is asked to do.
pub(in crate::provider) struct Job {
    /// The command.
    pub(in crate::provider) config: ToolConfig,
    /// What it finds on its standard input.
    pub(in crate::provider) input: ProcessInput,
    /// What the work is about, as a file.
    pub(in crate::provider) brief: Option<String>,
    /// Takes the answer on standard output; without it, that is part of the log, and outputs come in a file.
    pub(in crate::provider) answer: Option<ReadAnswer>,
}

impl Job {
    /// A command that gets nothing and gives its outputs in a file.
    pub(in crate::provider) fn command(config: ToolConfig) -> Self {
        Self { config, input: ProcessInput::Empty, brief: None, answer: None }
    }
}
