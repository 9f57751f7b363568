//! `planspec cancel`, `retry`, `unlock`, `accept-pin`, `suspend` and `resume`: decisions about a whole execution.

use clap::Args;

use crate::cli::Context;
use crate::cli::decisions::{execution_of, key_of, record};
use crate::cli::error::{CliError, Exit};
use crate::cli::repo_context::RepoContext;
use crate::cli::view::inventory::Inventory;
use crate::cli::view::selector;
use crate::engine::Decision;
use crate::model::{DerivedExecution, Kind, NodeId, ResourceKey};
use crate::report::text;

/// Cancel an execution, or every execution of a goal
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  planspec cancel sso-exec-001 -m 'wrong tenant'
  planspec cancel goal/enable-google-sso")]
pub(crate) struct CancelArguments {
    /// The execution, as NAME or execution/NAME; or goal/NAME
    target: String,
    /// The reason, which is recorded
    #[arg(long, short, value_name = "TEXT")]
    message: Option<String>,
}

pub(crate) fn cancel(arguments: &CancelArguments, context: &mut Context) -> Result<Exit, CliError> {
    // A Goal too: that cancels every Execution under it, also those that no reconcile has seen yet.
    let target = key_of(&selector::one(&arguments.target, Some(Kind::Execution))?, context)?;
    record(&Decision::Cancel { target, comment: arguments.message.clone() }, context)
}

/// Rerun what did not succeed, or a node and everything after it
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  planspec retry sso-exec-001
  planspec retry sso-exec-001 implement
  planspec retry nightly-20261129 load-3")]
pub(crate) struct RetryArguments {
    /// The execution, as NAME or execution/NAME; EXECUTION/NODE names a node too
    execution: String,
    /// Rerun this node and everything after it, even what succeeded
    #[arg(value_name = "NODE", conflicts_with = "from")]
    node: Option<NodeId>,
    /// The same as NODE
    #[arg(long, value_name = "NODE")]
    from: Option<NodeId>,
    /// The reason, which is recorded
    #[arg(long, short, value_name = "TEXT")]
    message: Option<String>,
}

pub(crate) fn retry(arguments: &RetryArguments, context: &mut Context) -> Result<Exit, CliError> {
    let wanted = selector::execution(&arguments.execution)?;
    let from = match (arguments.node.as_ref().or(arguments.from.as_ref()), &wanted.node) {
        (Some(one), Some(other)) if one != other => {
            return Err(CliError::usage(format!("`{other}` and `{one}` are two nodes"))
                .hint("one node, and everything after it, is rerun at a time"));
        }
        (named, within) => named.or(within.as_ref()).cloned(),
    };
    let workspace = RepoContext::open(context)?;
    let tips = workspace.tips(context)?;
    let object = Inventory::load(&workspace, &tips)?.one(&wanted.into(), context)?;
    let execution = object.key.clone();
    let done = record(&Decision::Retry { execution, from, comment: arguments.message.clone() }, context)?;
    // Whoever has just fixed a script would wait for the fix in vain (Invariant 9).
    // What a plan or a schedule made is made again by that, and by nobody else.
    let record = object.record.as_ref().filter(|record| DerivedExecution::of(record).is_none());
    let pin = record.and_then(|record| record.execution()?.extensions.pinned.as_ref());
    if let (Some(pin), Some(desired)) = (pin, tips.desired)
        && pin.commit != desired.to_string()
    {
        let short = text::short_commit(&pin.commit);
        let name = &object.key.name;
        let place = &object.key.namespace;
        let note = format!(
            "it runs the files of {short}, to which it is pinned; once it has ended, `planspec run --from-execution {name} -n {place}` runs those of now"
        );
        context.out.note(text::line(&note))?;
    }
    Ok(done)
}

/// Release the lease of a runner that will not come back
///
/// Another runner takes over at once instead of waiting for the lease to expire. Make sure that the runner is gone: one that still
/// works continues until it notices that it has lost its lease, and its tasks may run twice until then.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  planspec unlock sso-exec-001 -m 'the machine was taken away'")]
pub(crate) struct UnlockArguments {
    /// The execution, as NAME or execution/NAME
    execution: String,
    /// The reason, which is recorded
    #[arg(long, short, value_name = "TEXT")]
    message: Option<String>,
}

pub(crate) fn unlock(arguments: &UnlockArguments, context: &mut Context) -> Result<Exit, CliError> {
    let execution = execution_of(&selector::execution(&arguments.execution)?, context)?;
    record(&Decision::Unlock { execution, comment: arguments.message.clone() }, context)
}

/// Pin an execution to the current desired commit after the branch was rewritten
///
/// An execution runs only what was merged. After the desired branch was rewritten, the pinned commit of a running execution
/// may no longer be on it; then the execution is blocked with the reason PinMismatch. This command pins it to the
/// newest commit, if that contains the same execution and the same graph. Approvals of the old commit no longer count.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  planspec accept-pin sso-exec-001 -m 'the branch was cleaned up'")]
pub(crate) struct AcceptPinArguments {
    /// The execution, as NAME or execution/NAME
    execution: String,
    /// The reason, which is recorded
    #[arg(long, short, value_name = "TEXT")]
    message: Option<String>,
}

pub(crate) fn accept_pin(arguments: &AcceptPinArguments, context: &mut Context) -> Result<Exit, CliError> {
    let execution = execution_of(&selector::execution(&arguments.execution)?, context)?;
    record(&Decision::AcceptPin { execution, comment: arguments.message.clone() }, context)
}

/// Start no further nodes of an execution, or no further runs of a schedule; what runs continues
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  planspec suspend sso-exec-001
  planspec suspend schedule/nightly -m 'the warehouse is moved tonight'")]
pub(crate) struct SuspendArguments {
    /// The execution, as NAME or execution/NAME; or schedule/NAME
    target: String,
    /// The reason, which is recorded
    #[arg(long, short, value_name = "TEXT")]
    message: Option<String>,
}

/// Resume a suspended execution or schedule
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  planspec resume sso-exec-001
  planspec resume schedule/nightly")]
pub(crate) struct ResumeArguments {
    /// The execution, as NAME or execution/NAME; or schedule/NAME
    target: String,
}

pub(crate) fn suspend(arguments: &SuspendArguments, context: &mut Context) -> Result<Exit, CliError> {
    let target = pausable(&arguments.target, context)?;
    let comment = arguments.message.clone();
    let decision = match target.kind {
        Kind::Schedule => Decision::SuspendSchedule { schedule: target, comment },
        _ => Decision::Suspend { execution: target, comment },
    };
    record(&decision, context)
}

pub(crate) fn resume(arguments: &ResumeArguments, context: &mut Context) -> Result<Exit, CliError> {
    let target = pausable(&arguments.target, context)?;
    let decision = match target.kind {
        Kind::Schedule => Decision::ResumeSchedule { schedule: target },
        _ => Decision::Resume { execution: target },
    };
    record(&decision, context)
}

/// What can be suspended: an execution, which a name alone means, or a schedule.
fn pausable(target: &str, context: &mut Context) -> Result<ResourceKey, CliError> {
    let wanted = selector::one(target, Some(Kind::Execution))?;
    if let Some(kind) = wanted.kind.filter(|kind| !matches!(kind, Kind::Execution | Kind::Schedule)) {
        let error = CliError::usage(format!("a {} cannot be suspended", kind.singular()));
        return Err(error.hint("name an execution, or schedule/NAME"));
    }
    key_of(&wanted, context)
}
