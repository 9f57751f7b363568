//! The setting `verify`: who else judges what a command changed, and with which settings.

use serde_json::{Value, json};

use crate::model::{CheckedFiles, Digest, JsonMap};
use crate::provider::ConfigError;
use crate::provider::criteria::CheckedCommit;
use crate::provider::settings::Settings;

/// Settings of commands that have no meaning for whoever verifies.
const NONE_OF_ITS: [&str; 8] =
    ["changes", "paths", "protect", "onConflict", "verify", "needs", "checkout", "workspace"];

/// Who verifies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::provider) struct VerifySettings {
    pub(super) provider: String,
    pub(super) config: JsonMap,
}

impl VerifySettings {
    /// Reads `verify`: a provider string, or one with its settings.
    pub(super) fn read(settings: &Settings<'_>) -> Result<Option<Self>, ConfigError> {
        let expected = "a provider, or a map with `provider` and `config`";
        let wrong = || ConfigError::WrongType { key: "verify".to_owned(), expected };
        let map = match settings.value("verify") {
            None => return Ok(None),
            Some(Value::String(provider)) => {
                return Ok(Some(Self { provider: provider.clone(), config: JsonMap::new() }));
            }
            Some(Value::Object(map)) => map,
            Some(_) => return Err(wrong()),
        };
        Settings::new(map, &["provider", "config"]).map_err(|error| match error {
            ConfigError::UnknownKey { key, hint } => {
                ConfigError::UnknownKey { key: format!("verify.{key}"), hint }
            }
            other => other,
        })?;
        let provider = map.get("provider").and_then(Value::as_str).ok_or_else(wrong)?.to_owned();
        let config = match map.get("config") {
            None => JsonMap::new(),
            Some(Value::Object(config)) => config.clone(),
            Some(_) => return Err(wrong()),
        };
        Ok(Some(Self { provider, config }))
    }

    /// Refuses settings that would say what becomes of its changes: there is nothing that it could hand in.
    pub(super) fn check_keys(&self) -> Result<(), ConfigError> {
        match NONE_OF_ITS.into_iter().find(|key| self.config.contains_key(*key)) {
            None => Ok(()),
            Some(key) => {
                let why = "is no setting of who verifies: what they change is dropped".to_owned();
                Err(ConfigError::Invalid { key: key.to_owned(), why })
            }
        }
    }

    /// An error in its provider or its settings, as one of `verify`.
    pub(super) fn below(error: ConfigError) -> ConfigError {
        let key = |key: &str| format!("verify.config.{key}");
        match error {
            error @ (ConfigError::Provider { .. } | ConfigError::Criterion { .. }) => ConfigError::Invalid {
                key: "verify.provider".to_owned(),
                why: format!("cannot be used: {error}"),
            },
            ConfigError::Missing { provider, key, why } => ConfigError::Invalid {
                key: "verify.config".to_owned(),
                why: format!("needs `{key}` for `{provider}`: {why}"),
            },
            ConfigError::UnknownKey { key: name, hint } => ConfigError::UnknownKey { key: key(&name), hint },
            ConfigError::WrongType { key: name, expected } => {
                ConfigError::WrongType { key: key(&name), expected }
            }
            ConfigError::Invalid { key: name, why } => ConfigError::Invalid { key: key(&name), why },
        }
    }

    /// What a verdict is called among those on acceptance criteria.
    pub(super) fn name(&self) -> String {
        format!("verify: {}", self.provider)
    }

    /// What a verdict is about: the commit, and the digest of who was asked with which settings about which files.
    pub(super) fn checked(&self, checked: &CheckedCommit) -> CheckedFiles {
        let what = json!({
            "verify": { "provider": self.provider, "config": self.config },
            "tree": checked.tree,
            "workingDirectory": checked.below,
        });
        let CheckedCommit { commit, restored, .. } = checked;
        CheckedFiles { commit: commit.clone(), digest: Digest::of_value(&what), restored: *restored }
    }
}
