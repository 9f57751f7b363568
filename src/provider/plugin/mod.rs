//! Providers that users write: the scheme NAME is served by the executable `planspec-provider-NAME`, which gets one
//! request on its standard input and gives one answer on its standard output. `docs/providers/custom.md` describes both.

mod reply;
#[cfg(test)]
mod tests;

pub(super) use self::reply::read_any;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use super::agent::brief;
use super::local::{Job, LocalProcesses, ToolConfig};
use super::process::ProcessInput;
use super::{
    Attempt, AttemptFuture, AttemptOutcome, CancelFuture, ConfigError, Control, NoFiles, Provider,
    ProviderSettings,
};
use crate::model::JsonMap;

/// The version of the exchange.
const VERSION: &str = "planspec.provider/v1";

/// How long cancelling may take.
const CALLING_OFF: Duration = Duration::from_secs(30);

/// The schemes that `providers.plugins` of the configuration names.
pub(super) fn schemes(settings: &ProviderSettings) -> Vec<String> {
    let named = settings.sections.get("plugins").and_then(Value::as_array).into_iter().flatten();
    named.filter_map(|scheme| scheme.as_str().map(str::to_owned)).collect()
}

/// The providers that users write.
pub(super) struct Plugin(LocalProcesses);

impl Plugin {
    pub(super) fn new(processes: LocalProcesses) -> Self {
        Self(processes)
    }

    fn start(&self, operation: &str, mut attempt: Attempt, control: Control) -> AttemptFuture {
        let scheme = attempt.provider.split_once("://").map_or("", |(scheme, _)| scheme);
        // Only schemes that `providers.plugins` names come here, so a misspelt one starts no program.
        let mut config = ToolConfig::of_program(format!("planspec-provider-{scheme}"));
        if operation != "run" {
            // The folder of the attempt holds what `run` left. A checkout is there for those who check.
            attempt.run_dir.push(operation);
            // They were there for `run`, and a poll has to end soon.
            attempt.files = Arc::new(NoFiles);
            config.checkout = operation == "poll" && !attempt.criteria.is_empty();
        }
        let input = ProcessInput::Bytes(request(operation, &attempt).to_string().into_bytes());
        // Its handle is its own, and no question.
        let brief = Some(brief(&attempt, config.keeps_changes(), None));
        let is_question = operation == "poll";
        let job = Job { config, input, brief, answer: Some(reply::read), is_question };
        self.0.run_job(attempt, Ok(job), control)
    }
}

fn request(operation: &str, attempt: &Attempt) -> Value {
    json!({
        "apiVersion": VERSION,
        "operation": operation,
        "provider": attempt.provider,
        "attempt": {
            "namespace": attempt.key.namespace.as_str(),
            "execution": attempt.key.name.as_str(),
            "node": attempt.node.as_str(),
            "number": attempt.attempt,
            "runId": attempt.run_id,
            "idempotencyKey": attempt.idempotency_key,
            "workKey": attempt.work,
            "fencingToken": attempt.fencing_token,
            "commit": attempt.commit,
            "timeoutSeconds": attempt.timeout.map(|timeout| timeout.as_secs_f64()),
        },
        "config": attempt.config,
        "inputs": attempt.inputs,
        "outputs": attempt.declared_outputs,
        "handle": attempt.handle,
    })
}

impl Provider for Plugin {
    /// None by itself: `providers.plugins` names them.
    fn schemes(&self) -> &'static [&'static str] {
        &[]
    }

    // Only the program itself knows which settings it has.
    fn check(&self, _provider: &str, _config: &JsonMap) -> Result<(), ConfigError> {
        Ok(())
    }

    fn starts_process(&self, _provider: &str) -> bool {
        true
    }

    fn blocks(&self, _provider: &str) -> bool {
        true
    }

    fn run(&self, attempt: Attempt, control: Control) -> AttemptFuture {
        self.start("run", attempt, control)
    }

    fn poll(&self, attempt: Attempt, control: Control) -> AttemptFuture {
        self.start("poll", attempt, control)
    }

    fn cancel_remote(&self, mut attempt: Attempt) -> CancelFuture {
        attempt.timeout = Some(CALLING_OFF);
        // A cancellation has no result that could be checked or declared.
        attempt.criteria.clear();
        attempt.declared_outputs.clear();
        let (asker, stop) = watch::channel(None);
        let running = self.start("cancel", attempt, Control { stop, output: mpsc::channel(1).0, heed: None });
        Box::pin(async move {
            let report = running.await;
            drop(asker);
            match report.outcome {
                AttemptOutcome::Failed { message, .. } => Err(message),
                _ => Ok(()),
            }
        })
    }
}
