//! Changes that a reviewer requests of a delivery: said where people look, and made by the node that the Binding names.

use planspec::model::{NodePhase, NodeReason};
use serde_json::json;

use crate::engine_rig::{Graph, check_history_with_reruns, status_in};
use crate::github_deliveries::Offer;
use crate::overdue::LONG;

/// Adds a line for each attempt: its number, and what a reviewer said.
const SCRIPT: &str = r#"printf '%s: %s\n' "$PLANSPEC_ATTEMPT" "$PLANSPEC_REVIEW" >> made"#;

impl Offer {
    /// A file of what is offered now.
    fn offered(&self, file: &str) -> String {
        let head = self.pull()["head"]["ref"].as_str().unwrap().to_owned();
        self.stage.environment.git_in(&self.bare, &["show", &format!("{head}:{file}")]).succeeds().stdout
    }

    /// Passes until a node has made so many attempts and waits for people.
    fn until_attempt(&self, node: &str, attempt: u32, waits: &str) {
        self.stage.wait_within(LONG, "it runs again", || {
            self.poll();
            let (delivery, waiting) = (self.node(), self.node_of(waits));
            // A draft is brought up to date after the gate has begun to wait.
            let shown =
                delivery.extensions.proposal.is_none_or(|shown| Some(shown.base) == waiting.extensions.base);
            self.node_of(node).attempt == attempt && waiting.phase == NodePhase::Blocked && shown
        });
    }
}

#[test]
fn changes_requested_of_a_draft_are_made_on_top_of_it_and_the_gate_asks_again() {
    let gate =
        json!({ "id": "review", "kind": "Gate", "dependsOn": ["implement"], "gateRef": { "name": "ok" } });
    let config = json!({ "pollInterval": "50ms", "rework": "implement" });
    let graph = Graph::new("ship").editor("implement", &[], SCRIPT).node(gate).provided(
        "offer",
        &["review"],
        "pull-request://main",
        &config,
    );
    let mut offer = Offer::of(&graph);
    offer.host.with(|state| state.follows_branches = true);
    offer.reconcile();
    let first = offer.node_of("review").extensions.base.unwrap();
    // Somebody who may not write asks for nothing.
    offer.review("mallory", "CHANGES_REQUESTED", "Add my key");
    offer.poll();
    assert_eq!(offer.node_of("implement").attempt, 1);
    // On another machine, which has nothing but what is in Git.
    let _ = std::fs::remove_dir_all(offer.stage.outside("home/.cache"));
    offer.clone = offer.stage.clone_to(offer.bare.to_str().unwrap(), "other");
    offer.review("wendy", "CHANGES_REQUESTED", "Name it `y`,\nplease \u{1b}[31m$(id)");
    offer.until_attempt("implement", 2, "review");
    let implement = offer.node_of("implement");
    let rework = implement.extensions.rework.unwrap();
    assert_eq!((rework.count, rework.request.by.as_str()), (1, "wendy"));
    assert_eq!(implement.extensions.base.as_deref(), Some(first.as_str()), "on top of what was reviewed");
    let made = offer.offered("made");
    assert!(made.starts_with("1: \n2: Name it `y`,\nplease "), "{made:?}");
    assert!(made.ends_with("$(id)\n") && !made.contains('\u{1b}'), "{made:?}");
    // The gate asks about the new work, and the request was for the old.
    let review = offer.node_of("review");
    assert!(review.message.contains("0 of 1") && !review.message.contains("requested"), "{}", review.message);
    assert_eq!(json!(review.extensions.base), offer.pull()["head"]["sha"]);
    assert_eq!(offer.pull()["draft"], json!(true));
    offer.review("wendy", "APPROVED", "");
    offer.review_event("approved");
    offer.check(NodePhase::Blocked, Some(NodeReason::AwaitingProvider), "#50 waits to be merged: https://");
    assert_eq!(offer.host.with(|state| state.pulls.len()), 1);
    check_history_with_reruns(&offer.bare, &["implement"]);
}

#[test]
fn a_node_runs_again_as_often_as_the_binding_says_and_then_a_person_sees_to_it() {
    let config = json!({ "pollInterval": "50ms", "rework": "implement", "maxRework": 1 });
    let graph = Graph::new("ship")
        .editor("implement", &[], SCRIPT)
        .editor("document", &[], "echo words > notes")
        .provided("offer", &["implement", "document"], "pull-request://main", &config);
    let offer = Offer::of(&graph);
    offer.host.with(|state| state.follows_branches = true);
    offer.reconcile();
    offer.review("wendy", "CHANGES_REQUESTED", "Shorter");
    offer.until_attempt("implement", 2, "offer");
    offer.check(NodePhase::Blocked, Some(NodeReason::AwaitingProvider), "#50 waits to be merged: https://");
    assert_eq!(offer.offered("made"), "1: \n2: Shorter\n");
    // What was reviewed with it is in it, and did not run again.
    assert_eq!((offer.offered("notes").as_str(), offer.node_of("document").attempt), ("words\n", 1));
    offer.review("wendy", "CHANGES_REQUESTED", "Longer");
    offer.poll();
    offer.check(
        NodePhase::Blocked,
        Some(NodeReason::ChangesRequested),
        "“Longer”; `implement` ran again once, which is all that `maxRework` allows",
    );
    assert_eq!(offer.node_of("implement").attempt, 2);
    check_history_with_reruns(&offer.bare, &["implement"]);
}

#[test]
fn without_rework_the_words_are_shown_at_the_gate_until_they_are_taken_back() {
    let offer = Offer::behind_a_gate(&json!({}));
    offer.reconcile();
    offer.review("wendy", "CHANGES_REQUESTED", "Name it\n`y`");
    offer.poll();
    offer.check(NodePhase::Pending, None, "wendy requested changes of pull request #50: “Name it `y`”");
    let said = "0 of 1";
    let gate = offer.node_of("review").message;
    assert!(gate.contains(said) && gate.ends_with("; wendy requested changes: “Name it `y`”"), "{gate}");
    let commits =
        || offer.stage.environment.git_in(&offer.bare, &["rev-parse", "planspec/status"]).succeeds().stdout;
    let before = commits();
    offer.poll();
    assert_eq!(commits(), before, "what is known already makes no commit");
    offer.review("wendy", "DISMISSED", "");
    offer.poll();
    let gate = offer.settled(|| offer.node_of("review").message, |gate| !gate.contains("requested"));
    assert!(gate.contains(said) && !gate.contains("requested"), "{gate}");
}

/// What a node does about a conflict: the first time it only says that it has seen it.
const RESOLVES: &str = r#"case $PLANSPEC_ATTEMPT in
1) echo ours > made; echo ours > alone ;;
2) printf '%s\n' "$PLANSPEC_REVIEW" > said ;;
*) grep -q '^<<<<<<< ' made && grep -q '^ours$' made && grep -q '^theirs$' made && git log -1 --format=%B > said &&
   test "$(cat elsewhere)" = others && printf 'theirs\nours\n' > made ;;
esac"#;

/// Somebody else's commit on `main`.
fn pushed(offer: &Offer, files: &[(&str, &str)]) {
    let clone = offer.stage.clone_to(offer.bare.to_str().unwrap(), files[0].0);
    for (path, content) in files {
        std::fs::write(clone.join(path), content).unwrap();
    }
    let git = |arguments: &[&str]| offer.stage.environment.git_in(&clone, arguments).succeeds();
    git(&["add", "."]);
    git(&["commit", "--quiet", "-m", "Theirs"]);
    git(&["push", "--quiet", "origin", "HEAD:main"]);
}

/// What the node `implement` makes is offered, and may be made again once; with the commit that is offered first.
fn reworked_once(implement: Graph) -> (Offer, String) {
    let config = json!({ "pollInterval": "50ms", "rework": "implement", "maxRework": 1 });
    let offer = Offer::of(&implement.provided("offer", &["implement"], "pull-request://main", &config));
    offer.host.with(|state| state.follows_branches = true);
    offer.reconcile();
    let first = offer.node().extensions.base.unwrap();
    (offer, first)
}

#[test]
fn a_base_that_conflicts_is_merged_into_the_work_and_resolved_by_the_node_that_rework_names() {
    let implement = Graph::new("ship").editor("implement", &[], RESOLVES).field("retries", json!(1));
    let (offer, first) = reworked_once(implement);
    pushed(&offer, &[("made", "theirs\n"), ("elsewhere", "others\n")]);
    offer.change(&json!({ "mergeable_state": "dirty" }));
    // The second attempt leaves the markers, which fails it; the third resolves them.
    offer.stage.wait_within(LONG, "the node resolves the conflict", || {
        offer.poll();
        let implement = offer.node_of("implement");
        if implement.attempt == 2 && implement.phase == NodePhase::Pending {
            assert!(implement.message.contains("left conflict markers in `made`"), "{}", implement.message);
        }
        if implement.attempt == 3 && implement.phase == NodePhase::Succeeded {
            offer.change(&json!({ "mergeable_state": "clean" }));
        }
        offer.node().extensions.base.is_some_and(|base| base != first)
    });
    offer.change(&json!({ "mergeable_state": "clean" }));
    offer.check(NodePhase::Blocked, Some(NodeReason::AwaitingProvider), "#50 waits to be merged: https://");
    let implement = offer.node_of("implement");
    assert_eq!((implement.attempt, implement.extensions.rework.unwrap().count), (3, 1));
    assert_eq!(offer.offered("made"), "theirs\nours\n");
    assert_eq!(
        (offer.offered("alone").as_str(), offer.offered("elsewhere").as_str()),
        ("ours\n", "others\n")
    );
    let said = offer.offered("said");
    assert!(
        said.starts_with("Merge branch 'main' into the work of team/ship\n\nConflicts:\n\tmade\n"),
        "{said}"
    );
    // To Git, and so to the host, nothing conflicts any more, and what was offered before is part of it.
    let head = offer.pull()["head"]["sha"].as_str().unwrap().to_owned();
    let git = |arguments: &[&str]| offer.stage.environment.git_in(&offer.bare, arguments).succeeds();
    for before in ["main", first.as_str()] {
        git(&["merge-base", "--is-ancestor", before, &head]);
    }
    assert_eq!(offer.host.with(|state| state.pulls.len()), 1);
    // Another one is one too many.
    offer.change(&json!({ "mergeable_state": "dirty" }));
    let spent = "it conflicts with `main`; `implement` ran again once, which is all that `maxRework` allows";
    offer.check(NodePhase::Blocked, Some(NodeReason::AwaitingProvider), spent);
    assert_eq!(offer.node_of("implement").attempt, 3);
    check_history_with_reruns(&offer.bare, &["implement"]);
}

#[test]
fn a_draft_that_conflicts_is_resolved_before_its_gate_is_answered() {
    let gate =
        json!({ "id": "review", "kind": "Gate", "dependsOn": ["implement"], "gateRef": { "name": "ok" } });
    let config = json!({ "pollInterval": "50ms", "rework": "implement", "maxRework": 1 });
    let resolves =
        r#"if test "$PLANSPEC_ATTEMPT" = 1; then echo ours > made; else printf 'theirs\nours\n' > made; fi"#;
    let graph = Graph::new("ship").editor("implement", &[], resolves).node(gate).provided(
        "offer",
        &["review"],
        "pull-request://main",
        &config,
    );
    let offer = Offer::of(&graph);
    offer.host.with(|state| state.follows_branches = true);
    offer.reconcile();
    let first = offer.node_of("review").extensions.base.unwrap();
    pushed(&offer, &[("made", "theirs\n")]);
    // The host gives the state of a draft as the first reason, and says of its commits that they cannot be merged.
    offer.change(&json!({ "mergeable_state": "draft", "mergeable": false }));
    offer.stage.wait_within(LONG, "the node resolves the conflict", || {
        offer.poll();
        if offer.node_of("implement").attempt == 2 {
            offer.change(&json!({ "mergeable": true }));
        }
        offer.node_of("review").extensions.base.is_some_and(|base| base != first)
    });
    offer.change(&json!({ "mergeable": true }));
    offer.until_attempt("implement", 2, "review");
    assert_eq!(offer.offered("made"), "theirs\nours\n");
    let pull = offer.pull();
    assert_eq!(
        (&pull["draft"], &pull["head"]["sha"]),
        (&json!(true), &json!(offer.node_of("review").extensions.base))
    );
    assert_eq!(offer.host.with(|state| state.pulls.len()), 1);
    // Another one is one too many: the draft says so, and people decide.
    offer.change(&json!({ "mergeable": false }));
    offer.poll();
    let spent = "is a draft until the approval; it conflicts with `main`; `implement` ran again once";
    offer.check(NodePhase::Pending, None, spent);
    assert_eq!(offer.node_of("implement").attempt, 2);
    check_history_with_reruns(&offer.bare, &["implement"]);
}

#[test]
fn a_node_that_runs_again_and_changes_nothing_keeps_what_it_had_made() {
    let script = "test \"$PLANSPEC_ATTEMPT\" != 1 || echo words > made";
    let (offer, first) = reworked_once(Graph::new("ship").editor("implement", &[], script));
    offer.review("wendy", "CHANGES_REQUESTED", "Shorter");
    offer.until_attempt("implement", 2, "offer");
    assert_eq!(offer.node().extensions.base, Some(first));
    assert_eq!(offer.offered("made"), "words\n");
    let offered =
        status_in(&offer.bare, "ship").node_statuses.into_iter().find(|(id, _)| id.as_str() == "offer");
    assert!(offered.unwrap().1.outputs.is_empty(), "it is offered still");
}

#[test]
fn a_person_resolves_a_conflict_that_a_node_asks_about_in_a_working_tree_of_it() {
    let script = r#"case $PLANSPEC_ATTEMPT in
1) echo ours > made ;;
*) echo '{"question": "Which one?"}' > "$PLANSPEC_RESULT" ;;
esac"#;
    let (offer, _) = reworked_once(Graph::new("ship").editor("implement", &[], script));
    pushed(&offer, &[("made", "theirs\n")]);
    offer.change(&json!({ "mergeable_state": "dirty" }));
    offer.stage.wait_within(LONG, "the node asks", || {
        offer.poll();
        offer.node_of("implement").phase == NodePhase::Blocked
    });
    let hand = offer.stage.outside("hand");
    let checkout = ["checkout", "ship/implement", hand.to_str().unwrap(), "-n", "team"];
    offer.stage.environment.planspec_in(&offer.clone, &checkout).succeeds();
    let marked = std::fs::read_to_string(hand.join("made")).unwrap();
    assert!(marked.contains("<<<<<<<") && marked.contains("theirs"), "{marked}");
    std::fs::write(hand.join("made"), "both\n").unwrap();
    offer.stage.environment.git_in(&hand, &["commit", "--quiet", "--all", "-m", "Both"]).succeeds();
    let complete = ["complete", "ship/implement", "--commit", "HEAD", "-n", "team"];
    offer.stage.environment.planspec_in(&hand, &complete).succeeds();
    offer.change(&json!({ "mergeable_state": "clean" }));
    offer.stage.wait_within(LONG, "it is offered", || {
        offer.poll();
        offer.offered("made") == "both\n"
    });
}
