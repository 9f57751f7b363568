//! Random plans with random outcomes, driven through planning, and compared with the rules of the contract evaluated by
//! something that knows nothing of planning ([`expected`]).

mod case;
mod expected;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::json;

use self::case::{Answer, Bound, Case, End, Spec, case, id, mix};
use self::expected::{Expected, Fate, expected};
use super::{
    AttemptResult, Draft, ExecutionView, Progress, Resolved, Surroundings, Verdict, after_attempt, finish,
    inputs, plan_execution,
};
use crate::graph::NodeIx;
use crate::model::{
    BindingTarget, ExecutionStatus, JsonMap, Kind, Name, NodeKind, NodePhase, NodeReason, NodeStatus,
    PinnedGraph, ResolvedBinding, ResourceKey, ReviewBinding,
};
use crate::run::{Evidence, ExecutionChange, NodeChange, Program, Sources, derive_phase};

const RUNNER: &str = "one";
const GONE: &str = "gone";
/// When what comes late is there, in seconds: before anything times out.
const ARRIVAL: i64 = 40;

fn key(kind: Kind, name: &str) -> ResourceKey {
    ResourceKey::new(kind, Name::new("n").unwrap(), Name::new(name).unwrap())
}

fn program(case: &Case, specs: &[Spec]) -> Program {
    let [p0, p1, p2] = case.flags;
    let spec = json!({ "planRef": { "name": "p" }, "parameters": { "p0": p0, "p1": p1, "p2": p2 } });
    let sources = Sources {
        key: key(Kind::Execution, "e"),
        spec: serde_json::from_value(spec).unwrap(),
        annotations: Default::default(),
        plan_key: key(Kind::Plan, "p"),
        plan_labels: Default::default(),
        plan: serde_json::from_value(case.plan(specs)).unwrap(),
        goal: None,
    };
    Program::build(sources).unwrap()
}

/// The index that a name ends in.
fn number(name: &str) -> usize {
    name.split_at(1).1.parse().unwrap()
}

struct Around<'a> {
    specs: &'a [Spec],
    now: Timestamp,
}

impl Around<'_> {
    fn late(&self) -> bool {
        self.now.as_second() >= ARRIVAL
    }
}

impl Surroundings for Around<'_> {
    fn resolve(&self, program: &Program, node: NodeIx) -> Resolved {
        let case::Kind::Task(task) = &self.specs[number(program.ids[node].as_str())].kind else {
            panic!("only tasks are bound")
        };
        if task.bound == Bound::Never || task.bound == Bound::Later && !self.late() {
            return Resolved::Not(NodeReason::Unbound, "no rule matches".to_owned());
        }
        let provider = "tool://t".to_owned();
        let binding =
            ResolvedBinding { name: "n/b".into(), generation: 1, rule: 0, provider: provider.clone() };
        Resolved::Bound(binding, BindingTarget { provider, config: JsonMap::new() })
    }

    fn capabilities(&self, _: &Program, _: NodeIx) -> Vec<super::capability::Capability> {
        Vec::new()
    }

    fn gate(&self, gate: &ResourceKey, _: &ReviewBinding, _: Option<Timestamp>) -> Verdict {
        let case::Kind::Gate { verdict, .. } = self.specs[number(gate.name.as_str())].kind else {
            panic!("only gates are decided")
        };
        match verdict {
            Answer::Later if !self.late() => Verdict::Waiting("nobody has decided".to_owned()),
            Answer::Yes | Answer::Later => Verdict::Approved(vec!["wendy".to_owned()]),
            Answer::No => Verdict::Rejected("rob".to_owned()),
            Answer::Never => Verdict::Waiting("nobody has decided".to_owned()),
        }
    }

    fn looks_at_addresses(&self) -> bool {
        false
    }

    fn progress(&self, key: &ResourceKey) -> Progress {
        let case::Kind::External { answer, .. } = self.specs[number(key.name.as_str())].kind else {
            panic!("only externals look at resources")
        };
        match answer {
            Answer::Later if !self.late() => Progress::Missing,
            Answer::Yes | Answer::Later => Progress::Succeeded,
            Answer::No => Progress::Failed("Failed".to_owned()),
            Answer::Never => Progress::Ongoing("Running".to_owned()),
        }
    }
}

/// A run that is driven without any outside.
struct Drive<'a> {
    case: &'a Case,
    specs: &'a [Spec],
    program: &'a Program,
    now: Timestamp,
    status: ExecutionStatus,
    round: u64,
}

impl<'a> Drive<'a> {
    fn new(case: &'a Case, specs: &'a [Spec], program: &'a Program) -> Self {
        let now = Timestamp::from_second(0).unwrap();
        let mut draft = Draft::new(ExecutionStatus::default());
        let digest = program.plan.digest();
        let queue = ExecutionChange::Queue { spec_hash: digest.clone(), run_id: "r".to_owned() };
        draft.execution(queue, now);
        let plan = program.plan_key.clone();
        let graph = PinnedGraph { commit: "c".into(), plan, graph_digest: digest, goal: None };
        draft.execution(ExecutionChange::Pin { graph, nodes: program.ids.clone() }, now);
        derive_phase(Some(program), &mut draft.status, now);
        Self { case, specs, program, now, status: draft.status, round: 0 }
    }

    /// Whether something of this round happens, three times in four.
    fn chance(&self, node: usize) -> bool {
        !mix(self.case.order, self.round * 1_009 + node as u64).is_multiple_of(4)
    }

    fn plan(&self, draft: &mut Draft) {
        let around = Around { specs: self.specs, now: self.now };
        let (program, called_off) = (self.program, &Default::default());
        let view = ExecutionView {
            program,
            uid: "u",
            removed: false,
            overdue: None,
            runner: RUNNER,
            called_off,
            past: None,
        };
        plan_execution(view, draft, &around, self.now);
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
        self.end_some(&mut draft);
        self.plan(&mut draft);
        for ready in draft.ready.clone() {
            if self.chance(ready.node) {
                let attempt = draft.status.node_statuses[&ready.id].attempt;
                let orphaned = self.end(ready.id.as_str(), attempt + 1) == Some(End::Orphaned);
                assert!(draft.start(&ready, None, if orphaned { GONE } else { RUNNER }, self.now));
            }
        }
        let (wake, waiting) = (draft.wake, !draft.ready.is_empty());
        finish(&mut draft, self.program, false, self.now);
        if !draft.changes.is_empty() {
            self.check_ends_stay(&draft.status);
            self.status = draft.status;
            self.check_quiet();
            self.now = self.now.saturating_add(SignedDuration::from_millis(100)).unwrap();
            return true;
        }
        let arrival = Timestamp::from_second(ARRIVAL).unwrap();
        let busy = waiting || self.status.node_statuses.values().any(NodeStatus::is_under_way);
        match wake {
            // Nobody sleeps through an arrival: whether a decision is in time must not hang on who looks when.
            Some(at) if self.now < arrival => self.now = at.min(arrival).max(self.now),
            Some(at) => self.now = at.max(self.now),
            None if busy || self.people_are_at_work() => {}
            None if self.now < arrival => self.now = arrival,
            None => return false,
        }
        true
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
        for (ix, id) in self.program.ids.iter().enumerate().filter(|(ix, _)| self.chance(*ix + 500)) {
            let node = self.program.node(ix).unwrap();
            let state = draft.status.node_statuses[id].clone();
            let mine = state.extensions.runner.as_deref() == Some(RUNNER) && node.kind == NodeKind::Task;
            let change = if state.phase == NodePhase::Running && mine {
                let result = self.result(ix, self.end(id.as_str(), state.attempt));
                let attempt = format!("u/{id}/{}", state.attempt);
                after_attempt(node, &state, result, Evidence::default(), &attempt, self.now)
            } else if self.is_done_by_a_person(id.as_str(), &state) {
                let (reason, message) = (Some(NodeReason::CompletedByPerson), String::new());
                let (outputs, evidence) = (self.outputs(ix), Evidence::default());
                NodeChange::Succeed { reason, message, outputs, evidence }
            } else {
                continue;
            };
            assert!(draft.node(id, change, self.now));
        }
    }

    fn result(&self, ix: NodeIx, end: Option<End>) -> AttemptResult {
        let (reason, message) = (NodeReason::ProviderFailed, "so it is".to_owned());
        match end {
            None => AttemptResult::Succeeded { outputs: self.outputs(ix) },
            Some(End::Fails) => AttemptResult::Failed { reason, message, retryable: true, retry_after: None },
            Some(End::FailsForGood) => {
                AttemptResult::Failed { reason, message, retryable: false, retry_after: None }
            }
            Some(End::GivenBack { begun }) => AttemptResult::Interrupted { message, begun },
            Some(End::Lost) => AttemptResult::Lost { message },
            Some(End::Person { .. }) => {
                let (reason, handle, retry_at) = (NodeReason::AwaitingPerson, None, None);
                AttemptResult::Blocked { reason, message, handle, retry_at }
            }
            Some(End::Orphaned) => panic!("the runner is gone"),
        }
    }

    /// The number that a task gives: its own, and the one among its inputs.
    fn outputs(&self, ix: NodeIx) -> JsonMap {
        let case::Kind::Task(task) = &self.specs[number(self.program.ids[ix].as_str())].kind else {
            panic!("only tasks run")
        };
        let inputs = inputs(self.program, &self.status, ix).unwrap();
        let read = inputs.get("number").map_or(0, |number| number.as_i64().unwrap());
        [("number".to_owned(), json!(task.value + read))].into_iter().collect()
    }

    /// Planning again right away changes nothing (design invariant 5), unless another runner began something and is gone.
    fn check_quiet(&self) {
        let gone = |node: &NodeStatus| {
            node.phase == NodePhase::Running && node.extensions.runner.as_deref() == Some(GONE)
        };
        if self.status.node_statuses.values().any(gone) {
            return;
        }
        let mut draft = Draft::new(self.status.clone());
        self.plan(&mut draft);
        finish(&mut draft, self.program, false, self.now);
        assert_eq!(draft.changes, [], "{:#?}", self.status);
    }

    fn check_ends_stay(&self, next: &ExecutionStatus) {
        for (id, before) in self.status.node_statuses.iter().filter(|(_, node)| node.phase.is_terminal()) {
            assert_eq!(next.node_statuses[id].phase, before.phase, "{id} had ended");
        }
    }

    /// Compares what came of it with what the rules say.
    fn check(&self, expected: &Expected) -> Result<(), TestCaseError> {
        for (index, fate) in expected.fates.iter().enumerate() {
            let state = &self.status.node_statuses[id(index).as_str()];
            let (phase, reason) = (state.phase, state.extensions.reason);
            let is_group = matches!(self.specs[index].kind, case::Kind::Group { .. });
            let fits = match fate {
                Fate::Ends(end, why) => phase == *end && (why.is_none() || reason == *why),
                Fate::Waits(why) => {
                    phase == NodePhase::Blocked && reason == Some(*why) && !state.message.is_empty()
                }
                Fate::WaitsForNode if is_group => !phase.is_terminal(),
                Fate::WaitsForNode => phase == NodePhase::Pending,
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
    let program = program(case, &specs);
    let mut drive = Drive::new(case, &specs, &program);
    drive.run();
    drive.check(&expected(&specs, case.flags))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, max_shrink_iters: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn small_plans_come_to_what_the_rules_say(case in case(1..25)) {
        check(&case)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn large_plans_come_to_what_the_rules_say(case in case(1..400)) {
        check(&case)?;
    }
}
