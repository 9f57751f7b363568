//! What must hold whatever happens: watches each commit on the status branch and each start of an attempt.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use jiff::Timestamp;

use super::clock::end_of;
use crate::engine::clock::ClockReading;
use crate::git::{ObjectId, Repo};
use crate::model::{ExecutionStatus, Kind, Lease, ResourceKey};
use crate::provider::Attempt;
use crate::record::StatusTree;

/// A rule that was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display)]
pub(super) enum Rule {
    StartedTwice,
    StartedWithoutPublishedLease,
    StartedWithoutPublishedClaim,
    StartedAfterItsLease,
    StartedBesideANewerLease,
    TokenWentBack,
    EndWasUndone,
    RunnerGaveUp,
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
    /// Whether clocks are no further apart than the configuration allows.
    bounded: bool,
    started: BTreeSet<String>,
    claims: BTreeSet<String>,
    leases: BTreeMap<(String, u64), PublishedLease>,
    seen: BTreeMap<ResourceKey, SeenRecord>,
    pub(super) broken: Vec<(Rule, String)>,
}

impl Judge {
    pub(super) fn new(strict: bool, bounded: bool) -> Self {
        Self { strict, bounded, ..Self::default() }
    }

    fn check(&mut self, holds: bool, rule: Rule, what: impl FnOnce() -> String) {
        if !holds {
            self.broken.push((rule, what()));
        }
    }

    /// Takes in a commit of the status branch that a runner with such clocks put there.
    pub(super) fn published(&mut self, repo: &Repo, tip: ObjectId, reading: ClockReading) {
        let tree = StatusTree::at(repo, Some(tip)).unwrap();
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
            let status = record.execution().unwrap().clone();
            if let Some(old) = old {
                self.compare(&key, &old.status, &status);
            }
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
        for (node, was) in old.node_statuses.iter().filter(|(_, was)| was.phase.is_terminal()) {
            let is = new.node_statuses.get(node).map(|is| (is.phase, is.attempt_id()));
            self.check(is == Some((was.phase, was.attempt_id())), Rule::EndWasUndone, || {
                format!("{key}/{node}: from {:?} to {is:?}", (was.phase, was.attempt_id()))
            });
        }
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
    pub(super) fn started(&mut self, runner: &str, attempt: &Attempt, name: &str, reading: ClockReading) {
        self.check(!self.started.contains(name), Rule::StartedTwice, || name.to_owned());
        self.started.insert(name.to_owned());
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

    /// What everything came to: the phase of each Execution and of each node.
    pub(super) fn phases(&self) -> BTreeMap<String, String> {
        let mut phases = BTreeMap::new();
        for (key, seen) in &self.seen {
            phases.insert(key.to_string(), seen.status.phase.to_string());
            for (node, status) in &seen.status.node_statuses {
                phases.insert(format!("{key}/{node}"), format!("{:?}", status.phase));
            }
        }
        phases
    }
}
