//! `accept-pin`: a person's way out when the desired branch was rewritten below an Execution.

use std::sync::Arc;

use super::execution::request;
use super::target::DecisionTarget;
use super::{Actor, DecisionEffect, refuse};
use crate::engine::EngineError;
use crate::engine::execution::active::terms;
use crate::engine::merged::MergedAnswer;
use crate::engine::snapshot::Snapshot;
use crate::engine::snapshot::metadata::first_seen;
use crate::engine::snapshot::pin_check::{PinCheck, check, instance_difference};
use crate::engine::snapshot::sources::sources;
use crate::git::ObjectId;
use crate::model::{PinnedGraph, ResourceKey};
use crate::plan::{LeaseState, lease_state};
use crate::record::PinKind;
use crate::run::ExecutionChange;

/// Pins an Execution to what the desired branch holds now, where that is the same spec and the same graph.
///
/// The record then names what was merged, and is checked like any other: a mark that said "accepted" could be written by anybody
/// who may push the status branch.
pub(super) fn accept(
    snapshot: &Snapshot,
    actor: &Actor<'_>,
    key: &ResourceKey,
    comment: Option<&str>,
) -> Result<DecisionEffect, EngineError> {
    let mut target = DecisionTarget::open(snapshot, key)?;
    if target.status().phase.is_terminal() {
        return refuse(format!("{key} is already {}", target.status().phase));
    }
    let Some(pinned) = target.status().extensions.pinned.clone() else {
        return refuse(format!("{key} is not pinned yet; the next reconcile does that"));
    };
    let lease = target.status().extensions.lease.clone();
    if let (LeaseState::Held(_), Some(lease)) =
        (lease_state(lease.as_ref(), actor.runner, terms(snapshot), actor.at, actor.at), &lease)
    {
        return refuse(format!("runner {} drives {key}; wait for it, or stop it first", lease.holder));
    }
    let mut effect = DecisionEffect::default();
    let checked = check(snapshot, key, target.metadata(), target.status(), &pinned)?;
    let why = match &checked {
        PinCheck::Holds(compiled) => match instance_difference(compiled, target.status()) {
            // What became of a node that is missing is written nowhere, so no pin can make up for it.
            Some(why) => return refuse(format!("{why}; restore its record, or cancel the execution")),
            None => None,
        },
        PinCheck::Mismatch(why) | PinCheck::Unknown(why) | PinCheck::Lost(why) => Some(why.clone()),
    };
    let Some(why) = why else {
        effect
            .lines
            .push(format!("execution/{} is pinned to merged state; there is nothing to accept", key.name));
        return Ok(effect);
    };
    if snapshot.present(key)?.is_some_and(|declared| declared.derived) {
        // Its uid is made of that of its owner, which a rewritten branch gives another one.
        return refuse(format!("{key} was made by its owner, and cannot be pinned anew ({why}); cancel it"));
    }
    let (graph, pins) = now_declared(snapshot, key, &target, &pinned)?;
    let commit = snapshot.desired.id;
    let named = snapshot.merged.was_named(&snapshot.repo, commit, key, &target.metadata().uid, commit)?;
    if named != MergedAnswer::Yes {
        // The commit that the uid named is gone from the branch, so this is the one that holds the Execution first.
        target.rename(first_seen(key, &snapshot.desired));
    }
    target.draft.execution(ExecutionChange::AcceptPin { graph, request: request(actor, comment) }, actor.at);
    target.pins = Some(pins);
    let said = format!("pinned to commit {} instead of {}: {why}", commit.short(), short(&pinned.commit));
    target.close_because(&mut effect, actor, ("PinAccepted", &said), comment);
    Ok(effect)
}

type NewPin = (PinnedGraph, Vec<(PinKind, ObjectId)>);

/// The pin of what is declared now. It has to be what was pinned: an approval, or a node that has ended, would else stand for
/// something that nobody has seen.
fn now_declared(
    snapshot: &Snapshot,
    key: &ResourceKey,
    target: &DecisionTarget,
    pinned: &PinnedGraph,
) -> Result<NewPin, EngineError> {
    let hint = "cancel it, and write a new Execution";
    let Some(declared) = snapshot.present(key)? else {
        return refuse(format!("the desired branch does not hold {key} any more; {hint}"));
    };
    if declared.quarantined.is_some() || target.status().spec_hash.as_ref() != Some(&declared.spec_digest) {
        return refuse(format!("{key} is another one on the desired branch now; {hint}"));
    }
    let (compiled, pins) = match sources(snapshot, key, &declared)? {
        Ok(found) => found,
        Err((_, why, _)) => return refuse(why),
    };
    let digest = compiled.digest.clone();
    if compiled.plan_key != pinned.plan || digest != pinned.graph_digest {
        return refuse(format!("{} is another one on the desired branch now; {hint}", compiled.plan_key));
    }
    let compiled = Arc::new(compiled);
    if let Some(why) = instance_difference(&compiled, target.status()) {
        return refuse(format!("{why}; {hint}"));
    }
    let goal = compiled.goal.as_ref().map(|(key, _)| key.clone());
    let graph = PinnedGraph {
        commit: snapshot.desired.id.to_string(),
        plan: compiled.plan_key.clone(),
        graph_digest: digest,
        goal,
    };
    Ok((graph, pins))
}

fn short(commit: &str) -> String {
    commit.chars().filter(char::is_ascii_alphanumeric).take(8).collect()
}
