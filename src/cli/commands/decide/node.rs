//! `planspec complete`, `planspec fail` and `planspec answer`: what a person says about the work of a node.

use clap::Args;
use serde_json::Value;

use crate::cli::Context;
use crate::cli::decisions::{execution_of, record};
use crate::cli::error::{CliError, Exit};
use crate::cli::repo_context::RepoContext;
use crate::cli::view::selector;
use crate::engine::Decision;
use crate::model::{JsonMap, NodeId, ResourceKey};
use crate::run::parameter::assignment;

/// Record that a person did the work of a node, or that it cannot be done
///
/// Outputs must be those that the node declares, and match its capabilities. If the work runs
/// remotely, the next reconcile cancels it first; then the decision takes effect.
/// `--commit` hands in what a person changed as the result of the node, on which the next nodes build: commits on top of what the node
/// works on (`planspec checkout EXECUTION/NODE`), and they may change only what a task may change.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  planspec complete sso-exec-001/research findings='see the wiki' count:=3
  planspec complete sso-exec-001/implement --commit HEAD
  planspec complete sso-exec-001/research --failed -m 'no access to the tenant'")]
pub(crate) struct CompleteArguments {
    /// The node, as EXECUTION/NODE
    node: String,
    /// Outputs: NAME=TEXT, or NAME:=JSON for other types
    #[arg(value_name = "NAME=TEXT", value_parser = assignment)]
    outputs: Vec<(String, Value)>,
    /// The commit that a person made of the work
    #[arg(long, value_name = "REV", conflicts_with = "failed")]
    commit: Option<String>,
    /// The work failed
    #[arg(long)]
    failed: bool,
    /// The reason, which is recorded
    #[arg(long, short, value_name = "TEXT")]
    message: Option<String>,
}

pub(crate) fn complete(arguments: &CompleteArguments, context: &mut Context) -> Result<Exit, CliError> {
    let (execution, node) = node_of(&arguments.node, context)?;
    let mut outputs = JsonMap::new();
    for (name, value) in &arguments.outputs {
        // Recorded for good, so nobody guesses which of two was meant; the command in a comment refuses it as well.
        if outputs.insert(name.clone(), value.clone()).is_some() {
            return Err(CliError::usage(format!("{name} is given twice")));
        }
    }
    let comment = arguments.message.clone();
    if let Some(revision) = &arguments.commit {
        // Here and not where it is recorded: after a lost race, `HEAD` may be another commit.
        let commit = RepoContext::open(context)?.repo.resolve_commit(revision)?.to_string();
        return record(&Decision::HandIn { execution, node, commit, outputs, comment }, context);
    }
    record(&Decision::Complete { execution, node, outputs, failed: arguments.failed, comment }, context)
}

/// Record that the work of a node cannot be done: the same as `planspec complete --failed`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  planspec fail sso-exec-001/research --reason 'no access to the tenant'")]
pub(crate) struct FailArguments {
    /// The node
    #[arg(value_name = "EXECUTION/NODE")]
    node: String,
    /// The reason, which is recorded
    #[arg(long, short = 'm', visible_alias = "message", value_name = "TEXT")]
    reason: Option<String>,
}

pub(crate) fn fail(arguments: &FailArguments, context: &mut Context) -> Result<Exit, CliError> {
    let (execution, node) = node_of(&arguments.node, context)?;
    let comment = arguments.reason.clone();
    // The very decision of `complete --failed`, so that the two cannot drift apart.
    record(&Decision::Complete { execution, node, outputs: JsonMap::new(), failed: true, comment }, context)
}

/// Answer the question of an agent that waits for input
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  planspec answer leaflet-1/write 'for nurses'")]
pub(crate) struct AnswerArguments {
    /// The node, as EXECUTION/NODE
    node: String,
    /// The answer; it is recorded, so it must not contain a secret
    text: String,
}

pub(crate) fn answer(arguments: &AnswerArguments, context: &mut Context) -> Result<Exit, CliError> {
    let (execution, node) = node_of(&arguments.node, context)?;
    record(&Decision::Answer { execution, node, text: arguments.text.clone() }, context)
}

/// The execution and the node that EXECUTION/NODE names.
fn node_of(argument: &str, context: &mut Context) -> Result<(ResourceKey, NodeId), CliError> {
    let (target, node) = selector::node(argument)?;
    // Whether there is such a node is checked when the decision is recorded: the pinned graph says it.
    Ok((execution_of(&target, context)?, node))
}
