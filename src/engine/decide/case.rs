//! An execution while somebody decides about it.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Actor, Verdict, refuse};
use crate::engine::EngineError;
use crate::engine::metadata::observe;
use crate::engine::pin::program_of;
use crate::engine::world::World;
use crate::model::{ExecutionStatus, ResourceKey, Status, StatusMetadata, StatusRecord};
use crate::plan::Draft;
use crate::run::{ExecutionChange, Program, derive_phase};

/// An execution that is decided about.
pub(super) struct Case {
    pub(super) key: ResourceKey,
    /// As it is published; none for one that no reconcile has seen yet.
    record: Option<Arc<StatusRecord>>,
    metadata: StatusMetadata,
    pub(super) draft: Draft,
    pub(super) program: Option<Arc<Program>>,
}

impl Case {
    pub(super) fn open(world: &World, key: &ResourceKey) -> Result<Self, EngineError> {
        let Some(record) = world.record(key)? else {
            let declared = world.index.declared(key)?.is_some();
            let hint = if declared { "; it has not been observed yet: run `planspec reconcile`" } else { "" };
            return refuse(format!("there is no {key} on the status branch{hint}"));
        };
        let Some(status) = record.execution().cloned() else {
            return refuse(format!("{key} is not an execution"));
        };
        let program = match &status.extensions.pinned {
            Some(pinned) => program_of(world, key, pinned)?.ok(),
            None => None,
        };
        let (draft, metadata) = (Draft::new(status), record.metadata.clone());
        Ok(Self { key: key.clone(), record: Some(record), metadata, draft, program })
    }

    /// The same, or one that is declared and that no reconcile has seen yet: what can be said of it before it starts.
    pub(super) fn open_any(world: &World, key: &ResourceKey, at: Timestamp) -> Result<Self, EngineError> {
        let declared = match world.record(key)? {
            Some(_) => None,
            None => world.present(key)?.filter(|declared| declared.quarantined.is_none()),
        };
        let Some(declared) = declared else { return Self::open(world, key) };
        let metadata = observe(key, &declared, &world.desired, None);
        let mut draft = Draft::new(ExecutionStatus::default());
        let (spec_hash, run_id) = (declared.spec_digest.clone(), metadata.uid.clone());
        draft.execution(ExecutionChange::Queue { spec_hash, run_id }, at);
        draft.status.observed_generation = Some(metadata.generation);
        Ok(Self { key: key.clone(), record: None, metadata, draft, program: None })
    }

    pub(super) fn status(&self) -> &ExecutionStatus {
        &self.draft.status
    }

    pub(super) fn program(&self) -> Result<&Arc<Program>, EngineError> {
        self.program.as_ref().map_or_else(|| refuse(format!("{} has no plan yet", self.key)), Ok)
    }

    /// Completes the status and puts it into the commit.
    pub(super) fn close(mut self, verdict: &mut Verdict, actor: &Actor<'_>, word: &str, said: &str) {
        if let Some(program) = &self.program {
            crate::plan::sum_groups(program, &mut self.draft, actor.at);
        }
        derive_phase(self.program.as_deref(), &mut self.draft.status, actor.at);
        let old = self.record.as_ref().and_then(|record| record.execution()).map(|status| status.phase);
        let record = StatusRecord {
            metadata: self.metadata,
            status: Status::Execution(Box::new(self.draft.status.clone())),
        };
        verdict.lines.push(format!("execution/{} {said}", self.key.name));
        verdict.assembly.put_decided(old, &self.draft, record, &actor.name, (word, said), actor.at);
    }
}
