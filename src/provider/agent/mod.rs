//! `agent://NAME`: an agent that gets the brief of its task, as `docs/providers/agent.md` describes it. It is a command, a
//! local process like that of `tool://`, or an address that speaks A2A.

mod a2a;
mod brief;
#[cfg(test)]
mod tests;

use self::a2a::{Address, RemoteAgents};
pub(super) use self::brief::brief;
use super::local::{Job, LocalProcesses, ToolConfig};
use super::process::ProcessInput;
use super::{
    Attempt, AttemptFuture, CancelFuture, ConfigError, Control, Provider, ProviderContext, SectionError,
};
use crate::model::JsonMap;

const SCHEME: &str = "agent://";

/// Where the configuration has ready-made settings of agents, by name.
const SECTION: &str = "agents";

/// The provider.
pub(super) struct Agent {
    processes: LocalProcesses,
    remote: RemoteAgents,
    context: ProviderContext,
}

impl Agent {
    pub(super) fn new(processes: LocalProcesses, context: ProviderContext) -> Self {
        Self { processes, remote: RemoteAgents::new(context.clone()), context }
    }

    /// What `providers.agents` of the configuration says about the agent of a provider string.
    fn configured(&self, provider: &str) -> Option<&JsonMap> {
        let name = provider.strip_prefix(SCHEME).unwrap_or(provider);
        self.context.settings.section(SECTION, name)?.as_object()
    }

    /// The settings that the configuration has for the name, if they are those of an agent at an address.
    fn at_address(&self, provider: &str) -> Option<&JsonMap> {
        // The configuration alone decides whether a name is a command or an address: no Binding can turn one into the
        // other.
        self.configured(provider).filter(|settings| Address::is_in(settings))
    }

    fn address(&self, configured: &JsonMap, attempt: &Attempt) -> Result<Address, ConfigError> {
        Address::read(configured, &attempt.config, &self.context.settings)
    }

    /// The settings of the Binding on top of those that the configuration has for the name.
    fn settings(&self, provider: &str, config: &JsonMap) -> JsonMap {
        let mut settings = self.configured(provider).cloned().unwrap_or_default();
        settings.extend(config.clone());
        settings
    }

    /// Checks what the configuration has for a name.
    fn check_ready_made(&self, provider: &str, of_name: &JsonMap) -> Result<(), ConfigError> {
        if Address::is_in(of_name) {
            return Address::check(of_name, &JsonMap::new(), &self.context.settings);
        }
        let mut whole = of_name.clone();
        // A Binding may be what brings the command.
        whole.entry("command").or_insert_with(|| "agent".into());
        let (config, _) = split(provider, whole)?;
        ToolConfig::check(provider, &config)
    }

    fn job(&self, attempt: &Attempt) -> Result<Job, ConfigError> {
        let (config, reads_brief) =
            split(&attempt.provider, self.settings(&attempt.provider, &attempt.config))?;
        let config = ToolConfig::read(&attempt.provider, &config)?;
        let brief = brief(attempt, config.keeps_changes(), attempt.handle.as_deref());
        let input =
            if reads_brief { ProcessInput::Bytes(brief.clone().into_bytes()) } else { ProcessInput::Empty };
        Ok(Job { config, input, brief: Some(brief), answer: None })
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

impl Provider for Agent {
    fn schemes(&self) -> &'static [&'static str] {
        &["agent"]
    }

    fn check(&self, provider: &str, config: &JsonMap) -> Result<(), ConfigError> {
        if let Some(configured) = self.at_address(provider) {
            return Address::check(configured, config, &self.context.settings);
        }
        let (config, _) = split(provider, self.settings(provider, config))?;
        ToolConfig::check(provider, &config)
    }

    fn check_sections(&self) -> Vec<SectionError> {
        let settings = &self.context.settings;
        let wrong = |(name, of_name): (&String, &JsonMap)| {
            let error = self.check_ready_made(&format!("{SCHEME}{name}"), of_name).err()?;
            Some(SectionError::new(SECTION, name, &error))
        };
        settings.maps_of(SECTION).filter_map(wrong).collect()
    }

    fn run(&self, attempt: Attempt, control: Control) -> AttemptFuture {
        if let Some(configured) = self.at_address(&attempt.provider) {
            let address = self.address(configured, &attempt);
            return self.remote.run(attempt, address, control);
        }
        let job = self.job(&attempt);
        self.processes.run_job(attempt, job, control)
    }

    fn poll(&self, attempt: Attempt, control: Control) -> AttemptFuture {
        match self.at_address(&attempt.provider) {
            Some(configured) => {
                let address = self.address(configured, &attempt);
                self.remote.poll(attempt, address, control)
            }
            None => self.run(attempt, control),
        }
    }

    fn cancel_remote(&self, attempt: Attempt) -> CancelFuture {
        match self.at_address(&attempt.provider) {
            Some(configured) => {
                let address = self.address(configured, &attempt);
                self.remote.call_off(attempt, address)
            }
            None => Box::pin(std::future::ready(Ok(()))),
        }
    }
}
