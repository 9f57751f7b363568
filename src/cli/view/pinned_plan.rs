//! The Plan that an Execution is pinned to, as the status branch holds it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::cli::error::CliError;
use crate::cli::repo_context::RepoContext;
use crate::cli::view::inventory::Inventory;
use crate::config::Config;
use crate::git::{ObjectId, Repo};
use crate::manifest;
use crate::model::{
    BindingTarget, ExecutionStatus, JsonMap, NodeId, NodeStatus, PlanGraph, Resource, ResourceKey, Spec,
};
use crate::plan::{dynamic_assignee, inputs, provider};
use crate::record::StatusTree;
use crate::report::object::LiveObject;
use crate::run::{CompiledPlan, PlanSources};

/// The pinned Plan; absent before the Execution is pinned, and where the manifest does not hold it.
pub(crate) fn pinned_plan(
    repo: &Repo,
    config: &Config,
    status: &StatusTree,
    key: &ResourceKey,
    execution: &ExecutionStatus,
) -> Result<Option<Resource>, CliError> {
    let Some(pin) = &execution.extensions.pinned else { return Ok(None) };
    let Some(blob) = status.pinned(repo, key)?.plan else { return Ok(None) };
    let bytes = repo.blob(blob, config.limits.file_bytes)?;
    // The blob is the whole file of the desired branch (Invariant 9), which may hold several documents.
    let parsed = manifest::parse("pinned.yaml", &bytes, &config.limits);
    Ok(parsed.resources.into_iter().find(|resource| resource.key() == pin.plan))
}

/// The graph of the pinned Plan.
pub(crate) fn pinned_graph(
    repo: &Repo,
    config: &Config,
    status: &StatusTree,
    key: &ResourceKey,
    execution: &ExecutionStatus,
) -> Result<Option<PlanGraph>, CliError> {
    let plan = pinned_plan(repo, config, status, key, execution)?;
    Ok(plan.and_then(|plan| match plan.spec {
        Spec::Plan(spec) => Some(spec.graph),
        _ => None,
    }))
}

/// The provider that a node was given to, with the person in it whom an expression names. As it is written where that is not known
/// here, such as one that reads the goal: nothing depends on it but where a line is shown.
pub(crate) fn asked_provider(
    (workspace, config, inventory): (&RepoContext, &Config, &Inventory<'_>),
    (object, status): (&LiveObject, &ExecutionStatus),
    (id, state): (&NodeId, &NodeStatus),
) -> Result<Option<String>, CliError> {
    let Some(binding) = &state.extensions.binding else { return Ok(None) };
    let written = binding.provider.clone();
    if !matches!(dynamic_assignee(&written), Ok(Some(_))) {
        return Ok(Some(written));
    }
    let plan = pinned_plan(&workspace.repo, config, inventory.status(), &object.key, status)?;
    let named = || {
        let sources = PlanSources::of(object.key.clone(), object.resource.clone()?, plan?, None)?;
        let compiled = CompiledPlan::build(sources).ok()?;
        let ix = compiled.topology.find(id.as_str())?;
        let inputs = inputs(&compiled, status, ix).ok()?;
        let target = BindingTarget { provider: written.clone(), config: JsonMap::new() };
        provider(&compiled, status, (ix, &target), &inputs).ok()
    };
    Ok(named().or(Some(written.clone())))
}

/// Notes for tables of Executions which of their nodes only sum up others.
pub(crate) fn note_summaries(
    objects: &mut [LiveObject],
    repo: &Repo,
    config: &Config,
    status: &StatusTree,
) -> Result<(), CliError> {
    // A nightly plan has many Executions, and they are pinned to the same file.
    let mut graphs: HashMap<(ObjectId, ResourceKey), Option<PlanGraph>> = HashMap::new();
    for object in objects {
        let Some(execution) = object.record.as_ref().and_then(|record| record.execution()) else { continue };
        // Where no node can be a group, the file does not have to be read.
        if !execution.node_statuses.values().any(NodeStatus::is_summary) {
            continue;
        }
        let Some(pin) = &execution.extensions.pinned else { continue };
        let Some(blob) = status.pinned(repo, &object.key)?.plan else { continue };
        let graph = match graphs.entry((blob, pin.plan.clone())) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(pinned_graph(repo, config, status, &object.key, execution)?),
        };
        object.summaries = graph.as_ref().map(|graph| graph.summaries(execution)).unwrap_or_default();
    }
    Ok(())
}
