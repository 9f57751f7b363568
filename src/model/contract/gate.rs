//! Gate: who must agree.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::{Condition, Digest, JsonMap, Kind, Name, NodeId};

/// The spec of a Gate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GateSpec {
    /// What kind of agreement is asked for.
    pub gate_type: GateType,
    /// What it is asked for.
    pub target_ref: GateTarget,
    /// What to review, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Who may decide: `user:x`, `team:y`, an email address or a login; anyone who may write when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reviewers: Vec<String>,
    /// How many different reviewers must approve.
    #[serde(default = "one")]
    pub required_approvers: u32,
    /// Material for the reviewers.
    #[serde(default, skip_serializing_if = "JsonMap::is_empty")]
    pub context: JsonMap,
}

// By contract. With a derived default it would be 0, and a gate that needs nobody is open.
fn one() -> u32 {
    1
}

/// What kind of agreement a gate asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GateType {
    /// A yes or no.
    Approval,
    /// A review.
    Review,
    /// A signature.
    SignOff,
}

/// What a gate guards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GateTarget {
    /// The kind of the guarded resource.
    pub kind: Kind,
    /// Its name.
    pub name: Name,
    /// Its API version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// Its namespace; the gate's when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Name>,
    /// Its uid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// The node, when a part of a plan is guarded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_id: Option<NodeId>,
}

/// Where a Gate stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum GatePhase {
    /// No execution has reached it.
    #[default]
    Pending,
    /// An execution waits at it.
    Waiting,
    /// Enough reviewers approved.
    Approved,
    /// A reviewer rejected.
    Rejected,
}

/// The status of a Gate.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GateStatus {
    /// Where it stands, for the execution that reached it last.
    pub phase: GatePhase,
    /// Every review, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub review_history: Vec<Review>,
    /// The decision, once there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolution: Option<GateResolution>,
    /// The gate's generation that was decided on; present exactly with `resolution`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_generation: Option<u64>,
    /// Observations.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The generation of the spec that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<u64>,
}

/// One review.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Review {
    /// Who.
    pub reviewer: String,
    /// What they said.
    pub action: ReviewAction,
    /// When.
    pub timestamp: Timestamp,
    /// In their words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// The gate's generation that they saw.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_generation: Option<u64>,
    // Optional, as the published contract does not know it. A review without it names nothing that it could count for.
    /// What exactly they reviewed; a review counts only for that (Invariant 11).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extensions: Option<ReviewBinding>,
}

/// What a review is bound to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReviewBinding {
    /// The uid of the execution.
    pub execution: String,
    /// The digest of the execution's pinned graph.
    pub graph_digest: Digest,
    /// The desired commit that the execution is pinned to.
    pub commit: String,
    /// Entries `team:…` of the gate's reviewers that the Git host vouched for when the review was made, without
    /// `team:`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub teams: Vec<String>,
    /// The account on the Git host that made the review there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<HostAccount>,
    /// The comment or review on the Git host that says it, as `comment ID`; it counts once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// An account on the Git host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostAccount {
    /// The login, which the account's owner can change and somebody else can then take.
    pub login: String,
    /// The number, which stays.
    pub id: u64,
}

/// What a reviewer said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReviewAction {
    /// Yes.
    Approve,
    /// No.
    Reject,
    /// Neither.
    Comment,
}

/// The decision on a gate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateResolution {
    /// What was decided.
    pub outcome: GateOutcome,
    /// When.
    pub timestamp: Timestamp,
    /// By whom.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actors: Vec<String>,
    /// In the last one's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// What was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GateOutcome {
    /// Yes.
    Approved,
    /// No.
    Rejected,
}
