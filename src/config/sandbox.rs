//! The repository's word about the sandbox, `providers.sandbox`: one word, or a map.

use serde::{Deserialize, Serialize};

/// Whether local commands run in a sandbox: the repository's word, which goes before a Binding's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SandboxPolicy {
    /// Always.
    Required,
    /// Unless a Binding says `sandbox: false`.
    Default,
    /// Never.
    Off,
}

/// The repository's word about the sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "SandboxForm", into = "SandboxForm")]
pub struct SandboxConfig {
    /// Whether there is one.
    pub mode: SandboxPolicy,
    /// Globs of the providers whose tasks may have the network in a sandbox that is required, where their settings ask for it.
    pub network: Vec<String>,
    /// Globs of those that may have Unix sockets.
    pub unix_sockets: Vec<String>,
}

impl SandboxConfig {
    /// Whether no setting of a Binding does without a sandbox.
    #[must_use]
    pub fn is_required(&self) -> bool {
        self.mode == SandboxPolicy::Required
    }
}

impl From<SandboxPolicy> for SandboxConfig {
    fn from(mode: SandboxPolicy) -> Self {
        Self { mode, network: Vec::new(), unix_sockets: Vec::new() }
    }
}

/// How it is written: one word, or a map.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum SandboxForm {
    Mode(SandboxPolicy),
    // The schema knows these keys alone.
    #[serde(rename_all = "camelCase")]
    Map {
        mode: SandboxPolicy,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        network: Vec<String>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        unix_sockets: Vec<String>,
    },
}

impl From<SandboxForm> for SandboxConfig {
    fn from(form: SandboxForm) -> Self {
        match form {
            SandboxForm::Mode(mode) => mode.into(),
            SandboxForm::Map { mode, network, unix_sockets } => Self { mode, network, unix_sockets },
        }
    }
}

impl From<SandboxConfig> for SandboxForm {
    fn from(SandboxConfig { mode, network, unix_sockets }: SandboxConfig) -> Self {
        match network.is_empty() && unix_sockets.is_empty() {
            true => Self::Mode(mode),
            false => Self::Map { mode, network, unix_sockets },
        }
    }
}
