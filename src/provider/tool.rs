//! `tool://NAME`, or a plain word: a local process, as `docs/providers/tool.md` describes it.

use super::local::{Job, LocalProcesses, ToolConfig};
use super::{Attempt, AttemptFuture, ConfigError, Control, Provider};
use crate::model::JsonMap;

/// The provider.
pub(super) struct Tool(LocalProcesses);

impl Tool {
    pub(super) fn new(processes: LocalProcesses) -> Self {
        Self(processes)
    }
}

impl Provider for Tool {
    fn schemes(&self) -> &'static [&'static str] {
        &["tool", ""]
    }

    fn check(&self, provider: &str, config: &JsonMap) -> Result<(), ConfigError> {
        ToolConfig::check(provider, config)
    }

    fn run(&self, attempt: Attempt, control: Control) -> AttemptFuture {
        let job = ToolConfig::read(&attempt.provider, &attempt.config).map(Job::command);
        self.0.run(attempt, job, control)
    }
}
