//! `pull-request://[BASE]`: opens one pull request for the work of the nodes before it, and follows it until exactly that work is
//! merged.

mod draft;
mod page;
mod reviews;
mod task;

use std::sync::OnceLock;
use std::time::Duration;

use serde_json::Value;
pub(crate) use task::PullHandle;
use task::PullTask;

use super::{refuse_impossible, unavailable};
use crate::host::MergeMethod;
use crate::model::{JsonMap, NodeId};
use crate::provider::context::NO_HOST;
use crate::provider::settings::Settings;
use crate::provider::{
    Attempt, AttemptFuture, AttemptOutcome, CancelFuture, ConfigError, Control, Provider, ProviderContext,
    Stop,
};

const SCHEME: &str = "pull-request://";

/// The longest that one poll may take, waits for the host's limits included.
const ONE_LOOK: Duration = Duration::from_secs(60);

/// When to poll again, where the Binding does not say.
const AGAIN: Duration = Duration::from_secs(60);

/// How often a node runs again for reviewers, where the Binding does not say: an agent that misunderstands them comes back to
/// people in the end.
const MAX_REWORK: u32 = 3;

/// What a merged pull request gives.
const OUTPUTS: [&str; 3] = ["number", "url", "mergeCommit"];

/// The provider.
#[derive(Clone)]
pub(in crate::provider) struct PullRequests(ProviderContext);

impl PullRequests {
    pub(in crate::provider) fn new(context: ProviderContext) -> Self {
        Self(context)
    }

    fn task(&self, attempt: Attempt) -> Result<PullTask, AttemptOutcome> {
        self.check(&attempt.provider, &attempt.config).map_err(|error| unavailable(&error))?;
        refuse_impossible(&attempt, &OUTPUTS)?;
        let Some(home) = self.0.home().cloned() else {
            return Err(unavailable(&ConfigError::Provider {
                provider: attempt.provider.clone(),
                why: NO_HOST,
            }));
        };
        let host = self.0.host().map_err(|error| super::refused(error.to_string()))?.within(ONE_LOOK);
        let base = attempt.provider.strip_prefix(SCHEME).filter(|base| !base.is_empty()).map(str::to_owned);
        let settings = DeliverySettings::read(&attempt.config).map_err(|error| unavailable(&error))?;
        let redactor = self.0.redactor.clone();
        let requested = OnceLock::new();
        let recorded = PullHandle::read(attempt.handle.as_deref()).and_then(|handle| handle.into);
        let default = recorded.filter(|_| base.is_none()).map_or_else(OnceLock::new, OnceLock::from);
        Ok(PullTask { attempt, home, host, base, default, redactor, settings, requested })
    }
}

/// What a Binding may set.
struct DeliverySettings {
    /// When to poll again.
    poll_after: Duration,
    /// How the host merges by itself; people merge when absent.
    auto_merge: Option<MergeMethod>,
    /// The node that runs again when a reviewer requests changes.
    rework: Option<NodeId>,
    /// How often it does.
    max_rework: u32,
}

impl DeliverySettings {
    fn read(config: &JsonMap) -> Result<Self, ConfigError> {
        let invalid =
            |key: &str, why: &str| ConfigError::Invalid { key: key.to_owned(), why: why.to_owned() };
        let settings = Settings::new(config, &["pollInterval", "autoMerge", "rework", "maxRework"])?;
        let poll_after = settings.duration("pollInterval")?.unwrap_or(AGAIN);
        if poll_after.is_zero() {
            return Err(invalid("pollInterval", "must be greater than zero"));
        }
        let auto_merge = match settings.value("autoMerge") {
            None | Some(Value::Bool(false)) => None,
            Some(Value::Bool(true)) => Some(MergeMethod::Merge),
            Some(other) => {
                let method = other.as_str().and_then(|method| method.parse().ok());
                Some(method.ok_or_else(|| {
                    invalid("autoMerge", "must be `true`, `false`, `merge`, `squash` or `rebase`")
                })?)
            }
        };
        let rework = match settings.text("rework")?.as_deref().map(NodeId::new).transpose() {
            Ok(rework) => rework,
            Err(error) => return Err(invalid("rework", &error.to_string())),
        };
        let max_rework = match settings.value("maxRework") {
            None => MAX_REWORK,
            Some(_) if rework.is_none() => return Err(invalid("maxRework", "says nothing without `rework`")),
            Some(value) => {
                let most = value.as_u64().and_then(|most| u32::try_from(most).ok()).filter(|most| *most > 0);
                most.ok_or_else(|| invalid("maxRework", "must be a number from 1"))?
            }
        };
        Ok(Self { poll_after, auto_merge, rework, max_rework })
    }
}

impl Provider for PullRequests {
    fn schemes(&self) -> &'static [&'static str] {
        &["pull-request"]
    }

    fn check(&self, provider: &str, config: &JsonMap) -> Result<(), ConfigError> {
        DeliverySettings::read(config)?;
        let base = provider.strip_prefix(SCHEME).unwrap_or_default();
        // It becomes a part of addresses and of requests.
        let is_sound = base.bytes().all(|byte| byte.is_ascii_graphic() && !b"~^:?*[\\".contains(&byte))
            && !base.starts_with(['-', '/'])
            && !base.starts_with("refs/")
            && !base.contains("..");
        if is_sound {
            return Ok(());
        }
        let why = "must be `pull-request://BRANCH`, or `pull-request://` for the default branch";
        Err(ConfigError::Provider { provider: provider.to_owned(), why })
    }

    fn run(&self, attempt: Attempt, _control: Control) -> AttemptFuture {
        let task = self.task(attempt);
        Box::pin(async move {
            match task {
                Ok(task) => task.report(task.start().await),
                Err(outcome) => outcome.into(),
            }
        })
    }

    fn poll(&self, attempt: Attempt, _control: Control) -> AttemptFuture {
        let handle = PullHandle::read(attempt.handle.as_deref());
        // A runner without a Git host learns nothing, and leaves things as they are.
        let nothing = || AttemptOutcome::Stopped(Stop::Shutdown);
        let task = self.task(attempt).ok().zip(handle);
        Box::pin(async move {
            match task {
                Some((task, handle)) => task.report(task.look(&handle).await.unwrap_or_else(nothing)),
                None => nothing().into(),
            }
        })
    }

    fn propose(&self, attempt: Attempt) -> AttemptFuture {
        let task = self.task(attempt);
        Box::pin(async move {
            match task {
                Ok(task) => task.report(task.propose().await),
                Err(outcome) => outcome.into(),
            }
        })
    }

    fn cancel_remote(&self, attempt: Attempt) -> CancelFuture {
        let handle = PullHandle::read(attempt.handle.as_deref());
        let task = self.task(attempt);
        Box::pin(async move {
            match (task, handle) {
                (Ok(task), Some(handle)) => task.close(&handle).await.map_err(|error| error.to_string()),
                (Err(AttemptOutcome::Failed { message, .. }), _) => Err(message),
                _ => Ok(()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::ProviderSettings;

    #[test]
    fn the_base_is_a_branch_or_left_to_the_host() {
        let provider = PullRequests::new(ProviderContext::new(ProviderSettings::default()));
        let check = |name: &str| provider.check(name, &JsonMap::new()).is_ok();
        assert!(
            ["pull-request://", "pull-request://main", "pull-request://release/1.x"].into_iter().all(check)
        );
        let wrong =
            ["pull-request://a b", "pull-request://-x", "pull-request://../x", "pull-request://refs/heads/x"];
        assert!(!wrong.into_iter().any(check));
    }

    #[test]
    fn a_node_runs_again_as_often_as_the_binding_says() {
        let read = |value: Value| {
            let config = value.as_object().unwrap().clone();
            let read = DeliverySettings::read(&config).map_err(|error| error.to_string());
            read.map(|settings| (settings.rework.map(|node| node.to_string()), settings.max_rework))
        };
        let json = |rework: &str, most: u64| serde_json::json!({ "rework": rework, "maxRework": most });
        assert_eq!(read(json("implement", 2)), Ok((Some("implement".to_owned()), 2)));
        assert_eq!(read(serde_json::json!({ "rework": "a" })), Ok((Some("a".to_owned()), MAX_REWORK)));
        assert!(read(json("implement", 0)).unwrap_err().contains("must be a number from 1"));
        assert!(read(json("not a node", 1)).unwrap_err().contains("`config.rework`"));
        assert!(read(serde_json::json!({ "maxRework": 1 })).unwrap_err().contains("says nothing without"));
    }

    #[test]
    fn auto_merge_is_a_flag_or_a_method() {
        let read = |value: Value| {
            let config = JsonMap::from_iter([("autoMerge".to_owned(), value)]);
            DeliverySettings::read(&config)
                .map(|settings| settings.auto_merge)
                .map_err(|error| error.to_string())
        };
        assert_eq!(read(Value::from(false)), Ok(None));
        assert_eq!(read(Value::from(true)), Ok(Some(MergeMethod::Merge)));
        assert_eq!(read(Value::from("squash")), Ok(Some(MergeMethod::Squash)));
        assert!(read(Value::from("fast-forward")).unwrap_err().contains("`squash` or `rebase`"));
    }
}
