//! The settings `changes`, `paths` and `protect`: what becomes of the files that a command changes, which it may change, and by
//! which it is judged.

use std::sync::Arc;

use globset::GlobBuilder;
use serde_json::Value;

use crate::model::NodeResult;
use crate::provider::output::{Redactor, holds_token};
use crate::provider::settings::{ConfigError, Settings};
use crate::provider::{
    AttemptOutcome, ChangePolicy, ChangeRules, CollectError, CollectedChanges, ContentCheck, Evidence,
    PrivateCheckout,
};

/// The settings of a command about the files that it changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ChangeSettings {
    policy: ChangePolicy,
    allow: Vec<String>,
    deny: Vec<String>,
    restore: Vec<String>,
    forbid: Vec<String>,
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
        let [allow, deny] = globs(settings, "paths", ["allow", "deny"], "a map with `allow` and `deny`")?;
        let expected = "a map with `restore` and `forbid`";
        let [restore, forbid] = globs(settings, "protect", ["restore", "forbid"], expected)?;
        if !restore.is_empty() && policy != ChangePolicy::Commit {
            // Criteria then run where the work was done, and nothing there is restored.
            return Err(ConfigError::Invalid {
                key: "protect.restore".to_owned(),
                why: "needs `changes: commit`; use `protect.forbid` otherwise".to_owned(),
            });
        }
        // Whoever plans reads it, too: what it asks for happens when no attempt is under way.
        let rerun = match settings.text("onConflict")?.as_deref() {
            None | Some("block") => false,
            Some("rerun") => true,
            Some(_) => {
                let expected = "`block` or `rerun`";
                return Err(ConfigError::WrongType { key: "onConflict".to_owned(), expected });
            }
        };
        if rerun && policy != ChangePolicy::Commit {
            return Err(ConfigError::Invalid {
                key: "onConflict".to_owned(),
                why: "needs `changes: commit`: without a result nothing can conflict".to_owned(),
            });
        }
        Ok(Self { policy, allow, deny, restore, forbid })
    }

    /// Whether what is changed becomes a commit.
    pub(super) fn keeps(&self) -> bool {
        self.policy == ChangePolicy::Commit
    }

    /// Globs of the files that are taken from the base before the work is judged.
    pub(super) fn restored(&self) -> &[String] {
        &self.restore
    }

    /// What may be changed, and what becomes of it.
    pub(super) fn rules(&self, redactor: &Arc<Redactor>) -> ChangeRules {
        ChangeRules {
            policy: self.policy,
            allow: self.allow.clone(),
            deny: self.deny.clone(),
            forbid: self.forbid.clone(),
            is_secret: secrets(redactor),
            is_unfinished: false,
        }
    }

    /// Takes in what a command changed, into the evidence of its attempt.
    pub(super) fn collect(
        &self,
        checkout: &mut PrivateCheckout,
        redactor: &Arc<Redactor>,
        evidence: &mut Evidence,
    ) -> Result<(), AttemptOutcome> {
        match checkout.collect(&self.rules(redactor)).map_err(CollectError::outcome)? {
            CollectedChanges::None => {}
            CollectedChanges::Discarded(discarded) => evidence.discarded = Some(discarded),
            CollectedChanges::Result(result) => evidence.result = Some(result),
        }
        Ok(())
    }

    /// Takes in what a command has changed so far that is to go on later, by the rules of every result.
    pub(super) fn collect_unfinished(
        &self,
        checkout: &mut PrivateCheckout,
        redactor: &Arc<Redactor>,
    ) -> Result<Option<NodeResult>, CollectError> {
        let rules = ChangeRules { is_unfinished: true, ..self.rules(redactor) };
        Ok(match checkout.collect(&rules)? {
            CollectedChanges::Result(result) => Some(result),
            CollectedChanges::None | CollectedChanges::Discarded(_) => None,
        })
    }
}

/// Whether content holds a secret that is known here, or something in the shape of one.
pub(in crate::provider) fn secrets(redactor: &Arc<Redactor>) -> ContentCheck {
    let redactor = Arc::clone(redactor);
    Arc::new(move |content| redactor.finds_any(content) || holds_token(content))
}

/// Checks globs that a setting holds.
pub(super) fn check_globs<'g>(
    key: &str,
    globs: impl IntoIterator<Item = &'g String>,
) -> Result<(), ConfigError> {
    for glob in globs {
        GlobBuilder::new(glob).literal_separator(true).build().map_err(|error| ConfigError::Invalid {
            key: key.to_owned(),
            why: format!("holds a glob that is malformed: {error}"),
        })?;
    }
    Ok(())
}

/// The two lists of globs of a setting.
fn globs(
    settings: &Settings<'_>,
    key: &'static str,
    names: [&str; 2],
    expected: &'static str,
) -> Result<[Vec<String>; 2], ConfigError> {
    let lists = match settings.value(key) {
        None => return Ok([Vec::new(), Vec::new()]),
        Some(Value::Object(lists)) => Settings::new(lists, &names)?,
        Some(_) => return Err(ConfigError::WrongType { key: key.to_owned(), expected }),
    };
    let lists = [lists.texts(names[0])?, lists.texts(names[1])?];
    check_globs(key, lists.iter().flatten())?;
    Ok(lists)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(provider: &str, config: &Value) -> Result<ChangeSettings, String> {
        let settings =
            Settings::new(config.as_object().unwrap(), &["changes", "paths", "protect", "onConflict"])
                .unwrap();
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
        assert_eq!(
            error(json!({"protect": 1})),
            "`config.protect` must be a map with `restore` and `forbid`"
        );
        assert_eq!(error(json!({"onConflict": "again"})), "`config.onConflict` must be `block` or `rerun`");
        assert_eq!(
            error(json!({"onConflict": "rerun"})),
            "`config.onConflict` needs `changes: commit`: without a result nothing can conflict"
        );
        assert_eq!(
            error(json!({"protect": {"restore": ["tests/**"]}})),
            "`config.protect.restore` needs `changes: commit`; use `protect.forbid` otherwise"
        );
    }
}
