//! External nodes of the types `pull-request` and `issue`: what somebody else opens on a Git host, and ends there.

use std::time::Duration;

use planspec::model::{NodePhase, NodeReason};
use serde_json::{Value, json};

use crate::engine_rig::{Graph, QUICK, Stage, bindings, execution, yaml};
use crate::github_host::GitHubHost;

/// An Execution `e` whose node `wait` waits for something on the host.
struct Waiting {
    stage: Stage,
    host: GitHubHost,
}

impl Waiting {
    fn new(external: &Value, fields: &Value) -> Self {
        let graph = Graph::new("e").task_with(
            "open",
            &[],
            "echo number=50 >> \"$PLANSPEC_OUTPUT\"",
            &json!({ "outputs": ["number"] }),
        );
        let mut reference = json!({ "pollInterval": "1s" });
        reference.as_object_mut().unwrap().extend(external.as_object().unwrap().clone());
        let mut wait =
            json!({ "id": "wait", "kind": "External", "dependsOn": ["open"], "externalRef": reference });
        wait.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let graph = graph.node(wait);
        let documents = [graph.plan(), bindings(&[&graph]), execution("e", "e")];
        let stage = Stage::new(QUICK, &[("work.yaml", &yaml(&documents))]);
        Self { stage, host: GitHubHost::start() }
    }

    #[track_caller]
    fn reconcile(&self) {
        let mut command = self.stage.environment.planspec_command(&self.stage.environment.repo());
        command.arg("reconcile").env("GITHUB_TOKEN", "ghs_0123456789abcdef");
        command.env("GITHUB_API_URL", self.host.url()).env("GITHUB_REPOSITORY", "acme/app");
        let done = command.output().unwrap();
        assert!(done.status.code().is_some_and(|code| code <= 1), "{done:?}");
    }

    /// The next pass after the interval of the node.
    #[track_caller]
    fn poll(&self) {
        std::thread::sleep(Duration::from_millis(1_100));
        self.reconcile();
    }

    #[track_caller]
    fn check(&self, phase: NodePhase, reason: Option<NodeReason>, said: &str) {
        let node = self.stage.node("e", "wait");
        assert_eq!((node.phase, node.extensions.reason), (phase, reason), "{}", node.message);
        assert!(node.message.contains(said), "{}", node.message);
    }

    fn outputs(&self) -> Value {
        Value::Object(self.stage.node("e", "wait").outputs)
    }
}

/// A pull request of wendy's, from this branch of this repository.
fn pull(number: u64, branch: &str, repository: &str) -> Value {
    json!({
        "number": number, "state": "open", "title": "Add `x`\u{1b}[31m <!-- @all -->", "body": null, "merged_at": null,
        "user": { "login": "wendy", "id": 7, "type": "User" },
        "head": { "ref": branch, "sha": "a".repeat(40), "repo": { "full_name": repository } },
        "base": { "ref": "main", "sha": "b".repeat(40), "repo": { "full_name": "acme/app" } },
        "merge_commit_sha": null, "html_url": format!("https://github.com/acme/app/pull/{number}"),
    })
}

fn merge(pull: &mut Value) {
    pull["state"] = json!("closed");
    pull["merged_at"] = json!("2026-01-01T00:00:00Z");
    pull["merge_commit_sha"] = json!("e".repeat(40));
}

#[test]
fn a_pull_request_of_somebody_else_is_waited_for_until_it_is_merged() {
    let external = json!({ "type": "pull-request", "number": "${{ nodes.open.outputs.number }}" });
    let waiting = Waiting::new(&external, &json!({}));
    waiting.reconcile();
    let missing = "cannot read pull request #50: not found";
    waiting.check(NodePhase::Blocked, Some(NodeReason::AwaitingEvent), missing);
    waiting.host.with(|state| state.pulls.push(pull(50, "topic", "acme/app")));
    waiting.poll();
    waiting.check(
        NodePhase::Blocked,
        Some(NodeReason::AwaitingEvent),
        "pull request #50 is not merged yet: https://",
    );
    let tip = waiting.stage.status_tip();
    waiting.host.with(|state| state.refused = vec!["/pulls/50"]);
    waiting.poll();
    let needs = "the token needs the permission `pull-requests: read`";
    waiting.check(NodePhase::Blocked, Some(NodeReason::AwaitingEvent), needs);
    waiting.host.with(|state| state.refused.clear());
    waiting.poll();
    let again = waiting.stage.status_tip();
    waiting.poll();
    assert_eq!(waiting.stage.status_tip(), again, "a poll without news makes no commit");
    assert_ne!(tip, again);
    waiting.host.with(|state| merge(&mut state.pulls[0]));
    waiting.poll();
    waiting.check(NodePhase::Succeeded, None, "");
    let expected = json!({
        "number": 50, "url": "https://github.com/acme/app/pull/50", "author": "wendy", "base": "main",
        "title": "Add `x` <!-- @all -->", "head": "a".repeat(40), "mergeCommit": "e".repeat(40),
    });
    assert_eq!(waiting.outputs(), expected, "no escape sequence of a title is kept");
    waiting
        .host
        .with(|state| assert!(state.seen.iter().all(|seen| seen.starts_with("GET ")), "{:?}", state.seen));
}

#[test]
fn a_pull_request_that_is_closed_fails_the_node_that_names_it_and_a_retry_asks_again() {
    let waiting = Waiting::new(&json!({ "type": "pull-request", "number": 50 }), &json!({}));
    waiting.host.with(|state| {
        state.pulls.push(pull(50, "topic", "acme/app"));
        state.pulls[0]["state"] = json!("closed");
    });
    waiting.reconcile();
    waiting.check(
        NodePhase::Failed,
        Some(NodeReason::Rejected),
        "pull request #50 was closed without being merged",
    );
    waiting.host.with(|state| merge(&mut state.pulls[0]));
    waiting.stage.environment.planspec(&["retry", "e", "--from", "wait", "-n", "team"]).succeeds();
    waiting.poll();
    waiting.check(NodePhase::Succeeded, None, "");
}

#[test]
fn a_branch_is_that_of_the_repository_and_never_a_stranger_s_of_the_same_name() {
    let waiting = Waiting::new(&json!({ "type": "pull-request", "head": "release/1" }), &json!({}));
    waiting.host.with(|state| {
        let mut strangers = pull(50, "release/1", "mallory/app");
        merge(&mut strangers);
        let mut closed = pull(51, "release/1", "acme/app");
        closed["state"] = json!("closed");
        state.pulls.extend([strangers, closed]);
    });
    waiting.reconcile();
    let none = "there is no open or merged pull request from `release/1`";
    waiting.check(NodePhase::Blocked, Some(NodeReason::AwaitingEvent), none);
    waiting.host.with(|state| state.pulls.push(pull(52, "release/1", "acme/app")));
    waiting.poll();
    waiting.check(NodePhase::Blocked, Some(NodeReason::AwaitingEvent), "#52 is not merged yet");
    waiting.host.with(|state| merge(&mut state.pulls[2]));
    waiting.poll();
    assert_eq!(waiting.outputs()["number"], json!(52));
}

#[test]
fn an_issue_is_waited_for_until_it_is_closed_as_completed() {
    let waiting = Waiting::new(&json!({ "type": "issue", "number": 40 }), &json!({}));
    waiting.host.with(|state| {
        state.issues.all.push(json!({
            "number": 40, "state": "open", "title": "Ask the lawyers", "body": null, "labels": [], "assignees": [],
            "user": { "login": "wendy", "type": "User" }, "closed_by": null, "closed_at": null, "state_reason": null,
            "html_url": "https://github.com/acme/app/issues/40",
        }));
    });
    waiting.reconcile();
    waiting.check(NodePhase::Blocked, Some(NodeReason::AwaitingEvent), "issue #40 is still open: https://");
    waiting.host.with(|state| state.issues.turn(40, "closed", Some("not_planned"), "wendy"));
    waiting.poll();
    waiting.check(NodePhase::Failed, Some(NodeReason::Rejected), "issue #40 was closed as not planned");
    waiting.host.with(|state| state.issues.turn(40, "closed", Some("completed"), "wendy"));
    waiting.stage.environment.planspec(&["retry", "e", "--from", "wait", "-n", "team"]).succeeds();
    waiting.poll();
    let expected = json!({
        "number": 40, "url": "https://github.com/acme/app/issues/40", "title": "Ask the lawyers", "author": "wendy",
        "closedBy": "wendy",
    });
    assert_eq!(waiting.outputs(), expected);
}

#[test]
fn a_wait_for_an_issue_ends_with_the_timeout_and_needs_a_host() {
    let waiting = Waiting::new(&json!({ "type": "issue", "number": 40 }), &json!({ "timeout": "2s" }));
    waiting.stage.reconcile(&[]);
    waiting.check(
        NodePhase::Blocked,
        Some(NodeReason::ProviderUnavailable),
        "needs a Git host: set GITHUB_TOKEN",
    );
    waiting.poll();
    waiting.check(NodePhase::Blocked, Some(NodeReason::AwaitingEvent), "cannot read issue #40: not found");
    std::thread::sleep(Duration::from_millis(2_100));
    waiting.reconcile();
    waiting.check(NodePhase::Failed, Some(NodeReason::Timeout), "");
}
