//! Recording a decision of somebody whom the host vouches for.

use std::sync::Arc;

use super::authorise::Permit;
use crate::cli::Context;
use crate::cli::drive::runner_name;
use crate::cli::error::CliError;
use crate::cli::workspace::Workspace;
use crate::config::Config;
use crate::engine::{Clock, Decider, Decision, Site, SystemClock, decide};
use crate::index::Index;
use crate::run::gate::People;

/// The people that the configuration of the desired branch knows.
pub(super) fn people(config: &Config) -> People {
    let identities = &config.identities;
    People::new(
        identities.iter().map(|(name, who)| (name.as_str(), who.emails.as_slice(), who.teams.as_slice())),
    )
}

/// Records a decision of somebody whom the host vouches for.
pub(super) fn record(
    decision: &Decision,
    permit: &Permit,
    context: &mut Context,
) -> Result<Vec<String>, CliError> {
    let workspace = Workspace::open(context)?;
    let index = Index::open(Some(&workspace.repo.cache_dir()))?;
    let site = Site::open(workspace.repo, workspace.remote, context.options.reference.as_deref())?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let decider = Decider::Login { login: permit.login.clone(), teams: permit.teams.clone() };
    Ok(decide(&site, index, decision, &decider, &clock, &runner_name())?.lines)
}
