//! `planspec ci`: what a job of GitHub Actions does about its event.

use std::path::PathBuf;

use clap::Args;

use crate::cli::Context;
use crate::cli::ci::{self, CiOptions};
use crate::cli::drive::PassBounds;
use crate::cli::error::{CliError, Exit};

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
pub(crate) struct CiArguments {
    #[command(flatten)]
    bounds: PassBounds,
    /// Write what a pull request would do into FILE; after `workflow_run`, comment what FILE says
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

pub(crate) fn run(arguments: &CiArguments, context: &mut Context) -> Result<Exit, CliError> {
    // The flags of the action arrive here; everything else is read from the event and the environment.
    let choices = CiOptions { bounds: arguments.bounds.clone(), report: arguments.report.clone() };
    ci::run(&choices, context)
}
