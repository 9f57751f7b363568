//! The status of one node of an Execution.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumIter, IntoStaticStr};

use super::capability::ResolvedCapability;
use super::node_work::{
    BudgetGrant, ChangeRequest, CriterionResult, DiscardedChanges, LogSummary, NodeDecision, NodeResult,
    QuestionAnswer, Rework, StoredFiles, UnfinishedWork, Usage, WorkProposal,
};
use crate::model::{FileOwners, JsonMap, NodeId};

/// The phase of a node.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, Display, EnumIter, IntoStaticStr,
)]
pub enum NodePhase {
    /// It waits for other nodes, for a slot, or for its next attempt.
    #[default]
    Pending,
    /// An attempt is under way.
    Running,
    /// It waits for something outside: a person, a gate, a binding, an event.
    Blocked,
    /// Done.
    Succeeded,
    /// Its last attempt failed.
    Failed,
    /// It was not needed, or could not be.
    Skipped,
    /// It was cancelled.
    Cancelled,
}

impl NodePhase {
    /// Every phase.
    pub const ALL: [Self; 7] = [
        Self::Pending,
        Self::Running,
        Self::Blocked,
        Self::Succeeded,
        Self::Failed,
        Self::Skipped,
        Self::Cancelled,
    ];

    /// Whether nothing but an explicit retry leaves this phase.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Skipped | Self::Cancelled)
    }

    /// The name as written in a status.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Why a node is in its phase, as one word for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Display, EnumIter)]
pub enum NodeReason {
    /// Pending: the next attempt waits for its time.
    RetryBackoff,
    /// Blocked: the Gate resource has no decision yet.
    AwaitingApproval,
    /// Blocked: no version of the Gate resource can be read, so that nobody can decide until its manifest is fixed.
    GateClosed,
    /// Blocked: what would run is not what was approved.
    ApprovalVoid,
    /// Blocked: the configuration requires a gate before it, and none was passed.
    GateRequired,
    /// Blocked: a person does the work.
    AwaitingPerson,
    /// Blocked: something outside has not happened yet.
    AwaitingEvent,
    /// Blocked: the work continues remotely, and is polled.
    AwaitingProvider,
    /// Blocked: no binding rule matches.
    Unbound,
    /// Blocked: two binding rules match equally well.
    BindingConflict,
    /// Blocked: the provider is unknown, not allowed or refuses its settings.
    ProviderUnavailable,
    /// Blocked: the runner vanished and the node is not repeatable.
    RunnerLost,
    /// Blocked: the remote refused what the attempt gave, such as a text that looks like a secret.
    ContentRefused,
    /// Blocked: the remote refused the files of the result.
    ResultRefused,
    /// Blocked: the results of the nodes before it cannot be merged with each other.
    MergeConflict,
    /// Blocked: what is delivered cannot be merged into a branch of people, who resolve that on the branch.
    BranchConflict,
    /// Blocked: an artifact of a node before it that it needs is not to be had on this machine.
    ArtifactUnavailable,
    /// Blocked: the place of a delivery does not take the work.
    DeliveryRefused,
    /// Blocked: a reviewer of the pull request asks for changes; it is polled.
    ChangesRequested,
    /// Blocked: somebody pushed to the branch that is delivered; it is polled.
    WorkBranchMoved,
    /// Blocked: the checks that the pull request needs were never started; it is polled.
    ChecksCannotStart,
    /// Blocked: what it may use up is spent; a person says whether it goes on.
    BudgetSpent,
    /// Blocked: the provider asks something back.
    InputRequired,
    /// Skipped: a hard source did not succeed.
    UpstreamNotSucceeded,
    /// Skipped: enough other instances of its node succeeded.
    NotNeeded,
    /// Skipped: `when` is false.
    ConditionFalse,
    /// Failed: an expression cannot be evaluated.
    ExpressionError,
    /// Failed: the inputs are not what a capability of the task asks for.
    InputInvalid,
    /// Failed: the provider said so.
    ProviderFailed,
    /// Failed: the attempt took too long.
    Timeout,
    /// Failed: a required acceptance criterion does not hold.
    CriterionFailed,
    /// Failed: the outputs are malformed or not as declared.
    OutputInvalid,
    /// Failed: it changed files that it may not change.
    ChangeRefused,
    /// Failed: something else than the work was merged.
    DeliveredOther,
    /// Failed: a reviewer rejected.
    Rejected,
    /// Failed: a child failed.
    ChildFailed,
    /// Succeeded or Failed: a person said so.
    CompletedByPerson,
    /// Succeeded: taken over from an earlier execution that did the same.
    Reused,
    /// Cancelled: somebody asked for it.
    CancelRequested,
    /// Cancelled: the manifest of the execution is gone.
    ManifestRemoved,
    /// Cancelled: the deadline of the goal passed.
    DeadlineExceeded,
}

impl NodeReason {
    /// Whether a blocked node waits for what goes on at a Git host, and is polled until it ends.
    #[must_use]
    pub fn is_polled_delivery(self) -> bool {
        matches!(self, Self::ChangesRequested | Self::WorkBranchMoved | Self::ChecksCannotStart)
    }

    /// Whether a blocked node waits for reviewers of a gate.
    #[must_use]
    pub fn asks_approval(self) -> bool {
        matches!(self, Self::AwaitingApproval | Self::ApprovalVoid)
    }

    /// Whether a blocked node stands at a gate, also one that nobody can decide now.
    #[must_use]
    pub fn stands_at_gate(self) -> bool {
        self.asks_approval() || self == Self::GateClosed
    }

    /// Whether a blocked node waits for a person to run it again or to say how it ended.
    #[must_use]
    pub fn needs_decision(self) -> bool {
        matches!(
            self,
            Self::RunnerLost
                | Self::ContentRefused
                | Self::ResultRefused
                | Self::MergeConflict
                | Self::BranchConflict
                | Self::ArtifactUnavailable
                | Self::DeliveryRefused
        )
    }
}

/// The status of one node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeStatus {
    /// Its phase.
    pub phase: NodePhase,
    /// When the current or last attempt started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Timestamp>,
    /// When the node became terminal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Timestamp>,
    /// The number of attempts started so far.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub attempt: u32,
    /// What it gave.
    #[serde(default, skip_serializing_if = "JsonMap::is_empty")]
    pub outputs: JsonMap,
    /// Why it is in its phase, as a sentence for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// What the contract leaves to the controller.
    #[serde(default, skip_serializing_if = "NodeExtensions::is_empty")]
    pub extensions: NodeExtensions,
}

impl NodeStatus {
    /// The last part of the name of the current or last attempt: `<lease token>.<n>`. A token is never published twice, so
    /// two runners that both start an attempt `n` never use one name; records from before tokens were kept have `n` alone.
    #[must_use]
    pub fn attempt_id(&self) -> String {
        match self.extensions.token {
            Some(token) => format!("{token}.{}", self.attempt),
            None => self.attempt.to_string(),
        }
    }

    /// The name of the current or last attempt, by which services recognise what belongs to it.
    #[must_use]
    pub fn attempt_name(&self, execution_uid: &str, node: &NodeId) -> String {
        format!("{execution_uid}/{node}/{}", self.attempt_id())
    }

    /// Whether an attempt is under way. A group is Running as well while its children are on their way, without any.
    #[must_use]
    pub fn is_under_way(&self) -> bool {
        self.phase == NodePhase::Running && self.attempt > 0
    }

    /// Whether an attempt was handed over and continues without a process of the runner: it has to be polled, or cancelled.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        let NodeExtensions { reason, handle, retry_at, .. } = &self.extensions;
        let awaited = match reason {
            // Either shows that something continues. With neither, no poll would ever come.
            Some(NodeReason::AwaitingProvider) => handle.is_some() || retry_at.is_some(),
            // A person is waited for also where no provider knows of it. Only with a handle can it be polled.
            Some(NodeReason::AwaitingPerson | NodeReason::InputRequired) => handle.is_some(),
            Some(reason) if reason.is_polled_delivery() => handle.is_some(),
            _ => false,
        };
        self.phase == NodePhase::Blocked && awaited
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// What this reconciler records on a node beyond the contract.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeExtensions {
    /// Why the node is in its phase, for programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<NodeReason>,
    /// How many attempts failed and count against `retries`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failures: u32,
    /// Not before this time is the next attempt or the next poll.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Timestamp>,
    /// Since when the node is blocked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked_since: Option<Timestamp>,
    /// When somebody last asked to run the node again; reviews from before do not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset_at: Option<Timestamp>,
    /// What was resolved when the attempt started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<Arc<ResolvedBinding>>,
    // Shared, as a status is copied with each draft: with short digests, 3.9 instead of 5.2 ms for a node of a chain.
    /// What the attempt was begun with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basis: Option<Arc<InputFingerprint>>,
    /// Who runs or ran the attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runner: Option<String>,
    /// The fencing token of the lease under which the attempt was claimed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<u64>,
    /// The commit that the attempt worked on, where that is not the pinned one: the results of the nodes before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// Other nodes whose results it was made on top of, because they conflicted with what it had changed before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub onto: Vec<NodeId>,
    /// How often it was made again because of that.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub reruns: u32,
    /// The branch that shows a gate's reviewers what they are asked about, without `refs/heads/`; it is at `base`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work_branch: Option<String>,
    /// Why a gate has nothing to show: what comes before it conflicts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conflict: Option<String>,
    /// Who owns the files that it shows, where the gate asks them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owners: Option<Box<FileOwners>>,
    /// The items of a node with `forEach` whose list is computed, once it is known; its instances are those of the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instances: Option<Arc<Vec<serde_json::Value>>>,
    /// The highest number of an attempt of instances that are gone, because their list is computed again.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub instance_attempts: u32,
    /// What it changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Arc<NodeResult>>,
    /// What an attempt had changed that goes on later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unfinished: Option<Arc<UnfinishedWork>>,
    /// What it changed and nobody keeps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discarded: Option<DiscardedChanges>,
    /// What the last attempt left that can be had on any machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored: Option<Arc<StoredFiles>>,
    /// What all attempts together used up, as far as they said it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// Somebody let it go on although its budget was spent; the last time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub granted: Option<Box<BudgetGrant>>,
    /// The exit code of a process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The end of the log, and how to recognise the whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogSummary>,
    /// How the acceptance criteria came out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub criteria: Vec<CriterionResult>,
    /// What a person decided about remote work; it counts once the work is cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided: Option<NodeDecision>,
    /// Something of the provider's own that a later pass needs to continue, such as the address of a job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handle: Option<String>,
    /// What people are shown of the work that it is going to deliver, while a Gate before it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proposal: Option<Box<WorkProposal>>,
    /// What a reviewer wants changed of what it delivers, until that is taken back or a node runs again for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested: Option<Box<ChangeRequest>>,
    /// Why it runs, or ran, again on top of its own work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rework: Option<Box<Rework>>,
    /// What somebody answered to the provider's question, until it has been passed on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<QuestionAnswer>,
}

impl NodeExtensions {
    /// What names at its provider the work that goes on there, or what people are shown of it before the node starts.
    #[must_use]
    pub fn any_handle(&self) -> Option<&str> {
        let shown = || self.proposal.as_ref()?.handle.as_deref();
        self.handle.as_deref().or_else(shown)
    }

    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Which rule of which binding was chosen for an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResolvedBinding {
    /// `NAMESPACE/NAME` of the Binding.
    pub name: String,
    /// Its generation, so that one can find what it said.
    pub generation: u64,
    /// The index of the rule, from 0.
    pub rule: u32,
    /// The provider.
    pub provider: String,
}

/// What an attempt was begun with, as digests: by them a later execution knows whether it would do the same again. The first
/// 64 bits of SHA-256 over canonical JSON, because every node of a large plan has three of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputFingerprint {
    /// Of the node as the plan defines it.
    pub node: String,
    /// Of its inputs, and of what the goal, the plan and the execution say to whoever does the work.
    pub inputs: String,
    /// Of the provider and its settings, with every expression replaced.
    pub target: String,
    /// The capabilities that were found for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<ResolvedCapability>,
}
