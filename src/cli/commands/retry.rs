//! `planspec retry`: nodes run again.

use clap::Args;

use crate::cli::decisions::{execution_of, record};
use crate::cli::error::{CliError, Exit};
use crate::cli::{Context, selector};
use crate::engine::Decision;
use crate::model::NodeId;

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
    /// Why, for the record
    #[arg(long, short, value_name = "TEXT")]
    message: Option<String>,
}

pub(crate) fn run(arguments: &RetryArguments, context: &mut Context) -> Result<Exit, CliError> {
    let wanted = selector::execution(&arguments.execution)?;
    let from = arguments.from.clone().or_else(|| wanted.node.clone());
    let execution = execution_of(&wanted, context)?;
    record(&Decision::Retry { execution, from, comment: arguments.message.clone() }, context)
}
