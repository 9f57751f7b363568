//! The subject of a status commit, for `git log --oneline`.

use super::{Batch, RecordEdit, Transition};
use crate::markup::{cut, grouped, one_line};
use crate::model::{Kind, ResourceKey};

/// The length limit of a subject, in characters: what Git hosts show of one in a list.
const COLUMNS: usize = 72;

/// The least that is kept of a resource's name when the line is too long.
const NAME_MIN: usize = 24;

/// The subject for a batch; `keys` are its resources, each once.
pub(super) fn subject(batch: &Batch, keys: &[ResourceKey]) -> String {
    // A decision is a commit of its own, and the person is what a reader of the log wants to know.
    if let Some(decision) = batch.transitions.iter().find(|transition| transition.by.is_some()) {
        return decided(decision);
    }
    let mut executions: Vec<&ResourceKey> = Vec::new();
    for transition in &batch.transitions {
        if transition.key.kind == Kind::Execution && !executions.contains(&&transition.key) {
            executions.push(&transition.key);
            // Only the first one is named; the others are counted below.
            if executions.len() > 1 {
                break;
            }
        }
    }
    match (executions.first(), keys) {
        (Some(first), _) => {
            // From the keys and not from the transitions, since a record may change without one, as by a renewed lease.
            let all = keys.iter().filter(|key| key.kind == Kind::Execution).count();
            progressed(first, all.saturating_sub(1), batch)
        }
        // Nothing else makes a commit without a record.
        (None, []) => "dashboard updated".to_owned(),
        (None, [key]) => fit(&place(key), &format!("{} {}", key.kind.singular(), latest(key, batch)), ""),
        (None, keys) => counted(batch, keys),
    }
}

/// `team-platform/sso-security-review: approved by wendy`
fn decided(decision: &Transition) -> String {
    let by = one_line(decision.by.as_deref().unwrap_or_default(), 40);
    let verb = match decision.to.as_str() {
        // A decision that moves a node or an execution back to `Pending` is a retry.
        "Pending" if decision.from.is_some() => "retried".to_owned(),
        // A phase is free text in a record that was written by hand; it must not bring a second line into the subject.
        to => one_line(to, 24).to_lowercase(),
    };
    let node = decision.node.as_ref().map(|node| format!("{node} ")).unwrap_or_default();
    fit(&place(&decision.key), &format!("{node}{verb} by {by}"), "")
}

/// `team-platform/sso-exec-001: research Succeeded, implement Running (+2 more)`
fn progressed(key: &ResourceKey, others: usize, batch: &Batch) -> String {
    let mut nodes: Vec<(&str, &str)> = Vec::new();
    let mut own = None;
    // A node may move twice in one commit, from ended to retried; the subject names where it got to.
    let mut last = std::collections::HashMap::new();
    for (index, transition) in batch.transitions.iter().enumerate().filter(|(_, t)| t.key == *key) {
        match &transition.node {
            Some(node) => {
                last.insert(node, index);
            }
            None => own = Some(transition.to.as_str()),
        }
    }
    for (index, transition) in batch.transitions.iter().enumerate().filter(|(_, t)| t.key == *key) {
        if let Some(node) = &transition.node
            && last.get(node) == Some(&index)
        {
            nodes.push((node.as_str(), transition.to.as_str()));
        }
    }
    // That an Execution went on is seen by its nodes; that it ended is the news.
    let ended = own.filter(|phase| nodes.is_empty() || is_end(phase)).map(|phase| one_line(phase, 24));
    let more = if others > 0 { format!(" (+{} more)", grouped(others)) } else { String::new() };
    let place = place(key);
    // More than a few never fit, and a thousand would be formatted in vain.
    if nodes.len() <= 8 {
        let each = nodes.iter().map(|(node, phase)| format!("{node} {}", one_line(phase, 24)));
        let detailed = ended.iter().cloned().chain(each).collect::<Vec<_>>().join(", ");
        // By characters and not bytes, as hosts cut by characters.
        if place.chars().count() + 2 + detailed.chars().count() + more.chars().count() <= COLUMNS {
            return format!("{place}: {detailed}{more}");
        }
    }
    let sums = tally(nodes.iter().map(|(_, phase)| one_line(phase, 24)));
    let sums = sums.into_iter().map(|(phase, count)| match count {
        1 => format!("1 node {phase}"),
        count => format!("{} nodes {phase}", grouped(count)),
    });
    fit(&place, &ended.into_iter().chain(sums).collect::<Vec<_>>().join(", "), &more)
}

/// `team-platform: 3 goals, 2 plans observed`
fn counted(batch: &Batch, keys: &[ResourceKey]) -> String {
    let kinds = tally(keys.iter().map(|key| key.kind)).into_iter().map(|(kind, count)| match count {
        1 => format!("1 {}", kind.singular()),
        count => format!("{} {}", grouped(count), kind.plural()),
    });
    let namespaces = tally(keys.iter().map(|key| key.namespace.as_str()));
    let place = match namespaces.as_slice() {
        [(only, _)] => (*only).to_owned(),
        several => format!("{} namespaces", grouped(several.len())),
    };
    fit(&place, &format!("{} {}", kinds.collect::<Vec<_>>().join(", "), verb(batch)), "")
}

/// The new phase of a single resource, or what was done with its record.
fn latest(key: &ResourceKey, batch: &Batch) -> String {
    match batch.transitions.iter().rfind(|transition| transition.key == *key) {
        Some(transition) => one_line(&transition.to, 24),
        None => verb(batch).to_owned(),
    }
}

fn verb(batch: &Batch) -> &'static str {
    let removed = |change: &RecordEdit| matches!(change, RecordEdit::Remove(_));
    if !batch.changes.is_empty() && batch.changes.iter().all(removed) {
        "removed"
    } else if !batch.transitions.is_empty() && batch.transitions.iter().all(|t| t.from.is_none()) {
        "observed"
    } else {
        "updated"
    }
}

fn is_end(phase: &str) -> bool {
    matches!(phase, "Succeeded" | "Failed" | "Cancelled")
}

fn place(key: &ResourceKey) -> String {
    format!("{}/{}", key.namespace, key.name)
}

/// How often each value occurs, in the order of first occurrence.
fn tally<T: PartialEq>(values: impl Iterator<Item = T>) -> Vec<(T, usize)> {
    let mut counts: Vec<(T, usize)> = Vec::new();
    for value in values {
        // A list and no map: there are a handful of phases and kinds, and the order of first occurrence is that of the
        // story.
        match counts.iter_mut().find(|(known, _)| *known == value) {
            Some((_, count)) => *count = count.saturating_add(1),
            None => counts.push((value, 1)),
        }
    }
    counts
}

/// A namespace, or a namespace and a name, in at most `room` characters; the name keeps the most.
fn shortened(place: &str, room: usize) -> String {
    match place.split_once('/') {
        Some((namespace, name)) if place.len() > room => {
            // A third at least, so that a long name does not leave a namespace of one letter.
            let left = room.saturating_sub(name.len() + 1).max(room / 3);
            let namespace = cut(namespace, left);
            let name = cut(name, room.saturating_sub(namespace.chars().count() + 1));
            format!("{namespace}/{name}")
        }
        _ => cut(place, room),
    }
}

/// Joins the parts; a line that is too long loses the end of the name, then of what was done.
fn fit(place: &str, what: &str, more: &str) -> String {
    let rest = what.chars().count() + more.chars().count() + 2;
    let place = shortened(place, COLUMNS.saturating_sub(rest).max(NAME_MIN));
    let room = COLUMNS.saturating_sub(place.chars().count() + more.chars().count() + 2);
    format!("{place}: {}{more}", cut(what, room))
}
