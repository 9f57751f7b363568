//! A pass in a job: drives everything as far as it goes, and reports to the pull requests that introduced it.

mod annotations;
mod desired_issue;
mod live_updates;
mod mentions;
mod pass_report;
mod progress;
mod push_rules;
mod schedule;

use std::time::Instant;

use self::desired_issue::IssueState;
use self::live_updates::UpdateQueue;
use self::pass_report::PassReport;
use self::progress::ReportedState;
use crate::cli::Context;
use crate::cli::ci::authority::approvals;
use crate::cli::ci::event::ReviewRef;
use crate::cli::ci::host::Host;
use crate::cli::ci::pass_view::PassView;
use crate::cli::ci::{CiJob, CiOptions, step, witness};
use crate::cli::drive::{drive_with, verdict};
use crate::cli::error::{CliError, Exit};
use crate::cli::repo_context::RepoContext;
use crate::config::Actions;
use crate::engine::{ReconcileOptions, ReconcileSummary, forget_poll_times};
use crate::model::WORK_BRANCHES;
use crate::report::text;

/// Drives everything and reports it.
pub(crate) fn run(branch: Option<String>, job: CiJob<'_>, context: &mut Context) -> Result<Exit, CliError> {
    follow(branch, context);
    let host = open_host(job.actions, context)?.map(|host| host.within(job.choices));
    drive_and_report(host.as_ref(), job, context)
}

/// A branch other than the host's default was pushed, which the configuration may name as the desired branch.
pub(crate) fn after_push(
    pushed: &str,
    default: String,
    job: CiJob<'_>,
    context: &mut Context,
) -> Result<Exit, CliError> {
    follow(Some(default.clone()), context);
    let desired = match &context.options.reference {
        Some(given) => given.clone(),
        None => RepoContext::open(context)?.current_branch(context)?,
    };
    if pushed == desired {
        return run(Some(default), job, context);
    }
    let note = format!("nothing to do: {pushed} was pushed, and the desired branch is {desired}");
    context.out.note(text::line(&note))?;
    Ok(Exit::Done)
}

/// A pull request was approved: once it is merged, that may open gates.
pub(crate) fn after_review(
    place: &ReviewRef,
    job: CiJob<'_>,
    context: &mut Context,
) -> Result<Exit, CliError> {
    follow(place.branch.clone(), context);
    let host = Host::open(job.actions)?.within(job.choices);
    let pull = host.ask(|github, repo| github.pull(repo, place.number))?;
    if pull.is_open && pull.head.branch.starts_with(WORK_BRANCHES) && !pull.is_from_fork() {
        // A delivery, whose node waits for what people say here; its next poll may lie a minute ahead, and the next job half
        // an hour.
        poll_at_once(context)?;
        return drive_and_report(Some(&host), job, context);
    }
    // What is not merged does not exist yet, so that no gate can wait for this review.
    if pull.merged_at.is_none() {
        context.out.note("the pull request is not merged yet; its reviews are read after the merge")?;
        return Ok(Exit::Done);
    }
    drive_and_report(Some(&host), job, context)
}

/// Lets the next pass poll all remote work, however recent the last poll was.
pub(crate) fn poll_at_once(context: &Context) -> Result<(), CliError> {
    Ok(forget_poll_times(&RepoContext::open(context)?.repo.cache_dir())?)
}

/// The host, where there is a token that may be used; a warning where there is none. A pass needs none.
pub(crate) fn open_host(actions: &Actions, context: &mut Context) -> Result<Option<Host>, CliError> {
    match Host::open(actions) {
        Ok(host) => Ok(Some(host)),
        Err(error) => {
            let why = error.to_string();
            context.out.warning(format!("cannot write to the host: {}", text::line(&why)))?;
            Ok(None)
        }
    }
}

/// Takes the default branch from the event, which saves asking the host; the configuration may name another branch.
pub(crate) fn follow(branch: Option<String>, context: &mut Context) {
    context.options.host_default = branch;
}

/// One pass, one more when reviews opened gates, and the reports.
pub(crate) fn drive_and_report(
    host: Option<&Host>,
    job: CiJob<'_>,
    context: &mut Context,
) -> Result<Exit, CliError> {
    let CiJob { choices, actions, muted } = job;
    let begun = Instant::now();
    if let Some(host) = host {
        witness::ask(host, context)?;
    }
    let mut passed = PassReport::default();
    let mut reported = ReportedState::default();
    let full = step::summary_address(actions);
    let listener = PassObserver { host, full: full.as_deref() };
    once(&mut passed, choices, begun, &listener, &mut reported, context)?;
    // After the pass: what it started may wait at a gate that the review of its own pull request answers.
    if let Some(host) = host
        && !passed.summary.interrupted
        && passed.summary.waiting_count > 0
        && approvals::count_reviews(host, context)? > 0
    {
        once(&mut passed, choices, begun, &listener, &mut reported, context)?;
    }
    // Before the host is asked for anything: whatever comes of that, these are seen.
    let view = PassView::open(context);
    annotations::tell(&passed, view.as_ref().ok(), (actions, muted), context)?;
    let view = view?;
    let (page, phases) = progress::publish(host, &view, &passed, full.as_deref(), &mut reported, context)?;
    step::summary(actions, &page)?;
    step::outputs(
        actions,
        &[
            ("result", word(&passed.summary).to_owned()),
            ("executions", phases.to_string()),
            ("status-commit", passed.commit.clone().unwrap_or_default()),
            ("next-due", passed.summary.next_due.map(|at| at.to_string()).unwrap_or_default()),
        ],
    )?;
    if let (Some(host), Some(workflow)) = (host, &choices.schedule_workflow) {
        schedule::keep(host, workflow, &passed.summary, reported.is_incomplete(), context)?;
    }
    let allowed = choices.bounds.allows_mass_delete();
    let issue =
        host.map(|host| desired_issue::report(host, &passed, (allowed, actions), context)).transpose()?;
    let exit = verdict(&passed.summary)?;
    // A job that is red every half hour for what everybody knows is mail that people learn to ignore.
    if exit == Exit::No
        && issue == Some(IssueState::Known)
        && actions.event_name.as_deref() == Some("schedule")
    {
        context
            .out
            .note("what cannot be applied is in an issue already, so this scheduled pass does not fail")?;
        return Ok(Exit::Done);
    }
    Ok(exit)
}

/// Who is notified during a pass.
struct PassObserver<'a> {
    host: Option<&'a Host>,
    /// The address of the job's summary.
    full: Option<&'a str>,
}

fn once(
    passed: &mut PassReport,
    choices: &CiOptions,
    begun: Instant,
    listener: &PassObserver<'_>,
    reported: &mut ReportedState,
    context: &mut Context,
) -> Result<(), CliError> {
    let workspace = RepoContext::open(context)?;
    let interval = workspace.config_at(workspace.local_desired()?)?.publish.progress_interval.span();
    // A handle of its own: the engine takes the other one, and this one goes to another thread.
    let beside = PassView::nowhere(RepoContext::open(context)?, &context.environment.actions())?;
    // Two passes of a job share its time.
    let options = ReconcileOptions {
        max_duration: choices.bounds.time().map(|most| most.saturating_sub(begun.elapsed())),
        ..choices.bounds.options(context)
    };
    let mut seen = std::mem::take(passed);
    let news = UpdateQueue::default();
    let summary = std::thread::scope(|scope| {
        if let Some(host) = listener.host {
            let news = &news;
            let choices = (interval, listener.full, choices.schedule_workflow.as_deref());
            scope.spawn(move || live_updates::tell(news, beside, host, choices, reported));
        }
        // However the pass ends: the scope waits for the thread beside it, which ends by nothing else.
        let _end = news.end_on_drop();
        drive_with(workspace, options, context, |event| {
            seen.note(event);
            news.note(event);
        })
    })?;
    seen.touched.extend(summary.waiting.iter().map(|waiting| waiting.key.clone()));
    seen.touched.extend(summary.failed.iter().cloned());
    // What failed in the first pass of the job stays a failure of the job, although the second pass did not
    // touch it.
    let mut failed = std::mem::take(&mut seen.summary.failed);
    failed.retain(|key| !summary.failed.contains(key));
    seen.summary = summary;
    seen.summary.failed.extend(failed);
    *passed = seen;
    Ok(())
}

/// How it went, in one word for later steps.
fn word(summary: &ReconcileSummary) -> &'static str {
    // One word is all that a later step can compare with, so that what needs a person first comes first.
    if summary.invalid > 0 {
        "invalid"
    } else if summary.held_back > 0 {
        "held-back"
    } else if summary.interrupted {
        "interrupted"
    } else if !summary.failed.is_empty() {
        "failed"
    } else if summary.waiting_count > 0 {
        "waiting"
    } else {
        "done"
    }
}
