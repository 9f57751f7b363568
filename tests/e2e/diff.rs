//! `planspec diff` with the real binary.

use crate::environment::TestEnvironment;
use crate::fixtures::{goal, plan};

#[test]
fn no_difference_is_a_yes() {
    let environment = TestEnvironment::with_files(&[("goal.yaml", &goal("ship", "Ship"))]);
    let outcome = environment.planspec(&["diff"]).succeeds();
    assert!(outcome.stdout.is_empty() && outcome.stderr.contains("no differences"), "{outcome:?}");
}

#[test]
fn the_working_tree_is_compared_field_by_field() {
    let environment = TestEnvironment::with_files(&[
        ("goal.yaml", &goal("ship", "Ship")),
        ("gone.yaml", &goal("gone", "Go")),
        ("plan.yaml", &plan("ship-v1")),
    ]);
    environment.write("goal.yaml", &goal("ship", "Ship it"));
    environment.write("run.yaml", "apiVersion: planspec.io/v1alpha1\nkind: Execution\nmetadata: {name: run, namespace: team}\nspec: {planRef: {name: ship-v1}}\n");
    std::fs::remove_file(environment.repo().join("gone.yaml")).unwrap();
    let outcome = environment.planspec(&["diff"]).exits(1);
    insta::assert_snapshot!(outcome.lines().join("\n"), @r#"
    + team/execution/run
    ~ team/goal/ship
        spec.description: "Ship" → "Ship it"
    - team/goal/gone

    The next reconcile
      starts team/execution/run of team/plan/ship-v1, 2 nodes

    1 created, 1 changed, 1 deleted

    note[PS4004]: the goal is removed, and with it the status of the executions that it owns
     --> gone.yaml:1:1
      |
    1 | apiVersion: planspec.io/v1alpha1
      | ^^^^^^^^^^
    2 | kind: Goal
    3 | metadata:
      |
    "#);
}

#[test]
fn two_commits_are_compared_for_programs() {
    let environment = TestEnvironment::with_files(&[("goal.yaml", &goal("ship", "Ship"))]);
    environment.commit_files(&[("goal.yaml", &goal("ship", "Ship it"))], "Change");
    let value = environment.planspec(&["diff", "HEAD~1", "HEAD", "-o", "json"]).exits(1).json();
    assert_eq!(value["changed"][0]["resource"], "team/goal/ship");
    assert_eq!(value["changed"][0]["fields"][0]["new"], "Ship it");
    environment.planspec(&["diff", "HEAD", "HEAD"]).succeeds();
}

#[test]
fn moving_a_manifest_is_no_difference() {
    let environment = TestEnvironment::with_files(&[("goal.yaml", &goal("ship", "Ship"))]);
    environment.git(&["mv", "goal.yaml", "moved.yaml"]).succeeds();
    environment.planspec(&["diff"]).succeeds();
}

#[test]
fn what_the_change_breaks_is_shown_and_what_was_broken_before_is_not() {
    let environment = TestEnvironment::with_files(&[
        ("plan.yaml", &plan("ship")),
        (
            "run.yaml",
            "apiVersion: planspec.io/v1alpha1\nkind: Execution\nmetadata: {name: run, namespace: team}\nspec: {planRef: {name: ship}}\n",
        ),
        (
            "old.yaml",
            "apiVersion: planspec.io/v1alpha1\nkind: Execution\nmetadata: {name: old, namespace: team}\nspec: {planRef: {name: never}}\n",
        ),
    ]);
    std::fs::remove_file(environment.repo().join("plan.yaml")).unwrap();
    let outcome = environment.planspec(&["diff"]).exits(1);
    assert!(
        outcome.stdout.contains("no Plan `ship`") && !outcome.stdout.contains("never"),
        "{}",
        outcome.stdout
    );
}

#[test]
fn a_revision_that_does_not_exist_is_the_environments_fault() {
    let environment = TestEnvironment::with_files(&[("goal.yaml", &goal("ship", "Ship"))]);
    let outcome = environment.planspec(&["diff", "nowhere"]).exits(3);
    assert!(outcome.stderr.contains("nowhere"), "{}", outcome.stderr);
}

/// Otherwise the change that repairs it could not be looked at.
#[test]
fn a_change_that_repairs_the_configuration_is_read_by_its_own() {
    let goal_of = |words: &str| goal("ship", words);
    let environment =
        TestEnvironment::with_files(&[(".planspec.yaml", "limits: many\n"), ("goal.yaml", &goal_of("Ship"))]);
    let broken = environment.planspec(&["diff", "HEAD", "HEAD"]).exits(1);
    assert!(broken.stderr.contains(".planspec.yaml:1:"), "{}", broken.stderr);
    environment.write(".planspec.yaml", "{}\n");
    environment.write("goal.yaml", &goal_of("Ship it"));
    let seen = environment.planspec(&["diff"]).exits(1);
    assert!(seen.stdout.contains("\"Ship\" → \"Ship it\""), "{seen:?}");
    environment.planspec(&["validate", "--base", "HEAD"]).succeeds();
    environment.commit_files(&[], "Repair it");
    let seen = environment.planspec(&["diff", "HEAD~1", "HEAD"]).exits(1);
    assert!(seen.stdout.contains("\"Ship\" → \"Ship it\""), "{seen:?}");
    environment.planspec(&["validate", "--ref", "main", "--base", "HEAD~1"]).succeeds();
}
