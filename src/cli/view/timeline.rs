//! The history of the status branch as entries for people: who did what, when, from which desired commit.

use crate::cli::Context;
use crate::cli::error::CliError;
use crate::cli::repo_context::{RepoContext, SelectedCommits};
use crate::git::Commit;
use crate::model::{Name, NodeId, NodePhase, ResourceKey};
use crate::record::{DESIRED_COMMIT, RUNNER, parse_message};
use crate::report::history::HistoryEntry;
use crate::report::text;

/// Which entries are wanted.
#[derive(Debug, Clone, Default)]
pub(crate) struct HistoryFilter {
    /// Only these resources; all when empty.
    pub(crate) keys: Vec<ResourceKey>,
    /// Only this namespace.
    pub(crate) namespace: Option<Name>,
    /// Only this node.
    pub(crate) node: Option<NodeId>,
    /// At most this many of the newest entries.
    pub(crate) limit: Option<usize>,
    /// Whether the limit is one of rows as `history::newest` makes them, so that a few entries more are needed.
    pub(crate) folded: bool,
}

/// The entries up to the status commit of `tips`, oldest first. Without those that are older than what is here, where the rest cannot be
/// fetched; a warning says so.
pub(crate) fn entries(
    workspace: &RepoContext,
    tips: &SelectedCommits,
    filter: &HistoryFilter,
    context: &mut Context,
) -> Result<Vec<HistoryEntry>, CliError> {
    let Some(tip) = tips.status else { return Ok(Vec::new()) };
    let mut newest_first = Vec::new();
    let mut log = workspace.status_log(&tips.config, tip);
    let mut missing = None;
    while let Some(commit) = log.next() {
        let commit = match commit {
            Ok(commit) => commit,
            Err(error) if log.is_cut() => {
                missing = Some(format!(": {}", CliError::from(error)));
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        if log.is_cut() {
            missing.get_or_insert_default();
        }
        // From the tip backwards, so that a limit ends the walk early. The lines of a commit are in order,
        // and turned round for that.
        newest_first.extend(of_commit(&commit, filter).into_iter().rev());
        let counted = match filter.folded {
            // What was skipped makes hardly a row, however many nodes it is.
            true => newest_first.iter().filter(|entry| entry.to != NodePhase::Skipped.as_str()).count(),
            false => newest_first.len(),
        };
        if filter.limit.is_some_and(|limit| counted >= limit) {
            missing = None;
            break;
        }
    }
    if let Some(why) = missing {
        let warning = format!("older commits of the status branch are not in this shallow clone{why}");
        context.out.warning(text::line(&warning))?;
    }
    if let Some(limit) = filter.limit.filter(|_| !filter.folded) {
        newest_first.truncate(limit);
    }
    newest_first.reverse();
    Ok(newest_first)
}

/// The entries of one status commit, in its order.
fn of_commit(commit: &Commit, filter: &HistoryFilter) -> Vec<HistoryEntry> {
    let trailers = commit.trailers();
    let trailer = |name: &str| trailers.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    // Trailers are about the whole commit, and hold for each of its lines.
    let desired = trailer(DESIRED_COMMIT);
    let runner = trailer(RUNNER);
    parse_message(commit)
        .into_iter()
        .filter(|transition| filter.keys.is_empty() || filter.keys.contains(&transition.key))
        .filter(|transition| filter.namespace.as_ref().is_none_or(|name| *name == transition.key.namespace))
        .filter(|transition| filter.node.is_none() || transition.node == filter.node)
        .map(|transition| HistoryEntry {
            at: commit.committer_time,
            commit: commit.id.to_string(),
            desired: desired.clone(),
            runner: runner.clone(),
            resource: transition.key,
            node: transition.node,
            from: transition.from,
            to: transition.to,
            reason: transition.reason,
            message: transition.message,
            attempt: transition.attempt,
            by: transition.by,
        })
        .collect()
}
