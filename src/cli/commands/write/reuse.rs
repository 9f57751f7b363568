//! What a new Execution will take over from an earlier one, shown before any reconcile decides it: the same decision,
//! made of what is declared and recorded now.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use crate::cli::Context;
use crate::cli::desired::change::DesiredChange;
use crate::cli::error::CliError;
use crate::cli::repo_context::RepoContext;
use crate::cli::view::inventory::Inventory;
use crate::cli::view::selector;
use crate::cli::view::work::workspaces;
use crate::engine::{MergeResults, Workspaces, not_brought};
use crate::git::{GitError, ObjectId, Repo};
use crate::graph::NodeIx;
use crate::model::{
    ExecutionSpec, ExecutionStatus, Kind, Name, NodeReason, NodeResult, PinnedGraph, Resource, ResourceKey,
    Reuse, ReviewBinding, Spec,
};
use crate::plan::binding::{BindingView, TaskToBind, binding_for, resolve};
use crate::plan::capability::Capability;
use crate::plan::{
    ApprovalLookup, Draft, EarlierWork, ExecutionView, GateVerdict, MADE_ELSEWHERE, PlanLookup,
    ProviderResolution, ResourceProgress, ReuseSource, plan_execution,
};
use crate::report::object::LiveObject;
use crate::run::{CompiledPlan, ExecutionChange, PlanSources};

/// The execution whose work is to be taken over.
pub(crate) fn earlier(
    inventory: &Inventory<'_>,
    named: &str,
    namespace: Option<&Name>,
    context: &Context,
) -> Result<LiveObject, CliError> {
    let mut target = selector::one(named, Some(Kind::Execution))?;
    if target.kind != Some(Kind::Execution) {
        return Err(CliError::usage(format!("`{named}` is not an execution"))
            .hint("`--from-execution` takes the name of one"));
    }
    // Beside the new one, because work is reused only within a namespace.
    target.namespace = target.namespace.or_else(|| namespace.cloned());
    let object = inventory.one(&target, context)?;
    if let Some(home) = namespace.filter(|home| object.key.namespace != **home) {
        let message = format!("{} is not in the namespace {home} of the new execution", object.key);
        return Err(CliError::no(message).hint("work is reused only within a namespace"));
    }
    let phase = object.record.as_ref().and_then(|record| record.execution()).map(|status| status.phase);
    // What still runs may yet change what there is to take over.
    match phase.filter(|phase| !phase.is_terminal()) {
        Some(phase) => Err(CliError::no(format!("{} is {phase}; it has not ended yet", object.key))
            .hint(format!("wait for it, or cancel it with `planspec cancel {}`", object.key.name))),
        None => Ok(object),
    }
}

/// The spec of an execution, as long as its manifest is there.
pub(crate) fn spec_of(object: &LiveObject) -> Option<&ExecutionSpec> {
    match object.resource.as_ref().map(|resource| &resource.spec) {
        Some(Spec::Execution(spec)) => Some(spec),
        _ => None,
    }
}

/// What the execution will reuse, as far as is known now.
pub(crate) fn forecast(
    (inventory, workspace, context): (&Inventory<'_>, &RepoContext, &Context),
    revision: &DesiredChange<'_>,
    execution: &Resource,
    earlier: &LiveObject,
) -> Option<Reuse> {
    let now = context.now();
    let compiled = compiled(revision, execution)?;
    let tip = revision.base();
    let carrier = tip.map(|tip| ResultCarrier {
        repo: &workspace.repo,
        tip,
        workspaces: workspaces(workspace, context),
    });
    let gone = format!("there is no record of {}, which never ran or was removed", earlier.key);
    let record = earlier.record.as_ref();
    let past = ReuseSource {
        from: earlier.key.name.as_str(),
        uid: record.map(|record| record.metadata.uid.as_str()),
        status: record.and_then(|record| record.execution()).ok_or(gone.as_str()),
    };
    // Planning itself decides, on a draft that nobody publishes: a copy of its rules would drift away from
    // them.
    let mut draft = Draft::new(ExecutionStatus::default());
    let graph = PinnedGraph {
        // The new manifest will be one commit further, and changes no file that a task works on.
        commit: tip.map(|tip| tip.to_string()).unwrap_or_default(),
        plan: compiled.plan_key.clone(),
        graph_digest: compiled.digest.clone(),
        goal: None,
    };
    draft.execution(ExecutionChange::Pin { graph, nodes: compiled.ids.clone() }, now);
    let view = ExecutionView {
        compiled: &compiled,
        uid: "",
        removed: false,
        overdue: None,
        local_attempts: &BTreeSet::new(),
        remote_cancelled: &BTreeMap::new(),
        reuse: Some(past),
    };
    plan_execution(view, &mut draft, &ReusePreview { inventory, carrier }, now);
    draft.status.extensions.reuse
}

fn compiled(revision: &DesiredChange<'_>, execution: &Resource) -> Option<CompiledPlan> {
    let Spec::Execution(spec) = &execution.spec else { return None };
    let namespace = &execution.metadata.namespace;
    let plan = revision.find(&spec.plan_ref.key(Kind::Plan, namespace))?;
    let goal = spec.goal_ref.as_ref().and_then(|goal| revision.find(&goal.key(Kind::Goal, namespace)));
    let sources = PlanSources::of(execution.key(), execution.clone(), plan.clone(), goal.cloned())?;
    // What does not compile is no valid plan, and then there is nothing to forecast.
    CompiledPlan::build(sources).ok()
}

/// Carries results along to the tip of a branch, to see whether that can be done.
struct ResultCarrier<'a> {
    repo: &'a Repo,
    tip: ObjectId,
    workspaces: Arc<Workspaces>,
}

/// What is declared, asked as planning asks it.
struct ReusePreview<'a> {
    inventory: &'a Inventory<'a>,
    carrier: Option<ResultCarrier<'a>>,
}

impl ReusePreview<'_> {
    fn found(&self, key: &ResourceKey) -> Option<(Spec, u64)> {
        let object = self.inventory.object(key).ok().flatten()?;
        // What has no record yet is new, and begins with generation 1.
        let generation = object.record.as_ref().map_or(1, |record| record.metadata.generation);
        object.resource.map(|resource| (resource.spec, generation))
    }
}

impl ApprovalLookup for ReusePreview<'_> {
    fn gate(&self, _: &ResourceKey, _: &ReviewBinding, _: Option<Timestamp>) -> GateVerdict {
        // A gate is never reused, so that its verdict decides nothing here.
        GateVerdict::Waiting(String::new())
    }
}

impl PlanLookup for ReusePreview<'_> {
    fn resolve(&self, compiled: &CompiledPlan, node: NodeIx) -> ProviderResolution {
        let Some((node, _)) = compiled.declared(node) else {
            return ProviderResolution::Not(NodeReason::Unbound, "the node is not in the plan".to_owned());
        };
        let task = TaskToBind::of(compiled, node);
        let found = binding_for(&task).and_then(|key| self.found(&key));
        let view = match &found {
            Some((Spec::Binding(spec), generation)) => Some(BindingView { spec, generation: *generation }),
            _ => None,
        };
        resolve(&task, |_| view).resolution.into()
    }

    fn capabilities(&self, compiled: &CompiledPlan, node: NodeIx) -> Vec<Capability> {
        let references = compiled.node(node).map(|node| node.capability_refs.as_slice()).unwrap_or_default();
        let keys =
            references.iter().map(|reference| reference.key(Kind::Capability, &compiled.plan_key.namespace));
        keys.filter_map(|key| match self.found(&key)? {
            (Spec::Capability(spec), generation) => Some(Capability { key, generation, spec }),
            _ => None,
        })
        .collect()
    }

    fn carried(
        &self,
        here: (&CompiledPlan, &ExecutionStatus),
        ix: NodeIx,
        earlier: &EarlierWork<'_>,
    ) -> Result<Option<NodeResult>, String> {
        let first = earlier.status.start_commit().and_then(|commit| commit.parse().ok());
        let (Some(carrier), Some(first)) = (&self.carrier, first) else {
            return Err(MADE_ELSEWHERE.to_owned());
        };
        let unknown = |error: GitError| not_brought(&error);
        // What a shallow clone does not know, the reconcile will fetch; the result is made with what is here.
        if carrier.repo.is_ancestor(first, carrier.tip).map_err(unknown)? == Some(false) {
            return Err(MADE_ELSEWHERE.to_owned());
        }
        carrier.workspaces.carried(here, ix, earlier).map_err(unknown)?
    }

    fn can_poll_addresses(&self) -> bool {
        true
    }

    fn awaited_by(&self, _: &ResourceKey) -> Vec<ResourceKey> {
        Vec::new()
    }

    fn progress(&self, _: &ResourceKey) -> ResourceProgress {
        ResourceProgress::Missing
    }
}
