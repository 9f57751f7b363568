//! `mcp://SERVER/TOOL`: one call of a tool of a server of the Model Context Protocol, as `docs/providers/mcp.md`
//! describes it. Servers appear in the configuration, so a plan names them and brings none along.

mod answer;
mod error;
#[cfg(test)]
mod http_tests;
mod server;
mod session;
mod stdio;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Instant;

use self::server::Server;
use super::criteria::check_there;
use super::output::AttemptLog;
use super::{
    Attempt, AttemptFuture, AttemptOutcome, AttemptReport, ConfigError, Control, Provider, ProviderContext,
    SectionError, check_criteria,
};
use crate::model::{JsonMap, NodeReason};

const SCHEME: &str = "mcp://";

/// Where the configuration has the servers, by name.
const SECTION: &str = "mcp";

/// What a session came to: what the server said of the call, be it that it failed, or else what kept it from saying so.
type SessionResult = Result<AttemptOutcome, AttemptOutcome>;

/// The provider.
#[derive(Clone)]
pub(super) struct Mcp(ProviderContext);

impl Mcp {
    pub(super) fn new(context: ProviderContext) -> Self {
        Self(context)
    }

    /// The server and the name of the tool.
    fn find(&self, provider: &str, config: &JsonMap) -> Result<(Server, String), ConfigError> {
        let wrong = |why: &'static str| ConfigError::Provider { provider: provider.to_owned(), why };
        let (name, tool) = provider
            .strip_prefix(SCHEME)
            .and_then(|rest| rest.split_once('/'))
            .filter(|(name, tool)| !name.is_empty() && !tool.is_empty())
            .ok_or_else(|| wrong("must be `mcp://SERVER/TOOL`"))?;
        // A Binding has no settings at all: by them a plan could bring its own server along.
        super::settings::Settings::new(config, &[])?;
        let settings = self.0.settings.section(SECTION, name).and_then(|of_name| of_name.as_object()).ok_or_else(|| {
            wrong("names a server that is not configured: write `command` or `url` below `providers.mcp.SERVER` in .planspec.yaml")
        })?;
        Ok((Server::read(provider, settings, &self.0.settings)?, tool.to_owned()))
    }
}

impl Provider for Mcp {
    fn schemes(&self) -> &'static [&'static str] {
        &["mcp"]
    }

    fn check(&self, provider: &str, config: &JsonMap) -> Result<(), ConfigError> {
        self.find(provider, config).map(|_| ())
    }

    fn check_sections(&self) -> Vec<SectionError> {
        let settings = &self.0.settings;
        let wrong = |(name, of_name): (&String, &JsonMap)| {
            let error = Server::read(&format!("{SCHEME}{name}"), of_name, settings).err()?;
            Some(SectionError::new(SECTION, name, &error))
        };
        settings.maps_of(SECTION).filter_map(wrong).collect()
    }

    fn starts_process(&self, provider: &str) -> bool {
        // One that is not known is refused before anything is started.
        matches!(self.find(provider, &JsonMap::new()), Ok((Server::Program(_), _)))
    }

    fn run(&self, attempt: Attempt, control: Control) -> AttemptFuture {
        let mcp = self.clone();
        Box::pin(async move { run(&mcp, attempt, control).await })
    }
}

async fn run(mcp: &Mcp, attempt: Attempt, control: Control) -> AttemptReport {
    let shared = &mcp.0;
    let found = mcp.find(&attempt.provider, &attempt.config).and_then(|found| {
        check_criteria(&attempt.criteria)?;
        Ok(found)
    });
    let (server, tool) = match found {
        Ok(found) => found,
        Err(error) => return permanent(error.to_string()).into(),
    };
    let Control { mut stop, output, .. } = control;
    let log = AttemptLog::new(attempt.run_dir.join("log"), Arc::clone(&shared.redactor), output);
    let began = Instant::now();
    let (report, log, place) = match server {
        Server::Program(config) => stdio::call(shared, *config, tool, &attempt, &mut stop, log).await,
        Server::Address(address) => {
            let outcome = session::over_http(shared, &address, tool, &attempt, &mut stop).await;
            (AttemptReport::from(outcome), Some(log), None)
        }
    };
    let mut report = AttemptReport { outcome: report.outcome.cleaned(&shared.redactor), ..report };
    match log {
        Some(log) if matches!(report.outcome, AttemptOutcome::Succeeded { .. }) => {
            check_there(shared, &attempt, (began, place), &mut report, &mut stop, log).await;
        }
        Some(log) => report.evidence.log = log.finish(),
        None => {}
    }
    report
}

fn permanent(message: impl Into<String>) -> AttemptOutcome {
    AttemptOutcome::permanent(NodeReason::ProviderFailed, message)
}
