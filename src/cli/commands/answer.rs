//! `planspec answer`: a person answers what a provider asks back.

use clap::Args;

use crate::cli::decisions::{execution_of, record};
use crate::cli::error::{CliError, Exit};
use crate::cli::{Context, selector};
use crate::engine::Decision;

/// Answer the question of an agent that waits for input
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  planspec answer leaflet-1/write 'for nurses'")]
pub(crate) struct AnswerArguments {
    /// The node, as EXECUTION/NODE
    node: String,
    /// The answer, as it is passed on; it is recorded, so it must hold no secret
    text: String,
}

pub(crate) fn run(arguments: &AnswerArguments, context: &mut Context) -> Result<Exit, CliError> {
    let wanted = selector::execution(&arguments.node)?;
    let Some(node) = wanted.node.clone() else {
        return Err(CliError::usage("which node? Write EXECUTION/NODE"));
    };
    let execution = execution_of(&wanted, context)?;
    record(&Decision::Answer { execution, node, text: arguments.text.clone() }, context)
}
