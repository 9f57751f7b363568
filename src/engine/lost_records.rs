//! What a status branch lost that does not follow from the last tip which was seen: records that are gone, or are older.

use tracing::{debug, warn};

use super::EngineError;
use crate::git::{Commit, GitError, ObjectId, Repo, TreeChange};
use crate::model::{
    ExecutionStatus, Kind, NodeStatus, ResourceKey, ResourceStatus, StatusMetadata, StatusRecord,
};
use crate::record::{RecordError, StatusPath, StatusTree, may_hold_records};

/// How many commits below a tip that cannot be read are tried: each costs as much as it takes to give up.
const MOST_UNREADABLE: usize = 8;

/// A record as it was, and as it is now, if it still is.
pub(super) type LostRecord = (StatusRecord, Option<StatusRecord>);

/// What the branch lost of the newest commit below `last` that can be read; nothing where none is found. Somebody made `last` so
/// that nobody can read it, and it must neither hide what stood below it nor be in the way for ever.
pub(super) fn below_unreadable(
    repo: &Repo,
    desired: &Commit,
    last: ObjectId,
    now: StatusTree,
) -> Result<Option<Vec<LostRecord>>, EngineError> {
    let mut at = last;
    for _ in 0..MOST_UNREADABLE {
        let parents = match repo.commit(at) {
            Ok(commit) => commit.parents,
            Err(GitError::Missing { .. }) => break,
            Err(error) => return Err(error.into()),
        };
        let mut is_held = !parents.is_empty();
        for parent in &parents {
            is_held = is_held && is_part(repo, *parent, now.commit)?;
        }
        if is_held {
            return Ok(Some(Vec::new()));
        }
        // No runner merges. One parent of a merge could hide what stood below the other.
        let [parent] = parents.as_slice() else { break };
        at = *parent;
        let before = match StatusTree::at(repo, Some(at)) {
            Ok(before) => before,
            Err(RecordError::Git(GitError::Missing { .. })) => break,
            Err(error) => return Err(error.into()),
        };
        match lost_records(repo, desired, before, now) {
            Err(EngineError::Git(GitError::BadTree { .. })) => {}
            records => return records.map(Some),
        }
    }
    warn!(%last, "a status tip that this clone saw cannot be read, nor what stood below it");
    Ok(None)
}

/// Whether the branch that ends at `tip` holds a commit.
fn is_part(repo: &Repo, commit: ObjectId, tip: Option<ObjectId>) -> Result<bool, EngineError> {
    let Some(tip) = tip else { return Ok(false) };
    Ok(commit == tip || repo.is_ancestor(commit, tip)? == Some(true))
}

/// The Executions and Gates whose records say less now than they did.
pub(super) fn lost_records(
    repo: &Repo,
    desired: &Commit,
    before: StatusTree,
    now: StatusTree,
) -> Result<Vec<LostRecord>, EngineError> {
    let mut changes: Vec<(ResourceKey, TreeChange)> = Vec::new();
    for change in repo.compare_within(before.tree, now.tree, &may_hold_records)? {
        let Some(StatusPath::Record(key)) = StatusPath::parse(&change.path) else { continue };
        if matches!(key.kind, Kind::Execution | Kind::Gate) && change.old.is_some() {
            changes.push((key, change));
        }
    }
    // A partial clone lacks the records of a branch that it never read, and would fetch one after the other.
    let blobs =
        changes.iter().flat_map(|(_, change)| [&change.old, &change.new]).flatten().map(|entry| entry.id);
    if let Err(error) = repo.fetch_promised(blobs) {
        debug!(%error, "the records could not be fetched together");
    }
    let mut lost = Vec::new();
    for (key, _) in changes {
        let Ok(Some(old)) = before.get(repo, &key) else { continue };
        // One that cannot be read is healed from history, which may be the very history that was lost.
        let new = now.get(repo, &key).unwrap_or_default();
        if is_lost(repo, desired, &old, new.as_ref())? {
            lost.push((old, new));
        }
    }
    Ok(lost)
}

fn is_lost(
    repo: &Repo,
    desired: &Commit,
    old: &StatusRecord,
    new: Option<&StatusRecord>,
) -> Result<bool, EngineError> {
    let Some(new) = new else {
        // A record goes with its manifest; without one nothing can run again.
        let source = old.metadata.annotations.get(StatusMetadata::SOURCE);
        return Ok(match source {
            Some(path) => repo.entry(desired.tree, path)?.is_some(),
            None => false,
        });
    };
    if new.metadata.uid != old.metadata.uid {
        return Ok(false);
    }
    Ok(match (&old.status, &new.status) {
        (ResourceStatus::Execution(old), ResourceStatus::Execution(new)) => is_behind(new, old),
        (ResourceStatus::Gate(old), ResourceStatus::Gate(new)) => {
            new.review_history.len() < old.review_history.len()
        }
        _ => true,
    })
}

/// Whether a status is from before another one of the same Execution.
fn is_behind(status: &ExecutionStatus, other: &ExecutionStatus) -> bool {
    let mine = &status.extensions;
    let theirs = &other.extensions;
    if mine.last_token < theirs.last_token || mine.retries < theirs.retries {
        return true;
    }
    let reset = mine.retries > theirs.retries;
    // Nothing of it would run again, but work that somebody stopped would go on.
    if theirs.cancel.is_some() && mine.cancel.is_none() && !reset {
        return true;
    }
    // A holder that renewed its lease relies on the time which it has by that; by the older record another runner may take the
    // lease over before, and both work.
    if let (Some(mine), Some(theirs)) = (&mine.lease, &theirs.lease)
        && mine.token == theirs.token
        && mine.renew_time < theirs.renew_time
    {
        return true;
    }
    other.node_statuses.iter().any(|(id, other)| {
        let ended = |node: &NodeStatus| node.phase.is_terminal();
        status
            .node_statuses
            .get(id)
            .is_none_or(|node| node.attempt < other.attempt || (ended(other) && !ended(node) && !reset))
    })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::model::{Lease, PersonRequest};

    fn lease(renewed: i64) -> Option<Lease> {
        let renew_time = Timestamp::from_second(renewed).unwrap();
        let acquire_time = Timestamp::from_second(1).unwrap();
        Some(Lease { holder: "one".to_owned(), token: 1, acquire_time, renew_time, duration_millis: 60_000 })
    }

    #[test]
    fn what_somebody_relies_on_is_not_lost_in_silence() {
        let mut before = ExecutionStatus::default();
        before.extensions.last_token = 1;
        before.extensions.lease = lease(10);
        let mut after = before.clone();
        after.extensions.lease = lease(20);
        assert!(is_behind(&before, &after), "its holder relies on the renewal");
        assert!(!is_behind(&after, &before));
        let mut cancelled = before.clone();
        let at = Timestamp::UNIX_EPOCH;
        cancelled.extensions.cancel = Some(PersonRequest { by: "ada".to_owned(), at, comment: None });
        assert!(is_behind(&before, &cancelled), "what was stopped would go on");
        assert!(!is_behind(&cancelled, &before));
    }
}
