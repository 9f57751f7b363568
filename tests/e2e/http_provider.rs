//! Work that HTTP services do, through the real program and a real service in this process.

use std::time::{Duration, Instant};

use planspec::model::NodePhase;
use serde_json::{Value, json};

use crate::engine_rig::{QUICK, Stage, document, execution, yaml};
use crate::environment::Outcome;
use crate::http_service::{Answer, Service};

const SECRET: &str = "hunter22-of-the-builder";

/// An Execution `e` with one task `build` that a service does.
fn stage(service: &str, config: &Value, fields: &Value, allowed: &str) -> Stage {
    let mut node = json!({ "id": "build", "kind": "Task", "inputs": { "ref": "v1" } });
    for (name, value) in fields.as_object().unwrap() {
        node[name] = value.clone();
    }
    let rule = json!({
        "selector": { "planRef": { "name": "p" }, "nodeId": "build" },
        "target": { "provider": service, "config": config },
    });
    let documents = [
        document("Plan", "p", &json!({ "description": "what to do", "graph": { "nodes": [node] } })),
        document("Binding", "default", &json!({ "rules": [rule] })),
        execution("e", "p"),
    ];
    let settings =
        format!("{QUICK}providers: {{secrets: [BUILD_TOKEN], network: {{allowPrivate: [{allowed}]}}}}\n");
    let mut stage = Stage::new(&settings, &[("work.yaml", &yaml(&documents))]);
    stage.environment.set("BUILD_TOKEN", SECRET);
    stage
}

/// The phase of the node, and everything that is recorded of it.
#[track_caller]
fn node(stage: &Stage) -> (NodePhase, Value) {
    let shown =
        stage.environment.planspec(&["get", "execution/e", "-n", "team", "-o", "json"]).succeeds().json();
    let node = shown["status"]["nodeStatuses"]["build"].clone();
    (serde_json::from_value(node["phase"].clone()).unwrap(), node)
}

/// Neither what is recorded nor what is printed, kept or logged holds the secret.
#[track_caller]
fn check_no_secret(stage: &Stage, outcomes: &[Outcome]) {
    let history = stage.environment.git_output(&["log", "-p", "planspec/status"]);
    let mut all = vec![history];
    for outcome in outcomes {
        all.extend([outcome.stdout.clone(), outcome.stderr.clone()]);
    }
    for arguments in [["logs", "e", "-n", "team"], ["describe", "execution/e", "-n", "team"]] {
        let outcome = stage.environment.planspec(&arguments);
        all.extend([outcome.stdout, outcome.stderr]);
    }
    for text in all {
        assert!(!text.contains(SECRET), "{text}");
    }
    let found = std::process::Command::new("grep")
        .args(["-rlF", SECRET])
        .arg(stage.environment.root())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&found.stdout), "", "files hold the secret");
}

fn secret_header() -> Value {
    json!({ "secretHeaders": { "Authorization": "Bearer BUILD_TOKEN" } })
}

#[test]
fn a_service_does_the_work_and_no_secret_is_left_anywhere() {
    let service = Service::start(|asked, _| match asked.path.as_str() {
        "/jobs" => Answer::Json(
            "200 OK",
            json!({ "outputs": { "echo": SECRET, "image": "app:1" }, "message": format!("built with {SECRET}") }),
        ),
        _ => Answer::Json("200 OK", json!({ "said": format!("well {SECRET}") })),
    });
    let criteria = json!({ "acceptanceCriteria": [
        { "name": "up", "type": "endpoint_responds", "url": format!("{}/health", service.url), "bodyMatch": "well .*" },
    ] });
    let stage = stage(&format!("{}/jobs", service.url), &secret_header(), &criteria, "127.0.0.1");
    let outcome = stage.environment.planspec(&["reconcile", "-v"]).succeeds();
    let (phase, node) = node(&stage);
    assert_eq!(phase, NodePhase::Succeeded, "{node:#}");
    assert_eq!(node["outputs"], json!({ "echo": "***", "image": "app:1" }));
    assert!(node.to_string().contains("the body matches: well ***"), "{node:#}");
    let asked = service.asked();
    assert_eq!(asked[0].header("authorization"), Some(format!("Bearer {SECRET}").as_str()));
    assert!(asked[0].header("idempotency-key").unwrap().ends_with("/build/1.1"));
    assert_eq!(asked[0].body["inputs"], json!({ "ref": "v1" }));
    check_no_secret(&stage, &[outcome]);
}

#[test]
fn a_service_that_is_busy_is_asked_again_with_the_same_key() {
    let service = Service::start(|_, before| match before {
        0 => Answer::Json("503 Service Unavailable\r\nRetry-After: 1", json!({})),
        _ => Answer::Json("200 OK", json!({})),
    });
    let stage = stage(&service.url, &json!({}), &json!({}), "127.0.0.1");
    stage.environment.planspec(&["reconcile"]).succeeds();
    assert_eq!(node(&stage).0, NodePhase::Succeeded);
    let keys: Vec<_> =
        service.asked().iter().map(|asked| asked.header("idempotency-key").map(str::to_owned)).collect();
    assert!(keys.len() == 2 && keys[0] == keys[1], "{keys:?}");
}

#[test]
fn a_service_recognises_by_the_work_key_what_a_lost_runner_handed_in() {
    let service = Service::start(|_, before| match before {
        0 => Answer::Silence,
        1 => Answer::Json("500 Internal Server Error", json!({})),
        _ => Answer::Json("200 OK", json!({})),
    });
    let stage = stage(&service.url, &json!({}), &json!({ "retries": 1 }), "127.0.0.1");
    let mut runner = stage.start(&[]);
    stage.wait_until("the service was asked", || service.asked().len() == 1);
    runner.kill();
    stage.reconcile_to_the_end(&stage.environment.repo());
    assert_eq!(node(&stage).0, NodePhase::Succeeded);
    let asked = service.asked();
    let key = |index: usize, name: &str| asked[index].header(name).unwrap().to_owned();
    assert_ne!(key(0, "idempotency-key"), key(1, "idempotency-key"), "another attempt");
    assert_eq!(key(0, "planspec-work-key"), key(1, "planspec-work-key"), "at the same work");
    assert_ne!(key(1, "planspec-work-key"), key(2, "planspec-work-key"), "after a failure it is begun anew");
}

#[test]
fn a_service_that_hangs_or_floods_fails_its_node_alone() {
    let service = Service::start(|asked, _| match asked.path.as_str() {
        "/hangs" => Answer::Silence,
        _ => Answer::Flood,
    });
    for (path, expected) in [("/hangs", "did not respond in time"), ("/floods", "more than 1048576 bytes")] {
        let config = json!({ "requestTimeout": "1s", "headers": { "X-Team": "web" } });
        let stage = stage(&format!("{}{path}", service.url), &config, &json!({}), "127.0.0.1");
        let started = Instant::now();
        stage.environment.planspec(&["reconcile"]);
        assert!(started.elapsed() < Duration::from_secs(30));
        let (phase, node) = node(&stage);
        assert_eq!(phase, NodePhase::Failed, "{node:#}");
        assert!(node.to_string().contains(expected), "{node:#}");
    }
}

#[test]
fn private_addresses_are_not_reached_directly_or_by_a_redirect() {
    let service = Service::start(|asked, _| match asked.path.as_str() {
        "/away" => Answer::Json("302 Found\r\nLocation: http://169.254.169.254/latest/", json!({})),
        _ => Answer::Json("200 OK", json!({})),
    });
    let check = |url: String, fields: &Value, allowed: &str, expected: &str| {
        let stage = stage(&url, &secret_header(), fields, allowed);
        let outcome = stage.environment.planspec(&["reconcile"]);
        let (phase, node) = node(&stage);
        assert_eq!(phase, NodePhase::Failed, "{node:#}");
        assert!(node.to_string().contains(expected), "{node:#}");
        check_no_secret(&stage, &[outcome]);
    };
    let query = format!("{}/jobs?token=x", service.url);
    check(query.clone(), &json!({}), "", "`127.0.0.1` is a private address");
    check(
        query.replace("127.0.0.1", "localhost"),
        &json!({}),
        "",
        "`localhost` resolves to a private address",
    );
    assert!(service.asked().is_empty());
    check(format!("{}/away", service.url), &json!({}), "127.0.0.1", "redirects to another origin");
    let criterion = json!({ "acceptanceCriteria": [
        { "name": "meta", "type": "endpoint_responds", "url": format!("{}/away", service.url) },
    ] });
    check(format!("{}/jobs", service.url), &criterion, "127.0.0.1", "`169.254.169.254` is a private address");
}

#[test]
fn work_that_goes_on_elsewhere_is_looked_at_by_later_reconciles() {
    let service = Service::start(|asked, before| match (asked.method.as_str(), before) {
        ("POST", _) => Answer::Json("202 Accepted\r\nLocation: /jobs/1\r\nRetry-After: 1", json!({})),
        (_, 0) => Answer::Json("202 Accepted\r\nRetry-After: 1", json!({})),
        _ => Answer::Json("200 OK", json!({ "outputs": { "image": "app:1" } })),
    });
    let stage = stage(&format!("{}/jobs", service.url), &secret_header(), &json!({}), "127.0.0.1");
    // A runner that has to leave before the work is due to be looked at.
    let mut outcomes = vec![stage.environment.planspec(&["reconcile", "--max-duration", "700ms"])];
    let (phase, first) = node(&stage);
    let waits = phase == NodePhase::Blocked && first.to_string().contains("AwaitingProvider");
    assert!(waits, "{first:#}");
    for _ in 0..20 {
        std::thread::sleep(Duration::from_millis(700));
        outcomes.push(stage.environment.planspec(&["reconcile"]));
        if node(&stage).0 == NodePhase::Succeeded {
            break;
        }
    }
    let (phase, node) = node(&stage);
    assert_eq!((phase, &node["outputs"]), (NodePhase::Succeeded, &json!({ "image": "app:1" })), "{node:#}");
    assert_eq!(service.count("POST", "/jobs"), 1, "the work was handed in once");
    check_no_secret(&stage, &outcomes);
}
