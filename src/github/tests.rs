//! The client against a host that misbehaves in every way that it documents.

use std::time::Duration;

use serde_json::json;
use wiremock::matchers::{body_partial_json, header, method, path, query_param};
use wiremock::{Mock, Request, ResponseTemplate};

use super::judged::{Judged, judge};
use super::*;
use crate::host::{
    Comment, CommentUpdate, GitHost, HostConnection, HostError, IssueChange, NewIssue, NewPullRequest,
    PullRequest, PullRequestChange, Reaction, RepoName, RepoPermission, ReviewVerdict, TokenIdentity,
};

const TOKEN: &str = "ghs_0123456789abcdef";

async fn host() -> (Judged, GitHub, RepoName) {
    let server = Judged::start().await;
    let github = GitHub::new(&Access { api: server.uri(), token: Some(TOKEN.to_owned()) }).unwrap();
    (server, github.patient(Duration::from_secs(5)), "acme/app".parse().unwrap())
}

fn comment(id: u64, body: &str) -> serde_json::Value {
    json!({
        "id": id, "body": body, "user": { "login": "github-actions[bot]", "type": "Bot" },
        "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z",
        "issue_url": "https://api.github.com/repos/acme/app/issues/7",
    })
}

fn answer(status: u16, message: &str) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_json(json!({ "message": message }))
}

#[tokio::test]
async fn a_comment_is_kept_in_place_and_left_alone_when_nothing_changed() {
    let (server, github, repo) = host().await;
    let list = || Mock::given(method("GET")).and(path("/repos/acme/app/issues/7/comments"));
    let theirs =
        json!({ "id": 1, "body": "<!-- mark --> forged", "user": { "login": "eve", "type": "User" } });
    list()
        .respond_with(
            ResponseTemplate::new(200).set_body_json(json!([theirs, comment(2, "<!-- mark -->\r\nold")])),
        )
        .mount(&server)
        .await;
    Mock::given(method("PATCH"))
        .and(path("/repos/acme/app/issues/comments/2"))
        .and(body_partial_json(json!({ "body": "<!-- mark -->\nnew" })))
        .respond_with(ResponseTemplate::new(200).set_body_json(comment(2, "")))
        .expect(1)
        .mount(&server)
        .await;
    let ours = |comment: &Comment| comment.user.as_ref().is_some_and(|user| user.is_bot);
    let github: &dyn GitHost = &github;
    let same = github.keep_comment(&repo, 7, ("<!-- mark -->", None), "<!-- mark -->\nold\n", ours).await;
    assert_eq!(same, Ok(CommentUpdate::Unchanged(2)));
    let changed = github.keep_comment(&repo, 7, ("<!-- mark -->", None), "<!-- mark -->\nnew", ours).await;
    assert_eq!(changed, Ok(CommentUpdate::Updated(2)));
}

#[tokio::test]
async fn a_comment_that_was_written_before_the_answer_got_lost_is_not_written_again() {
    let (server, github, repo) = host().await;
    let list = || Mock::given(method("GET")).and(path("/repos/acme/app/issues/7/comments"));
    list()
        .respond_with(ResponseTemplate::new(200).set_body_json(json!([])))
        .up_to_n_times(1)
        .mount(&server)
        .await;
    list()
        .respond_with(ResponseTemplate::new(200).set_body_json(json!([comment(3, "<!-- mark --> x")])))
        .mount(&server)
        .await;
    Mock::given(method("POST")).respond_with(answer(502, "Bad Gateway")).expect(1).mount(&server).await;
    let github: &dyn GitHost = &github;
    let written = github.keep_comment(&repo, 7, ("<!-- mark -->", None), "<!-- mark --> x", |_| true).await;
    assert_eq!(written, Ok(CommentUpdate::Created(3)));
}

#[tokio::test]
async fn lists_are_read_to_their_last_page() {
    let (server, github, repo) = host().await;
    let page = |number: &str, entries: Vec<serde_json::Value>| {
        Mock::given(method("GET"))
            .and(query_param("page", number.to_owned()))
            .respond_with(ResponseTemplate::new(200).set_body_json(entries))
    };
    page("1", (0..100).map(|id| comment(id, "")).collect()).mount(&server).await;
    page("2", vec![comment(100, "")]).mount(&server).await;
    assert_eq!(github.comments(&repo, 7).await.unwrap().len(), 101);
}

#[tokio::test]
async fn a_list_that_never_ends_is_an_error_and_not_its_oldest_part() {
    let (server, github, repo) = host().await;
    let full: Vec<_> = (0..100).map(|id| comment(id, "")).collect();
    let page = ResponseTemplate::new(200).set_body_json(full);
    Mock::given(method("GET")).respond_with(page).expect(300).mount(&server).await;
    let error = github.comments(&repo, 7).await.unwrap_err();
    assert_eq!(error.to_string(), "there are more than 30000 entries, to read the comments of #7");
}

#[tokio::test]
async fn a_run_is_cancelled_again_where_the_answer_got_lost() {
    let (server, github, repo) = host().await;
    Mock::given(method("POST"))
        .respond_with(answer(502, "Bad Gateway"))
        .up_to_n_times(1)
        .mount(&server)
        .await;
    Mock::given(method("POST"))
        .and(path("/repos/acme/app/actions/runs/5/cancel"))
        .respond_with(ResponseTemplate::new(202).set_body_json(json!({})))
        .expect(1)
        .mount(&server)
        .await;
    assert_eq!(github.cancel_run(&repo, 5).await, Ok(()));
}

#[tokio::test]
async fn a_pause_beyond_all_reason_is_an_answer_and_no_overflow() {
    let (server, github, repo) = host().await;
    let limited = answer(429, "slow down").insert_header("retry-after", u64::MAX.to_string().as_str());
    Mock::given(method("GET")).respond_with(limited).expect(1).mount(&server).await;
    let error = github.comments(&repo, 7).await.unwrap_err();
    assert!(matches!(&error, HostError::RateLimited { wait, .. } if wait.as_secs() == 7200), "{error}");
}

#[tokio::test]
async fn a_limit_is_waited_for_as_long_as_the_host_says() {
    let (server, github, repo) = host().await;
    let limited = answer(403, "You have exceeded a secondary rate limit").insert_header("retry-after", "1");
    Mock::given(method("POST")).respond_with(limited).up_to_n_times(1).mount(&server).await;
    Mock::given(method("POST"))
        .and(header("authorization", format!("Bearer {TOKEN}")))
        .respond_with(ResponseTemplate::new(201).set_body_json(comment(9, "hello")))
        .mount(&server)
        .await;
    let begun = std::time::Instant::now();
    assert_eq!(github.add_comment(&repo, 7, "hello").await.unwrap().id, 9);
    assert!(begun.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn a_limit_that_outlasts_the_run_is_an_answer_and_not_a_wait() {
    let (server, github, repo) = host().await;
    let limited = answer(403, "API rate limit exceeded")
        .insert_header("x-ratelimit-remaining", "0")
        .insert_header("x-ratelimit-reset", "1577836800")
        .insert_header("date", "Tue, 31 Dec 2019 23:30:00 GMT");
    Mock::given(method("GET")).respond_with(limited).expect(1).mount(&server).await;
    let error = github.comments(&repo, 7).await.unwrap_err();
    assert!(matches!(&error, HostError::RateLimited { wait, .. } if wait.as_secs() == 1801), "{error}");
}

#[tokio::test]
async fn a_host_that_fails_is_asked_again_and_one_that_is_gone_is_told() {
    let (server, github, repo) = host().await;
    Mock::given(method("GET")).respond_with(answer(502, "Bad Gateway")).up_to_n_times(2).mount(&server).await;
    Mock::given(method("GET"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!([])))
        .mount(&server)
        .await;
    assert_eq!(github.comments(&repo, 7).await, Ok(vec![]));
    let nobody = Access { api: "http://127.0.0.1:1".to_owned(), token: Some(TOKEN.to_owned()) };
    let github = GitHub::new(&nobody).unwrap().patient(Duration::from_millis(100));
    assert!(matches!(github.comments(&repo, 7).await, Err(HostError::Down { .. })));
}

/// The comments of a job and its tasks go through clients of their own, and the host counts them together.
#[tokio::test]
async fn all_clients_of_a_host_keep_one_pace() {
    let (server, github, repo) = host().await;
    Mock::given(method("POST"))
        .respond_with(ResponseTemplate::new(201).set_body_json(comment(9, "x")))
        .mount(&server)
        .await;
    for _ in 0..40 {
        github.add_comment(&repo, 7, "x").await.unwrap();
    }
    let access = Access { api: format!("{}/", server.uri()), token: Some(TOKEN.to_owned()) };
    let other = GitHub::new(&access).unwrap().patient(Duration::from_secs(5));
    for _ in 0..35 {
        other.add_comment(&repo, 7, "x").await.unwrap();
    }
    let error = other.add_comment(&repo, 7, "x").await.unwrap_err();
    assert!(matches!(error, HostError::RateLimited { .. }), "{error}");
}

#[tokio::test]
async fn all_tasks_together_create_no_more_than_the_host_allows() {
    let server = wiremock::MockServer::start().await;
    let issue = json!({ "number": 1, "state": "open", "user": null });
    let opened = ResponseTemplate::new(201).set_body_json(issue);
    Mock::given(wiremock::matchers::any()).respond_with(opened).expect(75).mount(&server).await;
    let connection = judged::connection_to(server.uri());
    let repo = "acme/app".parse().unwrap();
    let mut refused = 0;
    for _ in 0..80 {
        let client = connection.open().unwrap().within(Duration::from_secs(20));
        match client.open_issue(&repo, &NewIssue::default()).await {
            Ok(_) => {}
            Err(HostError::RateLimited { wait, .. }) => {
                refused += 1;
                // What is refused takes no place from those who come later.
                assert!(wait <= Duration::from_secs(60), "{wait:?}");
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(refused, 5);
}

/// An error of opening it is kept: it stays one for as long as the process runs.
#[tokio::test]
async fn a_host_is_opened_once() {
    let opened = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = std::sync::Arc::clone(&opened);
    let connection = HostConnection::new(move || {
        count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Err(HostError::NoToken(client::TOKEN))
    });
    for _ in 0..2 {
        assert!(matches!(connection.clone().open(), Err(HostError::NoToken(_))));
    }
    assert_eq!(opened.load(std::sync::atomic::Ordering::SeqCst), 1);
}

#[tokio::test]
async fn what_was_just_created_may_be_missing_for_a_moment() {
    let (server, github, repo) = host().await;
    Mock::given(method("PATCH")).respond_with(answer(404, "Not Found")).up_to_n_times(2).mount(&server).await;
    Mock::given(method("PATCH"))
        .respond_with(ResponseTemplate::new(200).set_body_json(comment(4, "x")))
        .mount(&server)
        .await;
    assert_eq!(github.edit_comment(&repo, 4, "x").await.unwrap().id, 4);
}

#[tokio::test]
async fn the_token_is_in_no_message_and_in_no_debug_output() {
    let (server, github, repo) = host().await;
    let echo = format!("no permission with {TOKEN}");
    Mock::given(method("POST")).respond_with(answer(403, &echo)).mount(&server).await;
    Mock::given(method("GET")).respond_with(answer(422, &echo)).mount(&server).await;
    let refused = github.add_comment(&repo, 7, "hello").await.unwrap_err();
    assert!(refused.to_string().contains("pull-requests: write"), "{refused}");
    let invalid = github.comments(&repo, 7).await.unwrap_err();
    let debug = format!("{github:?} {:?}", Access { api: String::new(), token: Some(TOKEN.to_owned()) });
    for text in [refused.to_string(), format!("{refused:?}"), invalid.to_string(), debug] {
        assert!(!text.contains(TOKEN), "{text}");
    }
}

#[tokio::test]
async fn a_token_that_cannot_be_sent_is_refused_before_anything_is() {
    for token in [None, Some(""), Some("two\nlines"), Some("with space")] {
        let access = Access { api: "https://api.github.com".to_owned(), token: token.map(str::to_owned) };
        assert_eq!(GitHub::new(&access).err(), Some(HostError::NoToken(client::TOKEN)), "{token:?}");
    }
    for api in ["", "api.github.com", "file:///etc", "https://user@host"] {
        let access = Access { api: api.to_owned(), token: Some(TOKEN.to_owned()) };
        assert!(matches!(GitHub::new(&access), Err(HostError::Address(_))), "{api}");
    }
}

#[tokio::test]
async fn permissions_and_teams_are_read_in_the_host_s_own_words() {
    let (server, github, repo) = host().await;
    let permission = |login: &str, word: &str| {
        Mock::given(method("GET"))
            .and(path(format!("/repos/acme/app/collaborators/{login}/permission")))
            .respond_with(ResponseTemplate::new(200).set_body_json(json!({ "permission": word })))
    };
    permission("wendy", "write").mount(&server).await;
    permission("rob", "read").mount(&server).await;
    Mock::given(path("/orgs/acme/teams/security/memberships/wendy"))
        .respond_with(
            ResponseTemplate::new(200).set_body_json(json!({ "state": "active", "role": "member" })),
        )
        .mount(&server)
        .await;
    assert_eq!(github.permission(&repo, "wendy").await, Ok(RepoPermission::Write));
    assert_eq!(github.permission(&repo, "rob").await, Ok(RepoPermission::Read));
    assert_eq!(github.permission(&repo, "eve").await, Ok(RepoPermission::None));
    assert_eq!(github.is_member("acme", "security", "wendy").await, Ok(true));
    assert_eq!(github.is_member("acme", "security", "rob").await, Ok(false));
}

/// Everything that is read is read from the answers that the host's own description shows.
#[tokio::test]
async fn the_answers_that_the_host_itself_shows_are_understood() {
    let (server, github, repo) = host().await;
    let shown: serde_json::Value =
        serde_json::from_str(include_str!("../../tests/rig/openapi/examples.json")).unwrap();
    let answer = move |request: &Request| {
        let name = judge::name(request.method.as_str(), request.url.path()).unwrap();
        let shown = &shown["answers"][name];
        let status = shown["status"].as_u64().map_or(404, |status| u16::try_from(status).unwrap());
        ResponseTemplate::new(status).set_body_json(&shown["body"])
    };
    Mock::given(wiremock::matchers::any()).respond_with(answer).mount(&server).await;

    assert_eq!(github.myself().await, Ok(TokenIdentity::Login("octocat".to_owned())));
    assert_eq!(github.permission(&repo, "octocat").await, Ok(RepoPermission::Admin));
    assert_eq!(github.is_member("acme", "security", "octocat").await, Ok(true));
    let comment = github.comment(&repo, 1).await.unwrap();
    assert_eq!((comment.id, comment.issue, comment.is_edited()), (1, Some(1347), false));
    assert_eq!(comment.user.unwrap().login, "octocat");
    assert_eq!(github.comments(&repo, 1347).await.unwrap().len(), 1);
    assert_eq!(github.add_comment(&repo, 1347, "x").await.unwrap().id, 1);
    assert_eq!(github.edit_comment(&repo, 1, "x").await.unwrap().body.as_deref(), Some("Me too"));
    github.react(&repo, 1, Reaction::Yes).await.unwrap();
    let pull = github.pull(&repo, 1347).await.unwrap();
    assert_eq!((pull.number, pull.is_open, pull.is_from_fork()), (1347, true, false));
    assert_eq!((pull.head.branch.as_str(), pull.base.branch.as_str()), ("new-topic", "master"));
    assert_eq!(github.pulls_of(&repo, &"a".repeat(40)).await.unwrap()[0].number, 1347);
    assert_eq!(pull.merged_by.map(|account| account.login).as_deref(), Some("octocat"));
    let commit = github.host_commit(&repo, &"a".repeat(40)).await.unwrap();
    assert_eq!((commit.subject.as_str(), commit.contributors.len()), ("Fix all the bugs", 2));
    assert_eq!(github.pull_commits(&repo, 1347).await.unwrap()[0].subject, "Fix all the bugs");
    let opened = github.open_pull(&repo, &NewPullRequest::default()).await.unwrap();
    assert_eq!((opened.number, opened.obstacle), (1347, None));
    let change = PullRequestChange::default();
    assert_eq!(github.change_pull(&repo, 1347, &change).await.unwrap().title, "Amazing new feature");
    assert_eq!(github.required_checks(&repo, "master").await, Ok(Vec::new()));
    assert_eq!((opened.handle.as_str(), !opened.auto_merge), ("MDExOlB1bGxSZXF1ZXN0MQ==", true));
    assert_eq!(github.checks_of(&repo, &"a".repeat(40)).await, Ok(1));
    let review = github.reviews(&repo, 12).await.unwrap().remove(0);
    assert_eq!((review.verdict, review.user.unwrap().login.as_str()), (ReviewVerdict::Approved, "octocat"));
    assert_eq!(review.commit.as_deref(), Some("ecdd80bb57125d7ba9641ffaa4d7d2c19d3f3091"));
    let issue = github.issue(&repo, 1347).await.unwrap();
    assert_eq!((issue.number, issue.is_open), (1347, true));
    assert_eq!(github.open_issue(&repo, &NewIssue::default()).await.unwrap().number, 1347);
    assert_eq!(github.change_issue(&repo, 1347, &IssueChange::default()).await.unwrap().number, 1347);
    let inputs = serde_json::Map::new();
    github.dispatch(&repo, "deploy.yml", "main", &inputs).await.unwrap();
    let runs = github.dispatched_runs(&repo, "deploy.yml", "main", |_| true).await.unwrap();
    assert_eq!((runs[0].id, runs[0].status.as_deref()), (30_433_642, Some("queued")));
    let run = github.run(&repo, 30_433_642).await.unwrap();
    assert_eq!((run.event.as_str(), run.head_branch.as_deref()), ("push", Some("main")));
    github.cancel_run(&repo, 1).await.unwrap();
    let artifact = github.artifacts(&repo, 1).await.unwrap().remove(0);
    assert_eq!((artifact.name.as_str(), artifact.size_in_bytes), ("Rails", 556));
}

#[tokio::test]
async fn the_other_api_of_an_enterprise_server_is_beside_the_first_one() {
    let server = wiremock::MockServer::start().await;
    Mock::given(method("POST"))
        .and(path("/api/graphql"))
        .and(header("authorization", format!("Bearer {TOKEN}")))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({ "data": {} })))
        .expect(1)
        .mount(&server)
        .await;
    let access = Access { api: format!("{}/api/v3", server.uri()), token: Some(TOKEN.to_owned()) };
    let side = json!({ "ref": "main", "sha": "c", "repo": null });
    let pull = json!({ "number": 5, "user": null, "head": side, "base": side, "node_id": "PR_5" });
    let pull: PullRequest = serde_json::from_value(pull).unwrap();
    assert_eq!(GitHub::new(&access).unwrap().mark_ready(&pull).await, Ok(()));
}
