//! `planspec ci`: what a job of GitHub Actions does about its event.

use std::path::PathBuf;

use clap::Args;

use crate::cli::Context;
use crate::cli::ci::{self, Choices};
use crate::cli::error::{CliError, Exit};
use crate::model::Duration;

/// In a job of GitHub Actions: do what the event asks for
///
/// A pull request is compared with its base, and the answer goes into annotations, a check, one comment and the
/// summary of the job. A push to the default branch, a schedule, a manual start and the end of an issue that asked a
/// person for work reconcile. A comment that begins with `/planspec` is a command. Reads GITHUB_EVENT_NAME,
/// GITHUB_EVENT_PATH, GITHUB_REPOSITORY, GITHUB_TOKEN, GITHUB_API_URL, GITHUB_SERVER_URL, GITHUB_RUN_ID,
/// GITHUB_OUTPUT and GITHUB_STEP_SUMMARY.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  planspec ci
  planspec ci --max-duration 50m
  planspec ci --report preview.json")]
pub(crate) struct Arguments {
    /// Stop a pass cleanly before this much time has passed, and leave the rest to the next one
    #[arg(long, value_name = "DURATION")]
    max_duration: Option<Duration>,
    /// How many local commands run at once (default: `jobs` of .planspec.yaml, else the number of cores)
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    jobs: Option<u32>,
    /// Carry out the removal of more than the configured share of all resources
    #[arg(long)]
    allow_mass_delete: bool,
    /// Write what a pull request would do into FILE; after `workflow_run`, comment what FILE says
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments, context: &mut Context) -> Result<Exit, CliError> {
    let choices = Choices {
        max_duration: arguments.max_duration.clone(),
        jobs: arguments.jobs,
        allow_mass_delete: arguments.allow_mass_delete,
        report: arguments.report.clone(),
    };
    ci::run(&choices, context)
}
