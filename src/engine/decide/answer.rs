//! Answering what a provider asks back.

use super::target::DecisionTarget;
use super::{Actor, DecisionEffect, refuse};
use crate::engine::EngineError;
use crate::engine::snapshot::Snapshot;
use crate::model::{NodeId, NodeReason, QuestionAnswer, ResourceKey};
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
    let Some(state) = case.status().node_statuses.get(id) else {
        return refuse(format!("{key} has no node `{id}`"));
    };
    let extensions = &state.extensions;
    if !(state.is_remote() && extensions.reason == Some(NodeReason::InputRequired)) {
        return refuse(format!("nobody asks anything at node `{id}`, which is {}", state.phase));
    }
    // A text that is older than the question answers an earlier one (Invariant 11).
    actor.answers(extensions.blocked_since, "the question")?;
    if let Some(decided) = &extensions.decided {
        return refuse(format!("node `{id}` is {} already", decided.message));
    }
    // Not replaced: a reconcile may be passing it on just now.
    if let Some(given) = &extensions.answer {
        return refuse(format!("{} answered already; the next `planspec reconcile` passes it on", given.by));
    }
    if text.trim().is_empty() || text.len() > LONGEST_ANSWER || text.contains('\0') {
        return refuse(format!("an answer has some text, and at most {LONGEST_ANSWER} bytes"));
    }
    let given = QuestionAnswer { by: actor.name.clone(), at: actor.at, text: text.to_owned() };
    case.draft.node(id, NodeChange::Answer(given), actor.at);
    let mut verdict = DecisionEffect::default();
    case.close(&mut verdict, actor, "Answered", &format!("node {id} answered"));
    Ok(verdict)
}
