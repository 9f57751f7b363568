//! `planspec ci`: what a job of GitHub Actions does about its event.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::cli::Context;
use crate::cli::ci::work::{self, WorkChoices};
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
  planspec ci --report preview.json
  planspec ci work --out work")]
pub(crate) struct CiArguments {
    #[command(flatten)]
    bounds: PassBounds,
    /// Write the preview of a pull request to FILE; after `workflow_run`, comment with the contents of FILE
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Turn the workflow FILE of this repository, such as planspec-schedule.yml, off while nothing is due by itself, and on again
    #[arg(long, value_name = "FILE")]
    schedule_workflow: Option<String>,
    #[command(subcommand)]
    command: Option<CiCommand>,
}

/// What a job does that a pass has started.
#[derive(Debug, Subcommand)]
enum CiCommand {
    Work(WorkArguments),
}

/// Do the work of an attempt that a pass has claimed, in a job whose token cannot write
///
/// A pass with `providers.commands.workflow` in .planspec.yaml starts a workflow for each local command. Its job runs this: the
/// claim is read from the status branch and checked as the pass checks it, the command runs, and what it left is written to a
/// folder, which the workflow uploads as the artifact `planspec-work`. Nothing is published.
#[derive(Debug, Args)]
struct WorkArguments {
    /// The execution (default: the input `planspec_execution` of the event)
    #[arg(long, value_name = "NAMESPACE/NAME")]
    execution: Option<String>,
    /// The name of the attempt (default: the input `planspec_key` of the event)
    #[arg(long, value_name = "NAME")]
    attempt: Option<String>,
    /// The folder for what the work leaves; empty, or not there yet
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

pub(crate) fn run(arguments: &CiArguments, context: &mut Context) -> Result<Exit, CliError> {
    if let Some(CiCommand::Work(WorkArguments { execution, attempt, out })) = &arguments.command {
        let (execution, attempt, out) = (execution.clone(), attempt.clone(), out.clone());
        return work::run(&WorkChoices { execution, attempt, out }, context);
    }
    // The flags of the action arrive here; everything else is read from the event and the environment.
    let choices = CiOptions {
        bounds: arguments.bounds.clone(),
        report: arguments.report.clone(),
        schedule_workflow: arguments.schedule_workflow.clone(),
    };
    ci::run(&choices, context)
}
