//! `planspec reconcile`: passes until nothing more can progress without an external event.

use clap::{Args, ValueEnum};

use crate::cli::Context;
use crate::cli::drive::{PassBounds, drive, verdict};
use crate::cli::error::{CliError, Exit};
use crate::cli::repo_context::RepoContext;
use crate::cli::view::local_changes::LocalChanges;
use crate::engine::ReconcileOptions;
use crate::model::{Duration, DurationError};

/// Drive every execution as far as it can get, then print what is still waiting
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  planspec reconcile
  planspec reconcile --dry-run
  planspec reconcile --watch 30s
  planspec reconcile --fail-on failed,blocked
  planspec reconcile --max-duration 50m --jobs 4 -o json")]
pub(crate) struct ReconcileArguments {
    /// Keep running and poll at this interval (default: 10s; on a remote 1m)
    #[arg(long, value_name = "INTERVAL", num_args = 0..=1, default_missing_value = "")]
    watch: Option<String>,
    /// Exit with 1 also when an execution failed, or when one waits for people or events
    #[arg(long, value_enum, value_name = "WHAT", value_delimiter = ',')]
    fail_on: Vec<FailOn>,
    /// Only say what a reconcile would record and start first; nothing is recorded, started or sent
    #[arg(long, conflicts_with_all = ["watch", "fail_on"])]
    dry_run: bool,
    #[command(flatten)]
    bounds: PassBounds,
}

/// An outcome of executions that is no fault of the reconcile itself, and may be one for a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FailOn {
    /// An execution failed in this pass
    Failed,
    /// Something waits
    Blocked,
}

pub(crate) fn run(arguments: &ReconcileArguments, context: &mut Context) -> Result<Exit, CliError> {
    let workspace = RepoContext::open(context)?;
    let watch = match arguments.watch.as_deref() {
        None => None,
        // Reading a local reference is cheap; a remote is asked less often, because hosts count that.
        Some("") => Some(std::time::Duration::from_secs(if workspace.remote.is_some() { 60 } else { 10 })),
        Some(text) => {
            let interval: Duration =
                text.parse().map_err(|error: DurationError| CliError::usage(error.to_string()))?;
            Some(interval.span())
        }
    };
    let options = ReconcileOptions { watch, dry_run: arguments.dry_run, ..arguments.bounds.options(context) };
    let summary = drive(workspace, options, context)?;
    if arguments.dry_run {
        return verdict(&summary);
    }
    let idle = summary.commits == 0 && summary.started == 0 && summary.waiting_count == 0;
    // Only for a person who looks: it reads the whole working tree, and a machine that reconciles every minute has none that
    // anybody edits.
    if idle && arguments.watch.is_none() && context.out.width().is_some() {
        let workspace = RepoContext::open(context)?;
        let config = workspace.config_at(workspace.local_desired()?)?;
        LocalChanges::of(&workspace, &config)?.note(&mut context.out)?;
    }
    let given = |what| arguments.fail_on.contains(&what);
    // After the verdict: an invalid manifest or a fault of this machine is the more important answer.
    match verdict(&summary)? {
        Exit::Done if given(FailOn::Failed) && !summary.failed.is_empty() => Ok(Exit::No),
        Exit::Done if given(FailOn::Blocked) && summary.waiting_count > 0 => Ok(Exit::No),
        exit => Ok(exit),
    }
}
