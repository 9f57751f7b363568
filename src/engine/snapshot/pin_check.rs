//! Pins are checked, not believed (Invariants 9 and 14): whoever may push the status branch could else make a commit run that
//! was never merged, or a plan without its gate.

use std::sync::Arc;

use super::Snapshot;
use super::child::{MOST_NESTED, bound_plan, owners};
use super::pin::{NOT_THERE, PinnedManifests, manifests_of};
use crate::engine::EngineError;
use crate::engine::merged::{MergedAnswer, derived_uid, expected_spec};
use crate::git::ObjectId;
use crate::model::{
    DerivedExecution, ExecutionSpec, ExecutionStatus, Kind, NodeId, NodePhase, NodeStatus, Origin,
    PinnedGraph, ResourceKey, Spec, StatusMetadata,
};
use crate::plan::child_spec;
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
    let named = (key, metadata.uid.as_str());
    if let Some((derived, Some(owner))) = &manifests.owner {
        match expected_spec(named, derived, owner, &manifests.plan, manifests.goal.as_ref()) {
            Err(why) => return Ok(PinCheck::Mismatch(why)),
            Ok(spec) if spec != derived.spec => {
                return Ok(PinCheck::Mismatch(format!("{} makes another spec", owner.key())));
            }
            Ok(_) => {}
        }
    }
    if let Some((derived, None)) = &manifests.owner {
        // What makes it is an Execution, which is held against the branch in the same way.
        match expected_of_owner(snapshot, named, derived, status.extensions.base.as_deref())? {
            Err(check) => return Ok(check),
            Ok(spec) if spec != derived.spec => {
                return Ok(PinCheck::Mismatch(format!("{} makes another spec", derived.owner.name)));
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
        Ok(compiled) if compiled.digest != pinned.graph_digest => {
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

/// Whether an Execution began no later on the line of the desired branch than another one: then what its nodes changed can be told
/// from what others changed since.
pub(crate) fn began_before(
    snapshot: &Snapshot,
    status: &ExecutionStatus,
    earlier: &ExecutionStatus,
) -> Result<MergedAnswer, EngineError> {
    let began = |status: &ExecutionStatus| {
        let extensions = &status.extensions;
        // One that works for a node begins on that node's base, which is on no line.
        let pinned = extensions.pinned.as_ref().filter(|_| extensions.base.is_none())?;
        pinned.commit.parse::<ObjectId>().ok()
    };
    let (Some(commit), Some(first)) = (began(status), began(earlier)) else {
        return Ok(MergedAnswer::No("it did not begin on the desired branch".to_owned()));
    };
    snapshot.merged.not_before(&snapshot.repo, snapshot.desired.id, commit, first)
}

/// Why nobody should decide about what a record says that its Execution runs.
#[derive(Debug)]
pub(crate) enum Unmerged {
    /// It is not what was merged; says why.
    Otherwise(String),
    /// Whether it is cannot be told here; says why.
    Untold(String),
}

/// Whether what a record says that its Execution runs was merged, with its nodes: the question before a person's decision, as
/// [`check`] is before a claim. Nothing where nothing is pinned, or is there to be compared.
pub(crate) fn unmerged(
    snapshot: &Snapshot,
    key: &ResourceKey,
    metadata: &StatusMetadata,
    status: &ExecutionStatus,
) -> Result<Option<Unmerged>, EngineError> {
    let Some(pinned) = &status.extensions.pinned else { return Ok(None) };
    Ok(match check(snapshot, key, metadata, status, pinned)? {
        PinCheck::Holds(compiled) => instance_difference(&compiled, status).map(Unmerged::Otherwise),
        PinCheck::Mismatch(why) => Some(Unmerged::Otherwise(why)),
        PinCheck::Unknown(why) => Some(Unmerged::Untold(why)),
        PinCheck::Lost(_) => None,
    })
}

/// How the nodes of a record differ from those of its plan, with the instances that the record itself has.
pub(crate) fn instance_difference(compiled: &Arc<CompiledPlan>, status: &ExecutionStatus) -> Option<String> {
    match compiled.of_status(status) {
        Ok(compiled) => node_difference(&compiled, status),
        Err(error) => Some(error.to_string()),
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

/// What an Execution that works for a node has to run: computed again from its owner, which is checked like any other
/// Execution, and from what its node is bound to.
pub(super) fn expected_of_owner(
    snapshot: &Snapshot,
    (key, uid): (&ResourceKey, &str),
    derived: &DerivedExecution,
    base: Option<&str>,
) -> Result<Result<ExecutionSpec, PinCheck>, EngineError> {
    let mismatch = |why: String| Ok(Err(PinCheck::Mismatch(why)));
    let Origin::Node(node, attempt) = &derived.origin else {
        return mismatch("it was made for no node".to_owned());
    };
    // Before anything of them is checked: records may claim to own each other.
    if owners(snapshot, key)?.len() >= MOST_NESTED {
        return mismatch(format!("plans are nested more than {MOST_NESTED} deep"));
    }
    let owner_key = derived.owner_key(&key.namespace);
    let owner = if owner_key.kind == Kind::Execution { snapshot.record(&owner_key)? } else { None };
    let Some(owner) = owner.filter(|owner| owner.metadata.uid == derived.owner.uid) else {
        return mismatch(format!("{owner_key}, which made it, is gone"));
    };
    let above = owner.execution().and_then(|status| Some((status, status.extensions.pinned.as_ref()?)));
    let Some((above, pinned)) = above else { return mismatch(format!("{owner_key} has made nothing yet")) };
    let compiled = match check(snapshot, &owner_key, &owner.metadata, above, pinned)? {
        PinCheck::Holds(compiled) => compiled,
        PinCheck::Mismatch(why) => return mismatch(format!("{owner_key}, which made it: {why}")),
        unknown => return Ok(Err(unknown)),
    };
    if !DerivedExecution::keys(&owner_key, node, *attempt).contains(key)
        || derived_uid(&derived.owner.uid, &derived.origin) != uid
    {
        return mismatch(format!("its name or its uid is not that of node `{node}` of {owner_key}"));
    }
    if base.is_some_and(|base| starts_elsewhere(above, (node, *attempt), base)) {
        return mismatch(format!("it does not start where node `{node}` of {owner_key} stands"));
    }
    let ix = compiled.topology.find(node.as_str());
    let plan = ix.map(|ix| bound_plan(snapshot, &compiled, ix)).transpose()?.flatten();
    let (Some(ix), Some(plan)) = (ix, plan) else {
        return mismatch(format!("node `{node}` of {owner_key} is not bound to a plan"));
    };
    Ok(child_spec(&compiled, above, ix, plan).map_err(PinCheck::Mismatch))
}

/// Whether an Execution starts from another commit than the node that it works for. Only while that waits for it: what the
/// node works on is forgotten when it is run again, and its Execution then ends anyway.
fn starts_elsewhere(above: &ExecutionStatus, (node, attempt): (&NodeId, u32), base: &str) -> bool {
    let waits = |state: &&NodeStatus| state.phase == NodePhase::Blocked && state.attempt == attempt;
    let state = above.node_statuses.get(node).filter(waits);
    state.is_some_and(|state| state.extensions.base.as_deref().or(above.start_commit()) != Some(base))
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
        Some((derived, Some(owner))) => {
            snapshot.merged.was_named(repo, desired, &owner.key(), &derived.owner.uid, commit)?
        }
        // Its owner was checked by itself, and is what it has to be younger than: an old version of a plan could else run for
        // the node of a new one.
        Some((derived, None)) => {
            let owner = snapshot.record(&derived.owner_key(&key.namespace))?;
            let pinned = owner.as_ref().and_then(|owner| owner.execution()?.extensions.pinned.as_ref());
            match pinned.and_then(|pinned| pinned.commit.parse().ok()) {
                Some(first) => snapshot.merged.not_before(repo, desired, commit, first)?,
                None => MergedAnswer::No("what made it is pinned to nothing".to_owned()),
            }
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
