//! `planspec cancel`: an execution, or all executions of a goal, are called off.

use clap::Args;

use crate::cli::decisions::{key_of, record};
use crate::cli::error::{CliError, Exit};
use crate::cli::{Context, selector};
use crate::engine::Decision;
use crate::model::Kind;

/// Call off an execution, or every execution of a goal
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  planspec cancel sso-exec-001 -m 'wrong tenant'
  planspec cancel goal/enable-google-sso")]
pub(crate) struct CancelArguments {
    /// The execution, as NAME or execution/NAME; or goal/NAME
    target: String,
    /// Why, for the record
    #[arg(long, short, value_name = "TEXT")]
    message: Option<String>,
}

pub(crate) fn run(arguments: &CancelArguments, context: &mut Context) -> Result<Exit, CliError> {
    let target = key_of(&selector::one(&arguments.target, Some(Kind::Execution))?, context)?;
    record(&Decision::Cancel { target, comment: arguments.message.clone() }, context)
}
