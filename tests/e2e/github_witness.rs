//! A fresh clone has seen no tip of the status branch: what the host remembers of its pushes stands in for that.

use std::fs;

use serde_json::{Value, json};

use crate::github_ci::{CONFIG, GATE, World};

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
