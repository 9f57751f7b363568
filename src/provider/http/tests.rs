//! Attempts by services that answer in every way.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use wiremock::matchers::{body_partial_json, header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::Http;
use crate::model::{JsonMap, NodeReason};
use crate::provider::external::External;
use crate::provider::{
    Attempt, AttemptOutcome, AttemptReport, Control, PrivateCheckout, Provider, ProviderContext,
    ProviderSettings, Stop, Workspace, WorkspaceError, WorkspaceForm, sample,
};

struct Folder(PathBuf);

impl Workspace for Folder {
    fn prepare_as(&self, _: &WorkspaceForm) -> Result<PrivateCheckout, WorkspaceError> {
        Ok(PrivateCheckout::new(self.0.clone(), |_| ()))
    }
}

/// A service and an attempt that is meant for it.
struct Bench {
    home: tempfile::TempDir,
    server: MockServer,
    attempt: Attempt,
}

async fn bench(answer: ResponseTemplate) -> Bench {
    let bench = empty_bench().await;
    bench.answers("POST", "/jobs", answer).await;
    bench
}

async fn empty_bench() -> Bench {
    let home = tempfile::tempdir().unwrap();
    let server = MockServer::start().await;
    let attempt = Attempt {
        work: "uid/build/0".to_owned(),
        provider: format!("{}/jobs", server.uri()),
        config: map(json!({"secretHeaders": {"Authorization": "Bearer API_TOKEN"}})),
        inputs: map(json!({"ref": "v1"})),
        timeout: Some(Duration::from_secs(20)),
        run_dir: home.path().join("runs/uid/build/2"),
        workspace: Arc::new(Folder(home.path().to_owned())),
        upstream: Default::default(),
        ..sample::attempt("build")
    };
    Bench { home, server, attempt }
}

fn map(value: Value) -> JsonMap {
    let Value::Object(map) = value else { panic!("not a map: {value}") };
    map
}

fn json_answer(status: u16, body: &Value) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_json(body)
}

impl Bench {
    async fn answers(&self, verb: &str, at: &str, answer: ResponseTemplate) {
        Mock::given(method(verb)).and(path(at)).respond_with(answer).mount(&self.server).await;
    }

    fn context(&self) -> ProviderContext {
        ProviderContext::new(ProviderSettings {
            secrets: [("API_TOKEN".to_owned(), "hunter22".into())].into(),
            environment: [("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin".into())].into(),
            allow_private: vec!["127.0.0.1".to_owned()],
            runs: self.home.path().join("runs"),
            ..ProviderSettings::default()
        })
    }

    async fn run(&self) -> AttemptReport {
        let (_asker, control) = control();
        Http::new(self.context()).run(self.attempt.clone(), control).await
    }

    async fn poll(&mut self, location: &str) -> AttemptReport {
        let url = if location.contains("://") { location.to_owned() } else { self.server.uri() + location };
        self.attempt.handle = Some(json!({ "location": url }).to_string());
        let (_asker, control) = control();
        Http::new(self.context()).poll(self.attempt.clone(), control).await
    }

    #[track_caller]
    fn failed(report: AttemptReport, expected: NodeReason) -> (String, bool) {
        let AttemptOutcome::Failed { reason, message, retryable, .. } = report.outcome else {
            panic!("{report:?}")
        };
        assert_eq!(reason, expected, "{message}");
        (message, retryable)
    }
}

fn control() -> (watch::Sender<Option<Stop>>, Control) {
    let (asker, stop) = watch::channel(None);
    (asker, Control { stop, output: mpsc::channel(100).0, heed: None })
}

#[tokio::test]
async fn the_service_gets_the_attempt_and_gives_outputs() {
    let bench = empty_bench().await;
    let body = json!({"namespace": "team", "execution": "exec-1", "node": "build", "attempt": 2,
        "idempotencyKey": "uid/build/2", "fencingToken": 7, "runId": "run-1", "inputs": {"ref": "v1"}});
    let artifacts = json!([{"name": "log", "url": "https://build.example/1/log"}]);
    Mock::given(method("POST"))
        .and(header("Idempotency-Key", "uid/build/2"))
        .and(header("Planspec-Fencing-Token", "7"))
        .and(header("Authorization", "Bearer hunter22"))
        .and(body_partial_json(body))
        .respond_with(json_answer(
            200,
            &json!({"outputs": {"a": [1], "said": "hunter22"}, "message": "built", "artifacts": artifacts}),
        ))
        .mount(&bench.server)
        .await;
    let report = bench.run().await;
    let outputs = map(json!({"a": [1], "said": "***"}));
    assert_eq!(report.outcome, AttemptOutcome::Succeeded { outputs });
    assert_eq!(report.evidence.artifacts[0].url.as_deref(), Some("https://build.example/1/log"));
    assert_eq!(report.evidence.log.unwrap().tail, "built");
}

#[tokio::test]
async fn what_is_declared_must_be_given() {
    let mut first = bench(json_answer(201, &json!({"outputs": {"digset": "x"}}))).await;
    first.attempt.declared_outputs = vec!["digest".to_owned()];
    let (message, _) = Bench::failed(first.run().await, NodeReason::OutputInvalid);
    assert_eq!(message, "output `digset` is not declared by the node; did you mean `digest`?");
    for answer in [
        ResponseTemplate::new(200).set_body_string("<html>hunter22"),
        json_answer(200, &json!([1])),
        json_answer(200, &json!({"outputs": ["hunter22"]})),
        json_answer(200, &json!({"outputs": {"a b": 1}})),
    ] {
        let bench = bench(answer).await;
        let (message, _) = Bench::failed(bench.run().await, NodeReason::OutputInvalid);
        assert!(!message.contains("hunter22"), "{message}");
    }
}

#[tokio::test]
async fn statuses_tell_what_may_pass_from_what_will_not() {
    for (status, expected) in [
        (400, false),
        (401, false),
        (404, false),
        (422, false),
        (429, true),
        (500, true),
        (502, true),
        (503, true),
    ] {
        let bench = bench(json_answer(status, &json!({"message": "no hunter22 today"}))).await;
        let (message, retryable) = Bench::failed(bench.run().await, NodeReason::ProviderFailed);
        assert_eq!(retryable, expected, "{status}");
        assert!(message.ends_with(": no *** today"), "{message}");
    }
    let bench =
        bench(json_answer(200, &json!({"status": "failed", "message": "red", "retryable": false}))).await;
    assert_eq!(Bench::failed(bench.run().await, NodeReason::ProviderFailed), ("red".to_owned(), false));
}

#[tokio::test]
async fn a_service_that_asks_to_come_again_is_asked_again_with_the_same_key() {
    let bench = empty_bench().await;
    Mock::given(method("POST"))
        .respond_with(ResponseTemplate::new(503).insert_header("Retry-After", "1"))
        .up_to_n_times(1)
        .mount(&bench.server)
        .await;
    bench.answers("POST", "/jobs", json_answer(200, &json!({}))).await;
    assert!(matches!(bench.run().await.outcome, AttemptOutcome::Succeeded { .. }));
    let asked = bench.server.received_requests().await.unwrap();
    assert_eq!(asked.len(), 2);
    assert!(asked.iter().all(|request| request.headers["idempotency-key"] == "uid/build/2"));
}

#[tokio::test]
async fn a_pause_that_is_too_long_for_the_attempt_is_left_to_the_next_one() {
    for status in [429, 503, 500] {
        let bench = bench(ResponseTemplate::new(status).insert_header("Retry-After", "120")).await;
        let report = bench.run().await;
        let AttemptOutcome::Failed { retryable: true, retry_after, .. } = report.outcome else {
            panic!("{report:?}")
        };
        assert_eq!(retry_after, Some(Duration::from_secs(120)), "{status}");
    }
    let said = json!({"status": "failed", "message": "no paper"});
    let report = bench(json_answer(200, &said).insert_header("Retry-After", "7")).await.run().await;
    let AttemptOutcome::Failed { retry_after, .. } = report.outcome else { panic!("{report:?}") };
    assert_eq!(retry_after, Some(Duration::from_secs(7)));
}

#[tokio::test]
async fn accepted_work_is_looked_at_until_it_is_done() {
    let accepted =
        ResponseTemplate::new(202).insert_header("Location", "/jobs/1").insert_header("Retry-After", "3");
    let mut bench = bench(accepted).await;
    let place = bench.server.uri();
    let waiting = AttemptOutcome::Blocked {
        reason: NodeReason::AwaitingProvider,
        message: format!("{place} is working on it"),
        handle: Some(json!({"location": format!("{place}/jobs/1")}).to_string()),
        poll_after: Some(Duration::from_secs(3)),
    };
    assert_eq!(bench.run().await.outcome, waiting);
    bench.answers("GET", "/jobs/1", ResponseTemplate::new(202).insert_header("Retry-After", "3")).await;
    assert_eq!(bench.poll("/jobs/1").await.outcome, waiting, "nothing changed, nothing is recorded");
    bench.answers("GET", "/jobs/2", ResponseTemplate::new(502)).await;
    assert!(
        matches!(bench.poll("/jobs/2").await.outcome, AttemptOutcome::Blocked { .. }),
        "trouble is no end"
    );
    bench.answers("GET", "/jobs/3", json_answer(200, &json!({"outputs": {"a": 1}}))).await;
    assert_eq!(
        bench.poll("/jobs/3").await.outcome,
        AttemptOutcome::Succeeded { outputs: map(json!({"a": 1})) }
    );
    let lost = bench.poll("/jobs/5").await.outcome;
    assert!(matches!(&lost, AttemptOutcome::Lost { message } if message.contains("404")), "{lost:?}");
    bench.answers("GET", "/jobs/4", json_answer(200, &json!({"status": "failed", "message": "red"}))).await;
    assert_eq!(
        Bench::failed(bench.poll("/jobs/4").await, NodeReason::ProviderFailed),
        ("red".to_owned(), true)
    );
}

#[tokio::test]
async fn a_location_elsewhere_or_with_a_secret_is_not_asked() {
    for location in [
        "http://169.254.169.254/x",
        "https://elsewhere.example/",
        "file:///x",
        "http://a:b@127.0.0.1/",
        "/jobs?t=hunter22",
    ] {
        let mut bench = bench(ResponseTemplate::new(202).insert_header("Location", location)).await;
        let (message, retryable) = Bench::failed(bench.run().await, NodeReason::ProviderFailed);
        assert!(!retryable && !message.contains("hunter22"), "{message}");
        if location.contains("://") {
            Bench::failed(bench.poll(location).await, NodeReason::ProviderFailed);
        }
    }
}

#[tokio::test]
async fn work_is_called_off_at_its_location() {
    let mut bench = empty_bench().await;
    let url = format!("{}/jobs/1", bench.server.uri());
    bench.attempt.handle = Some(json!({ "location": url }).to_string());
    let provider = Http::new(bench.context());
    assert_eq!(provider.cancel_remote(bench.attempt.clone()).await, Ok(()), "what is gone is off");
    bench.answers("DELETE", "/jobs/1", ResponseTemplate::new(500)).await;
    assert!(provider.cancel_remote(bench.attempt.clone()).await.unwrap_err().contains("500"));
    let asked = bench.server.received_requests().await.unwrap();
    assert!(asked.iter().all(|request| request.headers["authorization"] == "Bearer hunter22"));
}

#[tokio::test]
async fn a_service_that_hangs_ends_with_the_time_of_the_attempt_or_the_request() {
    let slow = || ResponseTemplate::new(200).set_delay(Duration::from_secs(30));
    let mut bench = bench(slow()).await;
    bench.attempt.timeout = Some(Duration::from_millis(200));
    Bench::failed(bench.run().await, NodeReason::Timeout);
    bench.attempt.timeout = None;
    bench.attempt.config.insert("requestTimeout".to_owned(), json!("200ms"));
    let (_, retryable) = Bench::failed(bench.run().await, NodeReason::ProviderFailed);
    assert!(retryable);
    let (asker, control) = control();
    bench.attempt.config.remove("requestTimeout");
    asker.send_replace(Some(Stop::Cancel));
    let report = Http::new(bench.context()).run(bench.attempt.clone(), control).await;
    assert_eq!(report.outcome, AttemptOutcome::Stopped(Stop::Cancel));
}

#[tokio::test]
async fn criteria_are_checked_after_the_work_elsewhere() {
    let mut bench = bench(json_answer(200, &json!({}))).await;
    bench.answers("GET", "/health", ResponseTemplate::new(200).set_body_string("all well hunter22")).await;
    bench.answers("POST", "/judge", json_answer(422, &json!({"verdict": "bad"}))).await;
    let base = bench.server.uri();
    std::fs::write(bench.home.path().join("there.txt"), "x").unwrap();
    bench.attempt.criteria = serde_json::from_value(json!([
        {"name": "up", "type": "endpoint_responds", "url": format!("{base}/health"), "bodyMatch": "well .*"},
        {"name": "gone", "type": "endpoint_responds", "url": format!("{base}/gone"), "required": false},
        {"name": "meta", "type": "endpoint_responds", "url": "http://169.254.169.254/", "required": false},
        {"name": "judge", "type": "custom", "webhookUrl": format!("{base}/judge"), "payload": {"a": 1},
         "expectedResponse": {"statusCode": 422, "bodyMatch": "bad"}},
        {"name": "file", "type": "artifact_exists", "path": "there.txt"},
        {"name": "test", "type": "test_passes", "command": "test -f missing.txt"},
    ]))
    .unwrap();
    let report = bench.run().await;
    let results: Vec<(bool, &str)> =
        report.evidence.criteria.iter().map(|it| (it.passed, it.evidence.as_str())).collect();
    assert!(results[0].0 && results[0].1.contains("responded 200 OK after "), "{results:?}");
    assert!(results[0].1.ends_with("the body matches: well ***"), "{results:?}");
    assert!(!results[1].0 && results[1].1.ends_with(", expected 200"), "{results:?}");
    assert!(!results[2].0 && results[2].1.contains("private address"), "{results:?}");
    assert!(results[3].0 && results[4].0 && !results[5].0, "{results:?}");
    let (message, _) = Bench::failed(report, NodeReason::CriterionFailed);
    assert_eq!(message, "acceptance criterion `test`: exit code 1, expected 0");
}

async fn external(bench: &Bench, kind: &str, at: &str) -> AttemptOutcome {
    let mut attempt = bench.attempt.clone();
    attempt.config = map(json!({"type": kind, "url": format!("{}{at}", bench.server.uri())}));
    let (_asker, control) = control();
    External::new(bench.context()).poll(attempt, control).await.outcome
}

#[tokio::test]
async fn an_external_address_succeeds_when_it_answers() {
    let bench = empty_bench().await;
    bench.answers("GET", "/ready", json_answer(200, &json!({"version": 3, "said": "hunter22"}))).await;
    bench.answers("GET", "/text", ResponseTemplate::new(204)).await;
    let outputs = map(json!({"status": 200, "body": {"version": 3, "said": "***"}}));
    assert_eq!(external(&bench, "uri", "/ready").await, AttemptOutcome::Succeeded { outputs });
    let outputs = map(json!({"status": 204, "body": ""}));
    assert_eq!(external(&bench, "uri", "/text").await, AttemptOutcome::Succeeded { outputs });
    let waiting = AttemptOutcome::Blocked {
        reason: NodeReason::AwaitingEvent,
        message: format!("{} responded 404 Not Found", bench.server.uri()),
        handle: None,
        poll_after: None,
    };
    assert_eq!(external(&bench, "uri", "/missing?token=hunter22").await, waiting);
}

#[tokio::test]
async fn an_external_webhook_says_whether_it_is_done() {
    let bench = empty_bench().await;
    for (at, said) in [
        ("/done", json!({"done": true, "outputs": {"a": 1}})),
        ("/succeeded", json!({"status": "succeeded", "outputs": {"a": 1}})),
        ("/failed", json!({"status": "failed", "message": "no hunter22"})),
        ("/running", json!({"status": "running"})),
        ("/odd", json!([])),
    ] {
        bench.answers("POST", at, json_answer(200, &said)).await;
    }
    let outputs = map(json!({"a": 1}));
    assert_eq!(
        external(&bench, "webhook", "/done").await,
        AttemptOutcome::Succeeded { outputs: outputs.clone() }
    );
    assert_eq!(external(&bench, "webhook", "/succeeded").await, AttemptOutcome::Succeeded { outputs });
    let failed = AttemptOutcome::permanent(NodeReason::ProviderFailed, "no ***");
    assert_eq!(external(&bench, "webhook", "/failed").await, failed);
    for at in ["/running", "/odd", "/missing"] {
        assert!(matches!(external(&bench, "webhook", at).await, AttemptOutcome::Blocked { .. }), "{at}");
    }
    assert!(matches!(external(&bench, "file", "/done").await, AttemptOutcome::Failed { .. }));
}
