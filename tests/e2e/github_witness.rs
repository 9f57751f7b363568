//! A fresh clone has seen no tip of the status branch: what the host remembers of its pushes stands in for that.

use std::fs;

use serde_json::{Value, json};

use crate::github_ci::{CONFIG, GATE, World};
use crate::signing::Signed;

const STATUS: &str = "refs/heads/planspec/status";

/// An Execution that ended, and a status branch that somebody moved back to where it waited; the tip that was lost.
fn rewound() -> (World, String) {
    let world = World::new(CONFIG, GATE);
    world.pass().succeeds();
    let before = world.environment.git_output(&["rev-parse", STATUS]);
    world.says("rosa", "/planspec approve look").1.succeeds();
    assert_eq!(world.phase(), "Succeeded");
    let lost = world.environment.git_output(&["rev-parse", STATUS]);
    world.environment.git(&["update-ref", STATUS, &before]).succeeds();
    (world, lost)
}

/// What a job's clone is: one that remembers nothing.
fn forget(world: &World) {
    fs::remove_dir_all(world.environment.repo().join(".git/planspec")).unwrap();
}

fn moved(kind: &str, before: &str) -> Value {
    json!({
        "id": 1, "node_id": "x", "before": before, "after": "0".repeat(40), "ref": STATUS, "activity_type": kind,
        "timestamp": "2026-01-01T00:00:00Z", "actor": { "login": "mallory", "id": 9, "type": "User" },
    })
}

#[test]
fn a_fresh_clone_refuses_a_branch_that_went_back_by_what_the_host_remembers() {
    let (world, lost) = rewound();
    let tip = world.environment.git_output(&["rev-parse", STATUS]);
    for kind in ["force_push", "branch_deletion"] {
        forget(&world);
        world.host.with(|state| state.activity = vec![moved(kind, &lost)]);
        let refused = world.pass().exits(3);
        assert!(refused.stderr.contains("would run again: team/e"), "{refused:?}");
        forget(&world);
        // Nor is a decision recorded there, after which the branch would pass for the newest.
        let (_, refused) = world.says("rosa", "/planspec approve look");
        assert!(refused.exits(3).stderr.contains("would run again: team/e"));
        assert_eq!(world.environment.git_output(&["rev-parse", STATUS]), tip);
    }
    // Somebody takes it as it is; no other clone asks again.
    world.environment.planspec(&["reconcile", "--accept-status-history"]).succeeds();
    forget(&world);
    world.pass().succeeds();
}

/// The clone that a job of the written workflow makes: without files, and without what the branch has lost.
#[test]
fn a_partial_clone_fetches_what_the_branch_lost() {
    let (world, lost) = rewound();
    world.environment.git(&["config", "uploadpack.allowFilter", "true"]).succeeds();
    world.host.with(|state| state.activity = vec![moved("force_push", &lost)]);
    let place = world.file("job");
    let url = format!("file://{}", world.environment.repo().display());
    let clone = ["clone", "--quiet", "--no-local", "--filter=blob:none", &url, place.to_str().unwrap()];
    world.environment.git(&clone).succeeds();
    // Any question about one object would fetch it.
    let has = |commit: &str| {
        let all = ["cat-file", "--batch-all-objects", "--batch-check"];
        world.environment.git_in(&place, &all).succeeds().stdout.contains(commit)
    };
    assert!(!has(&lost));
    let event = json!({ "ref": "refs/heads/main", "repository": { "default_branch": "main" } });
    let refused = world.ci_in(&place, "push", &event.to_string(), &[]).exits(3);
    assert!(refused.stderr.contains("would run again: team/e"), "{refused:?}");
    assert!(has(&lost));
}

#[test]
fn what_the_host_remembers_holds_up_nobody_where_nothing_was_lost() {
    let (world, lost) = rewound();
    // Put back, and packed by `gc`: another history with the same content.
    world.environment.git(&["update-ref", STATUS, &lost]).succeeds();
    let tree = world.environment.git_output(&["rev-parse", &format!("{STATUS}^{{tree}}")]);
    let packed = world.environment.git_output(&["commit-tree", "-m", "planspec: history", &tree]);
    world.environment.git(&["update-ref", STATUS, &packed]).succeeds();
    world.host.with(|state| {
        state.activity = vec![moved("force_push", &lost), moved("force_push", &"d".repeat(40))];
    });
    forget(&world);
    let outcome = world.pass().succeeds();
    // What cannot be had is said, by whom it was taken away.
    assert!(outcome.stderr.contains("mallory moved `planspec/status` away from dddddddd"), "{outcome:?}");
    // A clone that remembers a tip does not ask, and a host that does not tell is said to be no witness.
    let asked =
        || world.host.with(|state| state.seen.iter().filter(|seen| seen.ends_with("/activity")).count());
    let before = asked();
    world.pass().succeeds();
    assert_eq!(asked(), before);
    forget(&world);
    world.host.with(|state| state.refused.push("/activity"));
    let outcome = world.pass().succeeds();
    assert!(
        outcome.stderr.contains("does not say whether `planspec/status` was ever moved back"),
        "{outcome:?}"
    );
}

/// Whoever moves the branch back can push as often as they like, before and after that, to hide it.
#[test]
fn a_tip_that_was_lost_is_found_among_hundreds_that_the_host_remembers() {
    let (world, lost) = rewound();
    let now = world.environment.git_output(&["rev-parse", STATUS]);
    let again = world.environment.git_output(&["commit-tree", "-m", "Again", &format!("{now}^{{tree}}")]);
    let noise = || std::iter::repeat_n(moved("force_push", &again), 115);
    world.host.with(|state| {
        state.activity = noise().chain([moved("force_push", &lost)]).chain(noise()).collect();
    });
    forget(&world);
    let refused = world.pass().exits(3);
    assert!(refused.stderr.contains("would run again: team/e"), "{refused:?}");
    // Nothing was lost, and each was looked at: there is nothing to say.
    world.host.with(|state| state.activity = noise().chain(noise()).collect());
    forget(&world);
    let outcome = world.pass().succeeds();
    assert!(!outcome.stderr.contains("could not be looked at"), "{outcome:?}");
    // More than anybody needs: what was not asked for is said.
    world.host.with(|state| {
        state.activity = std::iter::repeat_n(moved("force_push", &again), 1001).collect();
    });
    forget(&world);
    let outcome = world.pass().succeeds();
    assert!(outcome.stderr.contains("some of them could not be looked at"), "{outcome:?}");
}

/// One of many tips is gone for good: the host refuses a fetch that names it, and the others are had all the same.
#[test]
fn a_tip_that_is_gone_hides_no_other_from_a_clone_that_fetches_them_together() {
    let (world, lost) = rewound();
    world.environment.git(&["config", "uploadpack.allowAnySHA1InWant", "true"]).succeeds();
    let gone = |digit: &str| moved("force_push", &digit.repeat(40));
    world.host.with(|state| {
        state.activity = vec![gone("a"), gone("b"), moved("force_push", &lost), gone("c"), gone("d")];
    });
    let place = world.file("job");
    let url = format!("file://{}", world.environment.repo().display());
    world
        .environment
        .git(&["clone", "--quiet", "--no-local", "--depth=1", &url, place.to_str().unwrap()])
        .succeeds();
    let event = json!({ "ref": "refs/heads/main", "repository": { "default_branch": "main" } });
    let refused = world.ci_in(&place, "push", &event.to_string(), &[]).exits(3);
    assert!(refused.stderr.contains("would run again: team/e"), "{refused:?}");
}

/// Where signatures are asked for, a message that anybody can write takes no history over, and neither does a person's signature.
#[test]
fn only_a_runner_takes_over_a_signed_branch_that_went_back() {
    let Some(stage) = Signed::new() else { return };
    stage.runner(&["reconcile"]).succeeds();
    let before = stage.git(&["rev-parse", STATUS]);
    stage.decides("wendy", &["approve", "look"]);
    stage.runner(&["reconcile"]).succeeds();
    let lost = stage.git(&["rev-parse", STATUS]);
    // As a runner would record it, by somebody whose key is listed: the commit changes nothing, so that it holds.
    let desired = stage.git(&["rev-parse", "main"]);
    let message = format!(
        "status history accepted by ci\n\nThe branch does not follow from {lost}.\n\n\
         Planspec-Desired-Commit: {desired}\nPlanspec-Runner: accept-status-history\n"
    );
    let tree = format!("{before}^{{tree}}");
    let arguments = ["commit-tree", "-S", "-p", &before, "-m", &message, &tree];
    let forged = stage.person("wendy", Some("git"), &arguments).succeeds().stdout.trim().to_owned();
    stage.git(&["update-ref", STATUS, &forged]);

    let key = fs::read_to_string(stage.environment.root().join("ci")).unwrap();
    let world = World::around(stage.environment);
    world.host.with(|state| state.activity = vec![moved("force_push", &lost)]);
    let event = json!({ "ref": "refs/heads/main", "repository": { "default_branch": "main" } }).to_string();
    let pass = || {
        forget(&world);
        let mut command = world.ci_command(&world.environment.repo(), "push", &event);
        world.finish(command.env("PLANSPEC_SIGNING_KEY", key.trim_end()))
    };
    let refused = pass().exits(3);
    assert!(refused.stderr.contains("the status branch `planspec/status` went back"), "{refused:?}");
    assert_eq!(world.environment.git_output(&["rev-parse", STATUS]), forged);
    // Nor does a person's key take it over by the command that does.
    let accept = ["reconcile", "--accept-status-history"];
    let stage = Signed { environment: world.environment };
    let refused = stage.person("wendy", None, &accept).exits(3);
    assert!(refused.stderr.contains("that only a runner makes"), "{refused:?}");
    stage.runner(&accept).succeeds();
    let world = World { environment: stage.environment, host: world.host };
    forget(&world);
    let mut command = world.ci_command(&world.environment.repo(), "push", &event);
    world.finish(command.env("PLANSPEC_SIGNING_KEY", key.trim_end())).succeeds();
}
