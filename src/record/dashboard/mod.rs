//! The dashboard: one Markdown page of bounded size that a Git host renders. Pure and without a clock, so
//! that an unchanged state makes an identical page; what it shows is gathered by the engine.

mod execution;
mod mermaid;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use jiff::Timestamp;

use crate::markup::{code, grouped, markdown, sentence};
use crate::model::{ExecutionPhase, Kind, NodeId, PlanGraph, ResourceKey, StatusRecord};

/// The most executions in the table. A host cuts a page of more than 512 KiB.
pub const EXECUTION_LIMIT: usize = 50;

/// The most rows of what waits.
const WAITING_LIMIT: usize = 50;

/// How many of them are not folded: thirty Executions at one gate would push everything else off the screen.
const WAITING_OPEN: usize = 10;

const WAITING_HEAD: &str = "| What | Waits for | Since | To continue |\n| --- | --- | --- | --- |\n";

/// The most phases of one kind in the summary.
const PHASE_LIMIT: usize = 12;

/// What the dashboard shows.
#[derive(Debug, Clone, Default)]
pub struct DashboardInput {
    /// How many resources of a kind are in a phase.
    pub phases: BTreeMap<(Kind, String), usize>,
    /// What waits for people or events; the first fifty by key are shown.
    pub waiting: Vec<WaitingFor>,
    /// Executions, in any order. It is enough to give some of what is active and of what ended last; the first
    /// [`EXECUTION_LIMIT`] are shown, and `phases` says how many others there are.
    pub executions: Vec<ExecutionCard>,
}

/// Something that waits for a person or an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingFor {
    /// The execution, or another resource.
    pub key: ResourceKey,
    /// The node, when it is one.
    pub node: Option<NodeId>,
    /// What it waits for, as text.
    pub message: String,
    /// The reviewers that a gate names; empty for anybody.
    pub people: Vec<String>,
    /// The command that lets it continue, if there is one.
    pub command: Option<String>,
    /// Since when, as recorded.
    pub since: Option<Timestamp>,
}

/// An execution on the dashboard.
#[derive(Debug, Clone)]
pub struct ExecutionCard {
    /// Its record.
    pub record: Arc<StatusRecord>,
    /// The path of the record in the status tree.
    pub path: String,
    /// The graph that it runs, when it is at hand; without it the page shows counts only.
    pub graph: Option<Arc<PlanGraph>>,
}

/// The page.
#[must_use]
pub fn dashboard(input: &DashboardInput) -> String {
    let mut page = String::from(
        "# PlanSpec status\n\n\
         Written by `planspec reconcile` from the state of this branch; manual changes are overwritten.\n",
    );
    summary(input, &mut page);
    waiting(input, &mut page);
    execution::section(input, &mut page);
    page
}

// Writing to a string cannot fail, here and in the modules below.

fn summary(input: &DashboardInput, page: &mut String) {
    page.push_str("\n## Summary\n\n");
    if input.phases.values().all(|count| *count == 0) {
        page.push_str("No resources yet.\n");
        return;
    }
    page.push_str("| Kind | Total | Phases |\n| --- | ---: | --- |\n");
    for kind in Kind::ALL {
        let counts: Vec<(&str, usize)> = input
            .phases
            .iter()
            .filter(|((of, _), count)| *of == kind && **count > 0)
            .map(|((_, phase), count)| (phase.as_str(), *count))
            .collect();
        // Over all phases, also those that find no room below.
        let total: usize = counts.iter().map(|(_, count)| count).sum();
        if total > 0 {
            let mut phases: Vec<String> = counts
                .iter()
                .take(PHASE_LIMIT)
                .map(|(phase, count)| format!("{} {}", grouped(*count), markdown(phase, 40)))
                .collect();
            let rest: usize = counts.iter().skip(PHASE_LIMIT).map(|(_, count)| count).sum();
            if rest > 0 {
                phases.push(format!("… and {} more", grouped(rest)));
            }
            let _ = writeln!(page, "| {kind} | {} | {} |", grouped(total), phases.join(", "));
        }
    }
}

fn waiting(input: &DashboardInput, page: &mut String) {
    if input.waiting.is_empty() && unread(input) == 0 {
        return;
    }
    let mut rows: Vec<&WaitingFor> = input.waiting.iter().collect();
    // By key and not by time: a row that stays keeps its place, so that the page changes only where something changed.
    rows.sort_by(|a, b| (&a.key, &a.node, &a.message).cmp(&(&b.key, &b.node, &b.message)));
    let _ = write!(page, "\n## Waiting\n\n{WAITING_HEAD}");
    let shown = rows.len().min(WAITING_LIMIT);
    for (at, row) in rows.iter().take(shown).enumerate() {
        if at == WAITING_OPEN {
            let more = grouped(shown - WAITING_OPEN);
            let _ = write!(page, "\n<details><summary>… and {more} more</summary>\n\n{WAITING_HEAD}");
        }
        // Keys and node ids hold nothing that ends a code span or a cell. All other text passes through `markup`
        // (Invariant 8).
        let _ = write!(page, "| `{}`", row.key);
        if let Some(node) = &row.node {
            let _ = write!(page, " node `{node}`");
        }
        // Reviewers are free text in a Gate. Escaped, they also mention nobody on the host.
        let mut people: Vec<String> = row.people.iter().take(5).map(|name| markdown(name, 60)).collect();
        if let Some(more @ 1..) = row.people.len().checked_sub(5) {
            people.push(format!("{} more", grouped(more)));
        }
        let message = sentence(&row.message, 200);
        let what = match (message.is_empty(), people.is_empty()) {
            (false, false) => format!("{message} ({})", people.join(", ")),
            (true, false) => people.join(", "),
            (_, true) => message,
        };
        let since = row.since.map(execution::time).unwrap_or_default();
        // As code: a command is meant to be copied, and must not be changed by Markdown.
        let command = row.command.as_deref().map(|command| code(command, 300)).unwrap_or_default();
        let _ = writeln!(page, " | {what} | {since} | {command} |");
    }
    if shown > WAITING_OPEN {
        page.push_str("\n</details>\n");
    }
    if let Some(more @ 1..) = rows.len().checked_sub(WAITING_LIMIT) {
        let _ = writeln!(page, "\n… and {} more.", grouped(more));
    }
    let unread = unread(input);
    if unread > 0 {
        // Their nodes are not at hand: reading every record that waits would cost each commit what the repository holds.
        let word = if unread == 1 { "execution" } else { "executions" };
        let _ = writeln!(page, "\n{} more blocked {word}: `planspec status` lists them.", grouped(unread));
    }
}

/// How many executions are blocked whose records were not gathered.
fn unread(input: &DashboardInput) -> usize {
    let blocked = ExecutionPhase::Blocked;
    let all = input.phases.get(&(Kind::Execution, blocked.as_str().to_owned())).copied().unwrap_or_default();
    let read = input.executions.iter().filter_map(|card| card.record.execution());
    all.saturating_sub(read.filter(|status| status.phase == blocked).count())
}

#[cfg(test)]
mod tests;
