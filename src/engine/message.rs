//! What tasks beside the loop send to it: ends of attempts, results of polls and cancellations, printed lines. How the
//! result of a poll is taken into a record.

use jiff::Timestamp;

use crate::engine::EngineError;
use crate::engine::snapshot::Snapshot;
use crate::engine::snapshot::lookup::checked;
use crate::model::{ChangeRequest, NodeId, NodePhase, ResourceKey, WorkProposal};
use crate::plan::{CancelResult, Draft, after_poll, poll_applies};
use crate::run::{AttemptName, AttemptOutcome, AttemptReport, CompiledPlan, NodeChange};

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
    /// The commit that people are shown before the node may start; none where an attempt was polled.
    pub(crate) shown: Option<String>,
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

impl PollResult {
    /// Applies it to a draft: nothing when all is as it was, or when the node went on by other means meanwhile.
    pub(crate) fn apply(
        &self,
        snapshot: &Snapshot,
        compiled: &CompiledPlan,
        uid: &str,
        draft: &mut Draft,
    ) -> Result<(), EngineError> {
        // An Execution that was deleted and written again has the same name: the uid tells that the answer is
        // about the old one.
        let Some(report) = self.report.clone().filter(|_| uid == self.uid) else { return Ok(()) };
        let Some(ix) = compiled.topology.find(self.node.as_str()) else { return Ok(()) };
        let Some(node) = compiled.node(ix) else { return Ok(()) };
        if let Some(base) = &self.shown {
            let AttemptReport { outcome, evidence } = report;
            self.propose(base, outcome, draft);
            self.request(evidence.requested, draft);
            return Ok(());
        }
        let Some(state) = draft.status.node_statuses.get(&self.node) else { return Ok(()) };
        // A person may have completed the node, or answered its question, while the provider was being asked.
        if !poll_applies(node, state, self.attempt, self.handle.as_deref()) {
            return Ok(());
        }
        let report = checked(snapshot, compiled, ix, report)?;
        let requested = report.evidence.requested.clone();
        let key = state.attempt_name(uid, &self.node);
        for change in after_poll(node, state, report, &key, self.at) {
            draft.node(&self.node, change, self.at);
        }
        self.request(requested, draft);
        Ok(())
    }

    /// Records what a reviewer wants changed, once.
    fn request(&self, requested: Option<Box<ChangeRequest>>, draft: &mut Draft) {
        let state = draft.status.node_statuses.get(&self.node);
        let known = state.and_then(|state| state.extensions.requested.as_deref());
        if let Some(request) = requested.filter(|request| known != Some(&**request)) {
            draft.node(&self.node, NodeChange::Request(request), self.at);
        }
    }

    /// Records what people are shown, once for each state of it (Invariant 5).
    fn propose(&self, base: &str, outcome: AttemptOutcome, draft: &mut Draft) {
        let AttemptOutcome::Blocked { message, handle, .. } = outcome else { return };
        let Some(state) = draft.status.node_statuses.get(&self.node) else { return };
        let proposal = WorkProposal { base: base.to_owned(), handle };
        let same = state.extensions.proposal.as_deref() == Some(&proposal) && state.message == message;
        // The gate may have been answered meanwhile, and the node claimed: then its own attempt says what is there.
        if !same && state.phase == NodePhase::Pending && state.attempt == self.attempt {
            draft.node(&self.node, NodeChange::Propose { proposal, message }, self.at);
        }
    }
}
