//! `planspec verify`: who signed what on the status branch, and whether it holds.

use clap::Args;
use serde_json::json;

use crate::cli::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::output_format::OutputFormat;
use crate::cli::repo_context::RepoContext;
use crate::config::SignerKind;
use crate::engine::VerifiedCommit;
use crate::report::text;

/// Check the signatures of the status branch: who recorded what, and the first commit that does not hold
///
/// Asked for by `trust.status` of .planspec.yaml. Exit code 0: every commit holds; 1: one does not, or nothing has
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
    // The oldest: everything above it stands on it.
    let first = commits.iter().rev().find(|(_, by)| by.is_err());
    if context.options.format()? == OutputFormat::Json {
        let listed: Vec<_> = commits.iter().map(listed).collect();
        context.out.json(&json!({
            "holds": first.is_none(),
            "firstBroken": first.map(|(commit, _)| commit.id.to_string()),
            "commits": listed,
        }))?;
        return Ok(if first.is_none() { Exit::Done } else { Exit::No });
    }
    for (commit, by) in &commits {
        let who = match by {
            Ok(by) => format!("{} ({})", by.name, word(by.kind)),
            Err(why) => format!("REFUSED: {why}"),
        };
        context.out.line(text::line(&format!("{}  {who}  {}", commit.id.short(), commit.subject())))?;
    }
    match first {
        None => {
            context.out.note(format!("{} commits hold", commits.len()))?;
            Ok(Exit::Done)
        }
        Some((commit, by)) => {
            let why = by.as_ref().err().map(String::as_str).unwrap_or_default();
            let line = format!("the first commit that does not hold is {}: {why}", commit.id.short());
            Err(CliError::no(line).hint("put the branch back to its parent, or let a runner take it over with `planspec reconcile --accept-status-history`"))
        }
    }
}

/// A commit for programs.
fn listed((commit, by): &VerifiedCommit) -> serde_json::Value {
    json!({
        "commit": commit.id.to_string(),
        "subject": commit.subject(),
        "signer": by.as_ref().ok().map(|by| &by.name),
        "kind": by.as_ref().ok().map(|by| word(by.kind)),
        "refused": by.as_ref().err(),
    })
}

fn word(kind: SignerKind) -> &'static str {
    match kind {
        SignerKind::Runner => "runner",
        SignerKind::Person => "person",
    }
}
