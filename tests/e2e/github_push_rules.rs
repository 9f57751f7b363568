//! What a pass says of who may push the status branch, where nothing on it is signed.

use crate::github_ci::{CONFIG, GATE, World};

/// How often the host was asked.
fn asked(world: &World) -> usize {
    world.host.with(|state| state.seen.iter().filter(|seen| seen.contains("/rules/branches/")).count())
}

#[test]
fn a_pass_says_that_everybody_may_push_the_status_branch_and_asks_once_a_day() {
    let world = World::new(CONFIG, GATE);
    let first = world.pass().succeeds();
    let summary = world.left("summary");
    assert!(
        summary.contains("may push `planspec/status`") && summary.contains("Restrict updates"),
        "{summary}"
    );
    // A runner of the host begins with a fresh clone each time: in the log it would be said at every pass.
    assert!(!first.stderr.contains("may push"), "{first:?}");
    // The summary of the next pass says it too, by what the host said before.
    let second = world.pass().succeeds();
    assert!(!second.stderr.contains("may push"), "{second:?}");
    assert!(world.left("summary").contains("may push `planspec/status`"), "{}", world.left("summary"));
    assert_eq!(asked(&world), 1);
}

#[test]
fn a_pass_says_that_pushes_are_restricted_and_nothing_where_the_host_does_not_tell() {
    let world = World::new(CONFIG, GATE);
    world.host.with(|state| state.restricted.push("planspec%2Fstatus"));
    let outcome = world.pass().succeeds();
    assert!(!outcome.stderr.contains("may push"), "{outcome:?}");
    assert!(world.left("summary").contains("`planspec/status` are restricted"), "{}", world.left("summary"));

    let world = World::new(CONFIG, GATE);
    world.host.with(|state| state.refused.push("/rules/branches/"));
    for _ in 0..2 {
        let outcome = world.pass().succeeds();
        assert!(!outcome.stderr.contains("push"), "{outcome:?}");
        assert!(!world.left("summary").contains("planspec/status`"), "{}", world.left("summary"));
    }
    assert_eq!(asked(&world), 1);
}
