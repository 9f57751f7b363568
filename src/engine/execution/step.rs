//! The next step of an Execution while it is being prepared.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::git::ObjectId;
use crate::graph::NodeIx;
use crate::index::WaitSet;
use crate::model::{BindingTarget, Digest, PinnedGraph, ResourceStatus, StatusMetadata, StatusRecord};
use crate::plan::{Draft, LeaseTerms};
use crate::record::PinKind;
use crate::run::CompiledPlan;

/// The next step of an Execution.
#[derive(Debug)]
pub(crate) enum ExecutionStep {
    /// Nothing to do; how it is left.
    Idle(Option<WaitSet>),
    /// The record goes: the manifest is gone and nothing is under way.
    Remove,
    /// This.
    Go(Box<PreparedStep>),
}

/// A step with something in it.
#[derive(Debug)]
pub(crate) struct PreparedStep {
    pub(crate) draft: Draft,
    pub(crate) metadata: StatusMetadata,
    pub(crate) pins: Option<Vec<(PinKind, ObjectId)>>,
    pub(crate) compiled: Option<Arc<CompiledPlan>>,
    /// The providers of the nodes that this step starts.
    pub(crate) targets: BTreeMap<NodeIx, Arc<BindingTarget>>,
    /// Whether the lease was taken for this step alone.
    pub(crate) acquired: bool,
    /// Whether the lease is kept although nothing runs: its nodes start ahead of the next publication.
    pub(crate) held: bool,
    // Numbers and not the ends themselves: more of them may come while the step is being published.
    /// How many finished attempts it takes up.
    pub(crate) finished: usize,
    /// How many results of polls it takes up.
    pub(crate) polled: usize,
    /// Whether something changed that no change in the draft says, such as a condition.
    pub(crate) noted: bool,
}

impl PreparedStep {
    /// The record that this step makes.
    pub(crate) fn record(&self) -> StatusRecord {
        // A copy: after a lost race the step is thrown away, and after a push its draft is still read for
        // what it did.
        let status = ResourceStatus::Execution(Box::new(self.draft.status.clone()));
        StatusRecord { metadata: self.metadata.clone(), status }
    }

    pub(crate) fn into_go(self) -> ExecutionStep {
        ExecutionStep::Go(Box::new(self))
    }
}

/// The pin that was checked, and against which branch. The manifests are in memory from then on, so only a change of one of
/// these makes the check necessary once more.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CheckedPin {
    pub(super) desired: ObjectId,
    pub(super) uid: String,
    pub(super) spec_hash: Option<Digest>,
    pub(super) pinned: PinnedGraph,
}

/// Who plans, and under which terms.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PlannerTerms<'a> {
    pub(crate) runner: &'a str,
    pub(crate) terms: LeaseTerms,
    /// No new work is taken on.
    pub(crate) leaving: bool,
    /// Manifests are missing whose removal nobody confirmed.
    pub(crate) holding_back: bool,
    pub(crate) now: Timestamp,
}
