//! An Execution that this reconcile is driving.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::poll_result::PollResult;
use super::snapshot::Snapshot;
use crate::model::{ExecutionStatus, NodeId, NodePhase, PinnedGraph, ResourceKey, StatusRecord};
use crate::plan::{CancelResult, LeaseTerms};
use crate::run::{AttemptReport, CompiledPlan};

/// An Execution that is being driven.
#[derive(Debug)]
pub(super) struct ActiveExecution {
    pub(super) key: ResourceKey,
    /// The record as it is published.
    pub(super) record: Option<Arc<StatusRecord>>,
    /// What it runs, once it is pinned.
    pub(super) compiled: Option<Arc<CompiledPlan>>,
    /// What the compiled plan was made of.
    pub(super) pinned: Option<PinnedGraph>,
    /// The priority of its goal.
    pub(super) priority: u16,
    /// Attempts that ended and are not published yet.
    pub(super) finished: Vec<AttemptEnd>,
    /// Looks at what goes on elsewhere that are not considered yet.
    pub(super) poll_results: Vec<PollResult>,
    /// What was called off, and is not published as such yet.
    pub(super) remote_cancelled: BTreeMap<NodeId, CancelResult>,
    /// When it has to be planned again because of the time alone: a retry, a look, a timeout, a deadline.
    pub(super) wake_at: Option<Timestamp>,
    /// Something happened since it was last planned.
    pub(super) dirty: bool,
    /// It has nodes that could start if there were a slot.
    pub(super) hungry: bool,
    /// It has a decision that must be published by this time, such as renewing the lease.
    pub(super) renew_at: Option<Timestamp>,
}

/// An attempt that ended.
#[derive(Debug, Clone)]
pub(super) struct AttemptEnd {
    pub(super) node: NodeId,
    pub(super) attempt: u32,
    pub(super) report: AttemptReport,
    pub(super) started: Option<Timestamp>,
    pub(super) at: Timestamp,
}

impl ActiveExecution {
    pub(super) fn new(key: ResourceKey, record: Option<Arc<StatusRecord>>, priority: u16) -> Self {
        Self {
            key,
            record,
            compiled: None,
            pinned: None,
            priority,
            finished: Vec::new(),
            poll_results: Vec::new(),
            remote_cancelled: BTreeMap::new(),
            wake_at: None,
            dirty: true,
            hungry: false,
            renew_at: None,
        }
    }

    /// The status as it is published.
    pub(super) fn status(&self) -> Option<&ExecutionStatus> {
        self.record.as_ref().and_then(|record| record.execution())
    }

    /// Whose turn it is first: the more urgent, then the older.
    pub(super) fn turn(&self) -> (std::cmp::Reverse<u16>, Timestamp) {
        let queued = self.status().and_then(|status| status.queued_time);
        (std::cmp::Reverse(self.priority), queued.unwrap_or(Timestamp::MAX))
    }

    /// The number of the lease that `runner` holds.
    pub(super) fn token(&self, runner: &str) -> Option<u64> {
        let lease = self.status()?.extensions.lease.as_ref()?;
        (lease.holder == runner).then_some(lease.token)
    }

    /// Whether something that happened to it is still to be considered.
    pub(super) fn has_news(&self) -> bool {
        self.dirty || !self.finished.is_empty() || !self.poll_results.is_empty()
    }

    /// Whether the node runs here, as far as the record says.
    pub(super) fn runs(&self, node: &NodeId, attempt: u32, runner: &str) -> bool {
        self.status().and_then(|status| status.node_statuses.get(node)).is_some_and(|state| {
            state.phase == NodePhase::Running
                && state.attempt == attempt
                && state.extensions.runner.as_deref() == Some(runner)
        })
    }
}

/// How leases are handled here.
pub(super) fn terms(snapshot: &Snapshot) -> LeaseTerms {
    let default = std::time::Duration::from_secs(if snapshot.remote { 300 } else { 60 });
    let config = &snapshot.config.lease;
    let duration = config.duration.as_ref().map_or(default, crate::model::Duration::span);
    LeaseTerms { duration, skew: config.skew.span() }
}
