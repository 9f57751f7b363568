//! What providers get from the configuration and, through it, from the environment.

mod reader;
mod relative_path;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use serde_json::Value;

pub use self::reader::{ConfigError, SectionError};
pub(super) use self::reader::{Settings, did_you_mean, has_expression};
pub(super) use self::relative_path::{is_inside, resolve};
use crate::config::SandboxConfig;
use crate::host::{HostConnection, RepoName};
use crate::model::JsonMap;

/// Variables of the runner's environment that local commands always get.
// Nothing else of the runner's environment: in a CI job it holds credentials, the token of the Git host among them.
pub const ALWAYS_PASSED: [&str; 6] = ["PATH", "HOME", "LANG", "TZ", "TMPDIR", "USER"];

/// What providers get from the configuration and, through it, from the environment.
#[derive(Clone, Default)]
pub struct ProviderSettings {
    /// Globs of the provider strings that may be used; every one when empty.
    pub allow: Vec<String>,
    /// Variables that local commands get: those of [`ALWAYS_PASSED`] that are set, and what
    /// `providers.environment` names.
    pub environment: BTreeMap<String, OsString>,
    /// Variables that local commands get and whose values are redacted everywhere: what
    /// `providers.secrets` names.
    pub secrets: BTreeMap<String, OsString>,
    /// Secrets of the runner that no command gets, and that are redacted all the same: the keys of an object store, and the
    /// token of the Git host. A task that came by one nevertheless must not spread it.
    pub withheld: Vec<String>,
    /// Whether local commands run in a sandbox, and what one that is required may be opened to: `providers.sandbox`.
    pub sandbox: Option<SandboxConfig>,
    /// Private addresses that requests may go to: `providers.network.allowPrivate`.
    pub allow_private: Vec<String>,
    /// The sections below `providers` that belong to one provider each, as they were written; their keys are checked.
    pub sections: JsonMap,
    /// `<cache>/runs`, as an absolute path: every `run_dir` is below it.
    pub runs: PathBuf,
    /// Where the repository is, and whatever else the runner keeps for itself: a sandbox that is required is never opened to it.
    pub private: Vec<PathBuf>,
    /// The desired branch, which has the workflows of this repository that are started.
    pub branch: Option<String>,
    /// The Git host, when there is a token for it.
    pub host: Option<HostConnection>,
    /// The repository there that this runner works for, when it is known.
    pub home: Option<HostRepository>,
}

impl ProviderSettings {
    /// The maps that a section of the configuration has, by name. The schema lets nothing else through.
    pub(super) fn maps_of(&self, section: &str) -> impl Iterator<Item = (&String, &JsonMap)> {
        let names = self.sections.get(section).and_then(Value::as_object).into_iter().flatten();
        names.filter_map(|(name, value)| Some((name, value.as_object()?)))
    }

    /// What a section of the configuration says under a name.
    pub(super) fn section(&self, section: &str, name: &str) -> Option<&Value> {
        self.sections.get(section)?.get(name)
    }
}

/// Globs of provider strings. Those that are malformed are left out, so that a list of nothing else lets nothing in.
pub(super) fn provider_globs(globs: &[String]) -> GlobSet {
    let mut set = GlobSetBuilder::new();
    for glob in globs.iter().filter_map(|glob| GlobBuilder::new(glob).build().ok()) {
        set.add(glob);
    }
    set.build().unwrap_or_default()
}

/// Whether an allow-list lets a provider string in. A plain word is `tool://WORD` in other words, so a glob for either form does.
pub(super) fn is_allowed(allow: Option<&GlobSet>, provider: &str) -> bool {
    allow.is_none_or(|allow| {
        allow.is_match(provider)
            || (!provider.contains("://") && allow.is_match(format!("tool://{provider}")))
    })
}

/// A repository on the Git host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRepository {
    /// Which.
    pub repo: RepoName,
    /// The address of the dashboard on its status branch, where the host has pages for people.
    pub dashboard: Option<String>,
}
