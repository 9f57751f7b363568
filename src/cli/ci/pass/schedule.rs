//! The schedule of a repository in which nothing happens: the workflow that starts a pass every half hour is on only while a pass
//! may have something to do. A job that only finds out that it was not needed would cost the minute that it began all the same.

use jiff::{SignedDuration, Timestamp};

use crate::cli::Context;
use crate::cli::ci::host::Host;
use crate::cli::ci::pass_view::PassView;
use crate::cli::error::CliError;
use crate::engine::ReconcileSummary;
use crate::git::ObjectId;
use crate::github::GitHub;
use crate::host::{GitHost, HostError};
use crate::report::text;

/// How long the next pass may be away while the workflow is off: `planspec-apply.yml` has one every six hours, and the host
/// starts scheduled jobs late when it is busy.
const HORIZON: SignedDuration = SignedDuration::from_hours(7);

/// How long after the last record passes go on: the host may have been late with the pull request of a commit, or with a review,
/// and the next two passes ask again.
const SETTLING: SignedDuration = SignedDuration::from_hours(1);

/// Turns the workflow on or off, as the end of this pass says; `incomplete` where reports are left to the next one. A host that
/// refuses is a warning: the pass has done its work.
pub(super) fn keep(
    host: &Host,
    workflow: &str,
    summary: &ReconcileSummary,
    incomplete: bool,
    context: &mut Context,
) -> Result<(), CliError> {
    let recorded = PassView::open(context)?.recorded_at()?;
    let needed = incomplete || is_needed(summary, recorded.map(|(_, at)| at), context.now());
    let due = summary.next_due.map_or_else(|| "nothing".to_owned(), |at| at.to_string());
    tracing::debug!(needed, due, incomplete, "schedule decided");
    if let Err(error) = turn(host, workflow, needed, recorded.map(|(tip, _)| tip), context) {
        let why = error.to_string();
        context.out.warning(format!("cannot change the schedule: {}", text::line(&why)))?;
    }
    Ok(())
}

/// Turns the workflow on while a pass works that may yet be killed: then nothing else would start the next one for hours.
pub(super) fn turn_on(host: &Host, workflow: &str) {
    if let Err(error) = set(host, workflow, true) {
        // The end of the pass tries again, and says so when the host refuses then.
        tracing::debug!(%error, "schedule not turned on yet");
    }
}

fn turn(
    host: &Host,
    workflow: &str,
    needed: bool,
    decided_on: Option<ObjectId>,
    context: &mut Context,
) -> Result<(), CliError> {
    if !set(host, workflow, needed)? {
        return Ok(());
    }
    if needed {
        context.out.note(format!("{workflow} is on: something is due soon"))?;
        return Ok(());
    }
    // A pass of a command runs beside this one. It publishes before it turns the workflow on: what it published since this
    // pass decided may have been turned off again just now, and what it publishes from here on, it turns on itself.
    if PassView::open(context)?.recorded_at()?.map(|(tip, _)| tip) != decided_on {
        host.ask(|host, repo| async move { workflows_of(host)?.turn_workflow(repo, workflow, true).await })?;
        return Ok(());
    }
    context.out.note(format!("{workflow} is off: nothing is due by itself within hours"))?;
    Ok(())
}

/// Turns the workflow on or off, unless it is so; whether it was not.
fn set(host: &Host, workflow: &str, on: bool) -> Result<bool, HostError> {
    host.ask(|host, repo| async move {
        let github = workflows_of(host)?;
        let changes = github.is_workflow_on(repo, workflow).await? != on;
        if changes {
            github.turn_workflow(repo, workflow, on).await?;
        }
        Ok(changes)
    })
}

/// The host as the one that starts workflows by itself.
fn workflows_of(host: &dyn GitHost) -> Result<&GitHub, HostError> {
    GitHub::of(host).ok_or_else(|| HostError::NotOffered { what: "turn a workflow on or off".to_owned() })
}

/// Whether a pass within the next hours has something to do that no event starts.
fn is_needed(summary: &ReconcileSummary, recorded: Option<Timestamp>, now: Timestamp) -> bool {
    summary.interrupted
        || summary.runner_fault.is_some()
        || summary.next_due.is_some_and(|due| due.duration_since(now) < HORIZON)
        || recorded.is_some_and(|at| now.duration_since(at) < SETTLING)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_go_on_while_something_is_due_soon_or_was_recorded_lately() {
        let now: Timestamp = "2026-07-01T12:00:00Z".parse().unwrap();
        let hours = |hours: i64| Some(now + SignedDuration::from_hours(hours));
        let idle = ReconcileSummary::default();
        assert!(!is_needed(&idle, None, now) && !is_needed(&idle, hours(-1), now));
        assert!(is_needed(&idle, hours(0), now));
        let due = |at| ReconcileSummary { next_due: hours(at), ..ReconcileSummary::default() };
        assert!(is_needed(&due(-1), None, now) && is_needed(&due(6), None, now));
        assert!(!is_needed(&due(7), None, now));
        let cut = ReconcileSummary { interrupted: true, ..ReconcileSummary::default() };
        let ill = ReconcileSummary { runner_fault: Some("full".to_owned()), ..ReconcileSummary::default() };
        assert!(is_needed(&cut, None, now) && is_needed(&ill, None, now));
    }
}
