//! Random plans with random outcomes, driven through planning, and compared with the rules of the contract evaluated by
//! something that knows nothing of planning ([`expected`]).

mod case;
mod expected;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::json;

use self::case::{Answer, Bound, Case, End, Spec, Then, case, id, mix};
use self::expected::{Expected, ExpectedEnd, expected, expected_again, reset};
use super::properties::attempts_of;
use super::{
    ApprovalLookup, CancelResult, Draft, ExecutionView, GateVerdict, PlanLookup, ProviderResolution,
    RemoteWork, ResourceProgress, after_attempt, after_poll, finish, inputs, plan_execution, sum_groups,
};
use crate::graph::NodeIx;
use crate::model::{
    BindingTarget, ExecutionPhase, ExecutionStatus, JsonMap, NodeId, NodeKind, NodePhase, NodeReason,
    NodeStatus, PersonRequest, PinnedGraph, ResolvedBinding, ResourceKey, ReviewBinding, after,
};
use crate::run::{AttemptOutcome, CompiledPlan, Evidence, ExecutionChange, NodeChange, Stop, derive_phase};

const RUNNER: &str = "one";
const GONE: &str = "gone";
const HANDLE: &str = "what the provider needs";
/// When what comes late is there, in seconds: before anything times out.
const ARRIVAL: i64 = 40;
const BETWEEN_POLLS: Duration = Duration::from_secs(10);

fn compiled(case: &Case, specs: &[Spec]) -> CompiledPlan {
    let [p0, p1, p2] = case.flags;
    let spec = json!({ "planRef": { "name": "p" }, "parameters": { "p0": p0, "p1": p1, "p2": p2 } });
    CompiledPlan::of_specs(spec, case.plan(specs))
}

/// The index that a name ends in.
fn number(name: &str) -> usize {
    name.split_at(1).1.parse().unwrap()
}

struct SpecLookup<'a> {
    specs: &'a [Spec],
    now: Timestamp,
}

impl SpecLookup<'_> {
    fn late(&self) -> bool {
        self.now.as_second() >= ARRIVAL
    }
}

impl ApprovalLookup for SpecLookup<'_> {
    fn gate(&self, gate: &ResourceKey, _: &ReviewBinding, _: Option<Timestamp>) -> GateVerdict {
        let case::Kind::Gate { verdict, .. } = self.specs[number(gate.name.as_str())].kind else {
            panic!("only gates are decided")
        };
        match verdict {
            Answer::Later if !self.late() => GateVerdict::Waiting("nobody has decided".to_owned()),
            Answer::Yes | Answer::Later => GateVerdict::Approved(vec!["wendy".to_owned()]),
            Answer::No => GateVerdict::Rejected("rob".to_owned()),
            Answer::Never => GateVerdict::Waiting("nobody has decided".to_owned()),
        }
    }
}

impl PlanLookup for SpecLookup<'_> {
    fn resolve(&self, compiled: &CompiledPlan, node: NodeIx) -> ProviderResolution {
        let case::Kind::Task(task) = &self.specs[number(compiled.ids[node].as_str())].kind else {
            panic!("only tasks are bound")
        };
        if task.bound == Bound::Never || task.bound == Bound::Later && !self.late() {
            return ProviderResolution::Not(NodeReason::Unbound, "no rule matches".to_owned());
        }
        let provider = "tool://t".to_owned();
        let binding =
            ResolvedBinding { name: "n/b".into(), generation: 1, rule: 0, provider: provider.clone() };
        ProviderResolution::Bound(binding.into(), BindingTarget { provider, config: JsonMap::new() }.into())
    }

    fn capabilities(&self, _: &CompiledPlan, _: NodeIx) -> Vec<super::capability::Capability> {
        Vec::new()
    }

    fn can_poll_addresses(&self) -> bool {
        true
    }

    fn awaited_by(&self, _: &ResourceKey) -> Vec<ResourceKey> {
        Vec::new()
    }

    fn progress(&self, key: &ResourceKey) -> ResourceProgress {
        let case::Kind::External { answer, .. } = self.specs[number(key.name.as_str())].kind else {
            panic!("only externals look at resources")
        };
        match answer {
            Answer::Later if !self.late() => ResourceProgress::Missing,
            Answer::Yes | Answer::Later => ResourceProgress::Succeeded,
            Answer::No => ResourceProgress::Failed("Failed".to_owned()),
            Answer::Never => ResourceProgress::Ongoing("Running".to_owned()),
        }
    }
}

/// How often work was polled.
fn seen_so_far(looks: &BTreeMap<(NodeId, u32), (u32, Timestamp)>, work: &RemoteWork) -> u32 {
    looks.get(&(work.id.clone(), work.attempt)).map_or(0, |(count, _)| *count)
}

/// A run that is driven without any outside.
struct Drive<'a> {
    case: &'a Case,
    specs: &'a [Spec],
    compiled: &'a CompiledPlan,
    now: Timestamp,
    status: ExecutionStatus,
    round: u64,
    /// The round in which somebody calls it off.
    cancelled: Option<u64>,
    /// Remote work, as the last plan had it.
    elsewhere: Vec<RemoteWork>,
    /// How often it was polled, and when it is to be polled again.
    looks: BTreeMap<(NodeId, u32), (u32, Timestamp)>,
    called_off: BTreeMap<NodeId, CancelResult>,
}

impl<'a> Drive<'a> {
    fn new(case: &'a Case, specs: &'a [Spec], compiled: &'a CompiledPlan) -> Self {
        let now = Timestamp::from_second(0).unwrap();
        let mut draft = Draft::new(ExecutionStatus::default());
        let digest = compiled.digest.clone();
        let queue = ExecutionChange::Queue { spec_hash: digest.clone(), run_id: "r".to_owned() };
        draft.execution(queue, now);
        let plan = compiled.plan_key.clone();
        let graph = PinnedGraph { commit: "c".into(), plan, graph_digest: digest, goal: None };
        draft.execution(ExecutionChange::Pin { graph, nodes: compiled.ids.clone() }, now);
        derive_phase(Some(compiled), &mut draft.status, now);
        let (elsewhere, looks, called_off) = Default::default();
        let status = draft.status;
        Self { case, specs, compiled, now, status, round: 0, cancelled: None, elsewhere, looks, called_off }
    }

    /// Whether something of this round happens, three times in four.
    fn chance(&self, node: usize) -> bool {
        !mix(self.case.order, self.round * 1_009 + node as u64).is_multiple_of(4)
    }

    fn plan(&self, draft: &mut Draft) {
        let lookup = SpecLookup { specs: self.specs, now: self.now };
        let local_attempts = attempts_of(&draft.status, "u", RUNNER);
        let view = ExecutionView {
            compiled: self.compiled,
            uid: "u",
            removed: false,
            overdue: None,
            local_attempts: &local_attempts,
            remote_cancelled: &self.called_off,
            reuse: None,
        };
        plan_execution(view, draft, &lookup, self.now);
    }

    fn run(&mut self) {
        while self.step() {
            self.round += 1;
            assert!(self.round < 5_000, "it never comes to rest: {:#?}", self.status);
        }
    }

    /// One commit's worth; says whether there is more to come.
    fn step(&mut self) -> bool {
        let mut draft = Draft::new(self.status.clone());
        if self.cancelled == Some(self.round) && !self.status.phase.is_terminal() {
            let request = PersonRequest { at: self.now, by: "wendy".to_owned(), comment: None };
            assert!(draft.execution(ExecutionChange::RequestCancel(request), self.now));
        }
        self.end_some(&mut draft);
        self.look_at_some(&mut draft);
        self.plan(&mut draft);
        for ready in draft.ready.clone() {
            if self.chance(ready.node) {
                let attempt = draft.status.node_statuses[&ready.id].attempt;
                let orphaned = self.end(ready.id.as_str(), attempt + 1) == Some(End::Orphaned);
                assert!(draft.start(&ready, None, None, if orphaned { GONE } else { RUNNER }, self.now));
            }
        }
        let wake = draft.wake;
        let waiting = !draft.ready.is_empty();
        finish(&mut draft, self.compiled, false, self.now);
        self.elsewhere = std::mem::take(&mut draft.polls);
        let changed = !draft.changes.is_empty();
        if changed {
            self.check_ends_stay(&draft.status);
            self.status = draft.status;
            self.check_quiet();
            self.now = self.now.saturating_add(SignedDuration::from_millis(100)).unwrap();
        }
        for work in &draft.remote_cancels {
            let done = CancelResult { attempt: work.attempt, error: None };
            self.called_off.insert(work.id.clone(), done);
        }
        if changed {
            return true;
        }
        let busy = waiting || self.status.node_statuses.values().any(NodeStatus::is_under_way);
        busy || self.people_are_at_work() || !draft.remote_cancels.is_empty() || self.time_goes_on(wake)
    }

    /// Waits for the next thing that happens by itself; says whether there is one. Nobody sleeps through an arrival:
    /// whether a decision is in time must not depend on when somebody polls.
    fn time_goes_on(&mut self, wake: Option<Timestamp>) -> bool {
        let arrival = Timestamp::from_second(ARRIVAL).unwrap();
        let looks = self.elsewhere.iter().filter_map(|work| self.due(work));
        let arrives = Some(arrival).filter(|at| *at > self.now);
        match looks.chain(wake).chain(arrives).min() {
            Some(next) => {
                self.now = next.max(self.now);
                true
            }
            None => self.cancelled.is_some_and(|round| round > self.round),
        }
    }

    /// When remote work is polled next; never where there is nothing to be seen.
    fn due(&self, work: &RemoteWork) -> Option<Timestamp> {
        let seen = self.looks.get(&(work.id.clone(), work.attempt)).copied();
        let (never, first) = match self.specs[number(work.id.as_str())].kind {
            // The first poll finds out that there is nothing yet.
            case::Kind::External { answer, .. } => (answer == Answer::Never && seen.is_some(), work.due),
            _ => (matches!(self.then(work), (_, Then::Never)), work.due),
        };
        (!never).then_some(seen.map_or(first, |(_, next)| next))
    }

    fn then(&self, work: &RemoteWork) -> (u32, Then) {
        match self.end(work.id.as_str(), work.attempt) {
            Some(End::Elsewhere { looks, then }) => (looks, then),
            other => panic!("{other:?} does not go on elsewhere"),
        }
    }

    /// Polls what is due.
    fn look_at_some(&mut self, draft: &mut Draft) {
        for work in self.elsewhere.clone() {
            if self.due(&work).is_none_or(|due| due > self.now) {
                continue;
            }
            let node = self.compiled.node(work.node).unwrap();
            let state = draft.status.node_statuses[&work.id].clone();
            let again = after(self.now, BETWEEN_POLLS);
            let seen = self.looks.entry((work.id.clone(), work.attempt)).or_insert((0, again));
            *seen = (seen.0 + 1, again);
            let outcome = self.seen(&work, seen_so_far(&self.looks, &work));
            let key = format!("u/{}/{}", work.id, work.attempt);
            for change in after_poll(node, &state, outcome.into(), &key, self.now) {
                assert!(draft.node(&work.id, change, self.now));
            }
        }
    }

    /// What a poll of remote work, or of an address, gives.
    fn seen(&self, work: &RemoteWork, count: u32) -> AttemptOutcome {
        let reason = NodeReason::ProviderFailed;
        let message = "so it is".to_owned();
        let blocked = |reason, handle| {
            let message = "not yet".to_owned();
            AttemptOutcome::Blocked { reason, message, handle, poll_after: Some(BETWEEN_POLLS) }
        };
        if let case::Kind::External { answer, .. } = self.specs[number(work.id.as_str())].kind {
            return match answer {
                Answer::Later if self.now.as_second() < ARRIVAL => blocked(NodeReason::AwaitingEvent, None),
                Answer::Yes | Answer::Later => AttemptOutcome::Succeeded { outputs: JsonMap::new() },
                Answer::No => AttemptOutcome::Failed { reason, message, retryable: false, retry_after: None },
                Answer::Never => blocked(NodeReason::AwaitingEvent, None),
            };
        }
        match self.then(work) {
            (looks, _) if count <= looks => blocked(NodeReason::AwaitingProvider, Some(HANDLE.to_owned())),
            (_, Then::Succeeds) => AttemptOutcome::Succeeded { outputs: self.outputs(work.node) },
            (_, Then::Fails) => {
                AttemptOutcome::Failed { reason, message, retryable: true, retry_after: None }
            }
            (_, Then::FailsForGood) => {
                AttemptOutcome::Failed { reason, message, retryable: false, retry_after: None }
            }
            (_, Then::Lost) => AttemptOutcome::Lost { message },
            (_, Then::Never) => panic!("nobody looks"),
        }
    }

    /// How an attempt is to end; nothing when it succeeds.
    fn end(&self, id: &str, attempt: u32) -> Option<End> {
        match &self.specs[number(id)].kind {
            case::Kind::Task(task) => task.attempts.get(attempt as usize - 1).copied(),
            _ => None,
        }
    }

    fn is_done_by_a_person(&self, id: &str, state: &NodeStatus) -> bool {
        state.extensions.reason == Some(NodeReason::AwaitingPerson)
            && self.end(id, state.attempt) == Some(End::Person { done: true })
    }

    fn people_are_at_work(&self) -> bool {
        let mut nodes = self.status.node_statuses.iter();
        nodes.any(|(id, state)| self.is_done_by_a_person(id.as_str(), state))
    }

    /// Ends some of the attempts, and of the work of people.
    fn end_some(&self, draft: &mut Draft) {
        for (ix, id) in self.compiled.ids.iter().enumerate().filter(|(ix, _)| self.chance(*ix + 500)) {
            let node = self.compiled.node(ix).unwrap();
            let state = draft.status.node_statuses[id].clone();
            let mine = state.extensions.runner.as_deref() == Some(RUNNER) && node.kind == NodeKind::Task;
            let change = if state.phase == NodePhase::Running && mine {
                let outcome = self.outcome(ix, self.end(id.as_str(), state.attempt));
                let attempt = format!("u/{id}/{}", state.attempt);
                after_attempt(node, &state, outcome.into(), &attempt, self.now)
            } else if self.is_done_by_a_person(id.as_str(), &state) {
                let reason = Some(NodeReason::CompletedByPerson);
                let message = String::new();
                let outputs = self.outputs(ix);
                let evidence = Evidence::default();
                NodeChange::Succeed { reason, message, outputs, evidence }
            } else {
                continue;
            };
            assert!(draft.node(id, change, self.now));
        }
    }

    fn outcome(&self, ix: NodeIx, end: Option<End>) -> AttemptOutcome {
        let reason = NodeReason::ProviderFailed;
        let message = "so it is".to_owned();
        match end {
            None => AttemptOutcome::Succeeded { outputs: self.outputs(ix) },
            Some(End::Fails) => {
                AttemptOutcome::Failed { reason, message, retryable: true, retry_after: None }
            }
            Some(End::FailsForGood) => {
                AttemptOutcome::Failed { reason, message, retryable: false, retry_after: None }
            }
            Some(End::GivenBack { begun: true }) => AttemptOutcome::Stopped(Stop::Shutdown),
            Some(End::GivenBack { begun: false }) => AttemptOutcome::NotStarted { message },
            Some(End::Lost) => AttemptOutcome::Lost { message },
            Some(End::Person { .. }) => {
                let reason = NodeReason::AwaitingPerson;
                AttemptOutcome::Blocked { reason, message, handle: None, poll_after: None }
            }
            Some(End::Elsewhere { .. }) => {
                let reason = NodeReason::AwaitingProvider;
                let handle = Some(HANDLE.to_owned());
                let poll_after = Some(BETWEEN_POLLS);
                AttemptOutcome::Blocked { reason, message: "not yet".to_owned(), handle, poll_after }
            }
            Some(End::Orphaned) => panic!("the runner is gone"),
        }
    }

    /// The number that a task gives: its own, and the one among its inputs.
    fn outputs(&self, ix: NodeIx) -> JsonMap {
        let case::Kind::Task(task) = &self.specs[number(self.compiled.ids[ix].as_str())].kind else {
            panic!("only tasks run")
        };
        let inputs = inputs(self.compiled, &self.status, ix).unwrap();
        let read = inputs.get("number").map_or(0, |number| number.as_i64().unwrap());
        [("number".to_owned(), json!(task.value + read))].into_iter().collect()
    }

    /// Planning again right away changes nothing (Invariant 5), unless another runner began something and is gone.
    /// Large plans are asked now and then, to save time.
    fn check_quiet(&self) {
        if self.specs.len() > 60 && !self.round.is_multiple_of(8) {
            return;
        }
        let gone = |node: &NodeStatus| {
            node.phase == NodePhase::Running && node.extensions.runner.as_deref() == Some(GONE)
        };
        if self.status.node_statuses.values().any(gone) {
            return;
        }
        let mut draft = Draft::new(self.status.clone());
        self.plan(&mut draft);
        finish(&mut draft, self.compiled, false, self.now);
        assert_eq!(draft.changes, [], "{:#?}", self.status);
    }

    fn check_ends_stay(&self, next: &ExecutionStatus) {
        for (id, before) in self.status.node_statuses.iter().filter(|(_, node)| node.phase.is_terminal()) {
            assert_eq!(next.node_statuses[id].phase, before.phase, "{id} had ended");
        }
    }

    /// Resets nodes, as somebody does who asks to try again; says whether that is allowed.
    fn try_again(&mut self, reset: &[bool]) -> bool {
        let wanted = |id: &NodeId| {
            let index = number(id.as_str());
            reset[index] && !matches!(self.specs[index].kind, case::Kind::Group { .. })
        };
        let again: Vec<NodeId> = self.compiled.ids.iter().filter(|id| wanted(id)).cloned().collect();
        if again.iter().any(|id| self.status.node_statuses[id].is_remote()) {
            return false;
        }
        let mut draft = Draft::new(self.status.clone());
        let request = PersonRequest { at: self.now, by: "wendy".to_owned(), comment: None };
        assert!(draft.execution(ExecutionChange::Retry(request), self.now));
        for id in &again {
            assert!(draft.node(id, NodeChange::Reset { message: String::new() }, self.now));
        }
        sum_groups(self.compiled, &mut draft, self.now);
        derive_phase(Some(self.compiled), &mut draft.status, self.now);
        self.status = draft.status;
        self.looks.clear();
        true
    }

    /// Compares what came of it with what the rules say.
    fn check(&self, expected: &Expected) -> Result<(), TestCaseError> {
        for (index, fate) in expected.ends.iter().enumerate() {
            let state = &self.status.node_statuses[id(index).as_str()];
            let phase = state.phase;
            let reason = state.extensions.reason;
            let is_group = matches!(self.specs[index].kind, case::Kind::Group { .. });
            let fits = match fate {
                ExpectedEnd::Ends(end, why) => phase == *end && (why.is_none() || reason == *why),
                ExpectedEnd::Waits(why) => {
                    phase == NodePhase::Blocked && reason == Some(*why) && !state.message.is_empty()
                }
                ExpectedEnd::WaitsForNode if is_group => !phase.is_terminal(),
                ExpectedEnd::WaitsForNode => phase == NodePhase::Pending,
            };
            let node = id(index);
            prop_assert!(fits, "{node} is {phase} for {reason:?} ({}), not {fate:?}", state.message);
            let given = state.outputs.get("number").and_then(serde_json::Value::as_i64);
            prop_assert_eq!(given, expected.numbers[index], "the number of {}", node);
            prop_assert_eq!(state.attempt, expected.attempts[index], "the attempts of {}", node);
        }
        prop_assert_eq!(self.status.phase, expected.outcome);
        Ok(())
    }
}

fn check(case: &Case) -> Result<(), TestCaseError> {
    let specs = case.specs();
    let compiled = compiled(case, &specs);
    let mut drive = Drive::new(case, &specs, &compiled);
    drive.run();
    drive.check(&expected(&specs, case.flags))
}

/// What was cancelled ends as the rules say or as Cancelled, and nothing else does so.
fn check_cancelled(case: &Case, round: u64) -> Result<(), TestCaseError> {
    let specs = case.specs();
    let compiled = compiled(case, &specs);
    let mut drive = Drive::new(case, &specs, &compiled);
    drive.cancelled = Some(round);
    drive.run();
    let expected = expected(&specs, case.flags);
    let mut cancelled = false;
    for (index, fate) in expected.ends.iter().enumerate() {
        if matches!(specs[index].kind, case::Kind::Group { .. }) {
            continue;
        }
        let phase = drive.status.node_statuses[id(index).as_str()].phase;
        let as_the_rules_say = matches!(fate, ExpectedEnd::Ends(end, _) if *end == phase);
        prop_assert!(as_the_rules_say || phase == NodePhase::Cancelled, "{} is {phase}", id(index));
        cancelled |= phase == NodePhase::Cancelled;
    }
    let outcome = if cancelled { ExecutionPhase::Cancelled } else { expected.outcome };
    prop_assert_eq!(drive.status.phase, outcome);
    Ok(())
}

/// What failed is tried once more, with all that follows from it.
fn check_again(case: &Case) -> Result<(), TestCaseError> {
    let specs = case.specs();
    let compiled = compiled(case, &specs);
    let mut drive = Drive::new(case, &specs, &compiled);
    drive.run();
    let first = expected(&specs, case.flags);
    let reset = reset(&specs, &first);
    if drive.try_again(&reset) {
        drive.run();
        drive.check(&expected_again(&specs, case.flags, &first, &reset))?;
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, max_shrink_time: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn small_plans_come_to_what_the_rules_say(case in case(1..25)) {
        check(&case)?;
    }

    #[test]
    fn plans_that_are_tried_again_come_to_what_the_rules_say(case in case(1..25)) {
        check_again(&case)?;
    }

    #[test]
    fn plans_that_are_called_off_at_any_time_end(case in case(1..25), round in 0u64..40) {
        check_cancelled(&case, round)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, max_shrink_time: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn large_plans_come_to_what_the_rules_say(case in case(1..300)) {
        check(&case)?;
    }
}
