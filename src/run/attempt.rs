//! How an attempt ended: the one type that providers report, planning decides by and changes record.

use std::sync::Arc;
use std::time::Duration;

use crate::model::{
    Artifact, ChangeRequest, CriterionResult, DiscardedChanges, JsonMap, LogSummary, NodeId, NodeReason,
    NodeResult, NodeStatus, StoredFiles, UnfinishedWork, Usage,
};

/// Why an attempt ends early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The node was cancelled.
    Cancel,
    /// The runner shuts down; another one will start the attempt again.
    Shutdown,
}

/// The name of one attempt, which no other attempt of any runner ever has.
// The uid is part of it: an Execution that was deleted and written again has the same key and counts from one again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct AttemptName {
    /// The uid of the Execution.
    pub(crate) uid: String,
    /// The node.
    pub(crate) node: NodeId,
    /// Its name within the node: the token of the lease and the number.
    pub(crate) id: String,
}

impl AttemptName {
    /// The current or last attempt of a node.
    pub(crate) fn of(uid: &str, node: &NodeId, state: &NodeStatus) -> Self {
        Self { uid: uid.to_owned(), node: node.clone(), id: state.attempt_id() }
    }
}

/// What keeps a runner from doing work with which nothing is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunnerFault {
    /// This machine: a folder, the disk, a process that cannot be started.
    Machine,
    /// The way to the pinned commit: the network, the remote, a clone without the objects. Says nothing of other work.
    Commit,
    /// Something that the work needs is refused to this runner, such as for want of credentials. Only people can change that.
    Access,
}

/// How an attempt, or a poll of remote work, ended.
#[derive(Debug, Clone, PartialEq, strum::IntoStaticStr)]
pub enum AttemptOutcome {
    /// The work is done.
    Succeeded {
        /// The outputs.
        outputs: JsonMap,
    },
    /// The work failed.
    Failed {
        /// Why, for programs.
        reason: NodeReason,
        /// Why, as text; redacted.
        message: String,
        /// Whether another attempt may end otherwise.
        retryable: bool,
        /// How long the provider asks to be left alone before another attempt.
        retry_after: Option<Duration>,
    },
    /// It was stopped early, and may have done anything by then.
    Stopped(Stop),
    /// Nothing of it began, for a reason that lies with this runner; the claim is given back and does not count.
    // The runner's faults are not the work's: one cache folder that could not be written to failed 20 of 20 Executions
    // for good.
    NotStarted {
        /// Why, as text.
        message: String,
    },
    /// It was not made, or not brought to its end, because of this runner or of the way to the pinned commit: no judgement of
    /// the work. Another attempt follows and does not count as a retry; where the work had begun, as after [`Self::Lost`].
    RunnerFailed {
        /// What is to blame.
        fault: RunnerFault,
        /// What went wrong, as text; redacted.
        message: String,
        /// Whether the work may have done anything.
        begun: bool,
    },
    /// The remote work is no longer to be found, and nobody knows how it ended. Another attempt follows where the node is
    /// repeatable, and does not count as a retry.
    // Not a failure: it may have succeeded, so a node that must not run twice is left to a person.
    Lost {
        /// What is gone, as text; redacted.
        message: String,
    },
    /// The work asks to be begun again later, such as after the limit of a service: no failure, so it uses up no retry.
    Postponed {
        /// Why, as text; redacted.
        message: String,
        /// For how long; a pause that grows with the attempts when absent.
        retry_after: Option<Duration>,
    },
    /// It waits for something outside of this runner.
    Blocked {
        /// Why, for programs.
        reason: NodeReason,
        /// Why, as text.
        message: String,
        /// What the provider needs to be polled.
        handle: Option<String>,
        /// When the provider wants to be polled; never by itself when absent.
        poll_after: Option<Duration>,
    },
}

/// What an attempt that goes on later leaves of its changes to the next one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum UnfinishedChanges {
    /// Nothing is known of them: the next attempt finds what this one found.
    #[default]
    AsFound,
    /// These; none where every file is as in the base.
    Left(Option<Arc<UnfinishedWork>>),
}

/// What was seen of an attempt besides its outcome.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Evidence {
    /// The exit code, if a process ran and was not ended by a signal.
    pub exit_code: Option<i32>,
    /// The end of the log, if anything was printed.
    pub log: Option<LogSummary>,
    /// The results of the acceptance criteria.
    pub criteria: Vec<CriterionResult>,
    /// What was left in the artifacts directory.
    pub artifacts: Vec<Artifact>,
    /// What of it can be had on any machine.
    pub stored: Option<Arc<StoredFiles>>,
    /// What it changed, where that is kept.
    pub result: Option<NodeResult>,
    /// What it changed so far, where it goes on later.
    pub unfinished: UnfinishedChanges,
    /// What it changed, where that is not kept.
    pub discarded: Option<DiscardedChanges>,
    /// What it says it used up.
    pub usage: Option<Usage>,
    /// What a reviewer wants changed of what it delivers.
    pub requested: Option<Box<ChangeRequest>>,
}

/// The end of an attempt, with what was seen of it.
#[derive(Debug, Clone, PartialEq)]
pub struct AttemptReport {
    /// How it ended.
    pub outcome: AttemptOutcome,
    /// What was seen.
    pub evidence: Evidence,
}

impl AttemptOutcome {
    /// A failure that another attempt may overcome.
    #[must_use]
    pub fn failed(reason: NodeReason, message: impl Into<String>) -> Self {
        Self::Failed { reason, message: message.into(), retryable: true, retry_after: None }
    }

    /// A failure that every attempt would meet.
    #[must_use]
    pub fn permanent(reason: NodeReason, message: impl Into<String>) -> Self {
        Self::Failed { reason, message: message.into(), retryable: false, retry_after: None }
    }
}

impl AttemptOutcome {
    /// This machine failed before anything of the work began.
    #[must_use]
    pub fn not_possible_here(message: impl Into<String>) -> Self {
        Self::RunnerFailed { fault: RunnerFault::Machine, message: cause_first(message.into()), begun: false }
    }

    /// This machine failed after the work began, so that nobody knows what came of it.
    #[must_use]
    pub fn broken_off_here(message: impl Into<String>) -> Self {
        Self::RunnerFailed { fault: RunnerFault::Machine, message: cause_first(message.into()), begun: true }
    }
}

/// What the system says of a full disk.
pub(crate) const DISK_FULL: &str = "No space left on device";

/// The message with a full disk named first: whatever failed to be written, this is why.
pub(crate) fn cause_first(message: String) -> String {
    const FIRST: &str = "the disk is full";
    if message.contains(DISK_FULL) && !message.starts_with(FIRST) {
        return format!("{FIRST}: {message}");
    }
    message
}

impl From<AttemptOutcome> for AttemptReport {
    /// A report of nothing but the outcome.
    // What ends before anything ran has no log, criteria or artifacts.
    fn from(outcome: AttemptOutcome) -> Self {
        Self { outcome, evidence: Evidence::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_named_before_what_it_broke() {
        let full = std::io::Error::from_raw_os_error(28);
        for outcome in [
            AttemptOutcome::not_possible_here(format!("the brief cannot be written: {full}")),
            AttemptOutcome::broken_off_here(format!("the brief cannot be written: {full}")),
        ] {
            let AttemptOutcome::RunnerFailed { message, .. } = outcome else { panic!("{outcome:?}") };
            assert!(message.starts_with("the disk is full: the brief cannot be written"), "{message}");
            assert_eq!(cause_first(message.clone()), message);
        }
    }
}
