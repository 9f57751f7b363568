//! `planspec approve` and `planspec reject`: a review of a gate.

use clap::Args;

use crate::cli::Context;
use crate::cli::decisions::{execution_of, key_of, record};
use crate::cli::error::{CliError, Exit};
use crate::cli::view::selector;
use crate::engine::Decision;
use crate::model::{Kind, ReviewAction};

/// Approve a gate, for the execution that waits at it
///
/// The approval is bound to the gate's generation, to the graph and commit that the execution is pinned to, to what the nodes
/// before the gate produced, and to the providers and settings of the nodes up to the next gate; when one of them changes, it no
/// longer counts. `planspec describe gate/NAME` shows the digest of all that.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  planspec approve gate/sso-security-review
  planspec approve sso-security-review -m 'checked the token storage'
  planspec approve sso-security-review --execution sso-exec-001
  planspec approve sso-security-review --expect 3f9a0c41d7e2")]
pub(crate) struct ApproveArguments {
    #[command(flatten)]
    review: ReviewArguments,
    /// Approve only if this is the digest of what the gate asks about, or at least 12 digits of it
    #[arg(long, value_name = "DIGEST")]
    expect: Option<String>,
}

/// Reject a gate; the node that waits at it fails
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  planspec reject gate/sso-security-review -m 'tokens are logged'")]
pub(crate) struct RejectArguments {
    #[command(flatten)]
    review: ReviewArguments,
}

#[derive(Debug, Args)]
struct ReviewArguments {
    /// The gate, as NAME or gate/NAME
    gate: String,
    /// The execution, if several wait at the gate, or if it has not reached the gate yet
    #[arg(long, value_name = "NAME")]
    execution: Option<String>,
    /// The reason, which is recorded
    #[arg(long, short, value_name = "TEXT")]
    message: Option<String>,
}

pub(crate) fn approve(arguments: &ApproveArguments, context: &mut Context) -> Result<Exit, CliError> {
    review(&arguments.review, ReviewAction::Approve, arguments.expect.clone(), context)
}

pub(crate) fn reject(arguments: &RejectArguments, context: &mut Context) -> Result<Exit, CliError> {
    review(&arguments.review, ReviewAction::Reject, None, context)
}

fn review(
    arguments: &ReviewArguments,
    action: ReviewAction,
    expect: Option<String>,
    context: &mut Context,
) -> Result<Exit, CliError> {
    let gate = key_of(&selector::one(&arguments.gate, Some(Kind::Gate))?, context)?;
    // The kind may be spelled out, and be another one.
    if gate.kind != Kind::Gate {
        return Err(CliError::usage(format!("{gate} is not a gate")));
    }
    let execution = match &arguments.execution {
        Some(text) => Some(execution_of(&selector::execution(text)?, context)?),
        None => None,
    };
    // Who may review is decided where the review is recorded: by one function for all ways in.
    let comment = arguments.message.clone();
    record(&Decision::Review { gate, action, execution, comment, expect }, context)
}
