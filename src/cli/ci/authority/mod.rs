//! Who may decide, and the decisions of those whom the host vouches for.

pub(crate) mod approvals;
pub(crate) mod authorize;

use crate::cli::Context;
use crate::cli::ci::authority::authorize::AuthorizedActor;
use crate::cli::decisions::record_as;
use crate::cli::error::CliError;
use crate::config::Config;
use crate::engine::{Decider, Decision};
use crate::run::gate::People;

/// The people that the configuration of the desired branch knows.
pub(crate) fn people(config: &Config) -> People {
    let identities = &config.identities;
    People::new(
        identities.iter().map(|(name, who)| (name.as_str(), who.emails.as_slice(), who.teams.as_slice())),
    )
}

/// Records a decision of somebody whom the host vouches for.
pub(crate) fn record(
    decision: &Decision,
    permit: &AuthorizedActor,
    context: &Context,
) -> Result<Vec<String>, CliError> {
    let decider = Decider::Login { login: permit.login.clone(), teams: permit.teams.clone() };
    Ok(record_as(&decider, decision, context)?.lines)
}
