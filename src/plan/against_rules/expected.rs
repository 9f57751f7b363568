//! What a run must come to: the rules of the contract once more, evaluated node by node in the order of the graph,
//! without attempts, time, statuses or a scheduler.

use super::case::{Answer, Bound, End, Kind, Spec, Task, Then, Total, When};
use crate::model::{ExecutionPhase, NodePhase, NodeReason};

/// What becomes of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ExpectedEnd {
    /// It ends in this phase, for this reason.
    Ends(NodePhase, Option<NodeReason>),
    /// It waits for ever, for this.
    Waits(NodeReason),
    /// It waits for another node that does.
    WaitsForNode,
}

/// What a run comes to.
#[derive(Debug)]
pub(super) struct Expected {
    pub(super) ends: Vec<ExpectedEnd>,
    /// How many attempts were made.
    pub(super) attempts: Vec<u32>,
    /// The number that the node gives.
    pub(super) numbers: Vec<Option<i64>>,
    pub(super) outcome: ExecutionPhase,
}

/// Evaluates a plan. Every node stands after those that it names.
pub(super) fn expected(specs: &[Spec], flags: [bool; 3]) -> Expected {
    evaluate(specs, flags, None)
}

/// Evaluates what comes after somebody asked to try again: what is `reset` happens once more, everything else stays.
pub(super) fn expected_again(specs: &[Spec], flags: [bool; 3], first: &Expected, reset: &[bool]) -> Expected {
    evaluate(specs, flags, Some((first, reset)))
}

fn evaluate(specs: &[Spec], flags: [bool; 3], first: Option<(&Expected, &[bool])>) -> Expected {
    let outcome = ExecutionPhase::Pending;
    let mut all = Expected { ends: Vec::new(), attempts: Vec::new(), numbers: Vec::new(), outcome };
    for (index, spec) in specs.iter().enumerate() {
        let before = first.map_or(0, |(first, _)| first.attempts[index]);
        let kept = first.filter(|(_, reset)| !reset[index] && !matches!(spec.kind, Kind::Group { .. }));
        let (fate, attempts) = match kept {
            Some((first, _)) => (first.ends[index], before),
            None => all.fate(spec, flags, before),
        };
        let number = match &spec.kind {
            Kind::Task(task) if fate_is(fate, NodePhase::Succeeded) => {
                Some(task.value + spec.reads.map_or(0, |source| all.numbers[source].unwrap()))
            }
            _ => None,
        };
        all.ends.push(fate);
        all.attempts.push(attempts);
        all.numbers.push(number);
    }
    all.outcome = outcome_of(specs, &all.ends);
    all
}

/// What is tried again: what failed, or was lost with its runner, and all that follows from it.
pub(super) fn reset(specs: &[Spec], first: &Expected) -> Vec<bool> {
    let mut reset: Vec<bool> = Vec::new();
    for (index, spec) in specs.iter().enumerate() {
        let members: &[usize] = match &spec.kind {
            Kind::Group { members } => members,
            _ => &[],
        };
        let group = matches!(spec.kind, Kind::Group { .. });
        let lost = first.ends[index] == ExpectedEnd::Waits(NodeReason::RunnerLost);
        let failed = !group && (lost || fate_is(first.ends[index], NodePhase::Failed));
        let follows = spec.sources.keys().chain(members).any(|source| reset[*source]);
        reset.push(failed || follows);
    }
    reset
}

/// A required node that failed fails the whole; what waits keeps it from ending.
fn outcome_of(specs: &[Spec], ends: &[ExpectedEnd]) -> ExecutionPhase {
    let mut work = specs.iter().zip(ends).filter(|(spec, _)| !matches!(spec.kind, Kind::Group { .. }));
    if work.clone().any(|(_, fate)| !matches!(fate, ExpectedEnd::Ends(..))) {
        ExecutionPhase::Blocked
    } else if work.any(|(spec, fate)| fate_is(*fate, NodePhase::Failed) && !spec.allow_failure) {
        ExecutionPhase::Failed
    } else {
        ExecutionPhase::Succeeded
    }
}

fn fate_is(fate: ExpectedEnd, phase: NodePhase) -> bool {
    matches!(fate, ExpectedEnd::Ends(found, _) if found == phase)
}

impl Expected {
    fn phase(&self, node: usize) -> Option<NodePhase> {
        match self.ends[node] {
            ExpectedEnd::Ends(phase, _) => Some(phase),
            ExpectedEnd::Waits(_) | ExpectedEnd::WaitsForNode => None,
        }
    }

    /// What becomes of a node that had so many attempts `before`.
    fn fate(&self, spec: &Spec, flags: [bool; 3], before: u32) -> (ExpectedEnd, u32) {
        if let Kind::Group { members } = &spec.kind {
            return (self.sum(members), 0);
        }
        let asked = spec.when.as_ref().map(When::phases).unwrap_or_default();
        let unmet = |(source, hard): (&usize, &bool)| {
            let phase = self.phase(*source);
            *hard && !asked.contains(source) && phase.is_some_and(|phase| phase != NodePhase::Succeeded)
        };
        if spec.sources.iter().any(unmet) {
            return (ExpectedEnd::Ends(NodePhase::Skipped, Some(NodeReason::UpstreamNotSucceeded)), before);
        }
        let named = spec.when.as_ref().map(When::names).unwrap_or_default();
        if spec.sources.keys().chain(&named).any(|node| self.phase(*node).is_none()) {
            return (ExpectedEnd::WaitsForNode, before);
        }
        match spec.when.as_ref().map_or(Some(true), |when| self.holds(when, flags)) {
            None => return (ExpectedEnd::Ends(NodePhase::Failed, Some(NodeReason::ExpressionError)), before),
            Some(false) => {
                return (ExpectedEnd::Ends(NodePhase::Skipped, Some(NodeReason::ConditionFalse)), before);
            }
            Some(true) => {}
        }
        match &spec.kind {
            Kind::Task(task) => run(task, before),
            Kind::Gate { verdict, timeout } => {
                (answered(*verdict, *timeout, NodeReason::Rejected, NodeReason::AwaitingApproval), 0)
            }
            Kind::External { answer, timeout, .. } => {
                (answered(*answer, *timeout, NodeReason::ProviderFailed, NodeReason::AwaitingEvent), 0)
            }
            Kind::Group { .. } => panic!("a group ends with its members"),
        }
    }

    /// A group is over when all its members are, and is what they are.
    fn sum(&self, members: &[usize]) -> ExpectedEnd {
        let phases: Option<Vec<NodePhase>> = members.iter().map(|member| self.phase(*member)).collect();
        let Some(phases) = phases else { return ExpectedEnd::WaitsForNode };
        let phase = [NodePhase::Failed, NodePhase::Succeeded, NodePhase::Skipped]
            .into_iter()
            .find(|phase| phases.contains(phase));
        ExpectedEnd::Ends(phase.unwrap(), None)
    }

    /// Whether a condition holds; nothing when it asks for what is not there.
    fn holds(&self, when: &When<usize>, flags: [bool; 3]) -> Option<bool> {
        match when {
            When::Output(node, least) => Some(self.numbers[*node]? >= *least),
            When::Total(total) => Some(self.is_true(total, flags)),
        }
    }

    fn is_true(&self, total: &Total<usize>, flags: [bool; 3]) -> bool {
        match total {
            Total::Phase(node, phase) => self.phase(*node).unwrap().as_str() == *phase,
            Total::Output(node, least) => self.numbers[*node].is_some_and(|number| number >= *least),
            Total::Flag(flag) => flags[*flag],
            Total::Not(one) => !self.is_true(one, flags),
            Total::And(one, other) => self.is_true(one, flags) && self.is_true(other, flags),
            Total::Or(one, other) => self.is_true(one, flags) || self.is_true(other, flags),
        }
    }
}

fn answered(answer: Answer, timeout: bool, no: NodeReason, waits: NodeReason) -> ExpectedEnd {
    match answer {
        Answer::Yes | Answer::Later => ExpectedEnd::Ends(NodePhase::Succeeded, None),
        Answer::No => ExpectedEnd::Ends(NodePhase::Failed, Some(no)),
        Answer::Never if timeout => ExpectedEnd::Ends(NodePhase::Failed, Some(NodeReason::Timeout)),
        Answer::Never => ExpectedEnd::Waits(waits),
    }
}

/// What an attempt means for its task.
enum Step {
    Done,
    /// A failure, and whether another attempt could help.
    Failure(NodeReason, bool),
    /// Nobody is to blame.
    Gone,
    /// It may have done something, and nobody knows what.
    Unknown,
    Waits(NodeReason),
}

fn step(end: End, timeout: bool) -> Step {
    let failed = NodeReason::ProviderFailed;
    match end {
        End::Person { done: true } | End::Elsewhere { then: Then::Succeeds, .. } => Step::Done,
        End::Fails | End::Elsewhere { then: Then::Fails, .. } => Step::Failure(failed, true),
        End::FailsForGood | End::Elsewhere { then: Then::FailsForGood, .. } => Step::Failure(failed, false),
        End::Elsewhere { then: Then::Never, .. } if timeout => Step::Failure(NodeReason::Timeout, true),
        // There is no attempt under way that another one could follow.
        End::Person { done: false } if timeout => Step::Failure(NodeReason::Timeout, false),
        End::GivenBack { begun: false } => Step::Gone,
        End::Orphaned
        | End::Lost
        | End::GivenBack { begun: true }
        | End::Elsewhere { then: Then::Lost, .. } => Step::Unknown,
        End::Elsewhere { then: Then::Never, .. } => Step::Waits(NodeReason::AwaitingProvider),
        End::Person { done: false } => Step::Waits(NodeReason::AwaitingPerson),
    }
}

/// Failures count against `retries`, what a runner lost does not; what may not be repeated is for a person to decide.
fn run(task: &Task, before: u32) -> (ExpectedEnd, u32) {
    if task.bound == Bound::Never {
        return (ExpectedEnd::Waits(NodeReason::Unbound), before);
    }
    let mut left = task.retries;
    let mut attempts = before;
    let succeeded = ExpectedEnd::Ends(NodePhase::Succeeded, None);
    for end in task.attempts.iter().skip(before as usize) {
        attempts += 1;
        match step(*end, task.timeout) {
            Step::Done => return (succeeded, attempts),
            Step::Failure(_, true) if left > 0 => left -= 1,
            Step::Failure(why, _) => return (ExpectedEnd::Ends(NodePhase::Failed, Some(why)), attempts),
            Step::Unknown if !task.repeatable => {
                return (ExpectedEnd::Waits(NodeReason::RunnerLost), attempts);
            }
            Step::Gone | Step::Unknown => {}
            Step::Waits(why) => return (ExpectedEnd::Waits(why), attempts),
        }
    }
    (succeeded, attempts + 1)
}
