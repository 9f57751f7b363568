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
pub(crate) enum CliCommand {
    Init(init::InitArguments),
    Demo(demo::DemoArguments),
    Validate(validate::ValidateArguments),
    Diff(diff::DiffArguments),
    Apply(apply::ApplyArguments),
    Delete(delete::DeleteArguments),
    Edit(edit::EditArguments),
    Run(run::RunArguments),
    Reconcile(reconcile::ReconcileArguments),
    Ci(ci::CiArguments),
    Get(get::GetArguments),
    Describe(describe::DescribeArguments),
    Explain(explain::ExplainArguments),
    Wait(wait::WaitArguments),
    Watch(watch::WatchArguments),
    History(history::HistoryArguments),
    Logs(logs::LogsArguments),
    Graph(graph::GraphArguments),
    Approve(approve::Approve),
    Reject(approve::Reject),
    Complete(complete::CompleteArguments),
    Fail(fail::FailArguments),
    Answer(answer::AnswerArguments),
    Cancel(cancel::CancelArguments),
    Retry(retry::RetryArguments),
    Suspend(suspend::Suspend),
    Resume(suspend::Resume),
    Gc(gc::GcArguments),
    Schema(schema::SchemaArguments),
    Completions(completions::CompletionsArguments),
    Man(man::ManArguments),
}

/// Runs a command.
pub(crate) fn run(command: &CliCommand, context: &mut Context) -> Result<Exit, CliError> {
    match command {
        CliCommand::Init(arguments) => init::run(arguments, context),
        CliCommand::Demo(arguments) => demo::run(arguments, context),
        CliCommand::Validate(arguments) => validate::run(arguments, context),
        CliCommand::Diff(arguments) => diff::run(arguments, context),
        CliCommand::Apply(arguments) => apply::run(arguments, context),
        CliCommand::Delete(arguments) => delete::run(arguments, context),
        CliCommand::Edit(arguments) => edit::run(arguments, context),
        CliCommand::Run(arguments) => run::run(arguments, context),
        CliCommand::Reconcile(arguments) => reconcile::run(arguments, context),
        CliCommand::Ci(arguments) => ci::run(arguments, context),
        CliCommand::Get(arguments) => get::run(arguments, context),
        CliCommand::Describe(arguments) => describe::run(arguments, context),
        CliCommand::Explain(arguments) => explain::run(arguments, context),
        CliCommand::Wait(arguments) => wait::run(arguments, context),
        CliCommand::Watch(arguments) => watch::run(arguments, context),
        CliCommand::History(arguments) => history::run(arguments, context),
        CliCommand::Logs(arguments) => logs::run(arguments, context),
        CliCommand::Graph(arguments) => graph::run(arguments, context),
        CliCommand::Approve(arguments) => approve::approve(arguments, context),
        CliCommand::Reject(arguments) => approve::reject(arguments, context),
        CliCommand::Complete(arguments) => complete::run(arguments, context),
        CliCommand::Fail(arguments) => fail::run(arguments, context),
        CliCommand::Answer(arguments) => answer::run(arguments, context),
        CliCommand::Cancel(arguments) => cancel::run(arguments, context),
        CliCommand::Retry(arguments) => retry::run(arguments, context),
        CliCommand::Suspend(arguments) => suspend::suspend(arguments, context),
        CliCommand::Resume(arguments) => suspend::resume(arguments, context),
        CliCommand::Gc(arguments) => gc::run(arguments, context),
        CliCommand::Schema(arguments) => schema::run(arguments, context),
        CliCommand::Completions(arguments) => completions::run(arguments, context),
        CliCommand::Man(arguments) => man::run(arguments, context),
    }
}
