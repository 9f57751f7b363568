//! Agents at an address that answer in every way; `tests/e2e/a2a.rs` asks one that is made with the official SDK.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;
use wiremock::matchers::{body_partial_json, header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::model::{NodeReason, QuestionAnswer};
use crate::provider::local::tests::{Bench, bench, map};
use crate::provider::{AttemptOutcome, AttemptReport, Control, Registry, Stop};

struct Desk {
    bench: Bench,
    server: MockServer,
}

async fn desk() -> Desk {
    let mut bench = bench(json!({}));
    let server = MockServer::start().await;
    bench.attempt.provider = "agent://scribe".to_owned();
    bench.attempt.attempt = 1;
    bench.attempt.inputs = map(json!({"version": "1.4.0"}));
    bench.settings.secrets.insert("API_TOKEN".to_owned(), "hunter22".into());
    bench.settings.allow_private = vec!["127.0.0.1".to_owned()];
    let settings = json!({
        "url": format!("{}/rpc", server.uri()),
        "secretHeaders": {"Authorization": "Bearer API_TOKEN"},
        "pollInterval": "7s",
    });
    bench.configure("agents", "scribe", settings);
    Desk { bench, server }
}

/// An agent that answers each message with a task in this state.
async fn desk_with(state: &str, said: &str, artifacts: Value) -> Desk {
    let desk = desk().await;
    desk.answers("SendMessage", &json!({"task": task("t-1", state, said, artifacts)})).await;
    desk
}

fn task(id: &str, state: &str, said: &str, artifacts: Value) -> Value {
    let message = json!({"messageId": "m", "role": "ROLE_AGENT", "parts": [{"text": said}]});
    let mut task = json!({"id": id, "contextId": "c", "status": {"state": state, "message": message}});
    task["artifacts"] = artifacts;
    task
}

impl Desk {
    async fn replies(&self, called: &str, reply: ResponseTemplate) {
        let asked = body_partial_json(json!({"jsonrpc": "2.0", "method": called}));
        Mock::given(method("POST"))
            .and(path("/rpc"))
            .and(asked)
            .respond_with(reply)
            .mount(&self.server)
            .await;
    }

    async fn answers(&self, called: &str, result: &Value) {
        let body = json!({"jsonrpc": "2.0", "id": 1, "result": result});
        self.replies(called, ResponseTemplate::new(200).set_body_json(body)).await;
    }

    async fn refuses(&self, called: &str, code: i64) {
        let body =
            json!({"jsonrpc": "2.0", "id": 1, "error": {"code": code, "message": "no \u{1b}[1mhunter22"}});
        self.replies(called, ResponseTemplate::new(200).set_body_json(body)).await;
    }

    fn control(&self) -> Control {
        Control { stop: self.bench.stop.subscribe(), output: mpsc::channel(100).0, heed: None }
    }

    async fn run(&self) -> AttemptReport {
        let registry = Registry::standard(self.bench.settings.clone());
        let provider = registry.find("agent://scribe").unwrap();
        provider.run(self.bench.attempt.clone(), self.control()).await
    }

    async fn poll(&mut self) -> AttemptReport {
        self.bench.attempt.handle.get_or_insert_with(|| json!({"task": "t-1"}).to_string());
        let registry = Registry::standard(self.bench.settings.clone());
        let provider = registry.find("agent://scribe").unwrap();
        provider.poll(self.bench.attempt.clone(), self.control()).await
    }

    async fn cancel(&mut self) -> Result<(), String> {
        self.bench.attempt.handle = Some(json!({"task": "t-1"}).to_string());
        let registry = Registry::standard(self.bench.settings.clone());
        registry.find("agent://scribe").unwrap().cancel_remote(self.bench.attempt.clone()).await
    }

    /// The methods that were called, with their parameters.
    async fn called(&self) -> Vec<(String, Value)> {
        let asked = self.server.received_requests().await.unwrap();
        let bodies = asked.iter().filter_map(|request| serde_json::from_slice::<Value>(&request.body).ok());
        bodies.map(|body| (body["method"].as_str().unwrap().to_owned(), body["params"].clone())).collect()
    }

    async fn methods(&self) -> Vec<String> {
        self.called().await.into_iter().map(|(name, _)| name).collect()
    }
}

#[track_caller]
fn outputs(report: &AttemptReport) -> Value {
    let AttemptOutcome::Succeeded { outputs } = &report.outcome else { panic!("{report:?}") };
    Value::Object(outputs.clone())
}

#[track_caller]
fn failure(report: AttemptReport) -> (String, bool) {
    let AttemptOutcome::Failed { message, retryable, .. } = report.outcome else { panic!("{report:?}") };
    (message, retryable)
}

#[tokio::test]
async fn the_agent_gets_brief_and_inputs_and_gives_outputs() {
    let mut desk = desk().await;
    desk.bench.attempt.declared_outputs = vec!["lines".to_owned(), "title".to_owned()];
    let artifacts = json!([
        {"artifactId": "1", "name": "notes", "parts": [
            {"text": "see below"}, {"data": {"lines": 3}}, {"data": {"title": "hunter22 is out"}},
            {"url": "https://files.example/notes.pdf", "filename": "notes.pdf", "mediaType": "application/pdf"},
            {"url": "file:///etc/passwd", "filename": "x"},
        ]},
    ]);
    let result = json!({"task": task("t-1", "TASK_STATE_COMPLETED", "done by hunter22", artifacts)});
    let reply =
        ResponseTemplate::new(200).set_body_json(json!({"jsonrpc": "2.0", "id": 1, "result": result}));
    Mock::given(header("a2a-version", "1.0"))
        .and(header("authorization", "Bearer hunter22"))
        .and(header("idempotency-key", "uid/build/2"))
        .and(header("planspec-fencing-token", "7"))
        .respond_with(reply)
        .mount(&desk.server)
        .await;
    let report = desk.run().await;
    assert_eq!(outputs(&report), json!({"lines": 3, "title": "*** is out"}));
    assert_eq!(report.evidence.log.unwrap().tail, "done by ***");
    let [link] = report.evidence.artifacts.as_slice() else { panic!("{:?}", report.evidence.artifacts) };
    assert_eq!(
        (link.name.as_str(), link.url.as_deref()),
        ("notes.pdf", Some("https://files.example/notes.pdf"))
    );

    let [(name, params)] = desk.called().await.try_into().unwrap();
    assert_eq!((name.as_str(), &params["configuration"]["returnImmediately"]), ("SendMessage", &json!(true)));
    let message = &params["message"];
    assert_eq!(message["role"], "ROLE_USER");
    assert!(message["parts"][0]["text"].as_str().unwrap().contains("every one of them: `lines`, `title`."));
    assert_eq!(
        message["parts"][1]["data"],
        json!({"inputs": {"version": "1.4.0"}, "outputs": ["lines", "title"]})
    );
    assert_eq!(message["metadata"]["planspec.io/attempt"]["idempotencyKey"], "uid/build/2");
    assert_eq!(message["contextId"].as_str().unwrap().len(), 36);
    assert!(!params.to_string().contains("hunter22"));
}

#[tokio::test]
async fn what_a_task_leaves_becomes_outputs() {
    let parts = |parts: Value| json!([{"artifactId": "1", "parts": parts}]);
    for (artifacts, declared, expected) in [
        (parts(json!([{"text": "a"}, {"text": "b"}])), vec![], json!({"result": "a\nb"})),
        (parts(json!([{"data": [1.0, 2.5, {"a": -3.0}]}])), vec![], json!({"result": [1, 2.5, {"a": -3}]})),
        (parts(json!([{"text": "{\"n\": 1}"}])), vec!["n"], json!({"n": 1})),
        (parts(json!([{"text": "{\"n\": 1}"}])), vec!["result"], json!({"result": "{\"n\": 1}"})),
        (json!(null), vec![], json!({"result": "said"})),
    ] {
        let mut desk = desk_with("TASK_STATE_COMPLETED", "said", artifacts).await;
        desk.bench.attempt.declared_outputs = declared.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(outputs(&desk.run().await), expected);
    }
    let mut desk = desk_with("TASK_STATE_COMPLETED", "said", json!([])).await;
    desk.bench.attempt.declared_outputs = vec!["n".to_owned()];
    assert!(matches!(
        desk.run().await.outcome,
        AttemptOutcome::Failed { reason: NodeReason::OutputInvalid, .. }
    ));
    let desk = self::desk().await;
    desk.answers(
        "SendMessage",
        &json!({"message": {"messageId": "m", "role": "ROLE_AGENT", "parts": [{"text": "at once"}]}}),
    )
    .await;
    assert_eq!(outputs(&desk.run().await), json!({"result": "at once"}));
}

#[tokio::test]
async fn a_task_that_goes_on_is_followed_by_its_id_until_it_ends() {
    let mut desk = desk_with("TASK_STATE_SUBMITTED", "", json!([])).await;
    desk.answers("GetTask", &task("t-1", "TASK_STATE_WORKING", "reading", json!([]))).await;
    let report = desk.run().await;
    let AttemptOutcome::Blocked { reason, message, handle, poll_after } = report.outcome else {
        panic!("{report:?}")
    };
    assert_eq!(reason, NodeReason::AwaitingProvider);
    assert_eq!(message, format!("the agent at {} is working on it: reading", desk.server.uri()));
    assert_eq!((handle.as_deref(), poll_after), (Some(r#"{"task":"t-1"}"#), Some(Duration::from_secs(7))));

    desk.server.reset().await;
    let artifacts = json!([{"artifactId": "1", "parts": [{"data": {"lines": 3}}]}]);
    desk.answers("GetTask", &task("t-1", "TASK_STATE_COMPLETED", "", artifacts)).await;
    assert_eq!(outputs(&desk.poll().await), json!({"lines": 3}));
    assert_eq!(desk.called().await, [("GetTask".to_owned(), json!({"id": "t-1", "historyLength": 0}))]);
}

#[tokio::test]
async fn every_state_of_a_task_means_something() {
    for (state, expected, retryable) in [
        ("TASK_STATE_FAILED", "the agent at HERE failed: no paper", true),
        ("TASK_STATE_REJECTED", "the agent at HERE rejected the task: no paper", false),
        ("TASK_STATE_CANCELED", "the task was cancelled at the agent at HERE: no paper", true),
    ] {
        let desk = desk_with(state, "no\npaper", json!([])).await;
        let expected = expected.replace("HERE", &desk.server.uri());
        assert_eq!(failure(desk.run().await), (expected, retryable), "{state}");
    }
    for (state, expected) in [
        ("TASK_STATE_INPUT_REQUIRED", "the agent at HERE asks: which ***? "),
        ("TASK_STATE_AUTH_REQUIRED", "the agent at HERE requires authorization: which ***? "),
    ] {
        let mut desk = desk_with(state, "which \u{1b}[1mhunter22?", json!([])).await;
        let report = desk.run().await;
        let AttemptOutcome::Blocked { reason, message, handle, poll_after } = report.outcome else {
            panic!("{report:?}")
        };
        assert_eq!((reason, poll_after), (NodeReason::InputRequired, Some(Duration::from_secs(7))));
        assert!(message.starts_with(&expected.replace("HERE", &desk.server.uri())), "{message}");
        for step in ["as task t-1", "planspec answer exec-1/build -n team TEXT"] {
            assert!(message.contains(step), "{message}");
        }
        // Somebody answered there.
        desk.bench.attempt.handle = handle;
        desk.answers("GetTask", &task("t-1", "TASK_STATE_COMPLETED", "thanks", json!([]))).await;
        assert_eq!(outputs(&desk.poll().await), json!({"result": "thanks"}));
    }
}

#[tokio::test]
async fn a_lost_runner_s_task_is_found_and_no_second_one_made() {
    let mut desk = desk().await;
    desk.answers("SendMessage", &json!({"task": task("t-1", "TASK_STATE_INPUT_REQUIRED", "?", json!([]))}))
        .await;
    assert!(matches!(desk.run().await.outcome, AttemptOutcome::Blocked { .. }));
    let (_, first) = desk.called().await.remove(0);
    desk.server.reset().await;

    // The runner was lost before it could record the task: another attempt at the same work.
    let ours = first["message"]["contextId"].clone();
    let mut there = task("t-1", "TASK_STATE_COMPLETED", "done", json!([]));
    there["contextId"] = ours.clone();
    let mut ended = task("t-0", "TASK_STATE_CANCELED", "", json!([]));
    ended["contextId"] = ours.clone();
    let foreign = task("t-9", "TASK_STATE_COMPLETED", "foreign", json!([]));
    desk.answers("ListTasks", &json!({"tasks": [foreign, ended, there], "nextPageToken": ""})).await;
    (desk.bench.attempt.attempt, desk.bench.attempt.idempotency_key) = (2, "uid/build/2".to_owned());
    assert_eq!(outputs(&desk.run().await), json!({"result": "done"}));
    let [(name, params)] = desk.called().await.try_into().unwrap();
    assert_eq!((name.as_str(), &params["contextId"]), ("ListTasks", &ours));

    // An agent that keeps no list is told by the id of the message.
    desk.server.reset().await;
    desk.refuses("ListTasks", -32601).await;
    desk.answers("SendMessage", &json!({"task": task("t-1", "TASK_STATE_COMPLETED", "", json!([]))})).await;
    desk.run().await;
    let again = desk.called().await.pop().unwrap().1;
    assert_eq!(again["message"]["messageId"], first["message"]["messageId"]);

    // A failure ends the work; what comes after is another one.
    desk.bench.attempt.work = "uid/build/1".to_owned();
    desk.run().await;
    let other = desk.called().await.pop().unwrap().1;
    assert_ne!(other["message"]["contextId"], ours);
    assert_ne!(other["message"]["messageId"], first["message"]["messageId"]);
}

#[tokio::test]
async fn an_agent_that_names_its_own_contexts_is_given_none() {
    let mut desk = desk_with("TASK_STATE_COMPLETED", "", json!([])).await;
    desk.bench.settings.sections["agents"]["scribe"]["contextId"] = json!(false);
    desk.bench.attempt.attempt = 2;
    desk.run().await;
    let [(name, params)] = desk.called().await.try_into().unwrap();
    assert_eq!((name.as_str(), params["message"].get("contextId")), ("SendMessage", None));
}

#[tokio::test]
async fn errors_are_permanent_or_pass_and_never_hold_a_secret() {
    for (code, expected) in [
        (-32700, false),
        (-32600, false),
        (-32601, false),
        (-32602, false),
        (-32603, true),
        (-32001, false),
        (-32005, false),
        (-32009, false),
        (-32000, true),
        (-32050, true),
        (7, true),
    ] {
        let desk = desk().await;
        desk.refuses("SendMessage", code).await;
        let (message, retryable) = failure(desk.run().await);
        assert_eq!(retryable, expected, "{code}");
        assert!(message.contains(&format!("responded with error {code}: no ***")), "{message}");
    }
    for (status, body, expected) in [
        (401, "no", false),
        (404, "{\"detail\": \"Not Found\"}", false),
        (500, "x", true),
        (200, "<html>", false),
        (200, "{\"result\": {\"tusk\": 1}}", false),
    ] {
        let mut desk = desk().await;
        desk.bench.attempt.timeout = Some(Duration::from_millis(900));
        desk.replies("SendMessage", ResponseTemplate::new(status).set_body_string(body)).await;
        desk.answers("ListTasks", &json!({"tasks": []})).await;
        let (message, retryable) = failure(desk.run().await);
        assert_eq!(retryable, expected, "{status} {message}");
    }
}

#[tokio::test]
async fn an_agent_that_is_busy_is_asked_again_and_after_that_left_alone_as_long_as_it_asks() {
    let busy = |pause: &str| ResponseTemplate::new(503).insert_header("Retry-After", pause);
    let desk = desk().await;
    Mock::given(method("POST")).respond_with(busy("1")).up_to_n_times(1).mount(&desk.server).await;
    desk.answers("SendMessage", &json!({"task": task("t-1", "TASK_STATE_COMPLETED", "", json!([]))})).await;
    assert!(matches!(desk.run().await.outcome, AttemptOutcome::Succeeded { .. }));
    assert_eq!(desk.methods().await, ["SendMessage", "SendMessage"], "a refusal began nothing");

    desk.server.reset().await;
    desk.replies("SendMessage", busy("600")).await;
    let report = desk.run().await;
    let AttemptOutcome::Failed { retryable: true, retry_after, .. } = report.outcome else {
        panic!("{report:?}")
    };
    assert_eq!(retry_after, Some(Duration::from_secs(600)));

    // Nobody knows what became of a request that broke off: the agent's list says.
    desk.server.reset().await;
    let broken = ResponseTemplate::new(502);
    Mock::given(method("POST")).respond_with(broken).up_to_n_times(1).mount(&desk.server).await;
    desk.answers("ListTasks", &json!({"tasks": []})).await;
    desk.answers("SendMessage", &json!({"task": task("t-1", "TASK_STATE_COMPLETED", "", json!([]))})).await;
    assert!(matches!(desk.run().await.outcome, AttemptOutcome::Succeeded { .. }));
    assert_eq!(desk.methods().await, ["SendMessage", "ListTasks", "SendMessage"]);
}

#[tokio::test]
async fn a_look_learns_nothing_from_trouble_and_finds_that_a_task_is_gone() {
    let mut desk = desk().await;
    desk.replies("GetTask", ResponseTemplate::new(503)).await;
    assert!(matches!(desk.poll().await.outcome, AttemptOutcome::Stopped(_)), "what is recorded stays");
    desk.server.reset().await;
    desk.refuses("GetTask", -32001).await;
    assert!(matches!(desk.poll().await.outcome, AttemptOutcome::Lost { .. }));
    desk.server.reset().await;
    desk.replies("GetTask", ResponseTemplate::new(403)).await;
    assert!(!failure(desk.poll().await).1);
    desk.bench.attempt.handle = Some("nonsense".to_owned());
    assert_eq!(failure(desk.poll().await).0, "the task id is unknown");
}

#[tokio::test]
async fn calling_off_cancels_the_task_and_takes_its_end_for_an_answer() {
    let mut desk = desk().await;
    desk.answers("CancelTask", &task("t-1", "TASK_STATE_CANCELED", "", json!([]))).await;
    assert_eq!(desk.cancel().await, Ok(()));
    assert_eq!(desk.called().await, [("CancelTask".to_owned(), json!({"id": "t-1"}))]);
    for (code, expected) in [(-32001, true), (-32002, true), (-32004, false)] {
        desk.server.reset().await;
        desk.refuses("CancelTask", code).await;
        let done = desk.cancel().await;
        assert_eq!(done.is_ok(), expected, "{code} {done:?}");
    }
}

#[tokio::test]
async fn a_node_that_is_cancelled_while_it_is_handed_in_leaves_no_task_behind() {
    let desk = desk().await;
    let result = json!({"task": task("t-1", "TASK_STATE_WORKING", "", json!([]))});
    let slow = ResponseTemplate::new(200)
        .set_body_json(json!({"jsonrpc": "2.0", "id": 1, "result": result}))
        .set_delay(Duration::from_millis(300));
    desk.replies("SendMessage", slow).await;
    desk.answers("GetTask", &result["task"]).await;
    desk.answers("CancelTask", &result["task"]).await;
    let asker = desk.bench.stop.clone();
    let (report, ()) = tokio::join!(desk.run(), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        asker.send_replace(Some(Stop::Cancel));
    });
    assert_eq!(report.outcome, AttemptOutcome::Stopped(Stop::Cancel));
    assert_eq!(desk.methods().await.last().map(String::as_str), Some("CancelTask"));

    // A runner that goes away keeps the task for the next one.
    asker.send_replace(Some(Stop::Shutdown));
    let report = desk.run().await;
    assert!(matches!(report.outcome, AttemptOutcome::Blocked { handle: Some(_), .. }), "{report:?}");
}

#[tokio::test]
async fn an_answer_of_any_size_is_cut_off() {
    let desk = desk_with("TASK_STATE_COMPLETED", &"x".repeat(5 << 20), json!([])).await;
    let (message, retryable) = failure(desk.run().await);
    assert!(message.ends_with("returned more than 4194304 bytes") && !retryable, "{message}");
    let desk = desk_with("TASK_STATE_COMPLETED", &"x".repeat(2 << 20), json!([])).await;
    assert_eq!(failure(desk.run().await).0, "the agent returned outputs of more than 1048576 bytes");
}

#[tokio::test]
async fn a_card_says_where_the_agent_is_asked_and_cannot_lead_elsewhere() {
    let mut desk = desk_with("TASK_STATE_INPUT_REQUIRED", "?", json!([])).await;
    let card = |url: String| json!({"supportedInterfaces": [{"url": url, "protocolBinding": "JSONRPC", "protocolVersion": "1.0", "tenant": "acme"}]});
    let at = |card: Value| {
        Mock::given(method("GET"))
            .and(path("/.well-known/agent-card.json"))
            .respond_with(ResponseTemplate::new(200).set_body_json(card))
    };
    at(card(format!("{}/rpc", desk.server.uri()))).mount(&desk.server).await;
    let settings = json!({"card": desk.server.uri()});
    desk.bench.configure("agents", "scribe", settings);
    let report = desk.run().await;
    let AttemptOutcome::Blocked { handle, .. } = report.outcome else { panic!("{report:?}") };
    assert_eq!(desk.called().await[0].1["tenant"], "acme");
    // The next look needs no card.
    desk.server.reset().await;
    desk.answers("GetTask", &task("t-1", "TASK_STATE_COMPLETED", "", json!([]))).await;
    desk.bench.attempt.handle.clone_from(&handle);
    assert!(matches!(desk.poll().await.outcome, AttemptOutcome::Succeeded { .. }));
    assert_eq!(desk.called().await[0].1["tenant"], "acme");
    let elsewhere = handle.unwrap().replace(&desk.server.uri(), "http://127.0.0.1:1");
    desk.bench.attempt.handle = Some(elsewhere);
    assert!(
        failure(desk.poll().await).0.starts_with("the task is at http://127.0.0.1:1, and the agent now at")
    );

    desk.server.reset().await;
    desk.bench.attempt.handle = None;
    at(card("http://127.0.0.1:1/rpc".to_owned())).mount(&desk.server).await;
    let (message, retryable) = failure(desk.run().await);
    assert!(message.contains("points to another origin, http://127.0.0.1:1") && !retryable, "{message}");
}

#[tokio::test]
async fn ids_that_hold_a_secret_or_are_absurd_are_not_kept() {
    for id in ["hunter22".to_owned(), String::new(), "x".repeat(600), "a\nb".to_owned()] {
        let desk = desk().await;
        let result = json!({"task": task(&id, "TASK_STATE_WORKING", "", json!([]))});
        desk.answers("SendMessage", &result).await;
        let (message, retryable) = failure(desk.run().await);
        assert!(message.contains("returned a task id that") && !retryable, "{message}");
    }
}

/// A desk whose task `t-1` asks something that was answered.
async fn answered() -> Desk {
    let mut desk = desk().await;
    desk.answers("GetTask", &task("t-1", "TASK_STATE_INPUT_REQUIRED", "which?", json!([]))).await;
    desk.bench.attempt.handle = Some(json!({"task": "t-1"}).to_string());
    let at = jiff::Timestamp::UNIX_EPOCH;
    desk.bench.attempt.answer =
        Some(QuestionAnswer { by: "mia".to_owned(), at, text: "the blue one".to_owned() });
    desk
}

#[tokio::test]
async fn an_answer_is_a_message_to_the_task_that_asked() {
    let desk = answered().await;
    desk.answers("SendMessage", &json!({"task": task("t-1", "TASK_STATE_COMPLETED", "thanks", json!([]))}))
        .await;
    assert_eq!(outputs(&desk.run().await), json!({"result": "thanks"}));
    assert_eq!(desk.methods().await, ["GetTask", "SendMessage"]);
    let message = desk.called().await.pop().unwrap().1["message"].clone();
    assert_eq!((&message["taskId"], &message["contextId"]), (&json!("t-1"), &json!("c")));
    assert_eq!(message["parts"], json!([{"text": "the blue one"}]));
    desk.run().await;
    assert_eq!(desk.called().await.pop().unwrap().1["message"]["messageId"], message["messageId"]);
}

#[tokio::test]
async fn an_answer_is_passed_on_by_claimed_attempts_alone_and_only_while_the_question_stands() {
    let mut desk = answered().await;
    assert!(matches!(
        desk.poll().await.outcome,
        AttemptOutcome::Blocked { reason: NodeReason::InputRequired, .. }
    ));
    assert_eq!(desk.methods().await, ["GetTask"], "a look changes nothing");
    desk.server.reset().await;
    desk.answers("GetTask", &task("t-1", "TASK_STATE_COMPLETED", "settled", json!([]))).await;
    assert_eq!(outputs(&desk.run().await), json!({"result": "settled"}));
    assert_eq!(desk.methods().await, ["GetTask"], "somebody else answered");

    // The attempt that had the answer was lost.
    desk.server.reset().await;
    desk.bench.attempt.handle = None;
    desk.bench.attempt.attempt = 3;
    let mut asks = task("t-1", "TASK_STATE_INPUT_REQUIRED", "which?", json!([]));
    asks["contextId"] = json!("1f0e2c52-0000-0000-0000-000000000000");
    desk.answers("ListTasks", &json!({"tasks": [asks]})).await;
    desk.answers("SendMessage", &json!({"task": task("t-2", "TASK_STATE_INPUT_REQUIRED", "?", json!([]))}))
        .await;
    desk.run().await;
    let context = desk.called().await.pop().unwrap().1["message"]["contextId"].clone();
    desk.server.reset().await;
    let mut asks = task("t-1", "TASK_STATE_INPUT_REQUIRED", "which?", json!([]));
    asks["contextId"] = context;
    desk.answers("ListTasks", &json!({"tasks": [asks.clone()]})).await;
    desk.answers("GetTask", &asks).await;
    desk.answers("SendMessage", &json!({"task": task("t-1", "TASK_STATE_COMPLETED", "thanks", json!([]))}))
        .await;
    assert_eq!(outputs(&desk.run().await), json!({"result": "thanks"}));
    assert_eq!(desk.methods().await, ["ListTasks", "GetTask", "SendMessage"]);
}

#[tokio::test]
async fn an_answer_that_cannot_be_passed_on_leaves_the_task_and_its_question() {
    let desk = answered().await;
    desk.refuses("SendMessage", -32602).await;
    let report = desk.run().await;
    let AttemptOutcome::Blocked { reason, message, handle, .. } = report.outcome else {
        panic!("{report:?}")
    };
    assert_eq!((reason, handle), (NodeReason::InputRequired, desk.bench.attempt.handle.clone()));
    assert!(
        message.starts_with("the answer could not be passed on: ") && message.contains("-32602"),
        "{message}"
    );
    desk.server.reset().await;
    desk.refuses("GetTask", -32001).await;
    assert!(matches!(desk.run().await.outcome, AttemptOutcome::Lost { .. }));
}

#[tokio::test]
async fn a_node_that_is_cancelled_while_an_answer_is_passed_on_has_its_task_cancelled() {
    let desk = answered().await;
    desk.replies("SendMessage", ResponseTemplate::new(200).set_delay(Duration::from_secs(30))).await;
    desk.answers("CancelTask", &task("t-1", "TASK_STATE_CANCELED", "", json!([]))).await;
    let asker = desk.bench.stop.clone();
    let (report, ()) = tokio::join!(desk.run(), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        asker.send_replace(Some(Stop::Cancel));
    });
    assert_eq!(report.outcome, AttemptOutcome::Stopped(Stop::Cancel));
    assert_eq!(desk.methods().await.last().map(String::as_str), Some("CancelTask"));
}

#[tokio::test]
async fn criteria_are_checked_when_the_task_is_done() {
    let mut desk = desk_with("TASK_STATE_COMPLETED", "", json!([])).await;
    desk.bench.attempt.criteria =
        serde_json::from_value(json!([{"name": "there", "type": "command_succeeds", "command": "false"}]))
            .unwrap();
    let report = desk.run().await;
    assert!(
        matches!(report.outcome, AttemptOutcome::Failed { reason: NodeReason::CriterionFailed, .. }),
        "{report:?}"
    );
    assert!(!report.evidence.criteria[0].passed);
}

#[tokio::test]
async fn settings_of_an_agent_at_an_address_are_checked_and_stand_in_the_configuration_alone() {
    let mut desk = desk().await;
    let check = |bench: &Bench, provider: &str, config: Value| {
        let registry = Registry::standard(bench.settings.clone());
        let found = registry.find(provider).unwrap();
        found.check(provider, &map(config)).map_err(|error| error.to_string())
    };
    assert_eq!(check(&desk.bench, "agent://scribe", json!({"pollInterval": "${{ inputs.x }}"})), Ok(()));
    for (config, expected) in [
        (
            json!({"url": "https://evil.example"}),
            "`config.url` is allowed only in `providers.agents` of .planspec.yaml",
        ),
        (json!({"headers": {}}), "`config.headers` is allowed only in `providers.agents` of .planspec.yaml"),
        (json!({"command": "x"}), "unknown setting `config.command`; known are requestTimeout, pollInterval"),
        (json!({"pollInterval": "0s"}), "`config.pollInterval` must be greater than zero"),
    ] {
        assert_eq!(check(&desk.bench, "agent://scribe", config).unwrap_err(), expected);
    }
    let refused = check(&desk.bench, "agent://other", json!({"url": "https://x.example"})).unwrap_err();
    assert_eq!(refused, "`config.url` is allowed only in `providers.agents` of .planspec.yaml");
    for (settings, expected) in [
        (
            json!({"url": "https://a.example", "card": "https://a.example"}),
            "`config.url` or `card` must be given, and not both",
        ),
        (
            json!({"url": "ftp://a.example"}),
            "`config.url` cannot be used: the address is not an http or https URL",
        ),
        (
            json!({"url": "https://a.example", "headers": {"A2A-Version": "0.3"}}),
            "`config.headers.A2A-Version` is set by planspec",
        ),
        (
            json!({"url": "https://a.example", "secretHeaders": {"X": "HOME"}}),
            "`config.secretHeaders.X` needs the variable HOME, named in `providers.secrets` and set",
        ),
    ] {
        desk.bench.configure("agents", "scribe", settings);
        assert_eq!(check(&desk.bench, "agent://scribe", json!({})).unwrap_err(), expected);
    }
    desk.bench.settings.allow_private.clear();
    let settings = json!({"url": format!("{}/rpc", desk.server.uri())});
    desk.bench.configure("agents", "scribe", settings);
    let (message, retryable) = failure(desk.run().await);
    assert!(message.starts_with("`127.0.0.1` is a private address") && !retryable, "{message}");
    assert!(desk.called().await.is_empty());
}
