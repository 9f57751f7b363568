//! A merge that takes Executions away: what it ended is told where it was introduced and where it was taken away, and files that
//! only move make nobody else's work out of it.

use serde_json::Value;

use crate::github_ci::{CONFIG, GATE, WORK, World, change, opened, pull};

/// Our comments on a pull request.
fn told(world: &World, number: u64) -> Vec<String> {
    let end = format!("/issues/{number}");
    world.host.with(|state| {
        let here = |comment: &&Value| {
            comment["user"]["type"] == "Bot" && comment["issue_url"].as_str().unwrap().ends_with(&end)
        };
        let text = |comment: &Value| comment["body"].as_str().unwrap().to_owned();
        state.comments.iter().filter(here).map(text).collect()
    })
}

/// Merges what is in the working tree as a pull request.
fn merged(world: &World, number: u64) {
    let environment = &world.environment;
    environment.git(&["add", "--all"]).succeeds();
    environment.git(&["commit", "--quiet", "-m", &format!("Merge #{number}")]).succeeds();
    let merge = environment.git_output(&["rev-parse", "HEAD"]);
    let mut pull = pull(number, "wendy", &merge, Some(&merge));
    pull["base"]["sha"] = environment.git_output(&["rev-parse", "HEAD~1"]).into();
    world.host.with(|state| state.pulls.push(pull));
}

#[test]
fn what_a_revert_cancelled_is_told_where_it_began_and_on_the_revert_itself() {
    let world = World::new(CONFIG, GATE);
    world.pass().succeeds();
    assert!(told(&world, 7)[0].contains("/planspec approve"), "{:?}", told(&world, 7));
    let without = WORK.rsplit_once("---").unwrap().0;
    world.environment.write("work.yaml", without);
    merged(&world, 8);
    world.pass().succeeds();
    let [first] = told(&world, 7).try_into().unwrap();
    let [revert] = told(&world, 8).try_into().unwrap();
    for text in [&first, &revert] {
        let title = "## ⊘ `e` was cancelled: the manifest of the execution was removed";
        assert!(text.contains(title) && text.contains("1 Succeeded"), "{text}");
        assert!(!text.contains("/planspec approve"), "{text}");
    }
    assert!(first.contains("The execution introduced by this change."), "{first}");
    assert!(revert.contains("The execution that this change removed."), "{revert}");
    // Told once.
    let before = world.host.changes();
    world.pass().succeeds();
    assert_eq!(world.host.changes(), before);
}

/// The host knows of no pull request right after a merge; and what failed is not offered to be run again without its manifest.
#[test]
fn what_a_revert_removed_while_the_host_was_late_is_told_by_the_next_pass() {
    let world = World::new(CONFIG, GATE);
    world.environment.write("work.yaml", &WORK.replace("command: 'true'", "command: 'false'"));
    merged(&world, 8);
    world.pass().succeeds();
    assert!(told(&world, 7)[0].contains("/planspec retry e"), "{:?}", told(&world, 7));
    world.environment.write("work.yaml", WORK.rsplit_once("---").unwrap().0);
    merged(&world, 9);
    world.host.with(|state| state.late = 2);
    world.pass().succeeds();
    world.pass().succeeds();
    let [first] = told(&world, 7).try_into().unwrap();
    let [revert] = told(&world, 9).try_into().unwrap();
    for text in [first, revert] {
        assert!(text.contains("## ⊘ `e` was removed after it failed\n"), "{text}");
        assert!(text.contains("`e/build` failed") && !text.contains("/planspec retry"), "{text}");
    }
}

#[test]
fn a_manifest_that_moves_is_no_execution_of_the_change_that_moved_it() {
    let world = World::new(CONFIG, GATE);
    world.pass().succeeds();
    let again = WORK.rsplit("---").next().unwrap().replace("name: e,", "name: again,");
    std::fs::remove_file(world.environment.repo().join("work.yaml")).unwrap();
    world.environment.write("plans/work.yaml", WORK);
    world.environment.write("again.yaml", &again);
    merged(&world, 8);
    world.pass().succeeds();
    world.host.with(|state| state.writers.push("rosa".to_owned()));
    world.says("rosa", "/planspec approve e/look").1.succeeds();
    let (first, second) = (told(&world, 7), told(&world, 8));
    assert!(first[0].contains("## ✅ `e` succeeded"), "{first:?}");
    assert!(second[0].contains("## ⏳ `again` waits") && !second[0].contains("execution/e`"), "{second:?}");
}

/// What one sentence cancels, another one must not tell to go on.
#[test]
fn a_change_that_cancels_an_execution_does_not_tell_it_to_go_on() {
    let world = World::new(CONFIG, GATE);
    world.pass().succeeds();
    let other = WORK.replace("{id: ship, kind: Task,", "{id: deliver, kind: Task,");
    let head = change(&world, "work.yaml", &other);
    world.ci("pull_request", &opened(8, &head), &[]).succeeds();
    let comment = world.host.own_comments().pop().unwrap();
    assert!(comment.contains("continues team/execution/e on the graph that"), "{comment}");
    // The same change of the plan, and the Execution is gone.
    let alone = other.rsplit_once("---").unwrap().0;
    world.environment.git(&["switch", "--quiet", "feat"]).succeeds();
    world.environment.commit_files(&[("work.yaml", alone)], "Take it back");
    let head = world.environment.git_output(&["rev-parse", "HEAD"]);
    world.environment.git(&["switch", "--quiet", "main"]).succeeds();
    world.ci("pull_request", &opened(8, &head), &[]).succeeds();
    let comment = world.host.own_comments().pop().unwrap();
    assert!(comment.contains("cancels team/execution/e"), "{comment}");
    assert!(!comment.contains("continues "), "{comment}");
}
