//! How far the executions are that a pull request introduced, as one comment and as the summary of a job: a table, what waits
//! and how it continues, the graphs with their phases, and a timeline.

mod picture;
mod reviews;
mod title;

use std::collections::BTreeMap;

use self::picture::{graph, tally, time, timeline};
pub(crate) use self::reviews::ReviewLine;
use self::reviews::reviews;
pub(crate) use self::title::PageSubject;
use self::title::{awaited, head};
use super::age;
use super::markdown::{MarkdownPage, PageLinks, PageSection, RenderedComment, is_address};
use crate::markup::{code, fence, grouped, sentence};
use crate::model::{
    AskedApproval, Digest, ExecutionPhase, ExecutionStatus, NextStep, NodeId, NodeSituation, NodeStatus,
    PlanGraph, ResourceKey, next_steps,
};

/// What finds the comment again.
pub(crate) const MARKER: &str = "<!-- planspec:progress -->";

/// With more Executions than this, their graphs are folded.
const OPEN_GRAPHS: usize = 2;

/// With more Executions than this, they are summed up by plan and phase, and lists of them are folded.
const OPEN_EXECUTIONS: usize = 5;

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
    /// What reviewers said about it, oldest first.
    pub reviews: Vec<ReviewLine>,
    /// Where its record can be read.
    pub address: Option<String>,
    /// Whether its manifest was removed: then nothing can be done about it any more.
    pub is_removed: bool,
}

impl ExecutionProgress {
    /// The nodes that are counted: neither a group nor a repeated node whose instances are there, which only sum up others.
    fn nodes(&self) -> impl Iterator<Item = (&NodeId, &NodeStatus)> {
        let summaries = self.graph.as_ref().map(|graph| graph.summaries(&self.status)).unwrap_or_default();
        self.status.node_statuses.iter().filter(move |(id, _)| !summaries.contains(*id))
    }

    /// What it waits for as a whole, and not at a node.
    fn held(&self) -> impl Iterator<Item = &WaitLine> {
        self.waits.iter().filter(|wait| wait.node.is_none())
    }

    /// The nodes that failed by themselves: what a group says of its children is told by them.
    fn failed(&self) -> impl Iterator<Item = (&NodeId, &NodeStatus)> {
        self.nodes().filter(|(_, node)| node.has_failed_itself())
    }
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
    /// What somebody writes as a comment to let it continue, such as `/planspec approve GATE`, or runs where no comment does that.
    pub command: Option<String>,
    /// Where the work is: an issue, a run.
    pub address: Option<String>,
}

/// Writes the progress down. `limit` is how many characters the comment may have.
#[must_use]
pub(crate) fn render(
    executions: &[ExecutionProgress],
    subject: PageSubject,
    limit: usize,
    links: PageLinks<'_>,
) -> RenderedComment {
    // What a reader has to do something about comes first, everywhere on the page: a long one is cut at its end.
    let mut sorted: Vec<&ExecutionProgress> = executions.iter().collect();
    sorted.sort_by_key(|standing| place(standing.status.phase));
    let mut sections = if sorted.len() > OPEN_EXECUTIONS {
        vec![groups(&sorted), PageSection { folded: Some("Each of them".to_owned()), ..table(&sorted) }]
    } else {
        vec![table(&sorted)]
    };
    sections.extend(failures(&sorted));
    sections.extend(waits(&sorted));
    sections.extend(reviews(&sorted));
    // Thirty graphs of one plan tell less than the five of those that failed or wait.
    let open = sorted.len() <= OPEN_GRAPHS;
    sections.extend(sorted.iter().take(OPEN_EXECUTIONS).filter_map(|standing| graph(standing, open)));
    sections.extend(sorted.iter().take(OPEN_EXECUTIONS).filter_map(|standing| timeline(standing)));
    if let Some(more @ 1..) = sorted.len().checked_sub(OPEN_EXECUTIONS) {
        let text = format!("… and the graphs and timelines of {} more, in their records.\n", grouped(more));
        sections.push(PageSection { items: vec![text], ..PageSection::default() });
    }
    MarkdownPage { marker: MARKER, head: head(executions, subject), sections }.render(limit, links)
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

/// How many Executions of each plan are in each phase.
fn groups(executions: &[&ExecutionProgress]) -> PageSection {
    let mut counts: BTreeMap<(usize, String), (ExecutionPhase, Vec<&str>)> = BTreeMap::new();
    for standing in executions {
        let phase = standing.status.phase;
        let plan = standing.status.extensions.pinned.as_ref().map(|pin| pin.plan.to_string());
        // Held before it was pinned, so that no plan is known.
        let group = (place(phase), plan.unwrap_or_else(|| "-".to_owned()));
        counts.entry(group).or_insert((phase, Vec::new())).1.push(standing.key.name.as_str());
    }
    let row = |((_, plan), (phase, names)): ((usize, String), (ExecutionPhase, Vec<&str>))| {
        let mut shown: Vec<String> = names.iter().take(3).map(|name| code(name, 63)).collect();
        if let Some(more @ 1..) = names.len().checked_sub(3) {
            shown.push(format!("… and {} more", grouped(more)));
        }
        format!("| {phase} | {} | {} | {} |\n", code(&plan, 200), grouped(names.len()), shown.join(", "))
    };
    PageSection {
        lead: "| Phase | Plan | Executions | Which |\n| --- | --- | ---: | --- |\n".to_owned(),
        items: counts.into_iter().map(row).collect(),
        ..PageSection::default()
    }
}

fn table(executions: &[&ExecutionProgress]) -> PageSection {
    // A column in which nothing stands yet only makes the others narrow.
    let starts = executions.iter().any(|standing| standing.status.start_time.is_some());
    let ends = executions.iter().any(|standing| took(&standing.status).is_some());
    let cell = |shown: bool, text: Option<String>| match shown {
        true => format!(" {} |", text.unwrap_or_default()),
        false => String::new(),
    };
    let row = |standing: &&ExecutionProgress| {
        let status = &standing.status;
        let name = linked(code(&standing.key.to_string(), 200), standing.address.as_deref());
        let mut nodes = tally(standing.nodes().map(|(_, node)| node.phase));
        if let Some(work) = status.work_summary() {
            nodes = format!("{nodes}; {work}");
        }
        let started = cell(starts, status.start_time.map(time));
        let took = cell(ends, took(status));
        format!("| {name} | {} | {nodes} |{started}{took}\n", status.phase)
    };
    let heads = [(true, "Execution | Phase | Nodes"), (starts, "Started"), (ends, "Took")];
    let heads: Vec<&str> = heads.into_iter().filter(|(shown, _)| *shown).map(|(_, head)| head).collect();
    let head = heads.join(" | ");
    let rule = " --- |".repeat(heads.len() + 2);
    PageSection {
        lead: format!("| {head} |\n|{rule}\n"),
        items: executions.iter().map(row).collect(),
        ..PageSection::default()
    }
}

/// How long it took from its start to its end, where it has both.
fn took(status: &ExecutionStatus) -> Option<String> {
    let (start, end) = status.start_time.zip(status.completion_time)?;
    Some(age::between(start, end))
}

fn waits(executions: &[&ExecutionProgress]) -> Vec<PageSection> {
    let item = |standing: &ExecutionProgress, wait: &WaitLine| {
        let what = match &wait.node {
            Some(node) => format!("{}/{node}", standing.key.name),
            None => standing.key.name.to_string(),
        };
        let what = linked(code(&what, 200), wait.address.as_deref());
        let why = sentence(&wait.message, 300);
        let mut text = match awaited(wait, 10) {
            Some(whom) => format!("{what} waits for {whom}: {why}\n"),
            None => format!("{what} waits: {why}\n"),
        };
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
    let mut sections = folded("What waits", items);
    let gates = executions.iter().flat_map(|standing| &standing.waits).filter(|wait| wait.gate.is_some());
    if gates.count() > 1
        && let Some(first) = sections.first_mut()
    {
        let all = fence("text", "/planspec approve --all", 300);
        first
            .items
            .insert(0, format!("All gates that wait here, for whoever may approve them:\n\n{all}\n\n"));
    }
    sections
}

/// What an approval is for: it does not count for anything else (Invariant 11).
fn asked_about(asked: &AskedApproval) -> String {
    // Whoever can push the status branch wrote these, so that nothing but digits is taken of them.
    let digits = |text: &str, most: usize| {
        let digits: String = text.chars().filter(char::is_ascii_hexdigit).take(most).collect();
        if digits.is_empty() { "-".to_owned() } else { digits }
    };
    let commit = code(&digits(&asked.commit, 8), 8);
    let digest = digits(asked.digest.shown(), Digest::SHOWN_DIGITS);
    let mut by_provider: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (node, provider) in &asked.targets {
        by_provider.entry(provider).or_default().push(code(node.as_str(), 63));
    }
    let providers = by_provider.len();
    let runs = by_provider.into_iter().take(10).map(|(provider, nodes)| {
        let more = nodes.len().saturating_sub(10);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!(
            "{} for {}{more}",
            code(provider, 100),
            nodes.into_iter().take(10).collect::<Vec<_>>().join(", ")
        )
    });
    let mut runs: Vec<String> = runs.collect();
    if let Some(more @ 1..) = providers.checked_sub(10) {
        runs.push(format!("{} more providers", grouped(more)));
    }
    let runs = match runs.is_empty() {
        true => String::new(),
        false => format!(" and what runs after it: {}", runs.join(", ")),
    };
    let expect = code(&format!("--expect {digest}"), 100);
    format!("For commit {commit}{runs}; {expect} approves nothing else.")
}

fn failures(executions: &[&ExecutionProgress]) -> Vec<PageSection> {
    let items: Vec<String> = executions
        .iter()
        .flat_map(|standing| standing.failed().map(move |(id, node)| failure(standing, id, node)))
        .collect();
    folded("What failed", items)
}

/// The first items in the open, and the rest below a line to click on.
fn folded(title: &str, mut items: Vec<String>) -> Vec<PageSection> {
    let rest = items.split_off(OPEN_EXECUTIONS.min(items.len()));
    let mut sections: Vec<PageSection> = paragraphs(title, items).into_iter().collect();
    if let Some(more) = paragraphs("", rest) {
        let fold = Some(format!("… and {} more", grouped(more.items.len())));
        sections.push(PageSection { folded: fold, ..more });
    }
    sections
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
    let mut text = match node.message.strip_prefix("failed by ") {
        // What a person said of it has the word already.
        Some(said) => format!("{what} was declared failed by {}\n", sentence(said, 300)),
        None => format!("{what} failed: {}\n", sentence(&node.message, 300)),
    };
    if let Some(log) = node.extensions.log.as_ref().filter(|log| !log.tail.is_empty()) {
        let lines: Vec<&str> = log.tail.lines().collect();
        let shown = lines.get(lines.len().saturating_sub(LOG_LINES)..).unwrap_or_default().join("\n");
        let log = fence("text", &shown, LOG_CHARACTERS);
        text.push_str(&format!("\n<details><summary>The end of its log</summary>\n\n{log}\n\n</details>\n"));
    }
    // While anything else of it runs, a retry would be refused.
    if standing.status.phase.is_terminal() && !standing.is_removed {
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

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::model::{Kind, LogSummary, ReviewAction};
    use crate::model::{NodePhase, NodeStatuses};
    use crate::report::markdown::COMMENT_LIMIT;
    use crate::report::preview::tests::{blocks, corpus, structure};

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
                attempt: 1,
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
            gate: Some(ResourceKey::new(Kind::Gate, "shop".parse().unwrap(), "g".parse().unwrap())),
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
            reviews: vec![ReviewLine {
                gate: text.to_owned(),
                who: text.to_owned(),
                action: ReviewAction::Approve,
                at: Timestamp::UNIX_EPOCH,
                words: Some(text.to_owned()),
                commit: text.to_owned(),
            }],
            address: Some(text.to_owned()),
            is_removed: false,
        }
    }

    #[test]
    fn the_progress_says_what_waits_and_how_it_goes_on() {
        let found = render(&[standing("release")], PageSubject::Change, COMMENT_LIMIT, PageLinks::default());
        let body: Vec<&str> = found.comment.lines().skip(2).take(31).collect();
        insta::assert_snapshot!(body.join("\n"), @r#"
        ## ⏳ `search-2` waits for `release`; `lint` failed

        The execution introduced by this change.

        | Execution | Phase | Nodes | Started |
        | --- | --- | --- | --- |
        | `shop/execution/search-2` | Blocked | 1 Failed, 1 Blocked, 1 Succeeded | 2026-02-02 02:40:00 UTC |

        ### What failed

        `search-2/lint` failed: release

        <details><summary>The end of its log</summary>

        ```text
        warning
        release
        error: 2 problems
        ```

        </details>

        ### What waits

        [`search-2/review`](https://github.example/octo/repo/issues/7) waits for `release`: release

        For commit `eeae` and what runs after it: `release` for `review`; `--expect eeae` approves nothing else.

        ```text
        /planspec approve release
        ```
        "#);
    }

    #[test]
    fn the_graph_shows_what_belongs_to_a_group_and_each_edge_once() {
        let mut one = standing("release");
        let graph = json!({
            "nodes": [
                { "id": "all", "kind": "Group", "children": ["eu", "us"] }, { "id": "eu", "kind": "Task" },
                { "id": "us", "kind": "Task", "dependsOn": ["eu"] }, { "id": "ship", "kind": "Task", "dependsOn": ["all"] },
            ],
            "edges": [{ "from": "eu", "to": "us", "type": "soft" }],
        });
        one.graph = Some(serde_json::from_value(graph).unwrap());
        let page = render(&[one], PageSubject::Change, COMMENT_LIMIT, PageLinks::default()).comment;
        let lines: Vec<&str> =
            page.lines().filter(|line| line.starts_with("  n") && line.contains('-')).collect();
        assert_eq!(lines, ["  n1 -.-> n2", "  n0 --> n3", "  n1 -.- n0", "  n2 -.- n0"], "{page}");
        // A box in the colours of the page, which a dark one has as well.
        assert!(page.contains("  classDef pending fill:transparent,stroke:#8c959f\n"), "{page}");
    }

    /// Thirty Executions of one merge: what needs somebody is in the open, the rest is counted and folded.
    #[test]
    fn many_executions_are_summed_up_with_failures_first() {
        let mut many: Vec<ExecutionProgress> = Vec::new();
        for index in 0..30 {
            let mut one = standing("release");
            one.key = ResourceKey::new(
                Kind::Execution,
                "shop".parse().unwrap(),
                format!("search-{index}").parse().unwrap(),
            );
            if index >= 8 {
                one.status.phase = ExecutionPhase::Succeeded;
                one.status.node_statuses = NodeStatuses::default();
                one.waits.clear();
            } else if index == 7 {
                one.status.phase = ExecutionPhase::Failed;
            }
            many.push(one);
        }
        let page = render(&many, PageSubject::Change, COMMENT_LIMIT, PageLinks::default()).comment;
        let lines: Vec<&str> = page.lines().skip(2).take(11).collect();
        insta::assert_snapshot!(lines.join("\n"), @r"
        ## ❌ planspec: 1 failed, 7 wait, 22 succeeded

        Executions introduced by this change.

        | Phase | Plan | Executions | Which |
        | --- | --- | ---: | --- |
        | Failed | `-` | 1 | `search-7` |
        | Blocked | `-` | 7 | `search-0`, `search-1`, `search-2`, … and 4 more |
        | Succeeded | `-` | 22 | `search-8`, `search-9`, `search-10`, … and 19 more |

        <details><summary>Each of them</summary>
        ");
        assert_eq!(page.matches("<summary>… and 3 more</summary>").count(), 2, "{page}");
        assert_eq!(page.matches("<details>").count(), page.matches("</details>").count(), "{page}");
        assert!(page.contains("… and the graphs and timelines of 25 more, in their records."), "{page}");
        assert_eq!(page.matches("```mermaid").count(), 5);
        // Each of them behind its fold: together they would be most of the page.
        assert_eq!(page.matches("</code>: 3 nodes</summary>").count(), 5, "{page}");
        let all = (0..30).all(|index| page.contains(&format!("`shop/execution/search-{index}`")));
        assert!(all && page.find("search-7`").unwrap() < page.find("search-0`").unwrap(), "{page}");
    }

    #[test]
    fn hostile_progress_changes_no_structure() {
        let page = |text: &str| {
            render(&[standing(text)], PageSubject::Change, COMMENT_LIMIT, PageLinks::default()).comment
        };
        let expected = blocks(&page("harmless words"));
        let spans = structure(&page("harmless words")).len();
        assert!(expected.iter().any(|event| event == "<details>"), "{expected:?}");
        for text in corpus() {
            // An address is taken only when it is one; everything else is no link.
            assert_eq!(blocks(&page(&text)), expected, "{text:?}");
            // Names stay the code spans that they are.
            assert!(structure(&page(&text)).len() >= spans, "{text:?}");
        }
    }
}
