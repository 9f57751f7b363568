//! A delivery behind a Gate: its pull request is a draft while the Gate waits, and one review answers both.

use planspec::model::{Kind, NodePhase, NodeReason, ResourceStatus};
use serde_json::json;

use crate::engine_rig::{check_history, record_in};
use crate::github_deliveries::Offer;

/// The branch of the gate, which the pull request keeps.
const BRANCH: &str = "planspec/work/team/ship/review";

impl Offer {
    /// A gate that waits, and its draft.
    fn drafted() -> Self {
        let offer = Self::behind_a_gate(&json!({}));
        offer.reconcile();
        offer.check(NodePhase::Pending, None, "pull request #50 is a draft until the approval: https://");
        assert_eq!((&offer.pull()["draft"], &offer.pull()["head"]["ref"]), (&json!(true), &json!(BRANCH)));
        offer
    }

    #[track_caller]
    fn check_gate(&self, phase: NodePhase, said: &str) {
        let gate = self
            .settled(|| self.node_of("review"), |gate| gate.phase == phase && gate.message.contains(said));
        assert_eq!(gate.phase, phase, "{}", gate.message);
        assert!(gate.message.contains(said), "{}", gate.message);
    }

    fn run(&self, arguments: &[&str]) {
        self.stage.environment.planspec_in(&self.clone, arguments).succeeds();
    }

    fn approvals(&self) -> usize {
        let record = record_in(&self.bare, Kind::Gate, "ok").unwrap();
        let ResourceStatus::Gate(gate) = record.status else { panic!("a gate") };
        gate.review_history.len()
    }
}

#[test]
fn one_review_of_the_draft_answers_the_gate_and_makes_it_ready() {
    let offer = Offer::drafted();
    let tip =
        || offer.stage.environment.git_in(&offer.bare, &["rev-parse", "planspec/status"]).succeeds().stdout;
    let before = tip();
    offer.poll();
    assert_eq!(tip(), before, "a draft that is as it was makes no commit");
    let text = offer.pull()["body"].as_str().unwrap().to_owned();
    assert!(text.contains("An approving review of exactly"), "{text}");
    // Not by somebody who may not write, and not of another commit.
    offer.review("mallory", "APPROVED", "");
    offer.review("wendy", "APPROVED", "");
    offer.host.with(|state| state.reviews[1]["commit_id"] = json!("a".repeat(40)));
    offer.review_event("approved");
    offer.check_gate(NodePhase::Blocked, "0 of 1");
    offer.review("wendy", "APPROVED", "Well done");
    offer.review_event("approved");
    offer.check_gate(NodePhase::Succeeded, "approved by wendy");
    offer.check(NodePhase::Blocked, Some(NodeReason::AwaitingProvider), "#50 waits to be merged: https://");
    let pull = offer.pull();
    assert_eq!((&pull["draft"], &pull["head"]["ref"]), (&json!(false), &json!(BRANCH)));
    let text = pull["body"].as_str().unwrap();
    let commit = offer.node().extensions.base.unwrap();
    assert!(
        text.contains("- `review`: approved by wendy on 2") && text.contains(&format!("for commit {commit}")),
        "{text}"
    );
    assert!(!text.contains("An approving review of exactly"), "{text}");
    // The same review is read again by each job, and counts once.
    offer.review_event("approved");
    assert_eq!((offer.approvals(), offer.host.with(|state| state.pulls.len())), (1, 1));
    assert_eq!(offer.host.with(|state| state.drafted.clone()), [("markPullRequestReadyForReview", false)]);
    offer.change(&json!({ "state": "closed", "merged_at": "2026-01-01T00:00:00Z", "merge_commit_sha": "e".repeat(40) }));
    offer.poll();
    offer.check(NodePhase::Succeeded, None, "");
    check_history(&offer.bare);
}

#[test]
fn other_work_makes_the_approval_void_and_the_draft_shows_it() {
    let offer = Offer::drafted();
    let first = offer.pull()["head"]["sha"].clone();
    // Approved, and changed before anybody read that.
    offer.review("wendy", "APPROVED", "");
    offer.run(&["retry", "ship", "--from", "implement", "-n", "team"]);
    offer.review_event("approved");
    let second = offer.pull()["head"]["sha"].clone();
    assert_ne!(first, second, "the branch shows the new work");
    offer.check_gate(NodePhase::Blocked, "0 of 1");
    offer.review("wendy", "APPROVED", "");
    offer.review_event("approved");
    offer.check(NodePhase::Blocked, Some(NodeReason::AwaitingProvider), "#50 waits to be merged: https://");
    assert_eq!(json!(offer.node().extensions.base), second);
    // Once more other work, when it is ready already: it is a draft again until somebody has seen that.
    offer.change(&json!({ "state": "closed" }));
    offer.poll();
    offer.change(&json!({ "state": "open" }));
    offer.run(&["retry", "ship", "--from", "implement", "-n", "team"]);
    offer.reconcile();
    offer.check(NodePhase::Pending, None, "pull request #50 is a draft until the approval");
    assert_eq!(offer.pull()["draft"], json!(true));
    assert_eq!(offer.host.with(|state| state.pulls.len()), 1);
}

#[test]
fn a_draft_is_taken_back_when_its_gate_is_rejected_or_its_execution_cancelled() {
    let offer = Offer::drafted();
    offer.run(&["reject", "ok", "-n", "team"]);
    offer.reconcile();
    offer.check(NodePhase::Skipped, Some(NodeReason::UpstreamNotSucceeded), "`review` is Failed");
    assert_eq!(offer.pull()["state"], json!("closed"));

    let offer = Offer::drafted();
    offer.run(&["cancel", "ship", "-n", "team"]);
    offer.reconcile();
    offer.check(NodePhase::Cancelled, Some(NodeReason::CancelRequested), "cancelled by");
    assert_eq!(offer.pull()["state"], json!("closed"));
}

#[test]
fn where_there_are_no_drafts_the_gate_is_answered_otherwise() {
    let offer = Offer::behind_a_gate(&json!({}));
    offer.host.with(|state| state.has_no_drafts = true);
    offer.reconcile();
    offer.check(NodePhase::Pending, None, "the pull request cannot be shown before the approval");
    offer.run(&["approve", "ok", "-n", "team"]);
    offer.reconcile();
    offer.check(NodePhase::Blocked, Some(NodeReason::AwaitingProvider), "#50 waits to be merged: https://");
    assert_eq!(offer.pull()["draft"], json!(false));
    assert!(offer.pull()["body"].as_str().unwrap().contains("approved by"), "{}", offer.pull()["body"]);
    // Other work, which cannot be made a draft again: whoever looks at the gate reads that it lies open.
    offer.change(&json!({ "state": "closed" }));
    offer.poll();
    offer.change(&json!({ "state": "open" }));
    offer.run(&["retry", "ship", "--from", "implement", "-n", "team"]);
    offer.reconcile();
    offer.check(NodePhase::Pending, None, "the pull request cannot be shown before the approval");
    offer.check(NodePhase::Pending, None, "Draft pull requests are not supported");
    let pull = offer.pull();
    let text = pull["body"].as_str().unwrap();
    assert!(text.contains("An approving review of exactly") && !text.contains("approved by"), "{text}");
    assert_eq!(offer.host.with(|state| state.pulls.len()), 1);
}

/// What reviewers see is the difference to the base: against another one, they see something else.
#[test]
fn a_review_of_a_draft_that_was_retargeted_answers_nothing() {
    let offer = Offer::drafted();
    let mut base = offer.pull()["base"].clone();
    base["ref"] = json!("develop");
    offer.change(&json!({ "base": base }));
    offer.review("wendy", "APPROVED", "");
    offer.review_event("approved");
    offer.check_gate(NodePhase::Blocked, "0 of 1");
    offer.check(NodePhase::Pending, None, "its base is `develop` instead of `main`: https://");
}

/// Whoever can push the status branch names the branch of a gate there. A pull request of this account, which says who approved it,
/// would lead people to merge theirs.
#[test]
fn no_branch_of_somebody_else_is_offered_for_what_a_gate_has_shown() {
    let offer = Offer::drafted();
    let forger = offer.stage.clone_to(offer.bare.to_str().unwrap(), "forger");
    let git = |arguments: &[&str]| offer.stage.environment.git_in(&forger, arguments).succeeds();
    git(&["push", "--quiet", "origin", "HEAD:refs/heads/evil"]);
    git(&["checkout", "--quiet", "planspec/status"]);
    let path = forger.join("team/executions/ship.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains("workBranch: planspec/work/team/ship/review"), "{text}");
    std::fs::write(&path, text.replace("planspec/work/team/ship/review", "evil")).unwrap();
    git(&["commit", "--quiet", "--all", "-m", "Forge"]);
    git(&["push", "--quiet", "origin", "planspec/status"]);
    offer.run(&["approve", "ok", "-n", "team"]);
    offer.reconcile();
    let heads: Vec<String> = offer.host.with(|state| {
        state.pulls.iter().map(|pull| pull["head"]["ref"].as_str().unwrap_or_default().to_owned()).collect()
    });
    assert!(!heads.contains(&"evil".to_owned()), "{heads:?}");
    assert!(offer.node().extensions.work_branch.is_some_and(|branch| branch.starts_with("planspec/work/")));
}
