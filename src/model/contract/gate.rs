//! Gate: who must agree.

use std::collections::BTreeMap;
use std::fmt;

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
    /// What to review, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Who may decide: `user:x`, `team:y`, an email address, a login, or `codeowners:` for the owners of the files that the gate
    /// shows; anyone who may write when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reviewers: Vec<String>,
    /// How many different reviewers must approve.
    #[serde(default = "one")]
    pub required_approvers: u32,
    /// Material for the reviewers.
    #[serde(default, skip_serializing_if = "JsonMap::is_empty")]
    pub context: JsonMap,
}

/// The reviewer that stands for the owners of the files that a gate shows.
pub const CODE_OWNERS: &str = "codeowners:";

/// Whether an entry among the reviewers stands for the owners of files.
#[must_use]
pub fn means_code_owners(entry: &str) -> bool {
    entry.trim() == CODE_OWNERS
}

impl GateSpec {
    /// Whether owners of files are among the reviewers.
    #[must_use]
    pub fn asks_code_owners(&self) -> bool {
        self.reviewers.iter().any(|entry| means_code_owners(entry))
    }

    /// The reviewers as people are told them: with the owners in place of the entry that stands for them, once they are known.
    #[must_use]
    pub fn asked(&self, owners: Option<&FileOwners>) -> Vec<String> {
        let mut asked = Vec::with_capacity(self.reviewers.len());
        for entry in &self.reviewers {
            let known = owners.filter(|_| means_code_owners(entry));
            let mut found = known.into_iter().flat_map(FileOwners::owners).peekable();
            // An entry that stands for nobody is still told, since an empty list reads as everybody.
            if found.peek().is_none() {
                asked.push(entry.clone());
            }
            for owner in found {
                if !asked.contains(owner) {
                    asked.push(owner.clone());
                }
            }
        }
        asked
    }
}

/// Who owns the files that a gate shows. Recorded with the commit that it shows, because whoever answers a person or opens the
/// gate may have neither that commit nor the pinned one at hand.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileOwners {
    /// The commit whose files they are, compared with the pinned one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The files, those with the same owners together.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<OwnedFiles>,
    /// Why nobody can answer as an owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// Files with the same owners.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OwnedFiles {
    /// The owners as CODEOWNERS names them: `@LOGIN`, `@ORGANISATION/TEAM` or an email address; nobody when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub owners: Vec<String>,
    /// The first of the files.
    pub path: String,
    /// How many there are.
    pub files: u32,
}

impl FileOwners {
    /// Nobody, and why.
    #[must_use]
    pub fn nobody(problem: impl Into<String>) -> Self {
        Self { problem: Some(problem.into()), ..Self::default() }
    }

    /// All owners, some of them several times.
    pub fn owners(&self) -> impl Iterator<Item = &String> {
        self.groups.iter().flat_map(|group| &group.owners)
    }
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

/// The phase of a Gate.
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
    /// Its phase, for the execution that reached it last.
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
    /// What the contract leaves to the controller.
    #[serde(default, skip_serializing_if = "GateExtensions::is_empty")]
    pub extensions: GateExtensions,
}

/// What the contract leaves to the controller.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GateExtensions {
    /// What is asked for, one entry for each node that waits; for people. An approval is compared with what is so when it is
    /// recorded and when it is used, never with this.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asked: Vec<AskedApproval>,
}

impl GateExtensions {
    fn is_empty(&self) -> bool {
        self.asked.is_empty()
    }
}

/// What an Execution asks of a gate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AskedApproval {
    /// The Execution, as `NAMESPACE/NAME`.
    pub execution: String,
    /// The node that waits at the gate.
    pub node: NodeId,
    /// The commit that is pinned.
    pub commit: String,
    /// The digest of all that an approval would be bound to.
    pub digest: Digest,
    /// What would do the work of the nodes up to the next gate: providers by node.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub targets: BTreeMap<NodeId, String>,
    /// Who owns the files that are shown, where the gate asks owners.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owners: Option<FileOwners>,
}

/// How far a gate is that waits, as the message of its node says it.
// The record holds it in these words alone, so that they are written and read in one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApprovalCount {
    /// How many people have approved.
    pub given: usize,
    /// How many have to.
    pub needed: u32,
}

impl ApprovalCount {
    /// The count in a message that holds one.
    #[must_use]
    pub fn read(message: &str) -> Option<Self> {
        let mut words = message.split_ascii_whitespace().skip_while(|word| *word != "has").skip(1);
        let given = words.next()?.parse().ok()?;
        let needed = words.next().filter(|word| *word == "of").and_then(|_| words.next())?.parse().ok()?;
        words.next()?.starts_with("approvals").then_some(Self { given, needed })
    }
}

impl fmt::Display for ApprovalCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "has {} of {} approvals", self.given, self.needed)
    }
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
    // Optional, since reviews of earlier versions lack it; those count for nothing any more.
    /// What stood before and after the gate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<ReviewSubject>,
    /// The digest of all that is reviewed, with the generation of the gate; what `approve --expect` compares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Entries `team:…` of the gate's reviewers that the Git host had verified when the review was made, without
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

/// What stands before and after a gate while it is reviewed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReviewSubject {
    /// The node that asks. A gate that two nodes ask for is reviewed twice.
    pub node: Option<NodeId>,
    /// Digests of the outputs and the result of the nodes before the gate that gave some.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub reviewed: BTreeMap<NodeId, String>,
    /// What will do the work of the tasks between the gate and the next one; a task without a provider is left out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub targets: BTreeMap<NodeId, ApprovedTarget>,
    /// Who owned the files that were shown, where the gate asks owners.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owners: Option<FileOwners>,
}

/// What does the work of a task, as it is resolved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApprovedTarget {
    /// The provider.
    pub provider: String,
    /// The digest of its settings, and of the settings in `.planspec.yaml` that it names.
    pub digest: String,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_of_approvals_is_read_as_it_is_written() {
        let count = ApprovalCount { given: 1, needed: 12 };
        for text in
            [format!("gate `has-1` {count}"), format!("gate `g` {count}; x"), format!("g {count} (y)")]
        {
            assert_eq!(ApprovalCount::read(&text), Some(count), "{text}");
        }
        for text in
            ["", "has", "has 1 of", "has one of 2 approvals", "has 1 or 2 approvals", "has 1 of 2 votes"]
        {
            assert_eq!(ApprovalCount::read(text), None, "{text}");
        }
    }
}
