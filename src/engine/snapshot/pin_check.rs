//! Pins are checked, not believed (Invariants 9 and 14): whoever may push the status branch could else make a commit run that
//! was never merged, or a plan without its gate.

use std::sync::Arc;

use super::Snapshot;
use super::pin::{NOT_THERE, PinnedManifests, manifests_of};
use crate::engine::EngineError;
use crate::engine::merged::{MergedAnswer, expected_spec};
use crate::git::ObjectId;
use crate::model::{ExecutionStatus, Kind, PinnedGraph, ResourceKey, Spec, StatusMetadata};
use crate::run::CompiledPlan;

/// What a check of the pin of an Execution came to.
#[derive(Debug)]
pub(crate) enum PinCheck {
    /// This is what was merged.
    Holds(Arc<CompiledPlan>),
    /// What is pinned was not merged like this.
    Mismatch(String),
    /// What it takes to know is not here.
    Unknown(String),
    /// There is nothing to check: why, for programs and in words.
    Lost(String),
}

/// Checks everything that a record says about what its Execution runs: pinned commit, pinned manifests, digests and uid.
pub(crate) fn check(
    snapshot: &Snapshot,
    key: &ResourceKey,
    metadata: &StatusMetadata,
    status: &ExecutionStatus,
    pinned: &PinnedGraph,
) -> Result<PinCheck, EngineError> {
    let Some(manifests) = manifests_of(snapshot, key, pinned)? else {
        return Ok(PinCheck::Lost(NOT_THERE.to_owned()));
    };
    // What needs no history first, so that a record which contradicts itself makes nobody fetch anything.
    if let Some(why) = contradiction(key, status, pinned, &manifests) {
        return Ok(PinCheck::Mismatch(why));
    }
    if let Some((derived, owner)) = &manifests.owner {
        let named = (key, metadata.uid.as_str());
        match expected_spec(named, derived, owner, &manifests.plan, manifests.goal.as_ref()) {
            Err(why) => return Ok(PinCheck::Mismatch(why)),
            Ok(spec) if spec != derived.spec => {
                return Ok(PinCheck::Mismatch(format!("{} makes another spec", owner.key())));
            }
            Ok(_) => {}
        }
    }
    let Ok(commit) = pinned.commit.parse::<ObjectId>() else {
        return Ok(PinCheck::Mismatch("the pinned commit is no commit id".to_owned()));
    };
    match was_merged(snapshot, key, metadata, commit, &manifests)? {
        MergedAnswer::No(why) => return Ok(PinCheck::Mismatch(why)),
        MergedAnswer::Unknown(why) => return Ok(PinCheck::Unknown(why)),
        MergedAnswer::Yes => {}
    }
    Ok(match manifests.compile(key) {
        Err(error) => PinCheck::Lost(error.to_string()),
        Ok(compiled) if compiled.plan.digest() != pinned.graph_digest => {
            PinCheck::Mismatch("graphDigest is not that of the pinned Plan".to_owned())
        }
        Ok(compiled) => PinCheck::Holds(compiled),
    })
}

/// Whether the pinned commit still is on the line of the desired branch, for a pin that was checked before.
pub(crate) fn check_commit(snapshot: &Snapshot, pinned: &PinnedGraph) -> Result<MergedAnswer, EngineError> {
    match pinned.commit.parse() {
        Ok(commit) => snapshot.merged.was_tip(&snapshot.repo, snapshot.desired.id, commit),
        Err(_) => Ok(MergedAnswer::No("the pinned commit is no commit id".to_owned())),
    }
}

/// How the nodes of a record differ from those of its graph, in words. A node that is left out would never run, and its
/// Execution would succeed all the same.
pub(crate) fn node_difference(compiled: &CompiledPlan, status: &ExecutionStatus) -> Option<String> {
    if let Some(node) = compiled.ids.iter().find(|id| !status.node_statuses.contains_key(*id)) {
        return Some(format!("the record has no node `{node}`, which the pinned Plan has"));
    }
    if status.node_statuses.len() == compiled.ids.len() {
        return None;
    }
    let extra = status.node_statuses.keys().find(|id| compiled.topology.find(id.as_str()).is_none());
    extra.map(|node| format!("the record has a node `{node}`, which the pinned Plan lacks"))
}

fn contradiction(
    key: &ResourceKey,
    status: &ExecutionStatus,
    pinned: &PinnedGraph,
    manifests: &PinnedManifests,
) -> Option<String> {
    if status.spec_hash.as_ref() != Some(&manifests.execution.spec_digest) {
        return Some("specHash is not that of the pinned Execution".to_owned());
    }
    let Spec::Execution(spec) = &manifests.execution.spec else {
        return Some("what is pinned as the Execution is something else".to_owned());
    };
    let plan = spec.plan_ref.key(Kind::Plan, &key.namespace);
    if plan != pinned.plan {
        return Some(format!("the pinned Plan is {}, and the Execution names {plan}", pinned.plan.name));
    }
    let goal = spec.goal_ref.as_ref().map(|reference| reference.key(Kind::Goal, &key.namespace));
    // Without its Goal there is no deadline, and an agent works without what it is to keep to.
    (goal != pinned.goal || goal.is_some() != manifests.goal.is_some())
        .then(|| "the pinned Goal is not the one that the Execution names".to_owned())
}

fn was_merged(
    snapshot: &Snapshot,
    key: &ResourceKey,
    metadata: &StatusMetadata,
    commit: ObjectId,
    manifests: &PinnedManifests,
) -> Result<MergedAnswer, EngineError> {
    let repo = &snapshot.repo;
    let desired = snapshot.desired.id;
    let tip = snapshot.merged.was_tip(repo, desired, commit)?;
    if tip != MergedAnswer::Yes {
        return Ok(tip);
    }
    // The uid of a derived Execution was made of that of its owner, and names no commit by itself.
    let named = match &manifests.owner {
        Some((derived, owner)) => {
            snapshot.merged.was_named(repo, desired, &owner.key(), &derived.owner.uid, commit)?
        }
        None => snapshot.merged.was_named(repo, desired, key, &metadata.uid, commit)?,
    };
    if named != MergedAnswer::Yes {
        return Ok(named);
    }
    for (key, blob) in &manifests.blobs {
        let held = was_in_force(snapshot, commit, key, *blob)?;
        if held != MergedAnswer::Yes {
            return Ok(held);
        }
    }
    Ok(MergedAnswer::Yes)
}

/// Whether a blob that declares `key` was in force at a commit of the desired branch.
pub(crate) fn was_in_force(
    snapshot: &Snapshot,
    commit: ObjectId,
    key: &ResourceKey,
    blob: ObjectId,
) -> Result<MergedAnswer, EngineError> {
    // Where it stands now, and where its record says that it stood: mostly there. That is only where to look first.
    let mut paths = snapshot.index.places(key)?;
    paths.extend(snapshot.index.declared(key)?.map(|declared| declared.source.path));
    paths.extend(snapshot.index.recorded(key)?.and_then(|recorded| recorded.source));
    paths.sort();
    paths.dedup();
    snapshot.merged.held(&snapshot.repo, &snapshot.config, commit, (key, blob), &paths)
}
