//! Servers at an address: where requests may go, and what failures mean. `tests/e2e/mcp.rs` calls a real one.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;
use wiremock::matchers::method;
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::provider::local::tests::{Bench, bench, map};
use crate::provider::{AttemptOutcome, Control, Registry};

fn desk(settings: Value, allowed: &[&str]) -> Bench {
    let mut bench = bench(json!({}));
    bench.attempt.provider = "mcp://desk/work".to_owned();
    bench.settings.secrets.insert("KEY".to_owned(), "hunter22".into());
    bench.settings.allow_private = allowed.iter().map(|rule| (*rule).to_owned()).collect();
    bench.configure("mcp", "desk", settings);
    bench
}

async fn failure(bench: &Bench) -> (String, bool, Option<Duration>) {
    let registry = Registry::standard(bench.settings.clone());
    let control = Control { stop: bench.stop.subscribe(), output: mpsc::channel(9).0, heed: None };
    let report = registry.find("mcp://desk/work").unwrap().run(bench.attempt.clone(), control).await;
    let AttemptOutcome::Failed { message, retryable, retry_after, .. } = report.outcome else {
        panic!("{report:?}")
    };
    (message, retryable, retry_after)
}

async fn server(answer: ResponseTemplate) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(method("POST")).respond_with(answer).mount(&server).await;
    server
}

#[tokio::test]
async fn a_server_at_a_private_address_is_not_reached_unless_that_is_allowed() {
    let server = server(ResponseTemplate::new(401)).await;
    let port = server.address().port();
    for (host, expected) in [
        ("127.0.0.1", "`127.0.0.1` is a private address"),
        ("localhost", "`localhost` resolves to a private address"),
    ] {
        let url = format!("http://{host}:{port}/mcp?token=x");
        let settings = json!({"url": url, "secretHeaders": {"X-Key": "Bearer KEY"}});
        let (message, retryable, _) = failure(&desk(settings.clone(), &[])).await;
        assert!(message.starts_with(expected) && !retryable, "{message}");
        assert!(server.received_requests().await.unwrap().is_empty());
        failure(&desk(settings, &[host])).await;
        let asked = server.received_requests().await.unwrap();
        assert_eq!(asked[0].headers["x-key"], "Bearer hunter22");
        server.reset().await;
    }
}

#[tokio::test]
async fn no_redirect_leads_a_call_to_another_place() {
    let other = server(ResponseTemplate::new(200)).await;
    for status in [302, 307] {
        let away = ResponseTemplate::new(status).insert_header("location", other.uri());
        let server = server(away).await;
        let settings = json!({"url": server.uri(), "secretHeaders": {"X-Key": "KEY"}});
        failure(&desk(settings, &["127.0.0.1"])).await;
        assert!(other.received_requests().await.unwrap().is_empty(), "{status}");
    }
}

#[tokio::test]
async fn failures_of_the_way_tell_what_may_pass_from_what_will_not() {
    let minute = Some(Duration::from_secs(60));
    for (status, expected, pause) in [
        (429, true, minute),
        (503, true, minute),
        (500, true, minute),
        (401, false, None),
        (404, false, None),
        (422, false, None),
    ] {
        let answer = ResponseTemplate::new(status)
            .insert_header("Retry-After", "60")
            .insert_header("WWW-Authenticate", "Bearer")
            .set_body_string("no hunter22");
        let server = server(answer).await;
        let bench = desk(json!({"url": format!("{}/mcp?token=x", server.uri())}), &["127.0.0.1"]);
        let (message, retryable, retry_after) = failure(&bench).await;
        assert_eq!((retryable, retry_after), (expected, pause), "{status} {message}");
        assert!(message.starts_with(&server.uri()) && !message.contains("token=x"), "{message}");
        assert!(!message.contains("hunter22"), "{message}");
    }
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (message, retryable, _) =
        failure(&desk(json!({"url": format!("http://{free}/mcp?token=x")}), &["127.0.0.1"])).await;
    assert!(message.starts_with(&format!("http://{free} cannot be reached")) && retryable, "{message}");
    assert!(!message.contains("token=x"), "{message}");
}

#[test]
fn an_address_that_cannot_be_asked_and_a_secret_that_is_missing_are_refused() {
    let refused = |settings| {
        let bench = desk(settings, &[]);
        let registry = Registry::standard(bench.settings.clone());
        let found = registry.find("mcp://desk/work").unwrap();
        found.check("mcp://desk/work", &map(json!({}))).map_err(|error| error.to_string()).unwrap_err()
    };
    assert!(refused(json!({"url": "ftp://x.example"})).starts_with("`config.url` cannot be used"));
    assert!(
        refused(json!({"url": "https://mia:hunter22@x.example"})).starts_with("`config.url` cannot be used")
    );
    let missing = refused(json!({"url": "https://x.example", "secretHeaders": {"X-Key": "HOME"}}));
    assert!(missing.contains("needs the variable HOME"), "{missing}");
}
