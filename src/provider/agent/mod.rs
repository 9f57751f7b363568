//! `agent://NAME`: an agent that gets the brief of its task, as `docs/providers/agent.md` describes it. Here is the
//! command form, a local process like that of `tool://`.

mod brief;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub(super) use self::brief::brief;
use super::process::Input;
use super::tool::{Job, LocalProcesses, ToolConfig};
use super::{Attempt, ConfigError, Control, Provider, Running};
use crate::model::JsonMap;

const SCHEME: &str = "agent://";

/// The provider.
pub(super) struct Agent {
    processes: LocalProcesses,
    /// `providers.agents` of the configuration.
    ready_made: BTreeMap<String, JsonMap>,
}

impl Agent {
    pub(super) fn new(processes: LocalProcesses, ready_made: BTreeMap<String, JsonMap>) -> Self {
        Self { processes, ready_made }
    }

    /// The settings of the Binding on top of those that the configuration has for the name.
    fn settings(&self, provider: &str, config: &JsonMap) -> JsonMap {
        let name = provider.strip_prefix(SCHEME).unwrap_or(provider);
        let mut settings = self.ready_made.get(name).cloned().unwrap_or_default();
        settings.extend(config.clone());
        settings
    }

    fn job(&self, attempt: &Attempt) -> Result<Job, ConfigError> {
        let (config, reads_brief) =
            split(&attempt.provider, self.settings(&attempt.provider, &attempt.config))?;
        let brief = brief(attempt);
        let input = if reads_brief { Input::Bytes(brief.clone().into_bytes()) } else { Input::Empty };
        let config = ToolConfig::read(&attempt.provider, &config)?;
        Ok(Job { config, input, brief: Some(brief), answer: None })
    }
}

/// Takes apart what an agent's command has beyond any other: whether it reads the brief on standard input.
fn split(provider: &str, mut settings: JsonMap) -> Result<(JsonMap, bool), ConfigError> {
    if !settings.contains_key("command") {
        return Err(ConfigError::Missing {
            provider: provider.to_owned(),
            key: "command",
            why: "the agent's command line; or write it once, as `command` below `providers.agents.NAME` in .planspec.yaml",
        });
    }
    let reads_brief = match settings.remove("stdin") {
        None => true,
        Some(value) if value == "brief" => true,
        Some(value) if value == "none" => false,
        Some(_) => {
            return Err(ConfigError::WrongType { key: "stdin".to_owned(), expected: "`brief` or `none`" });
        }
    };
    Ok((settings, reads_brief))
}

impl Provider for Agent {
    fn schemes(&self) -> &'static [&'static str] {
        &["agent"]
    }

    fn check(&self, provider: &str, config: &JsonMap) -> Result<(), ConfigError> {
        let (config, _) = split(provider, self.settings(provider, config))?;
        ToolConfig::check(provider, &config)
    }

    fn run(&self, attempt: Attempt, control: Control) -> Running {
        let job = self.job(&attempt);
        self.processes.run(attempt, job, control)
    }
}
