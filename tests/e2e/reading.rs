//! The commands that read, before anything was reconciled: declared objects, and no status.

use crate::environment::TestEnvironment;
use crate::fixtures::{SSO, goal, plan};

#[test]
fn declared_objects_are_listed_by_kind() {
    let environment = TestEnvironment::with_files(&[("sso.yaml", SSO)]);
    let outcome = environment.planspec(&["get", "goals,plans"]).succeeds();
    insta::assert_snapshot!(outcome.lines().join("\n"), @r#"
    NAMESPACE       NAME                PHASE   PLAN   PRIORITY   AGE
    team-platform   enable-google-sso   -       -      10         -

    NAMESPACE       NAME                    PHASE   NODES   SERIES   VERSION   AGE
    team-platform   sso-implementation-v2   -       3       sso      2         -
    "#);
}

#[test]
fn one_object_is_one_value_and_many_are_a_list() {
    let environment = TestEnvironment::with_files(&[("sso.yaml", SSO)]);
    let one = environment.planspec(&["get", "goal/enable-google-sso", "-o", "json"]).succeeds().json();
    assert_eq!((one["kind"].as_str(), one["spec"]["priority"].as_u64()), (Some("Goal"), Some(10)));
    let all = environment.planspec(&["get", "all", "-o", "json"]).succeeds().json();
    assert_eq!(all["items"].as_array().unwrap().len(), 3);
    let yaml = environment.planspec(&["get", "goal", "enable-google-sso", "-o", "yaml"]).succeeds().stdout;
    assert!(yaml.starts_with("apiVersion: planspec.io/v1alpha1\nkind: Goal\n"), "{yaml}");
    let names = environment.planspec(&["get", "all", "-o", "name"]).succeeds();
    assert!(names.lines().contains(&"goal/enable-google-sso"));
}

#[test]
fn a_name_that_is_not_there_is_a_clear_no_with_a_suggestion() {
    let environment = TestEnvironment::with_files(&[("sso.yaml", SSO)]);
    let outcome = environment.planspec(&["get", "goal/enable-gogle-sso"]).exits(1);
    assert!(outcome.stderr.contains("did you mean `enable-google-sso`"), "{}", outcome.stderr);
    let outcome = environment.planspec(&["get", "goal/zzz", "-o", "json"]).exits(1);
    let error: serde_json::Value = serde_json::from_str(&outcome.stderr).unwrap();
    assert_eq!(error["error"]["exitCode"], 1);
}

#[test]
fn a_broken_manifest_hides_no_other() {
    let environment = TestEnvironment::with_files(&[
        ("good.yaml", &goal("good", "Fine")),
        ("bad.yaml", "apiVersion: planspec.io/v1alpha1\nkind: Goal\n"),
    ]);
    let names = environment.planspec(&["get", "goals", "-o", "name"]).succeeds();
    assert_eq!(names.lines(), ["goal/good"]);
}

#[test]
fn the_graph_is_drawn_in_every_form() {
    let environment = TestEnvironment::with_files(&[("sso.yaml", SSO)]);
    let outcome = environment.planspec(&["graph", "sso-implementation-v2"]).succeeds();
    insta::assert_snapshot!(outcome.lines().join("\n"), @r#"
    team-platform/sso-implementation-v2
    □ research   Task
    □ implement  Task
    ◇ review     Gate
    "#);
    let draw = |format: &str| {
        environment.planspec(&["graph", "plan/sso-implementation-v2", "--format", format]).succeeds().stdout
    };
    assert!(draw("dot").starts_with("digraph") && draw("mermaid").starts_with("flowchart"));
    assert!(draw("svg").starts_with("<svg") && draw("svg").trim_end().ends_with("</svg>"));
}

#[test]
fn an_execution_that_has_not_started_shows_the_graph_of_its_plan() {
    let environment = TestEnvironment::with_files(&[("sso.yaml", SSO)]);
    let text = environment.planspec(&["graph", "execution/sso-exec-001"]).succeeds().stdout;
    assert!(text.contains("research") && text.contains("review"), "{text}");
}

#[test]
fn an_object_is_described_and_history_is_empty_at_first() {
    let environment = TestEnvironment::with_files(&[("plan.yaml", &plan("ship"))]);
    let text = environment.planspec(&["describe", "plan/ship"]).succeeds().stdout;
    assert!(
        text.contains("Build, then test") && text.contains("build") && text.contains("Not reconciled yet")
    );
    let outcome = environment.planspec(&["history"]).succeeds();
    assert!(outcome.stdout.is_empty() && outcome.stderr.contains("planspec reconcile"), "{}", outcome.stderr);
}

#[test]
fn hostile_text_reaches_no_terminal() {
    let hostile = goal("hostile", "\"red \\e[31m text \\u202E reversed\"");
    let environment = TestEnvironment::with_files(&[("goal.yaml", &hostile)]);
    for arguments in [["describe", "goal/hostile", "--color=always"], ["get", "goals", "-owide"]] {
        let text = environment.planspec(&arguments).succeeds().stdout;
        assert!(!text.contains("\u{1b}[31m text") && !text.contains('\u{202e}'), "{text}");
    }
}

#[test]
fn outside_a_repository_the_way_in_is_shown() {
    let environment = TestEnvironment::new();
    let outcome = environment.planspec(&["get", "goals"]).exits(3);
    assert!(outcome.stderr.contains("planspec init"), "{}", outcome.stderr);
}

#[test]
fn a_repository_is_read_by_path_and_by_url() {
    let environment = TestEnvironment::with_files(&[("goal.yaml", &goal("good", "Fine"))]);
    let repo = environment.repo();
    let path = repo.to_str().unwrap();
    let elsewhere = environment.root().join("home");
    for place in [path.to_owned(), format!("file://{path}")] {
        let outcome = environment.planspec_in(&elsewhere, &["get", "goals", "-o", "name", "--repo", &place]);
        assert_eq!(outcome.succeeds().lines(), ["goal/good"], "{place}");
    }
    environment.planspec_in(&elsewhere, &["-C", path, "get", "goals"]).succeeds();
}

/// A goal that is recorded.
fn recorded() -> TestEnvironment {
    let environment = TestEnvironment::with_files(&[("goal.yaml", &goal("good", "Fine")), ("x", "")]);
    environment.planspec(&["reconcile"]).succeeds();
    environment
}

#[test]
fn a_record_that_cannot_be_read_was_not_deleted() {
    let environment = recorded();
    let git = |arguments: &[&str]| environment.git_output(arguments);
    let record = git(&["ls-tree", "-r", "--name-only", "planspec/status"]);
    let record = record.lines().find(|path| path.ends_with("good.yaml")).unwrap();
    git(&["worktree", "add", "--quiet", "../broken", "planspec/status"]);
    let broken = environment.root().join("broken");
    std::fs::write(broken.join(record), "{").unwrap();
    environment.git_in(&broken, &["commit", "--quiet", "-am", "Break it"]).succeeds();
    let outcome = environment.planspec(&["wait", "goal/good", "--for=delete", "--timeout", "1s"]);
    assert!(outcome.code != 0 && !outcome.stdout.contains("deleted"), "{}", outcome.stdout);
    let outcome = environment.planspec(&["watch", "goal/good", "--timeout", "1s"]).succeeds();
    assert!(!outcome.stdout.contains("deleted"), "{}", outcome.stdout);
}

#[test]
fn watching_what_is_then_deleted_ends_with_it() {
    let environment = recorded();
    let mut watch = environment.planspec_command(&environment.repo());
    watch.args(["watch", "goal/good", "--timeout", "60s"]).stdout(std::process::Stdio::piped());
    let watch = watch.spawn().unwrap();
    std::fs::remove_file(environment.repo().join("goal.yaml")).unwrap();
    environment.commit_files(&[("other.yaml", &goal("other", "Fine"))], "Replace it");
    environment.planspec(&["reconcile"]).succeeds();
    let output = watch.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.trim_end().ends_with("goal/good deleted"), "{text}");
    environment.planspec(&["wait", "goal/good", "--for=delete", "--timeout", "1s"]).succeeds();
    environment.planspec(&["watch", "goal/good", "--timeout", "1s"]).exits(1);
}

#[test]
fn of_two_declarations_the_first_by_path_is_shown() {
    let environment =
        TestEnvironment::with_files(&[("b.yaml", &goal("x", "Second")), ("a.yaml", &goal("x", "First"))]);
    let shown = environment.planspec(&["get", "goal/x", "-o", "json"]).succeeds().json();
    assert_eq!(shown["spec"]["description"], "First");
}

#[test]
fn a_limit_of_history_counts_what_is_shown() {
    let other = goal("other", "Fine").replace("namespace: team", "namespace: other");
    let environment = TestEnvironment::with_files(&[("a.yaml", &goal("one", "Fine")), ("b.yaml", &other)]);
    environment.planspec(&["reconcile"]).succeeds();
    for namespace in ["team", "other"] {
        let shown = environment.planspec(&["history", "-n", namespace, "--limit", "1", "-o", "name"]);
        assert_eq!(shown.succeeds().lines().len(), 1, "{namespace}");
    }
}
