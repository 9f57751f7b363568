//! The schedule that is on only while something is due: what a pass leaves of it, and what the host must grant for that.

use std::process::Command;

use serde_json::json;

use crate::environment::Outcome;
use crate::github_ci::{CONFIG, GATE, World};

const WORKFLOW: &str = "planspec-schedule.yml";

const HOURLY: &str = "
apiVersion: planspec.io/v1alpha1
kind: Schedule
metadata: {name: hourly, namespace: team}
spec: {cron: '7 * * * *', planRef: {name: p}}
";

fn scheduled(world: &World) -> Outcome {
    let event = json!({ "repository": { "default_branch": "main" } });
    world.ci("schedule", &event, &["--schedule-workflow", WORKFLOW])
}

/// The same status branch as if its last commit were two hours old, and nothing that this machine remembers of it: each job of
/// the host begins like that.
fn hours_later(world: &World) {
    let environment = &world.environment;
    let tip = environment.git_output(&["log", "-1", "--format=%T %P %ct", "planspec/status"]);
    let message = environment.git_output(&["log", "-1", "--format=%B", "planspec/status"]);
    let parts: Vec<&str> = tip.split(' ').collect();
    let (tree, parents, at) = (parts[0], &parts[1..parts.len() - 1], parts[parts.len() - 1]);
    let before = format!("{} +0000", at.parse::<i64>().unwrap() - 7_200);
    let mut commit = Command::new("git");
    commit.args(["commit-tree", tree, "-m", &message]).current_dir(environment.repo());
    for parent in parents {
        commit.args(["-p", parent]);
    }
    for (name, value) in [("NAME", "x"), ("EMAIL", "x@example.com"), ("DATE", &before)] {
        commit.env(format!("GIT_AUTHOR_{name}"), value).env(format!("GIT_COMMITTER_{name}"), value);
    }
    let made = commit.output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let made = String::from_utf8(made.stdout).unwrap();
    environment.git(&["update-ref", "refs/heads/planspec/status", made.trim()]).succeeds();
    std::fs::remove_dir_all(environment.repo().join(".git/planspec")).unwrap();
}

/// The changes of the workflow since the last look, as words of the host's addresses.
fn turned(world: &World) -> Vec<String> {
    world.host.with(|state| {
        let seen = std::mem::take(&mut state.seen).into_iter();
        let word = |seen: String| seen.strip_prefix("PUT ")?.rsplit('/').next().map(str::to_owned);
        seen.filter_map(word).collect()
    })
}

#[test]
fn the_schedule_is_off_while_nothing_is_due_and_on_again_when_something_is() {
    let world = World::new(CONFIG, GATE);
    // Somebody turned it off, or a pass did. What was recorded just now is asked about again within the hour.
    world.host.with(|state| state.runs.off.push(WORKFLOW.to_owned()));
    let outcome = scheduled(&world).succeeds();
    assert!(outcome.stderr.contains("planspec-schedule.yml is on: something is due soon"), "{outcome:?}");
    assert_eq!(turned(&world), ["enable"]);
    scheduled(&world).succeeds();
    assert_eq!(turned(&world), Vec::<String>::new());
    // A gate waits for people, whose answer is an event.
    hours_later(&world);
    let outcome = scheduled(&world).succeeds();
    assert!(outcome.stderr.contains("planspec-schedule.yml is off: nothing is due"), "{outcome:?}");
    assert_eq!(turned(&world), ["disable"]);
    assert!(world.left("output").contains("next-due<<"), "{}", world.left("output"));
    scheduled(&world).succeeds();
    assert_eq!(turned(&world), Vec::<String>::new());
    // A Schedule is due within the hour, long after the last record.
    world.environment.commit_files(&[("hourly.yaml", HOURLY)], "Run it every hour");
    world.pass().succeeds();
    hours_later(&world);
    turned(&world);
    scheduled(&world).succeeds();
    assert_eq!(turned(&world), ["enable"]);
    let due = world.left("output");
    assert!(due.contains(":07:00Z"), "{due}");
}

#[test]
fn what_another_pass_records_while_the_schedule_is_turned_off_turns_it_on_again() {
    let world = World::new(CONFIG, GATE);
    world.pass().succeeds();
    hours_later(&world);
    // The pass of a command, beside this one: it found the workflow on, and has published something.
    let mut other = Command::new("git");
    other.args(["update-ref", "refs/heads/planspec/status", "refs/heads/main"]);
    other.current_dir(world.environment.repo());
    world.host.with(|state| state.runs.meanwhile = Some(other));
    turned(&world);
    scheduled(&world).succeeds();
    assert_eq!(turned(&world), ["disable", "enable"]);
}

#[test]
fn a_schedule_that_may_not_be_changed_keeps_no_work_from_being_done() {
    let world = World::new(CONFIG, GATE);
    world.host.with(|state| state.refused.push("actions/workflows"));
    let outcome = scheduled(&world).succeeds();
    assert!(outcome.stderr.contains("cannot change the schedule"), "{outcome:?}");
    assert!(outcome.stderr.contains("actions"), "{outcome:?}");
    assert_eq!(world.phase(), json!("Blocked"));
}
