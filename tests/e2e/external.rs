//! External nodes of the types `uri` and `webhook`, through the real program and a real service in this process.

use std::time::Duration;

use planspec::model::{NodePhase, NodeReason};
use serde_json::{Value, json};

use crate::engine_rig::{Graph, QUICK, Stage, bindings, execution, yaml};
use crate::http_service::{Answer, Service};

/// An Execution `e` whose node `wait` looks outside, and whose task `after` gets what it found.
fn stage(external: &Value, fields: &Value, allowed: &str) -> Stage {
    let mut wait = json!({ "id": "wait", "kind": "External", "externalRef": external });
    wait.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    let found = json!({ "inputs": { "found": "${{ nodes.wait.outputs }}" }, "outputs": ["found"] });
    let script = "printf 'found=%s\\n' \"$(tr -d '\\n ' < \"$PLANSPEC_INPUTS\")\" >> \"$PLANSPEC_OUTPUT\"";
    let graph = Graph::new("e").node(wait).task_with("after", &["wait"], script, &found);
    let documents = [graph.plan(), bindings(&[&graph]), execution("e", "e")];
    let config = format!("{QUICK}providers: {{network: {{allowPrivate: [{allowed}]}}}}\n");
    Stage::new(&config, &[("work.yaml", &yaml(&documents))])
}

/// The interval that nodes look in.
fn interval() {
    std::thread::sleep(Duration::from_millis(1100));
}

#[test]
fn an_address_is_looked_at_in_its_interval_until_it_answers_with_success() {
    let service = Service::start(|_, before| match before {
        0 | 1 => Answer::Json("503 Service Unavailable", json!({})),
        2 => Answer::Json("503 Service Unavailable\r\nRetry-After: 3", json!({})),
        _ => Answer::Json("200 OK", json!({ "version": "1.4" })),
    });
    let external =
        json!({ "type": "uri", "uri": format!("{}/release?token=x", service.url), "pollInterval": "1s" });
    let stage = stage(&external, &json!({}), "127.0.0.1");
    stage.reconcile(&[]).succeeds();
    let node = stage.node("e", "wait");
    assert_eq!((node.phase, node.extensions.reason), (NodePhase::Blocked, Some(NodeReason::AwaitingEvent)));
    assert_eq!(node.message, format!("{} responded 503 Service Unavailable", service.url));
    assert_eq!(service.asked().len(), 1, "it is not waited for");

    let tip = stage.status_tip();
    interval();
    stage.reconcile(&[]).succeeds();
    assert_eq!((service.asked().len(), stage.status_tip()), (2, tip), "the same answer is no commit");
    stage.reconcile(&[]).succeeds();
    assert_eq!(service.asked().len(), 2, "the interval holds across runs");
    for _ in 0..2 {
        interval();
        stage.reconcile(&[]).succeeds();
        assert_eq!(service.asked().len(), 3, "whoever asks to be left alone for longer is");
    }
    std::thread::sleep(Duration::from_secs(2));
    stage.reconcile(&[]).succeeds();
    let node = stage.node("e", "wait");
    assert_eq!(node.phase, NodePhase::Succeeded, "{node:?}");
    assert_eq!(json!(node.outputs), json!({ "status": 200, "body": { "version": "1.4" } }));
    let found: Value =
        serde_json::from_str(stage.node("e", "after").outputs["found"].as_str().unwrap()).unwrap();
    assert_eq!(found["found"]["body"]["version"], "1.4", "the data go on");
    assert!(service.asked().iter().all(|asked| asked.method == "GET"));
}

#[test]
fn a_webhook_is_told_what_waits_and_says_when_it_is_done() {
    let service = Service::start(|_, before| match before {
        0 => Answer::Json("200 OK", json!({ "status": "pending", "message": "the board meets on Friday" })),
        _ => Answer::Json("200 OK", json!({ "done": true, "outputs": { "decision": "yes" } })),
    });
    let external =
        json!({ "type": "webhook", "webhookUrl": format!("{}/board", service.url), "pollInterval": "1s" });
    let stage = stage(&external, &json!({}), "127.0.0.1");
    stage.reconcile(&[]).succeeds();
    assert_eq!(stage.node("e", "wait").message, "the board meets on Friday");
    interval();
    stage.reconcile(&[]).succeeds();
    let node = stage.node("e", "wait");
    assert_eq!((node.phase, &node.outputs["decision"]), (NodePhase::Succeeded, &json!("yes")), "{node:?}");
    let [first, second] = service.asked().try_into().unwrap();
    assert_eq!((first.method.as_str(), &first.body), ("POST", &second.body), "the same question each time");
    let fields: Vec<&str> = first.body.as_object().unwrap().keys().map(String::as_str).collect();
    let expected =
        ["namespace", "execution", "node", "attempt", "runId", "idempotencyKey", "workKey", "inputs"];
    assert_eq!(fields, expected);
    assert_eq!((&first.body["execution"], &first.body["inputs"]), (&json!("e"), &json!({})));
    assert_eq!(first.header("idempotency-key"), first.body["idempotencyKey"].as_str());
}

#[test]
fn a_webhook_can_say_no_and_a_node_can_wait_too_long() {
    let service = Service::start(|asked, _| match asked.path.as_str() {
        "/no" => Answer::Json("200 OK", json!({ "status": "failed", "message": "the board says no" })),
        _ => Answer::Json("200 OK", json!({ "status": "pending" })),
    });
    let webhook = |path: &str| json!({ "type": "webhook", "webhookUrl": format!("{}{path}", service.url), "pollInterval": "1s" });
    let no = stage(&webhook("/no"), &json!({}), "127.0.0.1");
    no.reconcile(&[]);
    let node = no.node("e", "wait");
    assert_eq!((node.phase, node.message.as_str()), (NodePhase::Failed, "the board says no"));
    assert_eq!(no.node("e", "after").phase, NodePhase::Skipped);

    let slow = stage(&webhook("/later"), &json!({ "timeout": "1s" }), "127.0.0.1");
    slow.reconcile(&[]);
    interval();
    slow.reconcile(&[]);
    let node = slow.node("e", "wait");
    assert_eq!(
        (node.phase, node.extensions.reason),
        (NodePhase::Failed, Some(NodeReason::Timeout)),
        "{node:?}"
    );
}

#[test]
fn an_address_that_is_private_or_hostile_fails_or_waits_and_never_more() {
    let service = Service::start(|asked, _| match asked.path.as_str() {
        "/floods" => Answer::Flood,
        _ => Answer::Json("302 Found\r\nLocation: http://169.254.169.254/latest/", json!({})),
    });
    let uri =
        |path: &str| json!({ "type": "uri", "uri": format!("{}{path}", service.url), "pollInterval": "1s" });
    let check = |path: &str, allowed: &str, expected: &str| {
        let stage = stage(&uri(path), &json!({}), allowed);
        stage.reconcile(&[]);
        let node = stage.node("e", "wait");
        assert!(node.message.contains(expected), "{node:?}");
        assert_ne!(node.phase, NodePhase::Succeeded);
    };
    check("/", "", "`127.0.0.1` is a private address");
    assert!(service.asked().is_empty());
    check("/away", "127.0.0.1", "`169.254.169.254` is a private address");
    // Of a page without end the beginning is enough to see that it is there.
    let floods = stage(&uri("/floods"), &json!({}), "127.0.0.1");
    floods.reconcile(&[]).succeeds();
    let body = floods.node("e", "wait").outputs["body"].as_str().unwrap().len();
    assert_eq!(body, 64 << 10);
}
