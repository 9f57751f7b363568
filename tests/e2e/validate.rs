//! `planspec validate` with the real binary.

use crate::environment::TestEnvironment;
use crate::fixtures::{SSO, goal, plan};

const BROKEN: &str = "apiVersion: planspec.io/v1alpha1\nkind: Goal\nmetadata:\n  name: broken\n  namespace: \
                      team\nspec:\n  descripton: oops\n";

#[test]
fn the_example_of_the_readme_is_valid_as_a_file_and_from_standard_input() {
    let environment = TestEnvironment::new();
    environment.write("goal.yaml", SSO);
    let outcome = environment.planspec(&["validate", "-f", "goal.yaml"]).succeeds();
    assert!(!outcome.stdout.contains("error["), "{}", outcome.stdout);
    environment.planspec_with_input(&["validate", "-f", "-"], SSO).succeeds();
}

#[test]
fn an_error_is_shown_in_its_source_and_exits_with_1() {
    let environment = TestEnvironment::new();
    environment.write("broken.yaml", BROKEN);
    let outcome = environment.planspec(&["validate", "-f", "broken.yaml"]).exits(1);
    assert!(outcome.stdout.contains("broken.yaml:7:3"), "{}", outcome.stdout);
    assert!(outcome.stdout.contains("descripton: oops") && outcome.stdout.contains("description"));
    assert!(!outcome.stdout.contains('\u{1b}'), "no colour in a pipe");
}

#[test]
fn machines_get_json_sarif_and_workflow_commands() {
    let environment = TestEnvironment::new();
    environment.write("broken.yaml", BROKEN);
    let run = |format: &str| environment.planspec(&["validate", "-f", "broken.yaml", "-o", format]).exits(1);
    assert!(run("json").json().to_string().contains("PS2003"));
    assert_eq!(run("sarif").json()["version"], "2.1.0");
    assert!(run("github").stdout.starts_with("::error file=broken.yaml,"), "{}", run("github").stdout);
    assert!(run("name").stdout.contains("broken.yaml:7:3: PS2003"));
}

#[test]
fn a_directory_needs_a_flag_to_be_searched_below() {
    let environment = TestEnvironment::new();
    environment.write("a/b/broken.yaml", BROKEN);
    let outcome = environment.planspec(&["validate", "-f", "a"]).exits(1);
    assert!(outcome.stderr.contains("-R"), "{}", outcome.stderr);
    let outcome = environment.planspec(&["validate", "-f", "a", "-R"]).exits(1);
    assert!(outcome.stdout.contains("a/b/broken.yaml"), "{}", outcome.stdout);
}

#[test]
fn the_working_tree_is_checked_without_what_git_ignores_and_the_configuration_excludes() {
    let environment = TestEnvironment::with_files(&[
        ("planspec/goal.yaml", &goal("good", "Fine")),
        (".gitignore", "build/\n"),
        (".planspec.yaml", "exclude: [\"drafts/**\"]\n"),
    ]);
    environment.write("build/broken.yaml", BROKEN);
    environment.write("drafts/broken.yaml", BROKEN);
    environment.planspec(&["validate"]).succeeds();
    environment.write("new/broken.yaml", BROKEN);
    let outcome = environment.planspec(&["validate"]).exits(1);
    assert!(outcome.stdout.contains("new/broken.yaml"), "{}", outcome.stdout);
    // The commit does not hold it.
    environment.planspec(&["validate", "--ref", "HEAD"]).succeeds();
}

/// The plan of this manifest has an error, and an Execution refers to it.
const BROKEN_PLAN: &str = "apiVersion: planspec.io/v1alpha1
kind: Plan
metadata: { name: p, namespace: team }
spec:
  description: A spelling of an earlier draft
  graph: { nodes: [{ id: a, kind: Task, capabilityRef: { name: c } }] }
---
apiVersion: planspec.io/v1alpha1
kind: Execution
metadata: { name: e, namespace: team }
spec: { planRef: { name: p } }
---
apiVersion: planspec.io/v1alpha1
kind: Execution
metadata: { name: f, namespace: team }
spec: { planRef: { name: q } }
";

#[test]
fn what_refers_to_something_broken_is_not_reported_and_what_refers_to_nothing_is() {
    let environment = TestEnvironment::with_files(&[("plan.yaml", BROKEN_PLAN)]);
    for arguments in [&["validate", "-f", "plan.yaml"][..], &["validate"], &["validate", "--ref", "HEAD"]] {
        let outcome = environment.planspec(arguments).exits(1);
        assert_eq!(outcome.stdout.matches("error[").count(), 2, "{}", outcome.stdout);
        assert!(outcome.stdout.contains("write `capabilityRefs: [{name: c}]`"), "{}", outcome.stdout);
        assert!(outcome.stdout.contains("there is no Plan `q`"), "{}", outcome.stdout);
    }
}

#[test]
fn a_file_may_refer_to_what_the_repository_holds() {
    let environment = TestEnvironment::with_files(&[("plan.yaml", &plan("ship"))]);
    let execution = |plan: &str| {
        format!(
            "apiVersion: planspec.io/v1alpha1\nkind: Execution\nmetadata: {{name: run, namespace: team}}\nspec: \
             {{planRef: {{name: {plan}}}}}\n"
        )
    };
    environment.write("run.yaml", &execution("ship"));
    environment.planspec(&["validate", "-f", "run.yaml"]).succeeds();
    environment.write("run.yaml", &execution("shop"));
    let outcome = environment.planspec(&["validate", "-f", "run.yaml"]).exits(1);
    assert!(outcome.stdout.contains("did you mean `ship`"), "{}", outcome.stdout);
}

#[test]
fn a_configuration_with_an_unknown_key_is_refused_with_its_place() {
    let environment = TestEnvironment::with_files(&[(".planspec.yaml", "statusBranc: x\n")]);
    let outcome = environment.planspec(&["validate"]).exits(1);
    assert!(outcome.stderr.contains(".planspec.yaml:1:1"), "{}", outcome.stderr);
}

#[test]
fn schemas_are_printed_by_kind() {
    let environment = TestEnvironment::new();
    assert!(environment.planspec(&["schema", "goals"]).succeeds().json().is_object());
    assert!(environment.planspec(&["schema"]).succeeds().json().is_object());
    let outcome = environment.planspec(&["schema", "gaol"]).exits(2);
    assert!(outcome.stderr.contains("did you mean `goal`"), "{}", outcome.stderr);
}
