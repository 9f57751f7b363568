//! The commands, in folders by purpose. A command reads its arguments, calls what does the work, and prints.

mod ci;
mod decide;
mod gc;
mod read;
mod reconcile;
mod setup;
mod write;

use clap::Subcommand;

use self::decide::{execution, gate, node};
use self::read::{
    artifacts, checkout, describe, explain, get, graph, history, logs, status, verify, wait, watch,
};
use self::setup::{candidates, demo, init, schema, shell_files, trust};
use self::write::{apply, delete, diff, edit, here, run, validate};
use crate::cli::Context;
use crate::cli::error::{CliError, Exit};

/// The commands, in the order of the manual.
#[derive(Debug, Subcommand)]
pub(crate) enum CliCommand {
    // Without documentation of their own: the help of a command is that of its arguments.
    Init(init::InitArguments),
    Demo(demo::DemoArguments),
    Validate(validate::ValidateArguments),
    Diff(diff::DiffArguments),
    Apply(apply::ApplyArguments),
    #[command(hide = true)]
    Create(apply::CreateArguments),
    Delete(delete::DeleteArguments),
    Edit(edit::EditArguments),
    Run(run::RunArguments),
    Reconcile(reconcile::ReconcileArguments),
    Ci(ci::CiArguments),
    Status(status::StatusArguments),
    #[command(visible_alias = "list")]
    Get(get::GetArguments),
    Describe(describe::DescribeArguments),
    Explain(explain::ExplainArguments),
    Wait(wait::WaitArguments),
    Watch(watch::WatchArguments),
    History(history::HistoryArguments),
    Verify(verify::VerifyArguments),
    Logs(logs::LogsArguments),
    Artifacts(artifacts::ArtifactsArguments),
    Graph(graph::GraphArguments),
    Checkout(checkout::CheckoutArguments),
    Approve(gate::ApproveArguments),
    Reject(gate::RejectArguments),
    Complete(node::CompleteArguments),
    Fail(node::FailArguments),
    Answer(node::AnswerArguments),
    Cancel(execution::CancelArguments),
    Retry(execution::RetryArguments),
    Unlock(execution::UnlockArguments),
    AcceptPin(execution::AcceptPinArguments),
    Suspend(execution::SuspendArguments),
    Resume(execution::ResumeArguments),
    Trust(trust::TrustArguments),
    Gc(gc::GcArguments),
    Schema(schema::SchemaArguments),
    #[command(alias = "completion")]
    Completions(shell_files::CompletionsArguments),
    Candidates(candidates::CandidatesArguments),
    Man(shell_files::ManArguments),
}

/// Runs a command.
pub(crate) fn run(command: &CliCommand, context: &mut Context) -> Result<Exit, CliError> {
    match command {
        CliCommand::Init(arguments) => init::run(arguments, context),
        CliCommand::Demo(arguments) => demo::run(arguments, context),
        CliCommand::Validate(arguments) => validate::run(arguments, context),
        CliCommand::Diff(arguments) => diff::run(arguments, context),
        CliCommand::Apply(arguments) => apply::run(arguments, context),
        CliCommand::Create(arguments) => apply::create(arguments, context),
        CliCommand::Delete(arguments) => delete::run(arguments, context),
        CliCommand::Edit(arguments) => edit::run(arguments, context),
        CliCommand::Run(arguments) if arguments.here => here::run(arguments, context),
        CliCommand::Run(arguments) => run::run(arguments, context),
        CliCommand::Reconcile(arguments) => reconcile::run(arguments, context),
        CliCommand::Ci(arguments) => ci::run(arguments, context),
        CliCommand::Status(arguments) => status::run(arguments, context),
        CliCommand::Get(arguments) => get::run(arguments, context),
        CliCommand::Describe(arguments) => describe::run(arguments, context),
        CliCommand::Explain(arguments) => explain::run(arguments, context),
        CliCommand::Wait(arguments) => wait::run(arguments, context),
        CliCommand::Watch(arguments) => watch::run(arguments, context),
        CliCommand::History(arguments) => history::run(arguments, context),
        CliCommand::Verify(arguments) => verify::run(arguments, context),
        CliCommand::Logs(arguments) => logs::run(arguments, context),
        CliCommand::Artifacts(arguments) => artifacts::run(arguments, context),
        CliCommand::Graph(arguments) => graph::run(arguments, context),
        CliCommand::Checkout(arguments) => checkout::run(arguments, context),
        CliCommand::Approve(arguments) => gate::approve(arguments, context),
        CliCommand::Reject(arguments) => gate::reject(arguments, context),
        CliCommand::Complete(arguments) => node::complete(arguments, context),
        CliCommand::Fail(arguments) => node::fail(arguments, context),
        CliCommand::Answer(arguments) => node::answer(arguments, context),
        CliCommand::Cancel(arguments) => execution::cancel(arguments, context),
        CliCommand::Retry(arguments) => execution::retry(arguments, context),
        CliCommand::Unlock(arguments) => execution::unlock(arguments, context),
        CliCommand::AcceptPin(arguments) => execution::accept_pin(arguments, context),
        CliCommand::Suspend(arguments) => execution::suspend(arguments, context),
        CliCommand::Resume(arguments) => execution::resume(arguments, context),
        CliCommand::Trust(arguments) => trust::run(arguments, context),
        CliCommand::Gc(arguments) => gc::run(arguments, context),
        CliCommand::Schema(arguments) => schema::run(arguments, context),
        CliCommand::Completions(arguments) => shell_files::completions(arguments, context),
        CliCommand::Candidates(arguments) => candidates::candidates(arguments, context),
        CliCommand::Man(arguments) => shell_files::man(arguments, context),
    }
}
