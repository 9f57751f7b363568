//! The commands, one file each. A command reads its arguments, calls what does the work, and prints.

mod completions;
mod describe;
mod get;
mod graph;
mod history;
mod man;
mod reconcile;
mod schema;
mod validate;

use clap::Subcommand;

use super::Context;
use super::error::{CliError, Exit};

/// The commands, in the order of the manual.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Validate(validate::Arguments),
    Get(get::Arguments),
    Describe(describe::Arguments),
    Graph(graph::Arguments),
    History(history::Arguments),
    Reconcile(reconcile::Arguments),
    Schema(schema::Arguments),
    Completions(completions::Arguments),
    Man(man::Arguments),
}

/// Runs a command.
pub(crate) fn run(command: &Command, context: &mut Context) -> Result<Exit, CliError> {
    match command {
        Command::Validate(arguments) => validate::run(arguments, context),
        Command::Get(arguments) => get::run(arguments, context),
        Command::Describe(arguments) => describe::run(arguments, context),
        Command::Graph(arguments) => graph::run(arguments, context),
        Command::History(arguments) => history::run(arguments, context),
        Command::Reconcile(arguments) => reconcile::run(arguments, context),
        Command::Schema(arguments) => schema::run(arguments, context),
        Command::Completions(arguments) => completions::run(arguments, context),
        Command::Man(arguments) => man::run(arguments, context),
    }
}
