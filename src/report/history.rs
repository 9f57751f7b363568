//! What happened when: transitions as they were recorded, for people.

use jiff::Timestamp;
use serde::Serialize;

use super::style::Tone;
use super::table::{Table, TableCell};
use super::{age, text};
use crate::model::{NodeId, NodePhase, ResourceKey};

/// How many instances have to follow one to be folded with it: of two, both are shown.
const FOLDED: usize = 2;

/// One recorded transition, and the commit that recorded it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HistoryEntry {
    /// When the status commit was made.
    pub at: Timestamp,
    /// The status commit.
    pub commit: String,
    /// The desired commit that it acts on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired: Option<String>,
    /// The runner that wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runner: Option<String>,
    /// The resource, as `NAMESPACE/KIND/NAME`.
    #[serde(serialize_with = "display")]
    pub resource: ResourceKey,
    /// The node, when it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    /// The phase before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The phase after.
    pub to: String,
    /// Why, for programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why, as text.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// The attempt, from 1.
    #[serde(skip_serializing_if = "is_zero")]
    pub attempt: u32,
    /// The person who decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

fn display<S: serde::Serializer>(key: &ResourceKey, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(key)
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// A table of entries. The resource is left out where all are about one.
#[must_use]
pub(crate) fn table(entries: &[HistoryEntry], resources: bool, wide: bool) -> Table {
    let mut heads = vec!["time"];
    if resources {
        heads.push("resource");
    }
    heads.extend(["node", "transition", "by", "desired"]);
    if wide {
        heads.push("status commit");
    }
    heads.push("message");
    let mut table = Table::new(heads);
    for (entry, node) in folded(entries) {
        let mut cells: Vec<TableCell> = vec![age::moment(entry.at).into()];
        if resources {
            cells.push(entry.resource.to_string().into());
        }
        cells.push(node.into());
        cells.push(TableCell::toned(&transition(entry), Tone::of_phase(&entry.to)));
        // Whoever decided, before the runner that wrote it down.
        cells.push(entry.by.as_deref().or(entry.runner.as_deref()).unwrap_or("-").into());
        cells.push(entry.desired.as_deref().map_or("-", text::short_commit).into());
        if wide {
            cells.push(text::short_commit(&entry.commit).into());
        }
        cells.push(because(entry).into());
        table.row(cells);
    }
    table
}

/// The newest entries that make at most so many rows.
#[must_use]
pub(crate) fn newest(entries: &[HistoryEntry], rows: usize) -> &[HistoryEntry] {
    let first = folded(entries).len().saturating_sub(rows);
    let cut = folded(entries).get(first).map_or(entries.len(), |(entry, _)| {
        entries.iter().position(|other| std::ptr::eq(other, *entry)).unwrap_or_default()
    });
    entries.get(cut..).unwrap_or_default()
}

/// The entries, and what each is about. Instances in a row that went the same way in one commit are one: a thousand lines that
/// differ in a number hide the one that does not. So are nodes in a row that were skipped in one commit.
fn folded(entries: &[HistoryEntry]) -> Vec<(&HistoryEntry, String)> {
    let mut found: Vec<(&HistoryEntry, String)> = Vec::new();
    let mut rest = entries;
    while let Some((first, others)) = rest.split_first() {
        let alike = others.iter().zip(1_u32..).take_while(|(next, step)| follows(first, next, *step)).count();
        let skipped = others.iter().take_while(|next| is_skipped_beside(first, next)).count();
        let last = alike.checked_sub(1).and_then(|at| others.get(at)).filter(|_| alike >= FOLDED);
        let id = |entry: &HistoryEntry| entry.node.as_ref().map_or("-", |node| node.as_str()).to_owned();
        let (name, taken) = match last {
            _ if skipped > FOLDED && skipped > alike => {
                (format!("{} and {skipped} more", id(first)), skipped)
            }
            Some(last) => (format!("{} … {}", id(first), id(last)), alike),
            None => (id(first), 0),
        };
        found.push((first, name));
        rest = others.get(taken..).unwrap_or_default();
    }
    found
}

/// Whether an entry says of the instance that is `step` further what the first one says of its own.
fn follows(first: &HistoryEntry, next: &HistoryEntry, step: u32) -> bool {
    let number = |entry: &HistoryEntry| {
        let (name, number) = text::numbered(entry.node.as_ref()?.as_str())?;
        Some((name.to_owned(), number))
    };
    let (Some(one), Some(two)) = (number(first), number(next)) else { return false };
    let same = |entry: &HistoryEntry| {
        let HistoryEntry { commit, resource, from, to, reason, message, attempt, by, .. } = entry.clone();
        (commit, resource, from, to, reason, message, attempt, by)
    };
    one.0 == two.0 && one.1.checked_add(step) == Some(two.1) && same(first) == same(next)
}

/// Whether both nodes were skipped in one commit: each names only the node before it, and the first one names the reason.
fn is_skipped_beside(first: &HistoryEntry, next: &HistoryEntry) -> bool {
    let skipped = NodePhase::Skipped.as_str();
    let both = first.to == skipped && next.to == skipped && first.node.is_some() && next.node.is_some();
    both && first.commit == next.commit && first.resource == next.resource && first.from == next.from
}

fn transition(entry: &HistoryEntry) -> String {
    // A first attempt is what everybody expects.
    let attempt = if entry.attempt > 1 { format!(" (attempt {})", entry.attempt) } else { String::new() };
    match &entry.from {
        // Another message in the same phase is recorded too, and is no move.
        Some(from) if *from != entry.to => format!("{from} → {}{attempt}", entry.to),
        _ => format!("{}{attempt}", entry.to),
    }
}

fn because(entry: &HistoryEntry) -> String {
    let reason = entry.reason.as_deref().unwrap_or_default();
    let message = text::line(entry.message.trim());
    match (reason.is_empty(), message.is_empty()) {
        (true, _) => message.into_owned(),
        (false, true) => reason.to_owned(),
        (false, false) => format!("{reason}: {message}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Kind, Name};

    #[test]
    fn instances_that_went_the_same_way_at_once_are_one_line() {
        let entry = |node: &str, to: &str, commit: &str| HistoryEntry {
            node: NodeId::new(node).ok(),
            to: to.to_owned(),
            commit: commit.to_owned(),
            ..sample()
        };
        let entries = [
            entry("load-0", "Succeeded", "1"),
            entry("load-1", "Succeeded", "1"),
            entry("load-2", "Succeeded", "1"),
            entry("load-3", "Failed", "1"),
            entry("load-4", "Succeeded", "1"),
            entry("load-5", "Succeeded", "1"),
            entry("load-6", "Succeeded", "2"),
            entry("load-7", "Succeeded", "2"),
            entry("load-8", "Succeeded", "2"),
            entry("load", "Succeeded", "2"),
        ];
        let shown: Vec<String> = folded(&entries).into_iter().map(|(_, node)| node).collect();
        assert_eq!(shown, ["load-0 … load-2", "load-3", "load-4", "load-5", "load-6 … load-8", "load"]);
        let rows = table(&entries, false, false).lines();
        assert_eq!(rows.len(), 7, "{rows:?}");
    }

    #[test]
    fn nodes_that_were_skipped_at_once_are_one_line_and_hide_nothing_before_them() {
        let entry = |node: &str, to: &str, message: &str| HistoryEntry {
            node: NodeId::new(node).ok(),
            to: to.to_owned(),
            message: message.to_owned(),
            ..sample()
        };
        let mut entries = vec![entry("build", "Failed", "exited with code 1")];
        entries.extend(["a", "b", "c", "d"].map(|id| entry(id, "Skipped", &format!("before {id}"))));
        entries.push(entry("notify", "Running", ""));
        let shown: Vec<String> = folded(&entries).into_iter().map(|(_, node)| node).collect();
        assert_eq!(shown, ["build", "a and 3 more", "notify"]);
        assert_eq!(newest(&entries, 3).len(), 6, "by rows, and not by entries");
        assert_eq!(newest(&entries, 2).len(), 5);
        assert!(newest(&entries, 0).is_empty());
    }

    #[test]
    fn an_entry_says_who_what_when_and_from_which_commit() {
        let lines = table(&[sample()], false, true).lines();
        let plain = anstream::adapter::strip_str(&lines[1]).to_string();
        assert_eq!(
            plain.split("   ").map(str::trim).filter(|cell| !cell.is_empty()).collect::<Vec<_>>(),
            [
                "2026-03-04 12:03:41Z",
                "build",
                "Running → Failed (attempt 2)",
                "host-1",
                "22222222",
                "11111111",
                "Timeout: after 4h sadly"
            ]
        );
    }

    fn sample() -> HistoryEntry {
        let name = |text: &str| Name::new(text).unwrap();
        HistoryEntry {
            at: "2026-03-04T12:03:41Z".parse().unwrap(),
            commit: "1111111111".to_owned(),
            desired: Some("2222222222".to_owned()),
            runner: Some("host-1".to_owned()),
            resource: ResourceKey::new(Kind::Execution, name("team"), name("run")),
            node: NodeId::new("build").ok(),
            from: Some("Running".to_owned()),
            to: "Failed".to_owned(),
            reason: Some("Timeout".to_owned()),
            message: "after 4h\nsadly".to_owned(),
            attempt: 2,
            by: None,
        }
    }
}
