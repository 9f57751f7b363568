//! What the commands that record a decision share: finding what it is about, recording it, printing the result.

use std::sync::Arc;

use serde_json::json;

use crate::cli::Context;
use crate::cli::drive::runner_name;
use crate::cli::error::{CliError, Exit};
use crate::cli::output_format::OutputFormat;
use crate::cli::repo_context::RepoContext;
use crate::cli::view::inventory::Inventory;
use crate::cli::view::selector::{ExecutionTarget, ResourceSelector};
use crate::engine::{Clock, Decider, Decision, RecordedDecision, SystemClock, decide};
use crate::index::Index;
use crate::model::ResourceKey;
use crate::report::text;

/// The key of the resource that a target names, which must be there.
pub(crate) fn key_of(target: &ResourceSelector, context: &mut Context) -> Result<ResourceKey, CliError> {
    let workspace = RepoContext::open(context)?;
    let tips = workspace.tips(context)?;
    let inventory = Inventory::load(&workspace, &tips)?;
    Ok(inventory.one(target, context)?.key)
}

/// The key of the execution that a target names.
pub(crate) fn execution_of(target: &ExecutionTarget, context: &mut Context) -> Result<ResourceKey, CliError> {
    key_of(&target.clone().into(), context)
}

/// Records a decision of anybody: of the committer, or of a login that the host has verified.
pub(crate) fn record_as(
    decider: &Decider,
    decision: &Decision,
    context: &mut Context,
) -> Result<RecordedDecision, CliError> {
    let workspace = RepoContext::open(context)?;
    let index = Index::open(Some(&workspace.repo.cache_dir()))?;
    let branches = workspace.branches(context)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    Ok(decide(&branches, index, decision, decider, &clock, &runner_name())?)
}

/// Records a decision of the person at the terminal, and prints the result.
pub(crate) fn record(decision: &Decision, context: &mut Context) -> Result<Exit, CliError> {
    // Whoever Git says, which nobody verifies: SECURITY.md says what follows from that.
    let committer = RepoContext::open(context)?.repo.identity()?;
    let recorded = record_as(&Decider::Committer(committer), decision, context)?;
    if context.options.format()? == OutputFormat::Json {
        context.out.json(&json!({
            "by": recorded.by, "commit": recorded.commit, "result": recorded.lines,
        }))?;
        return Ok(Exit::Done);
    }
    for line in &recorded.lines {
        context.out.line(text::line(line))?;
    }
    // A decision that is recorded already makes no commit, and there is nothing new to continue with.
    if recorded.commit.is_some() {
        context.out.note("recorded on the status branch; the next `planspec reconcile` continues")?;
    }
    Ok(Exit::Done)
}
