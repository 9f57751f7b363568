//! Whose signatures count: `trust` of the configuration.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Whose signatures count.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct TrustConfig {
    /// On the status branch; without it, nothing has to be signed there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<StatusTrust>,
}

/// Whose signatures count on the status branch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StatusTrust {
    /// Runners and people by name. The name of a person is the one that decisions are recorded under.
    pub signers: BTreeMap<String, Signer>,
}

/// Somebody who signs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Signer {
    /// What they may record.
    pub kind: SignerKind,
    /// Their SSH public keys, as in a file `id_ed25519.pub`.
    pub keys: Vec<String>,
}

/// What a signer may record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SignerKind {
    /// Everything: it is a reconciler, which checks what it builds on before it signs.
    Runner,
    /// Decisions in their own name.
    Person,
}
