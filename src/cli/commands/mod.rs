//! The commands, one file each. A command reads its arguments, calls what does the work, and prints.

mod completions;
mod man;

use clap::Subcommand;

use super::Context;
use super::error::{CliError, Exit};

/// The commands, in the order of the manual.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Completions(completions::Arguments),
    Man(man::Arguments),
}

/// Runs a command.
pub(crate) fn run(command: &Command, context: &mut Context) -> Result<Exit, CliError> {
    match command {
        Command::Completions(arguments) => completions::run(arguments, context),
        Command::Man(arguments) => man::run(arguments, context),
    }
}
