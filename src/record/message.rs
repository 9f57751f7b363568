//! Commit messages of the status branch: the subject, one line a transition, trailers; and reading the
//! lines back, which is what `planspec history` is built on.

use std::collections::HashSet;

use super::subject::subject;
use super::{Batch, RecordEdit, Transition};
use crate::git::Commit;
use crate::markup::{grouped, one_line};
use crate::model::ResourceKey;

/// Trailer: the desired commit that was looked at.
pub const DESIRED_COMMIT: &str = "Planspec-Desired-Commit";
/// Trailer: a resource whose record changed.
pub const RESOURCE: &str = "Planspec-Resource";
/// Trailer: how many resources changed, when not all of them are named.
pub const RESOURCE_COUNT: &str = "Planspec-Resource-Count";
/// Trailer: the runner that wrote the commit.
pub const RUNNER: &str = "Planspec-Runner";

/// The most transitions that a body tells one by one.
pub const TRANSITION_LIMIT: usize = 500;

/// The most resources that trailers name.
pub const RESOURCE_LIMIT: usize = 20;

/// The message of the commit that holds `batch`. Texts from outside stay on their line and cannot pass for
/// another line or a trailer.
#[must_use]
pub fn message(batch: &Batch) -> String {
    use std::fmt::Write as _;
    let keys = keys(batch);
    let mut text = subject(batch, &keys);
    text.push_str("\n\n");
    // Writing to a string cannot fail, here and below.
    for transition in batch.transitions.iter().take(TRANSITION_LIMIT) {
        let _ = writeln!(text, "{transition}");
    }
    if let Some(more @ 1..) = batch.transitions.len().checked_sub(TRANSITION_LIMIT) {
        let _ = writeln!(text, "… and {} more", grouped(more));
    }
    if !batch.transitions.is_empty() {
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
    let _ = writeln!(text, "{RUNNER}: {}", one_line(&batch.runner, 200));
    text
}

/// The transitions that a status commit tells, in their order. Lines that are none, such as those of a
/// commit that somebody made by hand, are left out.
#[must_use]
pub fn parse_message(commit: &Commit) -> Vec<Transition> {
    commit.message.lines().skip(1).filter_map(|line| line.parse().ok()).collect()
}

/// The resources of a batch, each once: first those that something is told of.
fn keys(batch: &Batch) -> Vec<ResourceKey> {
    let mut seen = HashSet::new();
    let told = batch.transitions.iter().map(|transition| transition.key.clone());
    let changed = batch.changes.iter().map(RecordEdit::key);
    told.chain(changed).filter(|key| seen.insert(key.clone())).collect()
}

#[cfg(test)]
mod tests;
