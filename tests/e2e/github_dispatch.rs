//! `github-actions://` on a Git host: one run for one attempt, whatever becomes of the runner, and called off with its node.

use std::process::Command;

use serde_json::{Value, json};

use crate::environment::TestEnvironment;
use crate::github_host::GitHubHost;
use crate::overdue::{LONG, wait_within};

const WORK: &str = "
apiVersion: planspec.io/v1alpha1
kind: Plan
metadata: {name: p, namespace: team}
spec:
  description: Build it elsewhere
  graph:
    nodes:
      - {id: build, kind: Task, inputs: {platform: linux}, outputs: [url]}
---
apiVersion: planspec.io/v1alpha1
kind: Binding
metadata: {name: default, namespace: team}
spec:
  rules:
    - {selector: {planRef: {name: p}}, target: {provider: 'github-actions://acme/app/build.yml@main'}}
---
apiVersion: planspec.io/v1alpha1
kind: Execution
metadata: {name: e, namespace: team}
spec: {planRef: {name: p}}
";

/// A lease that a runner on a busy machine keeps, and that the next one waits out.
const QUICK: &str = "lease: {duration: 3s, skew: 50ms}\n";

fn world() -> (TestEnvironment, GitHubHost) {
    let environment = TestEnvironment::with_files(&[(".planspec.yaml", QUICK), ("work.yaml", WORK)]);
    (environment, GitHubHost::start())
}

fn reconcile(environment: &TestEnvironment, host: &GitHubHost) -> Command {
    reconcile_for(environment, host, "8s")
}

fn reconcile_for(environment: &TestEnvironment, host: &GitHubHost, longest: &str) -> Command {
    let mut command = environment.planspec_command(&environment.repo());
    command.args(["reconcile", "--max-duration", longest]);
    command.env("GITHUB_TOKEN", "ghs_0123456789abcdef").env("GITHUB_API_URL", host.url());
    command
}

fn node(environment: &TestEnvironment) -> Value {
    let get = ["get", "execution/e", "-n", "team", "-o", "json"];
    environment.planspec(&get).succeeds().json()["status"]["nodeStatuses"]["build"].clone()
}

#[test]
fn a_runner_that_is_killed_while_it_starts_a_workflow_leaves_the_run_to_the_next() {
    let (environment, host) = world();
    host.with(|state| state.slow = Some("POST /repos/acme/app/actions/workflows/build.yml/dispatches"));
    // On a busy machine, one that has eight seconds may end before it came to it.
    let mut runner = reconcile_for(&environment, &host, "10m").spawn().unwrap();
    wait_within(LONG, "the workflow is started", || host.with(|state| !state.runs.all.is_empty()));
    runner.kill().unwrap();
    runner.wait().unwrap();
    host.with(|state| state.slow = None);
    let done = reconcile(&environment, &host).output().unwrap();
    let node = node(&environment);
    assert_eq!((&node["phase"], &node["attempt"]), (&json!("Succeeded"), &json!(2)), "{done:?}");
    assert_eq!(node["outputs"], json!({"url": "https://github.com/acme/app/actions/runs/700"}));
    assert_eq!(host.with(|state| state.runs.started.len()), 1);
}

#[test]
fn a_run_is_cancelled_with_its_execution() {
    let (environment, host) = world();
    host.with(|state| state.runs.slow = true);
    reconcile(&environment, &host).output().unwrap();
    assert_eq!(node(&environment)["extensions"]["reason"], "AwaitingProvider");
    environment.planspec(&["cancel", "e", "-n", "team"]).succeeds();
    reconcile(&environment, &host).output().unwrap();
    assert_eq!(node(&environment)["phase"], "Cancelled");
    assert_eq!(host.with(|state| state.runs.all[0]["conclusion"].clone()), "cancelled");
}
