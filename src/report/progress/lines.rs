//! The wording of events: which lines an event makes, for people.

use jiff::Timestamp;

use super::DetailLevel;
use crate::diagnostic::{Diagnostic, Severity};
use crate::event::{Event, ResourceChange, Waiting};
use crate::model::{NextStep, NodePhase, ResourceKey};
use crate::report::style::Tone;
use crate::report::{age, text};

/// The lines of one event, made safe and coloured, without line ends.
pub(super) fn of(event: &Event, detail: DetailLevel) -> Vec<String> {
    match event {
        Event::PassStarted { at, desired, status, runner, .. } if detail == DetailLevel::Verbose => {
            let status = status.as_deref().map_or("no status yet", text::short_commit);
            let runner = text::line(runner);
            vec![stamped(
                *at,
                &format!("pass: desired {}, status {status}, runner {runner}", text::short_commit(desired)),
            )]
        }
        Event::Published { at, commit, subject } if detail == DetailLevel::Verbose => {
            vec![stamped(
                *at,
                &Tone::Muted.paint(format!(
                    "published {} {}",
                    text::short_commit(commit),
                    text::line(subject)
                )),
            )]
        }
        Event::Diagnostic(diagnostic) => vec![finding(diagnostic)],
        Event::Resource { at, key, change, phase, message } if detail >= DetailLevel::Normal => {
            vec![stamped(*at, &resource(key, *change, phase, message))]
        }
        // Quiet output still says how each Execution ended.
        Event::Execution { at, key, to, message, .. }
            if detail >= DetailLevel::Normal || to.is_terminal() =>
        {
            let tone = Tone::of_phase(to.as_str());
            vec![stamped(*at, &format!("{} {}{}", subject(key), tone.paint(to), because(message)))]
        }
        // Quiet output also names the nodes that failed, which is what a log of CI is searched for.
        Event::Node { at, key, node, to, message, attempt, .. }
            if detail >= DetailLevel::Normal || *to == NodePhase::Failed =>
        {
            let tone = Tone::of_phase(to.as_str());
            let attempt = if *attempt > 0 { format!(" (attempt {attempt})") } else { String::new() };
            vec![stamped(
                *at,
                &format!("{} {node} {}{attempt}{}", subject(key), tone.paint(to), because(message)),
            )]
        }
        // What tasks print would bury the transitions, and `planspec logs` keeps it.
        Event::Output { key, node, line } if detail == DetailLevel::Verbose => {
            vec![format!("{} {}", Tone::Muted.paint(format!("{} {node} |", subject(key))), text::line(line))]
        }
        Event::Note { message } => vec![format!("{} {}", Tone::Waiting.paint("note:"), text::line(message))],
        Event::Finished { commits, started, waiting, failed, .. } => {
            finished(*commits, *started, waiting, failed, detail)
        }
        Event::DryRunEnded { records, starts, more, .. } => vec![foreseen(*records, *starts, *more)],
        _ => Vec::new(),
    }
}

/// What counts nodes that were skipped after those that have a line each.
pub(super) fn skipped(key: &ResourceKey, at: Timestamp, more: u32) -> String {
    let phase = NodePhase::Skipped;
    let tone = Tone::of_phase(phase.as_str());
    stamped(at, &format!("{} and {} {}", subject(key), counted(more, "more node"), tone.paint(phase)))
}

fn finished(
    commits: u32,
    started: u32,
    waiting: &[Waiting],
    failed: &[ResourceKey],
    detail: DetailLevel,
) -> Vec<String> {
    let mut lines: Vec<String> = failed
        .iter()
        .flat_map(|key| {
            [
                format!("{} {}", Tone::Bad.paint("failed:"), subject(key)),
                format!("  run: {}", Tone::Strong.paint(NextStep::logs(key))),
            ]
        })
        .chain(waiting.iter().flat_map(waits))
        .collect();
    if detail >= DetailLevel::Normal {
        // A second reconcile changes nothing (Invariant 5), and people want to see that it did.
        lines.push(if commits == 0 && started == 0 {
            "nothing to do".to_owned()
        } else {
            format!("done: {}, {} started", counted(commits, "status commit"), counted(started, "attempt"))
        });
    }
    lines
}

/// The last line of a dry run.
fn foreseen(records: usize, starts: usize, more: bool) -> String {
    if records == 0 {
        return "nothing to do".to_owned();
    }
    let attempts = if starts == 1 { "attempt" } else { "attempts" };
    let first = if more { ", and go on with more after that" } else { "" };
    let changed = if records == 1 { "record" } else { "records" };
    format!(
        "a reconcile would change {records} {changed} and start {starts} {attempts}{first}; nothing was recorded or started"
    )
}

/// What waits, for what, and what the user may run.
fn waits(waiting: &Waiting) -> Vec<String> {
    let node = waiting.node.as_ref().map(|node| format!(" {node}")).unwrap_or_default();
    let until = waiting.until.map(|at| format!(", until {}", age::moment(at))).unwrap_or_default();
    let message = if waiting.message.is_empty() { &waiting.reason } else { &waiting.message };
    let mut lines = vec![format!(
        "{} {}{node}: {}{until}",
        Tone::Waiting.paint("waiting:"),
        subject(&waiting.key),
        text::line(message)
    )];
    if let Some(command) = &waiting.command {
        lines.push(format!("  run: {}", Tone::Strong.paint(text::line(command))));
    }
    lines
}

fn resource(key: &ResourceKey, change: ResourceChange, phase: &str, message: &str) -> String {
    let change = match change {
        ResourceChange::Created => "created",
        ResourceChange::Configured => "configured",
        ResourceChange::Deleted => return format!("{key} deleted{}", because(message)),
    };
    let phase = Tone::of_phase(phase).paint(text::line(phase));
    format!("{key} {change}, {phase}{}", because(message))
}

/// A diagnostic on one line; annotated source is for `validate`.
fn finding(diagnostic: &Diagnostic) -> String {
    let (word, tone) = match diagnostic.severity {
        Severity::Error => ("error", Tone::Bad),
        Severity::Warning => ("warning", Tone::Waiting),
        Severity::Note => ("note", Tone::Muted),
    };
    let place = &diagnostic.location;
    // `PATH:LINE:COLUMN` is what terminals and editors make a link of.
    let position = place.span.map(|span| format!(":{}:{}", span.line, span.column)).unwrap_or_default();
    format!(
        "{} {}{position}: {}",
        tone.paint(format!("{word}[{}]:", diagnostic.code)),
        text::line(&place.path),
        text::line(&diagnostic.message)
    )
}

/// Executions are named `NAMESPACE/NAME`: most lines are about them.
fn subject(key: &ResourceKey) -> String {
    format!("{}/{}", key.namespace, key.name)
}

fn because(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {}", text::line(message)) }
}

fn stamped(at: Timestamp, line: &str) -> String {
    format!("{} {line}", Tone::Muted.paint(age::clock(at)))
}

fn counted(count: u32, word: &str) -> String {
    if count == 1 { format!("1 {word}") } else { format!("{count} {word}s") }
}
