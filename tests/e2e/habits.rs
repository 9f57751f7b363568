//! What people type who know kubectl, gh, or the reference CLI 0.1.0.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::environment::TestEnvironment;
use crate::fixtures::{SSO, goal, plan};
use crate::terminal::TERMINAL;

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
    let described = environment.planspec(&["describe", "goals", "-o", "name"]).succeeds();
    assert_eq!(described.stdout, "goal/alpha\ngoal/beta\n");
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
}

/// `kubectl logs -f` of what has ended prints and ends too.
#[test]
fn the_log_of_what_has_ended_is_followed_to_its_end() {
    let environment = worked();
    let logs = environment.planspec(&["logs", "-f", "work-1"]).succeeds();
    assert!(logs.stdout.contains("the reason"), "{logs:?}");
    // What waits has not ended, and only its next node could be followed.
    environment.commit_files(&[("ship.yaml", &plan("ship"))], "Ship");
    environment.planspec(&["run", "ship", "--name", "ship-1", "-q"]).succeeds();
    environment.planspec(&["reconcile", "-q"]);
    let nothing = environment.planspec(&["logs", "ship-1", "-f"]).exits(1);
    assert!(nothing.stderr.contains("nothing to follow"), "{}", nothing.stderr);
    // A node that ended before it began has no log, and says why.
    environment.planspec(&["cancel", "ship-1", "-q"]).succeeds();
    environment.planspec(&["reconcile", "-q"]);
    let cancelled = environment.planspec(&["logs", "ship-1/build", "-f"]).succeeds();
    assert!(cancelled.stderr.contains("build is Cancelled, without an attempt"), "{cancelled:?}");
}

#[test]
fn a_bare_name_is_run_and_nothing_named_is_everything() {
    let environment =
        TestEnvironment::with_files(&[("work.yaml", WORK), ("goal.yaml", &goal("work", "Done"))]);
    let listed = environment.planspec(&["list", "-o", "name"]).succeeds();
    let mut listed = listed.lines();
    listed.sort_unstable();
    assert_eq!(listed, ["execution/work-1", "goal/work", "plan/work"]);
    let both = environment.planspec(&["run", "work", "--dry-run"]).exits(2);
    assert!(both.stderr.contains("goal/work") && both.stderr.contains("plan/work"), "{}", both.stderr);
    environment.planspec(&["delete", "goal/work", "-q"]).succeeds();
    let run = environment.planspec(&["run", "work", "--name", "w-2", "--dry-run", "-o", "yaml"]).succeeds();
    assert!(run.stdout.contains("name: w-2"), "{run:?}");
}

#[test]
fn what_still_refers_to_a_resource_names_the_way_to_delete_both() {
    let refused = worked().planspec(&["delete", "plan/work"]).exits(1);
    assert!(refused.stderr.contains("`--cascade` also deletes what belongs to it"), "{}", refused.stderr);
}

#[test]
fn a_manifest_is_edited_with_the_editor_of_git() {
    let environment = worked();
    environment.git(&["config", "core.editor", "sed -i s/nightly/weekly/"]);
    environment.planspec(&["edit", "plan", "work", "-q"]).succeeds();
    let series = environment.planspec(&["get", "plan/work", "-o", "jsonpath={.spec.series}"]).succeeds();
    assert_eq!(series.stdout, "weekly");
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
    environment.write("goal.yaml", &goal("new", "Kept # why"));
    let text =
        environment.planspec(&["apply", "goal.yaml", "--dry-run=client", "-o", "yaml"]).succeeds().stdout;
    assert!(text.contains("description: Kept # why"), "{text}");
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
fn a_list_is_shown_again_when_it_changes() {
    let environment = worked();
    let mut watch = environment.planspec_command(&environment.repo());
    watch.args(["get", "goals", "-w", "-o", "name"]).stdout(Stdio::piped());
    let mut watch = watch.spawn().unwrap();
    environment.commit_files(&[("later.yaml", &goal("later", "Comes while somebody watches"))], "Later");
    let mut line = String::new();
    BufReader::new(watch.stdout.take().unwrap()).read_line(&mut line).unwrap();
    watch.kill().unwrap();
    watch.wait().unwrap();
    assert_eq!(line, "goal/later\n");
}

#[test]
fn a_flag_of_another_tool_is_answered_with_ours() {
    let environment = TestEnvironment::new();
    let outcome = environment.planspec(&["describe", "executions", "-w"]).exits(2);
    assert!(outcome.stderr.contains("planspec watch KIND"), "{}", outcome.stderr);
    assert!(!outcome.stderr.contains("as a value"), "{}", outcome.stderr);
    let outcome = environment.planspec(&["explain", "plans"]).exits(2);
    assert!(outcome.stderr.contains("`planspec schema plan` lists the fields"), "{}", outcome.stderr);
}

const BINDING: &str = r#"apiVersion: planspec.io/v1alpha1
kind: Binding
metadata: { name: default, namespace: team }
spec:
  rules:
    - selector: { planRef: { name: ship }, nodeId: build }
      target: { provider: tool://build, config: { commnd: make } }
    - selector: { planRef: { name: ship }, nodeId: test }
      target: { provider: docker://tests, config: {} }
"#;

#[test]
fn the_settings_of_providers_are_checked_where_they_stand() {
    let files = [("binding.yaml", BINDING), ("plan.yaml", &plan("ship"))];
    let environment = TestEnvironment::with_files(&files);
    let judge = |line: &[&str]| {
        let found = environment.planspec(line).exits(1).json();
        let of = |found: &serde_json::Value| {
            format!(
                "{}:{} {} {} {}",
                found["path"].as_str().unwrap(),
                found["line"],
                found["severity"].as_str().unwrap(),
                found["code"].as_str().unwrap(),
                found["message"].as_str().unwrap()
            )
        };
        found["diagnostics"].as_array().unwrap().iter().map(of).collect::<Vec<_>>().join("\n")
    };
    // The working tree, a commit and a file that is named are judged alike.
    for line in [&["validate", "-o", "json"][..], &["validate", "--ref", "main", "-o", "json"]] {
        let found = judge(line);
        let expected = "binding.yaml:7 error PS2003 unknown setting `config.commnd`; did you mean `command`?";
        assert!(found.contains(expected), "{found}");
        assert!(found.contains("binding.yaml:9 warning PS2006 no provider serves `docker://`"), "{found}");
    }
    let named = judge(&["validate", "binding.yaml", "-o", "json"]);
    assert!(named.contains("error PS2003") && named.contains("docker://"), "{named}");
    let refused = environment.planspec(&["apply", "binding.yaml"]);
    // Nothing of it differs from what is committed, so there is nothing to refuse.
    refused.succeeds();
    environment.write("new.yaml", &BINDING.replace("name: default", "name: other"));
    let refused = environment.planspec(&["apply", "new.yaml"]).exits(1);
    assert!(refused.stdout.contains("did you mean `command`?"), "{}", refused.stdout);
}

#[test]
fn a_reference_that_is_not_there_is_no_empty_branch() {
    let environment = TestEnvironment::with_files(&[("plan.yaml", &plan("ship"))]);
    for line in
        [&["get", "plans", "--ref", "typo"][..], &["status", "--ref", "typo"], &["validate", "--ref", "typo"]]
    {
        let outcome = environment.planspec(line).exits(3);
        assert!(outcome.stderr.contains("typo"), "{}", outcome.stderr);
    }
}

#[test]
fn a_broken_plan_is_named_with_its_place_beside_what_is_whole() {
    let broken = plan("broken").replace("kind: Task}", "kind: Tsk}");
    let files = [("broken.yaml", broken.as_str()), ("whole.yaml", &plan("whole"))];
    let environment = TestEnvironment::with_files(&files);
    let outcome = environment.planspec(&["get", "plans"]).succeeds();
    assert!(outcome.stdout.contains("whole"), "{}", outcome.stdout);
    assert!(
        outcome.stderr.contains("broken.yaml:10:27") && outcome.stderr.contains("plan/broken is broken"),
        "{}",
        outcome.stderr
    );
    assert!(!environment.planspec(&["get", "goals"]).succeeds().stderr.contains("broken.yaml"));
}

#[test]
fn nodes_are_counted_by_how_they_ended() {
    let environment = worked();
    let table = environment.planspec(&["get", "executions"]).succeeds();
    assert!(table.stdout.contains("2/2 ✓1 ✘1"), "{}", table.stdout);
}

/// A group with a task, and a task that is repeated: four nodes do work, and two sum up others.
#[test]
fn nodes_that_only_sum_up_others_are_not_counted() {
    let text = "apiVersion: planspec.io/v1alpha1\nkind: Plan\nmetadata: {name: p, namespace: team}\nspec:\n  description: Count\n  graph:\n    \
                nodes:\n      - {id: all, kind: Group, children: [one]}\n      - {id: one, kind: Task, run: 'true'}\n      \
                - {id: each, kind: Task, run: 'true', dependsOn: [one], forEach: {items: [a, b]}}\n      \
                - {id: never, kind: Task, run: 'true', when: 'false'}\n---\napiVersion: planspec.io/v1alpha1\nkind: Execution\n\
                metadata: {name: e, namespace: team}\nspec: {planRef: {name: p}}\n";
    let environment = TestEnvironment::with_files(&[("plan.yaml", text)]);
    let plans = environment.planspec(&["get", "plans", "--no-headers"]).succeeds().stdout;
    assert_eq!(plans.split_whitespace().nth(3), Some("3"), "{plans}");
    environment.planspec(&["reconcile", "-q"]).succeeds();
    for line in [&["get", "executions"] as &[&str], &["watch", "executions", "--timeout", "1ms"]] {
        let table = environment.planspec(line).succeeds().stdout;
        assert!(table.contains(" 4/4 ✓3 –1 "), "{table}");
    }
    let page = environment.git_output(&["show", "planspec/status:README.md"]);
    assert!(page.contains("| 3 Succeeded, 1 Skipped |"), "{page}");
}

#[test]
fn what_people_type_is_taken_or_answered_at_once() {
    let environment = worked();
    let says = |line: &[&str], code: i32, expected: &str| {
        let outcome = environment.planspec(line);
        let all = format!("{}{}", outcome.stdout, outcome.stderr);
        assert!(
            outcome.code == code && all.contains(expected),
            "{line:?} exits with {}: {all}",
            outcome.code
        );
    };
    says(&["wait", "ex/work-1", "--for=condition=Failed"], 0, "execution/work-1 Failed");
    // It has ended, so that waiting for the ten minutes of the default would be for nothing.
    says(&["wait", "ex/work-1", "--for=condition=Succeeded"], 1, "execution/work-1 is Failed");
    says(&["logs", "work-1", "--node", "good", "--tail", "1"], 0, "three");
    says(&["logs", "work-1/good", "--node", "bad"], 2, "two nodes");
    says(&["logs", "plan/work"], 2, "is a plan, and an execution is expected");
    says(&["diff", "HEAD..HEAD"], 0, "no differences");
    says(&["diff", "HEAD...HEAD"], 2, "BASE..HEAD");
    says(&["diff", "HEAD..HEAD", "HEAD"], 2, "no second commit");
    says(&["describe", "work-1"], 2, "plan/NAME");
    says(&["graph", "work", "-o", "svg"], 2, "planspec graph NAME -f svg");
    says(&["run", "-f", "work.yaml", "--dry-run"], 2, "planspec validate -f FILE");
}

/// The demo works slowly on a terminal, and asks before it approves. Neither the end of input nor Ctrl-C is a yes; the second ends it at once.
#[test]
fn a_question_is_answered_with_no_by_ctrl_c_and_by_the_end_of_input() {
    let environment = TestEnvironment::new();
    let ask = |more: &str| {
        let mut command = std::process::Command::new("python3");
        command.args(["-c", TERMINAL, env!("CARGO_BIN_EXE_planspec"), "demo", "--color", "never"]);
        command.env("HOME", environment.root().join("home")).env("TMPDIR", environment.root());
        command.stdin(Stdio::piped());
        let begun = Instant::now();
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut out = child.stdout.take().unwrap();
        let mut input = child.stdin.take().unwrap();
        let mut seen = Vec::new();
        let mut sent = false;
        loop {
            let mut piece = [0_u8; 4096];
            match std::io::Read::read(&mut out, &mut piece) {
                Ok(0) | Err(_) => break,
                Ok(read) => seen.extend_from_slice(&piece[..read]),
            }
            if !sent && String::from_utf8_lossy(&seen).contains("[y/N]") {
                std::io::Write::write_all(&mut input, more.as_bytes()).unwrap();
                std::io::Write::flush(&mut input).unwrap();
                // Two tasks of a second each, so that there is something to see.
                assert!(begun.elapsed() >= Duration::from_secs(2), "{:?}", begun.elapsed());
                sent = true;
            }
        }
        (child.wait().unwrap().code(), String::from_utf8_lossy(&seen).into_owned())
    };
    // What the terminal makes of Ctrl-C and Ctrl-D.
    for (keys, code) in [("\u{3}", 130), ("\u{4}", 0), ("\n", 0)] {
        let (status, seen) = ask(keys);
        assert!(status == Some(code) && !seen.contains("approved by"), "{keys:?}: {status:?}\n{seen}");
    }
}
