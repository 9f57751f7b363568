//! `planspec cancel`, `retry`, `unlock`, `accept-pin`, `suspend` and `resume`: decisions about a whole execution.

use clap::Args;

use crate::cli::Context;
use crate::cli::decisions::{execution_of, key_of, record};
use crate::cli::error::{CliError, Exit};
use crate::cli::view::selector;
use crate::engine::Decision;
use crate::model::{Kind, NodeId};

/// Cancel an execution, or every execution of a goal
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  planspec cancel sso-exec-001 -m 'wrong tenant'
  planspec cancel goal/enable-google-sso")]
pub(crate) struct CancelArguments {
    /// The execution, as NAME or execution/NAME; or goal/NAME
    target: String,
    /// The reason, which is recorded
    #[arg(long, short, value_name = "TEXT")]
    message: Option<String>,
}

pub(crate) fn cancel(arguments: &CancelArguments, context: &mut Context) -> Result<Exit, CliError> {
    // A Goal too: that cancels every Execution under it, also those that no reconcile has seen yet.
    let target = key_of(&selector::one(&arguments.target, Some(Kind::Execution))?, context)?;
    record(&Decision::Cancel { target, comment: arguments.message.clone() }, context)
}

/// Run again what did not succeed, or a node and everything after it
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  planspec retry sso-exec-001
  planspec retry sso-exec-001 --from implement")]
pub(crate) struct RetryArguments {
    /// The execution, as NAME or execution/NAME
    execution: String,
    /// This node and everything after it, also what succeeded
    #[arg(long, value_name = "NODE")]
    from: Option<NodeId>,
    /// The reason, which is recorded
    #[arg(long, short, value_name = "TEXT")]
    message: Option<String>,
}

pub(crate) fn retry(arguments: &RetryArguments, context: &mut Context) -> Result<Exit, CliError> {
    let wanted = selector::execution(&arguments.execution)?;
    // `EXECUTION/NODE` says the same as `--from NODE`, and other commands take it.
    let from = arguments.from.clone().or_else(|| wanted.node.clone());
    let execution = execution_of(&wanted, context)?;
    record(&Decision::Retry { execution, from, comment: arguments.message.clone() }, context)
}

/// Free the lease of a runner that will not come back
///
/// Another runner takes over at once instead of waiting for the lease to end. Make sure that the runner is gone: one that still
/// works goes on until it sees that its lease is not its own any more, and its tasks may run twice until then.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  planspec unlock sso-exec-001 -m 'the machine was taken away'")]
pub(crate) struct UnlockArguments {
    /// The execution, as NAME or execution/NAME
    execution: String,
    /// Why, for the record
    #[arg(long, short, value_name = "TEXT")]
    message: Option<String>,
}

pub(crate) fn unlock(arguments: &UnlockArguments, context: &mut Context) -> Result<Exit, CliError> {
    let execution = execution_of(&selector::execution(&arguments.execution)?, context)?;
    record(&Decision::Unlock { execution, comment: arguments.message.clone() }, context)
}

/// Accept what the desired branch holds now in place of a pin that does not hold
///
/// An execution runs only what was merged. After the desired branch was rewritten, the commit to which a running execution is
/// pinned may not be on it any more; then the execution is blocked with the reason PinMismatch. This command pins it to the
/// newest commit, if that holds the same execution and the same graph. Approvals of the old commit count no more.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  planspec accept-pin sso-exec-001 -m 'the branch was cleaned up'")]
pub(crate) struct AcceptPinArguments {
    /// The execution, as NAME or execution/NAME
    execution: String,
    /// Why, for the record
    #[arg(long, short, value_name = "TEXT")]
    message: Option<String>,
}

pub(crate) fn accept_pin(arguments: &AcceptPinArguments, context: &mut Context) -> Result<Exit, CliError> {
    let execution = execution_of(&selector::execution(&arguments.execution)?, context)?;
    record(&Decision::AcceptPin { execution, comment: arguments.message.clone() }, context)
}

/// Start no further nodes of an execution; running ones continue
#[derive(Debug, Args)]
pub(crate) struct SuspendArguments {
    /// The execution, as NAME or execution/NAME
    execution: String,
    /// The reason, which is recorded
    #[arg(long, short, value_name = "TEXT")]
    message: Option<String>,
}

/// Resume a suspended execution
#[derive(Debug, Args)]
pub(crate) struct ResumeArguments {
    /// The execution, as NAME or execution/NAME
    execution: String,
}

pub(crate) fn suspend(arguments: &SuspendArguments, context: &mut Context) -> Result<Exit, CliError> {
    let execution = execution_of(&selector::execution(&arguments.execution)?, context)?;
    record(&Decision::Suspend { execution, comment: arguments.message.clone() }, context)
}

pub(crate) fn resume(arguments: &ResumeArguments, context: &mut Context) -> Result<Exit, CliError> {
    let execution = execution_of(&selector::execution(&arguments.execution)?, context)?;
    record(&Decision::Resume { execution }, context)
}
