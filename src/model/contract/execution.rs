//! Execution: run this plan now. The spec never changes; the status does.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumString, IntoStaticStr};

use super::NodeStatuses;
use super::node_work::{Usage, WorkBudget};
use crate::model::{Condition, ContextItem, Digest, JsonMap, NodeId, Reference, ResourceKey};

/// The spec of an Execution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExecutionSpec {
    /// The plan to run.
    pub plan_ref: Reference,
    /// The goal that it serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goal_ref: Option<Reference>,
    /// The Binding to use; the namespace's `default` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding_ref: Option<Reference>,
    /// Bindings for single nodes; they go before `bindingRef`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_bindings: BTreeMap<NodeId, Reference>,
    /// Reserved by the contract.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime_ref: Option<Reference>,
    /// Values that expressions see as `parameters`.
    #[serde(default, skip_serializing_if = "JsonMap::is_empty")]
    pub parameters: JsonMap,
    /// Material for whoever does the work.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub context: Vec<ContextItem>,
    /// What all of its nodes may use up before a person is asked; that of the configuration when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<WorkBudget>,
}

/// The phase of an Execution.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    Display,
    EnumString,
    IntoStaticStr,
)]
pub enum ExecutionPhase {
    /// Nothing has started.
    #[default]
    Pending,
    /// Something runs, or can.
    Running,
    /// All that is left waits for people or events.
    Blocked,
    /// Everything that was needed succeeded.
    Succeeded,
    /// A node failed.
    Failed,
    /// It was cancelled.
    Cancelled,
}

impl ExecutionPhase {
    /// Whether nothing but an explicit retry leaves this phase.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }

    /// The name as written in a status.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// The status of an Execution.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExecutionStatus {
    /// Its phase.
    pub phase: ExecutionPhase,
    /// The id of the run; the uid unless something else is needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// Why it is in its phase, as one word for programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why it is in its phase, as a sentence for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When it was first observed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued_time: Option<Timestamp>,
    /// When its first node started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Timestamp>,
    /// When it became terminal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Timestamp>,
    /// When `phase` last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_phase_transition_time: Option<Timestamp>,
    /// The digest of the spec; the spec is immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec_hash: Option<Digest>,
    /// The nodes, by id.
    #[serde(default, skip_serializing_if = "NodeStatuses::is_empty")]
    pub node_statuses: NodeStatuses,
    /// What the nodes produced.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<Artifact>,
    /// Observations.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The generation of the spec that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<u64>,
    /// What the contract leaves to the controller.
    #[serde(default, skip_serializing_if = "ExecutionExtensions::is_empty")]
    pub extensions: ExecutionExtensions,
}

impl ExecutionStatus {
    /// The commit on which its work begins, once it is pinned: that of the node it works for, or else the pinned one.
    #[must_use]
    pub fn start_commit(&self) -> Option<&str> {
        let pinned = self.extensions.pinned.as_ref()?;
        Some(self.extensions.base.as_deref().unwrap_or(&pinned.commit))
    }

    /// How much its nodes changed and keep, and what they used up for it, in words; none where that is nothing.
    #[must_use]
    pub fn work_summary(&self) -> Option<String> {
        let used = self.usage().and_then(Usage::summary).map(|used| format!("used {used}"));
        let parts: Vec<String> = self.changes_summary().into_iter().chain(used).collect();
        (!parts.is_empty()).then(|| parts.join("; "))
    }

    /// What all of its nodes used up; none where none of them says so.
    #[must_use]
    pub fn usage(&self) -> Option<Usage> {
        self.node_statuses.values().filter_map(|node| node.extensions.usage).reduce(Usage::plus)
    }

    fn changes_summary(&self) -> Option<String> {
        let results = self.node_statuses.values().filter_map(|node| node.extensions.result.as_deref());
        let mut files = 0_u64;
        let mut insertions = 0_u64;
        let mut deletions = 0_u64;
        for result in results {
            files = files.saturating_add(result.files);
            insertions = insertions.saturating_add(result.insertions);
            deletions = deletions.saturating_add(result.deletions);
        }
        let word = if files == 1 { "file" } else { "files" };
        (files > 0).then(|| format!("{files} {word} changed, +{insertions} -{deletions}"))
    }
}

/// Something that a node produced.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Artifact {
    /// Its name.
    pub name: String,
    /// What it is.
    #[serde(rename = "type")]
    pub kind: ArtifactType,
    /// Where it is, relative to the runner's artifact directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Where it is on the network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The digest of its content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<Digest>,
    /// Its size in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Its media type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// More about it; `node` and `attempt` say where it came from.
    #[serde(default, skip_serializing_if = "JsonMap::is_empty")]
    pub metadata: JsonMap,
}

/// What an artifact is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ArtifactType {
    /// One file.
    File,
    /// A directory.
    Directory,
    /// Something on the network.
    Url,
}

/// What this reconciler records on an Execution beyond the contract.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExecutionExtensions {
    /// The graph that is run, once the plan was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned: Option<PinnedGraph>,
    // Of its own and not from the pin: what it runs is read on the desired branch, and what it works on is the work of its owner
    // so far, which is on no branch yet.
    /// The commit that its first nodes work on, where it works for a node of another Execution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// Who drives it now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Lease>,
    // Beside the lease, which goes when it is released: the number has to outlive it.
    /// The highest fencing token ever given out; a lease's token only grows.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub last_token: u64,
    /// Somebody asked to cancel it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel: Option<PersonRequest>,
    /// Somebody asked that no further node starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<PersonRequest>,
    // What was said before that is about a suspension that is over, also when its job runs once more.
    /// Somebody let it go on; the last time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumed: Option<PersonRequest>,
    /// Somebody accepted what the desired branch holds now in place of a pin that did not hold any more; the last time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin_accepted: Option<PersonRequest>,
    /// Somebody freed the lease of a runner; the last time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unlocked: Option<PersonRequest>,
    /// The mutex that it holds or waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mutex: Option<MutexHold>,
    /// What it took over from an earlier execution; decided once, when it was pinned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reuse: Option<Reuse>,
    // Boxed, as few Executions have one and every status would be as large.
    /// The spec of a derived Execution, which has no manifest. It is computed again from the owner before anything runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec: Option<Box<ExecutionSpec>>,
    /// How often it was retried; every retry is also a commit of its own.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub retries: u64,
    // Counted over all attempts, as the reference keeps what each of them left.
    /// How many bytes of artifacts and logs are stored for it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub stored_bytes: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl ExecutionExtensions {
    fn is_empty(&self) -> bool {
        // Left out of the record where there is nothing in it, so that records of the published contract stay as they
        // are.
        *self == Self::default()
    }
}

/// Annotation of an Execution: the name of an earlier one in its namespace, whose successful nodes it takes over where it
/// would do the same.
pub const FROM_EXECUTION: &str = "planspec.io/from-execution";

/// What an Execution took over from an earlier one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reuse {
    /// The name of the earlier one.
    pub from: String,
    /// Its uid, when there was a record of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// The result, as text.
    pub message: String,
    /// For each node, `reused`, or why it was not.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub nodes: BTreeMap<NodeId, String>,
}

impl Reuse {
    /// What is said of a node that was reused.
    pub const REUSED: &'static str = "reused";

    /// A node that was reused is run again.
    pub fn forget(&mut self, node: &NodeId) {
        // Only where it was reused: why another node was not stays true.
        if let Some(verdict) = self.nodes.get_mut(node).filter(|verdict| *verdict == Self::REUSED) {
            "a retry asked for a rerun".clone_into(verdict);
        }
    }

    /// What happened to a node, as text.
    #[must_use]
    pub fn of(&self, node: &NodeId) -> Option<String> {
        match self.nodes.get(node) {
            Some(verdict) if verdict == Self::REUSED => Some(format!("reused from {}", self.from)),
            Some(why) => Some(format!("not reused from {}: {why}", self.from)),
            // After the record was shrunk, the verdicts are gone and the summary is all there is to say.
            None if self.nodes.is_empty() => Some(self.message.clone()),
            None => None,
        }
    }
}

/// Annotation of an Execution: of all in its namespace that name the same, one runs at a time.
pub const MUTEX: &str = "planspec.io/mutex";

/// A mutex between Executions of a namespace, held from the first start to the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MutexHold {
    /// Its name.
    pub name: String,
    /// Who holds it while this execution waits; absent when this one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<ResourceKey>,
}

impl MutexHold {
    /// What is waited for, as text; none for the one that holds it.
    #[must_use]
    pub fn waiting(&self) -> Option<String> {
        let holder = self.waits_for.as_ref()?;
        Some(format!("waits for {}, which holds the mutex `{}`", holder.name, self.name))
    }
}

/// The condition, and the reason, of an Execution that is pinned to something that was not merged like that.
pub const PIN_MISMATCH: &str = "PinMismatch";

/// What an Execution is pinned to (Invariant 9).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PinnedGraph {
    /// The desired commit at which the execution and its plan were first observed together.
    pub commit: String,
    /// The plan.
    pub plan: ResourceKey,
    /// The digest of the plan's graph.
    pub graph_digest: Digest,
    /// The goal, when there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goal: Option<ResourceKey>,
}

/// The right to drive an Execution, for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lease {
    /// The runner that holds it.
    pub holder: String,
    /// When it was acquired.
    pub acquire_time: Timestamp,
    /// When it was last renewed.
    pub renew_time: Timestamp,
    /// How long it is valid after `renewTime`, in milliseconds.
    pub duration_millis: u64,
    /// The fencing token; it only grows.
    pub token: u64,
}

/// A recorded request of a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersonRequest {
    /// Who asked.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Why, in their words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}
