//! Commands in comments beyond approvals: what each of them records, and that the pass after it goes on from there.

use std::process::Stdio;

use serde_json::{Value, json};

use crate::github_ci::{CONFIG, GATE, WORK, World};
use crate::overdue::{LONG, wait_within};

fn status(world: &World) -> Value {
    let found = world.environment.planspec(&["get", "execution/e", "-n", "team", "-o", "json"]);
    found.succeeds().json()["status"].clone()
}

#[test]
fn a_lease_that_a_killed_job_left_is_released_by_a_comment_and_the_work_goes_on() {
    let world = World::new(CONFIG, GATE);
    let begun = world.file("begun");
    // The first time it is still at work when its job is killed.
    let script = format!("test -e {0} || {{ touch {0}; sleep 30; }}", begun.display());
    let slow = WORK.replace("command: 'true'", &format!("command: sh, args: ['-c', '{script}']"));
    world.environment.commit_files(&[("work.yaml", &slow)], "Take long");
    let mut runner = world.environment.planspec_command(&world.environment.repo());
    let runner = runner.arg("reconcile").stdout(Stdio::null()).stderr(Stdio::null()).stdin(Stdio::null());
    let mut runner = runner.spawn().unwrap();
    wait_within(LONG, "the work begins", || begun.exists());
    runner.kill().unwrap();
    runner.wait().unwrap();
    assert_ne!(status(&world)["extensions"]["lease"], Value::Null);
    let (id, outcome) = world.says("eve", "/planspec unlock e");
    assert_eq!(world.reaction(id).as_deref(), Some("-1"), "{outcome:?}");
    let (id, outcome) = world.says("wendy", "/planspec unlock e the job was killed");
    assert_eq!(world.reaction(id).as_deref(), Some("+1"), "{outcome:?}");
    let status = status(&world);
    assert_eq!((&status["phase"], &status["extensions"]["lease"]), (&json!("Blocked"), &Value::Null));
    assert_eq!(status["nodeStatuses"]["build"]["phase"], "Succeeded", "{status}");
}

#[test]
fn work_that_a_person_could_not_do_fails_by_a_comment_with_its_words() {
    let world = World::new(CONFIG, GATE);
    let own = WORK
        .replace("{id: build, kind: Task}", "{id: ask, kind: Task}")
        .replace("dependsOn: [build]", "dependsOn: [ask]")
        .replace("{planRef: {name: p}}, target", "{planRef: {name: p}, nodeId: ship}, target");
    world.environment.commit_files(&[("work.yaml", &own)], "Ask somebody");
    world.pass().succeeds();
    let (id, outcome) = world.says("eve", "/planspec fail ask");
    assert_eq!(world.reaction(id).as_deref(), Some("-1"), "{outcome:?}");
    let (id, outcome) = world.says("wendy", "/PLANSPEC fail `team/e/ask` the ladder is too short");
    assert_eq!(world.reaction(id).as_deref(), Some("+1"), "{outcome:?}");
    let status = status(&world);
    let node = &status["nodeStatuses"]["ask"];
    assert_eq!(node["phase"], "Failed", "{status}");
    assert!(node["message"].as_str().unwrap().contains("the ladder is too short"), "{status}");
}

#[test]
fn what_is_suspended_by_a_comment_starts_nothing_until_another_one_resumes_it() {
    let world = World::new(CONFIG, GATE);
    world.pass().succeeds();
    for verb in ["suspend", "resume"] {
        let (id, outcome) = world.says("eve", &format!("/planspec {verb} e"));
        assert_eq!(world.reaction(id).as_deref(), Some("-1"), "{outcome:?}");
    }
    let (id, outcome) = world.says("wendy", "/planspec Suspend `e`");
    assert_eq!(world.reaction(id).as_deref(), Some("+1"), "{outcome:?}");
    let (id, outcome) = world.says("rosa", "/planspec approve look");
    assert_eq!(world.reaction(id).as_deref(), Some("+1"), "{outcome:?}");
    let held = status(&world);
    assert_eq!(held["nodeStatuses"]["ship"]["phase"], "Pending", "{held}");
    let told = world.host.own_comments();
    let progress = &told[0];
    assert!(progress.contains("## ⏳ `e` waits: suspended by wendy"), "{told:?}");
    assert!(progress.contains("\n```text\n/planspec resume e\n```\n"), "{told:?}");
    let (id, outcome) = world.says("wendy", "/planspec resume team/execution/e");
    assert_eq!(world.reaction(id).as_deref(), Some("+1"), "{outcome:?}");
    assert_eq!(status(&world)["phase"], "Succeeded");
}

#[test]
fn whoever_asks_for_help_gets_every_command_as_it_is_written() {
    let world = World::new(CONFIG, GATE);
    let (id, outcome) = world.says("eve", "/planspec HELP");
    assert_eq!(world.reaction(id).as_deref(), Some("+1"), "{outcome:?}");
    let [help] = &world.host.own_comments()[..] else { panic!("one comment answers") };
    for verb in [
        "approve",
        "approve --all",
        "reject",
        "retry",
        "cancel",
        "suspend",
        "resume",
        "complete",
        "fail",
        "answer",
        "unlock",
        "allow-mass-delete",
        "status",
        "help",
    ] {
        assert!(help.contains(&format!("`/planspec {verb}")), "{verb}: {help}");
    }
}
