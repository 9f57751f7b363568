//! The executions on the dashboard: which ones, in which order, and what is said of each.

use std::cmp::Reverse;
use std::fmt::Write as _;

use jiff::Timestamp;

use super::{EXECUTION_LIMIT, ExecutionCard, mermaid};
use crate::markup::{grouped, markdown};
use crate::model::{ExecutionPhase, ExecutionStatus, NodePhase};
use crate::record::layout::StatusPath;

/// The section of the executions: what is active first, then what ended last.
pub(super) fn section(cards: &[ExecutionCard], page: &mut String) {
    page.push_str("\n## Executions\n");
    let mut known: Vec<(&ExecutionCard, &ExecutionStatus)> =
        cards.iter().filter_map(|card| card.record.execution().map(|status| (card, status))).collect();
    if known.is_empty() {
        page.push_str("\nNone yet.\n");
        return;
    }
    // The key at the end makes the order total: the page must be the same on every runner that has the same state.
    known.sort_by_cached_key(|(card, status)| {
        (place(status.phase), Reverse(newest(status)), card.record.key())
    });
    for (card, status) in known.iter().take(EXECUTION_LIMIT) {
        execution(card, status, page);
    }
    if let Some(more @ 1..) = known.len().checked_sub(EXECUTION_LIMIT) {
        let _ = writeln!(page, "\n… and {} more.", grouped(more));
    }
}

fn place(phase: ExecutionPhase) -> u8 {
    match phase {
        // What is going on first, then what needs a person; what has ended is history.
        ExecutionPhase::Running => 0,
        ExecutionPhase::Blocked => 1,
        ExecutionPhase::Pending => 2,
        ExecutionPhase::Succeeded | ExecutionPhase::Failed | ExecutionPhase::Cancelled => 3,
    }
}

fn newest(status: &ExecutionStatus) -> Option<Timestamp> {
    // Recorded times and no clock, so that the page of an unchanged state stays the same (Invariant 5).
    status.completion_time.or(status.start_time).or(status.queued_time)
}

fn execution(card: &ExecutionCard, status: &ExecutionStatus, page: &mut String) {
    let key = card.record.key();
    let title = format!("{}/{}", key.namespace, key.name);
    // Only a path of the layout becomes a link: it holds nothing that Markdown could take for its own.
    let title = match StatusPath::parse(card.path.as_bytes()) {
        Some(StatusPath::Record(_)) => format!("[{title}]({})", card.path),
        _ => title,
    };
    let _ = writeln!(page, "\n### {title}: {}\n", status.phase);
    let mut facts = Vec::new();
    if let Some(pinned) = &status.extensions.pinned {
        facts.push(format!("plan `{}`", pinned.plan.name));
        facts.extend(pinned.goal.as_ref().map(|goal| format!("goal `{}`", goal.name)));
    }
    facts.extend(status.start_time.map(|at| format!("started {}", time(at))));
    facts.extend(status.completion_time.map(|at| format!("ended {}", time(at))));
    if !status.node_statuses.is_empty() {
        facts
            .push(format!("nodes: {}", mermaid::tally(status.node_statuses.values().map(|node| node.phase))));
    }
    facts.extend(status.work_summary().map(|work| format!("work: {work}")));
    if !facts.is_empty() {
        let _ = writeln!(page, "{}", facts.join(" · "));
    }
    if let Some(message) = status.message.as_deref().filter(|message| !message.is_empty()) {
        // Messages hold what providers and people wrote: escaped and cut (Invariant 8).
        let _ = writeln!(page, "\n> {}", markdown(message, 300));
    }
    failures(status, page);
    if let Some(graph) = card.graph.as_ref().filter(|graph| !graph.nodes.is_empty()) {
        let _ = write!(page, "\n```mermaid\n{}```\n", mermaid::flowchart(graph, status));
    }
}

/// The first five nodes that failed, and why: what a reader opens the page for.
fn failures(status: &ExecutionStatus, page: &mut String) {
    let failed = status.node_statuses.iter().filter(|(_, node)| node.phase == NodePhase::Failed);
    for (index, (id, node)) in failed.take(5).enumerate() {
        if index == 0 {
            page.push('\n');
        }
        let why = match (&node.extensions.reason, node.message.is_empty()) {
            (_, false) => markdown(&node.message, 200),
            (Some(reason), true) => reason.to_string(),
            (None, true) => String::new(),
        };
        let _ = writeln!(page, "* `{id}` failed. {why}");
    }
}

/// A recorded time, to the second.
pub(super) fn time(at: Timestamp) -> String {
    // In UTC: the zone of the runner that wrote the page says nothing to its readers.
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}
