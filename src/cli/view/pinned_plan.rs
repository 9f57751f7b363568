//! The Plan that an Execution is pinned to, as the status branch holds it.

use crate::cli::error::CliError;
use crate::config::Config;
use crate::git::Repo;
use crate::manifest;
use crate::model::{ExecutionStatus, PlanGraph, Resource, ResourceKey, Spec};
use crate::record::StatusTree;

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
