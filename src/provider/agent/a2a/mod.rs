//! An agent at an address: it gets the task by the protocol A2A 1.0, as JSON-RPC over HTTP, and is polled until the
//! task has ended. `docs/providers/agent.md` describes it.

mod calls;
mod card;
mod config;
mod exchange;
mod results;
mod rpc;
mod task;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

pub(super) use self::config::Address;
use self::exchange::{A2aExchange, FinalReport};
use crate::model::NodeReason;
use crate::provider::criteria::check_elsewhere;
use crate::provider::output::AttemptLog;
use crate::provider::{
    Attempt, AttemptFuture, AttemptOutcome, AttemptReport, CancelFuture, ConfigError, Control,
    ProviderContext, Stop, check_criteria, stop_requested,
};

/// How long is waited, when an attempt has to end, for the answer that names the task.
const LAST_ANSWER: Duration = Duration::from_secs(5);

/// The agents at addresses.
pub(super) struct RemoteAgents(ProviderContext);

impl RemoteAgents {
    pub(super) fn new(context: ProviderContext) -> Self {
        Self(context)
    }

    /// Hands in the task and follows it for a moment.
    pub(super) fn run(
        &self,
        attempt: Attempt,
        address: Result<Address, ConfigError>,
        control: Control,
    ) -> AttemptFuture {
        let shared = self.0.clone();
        // What was handed in once is not handed in again.
        let again = attempt.handle.is_some();
        Box::pin(async move { run(&shared, attempt, address, control, again).await })
    }

    /// Polls a task that was handed in before.
    pub(super) fn poll(
        &self,
        mut attempt: Attempt,
        address: Result<Address, ConfigError>,
        control: Control,
    ) -> AttemptFuture {
        let shared = self.0.clone();
        // A poll changes nothing outside; answers are passed on by claimed attempts.
        attempt.answer = None;
        Box::pin(async move { run(&shared, attempt, address, control, true).await })
    }

    /// Has a task cancelled.
    pub(super) fn cancel(&self, attempt: Attempt, address: Result<Address, ConfigError>) -> CancelFuture {
        let shared = self.0.clone();
        Box::pin(async move {
            let address = address.map_err(|error| error.to_string())?;
            let exchange = A2aExchange::new(&shared, &attempt, address);
            exchange.cancel().await.map_err(|message| shared.redactor.text(&message))
        })
    }
}

async fn run(
    shared: &ProviderContext,
    attempt: Attempt,
    address: Result<Address, ConfigError>,
    control: Control,
    again: bool,
) -> AttemptReport {
    let permanent =
        |error: ConfigError| AttemptOutcome::permanent(NodeReason::ProviderFailed, error.to_string());
    let began = Instant::now();
    let Control { mut stop, output, .. } = control;
    let address = match address {
        Ok(address) => address,
        Err(error) => return permanent(error).into(),
    };
    if let Err(error) = check_criteria(&attempt.criteria) {
        return permanent(error).into();
    }
    let exchange = A2aExchange::new(shared, &attempt, address);
    let ended = if again { go_on(&exchange, &mut stop).await } else { begin(&exchange, &mut stop).await };
    let (mut report, words) = match ended {
        Ok(results) => {
            let mut report = AttemptReport::from(AttemptOutcome::Succeeded { outputs: results.outputs });
            report.evidence.artifacts = results.artifacts;
            (report, results.words)
        }
        Err(outcome) => return AttemptReport::from(outcome.cleaned(&shared.redactor)),
    };
    report.outcome = report.outcome.cleaned(&shared.redactor);
    for artifact in &mut report.evidence.artifacts {
        artifact.name = shared.redactor.text(&artifact.name);
        artifact.url = artifact.url.take().map(|url| shared.redactor.text(&url));
    }
    let mut log = AttemptLog::new(attempt.run_dir.join("log"), Arc::clone(&shared.redactor), output);
    if !words.is_empty() {
        log.write(words.as_bytes());
        log.end_part();
    }
    check_elsewhere(shared, &attempt, began, &mut report, &mut stop, log).await;
    report
}

/// Hands in a task. Where that has to end, the answer names the task, which is cancelled, or kept for the next runner.
async fn begin(exchange: &A2aExchange<'_>, stop: &mut watch::Receiver<Option<Stop>>) -> FinalReport {
    let mut handing_in = Box::pin(exchange.begin());
    let stop = tokio::select! {
        ended = &mut handing_in => return ended,
        stop = stop_requested(stop) => stop,
    };
    match tokio::time::timeout(LAST_ANSWER, &mut handing_in).await {
        Ok(ended) if stop == Stop::Shutdown => return ended,
        Ok(ended) => exchange.cancel_what_began(ended).await,
        Err(_) => {}
    }
    Err(AttemptOutcome::Stopped(stop))
}

/// Goes on with a task that was handed in before.
async fn go_on(exchange: &A2aExchange<'_>, stop: &mut watch::Receiver<Option<Stop>>) -> FinalReport {
    let stop = tokio::select! {
        ended = exchange.go_on() => return ended,
        stop = stop_requested(stop) => stop,
    };
    if stop == Stop::Cancel {
        // The node is cancelled in any case.
        let _ = tokio::time::timeout(LAST_ANSWER, exchange.cancel()).await;
    }
    Err(AttemptOutcome::Stopped(stop))
}
