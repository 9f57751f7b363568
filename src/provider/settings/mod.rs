//! What providers get from the configuration and, through it, from the environment.

mod reader;
mod relative_path;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

pub use self::reader::ConfigError;
pub(super) use self::reader::{Settings, did_you_mean, has_expression};
pub(super) use self::relative_path::{is_inside, resolve};
use crate::github::{Access, RepoName};
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
    /// Private addresses that requests may go to: `providers.network.allowPrivate`.
    pub allow_private: Vec<String>,
    /// Ready-made settings of `agent://NAME`, by name.
    pub agents: BTreeMap<String, JsonMap>,
    /// The servers of `mcp://SERVER/TOOL`, by name.
    pub mcp: BTreeMap<String, JsonMap>,
    /// Schemes that executables named `planspec-provider-SCHEME` serve.
    pub plugins: Vec<String>,
    /// The addresses of services: `providers.services`.
    pub services: BTreeMap<String, String>,
    /// `<cache>/runs`, as an absolute path: every `run_dir` is below it.
    pub runs: PathBuf,
    /// The Git host's API, when there is a token for it.
    pub github: Option<Access>,
    /// The repository there that this runner works for, when it is known.
    pub home: Option<HostRepository>,
}

/// A repository on the Git host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRepository {
    /// Which.
    pub repo: RepoName,
    /// The address of the dashboard on its status branch, where the host has pages for people.
    pub dashboard: Option<String>,
}
