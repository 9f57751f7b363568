//! Properties of planning and of the fold, over random graphs with random outcomes: everything ends or waits for
//! something that is named, planning again changes nothing, and a log cut off anywhere replays and goes on.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    ApprovalLookup, Draft, ExecutionView, GateVerdict, LeaseState, LeaseTerms, PlanLookup,
    ProviderResolution, ResourceProgress, ReuseSource, SettledNodes, after_attempt, fingerprint, finish,
    lease_state, next_lease, plan_changed, plan_execution,
};
use crate::graph::NodeIx;
use crate::model::{
    BindingTarget, EdgeType, ExecutionStatus, InputFingerprint, JsonMap, NodeId, NodeKind, NodePhase,
    NodeReason, NodeStatus, PinnedGraph, ResolvedBinding, ResourceKey, ReviewBinding,
};
use crate::run::{AttemptName, AttemptOutcome, Change, CompiledPlan, ExecutionChange, apply, derive_phase};

const TERMS: LeaseTerms = LeaseTerms {
    duration: Duration::from_secs(5),
    skew: Duration::from_secs(1),
    longest: Duration::from_secs(600),
};

/// When what comes late is there.
fn arrival() -> Timestamp {
    Timestamp::from_second(40).unwrap()
}

/// A small generator of choices, so that a case is one number and shrinks well enough.
#[derive(Debug, Clone, Copy)]
struct Choices(u64);

impl Choices {
    /// A number below `end` for this purpose: the same each time.
    fn of(self, purpose: &str, index: usize, end: u64) -> u64 {
        let mut hash = self.0 ^ 0x9e37_79b9_7f4a_7c15;
        for byte in purpose.bytes().chain(index.to_le_bytes()) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        // The end of splitmix64: without it the low bits of neighbouring numbers follow each other.
        hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (hash ^ (hash >> 31)) % end.max(1)
    }
}

/// A graph in which every node has its sources before it. Groups have children of their own.
fn graph(choices: Choices, count: usize) -> Value {
    let mut nodes = Vec::new();
    let mut edges = Vec::new();
    let mut grouped = vec![false; count];
    for index in 0..count {
        let kind = choices.of("kind", index, 12);
        let mut node = json!({ "id": format!("n{index}") });
        let free: Vec<usize> = (0..index).filter(|&other| !grouped[other]).collect();
        if kind == 0 && !free.is_empty() {
            let children: Vec<usize> = free
                .into_iter()
                .filter(|&other| other + 4 > index || choices.of("child", other, 3) == 0)
                .collect();
            if !children.is_empty() {
                children.iter().for_each(|&child| grouped[child] = true);
                node["kind"] = json!("Group");
                node["children"] = children.iter().map(|child| format!("n{child}")).collect();
                nodes.push(node);
                continue;
            }
        }
        let mut hard = Vec::new();
        for back in 1..=index.min(6) {
            let source = index - back;
            if nodes[source]["kind"] == "Group" {
                continue;
            }
            match choices.of("edge", index * 8 + back, 7) {
                0 => hard.push(source),
                1 => edges
                    .push(json!({ "from": format!("n{source}"), "to": format!("n{index}"), "type": "soft" })),
                _ => {}
            }
        }
        node["dependsOn"] = hard.iter().map(|source| format!("n{source}")).collect();
        if let Some(source) = hard.first().filter(|_| choices.of("when", index, 4) == 0) {
            let phase = if choices.of("whichever", index, 2) == 0 { "Failed" } else { "Succeeded" };
            node["when"] = json!(format!("nodes.n{source}.phase == '{phase}'"));
        }
        match kind {
            1 => {
                node["kind"] = json!("Gate");
                node["gateRef"] = json!({ "name": format!("g{index}") });
                if choices.of("timeout", index, 2) == 0 {
                    node["timeout"] = json!("90s");
                }
            }
            2 => {
                node["kind"] = json!("External");
                let reference = json!({ "name": format!("e{index}") });
                node["externalRef"] = json!({ "type": "resource", "resourceRef": reference });
            }
            _ => {
                node["kind"] = json!("Task");
                node["retries"] = json!(choices.of("retries", index, 3));
            }
        }
        nodes.push(node);
    }
    json!({ "nodes": nodes, "edges": edges })
}

fn compiled(choices: Choices, count: usize) -> CompiledPlan {
    CompiledPlan::of_graph(&graph(choices, count))
}

/// Surroundings that answer by choice; some gates and bindings come late, some never, and some bindings go for a while.
pub(super) struct ChosenLookup {
    choices: Choices,
    now: Timestamp,
    /// The round of the run.
    round: usize,
    /// Whether nothing is missing.
    generous: bool,
}

impl ChosenLookup {
    /// Those in which nothing is missing.
    pub(super) fn generous(now: Timestamp) -> Self {
        Self { choices: Choices(0), now, round: 0, generous: true }
    }

    /// Whether what arrives at some time, or never, is there.
    fn is_there(&self, what: &str, index: usize) -> bool {
        match self.choices.of(what, index, 5) {
            _ if self.generous => true,
            0 => false,
            1 => self.now >= arrival(),
            _ => true,
        }
    }

    /// Whether the binding of a node is gone in this round. All are back some time after the last arrival.
    fn is_gone(&self, node: NodeIx) -> bool {
        let early = self.now < arrival().saturating_add(SignedDuration::from_secs(20)).unwrap();
        !self.generous && early && self.choices.of("gone", self.round * 128 + node, 12) == 0
    }
}

fn number(key: &ResourceKey) -> usize {
    key.name.as_str().split_at(1).1.parse().unwrap()
}

impl ApprovalLookup for ChosenLookup {
    fn gate(&self, gate: &ResourceKey, _: &ReviewBinding, _: Option<Timestamp>) -> GateVerdict {
        if !self.is_there("decision", number(gate)) {
            return GateVerdict::Waiting("nobody has decided".to_owned());
        }
        match self.choices.of("verdict", number(gate), 4) {
            0 => GateVerdict::Rejected("rob".to_owned()),
            _ => GateVerdict::Approved(vec!["wendy".to_owned()]),
        }
    }
}

impl PlanLookup for ChosenLookup {
    fn resolve(&self, _: &CompiledPlan, node: NodeIx) -> ProviderResolution {
        let never = self.choices.of("unbound", node, 12) == 0 && !self.is_there("binding", node);
        if never || self.is_gone(node) {
            return ProviderResolution::Not(NodeReason::Unbound, "no rule matches".to_owned());
        }
        let binding =
            ResolvedBinding { name: "n/b".into(), generation: 1, rule: 0, provider: "tool://t".into() };
        ProviderResolution::Bound(
            binding.into(),
            BindingTarget { provider: "tool://t".into(), config: JsonMap::new() }.into(),
        )
    }

    fn capabilities(&self, _: &CompiledPlan, _: NodeIx) -> Vec<super::capability::Capability> {
        Vec::new()
    }

    fn can_poll_addresses(&self) -> bool {
        false
    }

    fn awaited_by(&self, _: &ResourceKey) -> Vec<ResourceKey> {
        Vec::new()
    }

    fn progress(&self, key: &ResourceKey) -> ResourceProgress {
        if !self.is_there("resource", number(key)) {
            return ResourceProgress::Missing;
        }
        if self.choices.of("ended", number(key), 4) == 0 {
            ResourceProgress::Failed("Failed".to_owned())
        } else {
            ResourceProgress::Succeeded
        }
    }
}

/// How an attempt ends depends on the node and on how often it has failed, never on the number of attempts: what a
/// lost runner did leaves no mark.
fn result(choices: Choices, node: usize, failures: u32) -> AttemptOutcome {
    let reason = NodeReason::ProviderFailed;
    match choices.of("result", node * 8 + failures as usize, 10) {
        0 => AttemptOutcome::permanent(reason, "no"),
        1..=3 => AttemptOutcome::failed(reason, "not yet".to_owned()),
        4 if choices.of("person", node, 3) == 0 => AttemptOutcome::Blocked {
            reason: NodeReason::AwaitingPerson,
            message: "somebody must do it".to_owned(),
            handle: None,
            poll_after: None,
        },
        _ => {
            let outputs = [("from".to_owned(), json!(node))].into_iter().collect();
            AttemptOutcome::Succeeded { outputs }
        }
    }
}

/// The attempts that a runner of this name has under way, as its process would know them.
pub(super) fn attempts_of(status: &ExecutionStatus, uid: &str, runner: &str) -> BTreeSet<AttemptName> {
    let mine = |state: &NodeStatus| {
        state.phase == NodePhase::Running && state.extensions.runner.as_deref() == Some(runner)
    };
    let nodes = status.node_statuses.iter().filter(|(_, state)| mine(state));
    nodes.map(|(id, state)| AttemptName::of(uid, id, state)).collect()
}

/// One batch of changes, as one commit would hold it.
type Batch = (Vec<(Change, Timestamp)>, Timestamp);

/// A run that is driven without any outside.
struct Simulation<'a> {
    compiled: &'a CompiledPlan,
    choices: Choices,
    runner: &'static str,
    now: Timestamp,
    status: ExecutionStatus,
    log: Vec<Batch>,
    statuses: Vec<ExecutionStatus>,
    rounds: usize,
    /// An earlier run, whose work is taken over.
    past: Option<ExecutionStatus>,
    /// What planning remembers of the nodes.
    settled: RefCell<SettledNodes>,
    /// Attempts of this runner that its process knows no more of.
    forgotten: BTreeSet<AttemptName>,
}

impl<'a> Simulation<'a> {
    fn new(compiled: &'a CompiledPlan, choices: Choices) -> Self {
        let now = Timestamp::from_second(0).unwrap();
        let status = ExecutionStatus::default();
        let mut this = Self::on(compiled, choices, "one", now, status);
        let mut draft = Draft::new(this.status.clone());
        let digest = compiled.digest.clone();
        let spec_hash = digest.clone();
        let run_id = "r".to_owned();
        draft.execution(ExecutionChange::Queue { spec_hash, run_id }, now);
        let plan = compiled.plan_key.clone();
        let graph = PinnedGraph { commit: "c".into(), plan, graph_digest: digest, goal: None };
        draft.execution(ExecutionChange::Pin { graph, nodes: compiled.ids.clone() }, now);
        derive_phase(Some(compiled), &mut draft.status, now);
        this.record(draft);
        this
    }

    /// Goes on from a status that another runner left behind.
    fn resume(compiled: &'a CompiledPlan, choices: Choices, status: ExecutionStatus, now: Timestamp) -> Self {
        Self::on(compiled, choices, "two", now, status)
    }

    fn on(
        compiled: &'a CompiledPlan,
        choices: Choices,
        runner: &'static str,
        now: Timestamp,
        status: ExecutionStatus,
    ) -> Self {
        let log = Vec::new();
        let statuses = Vec::new();
        let (settled, forgotten) = Default::default();
        Self {
            compiled,
            choices,
            runner,
            now,
            status,
            log,
            statuses,
            rounds: 0,
            past: None,
            settled,
            forgotten,
        }
    }

    fn record(&mut self, draft: Draft) {
        let changes = draft.changes.into_iter().map(|change| (change, self.now)).collect();
        self.log.push((changes, self.now));
        self.status = draft.status;
        self.statuses.push(self.status.clone());
    }

    fn lookup(&self) -> ChosenLookup {
        ChosenLookup { choices: self.choices, now: self.now, round: self.rounds, generous: false }
    }

    /// The attempts that are under way as far as the process knows.
    fn local_attempts(&self, status: &ExecutionStatus) -> BTreeSet<AttemptName> {
        &attempts_of(status, "u", self.runner) - &self.forgotten
    }

    /// Some attempts are stopped in the middle and leave no end, without anything that the record says.
    fn forget_some(&mut self) {
        for attempt in self.local_attempts(&self.status) {
            let ix = self.compiled.topology.find(attempt.node.as_str()).unwrap();
            if self.choices.of("forgotten", self.rounds * 128 + ix, 12) == 0 {
                self.forgotten.insert(attempt);
            }
        }
    }

    fn plan(&self, draft: &mut Draft) {
        let local_attempts = self.local_attempts(&draft.status);
        let past = self.past.as_ref().filter(|_| draft.status.extensions.reuse.is_none());
        let past = past.map(|status| ReuseSource { from: "earlier", uid: None, status: Ok(status) });
        let view = ExecutionView {
            compiled: self.compiled,
            uid: "u",
            removed: false,
            overdue: None,
            local_attempts: &local_attempts,
            remote_cancelled: &Default::default(),
            reuse: past,
        };
        let mut whole = draft.clone();
        plan_changed(view, draft, &self.lookup(), &mut self.settled.borrow_mut(), self.now);
        // Looking at every node comes to the same.
        plan_execution(view, &mut whole, &self.lookup(), self.now);
        assert_eq!((&draft.changes, &draft.status), (&whole.changes, &whole.status));
        assert_eq!((&draft.ready, draft.wake, &draft.on), (&whole.ready, whole.wake, &whole.on));
        assert_eq!((&draft.gates, &draft.moves), (&whole.gates, &whole.moves));
    }

    /// Plans a step that is lost: another runner was faster, or the remote refused it.
    fn lose(&self, mut draft: Draft) {
        self.end_some(&mut draft);
        self.plan(&mut draft);
        for ready in draft.ready.clone() {
            draft.start(&ready, None, None, self.runner, self.now);
        }
        finish(&mut draft, self.compiled, false, self.now);
        // And what would follow, ahead of publication.
        if self.choices.of("ahead", self.rounds, 2) == 0 {
            self.plan(&mut draft);
        }
    }

    /// Runs until nothing moves any more, whatever time it takes.
    fn run(&mut self) {
        while self.step() {
            self.rounds += 1;
            assert!(self.rounds < 2_000, "it never comes to rest: {:#?}", self.status);
        }
    }

    /// One commit's worth; says whether there is more to come.
    fn step(&mut self) -> bool {
        let mut draft = Draft::new(self.status.clone());
        if self.status.phase.is_terminal() {
            return false;
        }
        match lease_state(self.status.extensions.lease.as_ref(), self.runner, TERMS, self.now, self.now) {
            LeaseState::Mine(_) => {}
            LeaseState::Free => {
                let lease = next_lease(&self.status.extensions, self.runner, TERMS, self.now);
                assert!(draft.execution(ExecutionChange::AcquireLease(lease), self.now));
            }
            LeaseState::Held(until) => {
                self.now = until.saturating_add(SignedDuration::from_millis(1)).unwrap();
                return true;
            }
        }
        self.forget_some();
        if self.choices.of("lost", self.rounds, 4) == 0 {
            self.lose(draft.clone());
        }
        self.end_some(&mut draft);
        self.plan(&mut draft);
        for ready in draft.ready.clone() {
            if self.choices.of("slot", self.rounds * 128 + ready.node, 3) != 0 {
                assert!(draft.start(
                    &ready,
                    self.basis(&draft, ready.node, &ready.target),
                    None,
                    self.runner,
                    self.now
                ));
            }
        }
        let wake = draft.wake;
        let waiting = !draft.ready.is_empty();
        finish(&mut draft, self.compiled, false, self.now);
        let leased = |change: &Change| {
            matches!(
                change,
                Change::Execution(ExecutionChange::AcquireLease(_) | ExecutionChange::ReleaseLease { .. })
            )
        };
        let dead = self.status.extensions.lease.as_ref().is_some_and(|lease| lease.holder != self.runner);
        if dead || !draft.changes.iter().all(leased) {
            self.record(draft);
            self.check_quiet();
            self.now = self.now.saturating_add(SignedDuration::from_millis(100)).unwrap();
            return true;
        }
        let running = self.status.node_statuses.values().any(NodeStatus::is_under_way);
        // Time goes on for two minutes: late decisions arrive, waits time out.
        let later = self.now.saturating_add(SignedDuration::from_secs(20)).unwrap();
        match wake {
            // Nobody sleeps through an arrival: whether a decision is in time must not depend on when somebody polls.
            Some(at) if self.now < arrival() => self.now = at.min(arrival()).max(self.now),
            Some(at) => self.now = at.max(self.now),
            None if running || waiting => {}
            None if self.now.as_second() < 120 => self.now = later,
            None => return false,
        }
        true
    }

    /// Ends some of the attempts of this runner.
    fn end_some(&self, draft: &mut Draft) {
        let local = self.local_attempts(&draft.status);
        for (ix, id) in self.compiled.ids.iter().enumerate() {
            let node = self.compiled.node(ix).unwrap();
            let state = draft.status.node_statuses[id].clone();
            let mine = local.contains(&AttemptName::of("u", id, &state));
            let running = state.phase == NodePhase::Running && node.kind != NodeKind::Group;
            if running && mine && self.choices.of("end", self.rounds * 128 + ix, 2) == 0 {
                let result = result(self.choices, ix, state.extensions.failures);
                let attempt = format!("u/{id}/{}", state.attempt);
                let change = after_attempt(node, &state, result.into(), &attempt, self.now);
                assert!(draft.node(id, change, self.now));
            }
        }
    }

    fn basis(&self, draft: &Draft, node: NodeIx, target: &BindingTarget) -> Option<InputFingerprint> {
        fingerprint(self.compiled, &draft.status, node, &[], target)
    }

    /// Planning again right away changes nothing (Invariant 5).
    fn check_quiet(&self) {
        let mut draft = Draft::new(self.status.clone());
        self.plan(&mut draft);
        finish(&mut draft, self.compiled, false, self.now);
        assert_eq!(draft.changes, [], "{:#?}", self.status);
        assert_eq!(draft.status, self.status);
    }

    /// Everything is over, or waits for something that is named; nothing contradicts the edges.
    fn check_rest(&self) {
        let phase = |ix| self.compiled.phase_of(&self.status, ix);
        let mut over = true;
        for (ix, id) in self.compiled.ids.iter().enumerate() {
            let state = &self.status.node_statuses[id];
            let node = self.compiled.node(ix).unwrap();
            assert_ne!((node.kind == NodeKind::Group, state.phase), (false, NodePhase::Running), "{id}");
            over &= state.phase.is_terminal() || node.kind == NodeKind::Group;
            let sources: Vec<_> = self.compiled.topology.sources(ix).collect();
            match state.phase {
                NodePhase::Blocked if node.kind != NodeKind::Group => {
                    assert!(
                        state.extensions.reason.is_some() && !state.message.is_empty(),
                        "{id}: {state:?}"
                    );
                }
                NodePhase::Pending if node.kind != NodeKind::Group => {
                    assert!(
                        sources.iter().any(|&(source, _)| !phase(source).is_terminal())
                            || self.compiled.reads(ix).iter().any(|&read| !phase(read).is_terminal()),
                        "{id}: {state:?}"
                    );
                }
                NodePhase::Skipped if node.kind != NodeKind::Group => {
                    assert!(state.extensions.reason.is_some(), "{id}: {state:?}");
                }
                NodePhase::Succeeded if node.when.is_none() => {
                    let unmet = sources.iter().find(|&&(source, kind)| {
                        kind == EdgeType::Hard && phase(source) != NodePhase::Succeeded
                    });
                    assert_eq!(unmet, None, "{id} ran without its source");
                }
                _ => {}
            }
        }
        assert_eq!(self.status.phase.is_terminal(), over, "{:?}", self.status.phase);
        assert_eq!(self.status.extensions.lease, None, "nothing is left to be held");
    }
}

/// What a run came to, but for times, attempts and runners, and for which of several sources is named as the reason.
fn essence(status: &ExecutionStatus) -> Vec<(String, NodePhase, JsonMap, u32)> {
    let nodes = status.node_statuses.iter();
    nodes
        .map(|(id, node)| (id.to_string(), node.phase, node.outputs.clone(), node.extensions.failures))
        .collect()
}

#[test]
fn what_runs_here_in_no_process_of_this_runner_begins_again() {
    let compiled = CompiledPlan::of_graph(&json!({ "nodes": [{ "id": "n0", "kind": "Task" }] }));
    let mut simulation = Simulation::new(&compiled, Choices(0));
    let now = simulation.now;
    let id = compiled.ids[0].clone();
    let mut draft = Draft::new(simulation.status.clone());
    let lease = next_lease(&draft.status.extensions, "one", TERMS, now);
    assert!(draft.execution(ExecutionChange::AcquireLease(lease), now));
    let around = ChosenLookup::generous(now);
    let nothing = BTreeSet::new();
    let view = ExecutionView {
        compiled: &compiled,
        uid: "u",
        removed: false,
        overdue: None,
        local_attempts: &nothing,
        remote_cancelled: &Default::default(),
        reuse: None,
    };
    plan_execution(view, &mut draft, &around, now);
    let ready = draft.ready[0].clone();
    assert!(draft.start(&ready, None, None, "one", now));
    simulation.record(draft);
    // The lease is this runner's and the attempt, too; but no process of it knows of that.
    let mut draft = Draft::new(simulation.status.clone());
    plan_execution(view, &mut draft, &around, now);
    let node = &draft.status.node_statuses[&id];
    assert_eq!(node.phase, NodePhase::Pending);
    assert!(node.message.contains("was lost during attempt 1"), "{node:?}");
    assert_eq!(draft.ready.len(), 1, "it may start at once");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn everything_ends_or_waits_for_something_named(seed: u64, count in 1usize..100) {
        let compiled = compiled(Choices(seed), count);
        let mut simulation = Simulation::new(&compiled, Choices(seed));
        simulation.run();
        simulation.check_rest();
    }

    #[test]
    fn a_log_cut_off_anywhere_replays_to_the_status_of_that_moment(seed: u64, count in 1usize..60) {
        let compiled = compiled(Choices(seed), count);
        let mut simulation = Simulation::new(&compiled, Choices(seed));
        simulation.run();
        let mut status = ExecutionStatus::default();
        for ((changes, at), expected) in simulation.log.iter().zip(&simulation.statuses) {
            for (change, at) in changes {
                apply(&mut status, change, *at).unwrap();
            }
            derive_phase(Some(&compiled), &mut status, *at);
            prop_assert_eq!(&status, expected);
            let text = serde_json::to_string(&status).unwrap();
            let read: ExecutionStatus = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(&read, expected, "what is written is what is read");
        }
    }

    #[test]
    fn a_rerun_takes_over_the_beginning_of_a_run_and_comes_to_the_same_end(seed: u64, count in 1usize..60) {
        let compiled = compiled(Choices(seed), count);
        let mut first = Simulation::new(&compiled, Choices(seed));
        first.run();
        let mut second = Simulation::new(&compiled, Choices(seed));
        second.past = Some(first.status.clone());
        second.run();
        second.check_rest();
        let reused = |id: &NodeId| {
            second.status.node_statuses[id].extensions.reason == Some(NodeReason::Reused)
        };
        let reuse = second.status.extensions.reuse.as_ref().unwrap();
        for (ix, id) in compiled.ids.iter().enumerate() {
            let old = &first.status.node_statuses[id];
            let new = &second.status.node_statuses[id];
            prop_assert_eq!((old.phase, &old.outputs), (new.phase, &new.outputs), "{}", id);
            let node = compiled.node(ix).unwrap();
            if node.kind != NodeKind::Group {
                let verdict = &reuse.nodes[id];
                prop_assert_eq!(reused(id), verdict == "reused", "{}: {}", id, verdict);
            }
            let mut sources = compiled.topology.sources(ix).filter(|&(source, _)| {
                compiled.node(source).unwrap().kind != NodeKind::Group
            });
            if reused(id) {
                prop_assert_eq!((node.kind, old.phase, new.attempt), (NodeKind::Task, NodePhase::Succeeded, 0));
                let skipped = |ix: usize| second.status.node_statuses[&compiled.ids[ix]].phase == NodePhase::Skipped;
                prop_assert!(sources.all(|(source, _)| reused(&compiled.ids[source]) || skipped(source)));
            } else if node.kind == NodeKind::Task && old.phase == NodePhase::Succeeded {
                // Nothing changed in between, so only what comes before it can have kept it, or a Binding that comes late.
                let why = &reuse.nodes[id];
                let expected = why.ends_with("which comes before it, was not reused") || why == "no rule matches";
                prop_assert!(expected, "{}: {}", id, why);
            }
        }
        // Once more, from the one that took over: the same.
        let mut third = Simulation::new(&compiled, Choices(seed));
        third.past = Some(second.status.clone());
        third.run();
        prop_assert_eq!(&third.status.extensions.reuse.as_ref().unwrap().nodes, &reuse.nodes);
    }

    #[test]
    fn another_runner_that_goes_on_from_any_prefix_comes_to_the_same_end(seed: u64, count in 1usize..30) {
        let compiled = compiled(Choices(seed), count);
        let mut simulation = Simulation::new(&compiled, Choices(seed));
        simulation.run();
        for (prefix, (_, at)) in simulation.statuses.iter().zip(&simulation.log) {
            let mut other = Simulation::resume(&compiled, Choices(seed), prefix.clone(), *at);
            other.run();
            other.check_rest();
            for (id, node) in prefix.node_statuses.iter().filter(|(_, node)| node.phase.is_terminal()) {
                let ix = compiled.topology.find(id.as_str()).unwrap();
                if compiled.node(ix).unwrap().kind != NodeKind::Group {
                    prop_assert_eq!(&other.status.node_statuses[id], node, "what was over stays as it was");
                }
            }
            prop_assert_eq!(essence(&other.status), essence(&simulation.status));
            prop_assert!(other.status.extensions.last_token >= prefix.extensions.last_token);
        }
    }
}
