//! A decision answers one wait and counts once: jobs of old comments that run again decide nothing.

use std::time::Duration;

use serde_json::json;

use crate::github_ci::{CONFIG, GATE, WORK, World};
use crate::pins::{edit_record, forge_in};

/// The host gives times in whole seconds.
fn a_second_later() {
    std::thread::sleep(Duration::from_millis(1100));
}

fn once_more(world: &World, name: &str) {
    let again = WORK.rsplit("---").next().unwrap().replace("name: e,", &format!("name: {name},"));
    world.environment.commit_files(&[(&format!("{name}.yaml"), &again)], "Once more");
}

#[track_caller]
fn check_refused(world: &World, id: u64, why: &str) {
    world.runs_again(id);
    assert_eq!(world.reaction(id).as_deref(), Some("-1"));
    let answers = world.host.own_comments();
    assert!(answers.iter().any(|answer| answer.contains(why)), "{answers:?}");
}

#[test]
fn an_approval_that_is_replayed_opens_no_other_execution() {
    let world = World::new(CONFIG, GATE);
    // Too early: nothing waits yet.
    let (early, _) = world.says("rosa", "/planspec approve look");
    assert_eq!(world.reaction(early).as_deref(), Some("-1"));
    a_second_later();
    world.pass().succeeds();
    let (id, _) = world.says("rosa", "/planspec approve look");
    assert_eq!(world.reaction(id).as_deref(), Some("+1"));
    assert_eq!(world.phase(), "Succeeded");
    a_second_later();
    once_more(&world, "e2");
    world.pass().succeeds();
    let source = format!("comment {id}");
    check_refused(
        &world,
        id,
        &format!("{source} is already recorded for another execution, and counts once"),
    );
    check_refused(&world, early, "the decision is older than the wait at the gate");
    assert_eq!(world.phase_of("e2"), json!("Blocked"));
    let gate =
        world.environment.planspec(&["get", "gate/look", "-n", "team", "-o", "json"]).succeeds().json();
    let review = &gate["status"]["reviewHistory"][0];
    assert_eq!((&review["reviewer"], &review["extensions"]["source"]), (&json!("rosa"), &json!(source)));
    assert_eq!(review["extensions"]["account"]["login"], "rosa");
    assert!(review["extensions"]["account"]["id"].as_u64().unwrap() > 0, "{review}");
}

#[test]
fn an_approval_that_a_retry_made_void_is_not_brought_back() {
    let world = World::new(CONFIG, GATE);
    world.pass().succeeds();
    let (id, _) = world.says("rosa", "/planspec approve e/look");
    assert_eq!(world.phase(), "Succeeded");
    a_second_later();
    let (retry, _) = world.says("wendy", "/planspec retry e look");
    assert_eq!(world.reaction(retry).as_deref(), Some("+1"));
    assert_eq!(world.phase(), "Blocked");
    world.runs_again(id);
    assert_eq!(world.phase(), "Blocked");
    a_second_later();
    let (again, _) = world.says("rosa", "/planspec approve e/look");
    assert_eq!(world.reaction(again).as_deref(), Some("+1"));
    assert_eq!(world.phase(), "Succeeded");
    // And the retry is not repeated either.
    a_second_later();
    check_refused(&world, retry, "the decision is older than the end of what it would rerun");
    assert_eq!(world.phase(), "Succeeded");
}

#[test]
fn a_cancellation_that_is_replayed_ends_nothing_that_started_later() {
    let world = World::new(CONFIG, GATE);
    world.pass().succeeds();
    let (id, _) = world.says("wendy", "/planspec cancel e");
    assert_eq!(world.phase(), "Cancelled");
    a_second_later();
    let (retry, _) = world.says("wendy", "/planspec retry e");
    assert_eq!(world.reaction(retry).as_deref(), Some("+1"));
    assert_eq!(world.phase(), "Blocked");
    check_refused(&world, id, "the decision is older than the last start of the execution");
    assert_eq!(world.phase(), "Blocked");
}

#[test]
fn a_name_under_identities_is_nobody_s_login_until_it_is_linked() {
    let world = World::new(&CONFIG.replace("login: rosa, ", ""), GATE);
    world.pass().succeeds();
    let (id, _) = world.says("rosa", "/planspec approve look");
    assert_eq!(world.reaction(id).as_deref(), Some("-1"));
    let answers = world.host.own_comments();
    assert!(
        answers.iter().any(|text| text.contains("is not linked to the identity of that name")),
        "{answers:?}"
    );
    assert_eq!(world.phase(), "Blocked");
}

/// A record of the Execution, as it is on the status branch.
fn extensions(world: &World) -> serde_json::Value {
    let found = world.environment.planspec(&["get", "execution/e", "-n", "team", "-o", "json"]);
    found.succeeds().json()["status"]["extensions"].clone()
}

/// Jobs of comments that ended a suspension, or began one, run again later, when it is another one.
#[test]
fn a_suspension_is_neither_ended_nor_begun_by_a_job_that_runs_again() {
    let world = World::new(CONFIG, GATE);
    world.pass().succeeds();
    let (suspend, _) = world.says("wendy", "/planspec suspend e");
    assert_eq!(extensions(&world)["suspend"]["by"], "wendy");
    a_second_later();
    let (resume, _) = world.says("wendy", "/planspec resume e");
    assert_eq!(world.reaction(resume).as_deref(), Some("+1"));
    assert_eq!(extensions(&world)["resumed"]["by"], "wendy");
    check_refused(
        &world,
        suspend,
        "the decision is older than the last time that the execution was started or resumed",
    );
    assert_eq!(extensions(&world)["suspend"], json!(null));
    a_second_later();
    world.says("wendy", "/planspec suspend e");
    check_refused(&world, resume, "the decision is older than the suspension");
    assert_eq!(extensions(&world)["suspend"]["by"], "wendy");
}

/// A lease that was taken since belongs to a runner that nobody has asked to give it up.
#[test]
fn a_lease_is_not_freed_by_a_comment_from_before_it() {
    let world = World::new(CONFIG, GATE);
    world.pass().succeeds();
    let (unlock, _) = world.says("wendy", "/planspec unlock e");
    assert_eq!(world.reaction(unlock).as_deref(), Some("+1"), "there is no lease");
    a_second_later();
    // As a runner leaves it that was killed.
    let now = jiff::Timestamp::now();
    let lease = json!({
        "holder": "other-1", "acquireTime": now, "renewTime": now, "durationMillis": 600_000, "token": 99,
    });
    forge_in(&world.environment, |tree| {
        edit_record(&tree.join("team/executions/e.yaml"), |record| {
            record["status"]["extensions"]["lease"] = lease;
            record["status"]["extensions"]["lastToken"] = json!(99);
        });
    });
    check_refused(&world, unlock, "the decision is older than the lease");
    assert_eq!(extensions(&world)["lease"]["token"], 99);
    let (again, _) = world.says("wendy", "/planspec unlock e");
    assert_eq!(world.reaction(again).as_deref(), Some("+1"));
    assert_eq!(extensions(&world)["unlocked"]["by"], "wendy");
}

/// What was allowed are the deletions that were held back then.
#[test]
fn deletions_that_are_newer_than_a_comment_are_not_allowed_by_it() {
    let many: Vec<String> =
        (0..30).map(|at| GATE.replace("look,", &format!("g{at},"))).chain([GATE.to_owned()]).collect();
    let world = World::new(CONFIG, &many.join("---"));
    world.pass().succeeds();
    let (allowed, _) = world.says("wendy", "/planspec allow-mass-delete");
    assert_eq!(world.reaction(allowed).as_deref(), Some("+1"), "there is nothing to delete");
    a_second_later();
    world.environment.commit_files(&[("gate.yaml", GATE)], "Remove most of them");
    let held_back = world.pass();
    assert!(held_back.stdout.contains("removed with --allow-mass-delete"), "{held_back:?}");
    check_refused(&world, allowed, "which is newer than the comment");
    assert!(world.environment.planspec(&["get", "gate/g7", "-n", "team"]).code == 0, "it was deleted");
}
