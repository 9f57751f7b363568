//! The first line of the progress: mail and lists of comments show it alone, so that it answers the question that brings people
//! here, in words. What the executions of the page have in common stands below it.

use std::collections::BTreeMap;

use super::{ExecutionProgress, WaitLine, place};
use crate::markup::{code, grouped, sentence};
use crate::model::{ApprovalCount, ExecutionPhase, NodeId};

/// How many names a title has; the rest is counted.
const MOST_NAMES: usize = 3;

/// What a page is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PageSubject {
    /// What one merge introduced.
    Change,
    /// What one merge took away.
    Removal,
    /// What one merge introduced, and what it took away.
    Replacement,
    /// What one pass came by, whoever introduced it.
    Pass,
    /// Everything that has a record.
    Repository,
}

/// The title, and what the page is about.
pub(super) fn head(executions: &[ExecutionProgress], subject: PageSubject) -> String {
    let title = match executions {
        [only] => title(only),
        several => counts(several),
    };
    let about = match (subject, executions.len()) {
        (PageSubject::Change, 1) => "The execution introduced by this change.",
        (PageSubject::Change, _) => "Executions introduced by this change.",
        (PageSubject::Removal, 1) => "The execution that this change removed.",
        (PageSubject::Removal, _) => "Executions that this change removed.",
        (PageSubject::Replacement, _) => "Executions that this change introduced or removed.",
        (PageSubject::Pass, 0) => "No execution changed in this pass, and none waits.",
        (PageSubject::Pass, 1) => "The execution that changed in this pass, or waits.",
        (PageSubject::Pass, _) => "Executions that changed in this pass, or wait.",
        (PageSubject::Repository, _) => "All executions of this repository.",
    };
    format!("## {title}\n\n{about}\n")
}

/// How many executions are how far.
fn counts(executions: &[ExecutionProgress]) -> String {
    let mut counts: BTreeMap<usize, (ExecutionPhase, usize)> = BTreeMap::new();
    for standing in executions {
        let phase = standing.status.phase;
        counts.entry(place(phase)).or_insert((phase, 0)).1 += 1;
    }
    let has = |phase| executions.iter().any(|standing| standing.status.phase == phase);
    let over = executions.iter().all(|standing| standing.status.phase.is_terminal());
    let sign = match (has(ExecutionPhase::Failed), over) {
        (true, _) => "❌",
        (false, true) if has(ExecutionPhase::Cancelled) => "⊘",
        (false, true) => "✅",
        (false, false) => "⏳",
    };
    let words: Vec<String> = counts
        .into_values()
        .map(|(phase, count)| format!("{} {}", grouped(count), word(phase, count)))
        .collect();
    match words.is_empty() {
        true => format!("{sign} planspec: no executions"),
        false => format!("{sign} planspec: {}", words.join(", ")),
    }
}

fn word(phase: ExecutionPhase, count: usize) -> &'static str {
    match phase {
        ExecutionPhase::Failed => "failed",
        ExecutionPhase::Blocked if count == 1 => "waits",
        ExecutionPhase::Blocked => "wait",
        ExecutionPhase::Running => "running",
        ExecutionPhase::Pending => "not started",
        ExecutionPhase::Cancelled => "cancelled",
        ExecutionPhase::Succeeded => "succeeded",
    }
}

/// How a single execution is doing, in a line.
fn title(standing: &ExecutionProgress) -> String {
    let name = code(standing.key.name.as_str(), 63);
    let failed = names(standing.failed().map(|(id, _)| id));
    // Other branches may have failed meanwhile, which nobody would look for below a title that only waits.
    let besides = if failed.is_empty() { String::new() } else { format!("; {failed} failed") };
    match standing.status.phase {
        ended @ (ExecutionPhase::Failed | ExecutionPhase::Succeeded) if standing.is_removed => {
            format!("⊘ {name} was removed after it {}", word(ended, 1))
        }
        ExecutionPhase::Failed if failed.is_empty() => format!("❌ {name} failed"),
        ExecutionPhase::Failed => format!("❌ {name} failed at {failed}"),
        ExecutionPhase::Cancelled => match &standing.status.message {
            // A revert is a reason that people look for, unlike a command that somebody has just given.
            Some(why) if standing.is_removed => format!("⊘ {name} was cancelled: {}", sentence(why, 120)),
            _ => format!("⊘ {name} was cancelled"),
        },
        ExecutionPhase::Succeeded => format!("✅ {name} succeeded"),
        ExecutionPhase::Blocked => format!("⏳ {name} {}{besides}", waits(&standing.waits)),
        ExecutionPhase::Running | ExecutionPhase::Pending if standing.held().next().is_some() => {
            let held: Vec<WaitLine> = standing.held().cloned().collect();
            format!("⏳ {name} {}{besides}", waits(&held))
        }
        ExecutionPhase::Running | ExecutionPhase::Pending => {
            let done = standing.nodes().filter(|(_, node)| node.phase.is_terminal()).count();
            let all = standing.nodes().count();
            format!("⏳ {name} is running: {} of {} nodes done{besides}", grouped(done), grouped(all))
        }
    }
}

fn names<'a>(ids: impl Iterator<Item = &'a NodeId>) -> String {
    let mut ids: Vec<String> = ids.map(|id| code(id.as_str(), 63)).collect();
    let more = ids.split_off(MOST_NAMES.min(ids.len())).len();
    if more > 0 {
        ids.push(format!("{} more", grouped(more)));
    }
    ids.join(", ")
}

/// For whom somebody waits, and how many have answered: `waits for alice (0 of 2)`.
fn waits(waits: &[WaitLine]) -> String {
    let Some(first) = waits.first() else { return "waits".to_owned() };
    let count = first.gate.as_ref().and_then(|_| ApprovalCount::read(&first.message));
    let count = count.map(|count| format!(" ({} of {})", count.given, count.needed)).unwrap_or_default();
    let more = match waits.len() {
        1 => String::new(),
        all => format!(", and at {} more", grouped(all - 1)),
    };
    match awaited(first, MOST_NAMES) {
        Some(whom) => format!("waits for {whom}{count}{more}"),
        None => format!("waits: {}{more}", sentence(&first.message, 120)),
    }
}

/// Whom somebody waits for, so many of them; none where it is nobody in particular.
pub(super) fn awaited(wait: &WaitLine, most: usize) -> Option<String> {
    // As code, so that a page which is edited again and again notifies nobody.
    let name = |name: &String| match (name.strip_prefix("login:"), name.strip_prefix("team:")) {
        (Some(login), _) => code(&format!("@{}", login.trim()), 100),
        (_, Some(team)) => format!("team {}", code(team.trim(), 100)),
        _ => code(name.strip_prefix("user:").unwrap_or(name), 100),
    };
    let mut people: Vec<String> = wait.people.iter().take(most).map(name).collect();
    let more = wait.people.len().saturating_sub(people.len());
    if more > 0 {
        people.push(format!("{} more", grouped(more)));
    }
    match people.is_empty() {
        false => Some(people.join(", ")),
        // A gate without reviewers is open to whoever may write. An Execution as a whole waits for what holds it.
        true => wait
            .command
            .as_ref()
            .filter(|_| wait.node.is_some())
            .map(|_| "anyone with write access".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::{Kind, ResourceKey};

    fn wait(people: &[&str], message: &str) -> WaitLine {
        WaitLine {
            people: people.iter().map(ToString::to_string).collect(),
            message: message.to_owned(),
            gate: Some(ResourceKey::new(Kind::Gate, "n".parse().unwrap(), "g".parse().unwrap())),
            node: Some("look".parse().unwrap()),
            command: Some("/planspec approve ship-1/look".to_owned()),
            ..WaitLine::default()
        }
    }

    fn said(status: serde_json::Value, graph: serde_json::Value, waits: Vec<WaitLine>) -> String {
        title(&ExecutionProgress {
            key: ResourceKey::new(Kind::Execution, "n".parse().unwrap(), "ship-1".parse().unwrap()),
            status: serde_json::from_value(status).unwrap(),
            graph: serde_json::from_value(graph).ok(),
            waits,
            reviews: Vec::new(),
            address: None,
            is_removed: false,
        })
    }

    #[test]
    fn a_title_says_whom_it_waits_for_and_how_many_have_answered() {
        let blocked = json!({ "phase": "Blocked" });
        let title = |waits| said(blocked.clone(), json!(null), waits);
        let message = "gate `look` has 0 of 2 approvals; alice's was for another commit";
        assert_eq!(title(vec![wait(&["login:alice"], message)]), "⏳ `ship-1` waits for `@alice` (0 of 2)");
        assert_eq!(
            title(vec![wait(&["user:a", "team:core", "@o/t", "d"], message), wait(&[], "")]),
            "⏳ `ship-1` waits for `a`, team `core`, `@o/t`, 1 more (0 of 2), and at 1 more"
        );
        assert_eq!(title(vec![wait(&[], "x")]), "⏳ `ship-1` waits for anyone with write access");
        let held = WaitLine { message: "there is no Plan `p`".to_owned(), ..WaitLine::default() };
        assert_eq!(title(vec![held]), "⏳ `ship-1` waits: there is no Plan `p`");
    }

    #[test]
    fn what_holds_an_execution_as_a_whole_is_said_instead_of_its_phase() {
        let command = Some("/planspec resume ship-1".to_owned());
        let held = || WaitLine {
            message: "suspended by wendy".to_owned(),
            command: command.clone(),
            ..WaitLine::default()
        };
        for phase in ["Running", "Pending", "Blocked"] {
            let title = said(json!({ "phase": phase }), json!(null), vec![held()]);
            assert_eq!(title, "⏳ `ship-1` waits: suspended by wendy", "{phase}");
        }
        // A node that waits beside others that run holds nothing as a whole.
        let node = WaitLine { node: Some("look".parse().unwrap()), ..held() };
        let title = said(json!({ "phase": "Running" }), json!(null), vec![node]);
        assert_eq!(title, "⏳ `ship-1` is running: 0 of 0 nodes done");
    }

    /// A group that failed says nothing that the node in it does not say.
    #[test]
    fn groups_are_neither_counted_nor_named_beside_what_is_in_them() {
        let nodes = json!({
            "a": { "phase": "Failed", "attempt": 1 }, "b": { "phase": "Succeeded", "attempt": 1 },
            "c": { "phase": "Pending" }, "g": { "phase": "Failed" },
        });
        let graph = json!({ "nodes": [
            { "id": "g", "kind": "Group", "children": ["a", "b"] }, { "id": "a", "kind": "Task" },
            { "id": "b", "kind": "Task" }, { "id": "c", "kind": "Task" },
        ] });
        let title =
            |phase: &str| said(json!({ "phase": phase, "nodeStatuses": nodes }), graph.clone(), Vec::new());
        assert_eq!(title("Failed"), "❌ `ship-1` failed at `a`");
        assert_eq!(title("Running"), "⏳ `ship-1` is running: 2 of 3 nodes done; `a` failed");
        assert_eq!(title("Blocked"), "⏳ `ship-1` waits; `a` failed");
    }
}
