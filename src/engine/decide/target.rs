//! An execution while somebody decides about it.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Actor, DecisionEffect, refuse};
use crate::engine::EngineError;
use crate::engine::commit::builder::DecidedRecord;
use crate::engine::snapshot::Snapshot;
use crate::engine::snapshot::metadata::observe;
use crate::engine::snapshot::pin::program_of;
use crate::engine::snapshot::pin_check::{Unmerged, unmerged};
use crate::git::ObjectId;
use crate::model::{ExecutionStatus, ResourceKey, ResourceStatus, StatusMetadata, StatusRecord};
use crate::plan::{Draft, sum_groups};
use crate::record::PinKind;
use crate::run::{CompiledPlan, ExecutionChange, derive_phase};

/// An execution that is decided about.
pub(super) struct DecisionTarget {
    pub(super) key: ResourceKey,
    /// As it is published; none for one that no reconcile has seen yet.
    record: Option<Arc<StatusRecord>>,
    metadata: StatusMetadata,
    pub(super) draft: Draft,
    pub(super) compiled: Option<Arc<CompiledPlan>>,
    /// What is to be pinned beside the record instead of what is.
    pub(super) pins: Option<Vec<(PinKind, ObjectId)>>,
}

impl DecisionTarget {
    pub(super) fn open(snapshot: &Snapshot, key: &ResourceKey) -> Result<Self, EngineError> {
        let Some(record) = snapshot.record(key)? else {
            let declared = snapshot.declared(key)?.is_some();
            let hint = if declared { "; it has not been observed yet: run `planspec reconcile`" } else { "" };
            return refuse(format!("there is no {key} on the status branch{hint}"));
        };
        let Some(status) = record.execution().cloned() else {
            return refuse(format!("{key} is not an execution"));
        };
        // Without its pinned files an Execution can still be cancelled or suspended, so their loss is no
        // error here.
        let compiled = match &status.extensions.pinned {
            Some(pinned) => program_of(snapshot, key, (pinned, &status))?.ok(),
            None => None,
        };
        let draft = Draft::new(status);
        let metadata = record.metadata.clone();
        Ok(Self { key: key.clone(), record: Some(record), metadata, draft, compiled, pins: None })
    }

    /// The same, or one that is declared and that no reconcile has seen yet: what can be said of it before it starts.
    pub(super) fn open_any(
        snapshot: &Snapshot,
        key: &ResourceKey,
        at: Timestamp,
    ) -> Result<Self, EngineError> {
        let declared = match snapshot.record(key)? {
            Some(_) => None,
            // A quarantined version would not be started by a reconcile, so there is nothing to decide about.
            None => snapshot.present(key)?.filter(|declared| declared.quarantined.is_none()),
        };
        let Some(declared) = declared else { return Self::open(snapshot, key) };
        let metadata = observe(key, &declared, &snapshot.desired, None);
        let mut draft = Draft::new(ExecutionStatus::default());
        let spec_hash = declared.spec_digest.clone();
        let run_id = metadata.uid.clone();
        // The first change that a reconcile would make, so that the next one goes on from this record as from
        // its own.
        draft.execution(ExecutionChange::Queue { spec_hash, run_id }, at);
        draft.status.observed_generation = Some(metadata.generation);
        Ok(Self { key: key.clone(), record: None, metadata, draft, compiled: None, pins: None })
    }

    pub(super) fn status(&self) -> &ExecutionStatus {
        &self.draft.status
    }

    pub(super) fn metadata(&self) -> &StatusMetadata {
        &self.metadata
    }

    /// Gives it the identity that it would have if it were observed first now.
    pub(super) fn rename(&mut self, first_seen: StatusMetadata) {
        self.metadata.uid = first_seen.uid;
        self.metadata.creation_timestamp = first_seen.creation_timestamp;
    }

    pub(super) fn compiled(&self) -> Result<&Arc<CompiledPlan>, EngineError> {
        self.compiled.as_ref().map_or_else(|| refuse(format!("{} has no plan yet", self.key)), Ok)
    }

    /// Refuses a decision that counts for good about something else than what was merged: the person may have been shown a plan
    /// that somebody wrote to the status branch, and what they say would count for the merged one as soon as the record is right.
    /// What only stops work, or lets it run again, needs no such question: nothing starts before the pin is checked.
    pub(super) fn is_merged(&self, snapshot: &Snapshot) -> Result<(), EngineError> {
        match unmerged(snapshot, &self.key, &self.metadata, self.status())? {
            None => Ok(()),
            Some(Unmerged::Otherwise(why)) => {
                tracing::warn!(execution = %self.key, why, "refuse a decision: the pin does not hold");
                refuse(not_merged(&self.key, &why))
            }
            Some(Unmerged::Untold(why)) => refuse(format!(
                "nobody can tell here whether {} is what was merged: {why}; decide in a clone that has this history",
                self.key
            )),
        }
    }

    /// Completes the status and puts it into the commit.
    pub(super) fn close(self, verdict: &mut DecisionEffect, actor: &Actor<'_>, word: &str, said: &str) {
        self.close_because(verdict, actor, (word, said), None);
    }

    /// The same for a decision that has a reason, which stands in the history.
    pub(super) fn close_because(
        mut self,
        verdict: &mut DecisionEffect,
        actor: &Actor<'_>,
        (word, said): (&str, &str),
        comment: Option<&str>,
    ) {
        if let Some(compiled) = &self.compiled {
            sum_groups(compiled, &mut self.draft, actor.at);
        }
        derive_phase(self.compiled.as_deref(), &mut self.draft.status, actor.at);
        let old = self.record.as_ref().and_then(|record| record.execution()).map(|status| status.phase);
        let record = StatusRecord {
            metadata: self.metadata,
            status: ResourceStatus::Execution(Box::new(self.draft.status.clone())),
        };
        verdict.lines.push(format!("execution/{} {said}", self.key.name));
        let decided = DecidedRecord { record, pins: self.pins };
        let said = said_because(said, comment);
        verdict.assembly.put_decided(old, &self.draft, decided, &actor.name, (word, &said), actor.at);
    }
}

/// What is said of a decision, with the reason that a person gave.
pub(super) fn said_because(said: &str, comment: Option<&str>) -> String {
    comment.map_or_else(|| said.to_owned(), |comment| format!("{said}: {comment}"))
}

/// Why nobody decides about an Execution whose pin does not hold, and the ways out.
pub(super) fn not_merged(key: &ResourceKey, why: &str) -> String {
    format!(
        "{key} is not what was merged: {why}; `planspec accept-pin` takes what the desired branch holds now, `planspec cancel` ends it"
    )
}
