//! `agent://NAME`: an agent that gets the brief of its task, as `docs/providers/agent.md` describes it. It is a command, a
//! local process like that of `tool://`, or an address that speaks A2A.

mod a2a;
mod brief;
mod commands;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use self::a2a::{Address, RemoteAgents};
pub(super) use self::brief::brief;
pub(super) use self::commands::AgentCommands;
use self::commands::{SCHEME, SECTION, configured};
use super::local::LocalProcesses;
use super::{
    Attempt, AttemptFuture, CancelFuture, ChangeRules, ConfigError, Control, Provider, ProviderContext,
    SectionError,
};
use crate::model::JsonMap;

/// The provider.
pub(super) struct Agent {
    processes: LocalProcesses,
    commands: Arc<AgentCommands>,
    remote: RemoteAgents,
    context: ProviderContext,
}

impl Agent {
    pub(super) fn new(
        processes: LocalProcesses,
        commands: Arc<AgentCommands>,
        context: ProviderContext,
    ) -> Self {
        Self { processes, commands, remote: RemoteAgents::new(context.clone()), context }
    }

    /// The settings that the configuration has for the name, if they are those of an agent at an address.
    fn at_address(&self, provider: &str) -> Option<&JsonMap> {
        // The configuration alone decides whether a name is a command or an address: no Binding can turn one into the
        // other.
        configured(&self.context.settings, provider).filter(|settings| Address::is_in(settings))
    }

    fn address(&self, configured: &JsonMap, attempt: &Attempt) -> Result<Address, ConfigError> {
        Address::read(configured, &attempt.config, &self.context.settings)
    }

    /// Checks what the configuration has for a name.
    fn check_ready_made(&self, provider: &str, of_name: &JsonMap) -> Result<(), ConfigError> {
        if Address::is_in(of_name) {
            return Address::check(of_name, &JsonMap::new(), &self.context.settings);
        }
        let mut whole = of_name.clone();
        // A Binding may be what brings the command.
        whole.entry("command").or_insert_with(|| "agent".into());
        self.processes.check_command(provider, &AgentCommands::split(provider, whole)?)
    }
}

impl Provider for Agent {
    fn schemes(&self) -> &'static [&'static str] {
        &["agent"]
    }

    fn check(&self, provider: &str, config: &JsonMap) -> Result<(), ConfigError> {
        if let Some(configured) = self.at_address(provider) {
            return Address::check(configured, config, &self.context.settings);
        }
        self.processes.check_command(provider, &self.commands.settings(provider, config)?)
    }

    fn check_sections(&self) -> Vec<SectionError> {
        let settings = &self.context.settings;
        let wrong = |(name, of_name): (&String, &JsonMap)| {
            let error = self.check_ready_made(&format!("{SCHEME}{name}"), of_name).err()?;
            Some(SectionError::new(SECTION, name, &error))
        };
        settings.maps_of(SECTION).filter_map(wrong).collect()
    }

    fn starts_process(&self, provider: &str) -> bool {
        self.at_address(provider).is_none()
    }

    fn blocks(&self, provider: &str) -> bool {
        self.starts_process(provider)
    }

    fn change_rules(&self, attempt: &Attempt) -> Result<ChangeRules, ConfigError> {
        self.commands.work(attempt).map(|job| self.processes.rules_of(&job.config))
    }

    fn run(&self, attempt: Attempt, control: Control) -> AttemptFuture {
        if let Some(configured) = self.at_address(&attempt.provider) {
            let address = self.address(configured, &attempt);
            return self.remote.run(attempt, address, control);
        }
        let job = self.commands.work(&attempt);
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
                self.remote.cancel(attempt, address)
            }
            None => Box::pin(std::future::ready(Ok(()))),
        }
    }
}
