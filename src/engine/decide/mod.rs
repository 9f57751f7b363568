//! Decisions of people: approve, reject, complete, answer, cancel, retry, unlock, suspend, resume. Each is one commit on the status
//! branch, made by compare-and-swap; what follows from it is the next reconcile's business.

mod answer;
mod execution;
mod gate;
mod target;

use std::sync::Arc;
use std::time::Duration;

use super::clock::Clock;
use super::commit::builder::CommitBuilder;
use super::commit::publisher::{PublishOutcome, Publisher};
use super::snapshot::Snapshot;
use super::{Branches, EngineError};
use crate::git::Signature;
use crate::index::Index;
use crate::model::{JsonMap, Name, NodeId, ResourceKey, ReviewAction};

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
    },
    /// The work of a node was done, or could not be, by a person.
    Complete {
        /// The execution.
        execution: ResourceKey,
        /// The node.
        node: NodeId,
        /// What it gave.
        outputs: JsonMap,
        /// Whether it failed.
        failed: bool,
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
    /// An execution is called off, or every execution of a goal.
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
    /// A login that the Git host vouches for.
    Login {
        /// The login.
        login: String,
        /// Teams of the gate's reviewers that the host says the person is in, without `team:`.
        teams: Vec<String>,
    },
}

/// Who decides, and when.
#[derive(Debug, Clone)]
struct Actor<'a> {
    /// Who, as recorded: a name of the configuration, or an email address.
    name: String,
    /// Teams that the Git host vouches for.
    teams: Vec<String>,
    /// The time.
    at: jiff::Timestamp,
    /// The name of this process, for the trailers.
    runner: &'a str,
}

/// Records a decision (Invariant 3 and 11). After a lost race everything is looked at again, so
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
    let (mut snapshot, _) = Snapshot::open(branches.repo().reopen()?, index, branches.tips()?)?;
    for races in 0..MOST_RACES {
        let people = super::snapshot::gates::people(&snapshot);
        let (name, teams) = match decider {
            Decider::Committer(person) => (people.identify(&person.email), Vec::new()),
            Decider::Login { login, teams } => (people.identify_login(login), teams.clone()),
        };
        let name = name.map_err(|refusal| EngineError::Refused(refusal.to_string()))?;
        let actor = Actor { name, teams, at: clock.now(), runner };
        let DecisionEffect { assembly, lines } = weigh(&snapshot, decision, &actor)?;
        let by = actor.name.clone();
        if assembly.is_empty() {
            return Ok(RecordedDecision { lines, commit: None, by });
        }
        let (batch, _) = assembly.split(snapshot.desired.id, actor.runner, actor.at);
        match publisher.deliver(&snapshot.config, snapshot.status, &batch)? {
            PublishOutcome::Done { commit, .. } => {
                return Ok(RecordedDecision { lines, commit: Some(commit.to_string()), by });
            }
            PublishOutcome::Unchanged => return Ok(RecordedDecision { lines, commit: None, by }),
            PublishOutcome::Moved(_) => {
                std::thread::sleep(Duration::from_millis(20 * u64::from(races.min(20)) + 5));
                snapshot.move_to(branches.tips()?)?;
            }
        }
    }
    Err(EngineError::Contended { attempts: MOST_RACES })
}

fn weigh(snapshot: &Snapshot, decision: &Decision, actor: &Actor<'_>) -> Result<DecisionEffect, EngineError> {
    match decision {
        Decision::Review { gate, action, execution, comment } => {
            gate::review(snapshot, actor, gate, *action, execution.as_ref(), comment.as_deref())
        }
        Decision::Complete { execution, node, outputs, failed, comment } => {
            execution::complete(snapshot, actor, execution, node, outputs, *failed, comment.as_deref())
        }
        Decision::Answer { execution, node, text } => answer::answer(snapshot, actor, execution, node, text),
        Decision::Cancel { target, comment } => {
            execution::cancel(snapshot, actor, target, comment.as_deref())
        }
        Decision::Retry { execution, from, comment } => {
            execution::retry(snapshot, actor, execution, from.as_ref(), comment.as_deref())
        }
        Decision::Unlock { execution, comment } => {
            execution::unlock(snapshot, actor, execution, comment.as_deref())
        }
        Decision::Suspend { execution, comment } => {
            execution::suspend(snapshot, actor, execution, comment.as_deref())
        }
        Decision::Resume { execution } => execution::resume(snapshot, actor, execution),
    }
}

fn refuse<T>(message: impl Into<String>) -> Result<T, EngineError> {
    Err(EngineError::Refused(message.into()))
}

/// The names of resources, for a message.
fn listed<'a>(names: impl Iterator<Item = &'a Name>) -> String {
    names.map(Name::as_str).collect::<Vec<_>>().join(", ")
}
