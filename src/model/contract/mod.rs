//! The specs and statuses of the contract, one file per kind; a node has its status in a file of its own.

mod binding;
mod capability;
mod criterion;
mod execution;
mod external;
mod for_each;
mod gate;
mod goal;
mod node;
mod node_statuses;
mod node_trait;
mod node_work;
mod plan;
mod schedule;

pub use binding::{
    BindingPhase, BindingRule, BindingSelector, BindingSpec, BindingStatus, BindingStrategy, BindingTarget,
    UnboundCapability, UnboundReason,
};
pub use capability::{
    CapabilityParameter, CapabilityPhase, CapabilityRequirement, CapabilitySpec, CapabilityStatus,
    DEPRECATED, ParameterType, REPLACEMENT, ResolvedCapability,
};
pub use criterion::{AcceptanceCriterion, CriterionCheck, ExpectedResponse};
pub use execution::{
    Artifact, ArtifactType, ExecutionExtensions, ExecutionPhase, ExecutionSpec, ExecutionStatus,
    FROM_EXECUTION, Lease, MUTEX, MutexHold, PIN_MISMATCH, PersonRequest, PinnedGraph, Reuse,
};
pub use external::{ExternalRef, HostNumber, ResourceRef};
pub use for_each::{ForEach, ForEachItems, INDEX, InstanceJoin, MAX_INSTANCES, Matrix};
pub use gate::{
    ApprovalCount, ApprovedTarget, AskedApproval, CODE_OWNERS, FileOwners, GateExtensions, GateOutcome,
    GatePhase, GateResolution, GateSpec, GateStatus, GateTarget, GateType, HostAccount, OwnedFiles, Review,
    ReviewAction, ReviewBinding, ReviewSubject, means_code_owners,
};
pub use goal::{ContextFormat, ContextItem, GoalCriterion, GoalPhase, GoalSpec, GoalStatus};
pub use node::{InputFingerprint, NodeExtensions, NodePhase, NodeReason, NodeStatus, ResolvedBinding};
pub use node_statuses::NodeStatuses;
pub(crate) use node_statuses::same;
pub(crate) use node_trait::NodeTrait;
pub use node_work::{
    BudgetGrant, ChangeRequest, CheckedFiles, CriterionResult, DiscardedChanges, LeftOutFile, LogSummary,
    NodeDecision, NodeResult, OMITTED, QuestionAnswer, Rework, StoredFiles, UnfinishedWork, Usage,
    WorkBudget, WorkProposal,
};
pub use plan::{
    Edge, EdgeType, Effort, GroupMode, Node, NodeKind, PlanGraph, PlanPhase, PlanSpec, PlanStatus, RunSpec,
};
pub use schedule::{ConcurrencyPolicy, ScheduleExtensions, ScheduleSpec, ScheduleStatus};
