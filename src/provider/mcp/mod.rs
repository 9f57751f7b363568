//! `mcp://SERVER/TOOL`: one call of a tool of a server of the Model Context Protocol, as `docs/providers/mcp.md`
//! describes it. Servers stand in the configuration, so a plan names them and brings none along.

mod answer;
mod server;
mod session;
mod stdio;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use self::server::Server;
use super::redact::Redactor;
use super::{Attempt, ConfigError, Control, Outcome, Provider, ProviderSettings, Report, Running};
use crate::model::{JsonMap, NodeReason};

const SCHEME: &str = "mcp://";

/// The provider.
pub(super) struct Mcp(Arc<Shared>);

/// What all calls have in common.
struct Shared {
    settings: ProviderSettings,
    redactor: Arc<Redactor>,
    /// `providers.mcp` of the configuration.
    servers: BTreeMap<String, JsonMap>,
}

impl Mcp {
    pub(super) fn new(settings: ProviderSettings) -> Self {
        let secrets = settings.secrets.values().map(|value| value.as_encoded_bytes());
        let redactor = Arc::new(Redactor::new(secrets));
        let servers = settings.mcp.clone();
        Self(Arc::new(Shared { settings, redactor, servers }))
    }
}

impl Shared {
    /// The server and the name of the tool.
    fn find(&self, provider: &str, config: &JsonMap) -> Result<(Server, String), ConfigError> {
        let wrong = |why: &'static str| ConfigError::Provider { provider: provider.to_owned(), why };
        let (name, tool) = provider
            .strip_prefix(SCHEME)
            .and_then(|rest| rest.split_once('/'))
            .filter(|(name, tool)| !name.is_empty() && !tool.is_empty())
            .ok_or_else(|| wrong("must be `mcp://SERVER/TOOL`"))?;
        super::check::Settings::new(config, &[])?;
        let settings = self.servers.get(name).ok_or_else(|| {
            wrong("names a server that is not configured: write `command` or `url` below `providers.mcp.SERVER` in .planspec.yaml")
        })?;
        Ok((Server::read(provider, settings)?, tool.to_owned()))
    }

    /// Nothing that leaves here holds a secret.
    fn clean(&self, outcome: Outcome) -> Outcome {
        outcome.cleaned(&self.redactor)
    }
}

impl Provider for Mcp {
    fn schemes(&self) -> &'static [&'static str] {
        &["mcp"]
    }

    fn check(&self, provider: &str, config: &JsonMap) -> Result<(), ConfigError> {
        self.0.find(provider, config).map(|_| ())
    }

    fn run(&self, attempt: Attempt, control: Control) -> Running {
        let shared = Arc::clone(&self.0);
        Box::pin(async move {
            let mut report = match shared.find(&attempt.provider, &attempt.config) {
                Err(error) => hopeless(error.to_string()).into(),
                Ok(_) if !attempt.criteria.is_empty() => {
                    hopeless("`mcp://` checks no acceptance criteria; put them on a task that comes after")
                        .into()
                }
                Ok((Server::Program(config), tool)) => {
                    stdio::call(Arc::clone(&shared), config, tool, attempt, control).await
                }
                Ok((Server::Address(address), tool)) => {
                    Report::from(session::over_http(&shared, &address, tool, &attempt, control).await)
                }
            };
            report.outcome = shared.clean(report.outcome);
            report
        })
    }
}

fn hopeless(message: impl Into<String>) -> Outcome {
    Outcome::hopeless(NodeReason::ProviderFailed, message)
}
