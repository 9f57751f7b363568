//! The sections of a preview, what matters most first.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::findings::findings;
use super::graphs::graphs;
use super::wire::{ChangedField, ChangedResource, Preview, PreviewCommand, PreviewGate, StartingExecution};
use crate::diagnostic::Severity;
use crate::markup::{code, grouped, markdown, sentence};
use crate::model::means_code_owners;
use crate::report::markdown::{MarkdownPage, PageSection, counted};

/// How much of a name, a value and a sentence is shown.
const NAME: usize = 200;
const VALUE: usize = 160;
const SENTENCE: usize = 400;

/// Lists with more items than this are folded.
const OPEN_ITEMS: usize = 10;

/// More Executions than this are counted by plan, and listed in a fold.
const OPEN_EXECUTIONS: usize = 5;

/// The most lines about one Execution that would start, of providers and of gates.
const LINES: usize = 50;

pub(super) fn page(preview: &Preview, repository: Option<&str>) -> MarkdownPage {
    let mut sections = Vec::new();
    // In the order of what matters: a page that is too long is cut at its end.
    let warnings = preview.warnings.iter().map(|text| bullet(text));
    sections.extend(list("Warnings", "warning", warnings.collect()));
    sections.extend(findings(&preview.diagnostics, repository, preview.head.as_deref()));
    sections.extend(starts(&preview.starts));
    sections.extend(with_same_commands(&preview.starts).into_iter().map(commands));
    let voided = preview.voided.iter().map(|voided| {
        format!("* {} was approved by {}\n", code(&voided.gate, NAME), first_of(&voided.reviewers))
    });
    sections.extend(list("Approvals that no longer count", "approval", voided.collect()));
    let consequences = preview.consequences.iter().map(|text| bullet(text));
    sections.extend(list("What follows", "consequence", consequences.collect()));
    resources(preview, &mut sections);
    graphs(&preview.graphs, &mut sections);
    MarkdownPage { marker: super::MARKER, head: head(preview), sections }
}

fn head(preview: &Preview) -> String {
    let errors = preview.count(Severity::Error);
    let warnings = preview.count(Severity::Warning);
    let counts = [
        (preview.created.len(), "created"),
        (preview.changed.len(), "changed"),
        (preview.deleted.len(), "deleted"),
    ];
    let counts: Vec<String> =
        counts.iter().filter(|(n, _)| *n > 0).map(|(n, word)| format!("{} {word}", grouped(*n))).collect();
    let mut words = Vec::new();
    if errors > 0 {
        words.push(counted(errors, "error"));
    }
    if warnings > 0 {
        words.push(counted(warnings, "warning"));
    }
    if preview.conflict {
        words.push("cannot be merged".to_owned());
    }
    words.extend(if counts.is_empty() && preview.conflict {
        Vec::new()
    } else if counts.is_empty() {
        vec!["no resource changes".to_owned()]
    } else {
        counts
    });
    words.extend(starting(preview));
    let mut text = format!("## {} planspec: {}\n\n", sign(preview), words.join(", "));
    match (&preview.head, &preview.base) {
        (Some(head), Some(base)) => {
            text.push_str(&format!("What merging {} into {} would do.\n", commit(head), commit(base)));
        }
        (Some(head), None) => text.push_str(&format!("What {} would do.\n", commit(head))),
        _ => text.push_str("What this change would do.\n"),
    }
    if preview.conflict {
        alert(
            &mut text,
            "CAUTION",
            "The change conflicts with its base. Update the branch and resolve the conflicts.",
        );
    } else if preview.stale_base {
        let message =
            "The branch has moved since the change was based on it: this preview may be out of date.";
        alert(&mut text, "WARNING", message);
    }
    if let Some(held) = &preview.held_back {
        let message = format!(
            "This deletes {} of {} resources. The reconciler holds back that many deletions. To apply them after the merge, comment `/planspec allow-mass-delete`, or run `planspec reconcile` with `--allow-mass-delete`.",
            grouped(held.deleted),
            grouped(held.total)
        );
        alert(&mut text, "CAUTION", &message);
    }
    text
}

/// How many Executions would start. One whose plan cannot be read waits for it, and must not be told to start.
fn starting(preview: &Preview) -> impl Iterator<Item = String> {
    let waiting = without_plan(preview);
    let counts =
        [(preview.starts.len().saturating_sub(waiting), "would start"), (waiting, "would wait for a plan")];
    counts.into_iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{} {what}", counted(n, "execution")))
}

/// How many of the new Executions have no plan that could be read.
fn without_plan(preview: &Preview) -> usize {
    preview.starts.iter().filter(|start| start.nodes.is_none()).count()
}

/// A green sign over something that will not happen as it stands would be believed.
fn sign(preview: &Preview) -> &'static str {
    if preview.conflict || preview.count(Severity::Error) > 0 {
        "❌"
    } else if preview.held_back.is_some() || without_plan(preview) > 0 {
        "⚠️"
    } else {
        "✅"
    }
}

/// `message` is safe already.
fn alert(text: &mut String, kind: &str, message: &str) {
    text.push_str(&format!("\n> [!{kind}]\n> {message}\n"));
}

/// Twelve digits of a commit, when it is one.
fn commit(id: &str) -> String {
    // The id may come from a fork's report, and be anything.
    if id.len() >= 12 && id.chars().all(|c| c.is_ascii_hexdigit()) {
        code(&id.chars().take(12).collect::<String>(), 12)
    } else {
        code(id, 20)
    }
}

fn bullet(text: &str) -> String {
    format!("* {}\n", sentence(text, SENTENCE))
}

/// A list, folded when it is long; `what` is what it lists.
fn list(title: &str, what: &str, items: Vec<String>) -> Option<PageSection> {
    if items.is_empty() {
        return None;
    }
    // A long list would push all that follows out of sight.
    let folded = (items.len() > OPEN_ITEMS).then(|| counted(items.len(), what));
    Some(PageSection { title: title.to_owned(), folded, lead: String::new(), items })
}

fn starts(starts: &[StartingExecution]) -> Vec<PageSection> {
    let item = |start: &StartingExecution| {
        let nodes = start.nodes.map(|nodes| format!(", {}", counted(nodes, "node"))).unwrap_or_default();
        let waits = if start.nodes.is_none() { ", which is missing or not valid" } else { "" };
        let execution = code(&start.execution, NAME);
        let plan = code(&start.plan, NAME);
        let mut text = format!("* {execution} of {plan}{nodes}{waits}\n");
        let providers = start.providers.iter().map(|provider| {
            format!("  * calls {} for {}\n", code(&provider.provider, NAME), first_of(&provider.nodes))
        });
        let gates = start.gates.iter().map(gate);
        for lines in [providers.collect::<Vec<_>>(), gates.collect()] {
            // A fork's report may name any number of them.
            text.extend(lines.iter().take(LINES).map(String::as_str));
            if let Some(more @ 1..) = lines.len().checked_sub(LINES) {
                text.push_str(&format!("  * … and {} more\n", grouped(more)));
            }
        }
        if !start.unbound.is_empty() {
            text.push_str(&format!("  * ⚠️ no provider is bound to {}\n", first_of(&start.unbound)));
        }
        text
    };
    let none_starts = starts.iter().all(|start| start.nodes.is_none());
    let title =
        if none_starts { "Executions that would wait for a plan" } else { "Executions that would start" };
    let items: Vec<String> = starts.iter().map(item).collect();
    if items.is_empty() {
        return Vec::new();
    }
    let section =
        |title: &str, items| PageSection { title: title.to_owned(), items, ..PageSection::default() };
    if starts.len() <= OPEN_EXECUTIONS {
        return vec![section(title, items)];
    }
    let each = PageSection { folded: Some("Each of them".to_owned()), ..section("", items) };
    vec![section(title, by_plan(starts)), each]
}

/// How many Executions of each plan there are: thirty names in a row say less.
fn by_plan(starts: &[StartingExecution]) -> Vec<String> {
    let mut counts: BTreeMap<(&str, Option<usize>), usize> = BTreeMap::new();
    for start in starts {
        *counts.entry((start.plan.as_str(), start.nodes)).or_default() += 1;
    }
    let line = |((plan, nodes), count): (&(&str, Option<usize>), &usize)| {
        let nodes = match nodes {
            Some(nodes) => format!(", {} each", counted(*nodes, "node")),
            None => ", which is missing or not valid".to_owned(),
        };
        format!("* {} of {}{nodes}\n", grouped(*count), code(plan, NAME))
    };
    let mut lines: Vec<String> = counts.iter().take(LINES).map(line).collect();
    if let Some(more @ 1..) = counts.len().checked_sub(LINES) {
        lines.push(format!("* … and {} more plans\n", grouped(more)));
    }
    lines
}

/// The first of some names, and how many more there are.
fn first_of(names: &[String]) -> String {
    let mut shown: Vec<String> = names.iter().take(OPEN_ITEMS).map(|name| code(name, NAME)).collect();
    if let Some(more @ 1..) = names.len().checked_sub(OPEN_ITEMS) {
        shown.push(format!("{} more", grouped(more)));
    }
    shown.join(", ")
}

/// Who has to agree before it goes on, and how many of them.
fn gate(gate: &PreviewGate) -> String {
    // A gate without reviewers is open to whoever may write, which a reader would not guess from an empty list.
    let who = match gate.reviewers.as_slice() {
        [] => "anyone with write access".to_owned(),
        reviewers => {
            let (owners, named): (Vec<String>, Vec<String>) =
                reviewers.iter().cloned().partition(|entry| means_code_owners(entry));
            // Who they are is known when the work is done: they follow from the files that it changes.
            let owners = (!owners.is_empty()).then(|| "the code owners of what the work changes".to_owned());
            let named = (!named.is_empty()).then(|| first_of(&named));
            owners.into_iter().chain(named).collect::<Vec<_>>().join(" or ")
        }
    };
    let count = counted(gate.approvals as usize, "approval");
    format!("  * waits at {} for {count} by {who}\n", code(&gate.node, 63))
}

/// The Executions that run something, those together that run the same of one plan: thirty of them are thirty times the same list.
fn with_same_commands(starts: &[StartingExecution]) -> Vec<(&StartingExecution, usize)> {
    let mut found: Vec<(&StartingExecution, usize)> = Vec::new();
    let mut places: HashMap<(&str, String), usize> = HashMap::new();
    for start in starts.iter().filter(|start| !start.commands.is_empty()) {
        // By their text: a fork's report may hold thousands, which must not be compared pair by pair.
        let commands = serde_json::to_string(&start.commands).unwrap_or_default();
        let place = *places.entry((start.plan.as_str(), commands)).or_insert(found.len());
        match found.get_mut(place) {
            Some((_, count)) => *count += 1,
            None => found.push((start, 1)),
        }
    }
    found
}

/// What Executions would run, and which files that may change: folded, because it is read by those who are about to let it run
/// and by nobody else.
fn commands((start, count): (&StartingExecution, usize)) -> PageSection {
    let item = |command: &PreviewCommand| {
        let mut files = String::new();
        if command.keeps_changes {
            files.push_str("; may change ");
            files.push_str(&if command.allow.is_empty() {
                "any file".to_owned()
            } else {
                first_of(&command.allow)
            });
            if !command.deny.is_empty() {
                files.push_str(&format!(" but not {}", first_of(&command.deny)));
            }
        }
        let line = code(&command.command, SENTENCE);
        format!("* {}: {line}{files}\n", code(&command.node, 63))
    };
    let others = match count.saturating_sub(1) {
        0 => String::new(),
        others => format!(" and {} more of <code>{}</code>", grouped(others), markdown(&start.plan, NAME)),
    };
    let title = format!("What <code>{}</code>{others} would run", markdown(&start.execution, NAME));
    PageSection {
        folded: Some(title),
        items: start.commands.iter().map(item).collect(),
        ..PageSection::default()
    }
}

fn resources(preview: &Preview, sections: &mut Vec<PageSection>) {
    let named = |keys: &[String]| keys.iter().map(|key| format!("* {}\n", code(key, NAME))).collect();
    sections.extend(list("Created", "resource", named(&preview.created)));
    if !preview.changed.is_empty() {
        sections.push(PageSection::heading("Changed"));
        sections.extend(preview.changed.iter().map(changed));
    }
    sections.extend(list("Deleted", "resource", named(&preview.deleted)));
}

fn changed(change: &ChangedResource) -> PageSection {
    let what = if change.fields.is_empty() {
        "written differently, with the same meaning".to_owned()
    } else {
        counted(change.fields.len(), "field")
    };
    // Within the line to click on, a host reads HTML and no Markdown.
    let title = format!("<code>{}</code>: {what}", markdown(&change.resource, NAME));
    PageSection {
        folded: Some(title),
        items: change.fields.iter().map(field).collect(),
        ..PageSection::default()
    }
}

fn field(field: &ChangedField) -> String {
    let value = |value: &Value| match code(&value.to_string(), VALUE) {
        shown if shown.is_empty() => "nothing".to_owned(),
        shown => shown,
    };
    let what = match (&field.old, &field.new) {
        (Some(old), Some(new)) => format!(": {} → {}", value(old), value(new)),
        (None, Some(new)) => format!(": added {}", value(new)),
        (Some(old), None) => format!(": removed {}", value(old)),
        (None, None) => String::new(),
    };
    format!("* {}{what}\n", code(&field.path, NAME))
}
