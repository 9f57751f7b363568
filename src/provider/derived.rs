//! `plan://NAME`: the work is an Execution of a plan. The engine makes and follows it; this only says that the scheme is known, and
//! which settings it takes.

use super::{Attempt, AttemptFuture, AttemptOutcome, ConfigError, Control, Provider};
use crate::model::{JsonMap, Name, NodeReason};

/// The provider of nodes that a plan does.
#[derive(Debug)]
pub(super) struct DerivedExecutions;

impl Provider for DerivedExecutions {
    fn schemes(&self) -> &'static [&'static str] {
        &["plan"]
    }

    fn check(&self, provider: &str, config: &JsonMap) -> Result<(), ConfigError> {
        let name = provider.split_once("://").map_or(provider, |(_, name)| name);
        Name::new(name)
            .map_err(|_| ConfigError::Provider { provider: provider.to_owned(), why: "names no plan" })?;
        match config.keys().next().cloned() {
            // A setting that nothing reads is a misunderstanding.
            Some(key) => {
                let hint = "; the inputs of the node are the parameters of the plan".to_owned();
                Err(ConfigError::UnknownKey { key, hint })
            }
            None => Ok(()),
        }
    }

    fn run(&self, attempt: Attempt, _control: Control) -> AttemptFuture {
        let message = format!("`{}` is not run by an attempt", attempt.provider);
        let reason = NodeReason::ProviderFailed;
        let outcome = AttemptOutcome::Failed { reason, message, retryable: false, retry_after: None };
        Box::pin(std::future::ready(outcome.into()))
    }
}
