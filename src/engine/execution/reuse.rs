//! The earlier Execution whose work a new one may take over.

use std::sync::Arc;

use crate::engine::EngineError;
use crate::engine::merged::MergedAnswer;
use crate::engine::snapshot::Snapshot;
use crate::engine::snapshot::pin_check::began_before;
use crate::model::{ExecutionStatus, Kind, Name, NodeTrait, ResourceKey, StatusRecord};
use crate::plan::ReuseSource;
use crate::run::CompiledPlan;

/// What is known of an earlier execution.
pub(crate) struct ReuseCandidate<'a> {
    from: &'a str,
    record: Result<Arc<StatusRecord>, String>,
}

impl<'a> ReuseCandidate<'a> {
    /// The one that the manifest of an execution names, until it was decided what is taken over; and once more where a list has
    /// just become known (`expanded`), whose instances nobody could decide about.
    pub(crate) fn of(
        snapshot: &Snapshot,
        compiled: &'a CompiledPlan,
        status: &ExecutionStatus,
        expanded: bool,
    ) -> Result<Option<Self>, EngineError> {
        // Decided once and recorded: what the earlier Execution does afterwards must not change what this one
        // took over.
        let decided = status.extensions.reuse.as_ref();
        let Some(from) = compiled.from.as_deref().filter(|_| expanded || decided.is_none()) else {
            return Ok(None);
        };
        let record = match Name::new(from) {
            Ok(name) if name == compiled.key.name => Err("it names itself".to_owned()),
            Ok(name) => {
                let key = ResourceKey::new(Kind::Execution, compiled.key.namespace.clone(), name);
                // No error of this Execution: everything runs, and each node says why nothing was reused.
                let gone = || format!("there is no record of {key}, which never ran or was removed");
                snapshot.record(&key)?.ok_or_else(gone)
            }
            Err(error) => Err(format!("the name `{from}` {error}")),
        };
        // Another Execution of that name by now is not the one whose work the first decision was about.
        let uid = record.as_ref().ok().map(|record| record.metadata.uid.as_str());
        if decided.is_some_and(|decided| decided.uid.as_deref() != uid) {
            return Ok(None);
        }
        Ok(Some(Self { from, record }))
    }

    /// As planning sees it.
    pub(crate) fn past(&self) -> ReuseSource<'_> {
        let record = self.record.as_ref();
        let status = record
            .map_err(String::as_str)
            .and_then(|record| record.execution().ok_or("its record is not that of an execution"));
        let uid = record.ok().map(|record| record.metadata.uid.as_str());
        ReuseSource { from: self.from, uid, status }
    }
}

/// What history is missing to know whether the files of an earlier Execution can be carried along. What is reused is decided once,
/// so that it has to be known before.
pub(crate) fn awaited_history(
    snapshot: &Snapshot,
    compiled: &CompiledPlan,
    status: &ExecutionStatus,
) -> Result<Option<String>, EngineError> {
    let Some(candidate) = ReuseCandidate::of(snapshot, compiled, status, false)? else { return Ok(None) };
    let Ok(earlier) = candidate.past().status else { return Ok(None) };
    let is_unchanged = !earlier.node_statuses.has(NodeTrait::HasResult);
    if is_unchanged || earlier.start_commit() == status.start_commit() {
        return Ok(None);
    }
    Ok(match began_before(snapshot, status, earlier)? {
        MergedAnswer::Unknown(why) => Some(why),
        MergedAnswer::Yes | MergedAnswer::No(_) => None,
    })
}
