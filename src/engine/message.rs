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

/// What the record says of work whose provider panicked.
pub(crate) const PANICKED: &str = "the provider broke off by a fault in planspec; please report it";

/// Does something when the task that holds it panics.
// The loop waits for one message of each task: a task that ended without it would keep its slot, and the reconcile would
// never come to an end.
pub(crate) struct OnPanic<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> OnPanic<F> {
    pub(crate) fn new(panicked: F) -> Self {
        Self(Some(panicked))
    }
}

impl<F: FnOnce()> Drop for OnPanic<F> {
    fn drop(&mut self) {
        // Not for a task that is aborted at the end of a reconcile, of which nobody waits for anything any more.
        if std::thread::panicking()
            && let Some(panicked) = self.0.take()
        {
            panicked();
        }
    }
}
