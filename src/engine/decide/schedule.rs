//! Suspending a Schedule and letting it go on, without a change of its manifest: an operator who has to stop a nightly run need
//! not wait for a review.

use super::execution::request;
use super::target::said_because;
use super::{Actor, DecisionEffect, refuse};
use crate::engine::EngineError;
use crate::engine::snapshot::Snapshot;
use crate::engine::snapshot::metadata::observe;
use crate::model::{ResourceKey, ResourceStatus, ScheduleStatus, Spec, StatusMetadata, StatusRecord};

/// The Schedule starts nothing until somebody resumes it; what it started goes on.
pub(super) fn suspend(
    snapshot: &Snapshot,
    actor: &Actor<'_>,
    key: &ResourceKey,
    comment: Option<&str>,
) -> Result<DecisionEffect, EngineError> {
    let mut subject = open(snapshot, key)?;
    if subject.status.extensions.suspend.is_some() {
        return Ok(already(key, "already suspended"));
    }
    subject.status.extensions.suspend = Some(request(actor, comment));
    Ok(subject.close(actor, comment, "suspended"))
}

/// The Schedule starts runs again; for the last time that was missed, one at once.
pub(super) fn resume(
    snapshot: &Snapshot,
    actor: &Actor<'_>,
    key: &ResourceKey,
) -> Result<DecisionEffect, EngineError> {
    let mut subject = open(snapshot, key)?;
    // Two things may hold it, and only one of them is this command's to lift: the other was reviewed and merged.
    if subject.by_manifest {
        return refuse(format!(
            "the manifest of schedule/{} says `suspend: true`; remove that and merge it",
            key.name
        ));
    }
    if subject.status.extensions.suspend.take().is_none() {
        return Ok(already(key, "not suspended"));
    }
    Ok(subject.close(actor, None, "resumed"))
}

struct ScheduleSubject {
    key: ResourceKey,
    old: Option<StatusRecord>,
    metadata: StatusMetadata,
    status: ScheduleStatus,
    /// Whether its manifest suspends it as well.
    by_manifest: bool,
}

fn open(snapshot: &Snapshot, key: &ResourceKey) -> Result<ScheduleSubject, EngineError> {
    let declared = snapshot.present(key)?;
    let Some(declared) = declared else { return refuse(snapshot.why_missing(key)?) };
    let loaded = snapshot.cached(key)?;
    let by_manifest =
        loaded.is_some_and(|loaded| matches!(&loaded.resource.spec, Spec::Schedule(spec) if spec.suspend));
    let old = snapshot.record(key)?;
    let status = match old.as_ref().map(|old| &old.status) {
        Some(ResourceStatus::Schedule(status)) => status.clone(),
        _ => ScheduleStatus::default(),
    };
    let metadata = match &old {
        Some(old) => old.metadata.clone(),
        // Before any pass saw it: its first time must not come while somebody has already said no.
        None => observe(key, &declared, &snapshot.desired, None),
    };
    let old = old.map(|old| StatusRecord::clone(&old));
    Ok(ScheduleSubject { key: key.clone(), old, metadata, status, by_manifest })
}

impl ScheduleSubject {
    fn close(self, actor: &Actor<'_>, comment: Option<&str>, said: &str) -> DecisionEffect {
        let mut effect = DecisionEffect::default();
        effect.lines.push(format!("schedule/{} {said}", self.key.name));
        let record = StatusRecord { metadata: self.metadata, status: ResourceStatus::Schedule(self.status) };
        let words = said_because(said, comment);
        effect.assembly.put_decision(self.old.as_ref(), record, &actor.name, &words, actor.at);
        effect
    }
}

fn already(key: &ResourceKey, how: &str) -> DecisionEffect {
    let lines = vec![format!("schedule/{} is {how}", key.name)];
    DecisionEffect { lines, ..DecisionEffect::default() }
}
