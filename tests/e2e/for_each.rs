//! `forEach` and `matrix`: from a list to its instances, and back to one list of what they gave.

use serde_json::Value;

use crate::environment::TestEnvironment;

fn plan(name: &str, nodes: &str) -> String {
    let nodes = nodes.replace('\n', "\n    ");
    format!(
        "apiVersion: planspec.io/v1alpha1\nkind: Plan\nmetadata: {{ name: {name}, namespace: team }}\nspec:\n  \
         description: Repeats\n  graph:\n    nodes:\n    {nodes}\n"
    )
}

/// Runs a plan to its end, or to where it waits, and gives the status of its Execution `x`.
fn driven(environment: &TestEnvironment, name: &str) -> Value {
    environment.planspec(&["run", &format!("plan/{name}"), "-n", "team", "-q", "--name", "x"]).succeeds();
    again(environment)
}

fn again(environment: &TestEnvironment) -> Value {
    environment.planspec(&["reconcile", "-q"]);
    environment.planspec(&["get", "execution", "x", "-n", "team", "-o", "json"]).succeeds().json()["status"]
        .clone()
}

fn phases(status: &Value) -> Vec<String> {
    let nodes = status["nodeStatuses"].as_object().unwrap();
    nodes.iter().map(|(id, node)| format!("{id} {}", node["phase"].as_str().unwrap())).collect()
}

fn said(status: &Value, node: &str, output: &str) -> Value {
    status["nodeStatuses"][node]["outputs"][output].clone()
}

const COMPUTED: &str = r#"
- { id: list, kind: Task, outputs: [names], run: "echo '{\"names\": [\"a\", \"b\", \"c\"]}' > \"$PLANSPEC_OUTPUT\"" }
- id: load
  kind: Task
  dependsOn: [list]
  forEach: { items: "${{ nodes.list.outputs.names }}", as: name, maxItems: 5 }
  outputs: [ok]
  run: { command: 'echo "ok=$NAME$NUMBER" >> "$PLANSPEC_OUTPUT"; test ! -e fail-$NAME', env: { NAME: "${{ name }}", NUMBER: "${{ string(index) }}" } }
- id: report
  kind: Task
  dependsOn: [load]
  outputs: [all]
  run: { command: 'echo "all=$ALL" >> "$PLANSPEC_OUTPUT"', env: { ALL: "${{ string(size(nodes.load.outputs.ok)) + nodes.load.outputs.ok[0] + nodes.load.outputs.ok[2] }}" } }"#;

#[test]
fn a_task_runs_once_for_each_item_of_a_computed_list() {
    let environment = TestEnvironment::with_files(&[("plan.yaml", &plan("repeat", COMPUTED))]);
    environment.planspec(&["validate"]).succeeds();
    let status = driven(&environment, "repeat");
    assert_eq!(
        phases(&status),
        [
            "list Succeeded",
            "load Succeeded",
            "load-0 Succeeded",
            "load-1 Succeeded",
            "load-2 Succeeded",
            "report Succeeded"
        ],
        "{status:#}"
    );
    assert_eq!(said(&status, "load-1", "ok"), "b1");
    assert_eq!(said(&status, "report", "all"), "3a0c2");
    assert_eq!(status["nodeStatuses"]["load"]["extensions"]["instances"], serde_json::json!(["a", "b", "c"]));
    let drawn = environment.planspec(&["graph", "execution/x", "-n", "team"]).succeeds().stdout;
    assert!(drawn.contains("×3: 3 ✓") && !drawn.contains("load-1"), "{drawn}");
    let log = environment.planspec(&["explain", "x/load-2", "-n", "team"]).succeeds().stdout;
    assert!(log.contains("load-2"), "{log}");
    // A second reconcile changes nothing, also with instances (Invariant 5).
    let tip = environment.git_output(&["rev-parse", "planspec/status"]);
    again(&environment);
    assert_eq!(environment.git_output(&["rev-parse", "planspec/status"]), tip);
}

#[test]
fn an_instance_is_rerun_alone_and_a_new_list_brings_new_instances() {
    let files = [("plan.yaml", plan("repeat", COMPUTED)), ("fail-b", String::new())];
    let files = files.each_ref().map(|(path, text)| (*path, text.as_str()));
    let environment = TestEnvironment::with_files(&files);
    let status = driven(&environment, "repeat");
    assert_eq!(status["phase"], "Failed");
    assert_eq!(status["nodeStatuses"]["load"]["phase"], "Failed");
    assert_eq!(status["nodeStatuses"]["load-2"]["phase"], "Succeeded");
    let attempts = |status: &Value| {
        ["list", "load-0", "load-1", "load-2"]
            .map(|id| status["nodeStatuses"][id]["attempt"].as_u64().unwrap())
    };
    let two = environment.planspec(&["retry", "x/load-1", "load-2", "-n", "team"]).exits(2).stderr;
    assert!(two.contains("`load-1` and `load-2` are two nodes"), "{two}");
    let retried = environment.planspec(&["retry", "x", "load-1", "-n", "team"]).succeeds().stdout;
    assert!(retried.contains("retried: report, load-1"), "{retried}");
    let status = again(&environment);
    assert_eq!(attempts(&status), [1, 1, 2, 1]);
    environment.planspec(&["retry", "x", "--from", "load", "-n", "team"]).succeeds();
    let status = again(&environment);
    assert_eq!(attempts(&status), [1, 2, 3, 2]);
    // What gave the list runs again, so it may give another one: the instances are made anew, and no attempt has the number
    // of another one.
    environment.planspec(&["retry", "x", "--from", "list", "-n", "team"]).succeeds();
    let between =
        environment.planspec(&["get", "execution", "x", "-n", "team", "-o", "json"]).succeeds().json();
    assert_eq!(between["status"]["nodeStatuses"].as_object().unwrap().len(), 3);
    let status = again(&environment);
    assert_eq!(attempts(&status), [2, 4, 4, 4]);
}

#[test]
fn a_matrix_its_limit_and_one_that_is_enough() {
    let nodes = r#"
- id: try
  kind: Task
  matrix: { site: [far, near, spare], join: any, maxParallel: 1 }
  run: { command: 'test "$SITE" = near', env: { SITE: "${{ matrix.site }}" } }
- { id: after, kind: Task, dependsOn: [try], run: "true" }
- { id: none, kind: Task, forEach: { items: [] }, outputs: [x], run: "false" }
- id: count
  kind: Task
  dependsOn: [none]
  outputs: [n]
  run: { command: 'echo "n=$N" >> "$PLANSPEC_OUTPUT"', env: { N: "${{ string(size(nodes.none.outputs.x)) }}" } }"#;
    let environment = TestEnvironment::with_files(&[("plan.yaml", &plan("sites", nodes))]);
    environment.planspec(&["validate"]).succeeds();
    let status = driven(&environment, "sites");
    assert_eq!(
        phases(&status),
        [
            "after Succeeded",
            "count Succeeded",
            "none Succeeded",
            "try Succeeded",
            "try-0 Failed",
            "try-1 Succeeded",
            "try-2 Skipped",
        ],
        "{status:#}"
    );
    assert_eq!(status["phase"], "Succeeded");
    assert_eq!(status["nodeStatuses"]["try-2"]["extensions"]["reason"], "NotNeeded");
    assert_eq!(said(&status, "count", "n"), "0");
}

const GROUP: &str = r#"
- id: services
  kind: Group
  children: [migrate, check]
  forEach: { items: [{ name: api }, { name: web }], as: service, maxParallel: 1 }
- id: migrate
  kind: Task
  outputs: [said]
  run: { command: 'echo "said=$NAME" >> "$PLANSPEC_OUTPUT"', env: { NAME: "${{ service.name }}" } }
- id: check
  kind: Task
  dependsOn: [migrate]
  when: nodes.migrate.outputs.said != 'nobody'
  outputs: [said]
  run: { command: 'echo "said=$NAME ok" >> "$PLANSPEC_OUTPUT"', env: { NAME: "${{ nodes.migrate.outputs.said }}" } }
- id: report
  kind: Task
  dependsOn: [services]
  outputs: [all]
  run: { command: 'echo "all=$ALL" >> "$PLANSPEC_OUTPUT"', env: { ALL: "${{ nodes.check.outputs.said[0] + ', ' + nodes.check.outputs.said[1] }}" } }"#;

#[test]
fn a_group_runs_once_for_each_item_and_its_children_read_their_own_item() {
    let environment = TestEnvironment::with_files(&[("plan.yaml", &plan("group", GROUP))]);
    environment.planspec(&["validate"]).succeeds();
    let status = driven(&environment, "group");
    assert_eq!(status["phase"], "Succeeded", "{status:#}");
    assert_eq!(said(&status, "report", "all"), "api ok, web ok");
    // Parsed: a time without its last zeros would stand behind a longer one.
    let time = |node: &str, what: &str| -> jiff::Timestamp {
        status["nodeStatuses"][node][what].as_str().unwrap().parse().unwrap()
    };
    assert!(time("check-0", "completionTime") <= time("migrate-1", "startTime"), "one at a time: {status:#}");
    assert_eq!(status["nodeStatuses"]["services-1"]["phase"], "Succeeded");
}

#[test]
fn a_list_that_is_none_or_too_long_fails_its_node() {
    let nodes = r#"
- { id: list, kind: Task, outputs: [names], run: "echo '{\"names\": [1, 2, 3]}' > \"$PLANSPEC_OUTPUT\"" }
- { id: long, kind: Task, dependsOn: [list], forEach: { items: "${{ nodes.list.outputs.names }}", maxItems: 2 }, run: "true" }
- { id: text, kind: Task, dependsOn: [list], forEach: { items: "${{ 'abc' }}", maxItems: 2 }, run: "true" }"#;
    let environment = TestEnvironment::with_files(&[("plan.yaml", &plan("wrong", nodes))]);
    let status = driven(&environment, "wrong");
    let why = |node: &str| status["nodeStatuses"][node]["message"].as_str().unwrap().to_owned();
    assert_eq!(why("long"), "`forEach.items` has 3 items, and `maxItems` is 2");
    assert!(why("text").starts_with("`forEach.items` is a string, and must be a list"), "{status:#}");
    assert_eq!(status["phase"], "Failed");
}

/// A gate behind the instances of a list that is computed.
const GATED: &str = r#"
- { id: list, kind: Task, outputs: [names], run: "echo '{\"names\": [1, 2]}' > \"$PLANSPEC_OUTPUT\"" }
- { id: load, kind: Task, dependsOn: [list], forEach: { items: "${{ nodes.list.outputs.names }}", maxItems: 2 }, run: "true" }
- { id: ask, kind: Gate, gateRef: { name: g }, dependsOn: [load] }"#;

#[test]
fn instances_that_no_list_implies_block_the_execution() {
    let environment = TestEnvironment::with_files(&[("plan.yaml", &plan("forged", GATED))]);
    assert_eq!(driven(&environment, "forged")["phase"], "Blocked");
    let path = "team/executions/x.yaml";
    let record = environment.git_output(&["show", &format!("planspec/status:{path}")]);
    // A third item would make a third instance, which the plan does not allow.
    let mut lines: Vec<&str> = record.lines().collect();
    let list =
        lines.iter().position(|line| line.trim() == "instances:").unwrap_or_else(|| panic!("{record}"));
    lines.insert(list + 1, lines[list + 1]);
    let forged = lines.join("\n") + "\n";
    environment.git(&["checkout", "-q", "planspec/status"]).succeeds();
    environment.commit_files(&[(path, forged.as_str())], "Add an item");
    environment.git(&["checkout", "-q", "main"]).succeeds();
    let status = again(&environment);
    assert_eq!(status["reason"], "PinMismatch", "{status:#}");
    let message = status["message"].as_str().unwrap();
    assert!(message.contains("the record has 3 instances of node `load`"), "{message}");
}

#[test]
fn a_gate_behind_the_instances_of_a_computed_list_is_approved() {
    let environment = TestEnvironment::with_files(&[("plan.yaml", &plan("asked", GATED))]);
    assert_eq!(driven(&environment, "asked")["phase"], "Blocked");
    environment.planspec(&["approve", "g", "-n", "team"]).succeeds();
    assert_eq!(again(&environment)["phase"], "Succeeded");
}

/// What succeeded there is taken over instance by instance; what failed there runs here, and so does what comes after it.
#[test]
fn instances_of_a_computed_list_are_taken_over_by_a_later_execution() {
    let environment =
        TestEnvironment::with_files(&[("plan.yaml", &plan("repeat", COMPUTED)), ("fail-b", "")]);
    let status = driven(&environment, "repeat");
    assert_eq!(status["nodeStatuses"]["load-1"]["phase"], "Failed");
    environment.git(&["rm", "--quiet", "fail-b"]).succeeds();
    environment.git(&["commit", "--quiet", "-m", "Repair"]).succeeds();
    environment.planspec(&["run", "--from-execution", "x", "-n", "team", "-q", "--name", "y"]).succeeds();
    environment.planspec(&["reconcile", "-q"]).succeeds();
    let of = |name: &str| {
        let shown = environment.planspec(&["get", "execution", name, "-n", "team", "-o", "json"]);
        shown.succeeds().json()["status"].clone()
    };
    let reused = |status: &Value| {
        let nodes = status["nodeStatuses"].as_object().unwrap();
        let reused = nodes.iter().filter(|(_, node)| node["extensions"]["reason"] == "Reused");
        reused.map(|(id, _)| id.clone()).collect::<Vec<_>>()
    };
    let y = of("y");
    assert_eq!(y["phase"], "Succeeded", "{y:#}");
    assert_eq!(reused(&y), ["list", "load-0", "load-2"], "{y:#}");
    assert_eq!(said(&y, "report", "all"), "3a0c2");
    assert!(y["extensions"]["reuse"]["message"].as_str().unwrap().starts_with("3 of "), "{y:#}");
    // Where nothing failed, all of it, with what comes after the list.
    environment.planspec(&["run", "--from-execution", "y", "-n", "team", "-q", "--name", "z"]).succeeds();
    environment.planspec(&["reconcile", "-q"]).succeeds();
    let z = of("z");
    assert_eq!(reused(&z), ["list", "load-0", "load-1", "load-2", "report"], "{z:#}");
    // What is rerun here is never replaced by what was there.
    environment.planspec(&["retry", "z", "--from", "list", "-n", "team"]).succeeds();
    environment.planspec(&["reconcile", "-q"]).succeeds();
    assert_eq!(reused(&of("z")), [""; 0], "{:#}", of("z"));
}

/// Written, so that `validate` expands it too; each instance is there in the record, and shown as one line.
#[test]
fn a_thousand_instances_are_planned_validated_and_drawn() {
    let nodes = r#"
- { id: list, kind: Task, outputs: [names], run: "seq 1 1000 | sed 's/.*/\"n&\"/' | paste -sd, | sed 's/.*/{\"names\": [&]}/' > \"$PLANSPEC_OUTPUT\"" }
- { id: agree, kind: Gate, dependsOn: [list], gateRef: { name: agree } }
- id: load
  kind: Task
  dependsOn: [list, agree]
  forEach: { items: "${{ nodes.list.outputs.names }}", as: name, maxItems: 1000, maxParallel: 4 }
  when: index >= 995
  run: { command: 'echo "$NAME"', env: { NAME: "${{ name }}" } }
- { id: report, kind: Task, dependsOn: [load], run: "echo all" }"#;
    let environment = TestEnvironment::with_files(&[("plan.yaml", &plan("repeat", nodes))]);
    environment.planspec(&["validate"]).succeeds();
    driven(&environment, "repeat");
    environment.planspec(&["approve", "agree", "-n", "team"]).succeeds();
    let status = again(&environment);
    assert_eq!(status["phase"], "Succeeded", "{}", status["message"]);
    let nodes = status["nodeStatuses"].as_object().unwrap();
    let load = |phase: &str| {
        nodes.iter().filter(|(id, node)| id.starts_with("load-") && node["phase"] == phase).count()
    };
    assert_eq!((load("Succeeded"), load("Skipped")), (5, 995));
    let drawn = environment.planspec(&["graph", "execution/x", "-n", "team"]).succeeds().stdout;
    assert!(drawn.contains("×1000: 5 ✓ 995 –") && drawn.lines().count() < 10, "{drawn}");
}
