//! `planspec reconcile`: passes until nothing more can progress without the outside world.

use clap::Args;

use crate::cli::Context;
use crate::cli::drive::{cores, drive, runner_name, verdict};
use crate::cli::error::{CliError, Exit};
use crate::cli::workspace::Workspace;
use crate::engine::ReconcileOptions;
use crate::model::Duration;

/// Drive everything as far as it goes, then say what waits for what
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  planspec reconcile
  planspec reconcile --watch 30s
  planspec reconcile --max-duration 50m --jobs 4 -o json")]
pub(crate) struct Arguments {
    /// Go on, and look again this often (default: 10s; on a remote 1m)
    #[arg(long, value_name = "INTERVAL", num_args = 0..=1, default_missing_value = "")]
    watch: Option<String>,
    /// Stop cleanly before this much time has passed, and leave the rest to the next reconcile
    #[arg(long, value_name = "DURATION")]
    max_duration: Option<Duration>,
    /// How many local commands run at once (default: `jobs` of .planspec.yaml, else the number of cores)
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    jobs: Option<u32>,
    /// Carry out the removal of more than the configured share of all resources
    #[arg(long)]
    allow_mass_delete: bool,
}

pub(crate) fn run(arguments: &Arguments, context: &mut Context) -> Result<Exit, CliError> {
    let workspace = Workspace::open(context)?;
    let watch = match arguments.watch.as_deref() {
        None => None,
        Some("") => Some(std::time::Duration::from_secs(if workspace.remote.is_some() { 60 } else { 10 })),
        Some(text) => {
            let interval: Duration = text
                .parse()
                .map_err(|error: crate::model::DurationError| CliError::usage(error.to_string()))?;
            Some(interval.span())
        }
    };
    let options = ReconcileOptions {
        jobs: arguments.jobs.map(|jobs| jobs as usize),
        default_jobs: cores(),
        watch,
        max_duration: arguments.max_duration.as_ref().map(Duration::span),
        allow_mass_delete: arguments.allow_mass_delete,
        runner: runner_name(),
        stream_output: context.is_verbose(),
    };
    let summary = drive(workspace, options, context)?;
    Ok(verdict(&summary))
}
