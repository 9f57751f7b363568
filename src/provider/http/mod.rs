//! `http://…`, `https://…` and `service://NAME`: a service does the work, as `docs/providers/http.md` describes it.

mod config;
mod exchange;
mod reply;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Instant;

use self::config::HttpConfig;
use self::exchange::HttpExchange;
use super::criteria::check_elsewhere;
use super::output::AttemptLog;
use super::{
    Attempt, AttemptFuture, AttemptOutcome, AttemptReport, CancelFuture, ConfigError, Control, Provider,
    ProviderContext, check_criteria, stop_requested,
};
use crate::model::{JsonMap, NodeReason};

/// The provider.
pub(super) struct Http(ProviderContext);

impl Http {
    pub(super) fn new(context: ProviderContext) -> Self {
        Self(context)
    }

    fn start(&self, attempt: Attempt, control: Control, again: bool) -> AttemptFuture {
        let shared = self.0.clone();
        Box::pin(async move { run(&shared, attempt, control, again).await })
    }
}

impl Provider for Http {
    fn schemes(&self) -> &'static [&'static str] {
        &["http", "https", "service"]
    }

    fn check(&self, provider: &str, config: &JsonMap) -> Result<(), ConfigError> {
        HttpConfig::check(provider, config, &self.0.settings)
    }

    fn run(&self, attempt: Attempt, control: Control) -> AttemptFuture {
        self.start(attempt, control, false)
    }

    fn poll(&self, attempt: Attempt, control: Control) -> AttemptFuture {
        self.start(attempt, control, true)
    }

    fn cancel_remote(&self, attempt: Attempt) -> CancelFuture {
        let shared = self.0.clone();
        Box::pin(async move {
            let config = HttpConfig::read(&attempt.provider, &attempt.config, &shared.settings)
                .map_err(|error| error.to_string())?;
            let exchange = HttpExchange::new(&shared, &attempt, config);
            exchange.cancel().await.map_err(|message| shared.redactor.text(&message))
        })
    }
}

async fn run(shared: &ProviderContext, attempt: Attempt, control: Control, again: bool) -> AttemptReport {
    let began = Instant::now();
    let Control { mut stop, output, .. } = control;
    let config = match HttpConfig::read(&attempt.provider, &attempt.config, &shared.settings) {
        Ok(config) => config,
        Err(error) => return AttemptOutcome::permanent(NodeReason::ProviderFailed, error.to_string()).into(),
    };
    if let Err(error) = check_criteria(&attempt.criteria) {
        return AttemptOutcome::permanent(NodeReason::ProviderFailed, error.to_string()).into();
    }
    let exchange = HttpExchange::new(shared, &attempt, config);
    // What was handed in once is not handed in again.
    let again = again || attempt.handle.is_some();
    let work = async { if again { exchange.poll().await } else { exchange.begin().await } };
    let (mut report, message) = tokio::select! {
        ended = work => ended,
        stop = stop_requested(&mut stop) => return AttemptOutcome::Stopped(stop).into(),
    };
    if !matches!(report.outcome, AttemptOutcome::Succeeded { .. }) {
        return report;
    }
    let mut log = AttemptLog::new(attempt.run_dir.join("log"), Arc::clone(&shared.redactor), output);
    if let Some(message) = message {
        log.write(message.as_bytes());
        log.end_part();
    }
    check_elsewhere(shared, &attempt, began, &mut report, &mut stop, log).await;
    report
}
