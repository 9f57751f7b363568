//! What tasks beside the loop send to it: ends of attempts, results of polls and cancellations, printed lines.

use jiff::Timestamp;

use crate::model::{NodeId, ResourceKey};
use crate::plan::CancelResult;
use crate::run::{AttemptName, AttemptReport};

/// What a task beside the loop sends.
#[derive(Debug)]
pub(crate) enum AttemptMessage {
    /// An attempt ended.
    Ended(ResourceKey, Box<AttemptEnd>),
    /// Remote work was polled.
    Polled(ResourceKey, Box<PollResult>),
    /// Remote work of the Execution with this uid was cancelled, or could not be.
    RemoteCancelled(ResourceKey, String, NodeId, CancelResult),
    /// A provider printed a line.
    Line(ResourceKey, NodeId, String),
}

/// An attempt that ended.
#[derive(Debug, Clone)]
pub(crate) struct AttemptEnd {
    // The whole name: an Execution that was deleted and written again counts its leases and attempts from one once more.
    pub(crate) attempt: AttemptName,
    pub(crate) report: AttemptReport,
    // Not the time of the claim, which may have waited long for its slot: durations of attempts are averaged
    // from this one.
    /// When the provider was called; none when it never was.
    pub(crate) started: Option<Timestamp>,
    pub(crate) at: Timestamp,
}

/// What a poll of remote work learned.
#[derive(Debug, Clone)]
pub(crate) struct PollResult {
    /// The Execution that was polled: one of the same name may have taken its place since.
    pub(crate) uid: String,
    pub(crate) node: NodeId,
    pub(crate) attempt: u32,
    // Another handle may be recorded by the time of the answer, which is then about work that nobody follows
    // any more.
    /// The handle that the provider was asked about.
    pub(crate) handle: Option<String>,
    /// None when nothing was learned.
    pub(crate) report: Option<AttemptReport>,
    /// When the next poll is due, unless something is recorded before.
    pub(crate) next: Timestamp,
    pub(crate) at: Timestamp,
}
