//! Which version of a Gate decides now. A Gate fails closed (Invariant 11): a manifest that is deleted, excluded, broken or
//! declared twice leaves the last valid version in charge, and where there is none to be read, nobody can decide.

use super::LoadedResource;
use super::Snapshot;
use super::pin::program_of;
use crate::engine::EngineError;
use crate::index::Topic;
use crate::model::{GateSpec, Kind, ResourceKey, Spec, StatusMetadata, StatusRecord};

/// The version of a Gate that decides.
#[derive(Debug, Clone)]
pub(crate) enum GateInForce {
    /// What its manifest says.
    Declared(Box<LoadedResource>),
    /// Its last valid version, although its manifest is not valid any more.
    Kept {
        /// The spec.
        spec: Box<GateSpec>,
        /// Why the manifest does not count.
        why: String,
    },
    /// A Gate that never had a manifest: one approval by anyone who may write.
    Implicit,
    /// No version can be read; the manifests have to be fixed first.
    Closed {
        /// Why.
        why: String,
    },
}

impl GateInForce {
    /// The spec; none for a gate without one.
    pub(crate) fn spec(&self) -> Option<&GateSpec> {
        match self {
            Self::Declared(loaded) => match &loaded.resource.spec {
                Spec::Gate(spec) => Some(spec),
                _ => None,
            },
            Self::Kept { spec, .. } => Some(spec),
            Self::Implicit | Self::Closed { .. } => None,
        }
    }

    /// Why its manifest does not count, in words.
    pub(crate) fn problem(&self) -> Option<&str> {
        match self {
            Self::Kept { why, .. } | Self::Closed { why } => Some(why),
            Self::Declared(_) | Self::Implicit => None,
        }
    }

    /// The generation of this version: that of its record, one more when the spec changed since.
    pub(crate) fn generation(&self, record: Option<&StatusRecord>) -> u64 {
        let Some(record) = record else { return 1 };
        let changed = match self {
            Self::Declared(loaded) => {
                record.metadata.spec_digest() != Some(loaded.declared.spec_digest.as_str())
            }
            _ => false,
        };
        record.metadata.generation.saturating_add(u64::from(changed))
    }
}

/// Finds out which version of a Gate decides. `record` is its record, where there is one.
pub(crate) fn in_force(
    snapshot: &Snapshot,
    gate: &ResourceKey,
    record: Option<&StatusRecord>,
) -> Result<GateInForce, EngineError> {
    let places = snapshot.index.places(gate)?;
    // Which of several declarations the index took first depends on the order of changes that a machine saw, and may not
    // decide (Invariant 1); the weaker one could be anybody's mistake.
    if places.len() > 1 {
        return kept(
            snapshot,
            gate,
            record,
            format!("it is declared {} times: {}", places.len(), places.join(", ")),
        );
    }
    if let Some(loaded) = snapshot.resource(gate)? {
        return Ok(GateInForce::Declared(Box::new(loaded)));
    }
    let broken = snapshot.why_broken(gate)?.map(|why| format!("its manifest is broken: {why}"));
    // Before broken files are considered: the pinned version decides where there is one, and only a gate that
    // never was valid is closed by them.
    let had_manifest =
        record.is_some_and(|record| !record.metadata.annotations.contains_key(StatusMetadata::IMPLICIT));
    if had_manifest {
        let why = broken.unwrap_or_else(|| "its manifest is gone".to_owned());
        return kept(snapshot, gate, record, why);
    }
    if let Some(why) = broken {
        return Ok(GateInForce::Closed { why });
    }
    Ok(GateInForce::Implicit)
}

/// The last valid version, which is pinned beside the record: a fresh clone knows it as well as the machine that saw it.
fn kept(
    snapshot: &Snapshot,
    gate: &ResourceKey,
    record: Option<&StatusRecord>,
    why: String,
) -> Result<GateInForce, EngineError> {
    // Several declarations and no record: none of them ever was in force.
    let Some(record) = record else { return Ok(GateInForce::Closed { why }) };
    let pinned = snapshot.status.pinned(&snapshot.repo, gate)?.manifest;
    let resource = match pinned {
        Some(blob) => snapshot.read(blob, "pinned", gate)?,
        None => None,
    };
    // The record says which spec was in force: somebody who puts another blob beside it does not choose the
    // reviewers.
    let resource = resource.filter(|found| record.metadata.spec_digest() == Some(found.spec_digest.as_str()));
    Ok(match resource.map(|resource| resource.spec) {
        Some(Spec::Gate(spec)) => {
            GateInForce::Kept { spec: Box::new(spec), why: format!("{why}; its last valid version decides") }
        }
        _ => GateInForce::Closed { why },
    })
}

/// Something that still names a Gate: a declared Plan, or the plan that a recorded Execution is pinned to. An Execution that is
/// over counts, because a retry leads to its gates again.
pub(crate) fn referrer(snapshot: &Snapshot, gate: &ResourceKey) -> Result<Option<ResourceKey>, EngineError> {
    if let Some(plan) = snapshot.index.mentions(&Topic::Resource(gate.clone()))?.into_iter().next() {
        return Ok(Some(plan));
    }
    // The index knows what declared plans mention. Pinned ones have to be read, which only a deleted gate
    // asks for.
    for (key, _) in snapshot.index.records()?.into_iter().filter(|(key, _)| key.kind == Kind::Execution) {
        let Some(record) = snapshot.record(&key)? else { continue };
        let Some(status) = record.execution() else { continue };
        let Some(pinned) = &status.extensions.pinned else { continue };
        let Ok(compiled) = program_of(snapshot, &key, (pinned, status))? else { continue };
        let home = &pinned.plan.namespace;
        let mut gates = compiled.plan.graph.nodes.iter().filter_map(|node| node.gate_ref.as_ref());
        if gates.any(|reference| reference.key(Kind::Gate, home) == *gate) {
            return Ok(Some(key));
        }
    }
    Ok(None)
}
