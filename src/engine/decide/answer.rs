//! Answering what a provider asks back.

use super::target::DecisionTarget;
use super::{Actor, DecisionEffect, refuse};
use crate::engine::EngineError;
use crate::engine::snapshot::Snapshot;
use crate::model::{BudgetGrant, NodeId, NodePhase, NodeReason, QuestionAnswer, ResourceKey};
use crate::run::NodeChange;

/// The longest answer, in bytes.
const LONGEST_ANSWER: usize = 16 << 10;

/// A person answers what the provider of a node asks; the next reconcile passes it on.
pub(super) fn answer(
    snapshot: &Snapshot,
    actor: &Actor<'_>,
    key: &ResourceKey,
    id: &NodeId,
    text: &str,
) -> Result<DecisionEffect, EngineError> {
    let mut case = DecisionTarget::open(snapshot, key)?;
    case.is_merged(snapshot)?;
    let Some(state) = case.status().node_statuses.get(id) else {
        return refuse(format!("{key} has no node `{id}`"));
    };
    let extensions = &state.extensions;
    if state.phase == NodePhase::Blocked && extensions.reason == Some(NodeReason::BudgetSpent) {
        return grant(case, actor, id, text);
    }
    if !(state.is_remote() && extensions.reason == Some(NodeReason::InputRequired)) {
        return refuse(format!("node `{id}` has no open question; it is {}", state.phase));
    }
    // A text that is older than the question answers an earlier one (Invariant 11).
    actor.answers(extensions.blocked_since, "the question")?;
    if let Some(decided) = &extensions.decided {
        return refuse(format!("node `{id}` is already {}", decided.message));
    }
    // Not replaced: a reconcile may be passing it on just now.
    if let Some(given) = &extensions.answer {
        return refuse(format!("{} already answered; the next `planspec reconcile` passes it on", given.by));
    }
    check(text)?;
    let given = QuestionAnswer { by: actor.name.clone(), at: actor.at, text: text.to_owned() };
    case.draft.node(id, NodeChange::Answer(given), actor.at);
    let mut verdict = DecisionEffect::default();
    case.close(&mut verdict, actor, "Answered", &format!("node {id} answered"));
    Ok(verdict)
}

fn check(text: &str) -> Result<(), EngineError> {
    if text.trim().is_empty() || text.len() > LONGEST_ANSWER || text.contains('\0') {
        return refuse(format!("an answer must not be empty, and may have at most {LONGEST_ANSWER} bytes"));
    }
    Ok(())
}

/// Whether an answer to "may it go on?" begins like a refusal. It is asked as people ask each other, and they answer in that way.
fn says_no(text: &str) -> bool {
    let first = text.split(|sign: char| !sign.is_alphanumeric()).find(|word| !word.is_empty());
    let no = ["no", "n", "nope", "never", "not", "stop"];
    first.is_some_and(|word| no.iter().any(|no| word.eq_ignore_ascii_case(no)))
}

/// A person lets work go on whose budget is spent, whatever else they say: whoever does not want it to go on says so with `fail`,
/// or not at all.
fn grant(
    mut case: DecisionTarget,
    actor: &Actor<'_>,
    id: &NodeId,
    text: &str,
) -> Result<DecisionEffect, EngineError> {
    let Some(state) = case.status().node_statuses.get(id) else {
        return refuse(format!("{} has no node `{id}`", case.key));
    };
    actor.answers(state.extensions.blocked_since, "the question")?;
    check(text)?;
    if says_no(text) {
        return refuse(format!(
            "an answer lets node `{id}` go on, and this one sounds like a no: `planspec fail {}/{id}` ends it, and until somebody answers \
             it waits; `yes` lets it go on",
            case.key.name
        ));
    }
    let node = state.extensions.usage.unwrap_or_default();
    let execution = case.status().usage().unwrap_or_default();
    let by = actor.name.clone();
    let text = text.to_owned();
    let granted = BudgetGrant { by, at: actor.at, text, node, execution };
    // Once is enough: a second answer to the same question would change nothing but its words.
    let same = |known: &BudgetGrant| (known.node, known.execution) == (node, execution);
    if let Some(known) = state.extensions.granted.as_deref().filter(|known| same(known)) {
        return refuse(format!("{} already answered; the next `planspec reconcile` continues", known.by));
    }
    case.draft.node(id, NodeChange::Grant(Box::new(granted)), actor.at);
    let mut verdict = DecisionEffect::default();
    case.close(&mut verdict, actor, "Answered", &format!("node {id} may go on"));
    Ok(verdict)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_no_is_not_taken_for_a_yes() {
        assert!(["no", "No.", " n", "NO, stop it", "stop!", "not today"].into_iter().all(says_no));
        assert!(!["yes", "go on", "ok", "now", "northwards", "until noon", "!"].into_iter().any(says_no));
    }
}
