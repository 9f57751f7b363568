//! Acceptance criteria of remote work. Those that need files or commands get a fresh checkout.

use std::path::Path;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::checker::{Checker, needs_checkout};
use crate::model::{CriterionResult, LogSummary, NodeReason};
use crate::provider::output::AttemptLog;
use crate::provider::process::{EnvVars, Interrupt, interrupt};
use crate::provider::{
    Attempt, AttemptOutcome, AttemptReport, PrivateCheckout, ProviderContext, Stop, stop_requested,
};

/// From TERM to KILL.
const GRACE: Duration = Duration::from_secs(5);

/// Checks the criteria of an attempt that succeeded, and takes what came out into its report. `began` is when this run or
/// poll did.
pub(in crate::provider) async fn check_elsewhere(
    shared: &ProviderContext,
    attempt: &Attempt,
    began: Instant,
    report: &mut AttemptReport,
    stop: &mut watch::Receiver<Option<Stop>>,
    log: AttemptLog,
) {
    check_there(shared, attempt, (began, None), report, stop, log).await;
}

/// The same, where the work was done, if there is such a place.
pub(in crate::provider) async fn check_there(
    shared: &ProviderContext,
    attempt: &Attempt,
    (began, place): (Instant, Option<PrivateCheckout>),
    report: &mut AttemptReport,
    stop: &mut watch::Receiver<Option<Stop>>,
    log: AttemptLog,
) {
    let (mut asker, interrupt) = match interrupt() {
        Ok(ends) => ends,
        Err(error) => {
            let message = format!("cannot create a pipe for the checks: {error}");
            return report.override_success(AttemptOutcome::broken_off_here(message));
        }
    };
    // The `timeout` of a node covers the work and its checks together, the time before this poll included.
    let deadline = attempt.timeout.map(|timeout| timeout.saturating_sub(attempt.age));
    let deadline = deadline.and_then(|left| began.checked_add(left));
    let shared = shared.clone();
    let attempt = attempt.clone();
    let mut work =
        tokio::task::spawn_blocking(move || check(&shared, &attempt, (deadline, place), &interrupt, log));
    let checked = tokio::select! {
        checked = &mut work => checked,
        // The thread may hold the process of a criterion: it is asked to end it, and waited for.
        stop = stop_requested(stop) => {
            asker.ask(stop);
            work.await
        }
    };
    match checked {
        Ok(RemoteCriteria { results, log, outcome }) => {
            report.evidence.criteria = results;
            report.evidence.log = log;
            if let Err(outcome) = outcome {
                report.override_success(outcome);
            }
        }
        Err(error) => {
            let message = format!("the checks were aborted: {error}");
            report.override_success(AttemptOutcome::broken_off_here(message));
        }
    }
}

struct RemoteCriteria {
    results: Vec<CriterionResult>,
    log: Option<LogSummary>,
    outcome: Result<(), AttemptOutcome>,
}

/// Blocks.
fn check(
    shared: &ProviderContext,
    attempt: &Attempt,
    (deadline, there): (Option<Instant>, Option<PrivateCheckout>),
    interrupt: &Interrupt,
    mut log: AttemptLog,
) -> RemoteCriteria {
    let mut results = Vec::new();
    let outcome = in_a_place(attempt, there, |place| {
        let mut environment = EnvVars::new();
        for (name, value) in shared.settings.environment.iter().chain(&shared.settings.secrets) {
            environment.insert(name.into(), value.clone());
        }
        let mut checker = Checker {
            directory: place,
            // Artifacts of remote work are links, so there is no second folder in which a file could be.
            artifacts: place,
            environment: &environment,
            grace: GRACE,
            // `config.sandbox` is a setting of local commands; remote work has none to take over.
            enclosure: None,
            deadline,
            interrupt,
            log: &mut log,
            redactor: &shared.redactor,
            web: &shared.web,
        };
        checker.check_all(&attempt.criteria, &mut results)
    });
    let outcome = match outcome {
        Err(outcome) => Err(outcome),
        Ok(Err(cut)) => {
            Err(cut.outcome(|| AttemptOutcome::failed(NodeReason::Timeout, "the checks took too long")))
        }
        Ok(Ok(())) => match results.iter().find(|result| result.required && !result.passed) {
            Some(result) => {
                let message = format!("acceptance criterion `{}`: {}", result.name, result.evidence);
                Err(AttemptOutcome::failed(NodeReason::CriterionFailed, message))
            }
            None => Ok(()),
        },
    };
    RemoteCriteria { results, log: log.finish(), outcome }
}

/// With a checkout when a criterion needs one.
fn in_a_place<T>(
    attempt: &Attempt,
    there: Option<PrivateCheckout>,
    work: impl FnOnce(&Path) -> T,
) -> Result<T, AttemptOutcome> {
    if let Some(there) = there {
        return Ok(work(&there));
    }
    // A checkout of a large repository takes longer than the question to a service.
    if !attempt.criteria.iter().any(|criterion| needs_checkout(&criterion.check)) {
        return Ok(work(&attempt.run_dir));
    }
    let checkout = attempt.workspace.prepare().map_err(|error| match error.outcome() {
        // The work was done, whatever keeps it from being checked.
        AttemptOutcome::RunnerFailed { fault, message, .. } => {
            AttemptOutcome::RunnerFailed { fault, message, begun: true }
        }
        AttemptOutcome::NotStarted { .. } => AttemptOutcome::Stopped(Stop::Shutdown),
        other => other,
    })?;
    Ok(work(&checkout))
}
