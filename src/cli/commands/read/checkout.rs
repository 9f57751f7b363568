//! `planspec checkout`: the work of an execution as a working tree.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::repo_context::RepoContext;
use crate::cli::view::selector;
use crate::cli::view::work::ShownWork;
use crate::model::{NextStep, NodeId, ResourceKey, UnfinishedWork};
use crate::report::text;

/// Make a working tree of what an execution changed, or one node of it
///
/// Of a node that has changed nothing so far, it holds what the node works on: a person may do its work there, and hand it in with
/// `planspec complete EXECUTION/NODE --commit HEAD`. Where results conflict on which it should work, a merge of them is under way
/// there, for a person to resolve.
///
/// It is one of the working trees of this repository (`git worktree list`), with no branch checked out.
/// `git worktree remove DIR` removes it. Without DIR it is made beside the repository, whose own `git status` stays as it is.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  planspec checkout sso-exec-001
  planspec checkout sso-exec-001/implement ../review")]
pub(crate) struct CheckoutArguments {
    /// EXECUTION, or EXECUTION/NODE; a gate stands for what comes before it
    #[arg(value_name = "EXECUTION[/NODE]")]
    target: String,
    /// Where to make it [default: beside the repository, as REPOSITORY-EXECUTION[-NODE]]
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
    let dir = arguments.dir.clone().unwrap_or_else(|| outside(&workspace, &named));
    let path = workspace.here.join(&dir);
    // As Git has it, which takes a folder that is empty.
    if path.read_dir().map_or_else(|_| path.exists(), |mut entries| entries.next().is_some()) {
        let shown = dir.display();
        return Err(CliError::no(format!("{shown} is there already")).hint(format!(
            "name another folder, or remove this one: `git worktree remove {shown}` where it is a working tree"
        )));
    }
    workspace.repo.add_work_tree(&path, work.commit)?;
    let line = format!("made {} with the work of {} at {}", dir.display(), work.key, work.commit.short());
    context.out.line(text::line(&line))?;
    if let (Some(conflict), Some(node)) = (&work.conflict, &target.node) {
        let nodes = conflict.nodes();
        let [_, theirs] = conflict.sides;
        workspace.repo.begin_merge(&path, theirs, &format!("Merge the results of {nodes}"))?;
        let next = match work.takes_commits {
            true => {
                let complete = NextStep::complete(&work.key, node);
                format!("resolve it, `git commit`, and then in that folder: {complete} --commit HEAD")
            }
            // A gate shows what others have made, and a delivery hands it over.
            false => brought_together(&work.key, node, &conflict.later),
        };
        let line = format!("{}, and a merge of them is under way there; {next}", conflict.what);
        context.out.line(text::line(&line))?;
    }
    if let Some(node) = target.node.as_ref().filter(|_| work.is_undelivered) {
        let retry = NextStep::retry(&work.key, node);
        let line = format!(
            "`{node}` takes no commits: merge {} into the branch that it conflicts with, push that, and then: {retry}",
            work.commit.short()
        );
        context.out.line(text::line(&line))?;
    }
    if let Some(unfinished) = &work.unfinished {
        let UnfinishedWork { commit, .. } = unfinished.as_ref();
        let line = format!(
            "{} is not in it; in that folder, `git cherry-pick --no-commit {commit}` brings it",
            unfinished.summary()
        );
        context.out.line(text::line(&line))?;
    }
    Ok(Exit::Done)
}

/// What helps where results conflict before a node that has no work of its own.
fn brought_together(execution: &ResourceKey, node: &NodeId, later: &NodeId) -> String {
    let retry = NextStep::retry(execution, node);
    format!(
        "`{node}` takes no commits: give the plan a task before it that brings them together, or merge `config.onConflict: rerun` in \
         the Binding of `{later}`, which is then made again on top of the others after {retry}"
    )
}

/// A folder beside the repository, where the command runs inside of it; otherwise one right here. Never inside: there `git status`
/// would list all of it as new, a build would find everything twice, and only a file of the user's could keep it out.
fn outside(workspace: &RepoContext, named: &str) -> PathBuf {
    let repo = &workspace.repo;
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let (top, here) = (real(repo.work_tree().unwrap_or_else(|| repo.common_dir())), real(&workspace.here));
    let (Ok(below), Some(folder)) = (here.strip_prefix(&top), top.file_name()) else {
        return PathBuf::from(named);
    };
    let folder = folder.to_string_lossy();
    let up = "../".repeat(below.components().count() + 1);
    PathBuf::from(format!("{up}{}-{named}", folder.strip_suffix(".git").unwrap_or(&folder)))
}
