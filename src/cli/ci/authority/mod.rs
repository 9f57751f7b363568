//! Who may decide, and the decisions of people whose logins the host has verified.

pub(crate) mod approvals;
pub(crate) mod authorize;
pub(crate) mod authors;
mod draft_reviews;
mod reviewed;
mod reviews;

use jiff::Timestamp;

use crate::cli::Context;
use crate::cli::ci::authority::authorize::AuthorizedActor;
use crate::cli::decisions::record_as;
use crate::cli::error::CliError;
use crate::engine::{Decider, Decision, HostDecision};
use crate::model::HostAccount;

/// Where on the host a decision was made, and when.
#[derive(Debug, Clone)]
pub(crate) struct DecisionSource {
    /// The comment or review, as `comment ID`.
    pub(crate) name: String,
    /// When it was made.
    pub(crate) at: Timestamp,
    /// Whether it may be older than what it answers.
    pub(crate) in_advance: bool,
}

/// Records a decision of somebody whose login the host has verified.
pub(crate) fn record(
    decision: &Decision,
    permit: &AuthorizedActor,
    source: &DecisionSource,
    context: &mut Context,
) -> Result<Vec<String>, CliError> {
    // The number of the account beside its login: a login can be given up, and taken by somebody else.
    let decider = Decider::Host(HostDecision {
        account: HostAccount { login: permit.login.clone(), id: permit.id },
        teams: permit.teams.clone(),
        source: source.name.clone(),
        at: source.at,
        in_advance: source.in_advance,
    });
    Ok(record_as(&decider, decision, context)?.lines)
}
