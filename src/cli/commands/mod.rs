//! The commands, one file each. A command reads its arguments, calls what does the work, and prints.

mod answer;
mod apply;
mod approve;
mod cancel;
mod ci;
mod complete;
mod completions;
mod delete;
mod demo;
mod describe;
mod diff;
mod edit;
mod explain;
mod fail;
mod gc;
mod get;
mod graph;
mod history;
mod init;
mod logs;
mod man;
mod reconcile;
mod retry;
mod run;
mod schema;
mod suspend;
mod validate;
mod wait;
mod watch;

use clap::Subcommand;

use super::Context;
use super::error::{CliError, Exit};

/// The commands, in the order of the manual.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Init(init::Arguments),
    Demo(demo::Arguments),
    Validate(validate::Arguments),
    Diff(diff::Arguments),
    Apply(apply::Arguments),
    Delete(delete::Arguments),
    Edit(edit::Arguments),
    Run(run::Arguments),
    Reconcile(reconcile::Arguments),
    Ci(ci::Arguments),
    Get(get::Arguments),
    Describe(describe::Arguments),
    Explain(explain::Arguments),
    Wait(wait::Arguments),
    Watch(watch::Arguments),
    History(history::Arguments),
    Logs(logs::Arguments),
    Graph(graph::Arguments),
    Approve(approve::Approve),
    Reject(approve::Reject),
    Complete(complete::Arguments),
    Fail(fail::Arguments),
    Answer(answer::Arguments),
    Cancel(cancel::Arguments),
    Retry(retry::Arguments),
    Suspend(suspend::Suspend),
    Resume(suspend::Resume),
    Gc(gc::Arguments),
    Schema(schema::Arguments),
    Completions(completions::Arguments),
    Man(man::Arguments),
}

/// Runs a command.
pub(crate) fn run(command: &Command, context: &mut Context) -> Result<Exit, CliError> {
    match command {
        Command::Init(arguments) => init::run(arguments, context),
        Command::Demo(arguments) => demo::run(arguments, context),
        Command::Validate(arguments) => validate::run(arguments, context),
        Command::Diff(arguments) => diff::run(arguments, context),
        Command::Apply(arguments) => apply::run(arguments, context),
        Command::Delete(arguments) => delete::run(arguments, context),
        Command::Edit(arguments) => edit::run(arguments, context),
        Command::Run(arguments) => run::run(arguments, context),
        Command::Reconcile(arguments) => reconcile::run(arguments, context),
        Command::Ci(arguments) => ci::run(arguments, context),
        Command::Get(arguments) => get::run(arguments, context),
        Command::Describe(arguments) => describe::run(arguments, context),
        Command::Explain(arguments) => explain::run(arguments, context),
        Command::Wait(arguments) => wait::run(arguments, context),
        Command::Watch(arguments) => watch::run(arguments, context),
        Command::History(arguments) => history::run(arguments, context),
        Command::Logs(arguments) => logs::run(arguments, context),
        Command::Graph(arguments) => graph::run(arguments, context),
        Command::Approve(arguments) => approve::approve(arguments, context),
        Command::Reject(arguments) => approve::reject(arguments, context),
        Command::Complete(arguments) => complete::run(arguments, context),
        Command::Fail(arguments) => fail::run(arguments, context),
        Command::Answer(arguments) => answer::run(arguments, context),
        Command::Cancel(arguments) => cancel::run(arguments, context),
        Command::Retry(arguments) => retry::run(arguments, context),
        Command::Suspend(arguments) => suspend::suspend(arguments, context),
        Command::Resume(arguments) => suspend::resume(arguments, context),
        Command::Gc(arguments) => gc::run(arguments, context),
        Command::Schema(arguments) => schema::run(arguments, context),
        Command::Completions(arguments) => completions::run(arguments, context),
        Command::Man(arguments) => man::run(arguments, context),
    }
}
