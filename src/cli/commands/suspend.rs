//! `planspec suspend` and `planspec resume`: whether further nodes start.

use clap::Args;

use crate::cli::decisions::{execution_of, record};
use crate::cli::error::{CliError, Exit};
use crate::cli::{Context, selector};
use crate::engine::Decision;

/// Start no further nodes of an execution; what runs goes on
#[derive(Debug, Args)]
pub(crate) struct Suspend {
    /// The execution, as NAME or execution/NAME
    execution: String,
    /// Why, for the record
    #[arg(long, short, value_name = "TEXT")]
    message: Option<String>,
}

/// Let a suspended execution go on
#[derive(Debug, Args)]
pub(crate) struct Resume {
    /// The execution, as NAME or execution/NAME
    execution: String,
}

pub(crate) fn suspend(arguments: &Suspend, context: &mut Context) -> Result<Exit, CliError> {
    let execution = execution_of(&selector::execution(&arguments.execution)?, context)?;
    record(&Decision::Suspend { execution, comment: arguments.message.clone() }, context)
}

pub(crate) fn resume(arguments: &Resume, context: &mut Context) -> Result<Exit, CliError> {
    let execution = execution_of(&selector::execution(&arguments.execution)?, context)?;
    record(&Decision::Resume { execution }, context)
}
