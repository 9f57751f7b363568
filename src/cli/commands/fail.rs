//! `planspec fail`: a person says that the work of a node cannot be done.

use clap::Args;

use crate::cli::decisions::{execution_of, record};
use crate::cli::error::{CliError, Exit};
use crate::cli::{Context, selector};
use crate::engine::Decision;
use crate::model::JsonMap;

/// Record that the work of a node cannot be done: the same as `planspec complete --failed`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  planspec fail sso-exec-001/research --reason 'no access to the tenant'")]
pub(crate) struct FailArguments {
    /// The node
    #[arg(value_name = "EXECUTION/NODE")]
    node: String,
    /// Why, for the record
    #[arg(long, short = 'm', visible_alias = "message", value_name = "TEXT")]
    reason: Option<String>,
}

pub(crate) fn run(arguments: &FailArguments, context: &mut Context) -> Result<Exit, CliError> {
    let wanted = selector::execution(&arguments.node)?;
    let Some(node) = wanted.node.clone() else {
        return Err(CliError::usage("which node? Write EXECUTION/NODE"));
    };
    let execution = execution_of(&wanted, context)?;
    let (outputs, comment) = (JsonMap::new(), arguments.reason.clone());
    record(&Decision::Complete { execution, node, outputs, failed: true, comment }, context)
}
