//! The issue that a person gets: its title, its text, and the hidden mark by which it is found again. Every text of
//! manifests and of other tasks is made harmless here; nobody is mentioned.

use std::fmt::Write as _;

use serde_json::Value;

use super::assignee::Assignee;
use crate::markup::{code, fence, grouped, markdown, one_line, paragraphs};
use crate::model::{AcceptanceCriterion, ContextItem};
use crate::provider::Attempt;

/// How a text begins whose task is not over.
const OPEN: &str = "<!-- planspec:task ";

/// How it begins once the task is over.
const OVER: &str = "<!-- planspec:ended ";

/// The heading above what an answer is to be.
const ANSWER: &str = "\n## How to answer";

/// The most characters of one text of a manifest.
const TEXT: usize = 6_000;

/// The most bytes of everything but how to answer; the host takes 65,536 characters.
const ABOUT: usize = 40_000;

/// The most entries of a list.
const ENTRIES: usize = 50;

/// What the hidden mark of an issue says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct IssueMarker {
    /// `<execution uid>/<node>`.
    task: String,
    /// Whether the task is over.
    pub(super) over: bool,
}

impl IssueMarker {
    /// Reads the mark that a text begins with.
    pub(super) fn read(body: &str) -> Option<Self> {
        // Only where the text begins: further down stand texts of manifests, in which somebody could write a mark.
        let (over, rest) = match (body.strip_prefix(OPEN), body.strip_prefix(OVER)) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            _ => return None,
        };
        let (key, _) = rest.split_once(" -->")?;
        let (task, attempt) = key.rsplit_once('/')?;
        // `TOKEN.N`, or the number alone in an issue that was opened before attempts were named by their lease.
        attempt.split('.').try_for_each(|part| part.parse::<u64>().map(|_| ())).ok()?;
        Some(Self { task: task.to_owned(), over })
    }

    /// Whether it is about the task of an attempt: the same node of the same Execution, by any of its attempts.
    pub(super) fn is_of(&self, attempt: &Attempt) -> bool {
        attempt.idempotency_key.rsplit_once('/').is_some_and(|(task, _)| task == self.task)
    }

    /// A text with its mark changed: the task is over. Nothing where there is no mark to change.
    pub(super) fn ended(body: &str) -> Option<String> {
        Self::read(body)?;
        body.strip_prefix(OPEN).map(|rest| format!("{OVER}{rest}"))
    }
}

/// The title.
pub(super) fn title(attempt: &Attempt) -> String {
    let task = attempt.brief.title.as_deref().unwrap_or(attempt.node.as_str());
    // A name of a node says little in a list of issues, so the Execution stands beside it.
    let title = format!("{} ({}/{})", one_line(task, 150), attempt.key.namespace, attempt.key.name);
    // A space of no width, so that nothing downstream takes a word for a mention.
    title.replace('@', "@\u{200b}")
}

/// The text.
pub(super) fn body(attempt: &Attempt, person: &Assignee, dashboard: Option<&str>) -> String {
    let mut text = format!("{OPEN}{} -->\n", attempt.idempotency_key);
    let _ = write!(
        text,
        "For {}: the task {} of the Execution {}",
        code(&person.to_string(), 200),
        code(attempt.node.as_str(), 100),
        code(&format!("{}/{}", attempt.key.namespace, attempt.key.name), 200)
    );
    match dashboard {
        Some(address) => {
            let _ = writeln!(text, " ([its graph and status]({address})).");
        }
        None => text.push_str(".\n"),
    }
    if matches!(person, Assignee::Team { .. }) {
        text.push_str("Any member of the team may answer; nobody is notified, so assign somebody.\n");
    }
    let mut about = String::new();
    what(&mut about, attempt);
    criteria(&mut about, &attempt.criteria);
    belongs(&mut about, attempt);
    text.push_str(&about);
    // Last and always whole: what stands above is bounded so that this fits into what the host takes.
    answer(&mut text, attempt, person);
    text
}

/// Adds a part as long as there is room for it; a part is never cut.
fn push(about: &mut String, part: &str) {
    // A part that is cut could leave a fence open, and everything below it, how to answer included, would be code.
    if about.len() + part.len() <= ABOUT {
        about.push_str(part);
    }
}

fn what(about: &mut String, attempt: &Attempt) {
    let brief = &attempt.brief;
    let instructions = attempt.config.get("instructions").and_then(Value::as_str).unwrap_or_default();
    let said: Vec<String> = [brief.task.as_deref().unwrap_or_default(), instructions]
        .into_iter()
        .filter(|text| !text.trim().is_empty())
        .map(|text| paragraphs(text, TEXT))
        .collect();
    if !said.is_empty() {
        push(about, &format!("\n## What to do\n\n{}\n", said.join("\n\n")));
    }
    if let Some(request) = brief.requested.as_ref().filter(|request| request.conflicts_with.is_some()) {
        push(about, &format!("\n## What conflicts\n\n{}\n", fence("text", &request.words, TEXT)));
    } else if let Some(request) = &brief.requested {
        let by = markdown(&request.by, 100);
        let words = fence("text", &request.words, TEXT);
        push(
            about,
            &format!(
                "\n## What a reviewer wants changed\n\n{by} reviewed what came of it and asks for changes:\n\n{words}\n"
            ),
        );
    }
    context(about, &brief.task_context);
    if !attempt.inputs.is_empty() {
        let inputs = serde_json::to_string_pretty(&attempt.inputs).unwrap_or_default();
        push(about, &format!("\n## Inputs\n\n{}\n", fence("json", &inputs, TEXT)));
    }
}

fn criteria(about: &mut String, criteria: &[AcceptanceCriterion]) {
    if criteria.is_empty() {
        return;
    }
    let mut list = String::from("\n## Acceptance criteria\n\n");
    for criterion in criteria.iter().take(ENTRIES) {
        let weight = if criterion.required { "" } else { " (advisory)" };
        let _ = write!(list, "- [ ] {}{weight}", markdown(&criterion.name, 200));
        if let Some(description) = &criterion.description {
            let _ = write!(list, ": {}", markdown(description, 500));
        }
        list.push('\n');
    }
    list.push_str(&left_out(criteria.len()));
    list.push_str("\nThese are checked after the issue is closed.\n");
    push(about, &list);
}

fn belongs(about: &mut String, attempt: &Attempt) {
    let brief = &attempt.brief;
    if !brief.plan.trim().is_empty() {
        push(about, &format!("\n## The plan\n\n{}\n", paragraphs(&brief.plan, TEXT)));
    }
    context(about, &brief.plan_context);
    if let Some(goal) = &brief.goal {
        let mut part = format!("\n## The goal of the plan\n\n{}\n", paragraphs(&goal.description, TEXT));
        if !goal.acceptance_criteria.is_empty() {
            part.push_str("\nIt is reached when:\n\n");
        }
        for criterion in goal.acceptance_criteria.iter().take(ENTRIES) {
            let _ = writeln!(part, "- {}", markdown(&criterion.description, 500));
        }
        part.push_str(&left_out(goal.acceptance_criteria.len()));
        push(about, &part);
        context(about, &goal.context);
    }
    context(about, &brief.execution_context);
}

fn context(about: &mut String, items: &[ContextItem]) {
    for item in items.iter().take(ENTRIES) {
        let mut part = String::from("\n");
        if let Some(name) = &item.name {
            let _ = writeln!(part, "### {}\n", markdown(name, 200));
        }
        match &item.content {
            Some(Value::String(content)) => {
                // In a fence also where it is declared as Markdown: on the host it would have links, images and
                // mentions.
                let _ = writeln!(part, "{}", fence("text", content, TEXT));
            }
            Some(content) => {
                let content = serde_json::to_string_pretty(content).unwrap_or_default();
                let _ = writeln!(part, "{}", fence("json", &content, TEXT));
            }
            None => {}
        }
        for uri in item.uris.iter().take(ENTRIES) {
            let _ = writeln!(part, "- {}", code(uri, 500));
        }
        part.push_str(&left_out(item.uris.len()));
        push(about, &part);
    }
    push(about, &left_out(items.len()));
}

/// Says how many entries of a list have no room: whoever does the work must know that there is more to it.
fn left_out(all: usize) -> String {
    match all.checked_sub(ENTRIES) {
        Some(more @ 1..) => format!("- … and {} more: see the manifest\n", grouped(more)),
        _ => String::new(),
    }
}

/// The part of an issue's text where an answer may have been filled in.
pub(super) fn form(body: &str) -> &str {
    // The last one: a text of a manifest above it may hold the same words.
    body.rsplit_once(ANSWER).map_or("", |(_, form)| form)
}

fn answer(text: &mut String, attempt: &Attempt, person: &Assignee) {
    let who = match person {
        Assignee::Login(_) => "the person named above, assignees",
        Assignee::Team { .. } => "members of the team named above, assignees",
        Assignee::Words(_) => "assignees",
    };
    let _ = write!(
        text,
        "{ANSWER}\n\nWho may answer: {who}, and people with write access to this repository.\n\n"
    );
    let declared = &attempt.declared_outputs;
    if declared.is_empty() {
        text.push_str("- Done: **close the issue as completed**.\n");
    } else {
        let names: Vec<String> = declared.iter().map(|name| code(name, 100)).collect();
        let _ = writeln!(
            text,
            "- Done: put {} in a fenced block of YAML or JSON, in a comment or in the block below (the last one counts), \
             and **close the issue as completed**.",
            names.join(", ")
        );
    }
    text.push_str("- Cannot be done: say why in a comment, and **close the issue as not planned**.\n");
    if !declared.is_empty() {
        let form: Vec<String> = declared
            .iter()
            .map(|name| match attempt.output_contract.hint(name) {
                Some(hint) => format!("{name}: # {}", one_line(hint, 200)),
                None => format!("{name}:"),
            })
            .collect();
        let _ = write!(text, "\n{}\n", fence("yaml", &form.join("\n"), TEXT));
    }
}
