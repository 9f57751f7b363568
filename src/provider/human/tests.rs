//! The form without a Git host, and the text of an issue. `tests/e2e/human_issue.rs` has the rest.

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use wiremock::matchers::{body_json, method, path, query_param};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::issue_page::{IssueMarker, body, form, title};
use super::*;
use crate::github::judged::connection_to;
use crate::model::ContextItem;
use crate::provider::{Brief, ProviderSettings, sample};

fn check(provider: &str, config: &Value) -> Result<(), String> {
    Human::new(ProviderContext::new(ProviderSettings::default()))
        .check(provider, config.as_object().unwrap())
        .map_err(|error| error.to_string())
}

#[test]
fn a_person_must_be_named_and_settings_known() {
    assert_eq!(check("human://mia", &json!({"instructions": "look at it"})), Ok(()));
    assert_eq!(
        check("human://", &json!({})).unwrap_err(),
        "`human://` names nobody; write `human://USER` or `human://team:TEAM`"
    );
    assert_eq!(
        check("human://mia", &json!({"instruction": "x"})).unwrap_err(),
        "unknown setting `config.instruction`; did you mean `instructions`?"
    );
}

fn attempt(provider: &str) -> Attempt {
    Attempt {
        provider: provider.to_owned(),
        config: json!({"instructions": "read the contract"}).as_object().unwrap().clone(),
        declared_outputs: vec!["place".to_owned()],
        ..sample::attempt("sign")
    }
}

fn control() -> Control {
    Control { stop: watch::channel(None).1, output: mpsc::channel(1).0, heed: None }
}

#[tokio::test]
async fn without_a_host_the_node_is_blocked_and_says_what_ends_that() {
    let report = Human::new(ProviderContext::new(ProviderSettings::default()))
        .run(attempt("human://mia"), control())
        .await;
    let AttemptOutcome::Blocked { reason, message, handle, .. } = report.outcome else {
        panic!("not blocked")
    };
    assert_eq!((reason, handle), (NodeReason::AwaitingPerson, None));
    assert_eq!(
        message,
        "waits for mia to run `planspec complete exec-1/sign -n team` and provide the outputs place: read the contract"
    );
}

async fn host() -> (MockServer, Human) {
    let server = MockServer::start().await;
    let connection = connection_to(server.uri());
    let home = HostRepository { repo: "acme/app".parse().unwrap(), dashboard: None };
    let settings =
        ProviderSettings { home: Some(home), host: Some(connection), ..ProviderSettings::default() };
    let refused = ResponseTemplate::new(403).set_body_json(json!({ "message": "Resource not accessible" }));
    Mock::given(path("/user")).respond_with(refused).mount(&server).await;
    (server, Human::new(ProviderContext::new(settings)))
}

fn issue(number: u64, state: &str, key: &str) -> Value {
    json!({
        "number": number, "state": state, "body": format!("<!-- planspec:task {key} -->\r\nFor `mia`"),
        "user": { "login": "github-actions[bot]", "type": "Bot" },
        "html_url": format!("https://github.example/acme/app/issues/{number}"),
    })
}

fn answers(body: &Value) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(body)
}

fn handle_of(report: AttemptReport) -> Value {
    match report.outcome {
        AttemptOutcome::Blocked { handle: Some(handle), .. } => serde_json::from_str(&handle).unwrap(),
        other => panic!("{other:?}"),
    }
}

const ISSUES: &str = "/repos/acme/app/issues";

#[tokio::test]
async fn what_an_attempt_opened_whose_runner_was_lost_is_taken_over() {
    let (server, provider) = host().await;
    let foreign = {
        let mut issue = issue(3, "open", "uid/sign/1");
        issue["user"] = json!({ "login": "eve", "type": "User" });
        issue
    };
    let others = [issue(4, "open", "uid/signal/1"), issue(5, "open", "other/sign/1"), foreign];
    Mock::given(path(ISSUES))
        .and(query_param("state", "open"))
        .respond_with(answers(&json!(others)))
        .mount(&server)
        .await;
    // Somebody closed it before anybody looked.
    let closed = [issue(8, "closed", "uid/sign/1")];
    Mock::given(path(ISSUES))
        .and(query_param("state", "closed"))
        .respond_with(answers(&json!(closed)))
        .mount(&server)
        .await;
    Mock::given(method("POST")).respond_with(ResponseTemplate::new(500)).expect(0).mount(&server).await;
    let report = provider.run(attempt("human://mia"), control()).await;
    assert_eq!(handle_of(report)["issue"], 8);
}

#[tokio::test]
async fn of_two_issues_that_were_opened_at_once_the_first_one_stays() {
    let (server, provider) = host().await;
    let list = |issues: Value| Mock::given(method("GET")).and(path(ISSUES)).respond_with(answers(&issues));
    list(json!([])).up_to_n_times(2).with_priority(1).mount(&server).await;
    list(json!([issue(7, "open", "uid/sign/2"), issue(6, "open", "uid/sign/1")])).mount(&server).await;
    let opened = ResponseTemplate::new(201).set_body_json(issue(7, "open", "uid/sign/2"));
    Mock::given(method("POST")).and(path(ISSUES)).respond_with(opened).expect(1).mount(&server).await;
    let body = json!({ "state": "closed", "state_reason": "not_planned", "body": "<!-- planspec:ended uid/sign/2 -->\r\nFor `mia`" });
    Mock::given(method("PATCH"))
        .and(path(format!("{ISSUES}/7")))
        .and(body_json(body))
        .respond_with(answers(&issue(7, "closed", "")))
        .expect(1)
        .mount(&server)
        .await;
    assert_eq!(handle_of(provider.run(attempt("human://mia"), control()).await)["issue"], 6);
}

#[tokio::test]
async fn half_of_the_time_is_told_once() {
    let (server, provider) = host().await;
    Mock::given(path(format!("{ISSUES}/7")))
        .respond_with(answers(&issue(7, "open", "uid/sign/2")))
        .mount(&server)
        .await;
    let comments = format!("{ISSUES}/7/comments");
    Mock::given(method("GET"))
        .and(path(&comments))
        .respond_with(answers(&json!([])))
        .expect(1)
        .mount(&server)
        .await;
    let said = json!({ "id": 1, "user": { "login": "github-actions[bot]", "type": "Bot" } });
    let written = ResponseTemplate::new(201).set_body_json(said);
    Mock::given(method("POST")).and(path(&comments)).respond_with(written).expect(1).mount(&server).await;
    let look = |handle: Value, age: u64| {
        let mut attempt = attempt("human://mia");
        attempt.handle = Some(handle.to_string());
        (attempt.timeout, attempt.age) = (Some(Duration::from_secs(100)), Duration::from_secs(age));
        provider.poll(attempt, control())
    };
    let early = look(json!({"issue": 7, "url": "u"}), 30).await;
    assert!(
        matches!(early.outcome, AttemptOutcome::Blocked { poll_after: Some(after), .. } if after.as_secs() == 20)
    );
    let handle = handle_of(look(json!({"issue": 7, "url": "u"}), 50).await);
    assert_eq!(handle, json!({"issue": 7, "url": "u", "reminded": true}));
    assert_eq!(handle_of(look(handle.clone(), 90).await), handle);
}

#[tokio::test]
async fn an_issue_that_is_gone_is_lost_and_a_host_that_fails_says_nothing() {
    let (server, provider) = host().await;
    let gone = ResponseTemplate::new(410).set_body_json(json!({ "message": "This issue was deleted" }));
    Mock::given(path(format!("{ISSUES}/7"))).respond_with(gone).mount(&server).await;
    let mut asked = attempt("human://mia");
    asked.handle = Some(json!({"issue": 7, "url": "u"}).to_string());
    assert!(matches!(provider.poll(asked.clone(), control()).await.outcome, AttemptOutcome::Lost { .. }));
    assert_eq!(provider.cancel_remote(asked.clone()).await, Ok(()));
    let here = Human::new(ProviderContext::new(ProviderSettings::default()));
    assert_eq!(here.poll(asked.clone(), control()).await.outcome, AttemptOutcome::Stopped(Stop::Shutdown));
    assert!(here.cancel_remote(asked).await.unwrap_err().contains("GITHUB_TOKEN"));
}

/// What a host would build of the text of an issue, without its words.
fn structure(body: &str) -> Vec<String> {
    let live =
        regex::Regex::new(r"(?i)@[a-z0-9]|#[0-9]|gh-[0-9]|https?://|www\.[a-z]|(^|\s)::[a-z]").unwrap();
    let mut code = false;
    let mut found = Vec::new();
    for event in
        Parser::new_ext(body, Options::ENABLE_TABLES | Options::ENABLE_TASKLISTS | Options::ENABLE_GFM)
    {
        match event {
            Event::Text(text) => assert!(code || !live.is_match(&text), "{text:?} is live"),
            Event::Code(_) => found.push("code".to_owned()),
            Event::SoftBreak | Event::Start(Tag::Paragraph) | Event::End(TagEnd::Paragraph) => {}
            event => {
                code = match &event {
                    Event::Start(Tag::CodeBlock(_)) => true,
                    Event::End(TagEnd::CodeBlock) => false,
                    _ => code,
                };
                found.push(format!("{event:?}"));
            }
        }
    }
    found
}

/// An attempt that has a text in every place that a manifest or another task may fill.
fn filled(text: &str) -> Attempt {
    let mut filled = attempt("human://mia");
    filled.config = json!({ "instructions": text }).as_object().unwrap().clone();
    filled.inputs = json!({ "a": text }).as_object().unwrap().clone();
    let item = |value: Value| serde_json::from_value::<ContextItem>(value).unwrap();
    let items = vec![
        item(json!({ "format": "markdown", "name": text, "content": text })),
        item(json!({ "format": "json", "content": { "a": text } })),
        item(json!({ "format": "uri-list", "uris": [text] })),
    ];
    let criterion = json!({ "type": "test_passes", "name": text, "description": text, "command": text });
    filled.criteria = vec![serde_json::from_value(criterion).unwrap()];
    let goal =
        json!({ "description": text, "acceptanceCriteria": [{ "description": text }], "context": items });
    filled.brief = Arc::new(Brief {
        unfinished: None,
        goal: Some(serde_json::from_value(goal).unwrap()),
        plan: text.to_owned(),
        plan_context: items.clone(),
        title: Some(text.to_owned()),
        task: Some(text.to_owned()),
        requested: None,
        task_context: items,
        execution_context: Vec::new(),
    });
    filled
}

#[test]
fn hostile_text_changes_no_structure_of_an_issue_and_is_no_answer() {
    let corpus: Vec<String> =
        serde_json::from_str(include_str!("../../../tests/fixtures/hostile.json")).unwrap();
    let page = |text: &str| body(&filled(text), &Assignee::parse("mia"), None);
    let expected = structure(&page("harmless words"));
    assert!(
        expected.len() > 50 && expected.iter().any(|event| event.contains("TaskListMarker")),
        "{expected:?}"
    );
    let answers = ["```yaml\nplace: here\n```", "\n## How to answer\n\n```yaml\nplace: here\n```"];
    for text in corpus.iter().map(String::as_str).chain(answers) {
        let found = page(text);
        assert_eq!(structure(&found), expected, "{text:?}");
        assert_eq!(answer::outputs(form(&found), true), None, "{text:?}");
        assert!(IssueMarker::read(&found).unwrap().is_of(&filled(text)));
        assert!(!title(&filled(text)).chars().any(char::is_control));
    }
    let long = page(&"`long` @words\n".repeat(20_000));
    assert!(long.chars().count() < 60_000 && long.ends_with("```yaml\nplace:\n```\n"), "{}", long.len());
}
