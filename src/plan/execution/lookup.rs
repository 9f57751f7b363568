//! What planning an Execution reads: the Execution itself, and what it may ask about everything else in the repository.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::draft::CancelResult;
use crate::graph::NodeIx;
use crate::model::{
    ApprovedTarget, BindingTarget, DerivedExecution, ExecutionStatus, JsonMap, Name, NodeId, NodeReason,
    NodeResult, ResolvedBinding, ResourceKey, ReviewBinding, WorkBudget,
};
use crate::plan::binding::Resolution;
use crate::plan::binding::capability::Capability;
use crate::plan::required_gates::GateFor;
use crate::run::{AttemptName, CompiledPlan};

/// Why a result is not carried along whose commit has nothing to do with the one on which an Execution begins.
pub(crate) const MADE_ELSEWHERE: &str =
    "its files were made on a commit that is not part of what this one begins on";

/// What planning an Execution reads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ExecutionView<'a> {
    /// The compiled plan.
    pub compiled: &'a CompiledPlan,
    /// The uid of the execution.
    pub uid: &'a str,
    /// Whether its manifest is gone from the desired state.
    pub removed: bool,
    /// Since when the deadline of its goal is over, if it is.
    pub overdue: Option<Timestamp>,
    /// The attempts that this process has claimed or runs: it holds the lease, so every other one is lost.
    pub local_attempts: &'a BTreeSet<AttemptName>,
    /// Remote work that was cancelled already.
    pub remote_cancelled: &'a BTreeMap<NodeId, CancelResult>,
    /// An earlier execution whose work may be taken over; present until that is decided.
    pub reuse: Option<ReuseSource<'a>>,
}

/// An earlier Execution.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReuseSource<'a> {
    /// Its name.
    pub from: &'a str,
    /// Its uid.
    pub uid: Option<&'a str>,
    /// What is recorded of it, or why nothing is.
    pub status: Result<&'a ExecutionStatus, &'a str>,
}

/// What a node changed in an earlier Execution.
#[derive(Debug, Clone)]
pub(crate) struct EarlierWork<'a> {
    /// The Execution.
    pub key: ResourceKey,
    /// What is recorded of it.
    pub status: &'a ExecutionStatus,
    /// The result of the node.
    pub result: &'a NodeResult,
}

/// What people were asked above an Execution that does a node of another one: its plan was approved with that node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApprovalAbove {
    /// What does not cover what the Execution would run now; none where all approvals do.
    pub void: Option<VoidApproval>,
}

/// A gate that was passed, or that is not passed yet, whose approvals do not cover what would run now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VoidApproval {
    /// The Execution that has to pass it.
    pub execution: ResourceKey,
    /// The Gate.
    pub gate: ResourceKey,
    /// Why.
    pub void: ApprovalGap,
}

/// Why the approvals of a gate do not cover what is behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApprovalGap {
    /// What is missing, or what has changed.
    pub why: String,
    /// Whether nobody can approve it before its manifest is fixed: then nobody must be asked to.
    pub is_closed: bool,
}

impl ApprovalGap {
    /// What is missing, and a reviewer can give.
    pub(crate) fn missing(why: String) -> Self {
        Self { why, is_closed: false }
    }

    /// The reason of a task that is held back by this.
    #[must_use]
    pub(crate) fn of_node(&self) -> NodeReason {
        if self.is_closed { NodeReason::GateClosed } else { NodeReason::ApprovalVoid }
    }
}

impl VoidApproval {
    /// The same in words, for what waits below the Execution that asks.
    #[must_use]
    pub(crate) fn told_below(&self) -> String {
        let why = &self.void.why;
        match self.void.is_closed {
            true => format!("{why}, which execution/{} waits for", self.execution.name),
            false => format!("{why}; execution/{} asks its reviewers again", self.execution.name),
        }
    }
}

/// What people approved, and have to approve.
pub(crate) trait ApprovalLookup {
    /// The decision of a Gate resource about exactly what `binding` names; reviews from before `since` do not count.
    fn gate(&self, gate: &ResourceKey, binding: &ReviewBinding, since: Option<Timestamp>) -> GateVerdict;
    /// What would do the work of a task, as far as an approval is bound to it; none where nothing is bound to the task. With the
    /// status of its Execution, which says whether a plan is at work already.
    fn approved_target(&self, _: &CompiledPlan, _: &ExecutionStatus, _: NodeIx) -> Option<ApprovedTarget> {
        None
    }
    /// What was approved above an Execution; none where it works for no node, or for one behind no gate.
    fn approval_above(&self, _: &CompiledPlan) -> Option<ApprovalAbove> {
        None
    }
    /// The gates that the configuration requires before a task with this target, each with the provider that needs it.
    fn required_gates(&self, _: &BindingTarget) -> Vec<GateFor> {
        Vec::new()
    }
}

/// What surrounds an Execution and is resolved late, when a node is about to start (Invariant 9).
pub(crate) trait PlanLookup: ApprovalLookup {
    /// The provider for a task.
    fn resolve(&self, compiled: &CompiledPlan, node: NodeIx) -> ProviderResolution;
    /// What the configuration lets an Execution use up that has no budget of its own.
    fn budget(&self) -> Option<WorkBudget> {
        None
    }
    /// The declared capabilities of a task.
    fn capabilities(&self, compiled: &CompiledPlan, node: NodeIx) -> Vec<Capability>;
    /// Whether a provider here can poll addresses.
    fn can_poll_addresses(&self) -> bool;
    /// What is wrong with the manifest of a resource that is declared and not valid.
    fn why_broken(&self, _: &ResourceKey) -> Option<String> {
        None
    }
    /// How far another resource is.
    fn progress(&self, key: &ResourceKey) -> ResourceProgress;
    /// How far the Execution of a node's attempt is, whose owner has this uid; whether it may be made.
    fn child(
        &self,
        (owner, _uid): (&CompiledPlan, &str),
        (node, attempt): (&NodeId, u32),
        _plan: &Name,
    ) -> (ResourceKey, ChildProgress) {
        let [usual, _] = DerivedExecution::keys(&owner.key, node, attempt);
        // What no commit follows, such as a forecast, makes none.
        (usual, ChildProgress::Refused("no execution can be made here".to_owned()))
    }
    /// What a node changed in an earlier Execution that began on another commit, on top of what comes before the node here; none
    /// where all of it is there already. Or why it has to be made again.
    fn carried(
        &self,
        _: (&CompiledPlan, &ExecutionStatus),
        _: NodeIx,
        _: &EarlierWork<'_>,
    ) -> Result<Option<NodeResult>, String> {
        Err(MADE_ELSEWHERE.to_owned())
    }
    /// The resources that another one waits for, as far as is known; for the diagnosis of cycles alone.
    fn awaited_by(&self, key: &ResourceKey) -> Vec<ResourceKey>;
}

/// The provider that was found for a task.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ProviderResolution {
    /// This one.
    // Shared: planning asks again for each node that waits for a slot, and of thousands that are ready two may start.
    Bound(Arc<ResolvedBinding>, Arc<BindingTarget>),
    /// None, for this reason.
    Not(NodeReason, String),
    /// It is not known before history has been fetched, which happens in this pass; says what is missing.
    Later(String),
}

impl From<Resolution> for ProviderResolution {
    fn from(resolution: Resolution) -> Self {
        match resolution {
            Resolution::Bound { binding, generation, rule, target } => {
                let resolved = ResolvedBinding {
                    name: format!("{}/{}", binding.namespace, binding.name),
                    generation,
                    rule: u32::try_from(rule).unwrap_or(u32::MAX),
                    provider: target.provider.clone(),
                };
                Self::Bound(Arc::new(resolved), Arc::new(target))
            }
            Resolution::Own { target } => {
                let provider = target.provider.clone();
                // The name stays empty: no Binding was asked.
                let none = ResolvedBinding { name: String::new(), generation: 0, rule: 0, provider };
                Self::Bound(Arc::new(none), Arc::new(target))
            }
            Resolution::Unbound { why } => Self::Not(NodeReason::Unbound, why),
            Resolution::Conflict { why, .. } => Self::Not(NodeReason::BindingConflict, why),
        }
    }
}

/// The decision of a gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GateVerdict {
    /// None yet; says what is missing.
    Waiting(String),
    /// None, and nobody can give one until its manifest is fixed; says what is wrong with it.
    Closed(String),
    /// Approved, by these.
    Approved(Vec<String>),
    /// Rejected, by this reviewer.
    Rejected(String),
}

/// How far another resource is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ResourceProgress {
    /// It is not there.
    Missing,
    /// It is on its way; says its phase.
    Ongoing(String),
    /// It succeeded.
    Succeeded,
    /// It ended otherwise; says its phase.
    Failed(String),
}

/// How far the Execution of a node's attempt is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ChildProgress {
    /// It is not there, and may be made.
    Missing,
    /// It must not be made; says why.
    Refused(String),
    /// It is on its way; says its phase, and what it waits for.
    Ongoing(String),
    /// It succeeded, and gives this to its node: outputs, and what all its nodes changed together.
    Succeeded { outputs: JsonMap, result: Option<Box<NodeResult>> },
    /// It succeeded, and what it gives cannot be used; says why.
    Unusable(String),
    /// It succeeded, and this runner cannot bring its results together now.
    Unmerged,
    /// It ended otherwise; says how, and whether another attempt may help.
    Failed { message: String, retryable: bool },
}
