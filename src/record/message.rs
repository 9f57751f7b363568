//! Commit messages of the status branch: the subject, one line per transition, trailers; and parsing these lines, on which
//! `planspec history` is built.

use std::collections::HashSet;

use super::subject::subject;
use super::{Batch, RecordEdit, Transition};
use crate::git::{Commit, ObjectId};
use crate::markup::{grouped, one_line};
use crate::model::ResourceKey;

/// Trailer: the desired commit that was reconciled.
pub const DESIRED_COMMIT: &str = "Planspec-Desired-Commit";
/// Trailer: the desired branch, in a repository without a remote that would name it.
pub const DESIRED_BRANCH: &str = "Planspec-Desired-Branch";
/// Trailer: a resource whose record changed.
pub const RESOURCE: &str = "Planspec-Resource";
/// Trailer: how many resources changed, when not all of them are named.
pub const RESOURCE_COUNT: &str = "Planspec-Resource-Count";
/// Trailer: the runner that wrote the commit.
pub const RUNNER: &str = "Planspec-Runner";

/// Trailer: the last of the commits that a squash put together.
pub const SQUASHED: &str = "Planspec-Squashed";

/// The most transitions that a body lists. A message is part of every clone, and hosts cut long ones off.
pub const TRANSITION_LIMIT: usize = 500;

/// The most resources that trailers name. `git log --grep` over trailers stays useful, and a first commit stays short.
pub const RESOURCE_LIMIT: usize = 20;

/// The message of the commit that holds `batch`. Text from outside stays on its line and cannot imitate another line or a
/// trailer (Invariant 8).
#[must_use]
pub fn message(batch: &Batch) -> String {
    use std::fmt::Write as _;
    let keys = keys(batch);
    // The desired branch is added by the writer: only whoever knows the remote can say whether it has to be recorded.
    let mut text = subject(batch, &keys);
    text.push_str("\n\n");
    // Writing to a string cannot fail, here and below.
    // Transitions before trailers: Git takes only the last paragraph for trailers.
    for transition in batch.transitions.iter().take(TRANSITION_LIMIT) {
        let _ = writeln!(text, "{transition}");
    }
    if let Some(more @ 1..) = batch.transitions.len().checked_sub(TRANSITION_LIMIT) {
        let _ = writeln!(text, "… and {} more", grouped(more));
    }
    if !batch.transitions.is_empty() {
        // A blank line of its own, or Git would take transitions and trailers for one paragraph, and find no trailers
        // in it.
        text.push('\n');
    }
    if let Some(desired) = batch.desired {
        let _ = writeln!(text, "{DESIRED_COMMIT}: {desired}");
    }
    for key in keys.iter().take(RESOURCE_LIMIT) {
        let _ = writeln!(text, "{RESOURCE}: {key}");
    }
    if keys.len() > RESOURCE_LIMIT {
        let _ = writeln!(text, "{RESOURCE_COUNT}: {}", keys.len());
    }
    // Always there: by this trailer a commit is recognised as one of the status branch. A runner's name is free text,
    // so it is kept to one line.
    let _ = writeln!(text, "{RUNNER}: {}", one_line(&batch.runner, 200));
    text
}

/// The transitions in the message of a status commit, in their order. Other lines, such as those of a commit that somebody
/// made by hand, are skipped.
#[must_use]
pub fn parse_message(commit: &Commit) -> Vec<Transition> {
    // The subject may look like a transition and is only a summary of them.
    commit.message.lines().skip(1).filter_map(|line| line.parse().ok()).collect()
}

/// The desired commit that a status commit was made of.
#[must_use]
pub fn desired_commit(commit: &Commit) -> Option<ObjectId> {
    commit.trailers().into_iter().find(|(name, _)| name == DESIRED_COMMIT)?.1.parse().ok()
}

/// The desired branch that a status commit records.
#[must_use]
pub fn desired_branch(commit: &Commit) -> Option<String> {
    let trailers = commit.trailers();
    let (_, branch) = trailers.into_iter().find(|(name, _)| name == DESIRED_BRANCH)?;
    Some(branch)
}

/// Whether a commit was made by a writer of the status branch.
#[must_use]
pub fn is_status_commit(commit: &Commit) -> bool {
    // The squashed root names no runner: nobody did what it holds.
    commit.trailers().iter().any(|(name, _)| name == RUNNER || name == SQUASHED)
}

/// The resources of a batch, each once: those with transitions first, as only some of them are named.
fn keys(batch: &Batch) -> Vec<ResourceKey> {
    let mut seen = HashSet::new();
    let moved = batch.transitions.iter().map(|transition| transition.key.clone());
    let changed = batch.changes.iter().map(RecordEdit::key);
    // Without sorting: the order of the transitions is that of what happened.
    moved.chain(changed).filter(|key| seen.insert(key.clone())).collect()
}

#[cfg(test)]
mod tests;
