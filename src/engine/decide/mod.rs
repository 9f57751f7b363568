//! Decisions of people: approve, reject, complete, answer, cancel, retry, unlock, accept-pin, suspend, resume. Each is one commit on the status
//! branch, made by compare-and-swap; what follows from it is the next reconcile's business.

mod answer;
mod execution;
mod gate;
mod handed_in;
mod held_back;
mod pin;
mod retry;
mod schedule;
mod target;

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use self::execution::HumanWork;
use super::clock::Clock;
use super::commit::builder::CommitBuilder;
use super::commit::kept_work::KeptWork;
use super::commit::publisher::{PublishOutcome, Publisher};
use super::snapshot::Snapshot;
use super::{Branches, EngineError};
use crate::git::Signature;
use crate::index::Index;
use crate::model::{HostAccount, JsonMap, Name, NodeId, ResourceKey, ReviewAction};
use crate::record::results_ref;

/// How often a lost race is tried again.
const MOST_RACES: u32 = 60;

/// What somebody decides.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// A review of a gate, for the execution that waits at it.
    Review {
        /// The gate.
        gate: ResourceKey,
        /// What is said.
        action: ReviewAction,
        /// The execution, when several wait, or when it has not come that far yet.
        execution: Option<ResourceKey>,
        /// In their words.
        comment: Option<String>,
        /// The digest of what they looked at, or its beginning; anything else is not reviewed.
        expect: Option<String>,
    },
    /// The work of a node was done, or could not be, by a person.
    Complete {
        /// The execution.
        execution: ResourceKey,
        /// The node.
        node: NodeId,
        /// The outputs.
        outputs: JsonMap,
        /// Whether it failed.
        failed: bool,
        /// In their words.
        comment: Option<String>,
    },
    /// A person did the work of a node, as commits.
    HandIn {
        /// The execution.
        execution: ResourceKey,
        /// The node.
        node: NodeId,
        /// The commit, in this repository.
        commit: String,
        /// The outputs.
        outputs: JsonMap,
        /// In their words.
        comment: Option<String>,
    },
    /// A question that a provider asked back is answered.
    Answer {
        /// The execution.
        execution: ResourceKey,
        /// The node.
        node: NodeId,
        /// The answer.
        text: String,
    },
    /// An execution is cancelled, or every execution of a goal.
    Cancel {
        /// The execution or goal.
        target: ResourceKey,
        /// In their words.
        comment: Option<String>,
    },
    /// Nodes are to run again.
    Retry {
        /// The execution.
        execution: ResourceKey,
        /// This node and everything after it; whatever did not succeed when absent.
        from: Option<NodeId>,
        /// In their words.
        comment: Option<String>,
    },
    /// The lease of a runner that will not come back is freed.
    Unlock {
        /// The execution.
        execution: ResourceKey,
        /// In their words.
        comment: Option<String>,
    },
    /// What the desired branch holds now takes the place of a pin that does not hold.
    AcceptPin {
        /// The execution.
        execution: ResourceKey,
        /// In their words.
        comment: Option<String>,
    },
    /// Nothing further starts.
    Suspend {
        /// The execution.
        execution: ResourceKey,
        /// In their words.
        comment: Option<String>,
    },
    /// Things start again.
    Resume {
        /// The execution.
        execution: ResourceKey,
    },
    /// A Schedule starts nothing.
    SuspendSchedule {
        /// The Schedule.
        schedule: ResourceKey,
        /// In their words.
        comment: Option<String>,
    },
    /// A Schedule starts runs again.
    ResumeSchedule {
        /// The Schedule.
        schedule: ResourceKey,
    },
}

/// A decision that is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedDecision {
    /// What it came to, a line for each resource: `gate/sso-security-review approved (1 of 1)`.
    pub lines: Vec<String>,
    /// The status commit; absent when everything was so already.
    pub commit: Option<String>,
    /// Whom the decision is recorded for.
    pub by: String,
}

/// What a decision changes.
#[derive(Debug, Default)]
struct DecisionEffect {
    assembly: CommitBuilder,
    lines: Vec<String>,
}

/// Who decides, and how that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decider {
    /// Whoever the local Git says: people who may push to the status branch are taken at their word.
    Committer(Signature),
    /// Somebody whom the Git host vouches for.
    Host(HostDecision),
}

/// What the Git host vouches for: who decided, where, and when. A job that is run again finds the same comment, so that its
/// id and time tell whether it still answers anything (Invariant 11).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostDecision {
    /// The account.
    pub account: HostAccount,
    /// Teams of the gate's reviewers that the host says the person is in, without `team:`.
    pub teams: Vec<String>,
    /// The comment or review, as `comment ID`.
    pub source: String,
    /// When it was made.
    pub at: Timestamp,
    /// Whether it may be older than the wait: a review of the pull request that brought the Execution always is.
    pub in_advance: bool,
}

/// Who decides, and when.
#[derive(Debug, Clone)]
struct Actor<'a> {
    /// Who, as recorded: a name of the configuration, or an email address.
    name: String,
    /// What the Git host vouches for.
    host: Option<&'a HostDecision>,
    /// The time.
    at: Timestamp,
    /// The name of this process, for the trailers.
    runner: &'a str,
    /// When the wait that is answered began, as first seen.
    first_seen: &'a Cell<Option<Timestamp>>,
}

impl Actor<'_> {
    /// When the decision was made.
    fn made_at(&self) -> Timestamp {
        self.host.map_or(self.at, |host| host.at)
    }

    /// When the decision was made, as it is recorded. GitHub gives times in whole seconds: a decision about a wait that began
    /// within its second was made after that, and recorded as it is it would count as one from before a retry.
    fn answered_at(&self, began: Option<Timestamp>) -> Timestamp {
        let made = self.made_at();
        match (self.host, began) {
            (Some(host), Some(began)) if !host.in_advance && made.as_second() == began.as_second() => {
                made.max(began)
            }
            _ => made,
        }
    }

    /// Refuses a decision that was made before what it answers began (Invariant 11). A decision on the command line is made now,
    /// but another wait may begin while it loses a race; clocks are not compared for it, since that of the runner that recorded
    /// the wait may be ahead.
    fn answers(&self, began: Option<Timestamp>, what: &str) -> Result<(), EngineError> {
        let older = match self.host {
            // GitHub gives times in whole seconds.
            Some(host) => {
                !host.in_advance && began.is_some_and(|began| host.at.as_second() < began.as_second())
            }
            None => {
                let first = self.first_seen.get().or(began);
                self.first_seen.set(first);
                first != began
            }
        };
        if let Some(began) = began.filter(|began| older && self.host.is_some() && *began > self.at) {
            return refuse(format!(
                "{what} is recorded at {began}, which has not come yet: the clock of the runner that wrote it is ahead, and what was said \
                 before cannot be told from what is said since; decide with `planspec` on the command line, where no clocks are compared"
            ));
        }
        if older {
            return refuse(format!("the decision is older than {what}, so it does not count; decide again"));
        }
        Ok(())
    }
}

/// Records a decision (Invariant 3 and 11). After a lost race everything is read again, so
/// that what is recorded is a decision about what is so now.
///
/// # Errors
/// [`EngineError::Refused`] when the decision cannot be made; Git; too many lost races.
pub fn decide(
    branches: &Branches,
    index: Index,
    decision: &Decision,
    decider: &Decider,
    clock: &Arc<dyn Clock>,
    runner: &str,
) -> Result<RecordedDecision, EngineError> {
    let mut publisher = Publisher::new(branches)?;
    if let (Decision::HandIn { execution, .. }, Some(remote)) = (decision, branches.remote()) {
        // What is handed in stands on results that another machine may have made.
        remote.fetch(branches.repo(), &[&results_ref(execution)])?;
    }
    let (mut snapshot, _) =
        Snapshot::open(branches.repo().reopen()?, index, branches.tips()?, branches.remote().cloned())?;
    let first_seen = Cell::new(None);
    for races in 0..MOST_RACES {
        // In the loop: what is read after a lost race may bring another configuration with other people.
        let people = super::snapshot::gates::people(&snapshot);
        let (name, host) = match decider {
            Decider::Committer(person) => (people.identify(&person.email), None),
            // By the login that the host vouches for. A name under `identities` is nobody's login by itself.
            Decider::Host(host) => {
                (people.identify_account(&host.account.login, host.account.id), Some(host))
            }
        };
        let name = name.map_err(|refusal| EngineError::Refused(refusal.to_string()))?;
        let actor = Actor { name, host, at: clock.now(), runner, first_seen: &first_seen };
        let mut effect = weigh(&snapshot, decision, &actor);
        // What it takes to judge a pin may not be in a shallow clone; each part is fetched once.
        while let Some((fetch, remote, store)) = snapshot.merged.take_wanted() {
            fetch.run(&remote, &snapshot.repo, &store)?;
            snapshot.merged.refresh();
            effect = weigh(&snapshot, decision, &actor);
        }
        let DecisionEffect { assembly, lines } = effect?;
        let by = actor.name.clone();
        // Asked for twice it is so already, which makes no commit (Invariant 5).
        if assembly.is_empty() {
            return Ok(RecordedDecision { lines, commit: None, by });
        }
        // The events are for those who follow a reconcile; whoever decides gets lines.
        let (batch, effects) = assembly.split(snapshot.desired.id, actor.runner, actor.at);
        let work = KeptWork::of(&effects.puts, |key| snapshot.record(key))?;
        match publisher.deliver(&snapshot.config, snapshot.status, &batch, &work)? {
            PublishOutcome::Done(written) => {
                return Ok(RecordedDecision { lines, commit: Some(written.commit.to_string()), by });
            }
            PublishOutcome::Unchanged => return Ok(RecordedDecision { lines, commit: None, by }),
            // Whoever hands them in is told, and nothing is recorded.
            PublishOutcome::WorkRefused(_, error) => return Err(error.into()),
            PublishOutcome::Moved(_) => {
                // Longer with each loss, so that a runner which publishes all the time does not win every
                // race.
                std::thread::sleep(Duration::from_millis(20 * u64::from(races.min(20)) + 5));
                // All is read again, because the decision may be impossible by now. Nothing is merged
                // (Invariant 3).
                snapshot.move_to(branches.tips()?)?;
            }
        }
    }
    Err(EngineError::Contended { attempts: MOST_RACES })
}

fn weigh(snapshot: &Snapshot, decision: &Decision, actor: &Actor<'_>) -> Result<DecisionEffect, EngineError> {
    match decision {
        Decision::Review { gate, action, execution, comment, expect } => {
            let words = (comment.as_deref(), expect.as_deref());
            gate::review(snapshot, actor, gate, *action, execution.as_ref(), words)
        }
        Decision::Complete { execution, node, outputs, failed, comment } => {
            let work = if *failed { HumanWork::Failed } else { HumanWork::Done(outputs, None) };
            execution::complete(snapshot, actor, (execution, node), &work, comment.as_deref())
        }
        Decision::HandIn { execution, node, commit, outputs, comment } => {
            let work = HumanWork::Done(outputs, Some(commit));
            execution::complete(snapshot, actor, (execution, node), &work, comment.as_deref())
        }
        Decision::Answer { execution, node, text } => answer::answer(snapshot, actor, execution, node, text),
        Decision::Cancel { target, comment } => {
            execution::cancel(snapshot, actor, target, comment.as_deref())
        }
        Decision::Retry { execution, from, comment } => {
            retry::retry(snapshot, actor, execution, from.as_ref(), comment.as_deref())
        }
        Decision::Unlock { execution, comment } => {
            execution::unlock(snapshot, actor, execution, comment.as_deref())
        }
        Decision::AcceptPin { execution, comment } => {
            pin::accept(snapshot, actor, execution, comment.as_deref())
        }
        Decision::Suspend { execution, comment } => {
            execution::suspend(snapshot, actor, execution, comment.as_deref())
        }
        Decision::Resume { execution } => execution::resume(snapshot, actor, execution),
        Decision::SuspendSchedule { schedule, comment } => {
            schedule::suspend(snapshot, actor, schedule, comment.as_deref())
        }
        Decision::ResumeSchedule { schedule } => schedule::resume(snapshot, actor, schedule),
    }
}

fn refuse<T>(message: impl Into<String>) -> Result<T, EngineError> {
    Err(EngineError::Refused(message.into()))
}

/// The names of resources, for a message.
fn listed<'a>(names: impl Iterator<Item = &'a Name>) -> String {
    names.map(Name::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// A decision on the host, made at a hundred seconds.
    fn host(in_advance: bool) -> HostDecision {
        HostDecision {
            account: HostAccount { login: "rosa".to_owned(), id: 7 },
            teams: Vec::new(),
            source: "comment 1".to_owned(),
            at: at(100),
            in_advance,
        }
    }

    #[test]
    fn a_decision_of_the_host_answers_only_what_began_before_it() {
        let first_seen = Cell::new(None);
        let answers = |host: &HostDecision, began| {
            let host = Some(host);
            let actor =
                Actor { name: "rosa".into(), host, at: at(500), runner: "r", first_seen: &first_seen };
            actor.answers(began, "the wait")
        };
        assert!(answers(&host(false), Some(at(100))).is_ok());
        assert!(answers(&host(false), None).is_ok());
        let refused = answers(&host(false), Some(at(101))).unwrap_err().to_string();
        assert_eq!(refused, "the decision is older than the wait, so it does not count; decide again");
        assert!(answers(&host(true), Some(at(101))).is_ok());
        // A clock that is ahead wrote that, and the person does what helps.
        let refused = answers(&host(false), Some(at(501))).unwrap_err().to_string();
        assert!(refused.contains("which has not come yet") && refused.contains("command line"), "{refused}");
    }

    #[test]
    fn a_decision_within_the_second_of_the_wait_is_recorded_after_it() {
        let milli = |milli| Timestamp::from_millisecond(milli).unwrap();
        let recorded = |in_advance, began| {
            let host = host(in_advance);
            let first_seen = Cell::new(None);
            let host = Some(&host);
            let actor =
                Actor { name: "rosa".into(), host, at: at(500), runner: "r", first_seen: &first_seen };
            actor.answered_at(began)
        };
        assert_eq!(recorded(false, Some(milli(100_600))), milli(100_600));
        assert_eq!(recorded(false, Some(milli(99_900))), at(100));
        assert_eq!(recorded(false, None), at(100));
        assert_eq!(recorded(true, Some(milli(100_600))), at(100), "that wait was not seen yet");
    }

    #[test]
    fn a_decision_on_the_command_line_answers_the_wait_that_it_saw_first_whatever_its_clock_says() {
        let first_seen = Cell::new(None);
        let actor =
            Actor { name: "ada".into(), host: None, at: at(100), runner: "r", first_seen: &first_seen };
        assert!(actor.answers(Some(at(900)), "the wait").is_ok());
        assert!(actor.answers(Some(at(900)), "the wait").is_ok());
        assert!(actor.answers(Some(at(901)), "the wait").is_err());
    }
}
