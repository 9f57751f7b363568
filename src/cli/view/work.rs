//! What an execution changed, or what a node of it did: the two commits between which that is to be seen.

use std::sync::Arc;

use crate::cli::Context;
use crate::cli::desired::declared_target;
use crate::cli::error::CliError;
use crate::cli::repo_context::RepoContext;
use crate::cli::view::inventory::Inventory;
use crate::cli::view::pinned_plan::pinned_plan;
use crate::cli::view::selector::{ExecutionTarget, nearest};
use crate::engine::{NodeBase, ResultConflict, ResultTerms, SystemClock, WorkPlace, Workspaces};
use crate::git::ObjectId;
use crate::graph::Topology;
use crate::model::{
    ExecutionStatus, NodeExtensions, NodeId, NodeKind, NodeReason, PlanGraph, Resource, ResourceKey, Spec,
    UnfinishedWork,
};
use crate::plan::binding::{TaskToBind, binding_for};
use crate::plan::{is_delivery, results_among};
use crate::record::results_ref;
use crate::report::object::LiveObject;
use crate::run::expanded;

/// Work between two commits, both of which are in the repository.
pub(crate) struct ShownWork {
    pub(crate) key: ResourceKey,
    pub(crate) base: ObjectId,
    pub(crate) commit: ObjectId,
    /// What does not go with it, where it is shown to be worked on.
    pub(crate) conflict: Option<ResultConflict>,
    /// Whether a person may hand in commits for it.
    pub(crate) takes_commits: bool,
    /// Whether it is what a delivery could not bring into a branch that conflicts with it.
    pub(crate) is_undelivered: bool,
    /// What an attempt has left that goes on later, where it is shown to be worked on; its commit is in the repository.
    pub(crate) unfinished: Option<Arc<UnfinishedWork>>,
}

impl ShownWork {
    /// Finds what a target changed: a node with a result, that result; any other node, what comes before it; an execution, all of it.
    pub(crate) fn find(
        target: &ExecutionTarget,
        workspace: &RepoContext,
        context: &mut Context,
    ) -> Result<Self, CliError> {
        Self::between(target, false, workspace, context)
    }

    /// The same, to work in: of a node that was begun, what it works on; of one before which nothing was changed, the commit on
    /// which all of it began; of one before which results conflict, those that go together.
    pub(crate) fn find_place(
        target: &ExecutionTarget,
        workspace: &RepoContext,
        context: &mut Context,
    ) -> Result<Self, CliError> {
        Self::between(target, target.node.is_some(), workspace, context)
    }

    /// `to_work` says whether the pinned commit does where no file was changed, and a part where results conflict.
    fn between(
        target: &ExecutionTarget,
        to_work: bool,
        workspace: &RepoContext,
        context: &mut Context,
    ) -> Result<Self, CliError> {
        let tips = workspace.tips(context)?;
        let inventory = Inventory::load(workspace, &tips)?;
        let object = inventory.one(&target.clone().into(), context)?;
        let key = object.key.clone();
        let status = object.record.as_ref().and_then(|record| record.execution());
        let Some(status) = status.filter(|status| status.extensions.pinned.is_some()) else {
            return Err(CliError::no(format!("{key} has not been reconciled yet")));
        };
        let reference = results_ref(&key);
        let workspaces = workspaces(workspace, context);
        let pinned = status.start_commit().unwrap_or_default();
        let own = own_state(status, target.node.as_ref(), &key)?;
        let to_work_on = own.filter(|_| to_work);
        let unfinished = to_work_on.and_then(|own| own.unfinished.clone());
        // As it was claimed: what a node is made again on for a reviewer, or with a branch that conflicts, is more than what comes
        // before it, and commits that are handed in have to stand on it.
        let claimed = to_work_on.and_then(|own| own.base.as_ref());
        let result = own.and_then(|own| own.result.as_deref());
        let mut conflict = None;
        let mut takes_commits = false;
        let (base, commit) = match (result, claimed) {
            (Some(result), _) => (result.base.clone(), result.commit.clone()),
            (None, Some(claimed)) => (pinned.to_owned(), claimed.clone()),
            (None, None) => {
                let tree = workspace.status(&tips)?;
                let plan = pinned_plan(&workspace.repo, &tips.config, &tree, &key, status)?;
                let plan = plan.ok_or_else(|| CliError::no(format!("the plan of {key} is not at hand")))?;
                let commit =
                    match merged(&workspaces, graph_of(&plan)?, (&key, status), target.node.as_ref())? {
                        NodeBase::Commit(commit) => commit,
                        NodeBase::Pinned if to_work => pinned.to_owned(),
                        NodeBase::Pinned => return Err(nothing(&key, target.node.as_ref(), status)),
                        NodeBase::Conflict(found) if to_work => {
                            takes_commits = takes_work(&inventory, &object, &plan, target)?;
                            let ours = found.sides[0].to_string();
                            conflict = Some(found);
                            ours
                        }
                        NodeBase::Conflict(found) => return Err(in_conflict(&found, target)),
                    };
                (pinned.to_owned(), commit)
            }
        };
        let parse = |commit: &str| -> Result<ObjectId, CliError> {
            commit.parse().map_err(|_| CliError::no(format!("{key} names a commit that is malformed")))
        };
        let base = parse(&base)?;
        let commit = parse(&commit)?;
        let left = unfinished.as_ref().map(|work| parse(&work.commit)).transpose()?;
        let theirs = conflict.as_ref().map(|ResultConflict { sides: [_, theirs], .. }| *theirs);
        for needed in [base, commit].into_iter().chain(left).chain(theirs) {
            workspaces.ensure(needed, &reference)?;
        }
        let is_undelivered = to_work_on.is_some_and(|own| own.reason == Some(NodeReason::BranchConflict));
        Ok(Self { key, base, commit, conflict, takes_commits, is_undelivered, unfinished })
    }
}

/// Where results are merged that a command shows.
pub(crate) fn workspaces(workspace: &RepoContext, context: &Context) -> Arc<Workspaces> {
    let root = context.environment.work_home();
    let root = root.unwrap_or_else(|| workspace.repo.cache_dir().join("work"));
    let remote = workspace.remote.clone();
    let place = WorkPlace { root: &root, shared: None };
    let terms = ResultTerms::default();
    Workspaces::new(workspace.repo.common_dir(), remote, place, terms, Arc::new(SystemClock))
}

/// What the nodes before one changed, or all nodes.
fn merged(
    workspaces: &Workspaces,
    graph: &PlanGraph,
    (key, status): (&ResourceKey, &ExecutionStatus),
    node: Option<&NodeId>,
) -> Result<NodeBase, CliError> {
    let instances = expanded(graph, status);
    let graph = instances.as_ref().unwrap_or(graph);
    let topology =
        Topology::build(graph).map_err(|_| CliError::no(format!("the plan of {key} is not valid")))?;
    let among = match node.and_then(|node| topology.find(node.as_str())) {
        Some(ix) => topology.upstream(ix),
        None => vec![true; graph.nodes.len()],
    };
    let results = results_among(&topology, status, &among);
    let pinned = status.start_commit().unwrap_or_default();
    Ok(workspaces.combine(key, pinned, &results, &results_ref(key))?)
}

/// The graph of a plan.
fn graph_of(plan: &Resource) -> Result<&PlanGraph, CliError> {
    match &plan.spec {
        Spec::Plan(spec) => Ok(&spec.graph),
        _ => Err(CliError::no(format!("{} is no plan", plan.key()))),
    }
}

/// Whether a node has work of its own, which a person may hand in: a gate shows that of others, and a delivery hands it over.
fn takes_work(
    inventory: &Inventory<'_>,
    object: &LiveObject,
    plan: &Resource,
    target: &ExecutionTarget,
) -> Result<bool, CliError> {
    let graph = graph_of(plan)?;
    let Some(node) = target.node.as_ref().and_then(|node| graph.declared(node)) else { return Ok(false) };
    let spec = object.resource.as_ref().map(|resource| &resource.spec);
    let Some(Spec::Execution(execution)) = spec.filter(|_| node.kind == NodeKind::Task) else {
        return Ok(node.kind == NodeKind::Task);
    };
    let task = TaskToBind {
        node,
        plan: &plan.key(),
        plan_labels: &plan.metadata.labels,
        execution,
        namespace: &object.key.namespace,
    };
    let binding = binding_for(&task).map(|key| inventory.object(&key)).transpose()?.flatten();
    let declared = binding.and_then(|binding| binding.resource);
    let target = declared_target(&task, |_| declared.as_ref().map(|resource| &resource.spec));
    Ok(target.is_none_or(|target| !is_delivery(&target.provider)))
}

fn in_conflict(conflict: &ResultConflict, target: &ExecutionTarget) -> CliError {
    let name = &target.name;
    let error = CliError::no(conflict.what.clone());
    let error = error.hint(format!("each of them has work of its own to look at: {}", conflict.nodes()));
    match &target.node {
        Some(node) => error.hint(format!(
            "`planspec checkout {name}/{node}` makes a working tree in which a person can merge them"
        )),
        None => error,
    }
}

/// What is recorded of the node, if it is one of its own that is asked for.
fn own_state<'s>(
    status: &'s ExecutionStatus,
    node: Option<&NodeId>,
    key: &ResourceKey,
) -> Result<Option<&'s NodeExtensions>, CliError> {
    let Some(node) = node else { return Ok(None) };
    if let Some(state) = status.node_statuses.get(node) {
        return Ok(Some(&state.extensions));
    }
    let error = CliError::no(format!("{key} has no node `{node}`"));
    Err(match nearest(node.as_str(), status.node_statuses.keys().map(NodeId::as_str)) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error,
    })
}

fn nothing(key: &ResourceKey, node: Option<&NodeId>, status: &ExecutionStatus) -> CliError {
    let discarded: u64 = (status.node_statuses.values())
        .filter_map(|state| state.extensions.discarded.as_ref())
        .map(|discarded| discarded.files)
        .sum();
    let what = node.map_or_else(|| key.to_string(), |node| format!("node `{node}` of {key}"));
    let error = CliError::no(format!("{what} keeps no changes of files"));
    match discarded {
        0 => error,
        files => error.hint(format!(
            "{files} changed files were discarded; `config.changes: commit` in the Binding keeps them"
        )),
    }
}
