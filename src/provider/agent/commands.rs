//! Agents that are commands: their settings, and the jobs of those who do work and of those who verify it.

use globset::GlobSet;

use super::a2a::Address;
use super::brief::{brief, verification};
use crate::model::JsonMap;
use crate::provider::local::{DoneWork, Job, ToolConfig, Verifiers};
use crate::provider::process::ProcessInput;
use crate::provider::settings::is_allowed;
use crate::provider::{Attempt, ConfigError, ProviderContext, ProviderSettings};

/// How the provider string of an agent begins.
pub(super) const SCHEME: &str = "agent://";

/// Where the configuration has ready-made settings of agents, by name.
pub(super) const SECTION: &str = "agents";

/// What `providers.agents` of the configuration says about the agent of a provider string.
pub(super) fn configured<'s>(settings: &'s ProviderSettings, provider: &str) -> Option<&'s JsonMap> {
    let name = provider.strip_prefix(SCHEME).unwrap_or(provider);
    settings.section(SECTION, name)?.as_object()
}

/// Knows the commands of agents.
pub(in crate::provider) struct AgentCommands {
    context: ProviderContext,
    /// Who may be used at all; everybody when absent.
    allow: Option<GlobSet>,
}

impl AgentCommands {
    /// Those that the configuration has; `allow` is its allow-list.
    pub(in crate::provider) fn new(context: ProviderContext, allow: Option<GlobSet>) -> Self {
        Self { context, allow }
    }

    /// The settings of the Binding on top of those that the configuration has for the name.
    fn merged(&self, provider: &str, config: &JsonMap) -> JsonMap {
        let mut settings = configured(&self.context.settings, provider).cloned().unwrap_or_default();
        settings.extend(config.clone());
        settings
    }

    /// The settings of the command.
    pub(super) fn settings(&self, provider: &str, config: &JsonMap) -> Result<JsonMap, ConfigError> {
        Self::split(provider, self.merged(provider, config))
    }

    /// The settings of the command, without those that only agents have.
    pub(super) fn split(provider: &str, settings: JsonMap) -> Result<JsonMap, ConfigError> {
        split(provider, settings).map(|(config, _)| config)
    }

    /// The job of an attempt at the work.
    pub(super) fn work(&self, attempt: &Attempt) -> Result<Job, ConfigError> {
        let job = self.without_brief(attempt)?;
        let brief = brief(attempt, job.config.keeps_changes(), attempt.handle.as_deref());
        Ok(job.with_brief(brief))
    }

    /// The command of an agent, which is still to be told what to do.
    fn without_brief(&self, attempt: &Attempt) -> Result<Job, ConfigError> {
        let (config, reads_brief) =
            split(&attempt.provider, self.merged(&attempt.provider, &attempt.config))?;
        let config = ToolConfig::read(&attempt.provider, &config)?;
        let input = if reads_brief { ProcessInput::Bytes(Vec::new()) } else { ProcessInput::Empty };
        // Empty and not absent: criteria, too, find the file of the brief by its variable.
        Ok(Job { config, input, brief: Some(String::new()), answer: None, is_question: false })
    }
}

impl Verifiers for AgentCommands {
    fn check(&self, provider: &str, config: &JsonMap) -> Result<(), ConfigError> {
        let refused = |why| Err(ConfigError::Provider { provider: provider.to_owned(), why });
        let is_agent = provider.starts_with(SCHEME);
        if provider.trim().is_empty()
            || !is_agent && provider.contains("://") && !provider.starts_with("tool://")
        {
            return refused(
                "does not run on this machine; use `tool://…` or `agent://…` with a command, or a Task of its own behind this one",
            );
        }
        if !is_allowed(self.allow.as_ref(), provider) {
            return refused("is not in the allow-list `providers.allow` of .planspec.yaml");
        }
        if !is_agent {
            return ToolConfig::check(provider, config, self.context.settings.sandbox.as_ref()).map(drop);
        }
        if configured(&self.context.settings, provider).is_some_and(Address::is_in) {
            return refused(
                "is an agent at an address, which cannot see the files; let a Task of its own judge the work",
            );
        }
        let config = self.settings(provider, config)?;
        ToolConfig::check(provider, &config, self.context.settings.sandbox.as_ref()).map(drop)
    }

    fn job(&self, attempt: &Attempt) -> Result<Job, ConfigError> {
        if self.has_to_say(&attempt.provider) {
            return self.without_brief(attempt);
        }
        ToolConfig::read(&attempt.provider, &attempt.config).map(Job::command)
    }

    fn brief(&self, attempt: &Attempt, done: &DoneWork<'_>) -> Option<String> {
        self.has_to_say(&attempt.provider).then(|| verification(attempt, done))
    }

    fn has_to_say(&self, provider: &str) -> bool {
        provider.starts_with(SCHEME)
    }
}

/// Takes apart what an agent's command has beyond any other: whether it reads the brief on standard input.
fn split(provider: &str, mut settings: JsonMap) -> Result<(JsonMap, bool), ConfigError> {
    // A Binding that could name an address could send the secrets anywhere.
    if let Some(key) = ["url", "card"].into_iter().find(|key| settings.contains_key(*key)) {
        let why = "is allowed only in `providers.agents` of .planspec.yaml".to_owned();
        return Err(ConfigError::Invalid { key: key.to_owned(), why });
    }
    if !settings.contains_key("command") {
        return Err(ConfigError::Missing {
            provider: provider.to_owned(),
            key: "command",
            why: "the agent's command line; or write it once, as `command` below `providers.agents.NAME` in .planspec.yaml, or `url` there for an agent that speaks A2A",
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
