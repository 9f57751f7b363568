//! `/planspec approve --all`: one comment for every gate at which what the pull request introduced waits. Each gate is
//! authorised, checked and recorded as if it had been named alone.

use super::resolve::{ResolvedGate, gate_in_force};
use super::{CommandAnswer, review, source_of, undated};
use crate::cli::Context;
use crate::cli::ci::authority::authorize::{authorise, gates_of};
use crate::cli::ci::authority::{DecisionSource, record};
use crate::cli::ci::host::Host;
use crate::cli::ci::pass_view::PassView;
use crate::cli::error::{CliError, Exit};
use crate::cli::view::inventory::Inventory;
use crate::engine::people_of;
use crate::host::{Account, Comment};
use crate::markup::sentence;
use crate::model::ResourceKey;

/// How many gates one comment decides: each is a commit of its own, and the job has to end.
const MOST_GATES: usize = 50;

/// Approves them, and says of each that it did not approve why not.
pub(super) fn run(
    (author, comment): (&Account, &Comment),
    words: Option<&str>,
    host: &Host,
    context: &mut Context,
) -> Result<CommandAnswer, CliError> {
    let Some(source) = source_of(comment) else { return Ok(undated()) };
    let view = PassView::open(context)?;
    let inventory = Inventory::load(view.workspace(), view.tips())?;
    let waiting = waiting_here(&view, host, comment.issue)?;
    if waiting.is_empty() {
        return Ok(CommandAnswer::No(
            "Nothing that this pull request introduced waits at a gate.".to_owned(),
        ));
    }
    let mut recorded = Vec::new();
    let mut refused = Vec::new();
    for (execution, gate) in waiting.iter().take(MOST_GATES) {
        let chosen = gate_in_force(&view, &inventory, gate, Some(execution.clone()))?;
        let approval = OneApproval { chosen, author, words, source: &source };
        match approve(execution, approval, &view, host, context)? {
            Ok(lines) => recorded.extend(lines),
            Err(why) => refused.push(format!("* {}/{}: {}", execution.name, gate.name, why)),
        }
    }
    if let Some(more @ 1..) = waiting.len().checked_sub(MOST_GATES) {
        refused.push(format!("* … and {more} more: comment again for these"));
    }
    tracing::info!(recorded = recorded.len(), refused = refused.len(), "approve --all");
    Ok(match (recorded.is_empty(), refused.is_empty()) {
        (true, _) => CommandAnswer::No(format!("No gate was approved.\n\n{}", refused.join("\n"))),
        (false, true) => CommandAnswer::Done(recorded),
        // What was recorded goes on, and whoever asked hears of the rest.
        (false, false) => CommandAnswer::Partly(recorded, format!("Not approved:\n\n{}", refused.join("\n"))),
    })
}

/// An approval of one gate for one Execution.
struct OneApproval<'a> {
    chosen: ResolvedGate,
    author: &'a Account,
    words: Option<&'a str>,
    source: &'a DecisionSource,
}

/// The lines about what was recorded; the inner error is why it was not, as Markdown.
fn approve(
    execution: &ResourceKey,
    approval: OneApproval<'_>,
    view: &PassView,
    host: &Host,
    context: &mut Context,
) -> Result<Result<Vec<String>, String>, CliError> {
    let OneApproval { chosen, author, words, source } = approval;
    let people = people_of(&view.tips().config);
    let wish = chosen.wish();
    let permit = host.ask(|github, repo| authorise(github, repo, author, wish, &people))?;
    let permit = match permit {
        Ok(permit) => permit,
        Err(why) => return Ok(Err(sentence(&why, 300))),
    };
    let decision = match review(chosen, true, (words, None), &permit, host, view)? {
        Ok(decision) => decision,
        Err(why) => return Ok(Err(why)),
    };
    // One comment counts once for one Execution (Invariant 11). Here it names all of them, so that each gets a source of its
    // own; a job that runs again finds the same ones.
    let name = format!("{} for {}/{}", source.name, execution.namespace, execution.name);
    let source = DecisionSource { name, ..source.clone() };
    match record(&decision, &permit, &source, context) {
        Ok(lines) => Ok(Ok(lines)),
        // A gate that was decided meanwhile holds up none of the others.
        Err(error) if error.exit() == Exit::No => Ok(Err(sentence(&error.to_string(), 300))),
        Err(error) => Err(error),
    }
}

/// The gates at which Executions wait that the pull request introduced.
fn waiting_here(
    view: &PassView,
    host: &Host,
    number: Option<u64>,
) -> Result<Vec<(ResourceKey, ResourceKey)>, CliError> {
    let mut waiting = Vec::new();
    for key in view.executions()? {
        for gate in gates_of(view, &key)? {
            waiting.push((key.clone(), gate));
        }
    }
    // Never every gate of the repository: whoever comments has this pull request before them, and nothing else.
    let pulls = view.pulls(host, &waiting.iter().map(|(key, _)| key.clone()).collect())?;
    waiting.retain(|(key, _)| pulls.get(key).is_some_and(|pull| Some(pull.number) == number));
    Ok(waiting)
}
