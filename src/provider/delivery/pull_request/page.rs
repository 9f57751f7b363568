//! The text of a pull request: what was wanted, what changed, what was seen of it, who approved. Every text of manifests and of
//! tasks is made harmless here; nobody is mentioned.

use std::fmt::Write as _;

use crate::markup::{code, markdown, one_line, paragraphs};
use crate::provider::{Attempt, UpstreamNode};

/// How the text begins.
const MARKER: &str = "<!-- planspec:delivery ";

/// The most characters of one text of a manifest.
const TEXT: usize = 4_000;

/// The most nodes that are listed; the host takes 65,536 characters.
const ENTRIES: usize = 100;

/// The work key in the hidden mark that a text begins with.
pub(super) fn work_of(body: &str) -> Option<&str> {
    // Only where the text begins: further down stand texts of manifests, in which somebody could write a mark.
    Some(body.strip_prefix(MARKER)?.split_once(" -->")?.0)
}

/// The title.
pub(super) fn title(attempt: &Attempt) -> String {
    let brief = &attempt.brief;
    let first = |text: &str| text.lines().next().unwrap_or_default().trim().to_owned();
    let goal = brief.goal.as_ref().map(|goal| first(&goal.description));
    let said = [brief.title.clone(), brief.task.as_deref().map(first), goal, Some(first(&brief.plan))];
    let said = said.into_iter().flatten().find(|text| !text.is_empty()).unwrap_or_default();
    let title = format!("{} ({}/{})", one_line(&said, 150), attempt.key.namespace, attempt.key.name);
    // A space of no width, so that nothing downstream takes a word for a mention.
    title.replace('@', "@\u{200b}")
}

/// The text; of a draft, it says what an approval does.
pub(super) fn body(attempt: &Attempt, dashboard: Option<&str>, is_draft: bool) -> String {
    let execution = code(&format!("{}/{}", attempt.key.namespace, attempt.key.name), 200);
    let mut text = format!("{MARKER}{} -->\nThe work of the Execution {execution}", attempt.work);
    if let Some(address) = dashboard {
        let _ = write!(text, " ([its graph and status]({address}))");
    }
    text.push_str(".\n");
    let brief = &attempt.brief;
    if let Some(goal) = &brief.goal {
        let _ = writeln!(text, "\n## The goal\n\n{}", paragraphs(&goal.description, TEXT));
    }
    if !brief.plan.trim().is_empty() {
        let _ = writeln!(text, "\n## The plan\n\n{}", paragraphs(&brief.plan, TEXT));
    }
    let nodes = &attempt.upstream.nodes;
    let changed: Vec<&UpstreamNode> = nodes.iter().filter(|node| node.result.is_some()).collect();
    if !changed.is_empty() {
        text.push_str("\n## What changed\n\n");
    }
    for node in changed.iter().take(ENTRIES) {
        change(&mut text, node);
    }
    approvals(&mut text, nodes);
    let commit = code(attempt.upstream.commit.as_deref().unwrap_or_default(), 64);
    let node = code(attempt.node.as_str(), 100);
    text.push_str("\n## What happens next\n\n");
    if is_draft {
        let _ = write!(
            text,
            "A Gate asks for an approval before this is delivered. An approving review of exactly {commit}, by somebody who may \
             decide at the Gate, answers it; so does a comment or a command. Then this becomes ready to be merged. "
        );
    }
    let _ = writeln!(
        text,
        "Merging exactly {commit} completes the node {node}; closing this pull request fails it. \
         A review that requests changes is shown at the node. If commits are pushed onto this branch, what is merged is not the \
         work of the plan any more, and the node fails."
    );
    text
}

fn change(text: &mut String, node: &UpstreamNode) {
    let Some(result) = &node.result else { return };
    let _ = write!(text, "- {}", code(node.id.as_str(), 100));
    if !node.title.trim().is_empty() {
        let _ = write!(text, ": {}", markdown(&node.title, 200));
    }
    let word = if result.files == 1 { "file" } else { "files" };
    let _ = writeln!(text, " ({} {word}, +{} −{})", result.files, result.insertions, result.deletions);
    for criterion in node.criteria.iter().take(ENTRIES) {
        let mark = if criterion.passed { "✅" } else { "❌" };
        let _ = writeln!(text, "  - {mark} {}", markdown(&criterion.name, 200));
    }
}

fn approvals(text: &mut String, nodes: &[UpstreamNode]) {
    let approved = nodes.iter().filter_map(|node| Some((node, node.approval.as_ref()?)));
    for (index, (node, by)) in approved.take(ENTRIES).enumerate() {
        if index == 0 {
            text.push_str("\n## Approvals\n\n");
        }
        let _ = writeln!(text, "- {}: {}", code(node.id.as_str(), 100), markdown(by, 500));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::provider::{UpstreamWork, sample};

    #[test]
    fn the_text_says_what_changed_and_who_approved_and_nothing_in_it_is_taken_for_markdown() {
        let mut attempt = sample::attempt("ship");
        let result = json!({ "commit": "c", "base": "b", "files": 2, "insertions": 3, "deletions": 1 });
        let criterion = json!({ "name": "tests", "passed": true, "required": true, "durationMillis": 1 });
        attempt.upstream = Arc::new(UpstreamWork {
            commit: Some("abc".to_owned()),
            nodes: vec![
                UpstreamNode {
                    id: "implement".parse().unwrap(),
                    title: "<!-- @everybody ](x) -->".to_owned(),
                    result: serde_json::from_value(result).unwrap(),
                    criteria: vec![serde_json::from_value(criterion).unwrap()],
                    reworks: 0,
                    approval: None,
                },
                UpstreamNode {
                    id: "review".parse().unwrap(),
                    title: String::new(),
                    result: None,
                    criteria: Vec::new(),
                    reworks: 0,
                    approval: Some("approved by wendy".to_owned()),
                },
            ],
            ..UpstreamWork::default()
        });
        let text = body(&attempt, None, false);
        assert_eq!(work_of(&text), Some("uid/ship/1"));
        assert!(text.contains("(2 files, +3 −1)\n  - ✅ tests"), "{text}");
        assert!(text.contains("- `review`: approved by wendy"), "{text}");
        assert_eq!(text.matches("<!--").count(), 1, "{text}");
        assert!(!text.contains("@everybody"), "{text}");
        assert_eq!(work_of(&format!("x{text}")), None);
        let draft = body(&attempt, None, true);
        assert!(draft.contains("An approving review of exactly `abc`"), "{draft}");
        assert!(!text.contains("An approving review"), "{text}");
    }
}
