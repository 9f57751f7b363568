//! What is wrong after a pass, as annotations of its run and at the top of the job's summary: manifests that cannot be applied,
//! deletions that are held back, and Executions that failed. Needs nothing of the host.

use crate::cli::Context;
use crate::cli::ci::pass::pass_report::PassReport;
use crate::cli::ci::pass_view::PassView;
use crate::cli::ci::step;
use crate::cli::error::CliError;
use crate::config::Actions;
use crate::model::ResourceKey;
use crate::report::diagnostics::{failed_work, github_after};
use crate::report::markdown::PageLinks;

/// Prints the annotations, and begins the summary with what cannot be applied. Without a view, where the branches cannot be read
/// after the pass, what failed is told by its name alone.
pub(super) fn tell(
    passed: &PassReport,
    view: Option<&PassView>,
    (actions, muted): (&Actions, &step::MutedRunner),
    context: &mut Context,
) -> Result<(), CliError> {
    let mut failed = Vec::new();
    for key in &passed.summary.failed {
        failed.extend(failure(view, key)?);
    }
    let failed = failed_work(&failed);
    let lines = format!("{failed}{}", github_after(&passed.errors, failed.lines().count()));
    muted.commands(&lines, &mut context.out)?;
    let unapplied = passed.unapplied();
    if unapplied.is_empty() {
        return Ok(());
    }
    let home = step::repository_address(actions);
    let links = PageLinks { full: None, repository: home.as_deref(), foot: "" };
    step::summary(actions, &unapplied.summary(passed.desired.as_deref(), links))
}

/// What failed of an Execution, and why: its title and its words. None where it is gone.
fn failure(view: Option<&PassView>, key: &ResourceKey) -> Result<Option<(String, String)>, CliError> {
    let name = format!("{}/{}", key.namespace, key.name);
    let Some(view) = view else { return Ok(Some((format!("{name} failed"), String::new()))) };
    let record = view.record(key)?;
    let Some(status) = record.as_ref().and_then(|record| record.execution()) else { return Ok(None) };
    let mut nodes = status.node_statuses.iter().filter(|(_, node)| node.has_failed_itself());
    Ok(Some(match nodes.next() {
        // The first is enough: the summary has all of them, with the ends of their logs.
        Some((id, node)) => (format!("{name} failed at {id}"), node.message.clone()),
        None => (format!("{name} failed"), status.message.clone().unwrap_or_default()),
    }))
}
