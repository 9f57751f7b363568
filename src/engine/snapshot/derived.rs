//! Derived Executions as a pass sees them: declared by their records, also by those that the index does not hold yet.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;

use crate::engine::EngineError;
use crate::engine::snapshot::Snapshot;
use crate::index::{Declaration, Topic};
use crate::model::{
    ConcurrencyPolicy, DerivedExecution, Kind, Origin, Resource, ResourceKey, Spec, StatusRecord,
};

impl Snapshot {
    /// The declaration of a resource that is in force.
    pub(crate) fn declared(&self, key: &ResourceKey) -> Result<Option<Declaration>, EngineError> {
        let known = self.index.declared(key)?;
        if key.kind != Kind::Execution || known.as_ref().is_some_and(|known| !known.derived) {
            return Ok(known);
        }
        // What this process wrote or read since the index was brought up to date goes before it.
        Ok(match self.records.get(key) {
            Some(None) => None,
            Some(Some(newer)) => {
                let Some((_, blob)) = self.status.locate(&self.repo, key)? else { return Ok(None) };
                Declaration::of_record(newer, blob)
            }
            None => known,
        })
    }

    /// A derived Execution as a resource.
    pub(super) fn derived(&self, key: &ResourceKey) -> Result<Option<Resource>, EngineError> {
        let Some(record) = self.record(key)? else { return Ok(None) };
        Ok(DerivedExecution::of(&record).map(|derived| derived.resource(&record.metadata)))
    }

    /// The records of the Executions that a resource made.
    pub(crate) fn derived_from(
        &self,
        owner: &ResourceKey,
    ) -> Result<Vec<(DerivedExecution, Arc<StatusRecord>)>, EngineError> {
        let mut keys: BTreeSet<ResourceKey> =
            self.index.mentions(&Topic::Resource(owner.clone()))?.into_iter().collect();
        keys.extend(self.newer_records().map(|(key, _)| key.clone()));
        let mut found = Vec::new();
        for key in keys.into_iter().filter(|key| key.kind == Kind::Execution) {
            let Some(record) = self.record(&key)? else { continue };
            if let Some(derived) = DerivedExecution::of(&record)
                && derived.owner_key(&key.namespace) == *owner
            {
                found.push((derived, record));
            }
        }
        Ok(found)
    }

    /// The later run that takes the place of this one, where its Schedule says so.
    // Every run asks for itself, instead of being cancelled by its Schedule: whoever drives it holds its lease, and two steps of
    // one record would overwrite each other.
    pub(crate) fn replaced_by(&self, record: &StatusRecord) -> Result<Option<ResourceKey>, EngineError> {
        let Some(derived) = DerivedExecution::of(record) else { return Ok(None) };
        let Origin::Time(at) = derived.origin else { return Ok(None) };
        let owner = derived.owner_key(&record.metadata.namespace);
        let Some(loaded) = self.cached(&owner)? else { return Ok(None) };
        let Spec::Schedule(spec) = &loaded.resource.spec else { return Ok(None) };
        if spec.concurrency_policy != ConcurrencyPolicy::Replace {
            return Ok(None);
        }
        let later = |other: &DerivedExecution| match other.origin {
            Origin::Time(time) if time > at => Some(time),
            _ => None,
        };
        let runs = self.derived_from(&owner)?;
        let last: Option<(Timestamp, ResourceKey)> =
            runs.iter().filter_map(|(other, record)| Some((later(other)?, record.key()))).max();
        Ok(last.map(|(_, key)| key))
    }
}
