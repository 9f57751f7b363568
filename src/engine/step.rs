//! The next step of an Execution while it is being prepared.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::git::ObjectId;
use crate::graph::NodeIx;
use crate::index::WaitSet;
use crate::model::{BindingTarget, StatusMetadata};
use crate::plan::{Draft, LeaseTerms};
use crate::record::PinKind;
use crate::run::CompiledPlan;

/// The next step of an Execution.
#[derive(Debug)]
pub(super) enum ExecutionStep {
    /// Nothing to do; how it is left.
    Idle(Option<WaitSet>),
    /// The record goes: the manifest is gone and nothing is under way.
    Remove,
    /// This.
    Go(Box<PreparedStep>),
}

/// A step with something in it.
#[derive(Debug)]
pub(super) struct PreparedStep {
    pub(super) draft: Draft,
    pub(super) metadata: StatusMetadata,
    pub(super) pins: Option<Vec<(PinKind, ObjectId)>>,
    pub(super) compiled: Option<Arc<CompiledPlan>>,
    /// The providers of the nodes that this step starts.
    pub(super) targets: BTreeMap<NodeIx, BindingTarget>,
    /// Whether the lease was taken for this step alone.
    pub(super) acquired: bool,
    /// How many finished attempts it takes up.
    pub(super) finished: usize,
    /// How many looks it takes up.
    pub(super) polled: usize,
    /// Whether something changed that no change in the draft says, such as a condition.
    pub(super) noted: bool,
}

impl PreparedStep {
    pub(super) fn into_go(self) -> ExecutionStep {
        ExecutionStep::Go(Box::new(self))
    }
}

/// Who plans, and under which terms.
#[derive(Debug, Clone, Copy)]
pub(super) struct PlannerTerms<'a> {
    pub(super) runner: &'a str,
    pub(super) terms: LeaseTerms,
    /// No new work is taken on.
    pub(super) leaving: bool,
    /// Manifests are missing whose removal nobody confirmed.
    pub(super) holding_back: bool,
    pub(super) now: Timestamp,
}
