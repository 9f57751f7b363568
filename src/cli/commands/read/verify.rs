//! `planspec verify`: who signed what on the status branch and the desired branch, and whether it holds.

use clap::Args;
use serde_json::json;

use super::online::{self, OnlineBranch};
use crate::cli::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::output_format::OutputFormat;
use crate::cli::repo_context::RepoContext;
use crate::cli::view::signatures::word;
use crate::engine::VerifiedCommit;
use crate::report::text;

/// Check signatures: who recorded what, who brought what into force, and the first commit that does not hold
///
/// `trust.status` and `trust.desired` of .planspec.yaml require signatures. Exit code 0: every commit holds; 1: one does not, or nothing has
/// to be signed.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  planspec verify
  planspec verify --since planspec/status~20 -o json
  planspec verify --online")]
pub(crate) struct VerifyArguments {
    /// Check only the commits after this one
    #[arg(long, value_name = "REV")]
    since: Option<String>,
    /// Also ask the host what both branches are there, and who may push to them (needs GITHUB_TOKEN and GITHUB_REPOSITORY)
    #[arg(long)]
    online: bool,
}

pub(crate) fn run(arguments: &VerifyArguments, context: &mut Context) -> Result<Exit, CliError> {
    let workspace = RepoContext::open(context)?;
    let online = match arguments.online {
        true => {
            let tips = workspace.tips(context)?;
            Some(online::ask(&workspace.branch()?, &tips, context)?)
        }
        false => None,
    };
    let branches = workspace.branches(context)?;
    let since = arguments.since.as_deref().map(|rev| branches.repo().resolve_commit(rev)).transpose()?;
    let Some(commits) = branches.verify(since)? else {
        show_online(online.as_deref().unwrap_or_default(), context)?;
        return Err(CliError::no("nothing has to be signed: .planspec.yaml has no `trust.status`")
            .hint("docs/signing.md shows how to set it up"));
    };
    let desired = branches.verify_desired(since)?;
    // The oldest: everything above it stands on it.
    let first = commits.iter().rev().chain(desired.iter().rev()).find(|(_, by)| by.is_err());
    if context.options.format()? == OutputFormat::Json {
        context.out.json(&json!({
            "holds": first.is_none(),
            "firstBroken": first.map(|(commit, _)| commit.id.to_string()),
            "commits": commits.iter().map(listed).collect::<Vec<_>>(),
            "desired": desired.iter().map(listed).collect::<Vec<_>>(),
            "online": online.as_ref().map(|online| online.iter().map(OnlineBranch::to_json).collect::<Vec<_>>()),
        }))?;
        let same = online.iter().flatten().all(OnlineBranch::is_same);
        return Ok(if first.is_none() && same { Exit::Done } else { Exit::No });
    }
    for (commit, by) in &commits {
        let who = match by {
            Ok(by) => format!("{} ({})", by.name, word(by.role)),
            Err(why) => format!("REFUSED: {why}"),
        };
        context.out.line(text::line(&format!("{}  {who}  {}", commit.id.short(), commit.subject())))?;
    }
    for (commit, by) in &desired {
        let who = match by {
            Ok(by) => format!("{}, brought into force", by.name),
            Err(why) => format!("REFUSED: {why}"),
        };
        context.out.line(text::line(&format!("{}  {who}  {}", commit.id.short(), commit.subject())))?;
    }
    let online = online.unwrap_or_default();
    show_online(&online, context)?;
    let Some((commit, by)) = first else {
        if let Some(error) = online.iter().find_map(OnlineBranch::error) {
            return Err(error);
        }
        context.out.note(all_hold(commits.len() + desired.len()))?;
        return Ok(Exit::Done);
    };
    let why = by.as_ref().err().map(String::as_str).unwrap_or_default();
    let error = CliError::no(format!("the first commit that does not hold is {}: {why}", commit.id.short()));
    Err(if desired.iter().any(|(other, _)| other.id == commit.id) {
        error.hint("let one of the signers of `trust.desired` put a signed commit on the desired branch")
    } else {
        error.hint("put the branch back to its parent, or let a runner take it over with `planspec reconcile --accept-status-history`")
    })
}

fn all_hold(count: usize) -> String {
    match count {
        1 => "1 commit holds".to_owned(),
        count => format!("{count} commits hold"),
    }
}

/// What the host says, and what is open there. On the desired branch before the status branch, as it was asked.
fn show_online(online: &[OnlineBranch], context: &mut Context) -> Result<(), CliError> {
    for branch in online {
        context.out.line(branch.line())?;
    }
    for (place, branch) in online.iter().enumerate() {
        if let Some(advice) = branch.advice(place > 0) {
            context.out.note(advice)?;
        }
    }
    Ok(())
}

/// A commit for programs.
fn listed((commit, by): &VerifiedCommit) -> serde_json::Value {
    json!({
        "commit": commit.id.to_string(),
        "subject": commit.subject(),
        "signer": by.as_ref().ok().map(|by| &by.name),
        "role": by.as_ref().ok().map(|by| word(by.role)),
        "refused": by.as_ref().err(),
    })
}
