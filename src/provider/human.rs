//! `human://USER-OR-TEAM`: a person does the work and says so with `planspec complete`.

use super::check::Settings;
use super::plain_text::plain_line;
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
        plain_line(person(&attempt.provider).as_bytes()),
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
        message.push_str(&plain_line(instructions.as_bytes()));
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use serde_json::json;
    use tokio::sync::{mpsc, watch};

    use crate::model::{Kind, ResourceKey};
    use crate::provider::{Checkout, Workspace, WorkspaceError};

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

    #[test]
    fn the_node_is_blocked_and_says_what_ends_that() {
        let folder: std::path::PathBuf = "/nowhere".into();
        let attempt = Attempt {
            key: "exec-1"
                .parse()
                .map(|name| ResourceKey::new(Kind::Execution, "team".parse().unwrap(), name))
                .unwrap(),
            node: "sign".parse().unwrap(),
            attempt: 1,
            run_id: "run".to_owned(),
            idempotency_key: "uid/sign/1".to_owned(),
            work: "uid/build/0".to_owned(),
            fencing_token: 1,
            provider: "human://mia".to_owned(),
            config: json!({"instructions": "read the contract"}).as_object().unwrap().clone(),
            inputs: JsonMap::new(),
            declared_outputs: vec!["place".to_owned()],
            criteria: Vec::new(),
            timeout: None,
            commit: "0".repeat(40),
            run_dir: folder,
            workspace: Arc::new(Nowhere),
            handle: None,
            brief: Default::default(),
        };
        let control = Control { stop: watch::channel(None).1, output: mpsc::channel(1).0 };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let Outcome::Blocked { reason, message, .. } = runtime.block_on(Human.run(attempt, control)).outcome
        else {
            panic!("not blocked")
        };
        assert_eq!(reason, NodeReason::AwaitingPerson);
        assert_eq!(
            message,
            "waits for mia to run `planspec complete exec-1/sign -n team` and give the outputs place: read the contract"
        );
    }

    struct Nowhere;

    impl Workspace for Nowhere {
        fn prepare(&self) -> Result<Checkout, WorkspaceError> {
            panic!("a person needs no checkout")
        }
    }
}
