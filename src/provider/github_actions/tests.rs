//! A workflow is started once, followed, and cancelled; against a host that answers as documented.

use wiremock::matchers::{body_json, method, path, query_param};
use wiremock::{Mock, ResponseTemplate};

use tokio::sync::{mpsc, watch};

use super::keyed_runs::holds;
use super::*;
use crate::github::judged::{Judged, connection_to};
use crate::provider::{ProviderSettings, sample};

fn attempt(handle: Option<&str>) -> Attempt {
    Attempt {
        provider: "github-actions://acme/app/deploy.yml@release".to_owned(),
        config: json!({"inputs": {"level": 3}}).as_object().unwrap().clone(),
        inputs: json!({"place": "::error::x"}).as_object().unwrap().clone(),
        declared_outputs: vec!["url".to_owned()],
        handle: handle.map(str::to_owned),
        ..sample::attempt("deploy")
    }
}

fn control() -> Control {
    Control { stop: watch::channel(None).1, output: mpsc::channel(1).0, heed: None }
}

fn run(id: u64, key: &str, status: &str, conclusion: Option<&str>) -> Value {
    json!({
        "id": id, "name": "Deploy", "display_title": format!("Deploy ({key})"), "event": "workflow_dispatch",
        "status": status, "conclusion": conclusion, "head_sha": "abc", "head_branch": "release",
        "actor": { "login": "github-actions[bot]", "id": 1, "type": "Bot" },
        "html_url": format!("https://github.example/acme/app/actions/runs/{id}"),
    })
}

async fn host() -> (Judged, GitHubActions) {
    let server = Judged::start().await;
    let connection = connection_to(server.uri());
    let settings = ProviderSettings { host: Some(connection), ..ProviderSettings::default() };
    (server, GitHubActions::new(ProviderContext::new(settings)))
}

const RUNS: &str = "/repos/acme/app/actions/workflows/deploy.yml/runs";
const DISPATCHES: &str = "/repos/acme/app/actions/workflows/deploy.yml/dispatches";

fn listed(runs: &[Value]) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(json!({ "total_count": runs.len(), "workflow_runs": runs }))
}

#[test]
fn the_place_of_a_workflow_is_taken_apart_or_refused() {
    let place = WorkflowRef::parse("github-actions://acme/app/deploy.yml").unwrap();
    assert_eq!(
        (place.repo.to_string().as_str(), place.workflow.as_str(), place.reference.as_str()),
        ("acme/app", "deploy.yml", "main")
    );
    for bad in [
        "acme/app",
        "acme/app/",
        "acme/deploy.yml",
        "a/b/c/d.yml",
        "acme/../x.yml",
        "acme/app/x y.yml",
        "acme/app/x.yml@",
        "acme/app/x.yml?a@b",
    ] {
        assert!(WorkflowRef::parse(&format!("github-actions://{bad}")).is_err(), "{bad}");
    }
    assert!(
        holds("Deploy (uid/deploy/1)", "uid/deploy/1") && !holds("Deploy (uid/deploy/10)", "uid/deploy/1")
    );
}

#[tokio::test]
async fn a_workflow_is_started_with_its_inputs_and_its_key() {
    let (server, provider) = host().await;
    Mock::given(path(RUNS))
        .respond_with(listed(&[run(6, "uid/deploy/10", "queued", None)]))
        .up_to_n_times(2)
        .with_priority(1)
        .mount(&server)
        .await;
    Mock::given(path(RUNS))
        .respond_with(listed(&[run(7, "uid/deploy/1", "queued", None)]))
        .mount(&server)
        .await;
    let inputs = json!({"place": "::error::x", "level": "3", "planspec_key": "uid/deploy/1"});
    Mock::given(method("POST"))
        .and(path(DISPATCHES))
        .and(body_json(json!({"ref": "release", "inputs": inputs})))
        .respond_with(ResponseTemplate::new(204))
        .expect(1)
        .mount(&server)
        .await;
    let report = provider.run(attempt(None), control()).await;
    let AttemptOutcome::Blocked { reason, message, handle, poll_after } = report.outcome else {
        panic!("{report:?}")
    };
    assert_eq!(
        (reason, handle.as_deref(), poll_after),
        (NodeReason::AwaitingProvider, Some(r#"{"run":7}"#), Some(AGAIN))
    );
    assert!(message.contains("actions/runs/7"), "{message}");
}

#[tokio::test]
async fn a_workflow_that_an_earlier_start_began_is_never_started_again() {
    let (server, provider) = host().await;
    Mock::given(path(RUNS))
        .respond_with(listed(&[run(7, "uid/deploy/1", "in_progress", None)]))
        .mount(&server)
        .await;
    Mock::given(method("POST")).respond_with(ResponseTemplate::new(204)).expect(0).mount(&server).await;
    let report = provider.run(attempt(None), control()).await;
    assert!(
        matches!(report.outcome, AttemptOutcome::Blocked { handle: Some(handle), .. } if handle == r#"{"run":7}"#)
    );
}

#[tokio::test]
async fn a_run_with_our_key_that_somebody_else_started_is_not_ours() {
    let key = "uid/deploy/1";
    let forged = |field: &str, value: Value| {
        let mut run = run(5, key, "completed", Some("success"));
        run[field] = value;
        run
    };
    let others = [
        forged("head_branch", json!("attack")),
        forged("head_branch", Value::Null),
        forged("event", json!("push")),
        forged("actor", json!({ "login": "eve", "id": 2, "type": "User" })),
        forged("actor", Value::Null),
    ];
    for other in others {
        let (server, provider) = host().await;
        Mock::given(path(RUNS)).respond_with(listed(std::slice::from_ref(&other))).mount(&server).await;
        let report = provider.poll(attempt(Some(r#"{"run":null}"#)), control()).await;
        assert!(
            matches!(&report.outcome, AttemptOutcome::Blocked { handle: Some(handle), .. } if handle.contains("null")),
            "{other}: {report:?}"
        );
    }
}

#[tokio::test]
async fn a_run_that_a_hundred_newer_ones_follow_is_found() {
    let (server, provider) = host().await;
    let newer: Vec<Value> = (100..200).map(|id| run(id, "uid/other/1", "queued", None)).collect();
    let page = |number: &str, runs: &[Value]| {
        Mock::given(path(RUNS)).and(query_param("page", number)).respond_with(listed(runs))
    };
    page("1", &newer).mount(&server).await;
    page("2", &[run(7, "uid/deploy/1", "queued", None)]).mount(&server).await;
    let report = provider.poll(attempt(Some(r#"{"run":null}"#)), control()).await;
    assert!(
        matches!(&report.outcome, AttemptOutcome::Blocked { handle: Some(handle), .. } if handle == r#"{"run":7}"#),
        "{report:?}"
    );
}

#[tokio::test]
async fn a_run_is_followed_to_its_conclusion_and_gives_links() {
    let (server, provider) = host().await;
    let one = "/repos/acme/app/actions/runs/7";
    let steps = [
        run(7, "uid/deploy/1", "in_progress", None),
        run(7, "uid/deploy/1", "completed", Some("success")),
        run(7, "uid/deploy/1", "completed", Some("failure")),
    ];
    for (priority, step) in (1..).zip(steps) {
        Mock::given(path(one))
            .respond_with(ResponseTemplate::new(200).set_body_json(step))
            .up_to_n_times(1)
            .with_priority(priority)
            .mount(&server)
            .await;
    }
    let file = json!({"id": 1, "name": "site", "size_in_bytes": 12, "archive_download_url": "https://api.example/zip", "expired": false});
    Mock::given(path(format!("{one}/artifacts")))
        .respond_with(
            ResponseTemplate::new(200).set_body_json(json!({"total_count": 1, "artifacts": [file]})),
        )
        .mount(&server)
        .await;
    let look = || provider.poll(attempt(Some(r#"{"run":7}"#)), control());
    assert!(matches!(look().await.outcome, AttemptOutcome::Blocked { .. }));
    let done = look().await;
    let AttemptOutcome::Succeeded { outputs } = done.outcome else { panic!("{done:?}") };
    assert_eq!(Value::from(outputs), json!({"url": "https://github.example/acme/app/actions/runs/7"}));
    assert_eq!(
        (done.evidence.artifacts[0].name.as_str(), done.evidence.artifacts[0].url.as_deref()),
        ("site", Some("https://api.example/zip"))
    );
    let failed = look().await.outcome;
    assert!(
        matches!(&failed, AttemptOutcome::Failed { retryable: true, message, .. } if message.contains("failure")),
        "{failed:?}"
    );
}

#[tokio::test]
async fn failures_pass_or_not_and_a_run_that_is_gone_is_lost() {
    for (status, retryable, wait) in [(403, false, None), (422, false, None), (429, true, Some(3000))] {
        let (server, provider) = host().await;
        Mock::given(path(RUNS)).respond_with(listed(&[])).mount(&server).await;
        let refused = ResponseTemplate::new(status).set_body_json(json!({"message": "no"}));
        let refused = refused.insert_header("retry-after", if status == 429 { "3000" } else { "" });
        Mock::given(method("POST")).respond_with(refused).mount(&server).await;
        let report = provider.run(attempt(None), control()).await;
        let AttemptOutcome::Failed { retryable: may, retry_after, .. } = report.outcome else {
            panic!("{report:?}")
        };
        assert_eq!((may, retry_after), (retryable, wait.map(Duration::from_secs)), "{status}");
    }
    let what = || "read the run".to_owned();
    let gone = gone_or_failed(&HostError::NotFound { what: what(), needs: "actions: read" });
    assert!(matches!(gone, AttemptOutcome::Lost { .. }), "{gone:?}");
    let token = gone_or_failed(&HostError::Token { what: what() });
    assert!(matches!(token, AttemptOutcome::Failed { retryable: false, .. }), "{token:?}");
}

#[tokio::test]
async fn a_run_is_called_off_even_when_it_was_not_found_yet() {
    let (server, provider) = host().await;
    Mock::given(path(RUNS))
        .respond_with(listed(&[run(7, "uid/deploy/1", "queued", None)]))
        .mount(&server)
        .await;
    let queued = ResponseTemplate::new(200).set_body_json(run(7, "uid/deploy/1", "queued", None));
    Mock::given(path("/repos/acme/app/actions/runs/7")).respond_with(queued).mount(&server).await;
    Mock::given(method("POST"))
        .and(path("/repos/acme/app/actions/runs/7/cancel"))
        .respond_with(ResponseTemplate::new(202).set_body_json(json!({})))
        .expect(2)
        .mount(&server)
        .await;
    assert_eq!(provider.cancel_remote(attempt(Some(r#"{"run":7}"#))).await, Ok(()));
    assert_eq!(provider.cancel_remote(attempt(Some(r#"{"run":null}"#))).await, Ok(()));
}

#[tokio::test]
async fn no_other_run_answers_or_is_cancelled_whatever_number_is_recorded() {
    let ours = || run(7, "uid/deploy/1", "completed", Some("success"));
    let with = |field: &str, value: Value| {
        let mut other = ours();
        other[field] = value;
        other
    };
    for other in [
        run(7, "uid/deploy/10", "completed", Some("success")),
        with("head_branch", json!("elsewhere")),
        with("event", json!("push")),
        with("actor", json!({ "login": "mallory", "id": 2, "type": "User" })),
    ] {
        // Nothing answers a cancellation here: one would be an error.
        let (server, provider) = host().await;
        let answer = ResponseTemplate::new(200).set_body_json(&other);
        Mock::given(path("/repos/acme/app/actions/runs/7")).respond_with(answer).mount(&server).await;
        let forged = || attempt(Some(r#"{"run":7}"#));
        let outcome = provider.poll(forged(), control()).await.outcome;
        assert!(
            matches!(&outcome, AttemptOutcome::Failed { message, .. } if message == OF_SOMEBODY_ELSE),
            "{other}: {outcome:?}"
        );
        assert_eq!(provider.cancel_remote(forged()).await, Ok(()), "{other}");
    }
}

#[tokio::test]
async fn without_a_token_the_answer_says_what_is_missing() {
    let report = GitHubActions::new(ProviderContext::new(ProviderSettings::default()))
        .run(attempt(None), control())
        .await;
    assert!(
        matches!(&report.outcome, AttemptOutcome::Failed { message, .. } if message.contains("GITHUB_TOKEN")),
        "{report:?}"
    );
}

#[tokio::test]
async fn criteria_are_checked_after_the_workflow_has_succeeded() {
    let (server, _) = host().await;
    let connection = connection_to(server.uri());
    let allow_private = vec!["127.0.0.0/8".to_owned()];
    let settings = ProviderSettings { allow_private, host: Some(connection), ..ProviderSettings::default() };
    let provider = GitHubActions::new(ProviderContext::new(settings));
    let one = "/repos/acme/app/actions/runs/7";
    let done = run(7, "uid/deploy/1", "completed", Some("success"));
    Mock::given(path(one)).respond_with(ResponseTemplate::new(200).set_body_json(done)).mount(&server).await;
    let site = wiremock::MockServer::start().await;
    Mock::given(path("/site"))
        .respond_with(ResponseTemplate::new(200).set_body_string("v1"))
        .mount(&site)
        .await;
    let folder = tempfile::tempdir().unwrap();
    let look = |wanted: &str| {
        let criterion = json!({
            "type": "endpoint_responds", "name": "it is up", "url": format!("{}/site", site.uri()), "bodyMatch": wanted,
        });
        let mut attempt = attempt(Some(r#"{"run":7}"#));
        attempt.criteria = vec![serde_json::from_value(criterion).unwrap()];
        attempt.run_dir = folder.path().to_owned();
        provider.poll(attempt, control())
    };
    let good = look("v1").await;
    assert!(
        matches!(good.outcome, AttemptOutcome::Succeeded { .. }) && good.evidence.criteria[0].passed,
        "{good:?}"
    );
    let bad = look("v2").await;
    assert!(
        matches!(&bad.outcome, AttemptOutcome::Failed { reason: NodeReason::CriterionFailed, message, .. } if message.contains("it is up")),
        "{bad:?}"
    );
}
