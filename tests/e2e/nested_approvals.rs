//! A gate before a node that a plan does: what was approved with the node is what runs inside, however late that is looked up.

use planspec::model::{ExecutionPhase, NodePhase, NodeReason};
use serde_json::{Value, json};

use crate::engine_rig::{Graph, QUICK, Stage, execution, yaml};
use crate::environment::Outcome;
use crate::nested::with_plans;

/// The Execution `run` of a plan whose node `load` is behind the gate `look`, and what does its work.
struct Nested {
    stage: Stage,
    /// The plans between the gate and the one that does the work.
    between: Vec<Graph>,
    outer: Graph,
}

impl Nested {
    /// With so many plans between the gate and the one that does the work.
    fn new(depth: usize) -> Self {
        let outer = Graph::new("outer")
            .node(json!({ "id": "look", "kind": "Gate", "gateRef": { "name": "look" } }))
            .node(json!({ "id": "load", "kind": "Task", "dependsOn": ["look"] }));
        let between = (0..depth)
            .map(|level| Graph::new(&format!("level{level}")).node(json!({ "id": "load", "kind": "Task" })));
        Self { stage: Stage::new(QUICK, &[]), between: between.collect(), outer }
    }

    /// Merges this version of the plan that does the work.
    fn merge(&self, inner: &Graph, plan: Value) {
        let names: Vec<String> = self
            .between
            .iter()
            .map(|graph| graph.plan()["metadata"]["name"].as_str().unwrap().to_owned())
            .collect();
        let targets: Vec<String> =
            names.iter().map(String::as_str).chain(["inner"]).map(|name| format!("plan://{name}")).collect();
        let owners: Vec<&str> = ["outer"].into_iter().chain(names.iter().map(String::as_str)).collect();
        let plans: Vec<(&str, &str, &str)> =
            owners.iter().zip(&targets).map(|(owner, target)| (*owner, "load", target.as_str())).collect();
        let mut documents =
            vec![self.outer.plan(), plan, with_plans(&[inner], &plans), execution("run", "outer")];
        documents.extend(self.between.iter().map(Graph::plan));
        self.stage.commit("work.yaml", &yaml(&documents));
    }

    /// What leaves this word where [`Stage::trace`] finds it.
    fn script(&self, word: &str) -> String {
        format!("echo {word} >> '{}'", self.stage.outside("trace").display())
    }

    /// Merges a plan that leaves this word once somebody was asked.
    fn merge_writing(&self, word: &str) {
        let inner = inner(&self.script(word));
        self.merge(&inner, inner.plan());
    }

    /// The name of the Execution that does the work.
    fn child(&self) -> String {
        format!("run{}", "-load".repeat(self.between.len() + 1))
    }

    fn says(&self, arguments: &[&str]) -> Outcome {
        self.stage.environment.planspec(&[arguments, &["-n", "team"]].concat())
    }

    fn reconcile(&self) {
        self.stage.reconcile(&[]).succeeds();
    }

    fn approve(&self) {
        self.says(&["approve", "look", "--execution", "run"]).succeeds();
        self.reconcile();
    }

    fn waits_for_approval(&self, node: &str) {
        let state = self.stage.node(&self.child(), node);
        let why = (state.phase, state.extensions.reason);
        assert_eq!(why, (NodePhase::Blocked, Some(NodeReason::ApprovalVoid)), "{state:?}");
        assert!(self.stage.trace("trace").is_empty(), "it ran");
    }
}

/// Asks somebody, and then runs this.
fn inner(script: &str) -> Graph {
    Graph::new("inner").provided("a", &[], "human://wendy", &json!({})).task("b", &["a"], script)
}

#[test]
fn a_binding_that_is_swapped_while_an_approved_plan_goes_on_asks_again() {
    for depth in [0, 1] {
        let nested = Nested::new(depth);
        nested.merge_writing("good");
        nested.reconcile();
        nested.approve();
        let child = nested.child();
        assert_eq!(nested.stage.node(&child, "a").extensions.reason, Some(NodeReason::AwaitingPerson));
        nested.merge_writing("evil");
        nested.says(&["complete", &format!("{child}/a")]).succeeds();
        let outcome = nested.stage.reconcile(&[]).succeeds();
        assert!(
            outcome.stdout.contains("run: planspec approve gate/look --execution run -n team"),
            "{outcome:?}"
        );
        nested.waits_for_approval("b");
        let refused = nested.says(&["complete", &format!("{child}/b")]).exits(1);
        assert!(refused.stderr.contains("needs an approval that is valid now"), "{refused:?}");
        assert!(refused.stderr.contains("planspec approve gate/look --execution run -n team"), "{refused:?}");
        let gate = nested.says(&["describe", "gate/look"]).succeeds().stdout;
        assert!(gate.contains("Asked by team/run, node look"), "{gate}");
        let tip = nested.stage.status_tip();
        nested.reconcile();
        assert_eq!(nested.stage.status_tip(), tip, "reconciled twice");
        // What was approved comes back, and nobody has to be asked.
        nested.merge_writing("good");
        nested.reconcile();
        assert_eq!(nested.stage.trace("trace"), ["good"]);
        assert_eq!(nested.stage.status("run").phase, ExecutionPhase::Succeeded);
    }
}

#[test]
fn what_is_swapped_below_an_approved_node_runs_once_it_is_approved_too() {
    for depth in [0, 1] {
        let nested = Nested::new(depth);
        nested.merge_writing("first");
        nested.reconcile();
        nested.approve();
        nested.merge_writing("second");
        nested.says(&["complete", &format!("{}/a", nested.child())]).succeeds();
        // Also before a pass has come to that.
        if depth == 1 {
            nested.reconcile();
            nested.waits_for_approval("b");
        }
        nested.approve();
        nested.reconcile();
        assert_eq!(nested.stage.trace("trace"), ["second"]);
        assert_eq!(nested.stage.status("run").phase, ExecutionPhase::Succeeded);
    }
}

/// What is pinned runs, whatever is merged later: that is what was approved.
#[test]
fn a_plan_that_is_changed_while_it_goes_on_asks_nobody() {
    let nested = Nested::new(0);
    let graph = inner(&nested.script("good"));
    nested.merge(&graph, graph.plan());
    nested.reconcile();
    nested.approve();
    let mut later = graph.plan();
    later["spec"]["description"] = json!("Another one");
    nested.merge(&graph, later);
    nested.says(&["complete", "run-load/a"]).succeeds();
    nested.reconcile();
    assert_eq!(nested.stage.trace("trace"), ["good"]);
    assert_eq!(nested.stage.status("run").phase, ExecutionPhase::Succeeded);
}

/// Between the start of the node and the pin of its Execution lies a step, and more where the plan cannot be pinned yet.
#[test]
fn a_plan_that_is_swapped_before_it_is_pinned_asks_again() {
    let nested = Nested::new(0);
    let writes = |word: &str| Graph::new("inner").task("b", &[], &nested.script(word));
    let with = |graph: &Graph, parameter: Value| {
        let mut plan = graph.plan();
        plan["spec"]["parameters"] = json!([parameter]);
        nested.merge(graph, plan);
    };
    with(&writes("good"), json!({ "name": "n", "type": "number", "required": true }));
    nested.reconcile();
    nested.approve();
    assert_eq!(nested.stage.status("run-load").reason.as_deref(), Some("ParametersInvalid"));
    with(&writes("evil"), json!({ "name": "n", "type": "number", "default": 3 }));
    nested.reconcile();
    let status = nested.stage.status("run-load");
    assert_eq!((status.phase, status.reason.as_deref()), (ExecutionPhase::Blocked, Some("ApprovalVoid")));
    assert!(nested.stage.trace("trace").is_empty(), "it ran");
    let page = nested.says(&["describe", "execution/run"]).succeeds().stdout;
    assert!(page.contains("the settings of plan://inner for node `load` have changed"), "{page}");
    let tip = nested.stage.status_tip();
    nested.reconcile();
    assert_eq!(nested.stage.status_tip(), tip, "reconciled twice");
    nested.approve();
    assert_eq!(nested.stage.trace("trace"), ["evil"]);
    assert_eq!(nested.stage.status("run").phase, ExecutionPhase::Succeeded);
}
