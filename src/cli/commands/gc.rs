//! `planspec gc`: keeps the status branch small.

use std::sync::Arc;

use clap::Args;
use jiff::SignedDuration;
use serde_json::json;

use crate::cli::Context;
use crate::cli::drive::runner_name;
use crate::cli::error::{CliError, Exit};
use crate::cli::output_format::OutputFormat;
use crate::cli::repo_context::RepoContext;
use crate::engine::{Clock, GcReport, SystemClock, collect};
use crate::model::Duration;
use crate::report::text;

/// Shrink finished executions to a summary, and squash old history of the status branch into one commit
///
/// Current records are kept; the history before the cut-off is lost, and so are the log tails of executions
/// that ended before it, and the references that keep what they changed and left. Branches that showed work go as soon as
/// it was delivered. On this machine, logs and artifacts go that are as old, and workspaces with ignored files that no task
/// used since then, or that are not among the 20 that were used last.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  planspec gc --dry-run
  planspec gc --older-than 90d")]
pub(crate) struct GcArguments {
    /// How old something must be (default: `retention` of .planspec.yaml, 30 days)
    #[arg(long, value_name = "DURATION")]
    older_than: Option<Duration>,
    /// Print what would be done without doing it
    #[arg(long)]
    dry_run: bool,
}

pub(crate) fn run(arguments: &GcArguments, context: &mut Context) -> Result<Exit, CliError> {
    let workspace = RepoContext::open(context)?;
    let branches = workspace.branches(context)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let age = match &arguments.older_than {
        Some(age) => age.span(),
        // Of the desired branch, as for a reconcile; the configuration of the working tree does not count.
        None => branches.tips()?.config.retention.span(),
    };
    let age = SignedDuration::try_from(age).unwrap_or(SignedDuration::MAX);
    // A span that is longer than all of history keeps everything.
    let cutoff = clock.now().saturating_sub(age).unwrap_or(jiff::Timestamp::MIN);
    let work_root = context.environment.work_home();
    let work_root = work_root.unwrap_or_else(|| branches.repo().cache_dir().join("work"));
    let collected = collect(
        &branches,
        (cutoff, arguments.dry_run),
        &clock,
        &runner_name(),
        (&work_root, &context.environment.bucket_access()),
    )?;
    show(&collected, arguments.dry_run, context)?;
    Ok(Exit::Done)
}

fn show(collected: &GcReport, dry_run: bool, context: &mut Context) -> Result<(), CliError> {
    if context.options.format()? == OutputFormat::Json {
        return context.out.json(&json!({
            "dryRun": dry_run, "shrunk": collected.shrunk, "squashed": collected.squashed,
            "kept": collected.kept, "runs": collected.runs, "workspaces": collected.workspaces,
            "shared": collected.shared,
            "objects": collected.objects, "bucketFault": collected.bucket_fault,
            "references": collected.references, "tip": collected.tip,
        }));
    }
    if let Some(warning) = bucket_warning(collected, dry_run) {
        context.out.warning(text::line(&warning))?;
    }
    let others = collected.workspaces + collected.shared + collected.objects + collected.references.len();
    if collected.shrunk + collected.squashed + collected.runs + others == 0 {
        return context.out.line("nothing to collect");
    }
    let would = if dry_run { "would be " } else { "" };
    context.out.line(format!("{} finished executions {would}shrunk", collected.shrunk))?;
    context.out.line(format!("{} commits {would}squashed, {} kept", collected.squashed, collected.kept))?;
    let runs = collected.runs + collected.shared;
    context.out.line(format!("{runs} directories of logs and artifacts {would}removed"))?;
    if collected.workspaces > 0 {
        let workspaces = collected.workspaces;
        context.out.line(format!("{workspaces} workspaces with ignored files {would}removed"))?;
    }
    if collected.objects > 0 {
        context.out.line(format!("{} objects of logs and artifacts {would}removed", collected.objects))?;
    }
    if !collected.references.is_empty() {
        context.out.line(format!("{} references {would}removed:", collected.references.len()))?;
    }
    for reference in &collected.references {
        context.out.line(text::line(&format!("  {reference}")))?;
    }
    Ok(())
}

/// What is wrong with the object store, and how far it was cleared before.
fn bucket_warning(collected: &GcReport, dry_run: bool) -> Option<String> {
    let fault = collected.bucket_fault.as_deref()?;
    Some(match collected.objects {
        _ if dry_run => format!("the object store does not say what it holds: {fault}"),
        0 => format!("nothing was removed from the object store: {fault}"),
        removed => format!(
            "{removed} objects were removed from the object store and the rest was not: {fault}; run `planspec gc` again after that"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_failure_says_what_was_removed_and_what_was_not() {
        let said = |objects, dry_run| {
            let bucket_fault = Some("it refuses".to_owned());
            bucket_warning(&GcReport { objects, bucket_fault, ..GcReport::default() }, dry_run).unwrap()
        };
        assert_eq!(said(0, false), "nothing was removed from the object store: it refuses");
        assert_eq!(
            said(3, false),
            "3 objects were removed from the object store and the rest was not: it refuses; run `planspec gc` again after that"
        );
        assert_eq!(said(3, true), "the object store does not say what it holds: it refuses");
        assert_eq!(bucket_warning(&GcReport::default(), false), None);
    }
}
