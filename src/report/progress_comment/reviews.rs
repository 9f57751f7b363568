//! What reviewers said about the executions: who, when, in which words, and for which commit.

use jiff::Timestamp;

use super::ExecutionProgress;
use super::picture::time;
use crate::markup::{code, grouped, markdown};
use crate::model::ReviewAction;
use crate::report::markdown::PageSection;

/// The most reviews that are shown; a gate that is asked by thirty Executions has as many.
const SHOWN: usize = 30;

/// A review, as the record of its gate has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReviewLine {
    /// The gate, as `NAMESPACE/NAME`.
    pub gate: String,
    /// Who.
    pub who: String,
    /// What they said.
    pub action: ReviewAction,
    /// When.
    pub at: Timestamp,
    /// In their words.
    pub words: Option<String>,
    /// The desired commit that it is bound to (Invariant 11).
    pub commit: String,
}

/// The section of the reviews; none without any.
pub(super) fn reviews(executions: &[&ExecutionProgress]) -> Option<PageSection> {
    let all: Vec<(&ExecutionProgress, &ReviewLine)> = executions
        .iter()
        .flat_map(|standing| standing.reviews.iter().map(move |review| (*standing, review)))
        .collect();
    if all.is_empty() {
        return None;
    }
    let mut items: Vec<String> =
        all.iter().take(SHOWN).map(|(standing, review)| row(standing, review)).collect();
    if let Some(more @ 1..) = all.len().checked_sub(SHOWN) {
        items.push(format!("\n… and {} more: `planspec describe gate/NAME`.\n", grouped(more)));
    }
    Some(PageSection {
        title: "Reviews".to_owned(),
        lead:
            "| Gate | Who | Said | When | Commit | In their words |\n| --- | --- | --- | --- | --- | --- |\n"
                .to_owned(),
        items,
        ..PageSection::default()
    })
}

fn row(standing: &ExecutionProgress, review: &ReviewLine) -> String {
    let said = match review.action {
        ReviewAction::Approve => "✅ approved",
        ReviewAction::Reject => "❌ rejected",
        ReviewAction::Comment => "commented",
    };
    // Whoever can push the status branch wrote this, so that nothing but digits is taken for a commit.
    let commit: String = review.commit.chars().filter(char::is_ascii_hexdigit).take(8).collect();
    let gate = format!("{} for {}", code(&review.gate, 200), code(standing.key.name.as_str(), 63));
    // As code: a name in the open would mention its owner at each edit.
    let who = code(&review.who, 100);
    let words = markdown(review.words.as_deref().unwrap_or_default(), 300);
    let commit = code(if commit.is_empty() { "-" } else { &commit }, 8);
    format!("| {gate} | {who} | {said} | {} | {commit} | {words} |\n", time(review.at))
}
