//! What people type who know kubectl, gh, or the reference CLI 0.1.0.

use crate::environment::TestEnvironment;
use crate::fixtures::{SSO, goal, plan};

const WORK: &str = r#"apiVersion: planspec.io/v1alpha1
kind: Plan
metadata: { name: work, namespace: team }
spec:
  description: One works, one does not
  series: nightly
  version: "1"
  graph:
    nodes:
      - { id: good, kind: Task, run: "echo one; echo two; echo three" }
      - { id: bad, kind: Task, run: "echo the reason; exit 3" }
---
apiVersion: planspec.io/v1alpha1
kind: Execution
metadata: { name: work-1, namespace: team }
spec: { planRef: { name: work } }
"#;

fn worked() -> TestEnvironment {
    let environment = TestEnvironment::with_files(&[("work.yaml", WORK)]);
    environment.planspec(&["reconcile", "-q"]).succeeds();
    environment
}

#[test]
fn fields_are_chosen_sorted_and_selected() {
    let two = format!("{}---\n{}", goal("beta", "Second"), goal("alpha", "First"));
    let environment = TestEnvironment::with_files(&[("goals.yaml", &two), ("plan.yaml", &plan("ship"))]);
    let get = |more: &[&str]| {
        let line: Vec<&str> = ["get"].iter().chain(more).copied().collect();
        environment.planspec(&line).succeeds().stdout
    };
    assert_eq!(get(&["goals", "-o", "jsonpath={.items[*].metadata.name}"]), "alpha beta");
    assert_eq!(get(&["goal", "alpha", "-o", "jsonpath={.spec.description}"]), "First");
    assert_eq!(
        get(&["all", "-o", "custom-columns=KIND:.kind,NAME:.metadata.name,X:.status.phase"]),
        "KIND   NAME    X\nGoal   alpha   <none>\nGoal   beta    <none>\nPlan   ship    <none>\n"
    );
    assert_eq!(get(&["goals", "--sort-by={.spec.description}", "-o", "name"]), "goal/alpha\ngoal/beta\n");
    assert_eq!(
        get(&["all", "--field-selector", "metadata.name!=beta", "-o", "name"]),
        "goal/alpha\nplan/ship\n"
    );
    let wrong = environment.planspec(&["get", "goals", "-o", "jsonpath={.items["]).exits(2);
    assert!(wrong.stderr.contains("at character 9"), "{}", wrong.stderr);
    let wrong = environment.planspec(&["status", "-o", "jsonpath={.x}"]).exits(2);
    assert!(wrong.stderr.contains("planspec get"), "{}", wrong.stderr);
}

#[test]
fn the_logs_of_a_failure_are_those_of_what_failed() {
    let environment = worked();
    let logs = |more: &[&str]| {
        let line: Vec<&str> = ["logs"].iter().chain(more).copied().collect();
        environment.planspec(&line).succeeds()
    };
    let failed = logs(&["work-1"]);
    assert_eq!(failed.stdout, "==> bad <==\nthe reason\n");
    assert!(failed.stderr.contains("--all"), "{}", failed.stderr);
    assert!(logs(&["work-1", "--all"]).stdout.contains("==> good <==\none\ntwo\nthree\n"));
    assert_eq!(logs(&["work-1/good", "--tail", "1"]).stdout, "three\n");
    assert_eq!(logs(&["work-1/good", "--since", "1h"]).stdout, "one\ntwo\nthree\n");
    assert_eq!(logs(&["work-1/good", "-f", "--tail=2"]).stdout, "two\nthree\n");
    let timed = logs(&["work-1/good", "--timestamps"]).stdout;
    let lines: Vec<&str> = timed.lines().collect();
    assert!(lines.len() == 3 && lines[0].ends_with("Z one") && lines[0].starts_with("20"), "{timed}");
    let none = environment.planspec(&["logs", "work-1/good", "--previous"]).exits(1);
    assert!(none.stderr.contains("no previous attempt"), "{}", none.stderr);
    let nothing = environment.planspec(&["logs", "work-1", "-f"]).exits(1);
    assert!(nothing.stderr.contains("nothing to follow"), "{}", nothing.stderr);
}

#[test]
fn a_script_may_take_a_failure_for_one_and_wait_for_any_field() {
    let environment = TestEnvironment::with_files(&[("work.yaml", WORK)]);
    environment.planspec(&["reconcile", "-q", "--fail-on", "failed,blocked"]).exits(1);
    // The failure was told by the pass that saw it.
    environment.planspec(&["reconcile", "-q", "--fail-on", "blocked"]).succeeds();
    let wait = ["wait", "execution/work-1", "--for=jsonpath={.status.nodeStatuses.good.phase}=Succeeded"];
    environment.planspec(&wait).succeeds();
    let never = ["wait", "execution/work-1", "--timeout", "300ms", "--for=jsonpath={.status.x}"];
    environment.planspec(&never).exits(1);
}

#[test]
fn a_run_that_is_waited_for_is_driven_where_nobody_else_could() {
    let environment = TestEnvironment::with_files(&[("work.yaml", WORK)]);
    let outcome = environment.planspec(&["run", "plan/work", "--name", "again", "--wait"]).exits(1);
    assert!(outcome.stderr.contains("nobody else drives it"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("execution/again is Failed"), "{}", outcome.stderr);
}

#[test]
fn a_dry_run_shows_what_would_be_written() {
    let environment = TestEnvironment::with_files(&[("work.yaml", WORK)]);
    let line = ["run", "plan/work", "--name", "next", "--dry-run", "-o", "yaml"];
    let text = environment.planspec(&line).succeeds().stdout;
    assert_eq!(
        text,
        "apiVersion: planspec.io/v1alpha1\nkind: Execution\nmetadata:\n  name: next\n  namespace: team\nspec:\n  planRef:\n    name: work\n"
    );
    environment.write("goal.yaml", &format!("# why\n{}", goal("new", "Kept")));
    let text =
        environment.planspec(&["apply", "goal.yaml", "--dry-run=client", "-o", "yaml"]).succeeds().stdout;
    assert!(text.starts_with("# why\napiVersion"), "{text}");
    assert_eq!(environment.git_output(&["rev-list", "--count", "HEAD"]), "1");
}

#[test]
fn what_belongs_to_a_resource_goes_with_it_when_asked() {
    let environment = TestEnvironment::with_files(&[("work.yaml", WORK)]);
    let line = ["delete", "plan/work", "--cascade", "--dry-run", "-o", "name"];
    let gone = environment.planspec(&line).succeeds();
    assert_eq!(gone.lines(), ["plan/work", "execution/work-1"]);
    environment.planspec(&["delete", "plan", "work", "--cascade=foreground"]).succeeds();
    assert_eq!(environment.planspec(&["get", "all", "-o", "name"]).succeeds().stdout, "");
}

#[test]
fn the_flags_of_the_reference_cli_are_accepted() {
    let environment = TestEnvironment::with_files(&[("sso.yaml", SSO), ("work.yaml", WORK)]);
    environment.write("new/goal.yaml", &goal("new", "Kept"));
    environment.planspec(&["validate", "--file", "new/goal.yaml"]).succeeds();
    environment.planspec(&["validate", "-d", "new"]).succeeds();
    let diff = environment.planspec(&["diff", "-f", "new/goal.yaml"]).exits(1).stdout;
    assert!(diff.contains("+ team/goal/new"), "{diff}");
    environment.planspec(&["apply", "-d", "new", "--dry-run"]).succeeds();
    environment.planspec(&["create", "--file", "new/goal.yaml", "--dry-run"]).succeeds();
    environment.planspec(&["create", "namespace", "team"]).succeeds();
    let names = environment.planspec(&["get", "plans", "--series", "nightly", "-o", "name"]).succeeds();
    assert_eq!(names.lines(), ["plan/work"]);
    environment.planspec(&["get", "goals", "-s", "planspec.io/team=web"]).succeeds();
    let edited = environment.planspec(&["edit", "plan", "work", "--editor", "true"]).succeeds();
    assert!(edited.stderr.contains("no changes made"), "{}", edited.stderr);
}

#[test]
fn a_list_is_watched_and_filtered() {
    let environment = worked();
    let line = ["watch", "executions", "--phase", "Failed", "--timeout", "300ms", "-o", "name"];
    assert_eq!(environment.planspec(&line).succeeds().stdout, "execution/work-1\n");
    let line = ["watch", "executions", "--phase", "Running", "--timeout", "300ms", "-o", "name"];
    assert_eq!(environment.planspec(&line).succeeds().stdout, "");
}

#[test]
fn a_flag_of_another_tool_is_answered_with_ours() {
    let environment = TestEnvironment::new();
    let outcome = environment.planspec(&["describe", "executions", "-w"]).exits(2);
    assert!(outcome.stderr.contains("planspec watch KIND"), "{}", outcome.stderr);
    assert!(!outcome.stderr.contains("as a value"), "{}", outcome.stderr);
}
