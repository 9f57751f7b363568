//! `pull-request://` on a Git host: one pull request for the work of a plan, whatever becomes of the runner, and done when exactly
//! that work is merged.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use planspec::model::{ExecutionPhase, NodePhase, NodeReason, NodeStatus};
use serde_json::{Value, json};

use crate::engine_rig::{Graph, QUICK, Stage, check_history, status_in};
use crate::github_host::GitHubHost;
use crate::overdue::LONG;

const BRANCH: &str = "planspec/work/team/ship/offer";

/// A lease that a runner keeps on a busy machine, too: one that loses it does the work again, with another number.
const STEADY: &str = "lease: {duration: 1m, skew: 100ms}\npublish: {burst: 1000, perMinute: 6000}\n";

/// A change that is offered as a pull request.
pub(crate) struct Offer {
    pub(crate) stage: Stage,
    pub(crate) bare: PathBuf,
    pub(crate) clone: PathBuf,
    pub(crate) host: GitHubHost,
}

impl Offer {
    fn new(target: &str) -> Self {
        Self::with(target, &json!({}))
    }

    /// The same, with more settings in the Binding.
    fn with(target: &str, settings: &Value) -> Self {
        Self::of(&Self::graph(target, settings))
    }

    fn graph(target: &str, settings: &Value) -> Graph {
        let mut config = json!({ "pollInterval": "50ms" });
        config.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        Graph::new("ship").editor("implement", &[], "echo \"$PLANSPEC_ATTEMPT\" > made").provided(
            "offer",
            &["implement"],
            target,
            &config,
        )
    }

    /// The same with fields of the node that delivers.
    fn with_field(name: &str, value: Value) -> Self {
        Self::of(&Self::graph("pull-request://main", &json!({})).field(name, value))
    }

    /// The same behind a gate at which whoever may write decides.
    pub(crate) fn behind_a_gate(settings: &Value) -> Self {
        let mut config = json!({ "pollInterval": "50ms" });
        config.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        let gate = json!({ "id": "review", "kind": "Gate", "dependsOn": ["implement"], "gateRef": { "name": "ok" } });
        let script = "echo \"$PLANSPEC_ATTEMPT\" > made";
        let graph = Graph::new("ship").editor("implement", &[], script).node(gate).provided(
            "offer",
            &["review"],
            "pull-request://main",
            &config,
        );
        let offer = Self::of(&graph);
        offer.host.with(|state| state.follows_branches = true);
        offer
    }

    pub(crate) fn of(graph: &Graph) -> Self {
        Self::configured(STEADY, graph)
    }

    fn configured(config: &str, graph: &Graph) -> Self {
        let stage = Stage::with_graphs(config, &[graph]);
        let bare = stage.bare();
        let clone = stage.clone_to(bare.to_str().unwrap(), "clone");
        let host = GitHubHost::start();
        host.with(|state| {
            state.repository = Some(bare.clone());
            state.writers = vec!["wendy".to_owned()];
        });
        Self { stage, bare, clone, host }
    }

    /// A pass; without a bound it would poll for a minute.
    pub(crate) fn command(&self, longest: &str) -> Command {
        let mut command = self.stage.environment.planspec_command(&self.clone);
        command.args(["reconcile", "--max-duration", longest]);
        command.env("GITHUB_TOKEN", "ghs_0123456789abcdef").env("GITHUB_API_URL", self.host.url());
        command.env("GITHUB_REPOSITORY", "acme/app");
        command
    }

    /// One pass, in which everything is polled.
    #[track_caller]
    pub(crate) fn reconcile(&self) {
        let done = self.command("8s").output().unwrap();
        assert!(done.status.success(), "{done:?}");
    }

    pub(crate) fn node(&self) -> NodeStatus {
        self.node_of("offer")
    }

    pub(crate) fn node_of(&self, name: &str) -> NodeStatus {
        let status = status_in(&self.bare, "ship");
        status.node_statuses.iter().find(|(id, _)| id.as_str() == name).unwrap().1.clone()
    }

    /// The job that a review of the pull request starts, as the host writes its event.
    #[track_caller]
    pub(crate) fn review_event(&self, state: &str) {
        let event = self.stage.outside("event.json");
        let head = self.pull()["head"]["ref"].clone();
        let said = json!({
            "action": "submitted", "review": { "state": state },
            "pull_request": { "number": self.pull()["number"], "head": { "ref": head } },
            "repository": { "default_branch": "main" },
        });
        std::fs::write(&event, said.to_string()).unwrap();
        let mut command = self.stage.environment.planspec_command(&self.clone);
        command.args(["ci", "--max-duration", "6s"]).env("GITHUB_EVENT_NAME", "pull_request_review");
        command.env("GITHUB_EVENT_PATH", &event).env("GITHUB_TOKEN", "ghs_0123456789abcdef");
        command.env("GITHUB_API_URL", self.host.url()).env("GITHUB_REPOSITORY", "acme/app");
        let done = command.env("GITHUB_ACTIONS", "true").output().unwrap();
        assert!(done.status.success(), "{done:?}");
    }

    pub(crate) fn pull(&self) -> Value {
        self.host.with(|state| state.pulls.last().unwrap().clone())
    }

    pub(crate) fn change(&self, change: &Value) {
        self.host.with(|state| {
            let pull = state.pulls.last_mut().unwrap();
            for (name, value) in change.as_object().unwrap() {
                pull[name] = value.clone();
            }
        });
    }

    pub(crate) fn review(&self, login: &str, state: &str, words: &str) {
        // After the wait that it answers: an older one would answer nothing.
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let commit = self.pull()["head"]["sha"].clone();
        self.host.with(|host| {
            let id = 900 + host.reviews.len();
            host.reviews.push(json!({
                "id": id, "state": state, "body": words, "commit_id": commit, "submitted_at": now,
                "user": { "login": login, "id": 7, "type": "User" },
            }));
        });
    }

    /// What is seen once it holds, or in the end; until then there are more passes.
    #[track_caller]
    pub(crate) fn settled<T>(&self, see: impl Fn() -> T, holds: impl Fn(&T) -> bool) -> T {
        let deadline = Instant::now() + LONG;
        loop {
            let seen = see();
            if holds(&seen) || Instant::now() >= deadline {
                return seen;
            }
            self.poll();
        }
    }

    /// Another pass, once the next poll is due.
    #[track_caller]
    pub(crate) fn poll(&self) {
        std::thread::sleep(Duration::from_millis(120));
        let done = self.command("3s").output().unwrap();
        assert!(done.status.success(), "{done:?}");
    }

    /// The node, as soon as it says so: a pass on a busy machine may end before it has polled.
    #[track_caller]
    pub(crate) fn check(&self, phase: NodePhase, reason: Option<NodeReason>, said: &str) {
        let node = self.settled(
            || self.node(),
            |node| (node.phase, node.extensions.reason) == (phase, reason) && node.message.contains(said),
        );
        assert_eq!((node.phase, node.extensions.reason), (phase, reason), "{}", node.message);
        assert!(node.message.contains(said), "{}", node.message);
    }
}

#[test]
fn work_is_offered_once_and_done_when_exactly_that_is_merged() {
    let offer = Offer::new("pull-request://");
    offer.reconcile();
    offer.check(
        NodePhase::Blocked,
        Some(NodeReason::AwaitingProvider),
        "pull request #50 waits to be merged: https://",
    );
    let pull = offer.pull();
    assert_eq!((&pull["base"]["ref"], &pull["head"]["ref"]), (&json!("main"), &json!(BRANCH)));
    assert_eq!(pull["head"]["sha"], json!(offer.node().extensions.base.unwrap()));
    assert_eq!(offer.node().extensions.work_branch.as_deref(), Some(BRANCH));
    let text = pull["body"].as_str().unwrap();
    assert!(text.contains("- `implement`: Do implement (1 file, +1 −0)"), "{text}");
    offer.change(&json!({ "state": "closed", "merged_at": "2026-01-01T00:00:00Z", "merge_commit_sha": "e".repeat(40) }));
    offer.poll();
    let node = offer.node();
    assert_eq!(node.phase, NodePhase::Succeeded, "{}", node.message);
    let expected =
        json!({ "number": 50, "url": "https://github.com/acme/app/pull/50", "mergeCommit": "e".repeat(40) });
    assert_eq!(Value::Object(node.outputs), expected);
    assert_eq!(status_in(&offer.bare, "ship").phase, ExecutionPhase::Succeeded);
    check_history(&offer.bare);
}

#[test]
fn a_runner_that_is_killed_while_it_opens_a_pull_request_leaves_it_to_the_next() {
    let offer = Offer::configured(QUICK, &Offer::graph("pull-request://main", &json!({})));
    offer.host.with(|state| state.slow = Some("POST /repos/acme/app/pulls"));
    let mut runner = offer.command("20s").spawn().unwrap();
    offer.stage.wait_until("it is opened", || offer.host.with(|state| !state.pulls.is_empty()));
    runner.kill().unwrap();
    runner.wait().unwrap();
    offer.host.with(|state| state.slow = None);
    offer.check(NodePhase::Blocked, Some(NodeReason::AwaitingProvider), "#50 waits to be merged");
    assert_eq!(offer.host.with(|state| state.pulls.len()), 1);
}

#[test]
fn what_people_do_to_a_pull_request_is_said_of_the_node() {
    let offer = Offer::new("pull-request://main");
    offer.reconcile();
    let head = offer.pull()["head"].clone();
    offer.review("mallory", "CHANGES_REQUESTED", "mine first");
    offer.poll();
    offer.check(NodePhase::Blocked, Some(NodeReason::AwaitingProvider), "waits to be merged");
    offer.review("wendy", "CHANGES_REQUESTED", "Please\nname it `y`");
    offer.poll();
    offer.check(
        NodePhase::Blocked,
        Some(NodeReason::ChangesRequested),
        "wendy requested changes of pull request #50: “Please name it `y`”",
    );
    offer.review("wendy", "APPROVED", "");
    offer.change(&json!({ "mergeable_state": "dirty" }));
    offer.poll();
    offer.check(NodePhase::Blocked, Some(NodeReason::AwaitingProvider), "it conflicts with `main`");
    offer.change(&json!({ "mergeable_state": "behind" }));
    offer.poll();
    let behind = "; `main` has moved on and takes only branches that are up to date";
    offer.check(NodePhase::Blocked, Some(NodeReason::AwaitingProvider), behind);
    offer.change(&json!({ "mergeable_state": "draft" }));
    offer.poll();
    offer.check(NodePhase::Blocked, Some(NodeReason::AwaitingProvider), "; somebody made it a draft");
    offer.host.with(|state| state.ruleset_checks = vec!["build"]);
    offer.change(&json!({ "mergeable_state": "blocked" }));
    offer.poll();
    offer.check(NodePhase::Blocked, Some(NodeReason::ChecksCannotStart), "close and reopen it");
    let mut moved = head.clone();
    moved["sha"] = json!("f".repeat(40));
    offer.change(&json!({ "head": moved, "mergeable_state": "clean" }));
    offer.poll();
    offer.check(NodePhase::Blocked, Some(NodeReason::WorkBranchMoved), "somebody pushed to");
    offer.change(&json!({ "state": "closed", "merged_at": "2026-01-01T00:00:00Z" }));
    offer.poll();
    offer.check(NodePhase::Failed, Some(NodeReason::DeliveredOther), "was merged with the head ffff");
}

#[test]
fn one_that_is_closed_fails_the_node_and_a_retry_offers_the_new_work_in_another() {
    let offer = Offer::new("pull-request://main");
    offer.reconcile();
    let first = offer.node().extensions.base.unwrap();
    offer.change(&json!({ "state": "closed" }));
    offer.poll();
    offer.check(NodePhase::Failed, Some(NodeReason::Rejected), "was closed without being merged");
    offer
        .stage
        .environment
        .planspec_in(&offer.clone, &["retry", "ship", "--from", "implement", "-n", "team"])
        .succeeds();
    offer.reconcile();
    offer.check(NodePhase::Blocked, Some(NodeReason::AwaitingProvider), "#51 waits to be merged");
    let second = offer.node().extensions.base.unwrap();
    assert_ne!(first, second);
    assert_eq!(offer.pull()["head"]["sha"], json!(second), "the branch was moved to the new work");
    offer.stage.environment.planspec_in(&offer.clone, &["cancel", "ship", "-n", "team"]).succeeds();
    offer.reconcile();
    assert_eq!(offer.node().phase, NodePhase::Cancelled);
    assert_eq!(offer.pull()["state"], json!("closed"));
}

/// However the host merges, what counts is the head that was merged, and into which branch. Whoever may write can give a pull
/// request another base, and merge it there: one of their own, which nobody protects.
#[test]
fn work_that_is_merged_into_another_branch_is_no_delivery() {
    check_retargeted("pull-request://main");
}

#[test]
fn work_for_the_default_branch_that_is_merged_into_another_one_is_no_delivery() {
    check_retargeted("pull-request://");
}

fn check_retargeted(target: &str) {
    let offer = Offer::new(target);
    offer.reconcile();
    let mut base = offer.pull()["base"].clone();
    base["ref"] = json!("develop");
    offer.change(&json!({ "base": base }));
    offer.poll();
    offer.check(
        NodePhase::Blocked,
        Some(NodeReason::AwaitingProvider),
        "#50 waits to be merged; its base is `develop` instead of `main`: https://",
    );
    offer.change(&json!({ "state": "closed", "merged_at": "2026-01-01T00:00:00Z" }));
    offer.poll();
    offer.check(
        NodePhase::Failed,
        Some(NodeReason::DeliveredOther),
        "was merged into `develop` instead of `main`",
    );
}

#[test]
fn a_pull_request_that_is_reopened_is_taken_up_again_by_a_retry() {
    let offer = Offer::new("pull-request://main");
    offer.reconcile();
    offer.change(&json!({ "state": "closed" }));
    offer.poll();
    offer.check(NodePhase::Failed, Some(NodeReason::Rejected), "was closed without being merged");
    offer.change(&json!({ "state": "open" }));
    let retry = ["retry", "ship", "--from", "offer", "-n", "team"];
    offer.stage.environment.planspec_in(&offer.clone, &retry).succeeds();
    offer.reconcile();
    offer.check(NodePhase::Blocked, Some(NodeReason::AwaitingProvider), "#50 waits to be merged: https://");
    assert_eq!(offer.host.with(|state| state.pulls.len()), 1);
}

#[test]
fn the_host_merges_by_itself_where_the_binding_asks_and_the_repository_allows_it() {
    let offer = Offer::with("pull-request://main", &json!({ "autoMerge": "squash" }));
    offer.reconcile();
    let off = "#50 waits to be merged; auto-merge is not enabled, so somebody has to merge it: https://";
    offer.check(NodePhase::Blocked, Some(NodeReason::AwaitingProvider), off);
    assert_eq!(offer.pull()["auto_merge"], Value::Null);

    let offer = Offer::with("pull-request://main", &json!({ "autoMerge": "squash" }));
    offer.host.with(|state| state.allows_auto_merge = true);
    offer.reconcile();
    offer.check(NodePhase::Blocked, Some(NodeReason::AwaitingProvider), "#50 waits to be merged: https://");
    assert_eq!(offer.pull()["auto_merge"]["merge_method"], json!("squash"));
    // A person turns it off, and it stays off.
    offer.change(&json!({ "auto_merge": null }));
    offer.poll();
    offer.check(NodePhase::Blocked, Some(NodeReason::AwaitingProvider), off);
    assert_eq!(offer.pull()["auto_merge"], Value::Null);
    let asked = |seen: &&String| *seen == "POST /graphql";
    assert_eq!(offer.host.with(|state| state.seen.iter().filter(asked).count()), 1);
}

/// A review of a delivery starts a pass at once, and the pass polls at once, however recently the work was offered.
#[test]
fn a_review_of_a_delivery_starts_a_pass_that_shows_it() {
    let offer = Offer::with("pull-request://main", &json!({ "pollInterval": "1h" }));
    offer.reconcile();
    offer.review("wendy", "CHANGES_REQUESTED", "Name it `y`");
    offer.review_event("changes_requested");
    offer.check(NodePhase::Blocked, Some(NodeReason::ChangesRequested), "wendy requested changes");
}

#[test]
fn a_delivery_that_takes_too_long_fails_and_is_taken_back() {
    let offer = Offer::with_field("timeout", json!("3s"));
    offer.reconcile();
    offer.stage.wait_within(Duration::from_secs(60), "its time is over", || {
        offer.reconcile();
        offer.node().phase.is_terminal()
    });
    offer.check(NodePhase::Failed, Some(NodeReason::Timeout), "took longer than 3s");
    assert_eq!(offer.pull()["state"], json!("closed"));
}

#[test]
fn a_runner_that_is_asked_to_leave_while_it_opens_a_pull_request_leaves_it_to_the_next() {
    let offer = Offer::new("pull-request://main");
    offer.host.with(|state| state.slow = Some("POST /repos/acme/app/pulls"));
    let mut runner = offer.command("60s").spawn().unwrap();
    offer.stage.wait_until("it is opened", || offer.host.with(|state| !state.pulls.is_empty()));
    let pid = rustix::process::Pid::from_child(&runner);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    runner.wait().unwrap();
    // The lease was given back, so that the next runner waits for nothing.
    assert!(status_in(&offer.bare, "ship").extensions.lease.is_none());
    offer.host.with(|state| state.slow = None);
    offer.reconcile();
    offer.check(NodePhase::Blocked, Some(NodeReason::AwaitingProvider), "#50 waits to be merged");
    assert_eq!(offer.host.with(|state| state.pulls.len()), 1);
}

/// What the host makes of the work when it squashes or rebases is other commits, which do not hold its head.
#[test]
fn work_that_is_merged_by_squash_or_by_rebase_is_delivered() {
    for method in ["squash", "rebase"] {
        let offer = Offer::new("pull-request://main");
        offer.reconcile();
        let git = |arguments: &[&str]| {
            offer.stage.environment.git_in(&offer.bare, arguments).succeeds().stdout.trim().to_owned()
        };
        let (head, main) = (offer.node().extensions.base.unwrap(), git(&["rev-parse", "main"]));
        // Somebody else was merged before it.
        let tree = git(&["rev-parse", "main^{tree}"]);
        let before = git(&["commit-tree", "-p", &main, "-m", "Meanwhile", &tree]);
        let tree = git(&["rev-parse", &format!("{head}^{{tree}}")]);
        let merged = git(&["commit-tree", "-p", &before, "-m", method, &tree]);
        git(&["update-ref", "refs/heads/main", &merged]);
        offer.change(
            &json!({ "state": "closed", "merged_at": "2026-01-01T00:00:00Z", "merge_commit_sha": merged }),
        );
        offer.poll();
        offer.check(NodePhase::Succeeded, None, "");
        assert_eq!(offer.node().outputs["mergeCommit"], json!(merged), "{method}");
        let status = status_in(&offer.bare, "ship");
        assert_eq!(status.phase, ExecutionPhase::Succeeded, "{method}");
        check_history(&offer.bare);
    }
}
