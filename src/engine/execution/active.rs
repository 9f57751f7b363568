//! An Execution that this reconcile is driving.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::step::{CheckedPin, PreparedStep};
use crate::engine::message::{AttemptEnd, PollResult};
use crate::engine::snapshot::Snapshot;
use crate::git::GitError;
use crate::model::{
    Duration, ExecutionStatus, LeftOutFile, NodeId, NodePhase, NodeReason, NodeStatuses, ResourceKey,
    StatusRecord,
};
use crate::plan::{CancelResult, LeaseTerms, SettledNodes};
use crate::record::ARTIFACT_REFS;
use crate::run::{AttemptName, AttemptOutcome, AttemptReport, CompiledPlan, Evidence, UnfinishedChanges};

/// An Execution that is being driven.
#[derive(Debug)]
pub(crate) struct ActiveExecution {
    pub(crate) key: ResourceKey,
    /// The record as it is published.
    pub(crate) record: Option<Arc<StatusRecord>>,
    /// What it runs, once it is pinned.
    pub(crate) compiled: Option<Arc<CompiledPlan>>,
    /// Which nodes of which compiled plan need no look.
    settled: Option<(Arc<CompiledPlan>, SettledNodes)>,
    /// The nodes of a record that are those of this compiled plan.
    known_nodes: Option<(Arc<CompiledPlan>, NodeStatuses)>,
    /// The pin that the compiled plan was made of, as it was checked.
    pub(crate) checked: Option<CheckedPin>,
    /// The numbers of attempts that were begun ahead of their publication and withdrawn, the highest of each node.
    withdrawn: BTreeMap<NodeId, u32>,
    /// The priority of its goal.
    pub(crate) priority: u16,
    /// Attempts that ended and are not published yet.
    pub(crate) finished: Vec<AttemptEnd>,
    /// Those of them that a step took up which went ahead of its publication.
    ahead: Vec<AttemptEnd>,
    /// The remote refused what had gone ahead: everything is published first.
    strict: bool,
    /// Results of polls that are not considered yet.
    pub(crate) poll_results: Vec<PollResult>,
    /// Remote work that was cancelled, and is not published as such yet.
    pub(crate) remote_cancelled: BTreeMap<NodeId, CancelResult>,
    /// When it has to be planned again because of the time alone: a retry, a poll, a timeout, a deadline.
    pub(crate) wake_at: Option<Timestamp>,
    /// Something happened since it was last planned.
    pub(crate) dirty: bool,
    /// It has nodes that could start if there were a slot.
    pub(crate) hungry: bool,
    /// When its lease has to be renewed.
    pub(crate) renew_at: Option<Timestamp>,
}

impl ActiveExecution {
    pub(crate) fn new(key: ResourceKey, record: Option<Arc<StatusRecord>>, priority: u16) -> Self {
        Self {
            key,
            record,
            compiled: None,
            settled: None,
            known_nodes: None,
            withdrawn: BTreeMap::new(),
            checked: None,
            priority,
            finished: Vec::new(),
            ahead: Vec::new(),
            strict: false,
            poll_results: Vec::new(),
            remote_cancelled: BTreeMap::new(),
            wake_at: None,
            // Whatever made the index offer it has to be planned once.
            dirty: true,
            hungry: false,
            renew_at: None,
        }
    }

    /// Which nodes of this compiled plan were found to need no look; of another one, none.
    pub(super) fn take_settled(&mut self, compiled: &Arc<CompiledPlan>) -> SettledNodes {
        let known = self.settled.take().filter(|(known, _)| Arc::ptr_eq(known, compiled));
        known.map(|(_, settled)| settled).unwrap_or_default()
    }

    /// Keeps that for the next step.
    pub(super) fn keep_settled(&mut self, compiled: &Arc<CompiledPlan>, settled: SettledNodes) {
        self.settled = Some((Arc::clone(compiled), settled));
    }

    /// Forgets what was found of them with a step that nobody will publish.
    pub(super) fn forget_settled(&mut self) {
        self.settled = None;
    }

    /// Whether these are the nodes of this compiled plan, as far as that was found out before.
    pub(super) fn has_known_nodes(&self, compiled: &Arc<CompiledPlan>, nodes: &NodeStatuses) -> bool {
        let known = self.known_nodes.as_ref().filter(|(known, _)| Arc::ptr_eq(known, compiled));
        known.is_some_and(|(_, known)| nodes.has_ids_of(known))
    }

    /// Keeps that they are.
    pub(super) fn keep_known_nodes(&mut self, compiled: &Arc<CompiledPlan>, nodes: &NodeStatuses) {
        self.known_nodes = Some((Arc::clone(compiled), nodes.clone()));
    }

    /// The status as it is published.
    pub(crate) fn status(&self) -> Option<&ExecutionStatus> {
        self.record.as_ref().and_then(|record| record.execution())
    }

    /// Whose turn it is first: the more urgent, then the older.
    pub(crate) fn turn(&self) -> (std::cmp::Reverse<u16>, Timestamp) {
        let queued = self.status().and_then(|status| status.queued_time);
        // Without a record it was never queued, so all that waits goes before it.
        (std::cmp::Reverse(self.priority), queued.unwrap_or(Timestamp::MAX))
    }

    /// The number of the lease that `runner` holds.
    pub(crate) fn token(&self, runner: &str) -> Option<u64> {
        let lease = self.status()?.extensions.lease.as_ref()?;
        (lease.holder == runner).then_some(lease.token)
    }

    /// Whether the lease has to be renewed now.
    pub(crate) fn needs_renewal(&self, now: Timestamp) -> bool {
        self.renew_at.is_some_and(|at| at <= now)
    }

    /// Forgets what a step has taken up.
    pub(crate) fn taken_up(&mut self, step: &PreparedStep) {
        // From the front and by number: what came since the step was prepared stands behind.
        self.finished.drain(..step.finished.min(self.finished.len()));
        self.taken_up_polls(step);
    }

    /// The same for a step that is not published yet.
    // Kept, because the step may have to be withdrawn: the record then says that these attempts run, and without their
    // ends the work that they did would count as lost with its runner.
    pub(crate) fn taken_up_ahead(&mut self, step: &PreparedStep) {
        self.ahead.extend(self.finished.drain(..step.finished.min(self.finished.len())));
        self.taken_up_polls(step);
    }

    /// Considers again what was taken up by steps that went ahead and are withdrawn.
    pub(crate) fn restore_ends(&mut self) {
        self.ahead.append(&mut self.finished);
        self.finished = std::mem::take(&mut self.ahead);
    }

    /// Goes back to the published record. Ends of attempts that it does not know are dropped, and nothing goes ahead any more.
    /// Whether there were such ends.
    pub(crate) fn withdraw_to(&mut self, published: Option<Arc<StatusRecord>>) -> bool {
        let ahead = std::mem::replace(&mut self.record, published);
        let began = ahead.as_ref().and_then(|record| record.execution());
        for (id, state) in began.iter().flat_map(|status| status.node_statuses.iter()) {
            let known = self.status().and_then(|status| status.node_statuses.get(id));
            if state.attempt > known.map_or(0, |known| known.attempt) {
                let highest = self.withdrawn.entry(id.clone()).or_default();
                *highest = state.attempt.max(*highest);
            }
        }
        self.restore_published_ends()
    }

    /// Counts attempts that were withdrawn as made: the lease stays, and under its token no name is given twice (Invariant 4).
    pub(super) fn count_withdrawn(&self, status: &mut ExecutionStatus) {
        for (id, number) in &self.withdrawn {
            if let Some(state) = status.node_statuses.get_mut(id).filter(|state| state.attempt < *number) {
                state.attempt = *number;
            }
        }
    }

    fn restore_published_ends(&mut self) -> bool {
        self.restore_ends();
        let ends = std::mem::take(&mut self.finished);
        let before = ends.len();
        self.finished = ends.into_iter().filter(|end| self.runs(&end.attempt)).collect();
        (self.strict, self.dirty) = (true, true);
        self.finished.len() < before
    }

    /// Whether nodes of it may start ahead of their publication.
    pub(crate) fn may_go_ahead(&self) -> bool {
        !self.strict
    }

    /// What went ahead is published.
    pub(crate) fn forget_ahead(&mut self) {
        self.ahead.clear();
    }

    fn taken_up_polls(&mut self, step: &PreparedStep) {
        // The next poll learns the same, should this step be withdrawn.
        self.poll_results.drain(..step.polled.min(self.poll_results.len()));
    }

    /// Replaces what attempts gave that are not published yet by the note that the remote refused it. Whether there are any.
    pub(crate) fn withdraw(&mut self, reason: NodeReason, refusal: &GitError) -> bool {
        // Work can do without its artifacts elsewhere: when only those are refused, all else is recorded.
        if reason == NodeReason::ResultRefused
            && (self.leave_files_out(refusal) || self.leave_unfinished_out(refusal))
        {
            self.dirty = true;
            return true;
        }
        for end in &mut self.finished {
            // Blocked and not Failed: what the work did may be fine, so a person says whether it is made
            // again.
            end.report = AttemptReport {
                outcome: AttemptOutcome::Blocked {
                    reason,
                    message: format!("the result of this attempt cannot be recorded: {refusal}"),
                    handle: None,
                    poll_after: None,
                },
                // Evidence goes too: the refused content may be in a log's tail or in the name of an
                // artifact.
                evidence: Evidence::default(),
            };
        }
        self.dirty = true;
        !self.finished.is_empty()
    }

    /// Takes the files back that attempts left for other machines, if it is those that the remote refused. Whether it was.
    fn leave_files_out(&mut self, refusal: &GitError) -> bool {
        let refused = matches!(refusal, GitError::Refused { action, .. } if action.contains(ARTIFACT_REFS));
        let mut any = false;
        for end in self.finished.iter_mut().filter(|_| refused) {
            let evidence = &mut end.report.evidence;
            let Some(stored) = evidence.stored.as_mut().filter(|stored| stored.tree.is_some()) else {
                continue;
            };
            let stored = Arc::make_mut(stored);
            let names = evidence.artifacts.iter().map(|artifact| artifact.name.as_str()).chain(["log"]);
            let names: Vec<&str> = names.filter(|name| stored.holds(name)).collect();
            let why = "the remote refused it";
            let left =
                names.into_iter().map(|name| LeftOutFile { name: name.to_owned(), why: why.to_owned() });
            stored.left_out.extend(left.collect::<Vec<_>>());
            (stored.tree, stored.bytes, any) = (None, 0, true);
        }
        any
    }

    /// Takes back what attempts left unfinished, which may be what the remote refused: that they asked to go on later is still
    /// true. Whether there was any.
    fn leave_unfinished_out(&mut self, refusal: &GitError) -> bool {
        let mut any = false;
        for end in &mut self.finished {
            let AttemptReport { outcome, evidence } = &mut end.report;
            let (AttemptOutcome::Postponed { message, .. } | AttemptOutcome::Blocked { message, .. }) =
                outcome
            else {
                continue;
            };
            if matches!(evidence.unfinished, UnfinishedChanges::Left(Some(_))) {
                message.push_str(&format!("; what it changed so far is not kept: {refusal}"));
                (evidence.unfinished, any) = (UnfinishedChanges::AsFound, true);
            }
        }
        any
    }

    /// Whether something that happened to it is still to be considered.
    pub(crate) fn has_news(&self) -> bool {
        // Cancellations that are done stay for later steps, so they are no news by themselves; `dirty` is set
        // when one comes.
        self.dirty || !self.finished.is_empty() || !self.poll_results.is_empty()
    }

    /// Whether an attempt is under way, as far as the record says.
    pub(crate) fn runs(&self, attempt: &AttemptName) -> bool {
        let Some(record) = self.record.as_ref() else { return false };
        let state = record.execution().and_then(|status| status.node_statuses.get(&attempt.node));
        // By the whole name with its token: after a takeover the same number may be another runner's attempt.
        state.is_some_and(|state| {
            let name = AttemptName::of(&record.metadata.uid, &attempt.node, state);
            state.phase == NodePhase::Running && name == *attempt
        })
    }
}

/// How leases are handled here.
pub(crate) fn terms(snapshot: &Snapshot) -> LeaseTerms {
    // On a remote each renewal is a push, and hosts recommend at most six of them a minute.
    let default = std::time::Duration::from_secs(if snapshot.remote.is_some() { 300 } else { 60 });
    let config = &snapshot.config.lease;
    let duration = config.duration.as_ref().map_or(default, Duration::span);
    LeaseTerms { duration, skew: config.skew.span(), longest: config.longest.span() }
}
