//! Publishing a change of the desired state: a commit on the branch, a push of it, or a
//! branch of its own for a pull request.

use clap::Args;
use serde_json::json;

use crate::cli::Context;
use crate::cli::desired::change::{ChangeKind, DesiredChange};
use crate::cli::error::CliError;
use crate::cli::findings::print_findings;
use crate::cli::output_format::OutputFormat;
use crate::cli::repo_context::{RepoContext, full};
use crate::git::{BranchCommit, ObjectId, Remote, SwapResult};
use crate::model::Reuse;
use crate::report::object::short_name;
use crate::report::style::Tone;
use crate::report::table::Table;
use crate::report::text;

/// Where a change goes.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Destination {
    /// Print what would happen without changing anything; with `-o yaml`, what would be written
    #[arg(
        long, value_name = "HOW", num_args = 0..=1, require_equals = true, value_parser = dry_run,
        default_value = "none", default_missing_value = "client", hide_default_value = true
    )]
    pub(crate) dry_run: bool,
    /// Push the branch to the remote
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) push: bool,
    /// Push a new branch for a pull request; this repository's own branches stay as they are
    #[arg(long, conflicts_with_all = ["dry_run", "push"])]
    pub(crate) pr: bool,
    /// The commit message
    #[arg(short, long, value_name = "TEXT")]
    pub(crate) message: Option<String>,
}

/// The values that `kubectl` takes. Nothing but this program checks a change, so `server` and `client` are the same.
fn dry_run(text: &str) -> Result<bool, String> {
    match text {
        "client" | "server" | "true" => Ok(true),
        "none" | "false" => Ok(false),
        _ => Err("write --dry-run, or --dry-run=client, server or none".to_owned()),
    }
}

/// The commit that a change is made on top of.
pub(crate) fn base(
    workspace: &RepoContext,
    destination: &Destination,
    context: &mut Context,
) -> Result<Option<ObjectId>, CliError> {
    // A pull request, and a repository that is only a cache, start from what the remote has.
    if destination.pr || context.options.repo.is_some() && workspace.repo.work_tree().is_none() {
        return Ok(workspace.tips(context)?.desired);
    }
    let branch = workspace.branch()?;
    let tip = workspace.repo.read_ref(&full(&branch))?;
    // A commit without a parent would be a second history beside the one that the remote has.
    if tip.is_none()
        && let Some(remote) = &workspace.remote
        && workspace.tips(context)?.desired.is_some()
    {
        let error = format!("the desired branch `{branch}` of `{}` is not in this repository", remote.name());
        return Err(CliError::environment(error).hint(format!(
            "`git branch {branch} {}/{branch}`, or `--pr` for a pull request",
            remote.name()
        )));
    }
    if let Some(head) = workspace.repo.head_branch()?.filter(|head| *head != branch) {
        let note = format!("the change goes to branch `{branch}`, not to the checked-out branch `{head}`");
        context.out.note(text::line(&note))?;
    }
    Ok(tip)
}

/// Checks a change, makes it, and prints what happened to each resource. `Ok(false)` when it was refused.
pub(crate) fn publish(
    workspace: &RepoContext,
    revision: &DesiredChange<'_>,
    verb: &str,
    destination: &Destination,
    context: &mut Context,
) -> Result<bool, CliError> {
    let findings = revision.findings();
    // As a whole: a change goes into one commit, or into none.
    if DesiredChange::is_refused(&findings) {
        print_findings(&findings, "the change", revision.reader(), context)?;
        context.out.note("nothing was changed")?;
        return Ok(false);
    }
    for found in &findings {
        context.out.warning(text::line(&format!("{}: {}", found.location.path, found.message)))?;
    }
    let commit = if revision.edits.is_empty() || destination.dry_run {
        None
    } else {
        commit(workspace, revision, verb, destination, context)?
    };
    print_changes(revision, commit, destination, context)?;
    Ok(true)
}

fn commit(
    workspace: &RepoContext,
    revision: &DesiredChange<'_>,
    verb: &str,
    destination: &Destination,
    context: &mut Context,
) -> Result<Option<ObjectId>, CliError> {
    let message = message(revision, verb, destination);
    if destination.pr {
        return propose(workspace, revision, &message, destination, context).map(Some);
    }
    let branch = workspace.branch()?;
    let author = workspace.repo.identity()?;
    // The way Git is set up for this person: with clean filters, line ends and signatures.
    let made = workspace.repo.commit_on_branch(&branch, &revision.edits, &message, &author, context.now())?;
    let commit = match made {
        BranchCommit::Unchanged => return Ok(None),
        BranchCommit::Committed(commit) => commit,
    };
    // A commit in a cache clone would be lost; it goes to where the user pointed.
    if destination.push || context.options.repo.is_some() && workspace.repo.work_tree().is_none() {
        push(workspace, &branch, commit)?;
    }
    Ok(Some(commit))
}

/// Pushes the branch, on top of what the remote has now.
fn push(workspace: &RepoContext, branch: &str, commit: ObjectId) -> Result<(), CliError> {
    let remote = remote_of(workspace)?;
    let reference = full(branch);
    // The lease of the push is the tip that the remote has now. Only a commit on top of it is pushed, so that
    // nothing of others is thrown away.
    let tip = remote.fetch(&workspace.repo, &[&reference])?.into_iter().next().flatten();
    let behind = || {
        CliError::race(format!("{} has commits on {branch} that are not in this repository", remote.name()))
            .hint(format!("the commit {} was made; `git pull --rebase`, then `git push`", commit.short()))
    };
    if let Some(tip) = tip
        && workspace.repo.is_ancestor(tip, commit)? == Some(false)
    {
        return Err(behind());
    }
    match remote.push(&workspace.repo, &reference, tip, commit)? {
        SwapResult::Done => Ok(()),
        SwapResult::Moved(_) => Err(behind()),
    }
}

/// Makes the commit and pushes it as a new branch.
fn propose(
    workspace: &RepoContext,
    revision: &DesiredChange<'_>,
    message: &str,
    destination: &Destination,
    context: &mut Context,
) -> Result<ObjectId, CliError> {
    let remote = remote_of(workspace)?;
    let repo = &workspace.repo;
    let base = base(workspace, destination, context)?;
    let tree = base.map(|base| repo.commit(base).map(|commit| commit.tree)).transpose()?;
    let tree = repo.edit_tree(tree, &repo.write_files(&revision.edits)?)?;
    let parents: Vec<ObjectId> = base.into_iter().collect();
    let commit = repo.write_user_commit(tree, &parents, message, &repo.identity()?, context.now())?;
    // Named by the commit, so that two proposals cannot meet. Branches below `planspec/` are never taken for
    // desired state.
    let name = format!("planspec/change-{}", commit.short());
    // The lease says that the branch is not there, so that no other one is moved.
    match remote.push(repo, &full(&name), None, commit)? {
        SwapResult::Done => {}
        SwapResult::Moved(_) => return Err(CliError::race(format!("the branch {name} already exists"))),
    }
    let into = workspace.branch()?;
    context.out.note(format!("pushed {name} to {}", remote.name()))?;
    context.out.note(format!("next: open a pull request from {name} into {into}"))?;
    Ok(commit)
}

fn remote_of(workspace: &RepoContext) -> Result<&Remote, CliError> {
    workspace.remote.as_ref().ok_or_else(|| {
        CliError::environment("this repository has no remote to push to")
            .hint("`git remote add origin URL`, or name one with `--remote`")
    })
}

fn message(revision: &DesiredChange<'_>, verb: &str, destination: &Destination) -> String {
    if let Some(message) = &destination.message {
        return message.clone();
    }
    let changed: Vec<_> =
        revision.changes.iter().filter(|(_, change)| *change != ChangeKind::Unchanged).collect();
    match changed.as_slice() {
        [(key, _)] => format!("{verb} {key}\n"),
        [] => format!("{verb} files without a change of meaning\n"),
        several => {
            let lines: Vec<String> =
                several.iter().map(|(key, change)| format!("{} {key}", change.word())).collect();
            format!("{verb} {} resources\n\n{}\n", several.len(), lines.join("\n"))
        }
    }
}

fn print_changes(
    revision: &DesiredChange<'_>,
    commit: Option<ObjectId>,
    destination: &Destination,
    context: &mut Context,
) -> Result<(), CliError> {
    let commit = commit.map(|id| id.to_string());
    let rows = revision.changes.iter().map(|(key, change)| {
        let mut row = json!({
            "resource": key.to_string(), "outcome": change, "commit": commit, "dryRun": destination.dry_run,
        });
        if let (Some(reuse), Some(row)) = (&revision.reuse, row.as_object_mut()) {
            row.insert("reuse".to_owned(), json!(reuse));
        }
        row
    });
    match context.options.format()? {
        OutputFormat::Json => context.out.json(&rows.collect::<Vec<_>>())?,
        OutputFormat::Yaml if destination.dry_run => {
            // As it would be written, comments included, so that it can be kept as a file.
            for (i, text) in revision.written().iter().enumerate() {
                context.out.text(if i > 0 { "---\n" } else { "" })?;
                context.out.line(text::block(text.trim_end()))?;
            }
        }
        OutputFormat::Yaml => context.out.yaml(&rows.collect::<Vec<_>>())?,
        OutputFormat::Name => {
            for (key, _) in &revision.changes {
                context.out.line(short_name(key))?;
            }
        }
        _ => {
            let suffix = if destination.dry_run { " (dry run)" } else { "" };
            for (key, change) in &revision.changes {
                let tone = if *change == ChangeKind::Unchanged { Tone::Muted } else { Tone::Good };
                context.out.line(format!("{} {}{suffix}", short_name(key), tone.paint(change.word())))?;
            }
            if let Some(reuse) = revision.reuse.as_ref().filter(|_| !context.options.quiet) {
                context.out.note(text::line(&format!("forecast: {}", reuse.message)))?;
                for line in reuse_table(reuse).lines() {
                    context.out.line(line.trim_end())?;
                }
            }
            if let Some(commit) = commit.as_deref().and_then(|id| id.get(..8)) {
                context.out.note(format!("committed {commit}"))?;
            }
        }
    }
    Ok(())
}

/// The decisions as a table, one node a line.
fn reuse_table(reuse: &Reuse) -> Table {
    let mut table = Table::new(["node", "reused", "why not"]);
    for (id, verdict) in &reuse.nodes {
        let reused = verdict == Reuse::REUSED;
        let (word, why) = if reused { ("yes", "") } else { ("no", verdict.as_str()) };
        table.row(vec![id.as_str().into(), word.into(), why.into()]);
    }
    table
}
