//! The commands that read, after a reconcile: status, history, logs, and waiting for it.

use crate::environment::TestEnvironment;

/// A repository with the example of `planspec init`, reconciled.
fn reconciled() -> TestEnvironment {
    let environment = TestEnvironment::new();
    environment.planspec(&["init"]).succeeds();
    environment.git(&["add", "--all"]).succeeds();
    environment.git(&["commit", "--quiet", "-m", "Begin"]).succeeds();
    environment.planspec(&["reconcile"]).succeeds();
    environment
}

#[test]
fn status_is_shown_by_get_describe_and_graph() {
    let environment = reconciled();
    let value = environment.planspec(&["get", "execution/hello-1", "-o", "json"]).succeeds().json();
    assert_eq!(
        (&value["status"]["phase"], &value["metadata"]["generation"]),
        (&"Succeeded".into(), &1.into())
    );
    let version = value["metadata"]["resourceVersion"].as_str().unwrap();
    let path = "planspec/status:default/executions/hello-1.yaml";
    assert_eq!(environment.git_output(&["rev-parse", path]), version);
    let table = environment.planspec(&["get", "executions", "-n", "default"]).succeeds();
    assert!(table.lines()[1].starts_with("hello-1   Succeeded   2/2"), "{}", table.stdout);
    let page = environment.planspec(&["describe", "execution/hello-1"]).succeeds().stdout;
    assert!(page.contains("hello, world") && page.contains("Running → Succeeded"), "{page}");
    let graph = environment.planspec(&["graph", "hello-1"]).succeeds().stdout;
    assert!(graph.contains("✔ greet  Task      Succeeded"), "{graph}");
    assert_eq!(
        environment.planspec(&["get", "executions", "--phase", "failed", "-o", "name"]).succeeds().stdout,
        ""
    );
}

#[test]
fn the_graph_of_an_execution_is_the_one_that_it_ran() {
    let environment = reconciled();
    let text = environment.read("planspec/hello.yaml").replace("- id: check", "- id: verify");
    environment.commit_files(&[("planspec/hello.yaml", &text)], "Rename a node");
    assert!(environment.planspec(&["graph", "execution/hello-1"]).succeeds().stdout.contains("check"));
    assert!(environment.planspec(&["graph", "plan/hello-v1"]).succeeds().stdout.contains("verify"));
}

#[test]
fn history_says_who_did_what_from_which_commit() {
    let environment = reconciled();
    let desired = environment.git_output(&["rev-parse", "main"]);
    let entries =
        environment.planspec(&["history", "hello-1", "--node", "greet", "-o", "json"]).succeeds().json();
    let entries = entries.as_array().unwrap();
    let transitions: Vec<&str> = entries.iter().map(|entry| entry["to"].as_str().unwrap()).collect();
    assert_eq!(transitions, ["Running", "Succeeded"]);
    assert!(entries.iter().all(|entry| entry["desired"].as_str().is_some_and(|id| desired.starts_with(id))));
    let last = environment.planspec(&["history", "--limit", "1"]).succeeds();
    assert_eq!(last.lines().len(), 2, "{}", last.stdout);
}

#[test]
fn logs_come_from_the_run_and_elsewhere_from_the_record() {
    let environment = reconciled();
    let whole = environment.planspec(&["logs", "hello-1/check"]).succeeds().stdout;
    assert!(whole.contains("\"greeting\": \"hello, world\""), "{whole}");
    let followed = environment.planspec(&["logs", "hello-1/check", "-f"]).succeeds().stdout;
    assert_eq!(followed, whole);
    std::fs::remove_dir_all(environment.repo().join(".git/planspec/runs")).unwrap();
    assert_eq!(environment.planspec(&["logs", "hello-1/check"]).succeeds().stdout, whole);
    let outcome = environment.planspec(&["logs", "hello-1/chek"]).exits(1);
    assert!(outcome.stderr.contains("did you mean `check`"), "{}", outcome.stderr);
}

#[test]
fn waiting_ends_with_a_yes_a_no_or_the_time() {
    let environment = reconciled();
    environment.planspec(&["wait", "execution/hello-1", "--for=phase=Succeeded"]).succeeds();
    environment.planspec(&["wait", "execution/hello-1", "--for=condition=Complete"]).succeeds();
    let never = environment.planspec(&["wait", "execution/hello-1", "--for=phase=Failed"]).exits(1);
    assert!(never.stderr.contains("is Succeeded"), "{}", never.stderr);
    let late = environment.planspec(&["wait", "goal/hello", "--for=delete", "--timeout=300ms"]).exits(1);
    assert!(late.stderr.contains("still waiting"), "{}", late.stderr);
    environment.planspec(&["wait", "goal/hello", "--for=ready"]).exits(2);
}

#[test]
fn a_wait_notices_what_is_done_meanwhile() {
    let environment = reconciled();
    let mut command = environment.planspec_command(&environment.repo());
    command.args(["wait", "execution/hello-1", "--for=delete", "--timeout=60s"]);
    let child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    environment.planspec(&["delete", "execution/hello-1"]).succeeds();
    environment.planspec(&["reconcile"]).succeeds();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "execution/hello-1 deleted\n");
}

#[test]
fn a_watch_shows_everything_once_and_then_what_changes() {
    let environment = reconciled();
    let mut command = environment.planspec_command(&environment.repo());
    command.args(["watch", "executions", "-o", "name", "--timeout", "20s"]);
    let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    assert_eq!(lines.next().unwrap().unwrap(), "execution/hello-1");
    environment.planspec(&["run", "goal/hello", "--name", "hello-2"]).succeeds();
    assert_eq!(lines.next().unwrap().unwrap(), "execution/hello-2");
    environment.planspec(&["reconcile"]).succeeds();
    assert_eq!(lines.next().unwrap().unwrap(), "execution/hello-2");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn with_a_remote_the_status_of_the_remote_counts() {
    let environment = TestEnvironment::new();
    environment.planspec(&["init"]).succeeds();
    environment.git(&["add", "--all"]).succeeds();
    environment.git(&["commit", "--quiet", "-m", "Begin"]).succeeds();
    let origin = environment.root().join("origin.git");
    environment.git(&["clone", "--quiet", "--bare", ".", origin.to_str().unwrap()]).succeeds();
    environment.git(&["remote", "add", "origin", origin.to_str().unwrap()]).succeeds();
    environment.planspec(&["reconcile"]).succeeds();
    let other = environment.root().join("other");
    environment.git(&["clone", "--quiet", origin.to_str().unwrap(), other.to_str().unwrap()]).succeeds();
    let phase = |arguments: &[&str]| {
        let value = environment.planspec_in(&other, arguments).succeeds().json();
        value["status"]["phase"].as_str().map(str::to_owned)
    };
    let get = ["get", "execution/hello-1", "-o", "json"];
    assert_eq!(phase(&get).as_deref(), Some("Succeeded"));
    assert_eq!(phase(&[&get[..], &["--remote", "."]].concat()), None, "its own branch has no status");
    // What was fetched last serves while the remote is away.
    std::fs::rename(&origin, environment.root().join("away.git")).unwrap();
    let outcome = environment.planspec_in(&other, &get).succeeds();
    assert!(outcome.stderr.contains("showing what was fetched last"), "{}", outcome.stderr);
    assert_eq!(outcome.json()["status"]["phase"], "Succeeded");
}

#[test]
fn a_dry_run_says_what_a_reconcile_begins_with_and_records_nothing() {
    let environment = TestEnvironment::new();
    environment.planspec(&["init"]).succeeds();
    environment.git(&["add", "--all"]).succeeds();
    environment.git(&["commit", "--quiet", "-m", "Begin"]).succeeds();
    let said = environment.planspec(&["reconcile", "--dry-run"]).succeeds();
    assert!(said.stdout.contains("default/hello-1 greet Running (attempt 1) (dry run)\n"), "{}", said.stdout);
    assert!(said.stdout.contains("default/plan/hello-v1 created, Ready (dry run)\n"), "{}", said.stdout);
    assert!(!said.stdout.contains("check Running"), "{}", said.stdout);
    assert!(said.stdout.ends_with("start 1 attempt; nothing was recorded or started\n"), "{}", said.stdout);
    environment.git(&["rev-parse", "--verify", "--quiet", "planspec/status"]).exits(1);
    let events = environment.planspec(&["reconcile", "--dry-run", "-o", "json"]).succeeds();
    let events: Vec<serde_json::Value> =
        events.lines().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&events[0]["event"], &events[0]["dryRun"]), (&"passStarted".into(), &true.into()));
    let last = events.last().unwrap();
    assert_eq!((&last["event"], &last["starts"]), (&"dryRunEnded".into(), &1.into()));
    // The reconcile that follows is none the wiser.
    let real = environment.planspec(&["reconcile"]).succeeds();
    assert!(real.stdout.contains("default/hello-1 Succeeded\n"), "{}", real.stdout);
    assert_eq!(environment.planspec(&["reconcile", "--dry-run"]).succeeds().stdout, "nothing to do\n");
}
