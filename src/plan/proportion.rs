//! A step of an Execution costs what it changes: nodes looked at and statuses copied, as plans grow.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::properties::{ChosenLookup, attempts_of};
use super::{Draft, ExecutionView, LeaseTerms, SettledNodes, finish, next_lease, plan_changed};
use crate::model::{ExecutionStatus, JsonMap, NodeId, PinnedGraph};
use crate::run::{CompiledPlan, Evidence, ExecutionChange, NodeChange};

const RUNNER: &str = "one";

/// What the steps of an Execution cost at most, but for the first two, which find everything out.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct StepCost {
    looked_at: usize,
    copied: usize,
}

/// Drives an Execution for so many steps. The first starts `at_once` nodes, as far as so many are ready; in each of the others one that
/// runs ends and one that is ready starts.
fn drive(compiled: &CompiledPlan, steps: usize, at_once: usize) -> StepCost {
    let now = Timestamp::UNIX_EPOCH;
    let digest = compiled.digest.clone();
    let mut draft = Draft::new(ExecutionStatus::default());
    draft.execution(ExecutionChange::Queue { spec_hash: digest.clone(), run_id: "r".to_owned() }, now);
    let plan = compiled.plan_key.clone();
    let graph = PinnedGraph { commit: "c".into(), plan, graph_digest: digest, goal: None };
    draft.execution(ExecutionChange::Pin { graph, nodes: compiled.ids.clone() }, now);
    let terms = LeaseTerms {
        duration: std::time::Duration::from_secs(60),
        skew: std::time::Duration::from_secs(1),
        longest: std::time::Duration::from_secs(600),
    };
    let lease = next_lease(&draft.status.extensions, RUNNER, terms, now);
    assert!(draft.execution(ExecutionChange::AcquireLease(lease), now));
    let mut status = draft.status;
    let mut settled = SettledNodes::default();
    let mut most = StepCost::default();
    let mut running: VecDeque<NodeId> = VecDeque::new();
    for step in 0..steps {
        let mut draft = Draft::new(status.clone());
        if let Some(id) = running.pop_front() {
            let change = NodeChange::Succeed {
                reason: None,
                message: String::new(),
                outputs: JsonMap::new(),
                evidence: Evidence::default(),
            };
            assert!(draft.node(&id, change, now));
        }
        let local_attempts: BTreeSet<_> = attempts_of(&draft.status, "u", RUNNER);
        let view = ExecutionView {
            compiled,
            uid: "u",
            removed: false,
            overdue: None,
            local_attempts: &local_attempts,
            remote_cancelled: &Default::default(),
            reuse: None,
        };
        let looked_at = plan_changed(view, &mut draft, &ChosenLookup::generous(now), &mut settled, now);
        assert!(!draft.ready.is_empty(), "there is always more to do");
        for ready in draft.ready.clone().into_iter().take(at_once - running.len()) {
            assert!(draft.start(&ready, None, None, RUNNER, now));
            running.push_back(ready.id);
        }
        finish(&mut draft, compiled, false, now);
        // What the first step started is looked at once more by the second.
        if step > 1 {
            let pairs = status.node_statuses.entries().zip(draft.status.node_statuses.entries());
            let copied = pairs.filter(|(old, new)| !Arc::ptr_eq(&old.1, &new.1)).count();
            most.looked_at = most.looked_at.max(looked_at);
            most.copied = most.copied.max(copied);
        }
        status = draft.status;
    }
    most
}

fn chain(count: usize) -> Value {
    let node = |number: usize| {
        let after: Vec<String> =
            number.checked_sub(1).map(|before| format!("n{before}")).into_iter().collect();
        json!({ "id": format!("n{number}"), "kind": "Task", "dependsOn": after })
    };
    json!({ "nodes": (0..count).map(node).collect::<Vec<_>>() })
}

fn wide(count: usize) -> Value {
    let node = |number: usize| json!({ "id": format!("n{number}"), "kind": "Task" });
    json!({ "nodes": (0..count).map(node).collect::<Vec<_>>() })
}

/// Layers of ten, each node after three of the layer before, and a group of each layer.
fn layers(count: usize) -> Value {
    let mut nodes = Vec::new();
    for number in 0..count {
        let layer = number / 10;
        let place = number % 10;
        let source = |step: usize| format!("n{}", (layer - 1) * 10 + (place + step) % 10);
        let after: Vec<String> = if layer == 0 { Vec::new() } else { [0, 3, 7].map(source).to_vec() };
        nodes.push(json!({ "id": format!("n{number}"), "kind": "Task", "dependsOn": after }));
        if place == 9 {
            let children: Vec<String> = (layer * 10..=number).map(|child| format!("n{child}")).collect();
            nodes.push(json!({ "id": format!("g{layer}"), "kind": "Group", "children": children }));
        }
    }
    json!({ "nodes": nodes })
}

#[test]
fn a_step_of_a_plan_of_ten_thousand_nodes_looks_at_those_that_it_concerns() {
    for (graph, at_once) in [(chain as fn(usize) -> Value, 1), (layers, 1), (wide, 60)] {
        let small = drive(&CompiledPlan::of_graph(&graph(100)), 14, at_once);
        let large = drive(&CompiledPlan::of_graph(&graph(10_000)), 14, at_once);
        assert_eq!(small, large, "a hundred times as many nodes make a step no dearer");
        // Those of two layers at most, and what starts and ends: neither what waits for a slot nor what goes on.
        assert!(large.looked_at <= 40 && large.copied <= 6, "{large:?}");
    }
}
