//! Configuration: the file `.planspec.yaml` of the desired branch, and the only reader of the environment.

use std::collections::BTreeMap;

mod actions;
mod artifacts;
mod credentials;
mod environment;
mod sandbox;

pub use actions::Actions;
pub use artifacts::{ArtifactConfig, ArtifactLimits, ArtifactStore, BucketAccess, BucketCredentials};
pub use credentials::HANDED_OVER;
pub use environment::{Ci, Environment, GitIdentity};
pub use sandbox::{SandboxConfig, SandboxPolicy};

use serde::{Deserialize, Serialize};

use crate::model::{Duration, JsonMap, WorkBudget};

/// The name of the configuration file, at the root of the desired tree.
pub const CONFIG_FILE: &str = ".planspec.yaml";

/// Names that people give the configuration file by mistake. They are refused, because rules without effect are worse than none.
pub const MISNAMED_CONFIG_FILES: [&str; 2] = [".planspec.yml", ".planspec.json"];

/// The content of `.planspec.yaml`; every key has a default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Config {
    /// Globs of the paths that may hold manifests; everything when empty.
    pub paths: Vec<String>,
    /// Globs of paths to exclude.
    pub exclude: Vec<String>,
    /// The desired branch, without `refs/heads/`; the remote's default branch when absent.
    pub desired_branch: Option<String>,
    /// The status branch, without `refs/heads/`.
    pub status_branch: String,
    /// How many local processes run at once; by default the number of cores.
    pub jobs: Option<u32>,
    /// Leases on executions.
    pub lease: LeaseConfig,
    /// Publishing to the status branch.
    pub publish: PublishConfig,
    /// How long a finished execution keeps its full record; 30 days.
    pub retention: Duration,
    /// Limits for reading manifests, and for what runs at once.
    pub limits: Limits,
    /// Where artifacts and logs are kept.
    pub artifacts: ArtifactConfig,
    /// What all nodes of an Execution may use up that has no budget of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<WorkBudget>,
    /// Gates.
    pub gates: GateConfig,
    /// People: a name with a login, email addresses and teams.
    pub identities: BTreeMap<String, Identity>,
    /// Whose signatures count.
    pub trust: TrustConfig,
    /// Providers.
    pub providers: ProviderConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            paths: Vec::new(),
            exclude: Vec::new(),
            desired_branch: None,
            status_branch: "planspec/status".to_owned(),
            jobs: None,
            lease: LeaseConfig::default(),
            publish: PublishConfig::default(),
            retention: Duration::from_secs(30 * 24 * 3600),
            limits: Limits::default(),
            artifacts: ArtifactConfig::default(),
            budget: None,
            gates: GateConfig::default(),
            identities: BTreeMap::new(),
            trust: TrustConfig::default(),
            providers: ProviderConfig::default(),
        }
    }
}

/// Leases on executions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LeaseConfig {
    /// How long a lease is valid without renewal; 60 s, and 5 min on a remote, when absent.
    pub duration: Option<Duration>,
    /// How far apart the clocks of two runners may be; 10 s.
    pub skew: Duration,
    /// The longest duration for which another runner's lease is honoured, whatever its record says; 10 min.
    pub longest: Duration,
}

impl Default for LeaseConfig {
    fn default() -> Self {
        Self { duration: None, skew: Duration::from_secs(10), longest: Duration::from_secs(600) }
    }
}

/// Publishing to the status branch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PublishConfig {
    /// Whether a start is published before it happens.
    pub mode: PublishMode,
    /// How many pushes to a remote may follow each other without a pause.
    pub burst: u32,
    /// How many further pushes each minute allows.
    pub per_minute: u32,
    /// The shortest interval at which a running pass updates its comments on pull requests; 5 min.
    pub progress_interval: Duration,
    /// Whether the reviewers of a gate are mentioned in a new comment when it begins to wait for them.
    pub mention_reviewers: bool,
}

impl Default for PublishConfig {
    fn default() -> Self {
        Self {
            mode: PublishMode::Adaptive,
            burst: 30,
            per_minute: 6,
            progress_interval: Duration::from_secs(5 * 60),
            // Mail that nobody asked for is mail that people learn to ignore.
            mention_reviewers: false,
        }
    }
}

/// Whether a start is published before it happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PublishMode {
    /// Yes, as long as the push budget lasts; then local repeatable nodes start under the Execution's lease alone.
    /// `relaxed` is an older name for it.
    #[serde(alias = "relaxed")]
    Adaptive,
    /// Always.
    Strict,
}

/// Limits on what is read, against hostile or broken input, and on what runs at once in a namespace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Limits {
    /// Bytes in a file; 1 MiB.
    pub file_bytes: u64,
    /// Documents in a file; 1,000.
    pub documents: u32,
    /// Levels of nesting; 64.
    pub depth: u32,
    /// Aliases in a document; 100.
    pub aliases: u32,
    /// The share of all resources that one change may delete without confirmation, 0 to 1; 0.5.
    /// Changes that delete fewer than 10 resources are always allowed.
    pub deletions: f64,
    /// How many attempts run at once in a namespace, on all runners together, by its name; `*` stands for every
    /// namespace that is not named.
    pub namespaces: BTreeMap<String, u32>,
    /// How much one attempt may change.
    pub results: ResultLimits,
    /// How much of artifacts and logs is kept in Git.
    pub artifacts: ArtifactLimits,
}

/// How much one attempt may change, where that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ResultLimits {
    /// Bytes in all files that changed; 50 MiB.
    pub bytes: u64,
    /// Bytes in one file; 100 MiB.
    pub file_bytes: u64,
    /// Files that changed; 10,000.
    pub files: u64,
}

impl Default for ResultLimits {
    fn default() -> Self {
        // Half of what hosts refuse of a single file, so that a result that is taken here is taken there; and where more is allowed
        // in all, no file with which GitHub would refuse the push.
        Self { bytes: 50 << 20, file_bytes: 100 << 20, files: 10_000 }
    }
}

impl Limits {
    /// The limit of a namespace, if it has one.
    #[must_use]
    pub fn of_namespace(&self, name: &str) -> Option<u32> {
        self.namespaces.get(name).or_else(|| self.namespaces.get("*")).copied()
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            file_bytes: 1 << 20,
            documents: 1_000,
            depth: 64,
            aliases: 100,
            deletions: 0.5,
            namespaces: BTreeMap::new(),
            results: ResultLimits::default(),
            artifacts: ArtifactLimits::default(),
        }
    }
}

/// Gates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct GateConfig {
    /// Whether the author of a change may approve it; yes.
    pub author_may_approve: bool,
    /// Gates that have to stand before every task of certain providers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub require: Vec<RequiredGate>,
}

/// A gate without which no task of certain providers starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RequiredGate {
    /// Globs of provider strings.
    pub providers: Vec<String>,
    /// The Gate: its name in the namespace of the plan, or `NAMESPACE/NAME`.
    pub gate: String,
}

impl Default for GateConfig {
    fn default() -> Self {
        Self { author_may_approve: true, require: Vec::new() }
    }
}

/// What belongs to a person.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Identity {
    /// The login on the Git host. A name is never used as a login.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub login: Option<String>,
    /// The number of the account on the Git host, which stays when the login changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// The person's email addresses in Git.
    pub emails: Vec<String>,
    /// The teams the person is in.
    pub teams: Vec<String>,
}

/// Providers. Unknown keys are refused by the schema: `deny_unknown_fields` and `flatten` exclude each other.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProviderConfig {
    /// Globs of the providers that may be used; all when empty.
    pub allow: Vec<String>,
    /// How many attempts run at once, by provider.
    pub limits: BTreeMap<String, u32>,
    /// Environment variables of the runner that are passed to local commands, and whose values are redacted everywhere.
    pub secrets: Vec<String>,
    /// Environment variables of the runner that are passed to local commands; `PATH`, `HOME`, `LANG`, `TZ`, `TMPDIR` and `USER` always are.
    pub environment: Vec<String>,
    /// Where requests over the network may go.
    pub network: NetworkConfig,
    /// Whether local commands run in a sandbox; the Binding's word when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<SandboxConfig>,
    /// The sections that belong to one provider each, such as `agents` and `mcp`. Only that provider knows what is in
    /// them, so that a provider's settings change only in its own folder.
    #[serde(flatten)]
    pub sections: JsonMap,
}

/// Where requests over the network may go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NetworkConfig {
    /// Private addresses that requests may go to: networks, addresses, or globs of names, with or without a port.
    pub allow_private: Vec<String>,
}

/// Whose signatures count.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct TrustConfig {
    /// On the status branch; without it, nothing has to be signed there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<StatusTrust>,
    /// On the desired branch; without it, nothing has to be signed there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired: Option<DesiredTrust>,
}

impl TrustConfig {
    /// The signers of both branches, each with the place of its list in the configuration.
    pub fn signers(&self) -> impl Iterator<Item = (&'static str, usize, &Signer)> {
        let status = self.status.iter().flat_map(|trust| trust.signers.iter().enumerate());
        let desired = self.desired.iter().flat_map(|trust| trust.signers.iter().enumerate());
        let status = status.map(|(index, signer)| ("/trust/status/signers", index, signer));
        status.chain(desired.map(|(index, signer)| ("/trust/desired/signers", index, signer)))
    }

    /// The OpenPGP keys of both lists, whose files whoever reads a commit fills in.
    pub fn openpgp_keys(&mut self) -> impl Iterator<Item = &mut OpenPgpKey> {
        let status = self.status.iter_mut().flat_map(|trust| &mut trust.signers);
        let desired = self.desired.iter_mut().flat_map(|trust| &mut trust.signers);
        status.chain(desired).flat_map(|signer| &mut signer.keys).filter_map(|key| match key {
            SignerKey::OpenPgp(key) => Some(key),
            SignerKey::Ssh(_) => None,
        })
    }
}

/// Whose signatures count on the status branch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StatusTrust {
    /// Runners and people, each name once.
    pub signers: Vec<Signer>,
}

/// Whose signatures bring commits of the desired branch into force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DesiredTrust {
    /// Which commits have to be signed.
    #[serde(default)]
    pub mode: SignedCommits,
    /// Who may sign, each name once.
    pub signers: Vec<Signer>,
}

/// Which commits of the desired branch have to be signed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SignedCommits {
    /// The newest, whenever a pass finds one.
    #[default]
    Head,
    /// Each on the first-parent line since the one that was in force before.
    All,
}

/// Somebody who signs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Signer {
    /// Their name; that of a person is the one that decisions are recorded under.
    pub name: String,
    /// What they may record on the status branch.
    #[serde(default)]
    pub role: SignerRole,
    /// Their public keys.
    pub keys: Vec<SignerKey>,
}

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SignerKey {
    /// Of SSH, as in a file `id_ed25519.pub`.
    Ssh(String),
    /// Of OpenPGP.
    OpenPgp(OpenPgpKey),
}

/// A public key of OpenPGP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OpenPgpKey {
    /// The fingerprint of the primary key: 40 hexadecimal digits in capitals.
    pub fingerprint: String,
    /// The file in the repository that holds the key, armored.
    pub file: String,
    /// What the file holds, once it was read.
    #[serde(skip)]
    pub armored: String,
}

/// What a signer may record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SignerRole {
    /// Everything: it is a reconciler, which checks what it builds on before it signs.
    Runner,
    /// Decisions in their own name.
    #[default]
    Person,
}
