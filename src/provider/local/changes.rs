//! The settings `changes` and `paths`: what becomes of the files that a command changes, and which it may change.

use std::sync::Arc;

use globset::GlobBuilder;
use serde_json::Value;

use crate::model::NodeReason;
use crate::provider::output::{Redactor, holds_token};
use crate::provider::settings::{ConfigError, Settings};
use crate::provider::workspace::chain;
use crate::provider::{
    AttemptOutcome, ChangePolicy, ChangeRules, CollectError, CollectedChanges, Evidence, PrivateCheckout,
};

/// The settings of a command about the files that it changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ChangeSettings {
    policy: ChangePolicy,
    allow: Vec<String>,
    deny: Vec<String>,
}

impl ChangeSettings {
    /// Reads `changes` and `paths`. An agent is there to change files; of any other command that is told to keep them.
    pub(super) fn read(provider: &str, settings: &Settings<'_>) -> Result<Self, ConfigError> {
        let expected = "`commit`, `discard` or `forbid`";
        let policy = match settings.text("changes")?.as_deref() {
            None if provider.starts_with("agent://") => ChangePolicy::Commit,
            None | Some("discard") => ChangePolicy::Discard,
            Some("commit") => ChangePolicy::Commit,
            Some("forbid") => ChangePolicy::Forbid,
            Some(_) => return Err(ConfigError::WrongType { key: "changes".to_owned(), expected }),
        };
        let mut read = Self { policy, ..Self::default() };
        match settings.value("paths") {
            None => {}
            Some(Value::Object(paths)) => {
                let paths = Settings::new(paths, &["allow", "deny"])?;
                read.allow = paths.texts("allow")?;
                read.deny = paths.texts("deny")?;
            }
            Some(_) => {
                let expected = "a map with `allow` and `deny`";
                return Err(ConfigError::WrongType { key: "paths".to_owned(), expected });
            }
        }
        for glob in read.allow.iter().chain(&read.deny) {
            GlobBuilder::new(glob).literal_separator(true).build().map_err(|error| ConfigError::Invalid {
                key: "paths".to_owned(),
                why: format!("holds a glob that is malformed: {error}"),
            })?;
        }
        Ok(read)
    }

    /// Takes in what a command changed, into the evidence of its attempt.
    pub(super) fn collect(
        &self,
        checkout: &mut PrivateCheckout,
        redactor: &Arc<Redactor>,
        evidence: &mut Evidence,
    ) -> Result<(), AttemptOutcome> {
        let redactor = Arc::clone(redactor);
        let rules = ChangeRules {
            policy: self.policy,
            allow: self.allow.clone(),
            deny: self.deny.clone(),
            is_secret: Arc::new(move |content| redactor.finds_any(content) || holds_token(content)),
        };
        match checkout.collect(&rules) {
            Ok(CollectedChanges::None) => {}
            Ok(CollectedChanges::Discarded(discarded)) => evidence.discarded = Some(discarded),
            Ok(CollectedChanges::Result(result)) => evidence.result = Some(result),
            Err(CollectError::Refused(message)) => {
                return Err(AttemptOutcome::failed(NodeReason::ChangeRefused, message));
            }
            // The process ran, and may have had effects elsewhere: it is run again only where it may be repeated.
            Err(error @ CollectError::Runner(_)) => {
                return Err(AttemptOutcome::broken_off_here(chain(&error)));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(provider: &str, config: &Value) -> Result<ChangeSettings, String> {
        let settings = Settings::new(config.as_object().unwrap(), &["changes", "paths"]).unwrap();
        ChangeSettings::read(provider, &settings).map_err(|error| error.to_string())
    }

    #[test]
    fn agents_keep_what_they_change_and_others_only_when_told_to() {
        assert_eq!(read("agent://a", &json!({})).unwrap().policy, ChangePolicy::Commit);
        assert_eq!(read("tool://a", &json!({})).unwrap().policy, ChangePolicy::Discard);
        assert_eq!(read("tool://a", &json!({"changes": "commit"})).unwrap().policy, ChangePolicy::Commit);
        assert_eq!(read("agent://a", &json!({"changes": "forbid"})).unwrap().policy, ChangePolicy::Forbid);
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        let error = |config: Value| read("tool://a", &config).unwrap_err();
        assert_eq!(
            error(json!({"changes": "keep"})),
            "`config.changes` must be `commit`, `discard` or `forbid`"
        );
        assert_eq!(error(json!({"paths": []})), "`config.paths` must be a map with `allow` and `deny`");
        assert!(error(json!({"paths": {"deny": ["a["]}})).starts_with("`config.paths` holds a glob"));
    }
}
