//! Recording a decision of somebody whom the host vouches for.

use std::sync::Arc;

use super::authorize::AuthorizedActor;
use crate::cli::Context;
use crate::cli::drive::runner_name;
use crate::cli::error::CliError;
use crate::cli::repo_context::RepoContext;
use crate::config::Config;
use crate::engine::{Branches, Clock, Decider, Decision, SystemClock, decide};
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
    permit: &AuthorizedActor,
    context: &mut Context,
) -> Result<Vec<String>, CliError> {
    let workspace = RepoContext::open(context)?;
    let index = Index::open(Some(&workspace.repo.cache_dir()))?;
    let branches = Branches::open(workspace.repo, workspace.remote, context.options.reference.as_deref())?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let decider = Decider::Login { login: permit.login.clone(), teams: permit.teams.clone() };
    Ok(decide(&branches, index, decision, &decider, &clock, &runner_name())?.lines)
}
