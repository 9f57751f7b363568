//! The executions on the dashboard as one table, failures first; below it what failed, and the graphs, folded.

use std::cmp::Reverse;
use std::fmt::Write as _;

use jiff::Timestamp;

use super::{DashboardInput, EXECUTION_LIMIT, ExecutionCard, mermaid};
use crate::markup::{code, grouped, sentence};
use crate::model::{ExecutionPhase, ExecutionStatus, Kind, NodePhase, NodeStatus};
use crate::record::layout::StatusPath;

/// The most graphs below the table: a host draws each of them in the reader's browser, folded or not.
const GRAPH_LIMIT: usize = 10;

/// The most failed nodes that are listed, of one execution and in all.
const FAILURES_OF_ONE: usize = 5;
const FAILURE_LIMIT: usize = 50;

/// The section of the executions.
pub(super) fn section(input: &DashboardInput, page: &mut String) {
    page.push_str("\n## Executions\n\n");
    let mut known: Vec<(&ExecutionCard, &ExecutionStatus)> = input
        .executions
        .iter()
        .filter_map(|card| card.record.execution().map(|status| (card, status)))
        .collect();
    if known.is_empty() {
        page.push_str("None yet.\n");
        return;
    }
    // The key at the end makes the order total: the page must be the same on every runner that has the same state.
    known.sort_by_cached_key(|(card, status)| {
        (place(status.phase), Reverse(newest(status)), card.record.key())
    });
    let shown = known.get(..EXECUTION_LIMIT.min(known.len())).unwrap_or_default();
    page.push_str("| Execution | Phase | Plan | Nodes | Started | Ended | Message |\n");
    page.push_str("| --- | --- | --- | --- | --- | --- | --- |\n");
    for (card, status) in shown {
        row(card, status, page);
    }
    rest(input, &known, shown.len(), page);
    failures(shown, page);
    graphs(shown, page);
}

/// By how much a reader has to do about it: what succeeded is history.
const ORDER: [ExecutionPhase; 6] = [
    ExecutionPhase::Failed,
    ExecutionPhase::Blocked,
    ExecutionPhase::Running,
    ExecutionPhase::Pending,
    ExecutionPhase::Cancelled,
    ExecutionPhase::Succeeded,
];

fn place(phase: ExecutionPhase) -> usize {
    ORDER.iter().position(|one| *one == phase).unwrap_or(ORDER.len())
}

fn newest(status: &ExecutionStatus) -> Option<Timestamp> {
    // Recorded times and no clock, so that the page of an unchanged state stays the same (Invariant 5).
    status.completion_time.or(status.start_time).or(status.queued_time)
}

fn row(card: &ExecutionCard, status: &ExecutionStatus, page: &mut String) {
    let title = title(card);
    let plan = status.extensions.pinned.as_ref().map(|pinned| {
        let goal = pinned.goal.as_ref().map(|goal| format!(", goal `{}`", goal.name));
        format!("`{}`{}", pinned.plan.name, goal.unwrap_or_default())
    });
    // As `planspec get` counts them: a group does no work of its own.
    let summaries = card.graph.as_ref().map(|graph| graph.summaries(status)).unwrap_or_default();
    let counted = status.node_statuses.iter().filter(|(id, _)| !summaries.contains(*id));
    let mut nodes = mermaid::tally(counted.map(|(_, node)| node.phase));
    if let Some(work) = status.work_summary() {
        let _ = write!(nodes, "; {work}");
    }
    // Messages hold what providers and people wrote: escaped and cut (Invariant 8).
    let message = sentence(status.message.as_deref().unwrap_or_default(), 200);
    let (started, ended) = (status.start_time.map(time), status.completion_time.map(time));
    let _ = writeln!(
        page,
        "| {title} | {} | {} | {nodes} | {} | {} | {message} |",
        status.phase,
        plan.unwrap_or_default(),
        started.unwrap_or_default(),
        ended.unwrap_or_default()
    );
}

fn title(card: &ExecutionCard) -> String {
    let key = card.record.key();
    let title = format!("{}/{}", key.namespace, key.name);
    // Only a path of the layout becomes a link: it holds nothing that Markdown could take for its own.
    match StatusPath::parse(card.path.as_bytes()) {
        Some(StatusPath::Record(_)) => format!("[{title}]({})", card.path),
        _ => title,
    }
}

/// How many executions have no row, by phase. From the totals of the records, since only those cards are gathered that may be
/// shown: counting the cards would call the rest of a thousand executions nothing.
fn rest(
    input: &DashboardInput,
    known: &[(&ExecutionCard, &ExecutionStatus)],
    shown: usize,
    page: &mut String,
) {
    let left = |phase: ExecutionPhase| {
        let total = input.phases.get(&(Kind::Execution, phase.as_str().to_owned())).copied();
        let of_phase = |cards: &[(&ExecutionCard, &ExecutionStatus)]| {
            cards.iter().filter(|(_, status)| status.phase == phase).count()
        };
        let rows = of_phase(known.get(..shown).unwrap_or_default());
        total.unwrap_or_default().max(of_phase(known)).saturating_sub(rows)
    };
    let left: Vec<(ExecutionPhase, usize)> =
        ORDER.into_iter().map(|phase| (phase, left(phase))).filter(|(_, count)| *count > 0).collect();
    let more: usize = left.iter().map(|(_, count)| count).sum();
    if more == 0 {
        return;
    }
    let phases: Vec<String> =
        left.into_iter().map(|(phase, count)| format!("{} {phase}", grouped(count))).collect();
    let _ = writeln!(
        page,
        "\n… and {} more: {}. `planspec get executions` lists all.",
        grouped(more),
        phases.join(", ")
    );
}

/// The nodes that failed, and why: what a reader opens the page for.
fn failures(shown: &[(&ExecutionCard, &ExecutionStatus)], page: &mut String) {
    let failed = |status: &ExecutionStatus| {
        status.node_statuses.values().filter(|node| node.phase == NodePhase::Failed).count()
    };
    let all: usize = shown.iter().map(|(_, status)| failed(status)).sum();
    if all == 0 {
        return;
    }
    page.push_str("\n### What failed\n\n");
    let (mut room, mut unsaid) = (FAILURE_LIMIT, all);
    for (card, status) in shown {
        let nodes = status.node_statuses.iter().filter(|(_, node)| node.phase == NodePhase::Failed);
        let name = card.record.key().name;
        let listed = FAILURES_OF_ONE.min(room).min(failed(status));
        for (id, node) in nodes.take(listed) {
            let _ = writeln!(page, "* {}: {}", code(&format!("{name}/{id}"), 130), why(node));
        }
        (room, unsaid) = (room.saturating_sub(listed), unsaid.saturating_sub(listed));
        if let Some(more @ 1..) = failed(status).checked_sub(listed).filter(|_| listed > 0) {
            let _ = writeln!(page, "* … and {} more of `{name}`", grouped(more));
            unsaid = unsaid.saturating_sub(more);
        }
    }
    if unsaid > 0 {
        let _ = writeln!(page, "* … and {} more", grouped(unsaid));
    }
}

fn why(node: &NodeStatus) -> String {
    match (&node.extensions.reason, node.message.is_empty()) {
        (_, false) => sentence(&node.message, 200),
        (Some(reason), true) => reason.to_string(),
        (None, true) => "failed".to_owned(),
    }
}

/// The graphs, folded: twenty of them in the open push everything else out of sight.
fn graphs(shown: &[(&ExecutionCard, &ExecutionStatus)], page: &mut String) {
    let drawn = shown.iter().filter_map(|(card, status)| {
        let graph = card.graph.as_ref().filter(|graph| !graph.nodes.is_empty())?;
        Some((card, status, graph))
    });
    let drawn: Vec<_> = drawn.collect();
    if drawn.is_empty() {
        return;
    }
    page.push_str("\n### Graphs\n");
    for (card, status, graph) in drawn.iter().take(GRAPH_LIMIT) {
        let key = card.record.key();
        let _ = write!(
            page,
            "\n<details><summary><code>{}/{}</code>: {}</summary>\n\n```mermaid\n{}```\n\n</details>\n",
            key.namespace,
            key.name,
            status.phase,
            mermaid::flowchart(graph, status)
        );
    }
    if let Some(more @ 1..) = drawn.len().checked_sub(GRAPH_LIMIT) {
        let _ =
            writeln!(page, "\n… and the graphs of {} more: `planspec graph execution/NAME`.", grouped(more));
    }
}

/// A recorded time, to the second.
pub(super) fn time(at: Timestamp) -> String {
    // In UTC: the zone of the runner that wrote the page says nothing to its readers.
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}
