//! One commit in the making: records to put and remove, what its message says, and the events that outputs get once it
//! is published.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::engine::execution::step::PreparedStep;
use crate::event::{Event, ResourceChange};
use crate::git::ObjectId;
use crate::model::{ConditionStatus, ExecutionPhase, ResourceKey, ResourceStatus, StatusRecord};
use crate::plan::Draft;
use crate::record::{self, DashboardInput, PinKind, RecordEdit, Transition};

/// One commit in the making.
#[derive(Debug, Default, Clone)]
pub(crate) struct CommitBuilder {
    pub(crate) puts: BTreeMap<ResourceKey, Option<Arc<StatusRecord>>>,
    changes: Vec<RecordEdit>,
    transitions: Vec<Transition>,
    // Held until the commit is on the branch: nobody may see what might still be lost (Invariant 4).
    events: Vec<Event>,
    pub(crate) dashboard: Option<DashboardInput>,
}

impl CommitBuilder {
    pub(crate) fn is_empty(&self) -> bool {
        // Not the transitions, of which a renewal has none.
        self.changes.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.changes.len()
    }

    /// Puts the record of a resource that is not an execution.
    pub(crate) fn put(
        &mut self,
        old: Option<&StatusRecord>,
        record: StatusRecord,
        by: Option<&str>,
        at: Timestamp,
    ) {
        self.put_pinned(old, record, None, by, at);
    }

    /// The same with blobs pinned beside it; those that are there stay when absent.
    pub(crate) fn put_pinned(
        &mut self,
        old: Option<&StatusRecord>,
        record: StatusRecord,
        pins: Option<Vec<(PinKind, ObjectId)>>,
        by: Option<&str>,
        at: Timestamp,
    ) {
        let key = record.key();
        let from = old.map(|old| old.status.phase());
        let to = record.status.phase();
        let message = message_of(&record.status);
        self.transitions.push(Transition {
            key: key.clone(),
            node: None,
            from,
            to: to.clone(),
            reason: None,
            message: message.clone(),
            attempt: 0,
            by: by.map(ToOwned::to_owned),
        });
        let change = if old.is_some() { ResourceChange::Configured } else { ResourceChange::Created };
        self.events.push(Event::Resource { at, key: key.clone(), change, phase: to, message });
        self.push(&key, record, pins);
    }

    /// Puts the record of an execution, with the moves of its nodes.
    pub(crate) fn put_execution(
        &mut self,
        old: Option<ExecutionPhase>,
        step: &PreparedStep,
        record: Arc<StatusRecord>,
        at: Timestamp,
    ) {
        let key = record.key();
        self.tell_execution(&key, old, &step.draft, None, at);
        self.push(&key, record, step.pins.clone());
    }

    /// Adds the lines and events of what moved in an execution.
    fn tell_execution(
        &mut self,
        key: &ResourceKey,
        old: Option<ExecutionPhase>,
        draft: &Draft,
        by: Option<&str>,
        at: Timestamp,
    ) {
        let status = &draft.status;
        // Line and event are made side by side, so that history and screen say the same.
        for change in &draft.moves {
            let reason = change.reason;
            let message = change.message.clone();
            self.transitions.push(Transition {
                key: key.clone(),
                node: Some(change.node.clone()),
                from: Some(change.from.to_string()),
                to: change.to.to_string(),
                reason: reason.map(|reason| reason.to_string()),
                message: message.clone(),
                attempt: change.attempt,
                by: by.map(ToOwned::to_owned),
            });
            let node = change.node.clone();
            let from = change.from;
            let to = change.to;
            let attempt = change.attempt;
            self.events.push(Event::Node { at, key: key.clone(), node, from, to, reason, message, attempt });
        }
        // A renewed lease or a node that moves within a phase is no news about the Execution.
        if old != Some(status.phase) {
            let message = status.message.clone().unwrap_or_default();
            self.transitions.push(Transition {
                key: key.clone(),
                node: None,
                from: old.map(|old| old.to_string()),
                to: status.phase.to_string(),
                reason: status.reason.clone(),
                message: message.clone(),
                attempt: 0,
                by: by.map(ToOwned::to_owned),
            });
            let nodes = status.node_statuses.len();
            self.events.push(Event::Execution {
                at,
                key: key.clone(),
                from: old,
                to: status.phase,
                message,
                nodes,
            });
        }
    }

    /// Puts the record of a gate after a person's review.
    pub(crate) fn put_decision(
        &mut self,
        old: Option<&StatusRecord>,
        record: StatusRecord,
        by: &str,
        said: &str,
        at: Timestamp,
    ) {
        self.put(old, record, Some(by), at);
        if let Some(transition) = self.transitions.last_mut() {
            // The conditions of a gate do not hold what a person said, and the history should.
            said.clone_into(&mut transition.message);
        }
    }

    /// Puts the record of an execution after a person's decision; where it changes no phase, `word` is what became of
    /// the execution.
    pub(crate) fn put_decided(
        &mut self,
        old: Option<ExecutionPhase>,
        draft: &Draft,
        decided: DecidedRecord,
        by: &str,
        (word, said): (&str, &str),
        at: Timestamp,
    ) {
        let DecidedRecord { record, pins } = decided;
        let before = self.transitions.len();
        self.tell_execution(&record.key(), old, draft, Some(by), at);
        // A decision that moves no phase, as a suspension, still needs its line: `git log` is the audit
        // trail, and a commit without lines is taken for a renewal by the shared budget of pushes.
        if self.transitions.len() == before {
            self.transitions.push(Transition {
                key: record.key(),
                node: None,
                from: Some(draft.status.phase.to_string()),
                to: word.to_owned(),
                reason: None,
                message: said.to_owned(),
                attempt: 0,
                by: Some(by.to_owned()),
            });
        }
        self.push(&record.key(), record, pins);
    }

    /// Puts a record; one of the same resource that was put before gives way, but its pins stay where there are no newer.
    fn push(
        &mut self,
        key: &ResourceKey,
        record: impl Into<Arc<StatusRecord>>,
        pins: Option<Vec<(PinKind, ObjectId)>>,
    ) {
        let record = record.into();
        let mut pins = pins;
        // Of two steps of one resource the later record holds both: a step that went ahead and the next one,
        // or a Gate and the Execution that comes to it.
        if self.puts.insert(key.clone(), Some(Arc::clone(&record))).is_some() {
            for earlier in self.changes.extract_if(.., |change| change.key() == *key) {
                if let RecordEdit::Put { pins: Some(earlier), .. } = earlier {
                    pins.get_or_insert(earlier);
                }
            }
        }
        self.changes.push(RecordEdit::Put { record, pins });
    }

    /// Drops everything about a resource.
    pub(crate) fn drop_resource(&mut self, key: &ResourceKey) {
        self.puts.remove(key);
        self.changes.retain(|change| change.key() != *key);
        self.transitions.retain(|transition| transition.key != *key);
        // What was withdrawn was never true for anybody else, so no output gets it.
        self.events.retain(|event| resource_of(event) != Some(key));
    }

    /// Removes the record of a resource.
    pub(crate) fn remove(&mut self, old: &StatusRecord, at: Timestamp) {
        let key = old.key();
        let phase = old.status.phase();
        self.transitions.push(Transition {
            key: key.clone(),
            node: None,
            from: Some(phase.clone()),
            to: "Deleted".to_owned(),
            reason: None,
            message: String::new(),
            attempt: 0,
            by: None,
        });
        let change = ResourceChange::Deleted;
        let message = String::new();
        self.events.push(Event::Resource { at, key: key.clone(), change, phase, message });
        self.puts.insert(key.clone(), None);
        // After every earlier edit of the same record: the writer lets the last one count.
        self.changes.push(RecordEdit::Remove(key));
    }

    /// The commit, and what follows from it once it is published.
    pub(crate) fn split(
        self,
        desired: ObjectId,
        runner: &str,
        at: Timestamp,
    ) -> (record::Batch, CommitEffects) {
        let Self { puts, changes, transitions, events, dashboard } = self;
        let desired = Some(desired);
        let runner = runner.to_owned();
        (
            record::Batch { desired, runner, at, changes, transitions, dashboard },
            CommitEffects { puts, events },
        )
    }
}

/// The record of an Execution after a person's decision, with blobs to pin beside it instead of those that are there.
#[derive(Debug)]
pub(crate) struct DecidedRecord {
    pub(crate) record: StatusRecord,
    pub(crate) pins: Option<Vec<(PinKind, ObjectId)>>,
}

/// The resource that an event of a commit is about.
fn resource_of(event: &Event) -> Option<&ResourceKey> {
    match event {
        Event::Resource { key, .. } | Event::Node { key, .. } | Event::Execution { key, .. } => Some(key),
        _ => None,
    }
}

/// What follows from a commit once it is published.
#[derive(Debug)]
pub(crate) struct CommitEffects {
    pub(crate) puts: BTreeMap<ResourceKey, Option<Arc<StatusRecord>>>,
    pub(crate) events: Vec<Event>,
}

/// What the conditions say that is not as it should be.
fn message_of(status: &ResourceStatus) -> String {
    if let ResourceStatus::Execution(status) = status {
        return status.message.clone().unwrap_or_default();
    }
    // `Waiting` is the one condition that is worth a word while it is True.
    let last = status
        .conditions()
        .iter()
        .rev()
        .find(|condition| condition.status == ConditionStatus::False || condition.kind == "Waiting");
    last.map(|condition| condition.message.clone()).unwrap_or_default()
}
