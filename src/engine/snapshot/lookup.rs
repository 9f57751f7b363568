//! What planning an Execution may ask about its surroundings, answered from the snapshot.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use jiff::Timestamp;
use tracing::warn;

use crate::engine::EngineError;
use crate::engine::error::KeptFailure;
use crate::engine::merged::MergedAnswer;
use crate::engine::snapshot::LoadedResource;
use crate::engine::snapshot::Snapshot;
use crate::engine::snapshot::approvals::SnapshotApprovals;
use crate::engine::snapshot::child::{MergeResults, child_progress, not_brought};
use crate::engine::snapshot::mutex::{MutexHolders, holders as holders_of};
use crate::engine::snapshot::pin_check::{began_before, was_in_force};
use crate::git::{GitError, may_come_later};
use crate::graph::NodeIx;
use crate::index::Topic;
use crate::model::{
    ApprovedTarget, BindingTarget, DerivedExecution, ExecutionPhase, ExecutionStatus, ExternalRef, GoalPhase,
    Kind, Name, Node, NodeId, NodeReason, NodeResult, ResourceKey, ResourceStatus, ReviewBinding, Spec,
    WorkBudget,
};
use crate::plan::binding::{BindingView, TaskToBind, binding_for, resolve, without_binding};
use crate::plan::capability::{Capability, check_outputs};
use crate::plan::required_gates::GateFor;
use crate::plan::{
    ApprovalAbove, ApprovalLookup, ChildProgress, EarlierWork, GateVerdict, MADE_ELSEWHERE, PlanLookup,
    ProviderResolution, ResourceProgress, dynamic_assignee,
};
use crate::provider::Registry;
use crate::run::{AttemptOutcome, AttemptReport, CompiledPlan};

/// The snapshot as planning sees it. A failure to read is kept, and ends the pass.
pub(crate) struct SnapshotLookup<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) registry: &'a Registry,
    merge: &'a dyn MergeResults,
    approvals: SnapshotApprovals<'a>,
    // `PlanLookup` answers without errors, because planning is pure; what fails is kept beside the answers.
    failure: KeptFailure,
    /// Why what an Execution takes over cannot be decided now.
    undecided: RefCell<Option<String>>,
    bindings: RefCell<HashMap<ResourceKey, Option<LoadedBinding>>>,
    /// Who holds which mutex; found out when somebody asks.
    holders: RefCell<Option<MutexHolders>>,
}

/// A Binding as it stands during a pass.
#[derive(Clone)]
struct LoadedBinding {
    loaded: Rc<LoadedResource>,
    generation: u64,
}

impl<'a> SnapshotLookup<'a> {
    pub(crate) fn new(snapshot: &'a Snapshot, registry: &'a Registry, merge: &'a dyn MergeResults) -> Self {
        let (failure, undecided, bindings, holders) = Default::default();
        let approvals = SnapshotApprovals::new(snapshot);
        Self { snapshot, registry, merge, approvals, failure, undecided, bindings, holders }
    }

    /// Who holds a mutex; where nobody does, `key` takes it.
    pub(crate) fn holder(&self, key: &ResourceKey, mutex: &str) -> Option<ResourceKey> {
        let mut holders = self.holders.borrow_mut();
        // Reads every active record, so only once somebody names a mutex.
        if holders.is_none() {
            *holders = self.keep(holders_of(self.snapshot).map(Some));
        }
        let name = (key.namespace.clone(), mutex.to_owned());
        // Taken for the rest of the pass: the next Execution that is prepared must not find it free as well.
        let holder = holders.as_mut()?.entry(name).or_insert_with(|| key.clone());
        (holder != key).then(|| holder.clone())
    }

    /// Why what the Execution that was planned last takes over cannot be decided now, where that is so: then nothing of its step
    /// may be recorded.
    pub(crate) fn take_undecided(&self) -> Option<String> {
        self.undecided.take()
    }

    /// The failure, if something could not be read.
    pub(crate) fn check(self) -> Result<(), EngineError> {
        self.failure.check()?;
        self.approvals.check()
    }

    fn keep<T>(&self, result: Result<Option<T>, EngineError>) -> Option<T> {
        self.failure.keep(result)
    }

    /// A Binding, read once a pass: many nodes ask for the same one.
    fn binding(&self, key: &ResourceKey) -> Option<LoadedBinding> {
        if let Some(known) = self.bindings.borrow().get(key) {
            return known.clone();
        }
        let loaded = self.keep(self.snapshot.cached(key));
        let found = loaded.map(|loaded| {
            let generation =
                self.keep(self.snapshot.generation(key, &loaded.declared).map(Some)).unwrap_or(1);
            LoadedBinding { loaded, generation }
        });
        // Also that there is none, which every node without a Binding would ask again.
        self.bindings.borrow_mut().insert(key.clone(), found.clone());
        found
    }

    /// Why a Binding may not be used. The last valid version of one whose manifest is broken may come from the status branch,
    /// and says what is run: it counts only if it was merged (Invariant 14).
    fn doubt(&self, execution: &ResourceKey, binding: &LoadedBinding) -> Option<ProviderResolution> {
        let declared = &binding.loaded.declared;
        declared.quarantined.as_ref()?;
        let key = binding.loaded.resource.key();
        let desired = self.snapshot.desired.id;
        let why = match self.keep(was_in_force(self.snapshot, desired, &key, declared.blob).map(Some))? {
            MergedAnswer::Yes => return None,
            MergedAnswer::No(why) => format!("the last valid version of {key} was not merged: {why}"),
            MergedAnswer::Unknown(why) => {
                self.snapshot.merged.awaited_by(execution);
                let why = format!("the last valid version of {key} cannot be checked: {why}");
                if self.snapshot.merged.is_coming() {
                    return Some(ProviderResolution::Later(why));
                }
                why
            }
        };
        Some(ProviderResolution::Not(NodeReason::Unbound, why))
    }

    fn resolve_now(&self, task: &TaskToBind<'_>, binding: Option<&LoadedBinding>) -> ProviderResolution {
        let explained =
            resolve(task, |_| match binding.map(|binding| (&binding.loaded.resource.spec, binding)) {
                Some((Spec::Binding(spec), binding)) => {
                    Some(BindingView { spec, generation: binding.generation })
                }
                _ => None,
            });
        // In the place of "there is no …": whoever committed the Binding knows better.
        let missing = explained.binding.as_ref().filter(|_| binding.is_none());
        if let Some((key, why)) = missing.and_then(|key| Some((key, self.why_broken(key)?))) {
            return ProviderResolution::Not(NodeReason::Unbound, format!("{key} is broken: {why}"));
        }
        let resolution = match missing {
            Some(key) => {
                let index = &self.snapshot.index;
                let others = index.declared_in(Kind::Binding, &key.namespace).map_err(EngineError::from);
                without_binding(task, key, &self.keep(others.map(Some)).unwrap_or_default())
            }
            None => explained.resolution,
        };
        let resolved = ProviderResolution::from(resolution);
        match &resolved {
            ProviderResolution::Bound(_, target) => match usable(self.registry, target) {
                Ok(()) => resolved,
                Err(why) => ProviderResolution::Not(NodeReason::ProviderUnavailable, why),
            },
            ProviderResolution::Not(..) | ProviderResolution::Later(_) => resolved,
        }
    }
}

impl ApprovalLookup for SnapshotLookup<'_> {
    fn gate(&self, gate: &ResourceKey, binding: &ReviewBinding, since: Option<Timestamp>) -> GateVerdict {
        self.approvals.gate(gate, binding, since)
    }

    fn required_gates(&self, target: &BindingTarget) -> Vec<GateFor> {
        self.approvals.required_gates(target)
    }

    fn approval_above(&self, compiled: &CompiledPlan) -> Option<ApprovalAbove> {
        self.approvals.approval_above(compiled)
    }

    fn approved_target(
        &self,
        compiled: &CompiledPlan,
        status: &ExecutionStatus,
        node: NodeIx,
    ) -> Option<ApprovedTarget> {
        self.approvals.approved_target(compiled, status, node)
    }
}

impl PlanLookup for SnapshotLookup<'_> {
    fn resolve(&self, compiled: &CompiledPlan, node: NodeIx) -> ProviderResolution {
        // By the place in the plan, which is the same for all instances and whatever else has become known: an answer that is
        // kept must never be taken for that of another node.
        let Some((entry, node)) = compiled.declared(node) else {
            return ProviderResolution::Not(NodeReason::Unbound, "the node is not in the plan".to_owned());
        };
        let task = TaskToBind::of(compiled, entry);
        let binding = binding_for(&task).and_then(|key| self.binding(&key));
        if let Some(doubt) = binding.as_ref().and_then(|binding| self.doubt(&compiled.key, binding)) {
            return doubt;
        }
        // Planning asks again for every node that is ready but has no slot yet; the answer follows from what is
        // pinned and from the Binding alone.
        let stamp = binding.as_ref().map(|binding| (binding.loaded.declared.blob, binding.generation));
        if let Some(known) = self.snapshot.answers.resolved(&compiled.key, node, stamp) {
            return known;
        }
        let resolved = self.resolve_now(&task, binding.as_ref());
        self.snapshot.answers.keep_resolved(&compiled.key, node, stamp, &resolved);
        resolved
    }

    fn budget(&self) -> Option<WorkBudget> {
        self.snapshot.config.budget.clone()
    }

    fn capabilities(&self, compiled: &CompiledPlan, node: NodeIx) -> Vec<Capability> {
        // The kept failure ends the pass, so that an empty list decides nothing.
        self.keep(capabilities_of(self.snapshot, compiled, node).map(Some)).unwrap_or_default()
    }

    fn can_poll_addresses(&self) -> bool {
        self.registry.external().is_some()
    }

    fn why_broken(&self, key: &ResourceKey) -> Option<String> {
        self.keep(self.snapshot.why_broken(key))
    }

    fn progress(&self, key: &ResourceKey) -> ResourceProgress {
        // Failed and not ongoing, whether it is there or not: a wait for a kind that has no end would never be over.
        if !matches!(key.kind, Kind::Execution | Kind::Goal) {
            return ResourceProgress::Failed("of a kind that never succeeds".to_owned());
        }
        let record = self.keep(self.snapshot.record(key));
        match record.as_ref().map(|record| &record.status) {
            None => ResourceProgress::Missing,
            Some(ResourceStatus::Execution(status)) => match status.phase {
                ExecutionPhase::Succeeded => ResourceProgress::Succeeded,
                phase if phase.is_terminal() => ResourceProgress::Failed(phase.to_string()),
                phase => ResourceProgress::Ongoing(phase.to_string()),
            },
            Some(ResourceStatus::Goal(status)) => match status.phase {
                GoalPhase::Succeeded => ResourceProgress::Succeeded,
                GoalPhase::Failed | GoalPhase::Cancelled => {
                    ResourceProgress::Failed(format!("{:?}", status.phase))
                }
                phase => ResourceProgress::Ongoing(format!("{phase:?}")),
            },
            Some(_) => ResourceProgress::Failed("recorded as another kind".to_owned()),
        }
    }

    fn child(
        &self,
        owner: (&CompiledPlan, &str),
        (node, attempt): (&NodeId, u32),
        plan: &Name,
    ) -> (ResourceKey, ChildProgress) {
        let found = child_progress(self.snapshot, owner, (node, attempt), plan, self.merge);
        self.keep(found.map(Some)).unwrap_or_else(|| {
            let [usual, _] = DerivedExecution::keys(&owner.0.key, node, attempt);
            // The kept failure ends the pass, so that this decides nothing.
            (usual, ChildProgress::Ongoing("unknown".to_owned()))
        })
    }

    fn carried(
        &self,
        here: (&CompiledPlan, &ExecutionStatus),
        ix: NodeIx,
        earlier: &EarlierWork<'_>,
    ) -> Result<Option<NodeResult>, String> {
        match self.keep(began_before(self.snapshot, here.1, earlier.status).map(Some)) {
            Some(MergedAnswer::Yes) => {}
            Some(MergedAnswer::Unknown(why)) => return Err(why),
            Some(MergedAnswer::No(_)) | None => return Err(MADE_ELSEWHERE.to_owned()),
        }
        match self.merge.carried(here, ix, earlier) {
            Ok(carried) => carried,
            // The pass ends, and decides nothing.
            Err(error @ GitError::Interrupted) => {
                self.keep::<()>(Err(error.into()));
                Err(MADE_ELSEWHERE.to_owned())
            }
            // Decided once and for good, so that a fault of the network must not decide it.
            Err(error) if may_come_later(&error) => {
                let why = not_brought(&error);
                self.undecided.borrow_mut().get_or_insert_with(|| why.clone());
                Err(why)
            }
            // Made again rather than waited for: it would be the same at any time.
            Err(error) => {
                warn!(execution = %here.0.key, from = %earlier.key, %error, "a result cannot be carried along here");
                Err(not_brought(&error))
            }
        }
    }

    fn awaited_by(&self, key: &ResourceKey) -> Vec<ResourceKey> {
        let awaited = match key.kind {
            // A goal succeeds by an execution that serves it.
            Kind::Goal => {
                self.snapshot.index.mentions(&Topic::Resource(key.clone())).map_err(EngineError::from)
            }
            _ => self.awaited_by_execution(key),
        };
        let mut awaited = self.keep(awaited.map(Some)).unwrap_or_default();
        // Other kinds wait for nothing, so no cycle of waits goes through them.
        awaited.retain(|other| matches!(other.kind, Kind::Execution | Kind::Goal));
        awaited
    }
}

impl SnapshotLookup<'_> {
    /// What the External nodes of an execution that have not ended wait for, by its plan as it is declared now.
    fn awaited_by_execution(&self, key: &ResourceKey) -> Result<Vec<ResourceKey>, EngineError> {
        let Some(execution) = self.snapshot.cached(key)? else { return Ok(Vec::new()) };
        let Spec::Execution(spec) = &execution.resource.spec else { return Ok(Vec::new()) };
        let plan_key = spec.plan_ref.key(Kind::Plan, &key.namespace);
        let Some(plan) = self.snapshot.cached(&plan_key)? else { return Ok(Vec::new()) };
        let Spec::Plan(plan) = &plan.resource.spec else { return Ok(Vec::new()) };
        let record = self.snapshot.record(key)?;
        let status = record.as_ref().and_then(|record| record.execution());
        // A node that has ended waits for nothing any more, and a cycle through it is resolved.
        let open = |node: &&Node| {
            let state = status.and_then(|status| status.node_statuses.get(&node.id));
            state.is_none_or(|state| !state.phase.is_terminal())
        };
        Ok(plan
            .graph
            .nodes
            .iter()
            .filter(open)
            .filter_map(|node| match &node.external_ref {
                Some(ExternalRef::Resource { resource_ref, .. }) => {
                    Some(resource_ref.key(&plan_key.namespace))
                }
                _ => None,
            })
            .collect())
    }
}

/// Whether a provider is known here, allowed, and takes these settings.
pub(crate) fn usable(registry: &Registry, target: &BindingTarget) -> Result<(), String> {
    dynamic_assignee(&target.provider)?;
    let provider = registry.find(&target.provider).map_err(|error| error.to_string())?;
    provider.check(&target.provider, &target.config).map_err(|error| error.to_string())
}

/// The declared capabilities of a task.
pub(crate) fn capabilities_of(
    snapshot: &Snapshot,
    compiled: &CompiledPlan,
    node: NodeIx,
) -> Result<Vec<Capability>, EngineError> {
    let Some(node) = compiled.node(node) else { return Ok(Vec::new()) };
    let mut capabilities = Vec::with_capacity(node.capability_refs.len());
    for reference in &node.capability_refs {
        // A plan's references are relative to the plan's namespace, not to that of the Execution.
        let key = reference.key(Kind::Capability, &compiled.plan_key.namespace);
        let Some(loaded) = snapshot.cached(&key)? else { continue };
        if let Spec::Capability(spec) = &loaded.resource.spec {
            let generation = snapshot.generation(&key, &loaded.declared)?;
            capabilities.push(Capability { key, generation, spec: spec.clone() });
        }
    }
    Ok(capabilities)
}

/// The end of an attempt, where its outputs have to be what the capabilities of the task promise.
pub(crate) fn checked(
    snapshot: &Snapshot,
    compiled: &CompiledPlan,
    node: NodeIx,
    report: AttemptReport,
) -> Result<AttemptReport, EngineError> {
    let AttemptReport { outcome: AttemptOutcome::Succeeded { outputs }, evidence } = report else {
        return Ok(report);
    };
    let outcome = match check_outputs(outputs, &capabilities_of(snapshot, compiled, node)?) {
        Ok(outputs) => AttemptOutcome::Succeeded { outputs },
        // Retryable: another attempt may give what was promised.
        Err(message) => AttemptOutcome::failed(NodeReason::OutputInvalid, message),
    };
    Ok(AttemptReport { outcome, evidence })
}
