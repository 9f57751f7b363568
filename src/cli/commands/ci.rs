//! `planspec ci`: what a job of GitHub Actions does about its event.

use std::path::PathBuf;

use clap::Args;

use crate::cli::Context;
use crate::cli::ci::{self, CiOptions};
use crate::cli::drive::PassBounds;
use crate::cli::error::{CliError, Exit};

/// Handle the event of a GitHub Actions job
///
/// A pull request is compared with its base, and the result goes into annotations, the job's check, one comment and the
/// job summary. A push to the default branch, a schedule, a manual start and the end of an issue that asked a
/// person for work start a reconcile. A comment that begins with `/planspec` is a command. Reads GITHUB_EVENT_NAME,
/// GITHUB_EVENT_PATH, GITHUB_REPOSITORY, GITHUB_TOKEN, GITHUB_API_URL, GITHUB_SERVER_URL, GITHUB_RUN_ID,
/// GITHUB_OUTPUT and GITHUB_STEP_SUMMARY.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  planspec ci
  planspec ci --max-duration 50m
  planspec ci --report preview.json")]
pub(crate) struct CiArguments {
    #[command(flatten)]
    bounds: PassBounds,
    /// Write the preview of a pull request to FILE; after `workflow_run`, comment with the contents of FILE
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Turn the workflow FILE of this repository, such as planspec-schedule.yml, off while nothing is due by itself, and on again
    #[arg(long, value_name = "FILE")]
    schedule_workflow: Option<String>,
}

pub(crate) fn run(arguments: &CiArguments, context: &mut Context) -> Result<Exit, CliError> {
    // The flags of the action arrive here; everything else is read from the event and the environment.
    let choices = CiOptions {
        bounds: arguments.bounds.clone(),
        report: arguments.report.clone(),
        schedule_workflow: arguments.schedule_workflow.clone(),
    };
    ci::run(&choices, context)
}
