//! A decision answers one wait and counts once: jobs of old comments that run again decide nothing.

use std::time::Duration;

use serde_json::json;

use crate::github_ci::{CONFIG, GATE, WORK, World};

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
