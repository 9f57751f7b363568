//! `planspec checkout`: the work of an execution as a working tree.

use std::path::PathBuf;

use clap::Args;

use crate::cli::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::repo_context::RepoContext;
use crate::cli::view::selector;
use crate::cli::view::work::ShownWork;
use crate::report::text;

/// Make a working tree of what an execution changed, or one node of it
///
/// Of a node that has changed nothing so far, it holds what the node works on: a person may do its work there, and hand it in with
/// `planspec complete EXECUTION/NODE --commit HEAD`.
///
/// It is one of the working trees of this repository (`git worktree list`), with no branch checked out.
/// `git worktree remove DIR` removes it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  planspec checkout sso-exec-001
  planspec checkout sso-exec-001/implement ../review")]
pub(crate) struct CheckoutArguments {
    /// EXECUTION, or EXECUTION/NODE; a gate stands for what comes before it
    #[arg(value_name = "EXECUTION[/NODE]")]
    target: String,
    /// Where to make it (default: a folder named after the target)
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(crate) fn run(arguments: &CheckoutArguments, context: &mut Context) -> Result<Exit, CliError> {
    let target = selector::execution(&arguments.target)?;
    let workspace = RepoContext::open(context)?;
    let work = ShownWork::find_place(&target, &workspace, context)?;
    let named = match &target.node {
        Some(node) => format!("{}-{node}", target.name),
        None => target.name.to_string(),
    };
    let dir = arguments.dir.clone().unwrap_or_else(|| PathBuf::from(named));
    workspace.repo.add_work_tree(&workspace.here.join(&dir), work.commit)?;
    let line = format!("made {} with the work of {} at {}", dir.display(), work.key, work.commit.short());
    context.out.line(text::line(&line))?;
    Ok(Exit::Done)
}
