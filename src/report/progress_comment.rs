//! How far the executions are that a pull request introduced, as one comment and as the summary of a job: a table, what waits
//! and how it continues, the graphs with their phases, and a timeline.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::chart::{ChartEdge, ChartNode, NodeStyle, flowchart};
use super::markdown::{MarkdownPage, PageSection, RenderedComment, counted, is_address};
use crate::markup::{code, fence, grouped, markdown};
use crate::model::{
    AskedApproval, Digest, EdgeType, ExecutionPhase, ExecutionStatus, NextStep, NodeId, NodePhase,
    NodeSituation, NodeStatus, PlanGraph, ResourceKey, next_steps,
};

/// What finds the comment again.
pub(crate) const MARKER: &str = "<!-- planspec:progress -->";

/// A graph with more nodes than this is folded.
const OPEN_NODES: usize = 25;

/// How much of the end of a log is shown: what tells why a command failed is mostly in its last lines.
const LOG_LINES: usize = 20;
const LOG_CHARACTERS: usize = 4000;

/// An execution, and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct ExecutionProgress {
    /// Which execution; shown as `NAMESPACE/KIND/NAME`.
    pub key: ResourceKey,
    /// Its status as it was published last.
    pub status: ExecutionStatus,
    /// The graph that it runs, when it is at hand.
    pub graph: Option<PlanGraph>,
    /// What it waits for.
    pub waits: Vec<WaitLine>,
    /// Where its record can be read.
    pub address: Option<String>,
}

/// Something that waits for an external event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct WaitLine {
    /// The node, when it is one.
    pub node: Option<NodeId>,
    /// What it waits for, as text.
    pub message: String,
    /// Whom it waits for; empty when it is nobody in particular.
    pub people: Vec<String>,
    /// The gate, when it waits for an approval.
    pub gate: Option<ResourceKey>,
    /// What the gate asks about.
    pub asked: Option<AskedApproval>,
    /// What somebody writes as a comment to let it continue: `/planspec approve GATE`.
    pub command: Option<String>,
    /// Where the work is: an issue, a run.
    pub address: Option<String>,
}

/// Writes the progress down. `limit` is how many characters the comment may have; `full` is the address of the job's
/// summary, for readers of a comment that was cut.
#[must_use]
pub(crate) fn render(executions: &[ExecutionProgress], limit: usize, full: Option<&str>) -> RenderedComment {
    let mut sections = vec![table(executions)];
    // What needs somebody goes first, because a long page is cut at its end.
    sections.extend(waits(executions));
    sections.extend(failures(executions));
    sections.extend(executions.iter().filter_map(graph));
    sections.extend(executions.iter().filter_map(timeline));
    MarkdownPage { marker: MARKER, head: head(executions), sections }.render(limit, full)
}

fn head(executions: &[ExecutionProgress]) -> String {
    // Mail and the list of comments show the first line alone, so it answers the question that brings people here.
    if let [only] = executions {
        return format!("## {}\n\nThe execution introduced by this change.\n", title(only));
    }
    let mut counts: BTreeMap<usize, (ExecutionPhase, usize)> = BTreeMap::new();
    for standing in executions {
        let phase = standing.status.phase;
        counts.entry(place(phase)).or_insert((phase, 0)).1 += 1;
    }
    let words: Vec<String> =
        counts.into_values().map(|(phase, count)| format!("{} {phase}", grouped(count))).collect();
    let words = if words.is_empty() { "no executions".to_owned() } else { words.join(", ") };
    let over = executions.iter().all(|standing| standing.status.phase.is_terminal());
    let failed = executions.iter().any(|standing| standing.status.phase == ExecutionPhase::Failed);
    let sign = match (failed, over) {
        (true, _) => "❌",
        (false, true) => "✅",
        (false, false) => "⏳",
    };
    format!("## {sign} planspec: {words}\n\nExecutions introduced by this change.\n")
}

/// How a single execution is doing, in a line.
fn title(standing: &ExecutionProgress) -> String {
    let name = code(standing.key.name.as_str(), 63);
    let nodes = &standing.status.node_statuses;
    let named = |phase: NodePhase| {
        let found = nodes.iter().filter(|(_, node)| node.phase == phase);
        let ids: Vec<String> = found.take(3).map(|(id, _)| code(id.as_str(), 63)).collect();
        ids.join(", ")
    };
    match standing.status.phase {
        ExecutionPhase::Failed => match named(NodePhase::Failed) {
            at if at.is_empty() => format!("❌ {name} failed"),
            at => format!("❌ {name} failed at {at}"),
        },
        ExecutionPhase::Cancelled => format!("⊘ {name} was cancelled"),
        ExecutionPhase::Succeeded => format!("✅ {name} succeeded"),
        ExecutionPhase::Blocked => match standing.waits.first() {
            Some(wait) => format!("⏳ {name} waits for {}", awaited(wait)),
            None => format!("⏳ {name} waits"),
        },
        ExecutionPhase::Running | ExecutionPhase::Pending => {
            let done = nodes.values().filter(|node| node.phase.is_terminal()).count();
            format!("⏳ {name} is running: {} of {} nodes done", grouped(done), grouped(nodes.len()))
        }
    }
}

/// Whom somebody waits for, else what.
fn awaited(wait: &WaitLine) -> String {
    // As code, so that a page which is edited again and again notifies nobody.
    let mut people: Vec<String> = wait.people.iter().take(10).map(|name| code(name, 100)).collect();
    let more = wait.people.len().saturating_sub(people.len());
    if more > 0 {
        people.push(format!("{} more", grouped(more)));
    }
    match people.is_empty() {
        false => people.join(", "),
        // A gate without reviewers is open to whoever may write.
        true if wait.command.is_some() => "anyone with write access".to_owned(),
        true => markdown(&wait.message, 120),
    }
}

fn place(phase: ExecutionPhase) -> usize {
    match phase {
        // By how much a reader has to do about it.
        ExecutionPhase::Failed => 0,
        ExecutionPhase::Blocked => 1,
        ExecutionPhase::Running => 2,
        ExecutionPhase::Pending => 3,
        ExecutionPhase::Cancelled => 4,
        ExecutionPhase::Succeeded => 5,
    }
}

fn linked(text: String, address: Option<&str>) -> String {
    // Anything but a plain address could end the link (Invariant 8).
    match address.filter(|address| is_address(address)) {
        Some(address) => format!("[{text}]({address})"),
        None => text,
    }
}

fn table(executions: &[ExecutionProgress]) -> PageSection {
    let row = |standing: &ExecutionProgress| {
        let status = &standing.status;
        let name = linked(code(&standing.key.to_string(), 200), standing.address.as_deref());
        let mut nodes = tally(status.node_statuses.values().map(|node| node.phase));
        if let Some(work) = status.work_summary() {
            nodes = format!("{nodes}; {work}");
        }
        let started = status.start_time.map(time).unwrap_or_default();
        let ended = status.completion_time.map(time).unwrap_or_default();
        format!("| {name} | {} | {nodes} | {started} | {ended} |\n", status.phase)
    };
    PageSection {
        lead: "| Execution | Phase | Nodes | Started | Ended |\n| --- | --- | --- | --- | --- |\n".to_owned(),
        items: executions.iter().map(row).collect(),
        ..PageSection::default()
    }
}

fn waits(executions: &[ExecutionProgress]) -> Option<PageSection> {
    let item = |standing: &ExecutionProgress, wait: &WaitLine| {
        let what = match &wait.node {
            Some(node) => format!("{}/{node}", standing.key.name),
            None => standing.key.name.to_string(),
        };
        let what = linked(code(&what, 200), wait.address.as_deref());
        let mut text = format!("{what} waits for {}: {}\n", awaited(wait), markdown(&wait.message, 300));
        if let Some(asked) = &wait.asked {
            text.push_str(&format!("\n{}\n", asked_about(asked)));
        }
        // A block of its own, because a host puts a button to copy beside it.
        if let Some(command) = &wait.command {
            text.push_str(&format!("\n{}\n", fence("text", command, 300)));
        }
        text
    };
    let items: Vec<String> = executions
        .iter()
        .flat_map(|standing| standing.waits.iter().map(move |wait| item(standing, wait)))
        .collect();
    paragraphs("What waits", items)
}

/// What an approval is for: it does not count for anything else (Invariant 11).
fn asked_about(asked: &AskedApproval) -> String {
    // Whoever can push the status branch wrote these, so that nothing but digits is taken of them.
    let digits = |text: &str, most: usize| {
        let digits: String = text.chars().filter(char::is_ascii_hexdigit).take(most).collect();
        code(if digits.is_empty() { "-" } else { &digits }, most)
    };
    let (commit, digest) = (digits(&asked.commit, 8), digits(asked.digest.shown(), Digest::SHOWN_DIGITS));
    let mut by_provider: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (node, provider) in &asked.targets {
        by_provider.entry(provider).or_default().push(code(node.as_str(), 63));
    }
    let runs = by_provider.into_iter().take(10).map(|(provider, nodes)| {
        let more = nodes.len().saturating_sub(10);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!(
            "; {} for {}{more}",
            code(provider, 100),
            nodes.into_iter().take(10).collect::<Vec<_>>().join(", ")
        )
    });
    let runs: String = runs.collect();
    format!("Asks about commit {commit}{runs}. Digest {digest}.")
}

fn failures(executions: &[ExecutionProgress]) -> Option<PageSection> {
    let items: Vec<String> = executions
        .iter()
        .flat_map(|standing| {
            let failed = standing.status.node_statuses.iter();
            let failed = failed.filter(|(_, node)| node.phase == NodePhase::Failed);
            failed.map(move |(id, node)| failure(standing, id, node))
        })
        .collect();
    paragraphs("What failed", items)
}

/// A section of paragraphs, with a line between them; none without any.
fn paragraphs(title: &str, items: Vec<String>) -> Option<PageSection> {
    let between = |(index, item): (usize, String)| if index == 0 { item } else { format!("\n{item}") };
    let items: Vec<String> = items.into_iter().enumerate().map(between).collect();
    (!items.is_empty()).then(|| PageSection { title: title.to_owned(), items, ..PageSection::default() })
}

/// A node that failed: why, the end of its log, and how to run it again.
fn failure(standing: &ExecutionProgress, id: &NodeId, node: &NodeStatus) -> String {
    let what = code(&format!("{}/{id}", standing.key.name), 200);
    let mut text = format!("{what} failed: {}\n", markdown(&node.message, 300));
    if let Some(log) = node.extensions.log.as_ref().filter(|log| !log.tail.is_empty()) {
        let lines: Vec<&str> = log.tail.lines().collect();
        let shown = lines.get(lines.len().saturating_sub(LOG_LINES)..).unwrap_or_default().join("\n");
        let log = fence("text", &shown, LOG_CHARACTERS);
        text.push_str(&format!("\n<details><summary>The end of its log</summary>\n\n{log}\n\n</details>\n"));
    }
    // While anything else of it runs, a retry would be refused.
    if standing.status.phase.is_terminal() {
        let situation = NodeSituation {
            execution: &standing.key,
            node: id,
            phase: node.phase,
            reason: node.extensions.reason,
            gate: None,
        };
        if let Some(command) = next_steps(&situation).iter().find_map(NextStep::comment) {
            text.push_str(&format!("\n{}\n", fence("text", &command, 300)));
        }
    }
    text
}

fn graph(standing: &ExecutionProgress) -> Option<PageSection> {
    let graph = standing.graph.as_ref().filter(|graph| !graph.nodes.is_empty())?;
    let phase =
        |id: &NodeId| standing.status.node_statuses.get(id).map(|node| node.phase).unwrap_or_default();
    let nodes: Vec<ChartNode<'_>> = graph
        .nodes
        .iter()
        .map(|node| ChartNode {
            id: node.id.as_str(),
            name: node.name.as_deref(),
            kind: node.kind,
            look: look(phase(&node.id)),
        })
        .collect();
    let written = graph.edges.iter().map(|edge| ChartEdge {
        from: edge.from.as_str(),
        to: edge.to.as_str(),
        arrow: if edge.kind == EdgeType::Soft { "-.->" } else { "-->" },
    });
    let depends = graph.nodes.iter().flat_map(|node| {
        let to = node.id.as_str();
        node.depends_on.iter().map(move |from| ChartEdge { from: from.as_str(), to, arrow: "-->" })
    });
    let chart = flowchart(&nodes, written.chain(depends));
    let name = standing.key.to_string();
    Some(if graph.nodes.len() > OPEN_NODES {
        // In the line of a fold, a host reads HTML and no Markdown.
        let title = format!("<code>{}</code>: {}", markdown(&name, 200), counted(graph.nodes.len(), "node"));
        PageSection { folded: Some(title), items: vec![chart], ..PageSection::default() }
    } else {
        PageSection {
            lead: format!("{}\n\n", code(&name, 200)),
            items: vec![chart],
            ..PageSection::default()
        }
    })
}

fn timeline(standing: &ExecutionProgress) -> Option<PageSection> {
    let mut events: Vec<(Timestamp, u8, &NodeId, String)> = Vec::new();
    for (id, node) in &standing.status.node_statuses {
        events.extend(node.start_time.map(|at| (at, 0, id, "started".to_owned())));
        events.extend(node.completion_time.map(|at| (at, 1, id, node.phase.to_string())));
    }
    // Also ordered within one moment, so that a page with the same content is the same text, and is not
    // edited.
    events.sort_by_key(|(at, order, id, _)| (*at, *order, *id));
    let items: Vec<String> = events
        .iter()
        .map(|(at, _, id, what)| format!("| {} | {} | {what} |\n", time(*at), code(id.as_str(), 63)))
        .collect();
    (!items.is_empty()).then(|| PageSection {
        folded: Some(format!("Timeline of <code>{}</code>", markdown(&standing.key.to_string(), 200))),
        lead: "| Time | Node | What |\n| --- | --- | --- |\n".to_owned(),
        items,
        ..PageSection::default()
    })
}

/// A recorded time, to the second.
fn time(at: Timestamp) -> String {
    // In UTC, because one page is read in many places.
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn tally(phases: impl Iterator<Item = NodePhase>) -> String {
    let mut counts: BTreeMap<u8, (NodePhase, usize)> = BTreeMap::new();
    for phase in phases {
        counts.entry(look(phase).rank).or_insert((phase, 0)).1 += 1;
    }
    let words: Vec<String> =
        counts.into_values().map(|(phase, count)| format!("{} {phase}", grouped(count))).collect();
    words.join(", ")
}

fn look(phase: NodePhase) -> NodeStyle {
    let (rank, class, mark, style) = match phase {
        NodePhase::Failed => (0, "failed", "✗", "fill:#ffd7d5,stroke:#cf222e,color:#82071e"),
        NodePhase::Running => (1, "running", "▶", "fill:#ddf4ff,stroke:#0969da,color:#0a3069"),
        NodePhase::Blocked => (2, "blocked", "⏸", "fill:#fff8c5,stroke:#bf8700,color:#4d2d00"),
        NodePhase::Cancelled => (3, "cancelled", "⊘", "fill:#eaeef2,stroke:#57606a,color:#24292f"),
        NodePhase::Pending => (4, "pending", "○", "fill:#ffffff,stroke:#8c959f,color:#24292f"),
        NodePhase::Succeeded => (5, "succeeded", "✓", "fill:#dafbe1,stroke:#1a7f37,color:#044f1e"),
        NodePhase::Skipped => (6, "skipped", "–", "fill:#f6f8fa,stroke:#8c959f,color:#57606a"),
    };
    NodeStyle { rank, class, mark, style }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::preview::tests::{corpus, structure};
    use super::*;
    use crate::model::{Kind, LogSummary};
    use crate::report::markdown::COMMENT_LIMIT;

    fn standing(text: &str) -> ExecutionProgress {
        let at = |second: i64| Timestamp::from_second(1_770_000_000 + second).ok();
        let id = |name: &str| NodeId::new(name).unwrap();
        let mut status = ExecutionStatus {
            phase: ExecutionPhase::Blocked,
            message: Some(text.to_owned()),
            start_time: at(0),
            ..ExecutionStatus::default()
        };
        for (name, phase, start, end) in [
            ("build", NodePhase::Succeeded, at(0), at(60)),
            ("lint", NodePhase::Failed, at(0), at(20)),
            ("review", NodePhase::Blocked, at(60), None),
        ] {
            let node = NodeStatus {
                phase,
                start_time: start,
                completion_time: end,
                message: text.to_owned(),
                ..NodeStatus::default()
            };
            status.node_statuses.insert(id(name), node);
        }
        if let Some(failed) = status.node_statuses.get_mut(&id("lint")) {
            let checksum = Digest::of_bytes(b"");
            let tail = format!("warning\n{text}\nerror: 2 problems");
            failed.extensions.log = Some(LogSummary { tail, size: 9, checksum });
        }
        let graph = json!({
            "nodes": [
                {"id": "build", "kind": "Task", "name": text},
                {"id": "lint", "kind": "Task", "dependsOn": ["build"]},
                {"id": "review", "kind": "Gate", "gateRef": {"name": "g"}},
            ],
            "edges": [{"from": "build", "to": "review", "type": "soft"}],
        });
        let wait = WaitLine {
            node: Some(id("review")),
            message: text.to_owned(),
            people: vec![text.to_owned()],
            gate: None,
            asked: serde_json::from_value(json!({
                "execution": "shop/search-2", "node": "review", "commit": text,
                "digest": text, "targets": { "review": text },
            }))
            .ok(),
            command: Some(format!("/planspec approve {text}")),
            address: Some("https://github.example/octo/repo/issues/7".to_owned()),
        };
        ExecutionProgress {
            key: ResourceKey::new(Kind::Execution, "shop".parse().unwrap(), "search-2".parse().unwrap()),
            status,
            graph: serde_json::from_value(graph).ok(),
            waits: vec![wait],
            address: Some(text.to_owned()),
        }
    }

    #[test]
    fn the_progress_says_what_waits_and_how_it_goes_on() {
        let found = render(&[standing("release")], COMMENT_LIMIT, None);
        let body: Vec<&str> = found.comment.lines().skip(2).take(31).collect();
        insta::assert_snapshot!(body.join("\n"), @r#"
        ## ⏳ `search-2` waits for `release`

        The execution introduced by this change.

        | Execution | Phase | Nodes | Started | Ended |
        | --- | --- | --- | --- | --- |
        | `shop/execution/search-2` | Blocked | 1 Failed, 1 Blocked, 1 Succeeded | 2026-02-02 02:40:00 UTC |  |

        ### What waits

        [`search-2/review`](https://github.example/octo/repo/issues/7) waits for `release`: release

        Asks about commit `eeae`; `release` for `review`. Digest `eeae`.

        ```text
        /planspec approve release
        ```

        ### What failed

        `search-2/lint` failed: release

        <details><summary>The end of its log</summary>

        ```text
        warning
        release
        error: 2 problems
        ```

        </details>
        "#);
    }

    #[test]
    fn hostile_progress_changes_no_structure() {
        let expected = structure(&render(&[standing("harmless words")], COMMENT_LIMIT, None).comment);
        assert!(expected.iter().any(|event| event == "<details>"), "{expected:?}");
        for text in corpus() {
            // An address is taken only when it is one; everything else is no link.
            let found = render(&[standing(&text)], COMMENT_LIMIT, None);
            assert_eq!(structure(&found.comment), expected, "{text:?}");
        }
    }
}
