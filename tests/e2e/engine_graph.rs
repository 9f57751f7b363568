//! The semantics of a graph, with real processes: order, data, conditions, groups, retries, timeouts, other resources.

use std::path::Path;

use planspec::model::{ExecutionPhase, Kind, NodePhase, NodeReason, ResourceKey};
use serde_json::json;

use crate::engine_rig::{
    Graph, QUICK, Stage, bindings, check_history, document, execution, key, record_in, yaml,
};

#[track_caller]
fn check_phases(stage: &Stage, name: &str, expected: &[(&str, NodePhase)]) {
    let status = stage.status(name);
    let found: Vec<(&str, NodePhase)> =
        status.node_statuses.iter().map(|(id, node)| (id.as_str(), node.phase)).collect();
    let mut expected = expected.to_vec();
    expected.sort_by_key(|(id, _)| *id);
    assert_eq!(found, expected, "{:#?}", status.node_statuses);
}

fn run(graphs: &[&Graph]) -> Stage {
    let stage = Stage::with_graphs(QUICK, graphs);
    stage.reconcile(&[]).succeeds();
    check_history(&stage.environment.repo());
    stage
}

#[test]
fn values_flow_from_task_to_task_with_their_types() {
    let make = "printf '{\"count\": 3, \"name\": \"a b\", \"list\": [1, \"two\"]}' > \"$PLANSPEC_OUTPUT\"";
    let show = "cp \"$PLANSPEC_INPUTS\" \"$PLANSPEC_ARTIFACTS/inputs.json\"; \
                printf 'seen<<EOF\\n%s\\nEOF\\n' \"$(cat \"$PLANSPEC_INPUTS\")\" >> \"$PLANSPEC_OUTPUT\"";
    let inputs = json!({ "inputs": {
        "count": "${{ nodes.make.outputs.count }}",
        "text": "${{ nodes.make.outputs.count }} of ${{ nodes.make.outputs.name }}",
        "list": "${{ nodes.make.outputs.list }}",
        "next": "${{ nodes.make.outputs.count + 1 }}",
    }, "outputs": ["seen"] });
    let graph = Graph::new("flow")
        .task_with("make", &[], make, &json!({ "outputs": ["count", "name", "list"] }))
        .task_with("show", &["make"], show, &inputs);
    let stage = run(&[&graph]);
    let node = stage.node("flow", "show");
    assert_eq!(node.phase, NodePhase::Succeeded, "{node:?}");
    let seen: serde_json::Value = serde_json::from_str(node.outputs["seen"].as_str().unwrap()).unwrap();
    assert_eq!(seen, json!({ "count": 3, "text": "3 of a b", "list": [1, "two"], "next": 4 }));
    assert_eq!(stage.status("flow").artifacts.len(), 1);
}

#[test]
fn what_depends_on_a_group_runs_as_soon_as_the_group_has_ended() {
    use NodePhase::Succeeded;
    let graph = Graph::new("grouped")
        .task("one", &[], "true")
        .task("two", &["one"], "true")
        .node(json!({ "id": "both", "kind": "Group", "children": ["one", "two"] }))
        .task("after", &["both"], "true")
        .node(json!({ "id": "all", "kind": "Group", "children": ["both", "after"] }))
        .task("last", &["all"], "true");
    let stage = run(&[&graph]);
    let all = ["one", "two", "both", "after", "all", "last"];
    check_phases(&stage, "grouped", &all.map(|id| (id, Succeeded)));
    assert_eq!(stage.status("grouped").phase, ExecutionPhase::Succeeded);
}

/// `report` needs nothing but the end of `deploy`, which is skipped at once because `check` fails, long before `build` is
/// done. It reads `build` all the same.
#[test]
fn a_node_waits_for_what_its_expressions_read_however_early_its_sources_end() {
    use NodePhase::{Failed, Skipped, Succeeded};
    let build = "sleep 1; echo version=7 >> \"$PLANSPEC_OUTPUT\"";
    let show = "cp \"$PLANSPEC_INPUTS\" \"$PLANSPEC_OUTPUT\"";
    let read = json!({ "inputs": { "seen": "${{ nodes.build.outputs.version }}" }, "outputs": ["seen"] });
    let asked = json!({ "when": "nodes.build.phase == 'Succeeded'" });
    let graph = Graph::new("early")
        .task_with("build", &[], build, &json!({ "outputs": ["version"] }))
        .task("check", &[], "false")
        .task("deploy", &["build", "check"], "true")
        .task_with("report", &[], show, &read)
        .soft("deploy", "report")
        .task_with("announce", &[], "true", &asked)
        .soft("deploy", "announce");
    let stage = run(&[&graph]);
    let expected = [
        ("build", Succeeded),
        ("check", Failed),
        ("deploy", Skipped),
        ("report", Succeeded),
        ("announce", Succeeded),
    ];
    check_phases(&stage, "early", &expected);
    assert_eq!(stage.node("early", "report").outputs["seen"], json!("7"));
}

#[test]
fn a_failure_skips_what_needs_it_and_nothing_else() {
    use NodePhase::{Failed, Skipped, Succeeded};
    let graph = Graph::new("work")
        .task("bad", &[], "exit 3")
        .task("needs", &["bad"], "true")
        .task("needs-that", &["needs"], "true")
        .task("ordered", &[], "true")
        .soft("bad", "ordered")
        .task("other", &[], "true")
        .task_with("cleanup", &["bad"], "true", &json!({ "when": "nodes.bad.phase == 'Failed'" }))
        .task_with("no", &["other"], "true", &json!({ "when": "parameters.size() > 0" }))
        .node(json!({ "id": "group", "kind": "Group", "children": ["other", "ordered"] }))
        .node(json!({ "id": "sad", "kind": "Group", "children": ["bad", "group"] }));
    let stage = run(&[&graph]);
    let expected = [
        ("bad", Failed),
        ("needs", Skipped),
        ("needs-that", Skipped),
        ("ordered", Succeeded),
        ("other", Succeeded),
        ("cleanup", Succeeded),
        ("no", Skipped),
        ("group", Succeeded),
        ("sad", Failed),
    ];
    check_phases(&stage, "work", &expected);
    let status = stage.status("work");
    assert_eq!(status.phase, ExecutionPhase::Failed);
    assert_eq!(stage.node("work", "needs").message, "`bad` is Failed");
    assert_eq!(stage.node("work", "no").extensions.reason, Some(NodeReason::ConditionFalse));
    let times = |id: &str| stage.node("work", id);
    assert!(times("bad").completion_time <= times("ordered").start_time, "a soft edge orders");
}

#[test]
fn a_failed_attempt_is_tried_again_after_a_pause() {
    let stage = Stage::new(QUICK, &[]);
    let key = Stage::leaves_its_key(&stage.outside("trace"));
    let flaky = format!("{key}; test $PLANSPEC_ATTEMPT = 2");
    let graph = Graph::new("flaky").task_with("a", &[], &flaky, &json!({ "retries": 2 })).task_with(
        "hopeless",
        &[],
        &format!("{key}; exit 9"),
        &json!({ "retries": 1 }),
    );
    stage.commit("work.yaml", &yaml(&[graph.plan(), execution("flaky", "flaky"), bindings(&[&graph])]));
    let outcome = stage.reconcile(&[]).succeeds();
    assert!(outcome.stdout.contains("retries left"), "{}", outcome.stdout);
    let node = stage.node("flaky", "a");
    assert_eq!((node.phase, node.attempt, node.extensions.failures), (NodePhase::Succeeded, 2, 1));
    let node = stage.node("flaky", "hopeless");
    assert_eq!((node.phase, node.attempt, node.extensions.exit_code), (NodePhase::Failed, 2, Some(9)));
    assert_eq!(stage.trace("trace").len(), 4);
    check_history(&stage.environment.repo());
}

#[test]
fn a_timeout_ends_the_whole_group_of_processes() {
    let stage = Stage::new(QUICK, &[]);
    let pids = stage.outside("pids");
    let script =
        format!("echo $$ >> '{0}'; sleep 60 & echo $! >> '{0}'; trap '' TERM; sleep 60", pids.display());
    let graph = Graph::new("slow").task_with("a", &[], &script, &json!({ "timeout": "300ms" }));
    stage.commit("work.yaml", &yaml(&[graph.plan(), execution("slow", "slow"), bindings(&[&graph])]));
    stage.reconcile(&[]).succeeds();
    let node = stage.node("slow", "a");
    assert_eq!((node.phase, node.extensions.reason), (NodePhase::Failed, Some(NodeReason::Timeout)));
    let pids = stage.trace("pids");
    assert_eq!(pids.len(), 2);
    let lives = |pid: &String| {
        let stat = std::fs::read_to_string(Path::new("/proc").join(pid).join("stat")).unwrap_or_default();
        !stat.is_empty() && !stat.contains(") Z ")
    };
    stage.wait_until("all are gone", || !pids.iter().any(lives));
}

#[test]
fn a_gate_that_nobody_decides_times_out() {
    let gate = json!({ "id": "gate", "kind": "Gate", "gateRef": { "name": "ok" }, "timeout": "3s" });
    let graph = Graph::new("work").node(gate).task("after", &["gate"], "true");
    let stage = run(&[&graph]);
    assert_eq!(stage.node("work", "gate").phase, NodePhase::Blocked);
    std::thread::sleep(std::time::Duration::from_millis(3100));
    // Nothing changed but the time.
    stage.reconcile(&[]).succeeds();
    assert_eq!(stage.node("work", "gate").extensions.reason, Some(NodeReason::Timeout));
    check_phases(&stage, "work", &[("gate", NodePhase::Failed), ("after", NodePhase::Skipped)]);
}

#[test]
fn a_group_that_waits_at_a_gate_holds_no_lease() {
    let gate = json!({ "id": "gate", "kind": "Gate", "gateRef": { "name": "ok" }, "dependsOn": ["a"] });
    let group = json!({ "id": "group", "kind": "Group", "children": ["a", "b"] });
    let graph = Graph::new("work").task("a", &[], "true").node(gate).task("b", &["gate"], "true").node(group);
    let stage = run(&[&graph]);
    assert_eq!(stage.node("work", "group").phase, NodePhase::Running, "one of its children is done");
    let status = stage.status("work");
    assert_eq!((status.phase, status.extensions.lease), (ExecutionPhase::Blocked, None));
}

#[test]
fn a_node_waits_for_an_execution_in_another_namespace() {
    let waits = json!({ "id": "wait", "kind": "External", "externalRef": {
        "type": "resource", "resourceRef": { "name": "upstream", "namespace": "elsewhere" },
    } });
    let graph = Graph::new("work").node(waits).task("after", &["wait"], "true");
    let stage = run(&[&graph]);
    let node = stage.node("work", "wait");
    assert_eq!((node.phase, node.extensions.reason), (NodePhase::Blocked, Some(NodeReason::AwaitingEvent)));
    let upstream = Graph::new("upstream").task("a", &[], "true");
    let there: Vec<_> = [upstream.plan(), execution("upstream", "upstream"), bindings(&[&upstream])]
        .into_iter()
        .map(|mut one| {
            one["metadata"]["namespace"] = json!("elsewhere");
            one
        })
        .collect();
    stage.commit("elsewhere.yaml", &yaml(&there));
    stage.reconcile(&[]).succeeds();
    let namespace = planspec::model::Name::new("elsewhere").unwrap();
    let other = ResourceKey::new(Kind::Execution, namespace, key(Kind::Execution, "upstream").name);
    assert!(stage.node("work", "wait").message.contains(&other.to_string()));
    assert_eq!(stage.status("work").phase, ExecutionPhase::Succeeded);
}

#[test]
fn a_goal_follows_its_execution() {
    let goal = document("Goal", "g", &json!({ "description": "done when its execution is" }));
    let good = Graph::new("good").task("a", &[], "true");
    let mut serving = execution("run", "good");
    serving["spec"]["goalRef"] = json!({ "name": "g" });
    let mut plan = good.plan();
    plan["spec"]["goalRef"] = json!({ "name": "g" });
    let stage = Stage::new(QUICK, &[("work.yaml", &yaml(&[goal, plan, serving, bindings(&[&good])]))]);
    stage.reconcile(&[]).succeeds();
    let record = record_in(&stage.environment.repo(), Kind::Goal, "g").unwrap();
    let planspec::model::ResourceStatus::Goal(status) = &record.status else { panic!("{record:?}") };
    assert_eq!(format!("{:?}", status.phase), "Succeeded");
    let tip = stage.status_tip();
    stage.reconcile(&[]).succeeds();
    assert_eq!(stage.status_tip(), tip);
}

#[test]
fn a_retry_is_made_when_it_is_due_although_another_branch_still_runs() {
    let stage = Stage::new(QUICK.replace("1s", "60s").as_str(), &[]);
    let again = stage.outside("again");
    let shaky = format!("test $PLANSPEC_ATTEMPT -ge 2 && touch '{}'", again.display());
    let long =
        format!("for i in $(seq 150); do test -e '{}' && exit 0; sleep 0.1; done; exit 1", again.display());
    let graph =
        Graph::new("work").task_with("shaky", &[], &shaky, &json!({ "retries": 1 })).task("long", &[], &long);
    stage.commit("work.yaml", &yaml(&[graph.plan(), execution("work", "work"), bindings(&[&graph])]));
    stage.reconcile(&["--jobs", "4"]).succeeds();
    assert_eq!(stage.node("work", "long").phase, NodePhase::Succeeded, "the retry did not wait for it");
}

#[test]
fn relaxed_publishing_comes_to_the_same_end() {
    let stage = Stage::new(&QUICK.replace("publish: {", "publish: {mode: relaxed, "), &[]);
    let key = Stage::leaves_its_key(&stage.outside("trace"));
    let mut graph = Graph::new("wide").task("first", &[], &key);
    for number in 0..12 {
        graph = graph.task(&format!("n{number}"), &["first"], &key);
    }
    graph = graph.task("last", &["n0", "n5", "n11"], &key);
    stage.commit("work.yaml", &yaml(&[graph.plan(), execution("wide", "wide"), bindings(&[&graph])]));
    stage.reconcile(&[]).succeeds();
    let status = stage.status("wide");
    assert_eq!(status.phase, ExecutionPhase::Succeeded);
    assert_eq!(status.extensions.lease, None);
    check_history(&stage.environment.repo());
    crate::engine_rig::check_trace(&stage.environment.repo(), &["wide"], &stage.trace("trace"));
    assert_eq!(stage.trace("trace").len(), 14);
}

#[test]
fn capabilities_fill_in_defaults_and_check_what_goes_in_and_comes_out() {
    let capability = document(
        "Capability",
        "count",
        &json!({
            "description": "counts",
            "inputs": [{ "name": "what", "type": "string", "default": "sheep" }, { "name": "most", "type": "number" }],
            "outputs": [{ "name": "count", "type": "number", "required": true }],
        }),
    );
    let fields =
        |inputs: serde_json::Value| json!({ "capabilityRefs": [{ "name": "count" }], "inputs": inputs });
    let keep = "cp \"$PLANSPEC_INPUTS\" \"$PLANSPEC_ARTIFACTS/inputs.json\"; \
                printf 'count=7\\nseen<<EOF\\n%s\\nEOF\\n' \"$(cat \"$PLANSPEC_INPUTS\")\" > \"$PLANSPEC_OUTPUT\"";
    let graph = Graph::new("work")
        .task_with("text", &[], "echo most=many > \"$PLANSPEC_OUTPUT\"", &json!({ "outputs": ["most"] }))
        .task_with("good", &[], keep, &fields(json!({ "most": 3 })))
        .task_with(
            "bad-input",
            &["text"],
            "true",
            &fields(json!({ "most": "${{ nodes.text.outputs.most }}" })),
        )
        .task_with("bad-output", &[], "echo count=many > \"$PLANSPEC_OUTPUT\"", &fields(json!({})))
        .task_with("no-output", &[], "true", &fields(json!({})));
    let stage = Stage::with_graphs(QUICK, &[&graph]);
    stage.commit("capability.yaml", &yaml(&[capability]));
    stage.reconcile(&[]).succeeds();
    check_history(&stage.environment.repo());
    let good = stage.node("work", "good");
    assert_eq!((good.phase, &good.outputs["count"]), (NodePhase::Succeeded, &json!(7)), "{good:?}");
    let seen: serde_json::Value = serde_json::from_str(good.outputs["seen"].as_str().unwrap()).unwrap();
    assert_eq!(seen, json!({ "most": 3, "what": "sheep" }));
    let ended = |node: &str| {
        let node = stage.node("work", node);
        (node.extensions.reason, node.message)
    };
    let input = "the input `most` of the capability `count` is a string, and must be a number";
    assert_eq!(ended("bad-input"), (Some(NodeReason::InputInvalid), input.to_owned()));
    let output = "the output `count` of the capability `count` is a string, and must be a number";
    assert_eq!(ended("bad-output"), (Some(NodeReason::OutputInvalid), output.to_owned()));
    let missing = "the output `count` is missing, which the capability `count` promises";
    assert_eq!(ended("no-output"), (Some(NodeReason::OutputInvalid), missing.to_owned()));
}
