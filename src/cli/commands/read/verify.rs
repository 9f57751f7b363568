//! `planspec verify`: who signed what on the status branch and the desired branch, and whether it holds.

use clap::Args;
use serde_json::json;

use crate::cli::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::output_format::OutputFormat;
use crate::cli::repo_context::RepoContext;
use crate::config::SignerRole;
use crate::engine::VerifiedCommit;
use crate::report::text;

/// Check signatures: who recorded what, who brought what into force, and the first commit that does not hold
///
/// Asked for by `trust.status` and `trust.desired` of .planspec.yaml. Exit code 0: every commit holds; 1: one does not, or nothing has
/// to be signed.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  planspec verify
  planspec verify --since planspec/status~20 -o json")]
pub(crate) struct VerifyArguments {
    /// Check only the commits after this one
    #[arg(long, value_name = "REV")]
    since: Option<String>,
}

pub(crate) fn run(arguments: &VerifyArguments, context: &mut Context) -> Result<Exit, CliError> {
    let workspace = RepoContext::open(context)?;
    let branches = workspace.branches(context)?;
    let since = arguments.since.as_deref().map(|rev| branches.repo().resolve_commit(rev)).transpose()?;
    let Some(commits) = branches.verify(since)? else {
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
        }))?;
        return Ok(if first.is_none() { Exit::Done } else { Exit::No });
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
    let Some((commit, by)) = first else {
        context.out.note(format!("{} commits hold", commits.len() + desired.len()))?;
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

fn word(role: SignerRole) -> &'static str {
    match role {
        SignerRole::Runner => "runner",
        SignerRole::Person => "person",
    }
}
