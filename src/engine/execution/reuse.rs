//! The earlier Execution whose work a new one may take over.

use std::sync::Arc;

use crate::engine::EngineError;
use crate::engine::snapshot::Snapshot;
use crate::model::{ExecutionStatus, Kind, Name, ResourceKey, StatusRecord};
use crate::plan::ReuseSource;
use crate::run::CompiledPlan;

/// What is known of an earlier execution.
pub(crate) struct ReuseCandidate<'a> {
    from: &'a str,
    record: Result<Arc<StatusRecord>, String>,
}

impl<'a> ReuseCandidate<'a> {
    /// The one that the manifest of an execution names, until it was decided what is taken over.
    pub(crate) fn of(
        snapshot: &Snapshot,
        compiled: &'a CompiledPlan,
        status: &ExecutionStatus,
    ) -> Result<Option<Self>, EngineError> {
        // Decided once and recorded: what the earlier Execution does afterwards must not change what this one
        // took over.
        let Some(from) = compiled.from.as_deref().filter(|_| status.extensions.reuse.is_none()) else {
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
