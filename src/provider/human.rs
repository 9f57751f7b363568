//! `human://USER-OR-TEAM`: a person does the work and says so with `planspec complete`.

use super::check::Settings;
use super::{Attempt, ConfigError, Control, Outcome, Provider, Report, Running};
use crate::model::{JsonMap, NodeReason};

const SCHEME: &str = "human://";

/// The provider.
pub(super) struct Human;

impl Provider for Human {
    fn schemes(&self) -> &'static [&'static str] {
        &["human"]
    }

    fn check(&self, provider: &str, config: &JsonMap) -> Result<(), ConfigError> {
        Settings::new(config, &["instructions"])?.text("instructions")?;
        match person(provider) {
            "" => Err(ConfigError::Provider {
                provider: provider.to_owned(),
                why: "names nobody; write `human://USER` or `human://TEAM`",
            }),
            _ => Ok(()),
        }
    }

    fn run(&self, attempt: Attempt, _control: Control) -> Running {
        let outcome = match self.check(&attempt.provider, &attempt.config) {
            Ok(()) => Outcome::Blocked {
                reason: NodeReason::AwaitingPerson,
                message: message(&attempt),
                handle: None,
                poll_after: None,
            },
            Err(error) => Outcome::hopeless(NodeReason::ProviderFailed, error.to_string()),
        };
        Box::pin(std::future::ready(Report::from(outcome)))
    }
}

fn person(provider: &str) -> &str {
    provider.strip_prefix(SCHEME).unwrap_or_default().trim()
}

fn message(attempt: &Attempt) -> String {
    let mut message = format!(
        "waits for {} to run `planspec complete {}/{} -n {}`",
        person(&attempt.provider),
        attempt.key.name,
        attempt.node,
        attempt.key.namespace,
    );
    if !attempt.declared_outputs.is_empty() {
        message.push_str(" and give the outputs ");
        message.push_str(&attempt.declared_outputs.join(", "));
    }
    if let Some(instructions) = attempt.config.get("instructions").and_then(|value| value.as_str()) {
        message.push_str(": ");
        message.push_str(instructions);
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(provider: &str, config: &serde_json::Value) -> Result<(), String> {
        Human.check(provider, config.as_object().unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_person_must_be_named_and_settings_known() {
        assert_eq!(check("human://mia", &json!({"instructions": "look at it"})), Ok(()));
        assert_eq!(
            check("human://", &json!({})).unwrap_err(),
            "`human://` names nobody; write `human://USER` or `human://TEAM`"
        );
        assert_eq!(
            check("human://mia", &json!({"instruction": "x"})).unwrap_err(),
            "unknown setting `config.instruction`; did you mean `instructions`?"
        );
    }
}
