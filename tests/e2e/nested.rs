//! `plan://NAME` from end to end: a plan does a node of another one, gives it outputs, and follows it in everything.

use std::fs;

use planspec::model::{DerivedExecution, ExecutionPhase, Name, NodeId, NodePhase, Origin};
use serde_json::{Value, json};

use crate::engine_rig::{Graph, QUICK, Stage, bindings, document, execution, yaml};
use crate::pins::forge;

/// The Binding of these plans, in which plans do nodes of `outer`.
pub(crate) fn with_plans(graphs: &[&Graph], plans: &[(&str, &str, &str)]) -> Value {
    let mut binding = bindings(graphs);
    for (plan, node, provider) in plans {
        binding["spec"]["rules"].as_array_mut().unwrap().push(json!({
            "selector": { "planRef": { "name": plan }, "nodeId": node },
            "target": { "provider": provider },
        }));
    }
    binding
}

/// A plan whose node `load` is done by the plan `inner`, with the inner plan's one task and these fields of the node.
fn nested(script: &str, fields: &Value) -> Stage {
    let mut load = json!({ "id": "load", "kind": "Task", "inputs": { "n": 3 }, "outputs": ["sum"] });
    load.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    let stage = Stage::new(QUICK, &[]);
    let says = format!("echo \"$SUM\" >> '{}'", stage.outside("trace").display());
    let outer = Graph::new("outer").node(load).node(json!({
        "id": "use", "kind": "Task", "dependsOn": ["load"],
        "run": { "command": says, "env": { "SUM": "${{ string(nodes.load.outputs.sum) }}" } },
    }));
    let inner = Graph::new("inner").task_with("a", &[], script, &json!({ "outputs": ["v"] }));
    let mut plan = inner.plan();
    plan["spec"]["parameters"] = json!([{ "name": "n", "type": "number", "required": true }]);
    plan["spec"]["outputs"] = json!({ "sum": "${{ nodes.a.outputs.v + '-' + string(parameters.n) }}" });
    let binding = with_plans(&[&outer, &inner], &[("outer", "load", "plan://inner")]);
    stage.commit("work.yaml", &yaml(&[outer.plan(), plan, binding, execution("run", "outer")]));
    stage
}

/// The name of what does the second attempt at `load`.
fn second_try() -> String {
    let origin = Origin::Node(NodeId::new("load").unwrap(), 2);
    DerivedExecution::name(&Name::new("run").unwrap(), &origin).to_string()
}

fn show(stage: &Stage, arguments: &[&str]) -> String {
    let all: Vec<&str> = arguments.iter().chain(&["-n", "team"]).copied().collect();
    stage.environment.planspec(&all).succeeds().stdout
}

#[test]
fn a_plan_does_a_node_and_gives_it_outputs() {
    let stage = nested("echo v=five >> \"$PLANSPEC_OUTPUT\"", &json!({}));
    stage.environment.planspec(&["validate"]).succeeds();
    stage.reconcile(&[]).succeeds();
    let (outer, inner) = (stage.status("run"), stage.status("run-load"));
    assert_eq!((outer.phase, inner.phase), (ExecutionPhase::Succeeded, ExecutionPhase::Succeeded));
    assert_eq!(stage.node("run", "load").outputs["sum"], "five-3");
    assert_eq!(stage.trace("trace"), ["five-3"]);
    let page = show(&stage, &["describe", "execution/run-load"]);
    assert!(page.contains("execution/run") && page.contains("inner"), "{page}");
    assert!(show(&stage, &["describe", "execution/run"]).contains("execution/run-load succeeded"));
    let tip = stage.status_tip();
    fs::remove_dir_all(stage.environment.repo().join(".git/planspec")).unwrap();
    stage.reconcile(&[]).succeeds();
    assert_eq!(stage.status_tip(), tip);
    // What made it takes it along.
    stage.remove("work.yaml");
    stage.reconcile(&["--allow-mass-delete"]).succeeds();
    assert!(!show(&stage, &["get", "executions", "-o", "name"]).contains("run"));
}

#[test]
fn a_failure_is_tried_again_as_an_execution_of_its_own() {
    let once =
        "if [ \"$PLANSPEC_EXECUTION\" = run-load ]; then exit 1; fi; echo v=two >> \"$PLANSPEC_OUTPUT\"";
    let stage = nested(once, &json!({ "retries": 1 }));
    stage.reconcile(&[]).succeeds();
    assert_eq!(stage.status("run-load").phase, ExecutionPhase::Failed);
    assert_eq!(stage.status(&second_try()).phase, ExecutionPhase::Succeeded);
    assert_eq!((stage.node("run", "load").attempt, stage.trace("trace")), (2, vec!["two-3".to_owned()]));
}

/// Both would be `run-load-2`, and whichever came second would fail.
#[test]
fn an_attempt_and_a_node_of_the_same_name_are_kept_apart() {
    let once =
        "if [ \"$PLANSPEC_EXECUTION\" = run-load ]; then exit 1; fi; echo v=two >> \"$PLANSPEC_OUTPUT\"";
    let inner = Graph::new("inner").task_with("a", &[], once, &json!({ "outputs": ["v"] }));
    let node = |id| json!({ "id": id, "kind": "Task", "retries": 1 });
    let outer = Graph::new("outer").node(node("load")).node(node("load-2"));
    let plans = [("outer", "load", "plan://inner"), ("outer", "load-2", "plan://inner")];
    let binding = with_plans(&[&outer, &inner], &plans);
    let stage = Stage::new(QUICK, &[]);
    stage.commit("work.yaml", &yaml(&[outer.plan(), inner.plan(), binding, execution("run", "outer")]));
    stage.reconcile(&[]);
    for (name, node, attempt) in [(second_try(), "load", 2), ("run-load-2".to_owned(), "load-2", 1)] {
        let message = format!("execution/{name} succeeded");
        let state = stage.node("run", node);
        assert_eq!((state.phase, state.attempt), (NodePhase::Succeeded, attempt), "{state:?}");
        assert_eq!(state.message, message);
    }
}

/// A name holds no underscores, so that the first attempts of both want one: whichever came second failed.
#[test]
fn nodes_whose_ids_differ_in_an_underscore_are_kept_apart() {
    let inner = Graph::new("inner").task("a", &[], "true");
    let node = |id: &str, after: &[&str]| json!({ "id": id, "kind": "Task", "dependsOn": after });
    let outer = Graph::new("outer")
        .node(node("load_all", &[]))
        .node(node("load-all", &[]))
        // Those begin in one commit; of these, the second one finds the name taken.
        .node(node("other_one", &["load_all"]))
        .node(node("other-one", &["other_one"]));
    let ids = ["load_all", "load-all", "other_one", "other-one"];
    let plans = ids.map(|id| ("outer", id, "plan://inner"));
    let binding = with_plans(&[&outer, &inner], &plans);
    let stage = Stage::new(QUICK, &[]);
    stage.commit("work.yaml", &yaml(&[outer.plan(), inner.plan(), binding, execution("run", "outer")]));
    stage.reconcile(&[]).succeeds();
    let names: std::collections::BTreeSet<String> = ids
        .iter()
        .map(|id| {
            let state = stage.node("run", id);
            assert_eq!((state.phase, state.attempt), (NodePhase::Succeeded, 1), "{state:?}");
            state.message
        })
        .collect();
    assert!(names.contains("execution/run-load-all succeeded") && names.len() == ids.len(), "{names:?}");
    for id in ids {
        // What a graph opens is what did the node.
        let page = show(&stage, &["graph", "execution/run", "--open", id]);
        assert!(page.contains('a'), "{page}");
    }
    let tip = stage.status_tip();
    stage.reconcile(&[]).succeeds();
    assert_eq!(stage.status_tip(), tip);
}

/// A rule that names a node holds for all its instances, also where it is asked who may be behind an Execution.
#[test]
fn each_instance_of_a_repeated_node_is_done_by_an_execution_of_its_own() {
    let fields = json!({ "forEach": { "items": [3, 4] }, "inputs": { "n": "${{ item }}" } });
    let stage = nested("echo v=five >> \"$PLANSPEC_OUTPUT\"", &fields);
    stage.reconcile(&[]);
    for (index, sum) in ["five-3", "five-4"].into_iter().enumerate() {
        let child = stage.status(&format!("run-load-{index}"));
        assert_eq!(child.phase, ExecutionPhase::Succeeded, "{child:?}");
        assert_eq!(stage.node("run", &format!("load-{index}")).outputs["sum"], sum);
    }
    assert_eq!(stage.node("run", "load").phase, NodePhase::Succeeded);
}

#[test]
fn a_failure_for_good_fails_the_node() {
    let stage = nested("exit 3", &json!({}));
    stage.reconcile(&[]).succeeds();
    let load = stage.node("run", "load");
    assert_eq!((load.phase, stage.status("run").phase), (NodePhase::Failed, ExecutionPhase::Failed));
    assert!(load.message.contains("execution/run-load is Failed"), "{load:?}");
    // A retry of the node is another Execution.
    stage.environment.planspec(&["retry", "run", "-n", "team"]).succeeds();
    stage.reconcile(&[]).succeeds();
    assert_eq!(stage.status(&second_try()).phase, ExecutionPhase::Failed);
}

#[test]
fn cancellation_suspension_and_timeouts_go_down() {
    let stage = nested("sleep 60", &json!({}));
    let mut runner = stage.start(&["--watch", "200ms"]);
    let running = |name: &str| {
        let known = show(&stage, &["get", "executions", "-o", "name"]).contains(name);
        known && stage.status(name).phase == ExecutionPhase::Running
    };
    stage.wait_until("the inner task runs", || running("run-load"));
    stage.environment.planspec(&["suspend", "run", "-n", "team"]).succeeds();
    stage.wait_until("it is suspended", || stage.status("run-load").extensions.suspend.is_some());
    stage.environment.planspec(&["resume", "run", "-n", "team"]).succeeds();
    stage.wait_until("it goes on", || stage.status("run-load").extensions.suspend.is_none());
    stage.environment.planspec(&["cancel", "run", "-n", "team"]).succeeds();
    stage.wait_until("it is cancelled", || stage.status("run-load").phase == ExecutionPhase::Cancelled);
    assert_eq!(stage.status("run").phase, ExecutionPhase::Cancelled);
    runner.kill();
    let stage = nested("sleep 60", &json!({ "timeout": "1s" }));
    let mut runner = stage.start(&["--watch", "200ms"]);
    stage.wait_until("the inner plan is cancelled", || {
        let known = show(&stage, &["get", "executions", "-o", "name"]).contains("run-load");
        known && stage.status("run-load").phase == ExecutionPhase::Cancelled
    });
    assert_eq!(stage.node("run", "load").phase, NodePhase::Failed);
    runner.kill();
}

#[test]
fn a_plan_that_would_run_itself_fails() {
    let stage = Stage::new(QUICK, &[]);
    let node = || json!({ "id": "x", "kind": "Task" });
    let (one, two) = (Graph::new("one").node(node()), Graph::new("two").node(node()));
    let binding = with_plans(&[&one, &two], &[("one", "x", "plan://two"), ("two", "x", "plan://one")]);
    stage.commit("work.yaml", &yaml(&[one.plan(), two.plan(), binding, execution("run", "one")]));
    // Said before it runs, once, with the node that closes it; of the working tree and of a commit, and again by a second look.
    for check in
        [&["validate"][..], &["validate"], &["validate", "--ref", "HEAD"], &["validate", "-f", "work.yaml"]]
    {
        let refused = stage.environment.planspec(check);
        assert_eq!(refused.code, 1, "{refused:?}");
        assert_eq!(refused.stdout.matches("PS3020").count(), 1, "{refused:?}");
        assert!(refused.stdout.contains("one → two → one"), "{refused:?}");
        assert!(refused.stdout.contains("work.yaml:"), "{refused:?}");
    }
    stage.reconcile(&[]).succeeds();
    assert_eq!(stage.status("run").phase, ExecutionPhase::Failed);
    let inner = stage.node("run-x", "x");
    assert!(inner.message.contains("would run itself: one → two → one"), "{inner:?}");
}

#[test]
fn plans_are_nested_eight_deep_and_not_deeper() {
    let stage = Stage::new(QUICK, &[]);
    let names: Vec<String> = (1..=9).map(|depth| format!("p{depth}")).collect();
    let mut graphs: Vec<Graph> =
        names.iter().map(|name| Graph::new(name).node(json!({ "id": "x", "kind": "Task" }))).collect();
    graphs[8] = Graph::new("p9").node(json!({ "id": "x", "kind": "Task", "run": "true" }));
    let inner: Vec<String> = names.iter().skip(1).map(|name| format!("plan://{name}")).collect();
    let rules: Vec<(&str, &str, &str)> =
        names.iter().zip(&inner).map(|(name, provider)| (name.as_str(), "x", provider.as_str())).collect();
    let binding = with_plans(&graphs.iter().collect::<Vec<&Graph>>(), &rules);
    let mut all: Vec<Value> = graphs.iter().map(Graph::plan).collect();
    all.extend([binding, execution("run", "p1"), execution("less", "p2")]);
    stage.commit("work.yaml", &yaml(&all));
    stage.reconcile(&[]).succeeds();
    assert_eq!(stage.status("less").phase, ExecutionPhase::Succeeded);
    assert_eq!(stage.status("run").phase, ExecutionPhase::Failed);
    let deepest = stage.node("run-x-x-x-x-x-x-x", "x");
    assert!(deepest.message.contains("nested more than 8 deep"), "{deepest:?}");
}

#[test]
fn a_name_that_is_taken_fails_the_node() {
    let stage = nested("true", &json!({}));
    stage.commit(
        "other.yaml",
        &yaml(&[document("Execution", "run-load", &json!({ "planRef": { "name": "none" } }))]),
    );
    stage.reconcile(&[]).succeeds();
    assert!(stage.node("run", "load").message.contains("is there already"));
}

/// The inner plan of a time when it had no gate yet, which was merged, too.
#[test]
fn a_plan_that_is_older_than_its_owner_never_runs() {
    let stage = Stage::new(QUICK, &[]);
    let key = Stage::leaves_its_key(&stage.outside("trace"));
    let once = Graph::new("inner").task("a", &[], &key);
    stage.commit("inner.yaml", &yaml(&[once.plan()]));
    let old = stage.environment.git_output(&["rev-parse", "HEAD"]);
    let gate = json!({ "id": "ok", "kind": "Gate", "gateRef": { "name": "ok" } });
    let inner = Graph::new("inner").node(gate).task("a", &["ok"], &key);
    let outer = Graph::new("outer").node(json!({ "id": "load", "kind": "Task" }));
    let binding = with_plans(&[&outer, &inner], &[("outer", "load", "plan://inner")]);
    stage.commit("inner.yaml", &yaml(&[inner.plan()]));
    stage.commit("work.yaml", &yaml(&[outer.plan(), binding, execution("run", "outer")]));
    stage.reconcile(&[]).succeeds();
    assert_eq!(stage.status("run-load").phase, ExecutionPhase::Blocked);
    // What an honest runner records of such a plan.
    let honest = Stage::new(QUICK, &[]);
    honest.commit("work.yaml", &yaml(&[once.plan(), execution("run", "inner")]));
    honest.reconcile(&[]).succeeds();
    let digest = honest.status("run").extensions.pinned.unwrap().graph_digest;
    let manifest = stage.environment.git_output(&["show", &format!("{old}:inner.yaml")]);
    forge(&stage, |tree| {
        let path = tree.join("team/executions/run-load.yaml");
        let mut record: Value = serde_yaml::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let pinned = &mut record["status"]["extensions"]["pinned"];
        pinned["commit"] = json!(old);
        pinned["graphDigest"] = json!(digest);
        record["status"]["nodeStatuses"].as_object_mut().unwrap().remove("ok");
        fs::write(&path, record.to_string()).unwrap();
        fs::write(tree.join("team/executions/run-load.pinned/plan.yaml"), manifest + "\n").unwrap();
    });
    stage.reconcile(&[]);
    assert_eq!(stage.trace("trace"), [""; 0], "it ran");
    let status = stage.status("run-load");
    assert_eq!(status.reason.as_deref(), Some("PinMismatch"), "{status:?}");
    assert!(status.message.unwrap().contains(&format!("commit {} is older than", &old[..8])));
}

#[test]
fn what_a_forger_makes_of_it_runs_nothing() {
    let stage = Stage::new(QUICK, &[]);
    let key = Stage::leaves_its_key(&stage.outside("trace"));
    let gate = json!({ "id": "ok", "kind": "Gate", "gateRef": { "name": "ok" } });
    let inner = Graph::new("inner").node(gate).task("a", &["ok"], &key);
    let evil = Graph::new("evil").task("a", &[], &key);
    let outer = Graph::new("outer").node(json!({ "id": "load", "kind": "Task" }));
    let binding = with_plans(&[&outer, &inner, &evil], &[("outer", "load", "plan://inner")]);
    let run = execution("run", "outer");
    stage.commit("work.yaml", &yaml(&[outer.plan(), inner.plan(), evil.plan(), binding, run]));
    stage.reconcile(&[]).succeeds();
    assert_eq!(stage.status("run-load").phase, ExecutionPhase::Blocked);
    // A merged plan, but not the one that its node is bound to; as if it had not been pinned yet.
    forge(&stage, |tree| {
        let path = tree.join("team/executions/run-load.yaml");
        let mut record: Value = serde_yaml::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let spec = json!({ "planRef": { "name": "evil" } });
        record["status"] = json!({ "phase": "Pending", "extensions": { "spec": spec } });
        fs::write(&path, record.to_string()).unwrap();
        // And one for a node that has no such attempt.
        record["metadata"]["name"] = json!("run-load-9");
        record["metadata"]["annotations"]["planspec.io/for-attempt"] = json!("9");
        fs::write(tree.join("team/executions/run-load-9.yaml"), record.to_string()).unwrap();
    });
    stage.reconcile(&[]);
    assert_eq!(stage.trace("trace"), [""; 0], "it ran");
    assert_eq!(
        stage.status("run-load").extensions.pinned.map(|pin| pin.plan.name.to_string()),
        Some("inner".to_owned())
    );
}
