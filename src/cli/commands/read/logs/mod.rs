//! `planspec logs`: what the work printed.

mod follow;
mod source;

use clap::Args;
use jiff::Timestamp;

use self::follow::follow;
use self::source::{LogSource, ended};

use crate::cli::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::repo_context::{RepoContext, SelectedCommits};
use crate::cli::view::execution_files::{ExecutionFiles, bucket};
use crate::cli::view::inventory::Inventory;
use crate::cli::view::log_window::LogWindow;
use crate::cli::view::selector::{self, nearest};
use crate::model::{ExecutionPhase, NodeId, NodePhase, NodeReason, NodeStatus, StatusRecord};
use crate::report::style::Tone;
use crate::report::text;

/// Show what the work of an execution printed
///
/// Of an execution that failed, only the logs of the nodes that failed; `--all` shows the others too. The full log is on
/// the machine that ran the node and, within `limits.artifacts`, in the store that `artifacts.store` of .planspec.yaml
/// names; where neither has it, the recorded end is shown.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  planspec logs sso-exec-001
  planspec logs sso-exec-001/research --attempt 2
  planspec logs sso-exec-001 --tail 20 --timestamps
  planspec logs sso-exec-001/research --since 10m
  planspec logs sso-exec-001/research -f")]
pub(crate) struct LogsArguments {
    /// EXECUTION, or EXECUTION/NODE
    #[arg(value_name = "EXECUTION[/NODE]")]
    target: String,
    /// Only this node, as EXECUTION/NODE says it too
    #[arg(long, value_name = "NODE")]
    node: Option<NodeId>,
    /// Which attempt, from 1 (default: the last)
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    attempt: Option<u32>,
    /// The attempt before the last
    #[arg(short, long, conflicts_with = "attempt")]
    previous: bool,
    /// Keep printing until the node has ended, across attempts; with `--attempt`, until that attempt has ended
    #[arg(short, long, conflicts_with = "previous")]
    follow: bool,
    /// All nodes, even of an execution that failed
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    window: LogWindow,
}

impl LogsArguments {
    /// The attempt that is wanted of a node; the last where none is named.
    fn attempt_of(&self, node: &NodeStatus) -> Option<u32> {
        if self.previous { Some(node.attempt.saturating_sub(1)) } else { self.attempt }
    }
}

pub(crate) fn run(arguments: &LogsArguments, context: &mut Context) -> Result<Exit, CliError> {
    let mut wanted = selector::execution(&arguments.target)?;
    match (&wanted.node, &arguments.node) {
        (Some(one), Some(other)) if one != other => {
            return Err(CliError::usage(format!("`{one}` and `{other}` are two nodes"))
                .hint("without a node, the logs of all are shown"));
        }
        (None, Some(node)) => wanted.node = Some(node.clone()),
        _ => {}
    }
    let workspace = RepoContext::open(context)?;
    let tips = workspace.tips(context)?;
    let object = Inventory::load(&workspace, &tips)?.one(&wanted.clone().into(), context)?;
    let Some(record) = object.record else {
        return Err(CliError::no(format!("{} has not been reconciled yet", object.key)));
    };
    let id = match wanted.node {
        Some(id) => id,
        // What has ended is shown, as by `kubectl logs -f`: a script that follows need not be faster than the work.
        None if arguments.follow && !has_record_ended(&record) => only_running(&record)?,
        None => return print_all(&workspace, &tips, &record, arguments, context),
    };
    let Some(node) = record.execution().and_then(|status| status.node_statuses.get(&id)) else {
        let ids = record.execution().into_iter().flat_map(|status| status.node_statuses.keys());
        let error = CliError::no(format!("{} has no node `{id}`", object.key));
        return Err(match nearest(id.as_str(), ids.map(NodeId::as_str)) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error,
        });
    };
    if arguments.follow {
        return follow(&workspace, (&object.key, &id), arguments.attempt, &arguments.window, context);
    }
    if arguments.previous && node.attempt < 2 {
        return Err(CliError::no(format!("{id} has no previous attempt")));
    }
    if let Some(number) = arguments.attempt.filter(|number| *number > node.attempt) {
        return Err(CliError::no(format!("{id} has no attempt {number}"))
            .hint(format!("attempts so far: {}; `-f` waits for the next one", node.attempt)));
    }
    if node.extensions.reason == Some(NodeReason::Reused) {
        context.out.note(text::line(&node.message))?;
    }
    let bucket = bucket(&tips, context);
    let files = ExecutionFiles::of(&workspace, (&tips, bucket.as_ref()), &record);
    let source = LogSource::of(&workspace, &record, &id, node, arguments.attempt_of(node));
    match source.read_anywhere(&files, &id, node)? {
        Some(content) => context.out.text(&ended(&content.part(&arguments.window, node, context.now())))?,
        None => context.out.note(format!("no log of {id} on this machine, and none recorded"))?,
    }
    Ok(Exit::Done)
}

fn has_record_ended(record: &StatusRecord) -> bool {
    record.execution().is_some_and(|status| status.phase.is_terminal())
}

/// The node to follow where none is named.
fn only_running(record: &StatusRecord) -> Result<NodeId, CliError> {
    let nodes = record.execution().into_iter().flat_map(|status| &status.node_statuses);
    let running: Vec<&NodeId> =
        nodes.filter(|(_, node)| node.phase == NodePhase::Running).map(|(id, _)| id).collect();
    match running.as_slice() {
        [only] => Ok((*only).clone()),
        [] => Err(CliError::no("no node runs, so there is nothing to follow")
            .hint("without `-f`, the logs are shown; EXECUTION/NODE follows a node from before it starts")),
        several => {
            let names: Vec<&str> = several.iter().map(|id| id.as_str()).collect();
            Err(CliError::usage(format!("`-f` follows one node, and these run: {}", names.join(", ")))
                .hint("write EXECUTION/NODE"))
        }
    }
}

/// The nodes that have started, oldest first.
fn started(record: &StatusRecord) -> Vec<(NodeId, NodeStatus)> {
    let nodes = record.execution().into_iter().flat_map(|status| &status.node_statuses);
    let mut nodes: Vec<(NodeId, NodeStatus)> =
        nodes.filter(|(_, node)| node.attempt > 0).map(|(id, node)| (id.clone(), node.clone())).collect();
    nodes.sort_by_key(|(_, node)| node.start_time.unwrap_or(Timestamp::MAX));
    nodes
}

fn print_all(
    workspace: &RepoContext,
    tips: &SelectedCommits,
    record: &StatusRecord,
    arguments: &LogsArguments,
    context: &mut Context,
) -> Result<Exit, CliError> {
    let mut nodes = started(record);
    let all = nodes.len();
    let is_failed = record.execution().is_some_and(|status| status.phase == ExecutionPhase::Failed);
    // Whoever asks after a failure wants its reason, and not the pages of what went well before it.
    if is_failed && !arguments.all && nodes.iter().any(|(_, node)| node.phase == NodePhase::Failed) {
        nodes.retain(|(_, node)| node.phase == NodePhase::Failed);
    }
    let bucket = bucket(tips, context);
    let files = ExecutionFiles::of(workspace, (tips, bucket.as_ref()), record);
    for (id, node) in &nodes {
        let source = LogSource::of(workspace, record, id, node, arguments.attempt_of(node));
        if let Some(content) = source.read_anywhere(&files, id, node)? {
            context.out.line(Tone::Strong.paint(format!("==> {id} <==")))?;
            context.out.text(&ended(&content.part(&arguments.window, node, context.now())))?;
        } else if node.phase == NodePhase::Failed {
            // What never started printed nothing, and still has a reason.
            context.out.line(Tone::Strong.paint(format!("==> {id} <==")))?;
            context.out.note(text::line(&format!("no log; {}", node.message)))?;
        }
    }
    if nodes.is_empty() {
        context.out.note("no node has started yet")?;
    }
    if nodes.len() < all {
        context.out.note(format!("of {all} nodes, those that failed; `--all` shows the others too"))?;
    }
    Ok(Exit::Done)
}
