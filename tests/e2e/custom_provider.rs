//! A provider that a user wrote, whose work goes on elsewhere: handed in once, looked at by later reconciles, called off.

use std::os::unix::fs::PermissionsExt as _;

use planspec::model::{Kind, NodePhase, NodeReason};
use serde_json::{Value, json};

use crate::engine_rig::{QUICK, Stage, check_history, document, execution, record_in, yaml};

/// Leaves a line for each request, and goes on with the job until somebody writes how it ends to `end`.
const ROBOT: &str = r#"#!/usr/bin/env python3
import json, pathlib, sys, time
here = pathlib.Path("HERE")
request = json.load(sys.stdin)
operation, attempt, handle = request["operation"], request["attempt"], request["handle"]
with (here / "trace").open("a") as trace:
    trace.write(f"{operation} {attempt['number']} {handle} {int(time.time() * 1000)}\n")
going = {"status": "blocked", "handle": f"job-{attempt['number']}", "pollAfter": "1s", "message": "the arm moves"}
end = here / "end"
if operation == "poll" and (here / "slow").exists():
    time.sleep(600)
if operation == "run":
    answer = going
elif operation == "cancel":
    answer = {"status": "failed", "message": "the arm is stuck"} if (here / "stuck").exists() else {"status": "succeeded"}
else:
    answer = json.loads(end.read_text()) if end.exists() else going
    if answer["status"] == "failed" and attempt["number"] == 2:
        answer = {"status": "succeeded"}
json.dump(answer, sys.stdout)
"#;

/// An Execution `e` with one task `t` for the robot.
fn stage(fields: &Value) -> Stage {
    let mut stage = Stage::new(&format!("{QUICK}providers: {{plugins: [robot]}}\n"), &[]);
    let bin = stage.outside("bin");
    std::fs::create_dir(&bin).unwrap();
    let robot = bin.join("planspec-provider-robot");
    let here = stage.environment.root().to_str().unwrap().to_owned();
    std::fs::write(&robot, ROBOT.replace("HERE", &here)).unwrap();
    std::fs::set_permissions(&robot, std::fs::Permissions::from_mode(0o755)).unwrap();
    stage.environment.set("PATH", &format!("{}:{}", bin.display(), std::env::var("PATH").unwrap()));
    let mut node = json!({ "id": "t", "kind": "Task" });
    node.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    let rule = json!({
        "selector": { "planRef": { "name": "p" }, "nodeId": "t" },
        "target": { "provider": "robot://arm" },
    });
    let documents = [
        document("Plan", "p", &json!({ "description": "what to do", "graph": { "nodes": [node] } })),
        document("Binding", "default", &json!({ "rules": [rule] })),
        execution("e", "p"),
    ];
    stage.commit("work.yaml", &yaml(&documents));
    stage
}

#[test]
fn validate_knows_the_schemes_that_the_configuration_names_and_no_others() {
    let stage = stage(&json!({}));
    for place in [&["--ref", "HEAD"][..], &["-f", "work.yaml"], &[]] {
        let arguments: Vec<&str> = ["validate"].iter().chain(place).copied().collect();
        let known = stage.environment.planspec(&arguments).succeeds();
        assert!(!format!("{known:?}").contains("PS2006"), "{known:?}");
    }
    stage.commit(".planspec.yaml", &format!("{QUICK}providers: {{plugins: [robots]}}\n"));
    let unknown = stage.environment.planspec(&["validate"]).succeeds();
    assert!(unknown.stdout.contains("no provider serves `robot://`; did you mean `robots`?"), "{unknown:?}");
}

/// The requests of one kind, and when they came, in milliseconds.
fn requests(stage: &Stage, what: &str) -> Vec<(String, u64)> {
    let trace = stage.trace("trace");
    let timed = trace.iter().map(|line| line.rsplit_once(' ').unwrap());
    let ours = timed.filter(|(request, _)| request.starts_with(what));
    ours.map(|(request, at)| (request.to_owned(), at.parse().unwrap())).collect()
}

fn words(stage: &Stage, what: &str) -> Vec<String> {
    requests(stage, what).into_iter().map(|(request, _)| request).collect()
}

/// Reconciles until the work goes on at the robot.
#[track_caller]
fn reconcile_until_handed_in(stage: &Stage) {
    stage.reconcile_until("the work is handed in", || {
        let statuses = record_in(&stage.environment.repo(), Kind::Execution, "e").is_some();
        statuses && stage.node("e", "t").extensions.reason == Some(NodeReason::AwaitingProvider)
    });
}

#[test]
fn work_of_a_provider_of_ones_own_is_handed_in_once_and_looked_at_by_later_runners() {
    let stage = stage(&json!({ "outputs": ["place"], "acceptanceCriteria": [
        { "name": "kept", "type": "artifact_exists", "path": "work.yaml" },
    ] }));
    reconcile_until_handed_in(&stage);
    let node = stage.node("e", "t");
    assert_eq!((node.message.as_str(), node.extensions.handle.as_deref()), ("the arm moves", Some("job-1")));
    let tip = stage.status_tip();
    stage.reconcile_until("it is polled", || !requests(&stage, "poll").is_empty());
    assert_eq!(stage.status_tip(), tip, "a poll that finds nothing new is no commit");
    let end = json!({ "status": "succeeded", "outputs": { "place": "B" } });
    std::fs::write(stage.outside("end"), end.to_string()).unwrap();
    stage.reconcile(&[]).succeeds();
    let node = stage.node("e", "t");
    assert_eq!((node.phase, &node.outputs["place"]), (NodePhase::Succeeded, &json!("B")), "{node:?}");
    assert!(node.extensions.criteria[0].passed);
    assert_eq!(words(&stage, "run"), ["run 1 None"]);
    assert!(words(&stage, "poll").iter().all(|line| line == "poll 1 job-1"), "{:?}", stage.trace("trace"));
    check_history(&stage.environment.repo());
}

#[test]
fn work_elsewhere_that_fails_is_another_attempt_or_none_as_the_provider_says() {
    for (retryable, expected) in [(true, NodePhase::Succeeded), (false, NodePhase::Failed)] {
        let stage = stage(&json!({ "retries": 1 }));
        let end = json!({ "status": "failed", "message": "it slipped", "retryable": retryable, "retryAfter": "3s" });
        std::fs::write(stage.outside("end"), end.to_string()).unwrap();
        stage.reconcile(&[]);
        assert_eq!(stage.node("e", "t").phase, expected);
        let runs = requests(&stage, "run");
        if retryable {
            let (_, failed) = requests(&stage, "poll")[0];
            assert!(
                runs[1].1 - failed >= 2_900,
                "the usual pause is at most a second: {:?}",
                stage.trace("trace")
            );
        } else {
            assert_eq!((runs.len(), stage.node("e", "t").message.as_str()), (1, "it slipped"));
        }
    }
}

#[test]
fn work_elsewhere_is_called_off_with_its_node() {
    for (stuck, expected) in [(false, "cancelled by"), (true, "cancelling it failed: the arm is stuck")] {
        let stage = stage(&json!({}));
        reconcile_until_handed_in(&stage);
        if stuck {
            std::fs::write(stage.outside("stuck"), "").unwrap();
        }
        stage.environment.planspec(&["cancel", "e", "-n", "team"]).succeeds();
        assert!(requests(&stage, "cancel").is_empty(), "only a reconcile knows the providers");
        stage.reconcile(&[]);
        let node = stage.node("e", "t");
        assert_eq!(node.phase, NodePhase::Cancelled, "{node:?}");
        assert!(node.message.contains(expected), "{}", node.message);
        assert_eq!(words(&stage, "cancel"), ["cancel 1 job-1"]);
    }
}

#[test]
fn work_elsewhere_is_called_off_at_its_timeout_also_while_it_is_being_asked_about() {
    let stage = stage(&json!({ "timeout": "20s" }));
    std::fs::write(stage.outside("slow"), "").unwrap();
    stage.reconcile_until("its time is over", || {
        let record = record_in(&stage.environment.repo(), Kind::Execution, "e");
        record.is_some() && stage.node("e", "t").extensions.reason == Some(NodeReason::Timeout)
    });
    let node = stage.node("e", "t");
    assert_eq!((node.phase, node.message.as_str()), (NodePhase::Failed, "took longer than 20s"));
    assert_eq!(
        (words(&stage, "run"), words(&stage, "cancel")),
        (vec!["run 1 None".to_owned()], vec!["cancel 1 job-1".to_owned()])
    );
}
