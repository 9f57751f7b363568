//! What must hold whatever happens: watches each commit on the status branch and each start of an attempt.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use jiff::Timestamp;

use super::clock::{at, end_of};
use super::stage::{References, Sources};
use crate::engine::clock::ClockReading;
use crate::git::{ObjectId, Repo};
use crate::model::{
    ExecutionStatus, Kind, Lease, NodeId, NodePhase, NodeStatus, ResourceKey, ResourceStatus,
};
use crate::provider::Attempt;
use crate::record::{StatusTree, results_ref};

/// A rule that was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display)]
pub(super) enum Rule {
    StartedTwice,
    StartedWithoutPublishedLease,
    StartedWithoutPublishedClaim,
    StartedAfterItsLease,
    StartedBesideANewerLease,
    TakenOverTooEarly,
    TokenWentBack,
    EndWasUndone,
    DecisionWasLost,
    ResultIsNotKept,
    NoPrefix,
    FailedByEnvironment,
    ShownBeforePublished,
    WentOnFromTheRewound,
    OneWasStarved,
    RunnerGaveUp,
    RunnerPanicked,
    DidNotEnd,
    EndedOtherwise,
    IndexDiffers,
}

/// A lease as it was published last, with what the holder's clock without hands said then.
struct PublishedLease {
    lease: Lease,
    boot: Duration,
}

/// An Execution as it is on the branch.
struct SeenRecord {
    blob: ObjectId,
    uid: String,
    status: ExecutionStatus,
}

/// Knows everything that was published and started.
#[derive(Default)]
pub(super) struct Judge {
    strict: bool,
    sources: Sources,
    /// Whether clocks are no further apart than the configuration allows.
    bounded: bool,
    started: BTreeSet<String>,
    commits: usize,
    claims: BTreeSet<String>,
    leases: BTreeMap<(String, u64), PublishedLease>,
    seen: BTreeMap<ResourceKey, SeenRecord>,
    /// How many reviews each gate has.
    reviews: BTreeMap<ResourceKey, usize>,
    /// Every phase that a node was published in, with its attempt.
    phases: BTreeSet<(ResourceKey, NodeId, &'static str, u32)>,
    /// From when on shares are compared: machines may begin one after the other.
    compared_from: Duration,
    /// How many attempts each machine began once all were there.
    begun: BTreeMap<String, usize>,
    pub(super) broken: Vec<(Rule, String)>,
}

impl Judge {
    pub(super) fn new(strict: bool, bounded: bool, sources: Sources, compared_from: Duration) -> Self {
        Self { strict, bounded, sources, compared_from, ..Self::default() }
    }

    fn check(&mut self, holds: bool, rule: Rule, what: impl FnOnce() -> String) {
        if !holds {
            self.broken.push((rule, what()));
        }
    }

    /// Takes in a commit of the status branch that a runner with such clocks put there. The planted fault that drops the rule of the
    /// prefix shows in what it is taken for.
    pub(super) fn published(
        &mut self,
        repo: &Repo,
        tip: ObjectId,
        references: &References,
        (passed, reading): (Duration, ClockReading),
        drops_prefix: bool,
    ) {
        self.commits += 1;
        let tree = StatusTree::at(repo, Some(tip)).unwrap();
        for (key, _, _) in tree.list(repo, Some(Kind::Gate), None).unwrap() {
            let record = tree.get(repo, &key).unwrap().unwrap();
            let ResourceStatus::Gate(gate) = &record.status else { continue };
            let now = gate.review_history.len();
            let before = self.reviews.insert(key.clone(), now).unwrap_or_default();
            self.check(now >= before, Rule::DecisionWasLost, || format!("{key}: {now} of {before} reviews"));
        }
        for (key, _, blob) in tree.list(repo, Some(Kind::Execution), None).unwrap() {
            let old = self.seen.remove(&key);
            if let Some(old) = old.as_ref().filter(|old| old.blob == blob) {
                let SeenRecord { uid, status, .. } = old;
                let same = SeenRecord { blob, uid: uid.clone(), status: status.clone() };
                self.seen.insert(key, same);
                continue;
            }
            let record = tree.get(repo, &key).unwrap().unwrap();
            let uid = record.metadata.uid.clone();
            let mut status = record.execution().unwrap().clone();
            if drops_prefix && let Some(old) = &old {
                withhold_an_end(&mut status, &old.status);
            }
            if let Some(old) = old {
                self.compare(&key, &old.status, &status);
                self.check_takeover(&key, &old.status, &status, passed);
            }
            self.examine(repo, &key, &status, references);
            self.remember(&uid, &status, reading);
            self.seen.insert(key, SeenRecord { blob, uid, status });
        }
    }

    fn compare(&mut self, key: &ResourceKey, old: &ExecutionStatus, new: &ExecutionStatus) {
        let before = old.extensions.last_token;
        let now = new.extensions.last_token;
        self.check(now >= before, Rule::TokenWentBack, || format!("{key}: from {before} to {now}"));
        self.check(!old.phase.is_terminal() || old.phase == new.phase, Rule::EndWasUndone, || {
            format!("{key}: from {} to {}", old.phase, new.phase)
        });
        let lost = old.extensions.cancel.is_some() && new.extensions.cancel.is_none();
        self.check(!lost, Rule::DecisionWasLost, || format!("{key} is not cancelled any more"));
        for (node, was) in old.node_statuses.iter().filter(|(_, was)| was.phase.is_terminal()) {
            let is = new.node_statuses.get(node).map(|is| (is.phase, is.attempt_id()));
            self.check(is == Some((was.phase, was.attempt_id())), Rule::EndWasUndone, || {
                format!("{key}/{node}: from {:?} to {is:?}", (was.phase, was.attempt_id()))
            });
        }
    }

    /// A lease that another runner holds is taken over when it is over, and not before.
    fn check_takeover(
        &mut self,
        key: &ResourceKey,
        old: &ExecutionStatus,
        new: &ExecutionStatus,
        passed: Duration,
    ) {
        let (Some(before), Some(now)) = (&old.extensions.lease, &new.extensions.lease) else { return };
        // The recorded time may be off by half of the allowance, as may the clock of whoever takes over, who waits for all of it.
        let over = end_of(before.renew_time, before.duration_millis);
        let in_time = !self.bounded || before.token == now.token || at(passed) >= over;
        self.check(in_time, Rule::TakenOverTooEarly, || format!("{key}: {before:?} by {now:?}"));
    }

    /// What must hold of a record by itself.
    fn examine(&mut self, repo: &Repo, key: &ResourceKey, status: &ExecutionStatus, references: &References) {
        let kept = references.get(&results_ref(key)).copied();
        for (node, state) in &status.node_statuses {
            self.phases.insert((key.clone(), node.clone(), state.phase.as_str(), state.attempt));
            // What a node comes to follows from its name.
            let failed = state.phase == NodePhase::Failed && !node.as_str().starts_with("fails");
            self.check(!failed, Rule::FailedByEnvironment, || format!("{key}/{node}: {}", state.message));
            self.check_prefix(key, node, status);
            let result = state.extensions.result.iter().map(|result| &result.commit);
            for commit in result.chain(state.extensions.unfinished.iter().map(|work| &work.commit)) {
                let commit: ObjectId = commit.parse().unwrap();
                let is_kept = kept.is_some_and(|kept| repo.is_ancestor(commit, kept).unwrap() == Some(true));
                self.check(is_kept, Rule::ResultIsNotKept, || format!("{key}/{node}: {commit}"));
            }
        }
    }

    /// What was begun is published with or after what it leans on, and never alone.
    fn check_prefix(&mut self, key: &ResourceKey, node: &NodeId, status: &ExecutionStatus) {
        let has_run =
            |phase: NodePhase| matches!(phase, NodePhase::Running | NodePhase::Succeeded | NodePhase::Failed);
        if !status.node_statuses.get(node).is_some_and(|state| has_run(state.phase)) {
            return;
        }
        let name = (key.name.to_string(), node.to_string());
        let sources = self.sources.get(&name).cloned().unwrap_or_default();
        for source in sources {
            let found = status.node_statuses.iter().find(|(id, _)| id.as_str() == source);
            let phase = found.map(|(_, state)| state.phase);
            self.check(phase == Some(NodePhase::Succeeded), Rule::NoPrefix, || {
                format!("{key}/{node} runs or ran, and {source} is {phase:?}")
            });
        }
    }

    /// Takes in that people are shown a node in this phase.
    pub(super) fn shown(&mut self, key: &ResourceKey, node: &NodeId, phase: NodePhase, attempt: u32) {
        let what = (key.clone(), node.clone(), phase.as_str(), attempt);
        let was = self.phases.contains(&what);
        self.check(was, Rule::ShownBeforePublished, || format!("{what:?}"));
    }

    /// Whether a status branch that is set back to this commit lacks anything that somebody could rely on.
    pub(super) fn would_lose(&self, repo: &Repo, tip: ObjectId) -> bool {
        let tree = StatusTree::at(repo, Some(tip)).unwrap();
        let relied_on = |status: &ExecutionStatus| {
            let renewed = status.extensions.lease.as_ref().map(|lease| (lease.token, lease.renew_time));
            let ended = |node: &NodeStatus| (node.attempt, node.phase.is_terminal());
            let nodes: Vec<_> = status.node_statuses.values().map(ended).collect();
            (status.extensions.last_token, status.extensions.cancel.is_some(), renewed, nodes)
        };
        self.seen.iter().any(|(key, seen)| {
            let before = tree.get(repo, key).unwrap();
            let before = before.as_ref().and_then(|record| record.execution());
            // A lease that was given back and is there again holds others up for a while, and no more.
            // A renewal by a clock that was set back is recorded as earlier than what it renewed. Nobody can tell these two apart
            // by their times, and the one that is there again keeps others away for longer.
            let (after, released) = (relied_on(&seen.status), seen.status.extensions.lease.is_none());
            before.is_none_or(|before| {
                let before = relied_on(before);
                (&before.0, before.1, &before.3) != (&after.0, after.1, &after.3)
                    || (!released && before.2 < after.2)
            })
        })
    }

    /// Whether an Execution has ended.
    pub(super) fn has_ended(&self, key: &ResourceKey) -> bool {
        self.seen.get(key).is_some_and(|seen| seen.status.phase.is_terminal())
    }

    /// How many commits were published, and how many attempts were started.
    pub(super) fn seen(&self) -> (usize, usize) {
        (self.commits, self.started.len())
    }

    /// How many attempts each machine began.
    pub(super) fn begun(&self) -> &BTreeMap<String, usize> {
        &self.begun
    }

    fn remember(&mut self, uid: &str, status: &ExecutionStatus, reading: ClockReading) {
        if let Some(lease) = &status.extensions.lease {
            let known = self.leases.get(&(uid.to_owned(), lease.token));
            // A commit of somebody else holds the same lease again, which renews nothing.
            if known.is_none_or(|known| known.lease.renew_time != lease.renew_time) {
                let published = PublishedLease { lease: lease.clone(), boot: reading.boot };
                self.leases.insert((uid.to_owned(), lease.token), published);
            }
        }
        for (node, status) in status.node_statuses.iter().filter(|(_, node)| node.attempt > 0) {
            self.claims.insert(status.attempt_name(uid, node));
        }
    }

    /// Takes in that a runner with such clocks begins with an attempt, under this name.
    pub(super) fn started(
        &mut self,
        runner: &str,
        attempt: &Attempt,
        name: &str,
        (passed, reading): (Duration, ClockReading),
    ) {
        self.check(!self.started.contains(name), Rule::StartedTwice, || name.to_owned());
        self.started.insert(name.to_owned());
        if passed > self.compared_from {
            let machine = runner.split('.').next().unwrap_or_default();
            *self.begun.entry(machine.to_owned()).or_default() += 1;
        }
        let token = attempt.fencing_token;
        let uid = attempt.idempotency_key.split('/').next().unwrap_or_default().to_owned();
        let published = self.leases.get(&(uid.clone(), token)).filter(|known| known.lease.holder == runner);
        let Some(PublishedLease { lease, boot }) = published else {
            return self.check(false, Rule::StartedWithoutPublishedLease, || name.to_owned());
        };
        let until: Timestamp = end_of(lease.renew_time, lease.duration_millis);
        let by_boot = *boot + Duration::from_millis(lease.duration_millis);
        let in_time = reading.wall < until && reading.boot < by_boot;
        self.check(in_time, Rule::StartedAfterItsLease, || format!("{name}: until {until}, {reading:?}"));
        if self.strict {
            let claimed = self.claims.contains(&attempt.idempotency_key);
            self.check(claimed, Rule::StartedWithoutPublishedClaim, || name.to_owned());
        }
        if self.bounded {
            // A clock that is further off than the configuration allows may cost a runner its lease early. What it does then
            // under the old token has a name of its own, and is not recorded.
            let newest = self.seen.values().find(|seen| seen.uid == uid);
            let newest = newest.map_or(0, |seen| seen.status.extensions.last_token);
            self.check(newest <= token, Rule::StartedBesideANewerLease, || format!("{name}: {newest}"));
        }
    }

    /// Whether so many Executions have ended.
    pub(super) fn is_done(&self, executions: usize) -> bool {
        let ended = self.seen.values().filter(|seen| seen.status.phase.is_terminal()).count();
        executions > 0 && ended == executions
    }

    /// What has not ended, and why.
    pub(super) fn open(&self) -> String {
        let mut open = String::new();
        for (key, seen) in self.seen.iter().filter(|(_, seen)| !seen.status.phase.is_terminal()) {
            let _ = writeln!(open, "{key} {} {:?}", seen.status.phase, seen.status.extensions.lease);
            for (node, status) in seen.status.node_statuses.iter() {
                let _ = writeln!(open, "  {node} {:?} {}", status.phase, status.message);
            }
        }
        open
    }

    /// What everything came to: the phase of each Execution and of each node, but for these, of which it depends on when they
    /// were cancelled.
    pub(super) fn phases(&self, cancelled: &[String]) -> BTreeMap<String, String> {
        let mut phases = BTreeMap::new();
        let counts = |key: &ResourceKey| !cancelled.iter().any(|name| name == key.name.as_str());
        for (key, seen) in self.seen.iter().filter(|(key, _)| counts(key)) {
            phases.insert(key.to_string(), seen.status.phase.to_string());
            for (node, status) in &seen.status.node_statuses {
                phases.insert(format!("{key}/{node}"), format!("{:?}", status.phase));
            }
        }
        phases
    }
}

/// Leaves a node as it was before, although others may lean on its end.
fn withhold_an_end(status: &mut ExecutionStatus, before: &ExecutionStatus) {
    let ended = |(node, state): (&NodeId, &NodeStatus)| {
        let was = before.node_statuses.get(node)?;
        (state.phase.is_terminal() && !was.phase.is_terminal()).then(|| (node.clone(), was.clone()))
    };
    let found = status.node_statuses.iter().find_map(ended);
    if let Some((node, was)) = found {
        status.node_statuses.insert(node, was);
    }
}
