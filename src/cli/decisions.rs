//! What the commands that record a decision share: finding what it is about, recording it, saying what came of it.

use std::sync::Arc;

use serde_json::json;

use super::Context;
use super::drive::runner_name;
use super::error::{CliError, Exit};
use super::objects::Inventory;
use super::options::OutputFormat;
use super::repo_context::RepoContext;
use super::selector::{ExecutionTarget, ResourceSelector};
use crate::engine::{Branches, Clock, Decider, Decision, SystemClock, decide};
use crate::index::Index;
use crate::model::{Kind, ResourceKey};

/// The key of the resource that a target names, which must be there.
pub(crate) fn key_of(target: &ResourceSelector, context: &mut Context) -> Result<ResourceKey, CliError> {
    let workspace = RepoContext::open(context)?;
    let tips = workspace.tips(context)?;
    let inventory = Inventory::load(&workspace, &tips)?;
    Ok(inventory.one(target, context)?.key)
}

/// The key of the execution that a target names.
pub(crate) fn execution_of(target: &ExecutionTarget, context: &mut Context) -> Result<ResourceKey, CliError> {
    let ExecutionTarget { namespace, name, .. } = target;
    let target = ResourceSelector {
        namespace: namespace.clone(),
        kind: Some(Kind::Execution),
        name: Some(name.clone()),
    };
    key_of(&target, context)
}

/// Records a decision and says what it came to.
pub(crate) fn record(decision: &Decision, context: &mut Context) -> Result<Exit, CliError> {
    let workspace = RepoContext::open(context)?;
    let decider = Decider::Committer(workspace.repo.identity()?);
    let index = Index::open(Some(&workspace.repo.cache_dir()))?;
    let branches = Branches::open(workspace.repo, workspace.remote, context.options.reference.as_deref())?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let recorded = decide(&branches, index, decision, &decider, &clock, &runner_name())?;
    if context.options.format()? == OutputFormat::Json {
        context.out.json(&json!({
            "by": recorded.by, "commit": recorded.commit, "result": recorded.lines,
        }))?;
        return Ok(Exit::Done);
    }
    for line in &recorded.lines {
        context.out.line(crate::report::text::line(line))?;
    }
    if recorded.commit.is_some() {
        context
            .out
            .note("recorded on the status branch; the next `planspec reconcile` goes on from there")?;
    }
    Ok(Exit::Done)
}
