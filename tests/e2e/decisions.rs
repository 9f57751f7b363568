//! What people decide: approvals that count and approvals that do not, completion by hand, cancellation, retry,
//! suspension; each is a commit of its own, and the next reconcile goes on from there.

use planspec::model::NodePhase;
use serde_json::{Value, json};

use crate::engine_rig::{Graph, QUICK, Stage};
use crate::environment::{Outcome, TestEnvironment};

pub(crate) const CONFIG: &str = "
identities:
  wendy: {emails: [wendy@example.com], teams: [security]}
  rosa: {emails: [rosa@example.com], teams: [security]}
  mallory: {emails: [mallory@example.com]}
";

/// A gate with two approvers between two tasks, and a task that only a person does.
pub(crate) const WORK: &str = "
apiVersion: planspec.io/v1alpha1
kind: Gate
metadata: {name: look, namespace: team}
spec:
  gateType: review
  targetRef: {kind: Plan, name: p}
  reviewers: ['team:security']
  requiredApprovers: 2
---
apiVersion: planspec.io/v1alpha1
kind: Plan
metadata: {name: p, namespace: team}
spec:
  description: Build, have it looked at, ship it
  graph:
    nodes:
      - {id: build, kind: Task}
      - {id: look, kind: Gate, gateRef: {name: look}, dependsOn: [build]}
      - {id: ship, kind: Task, dependsOn: [look]}
      - {id: tell, kind: Task, dependsOn: [ship], outputs: [whom]}
---
apiVersion: planspec.io/v1alpha1
kind: Binding
metadata: {name: default, namespace: team}
spec:
  rules:
    - {selector: {planRef: {name: p}, nodeId: tell}, target: {provider: 'human://wendy'}}
    - selector: {planRef: {name: p}, nodeId: build}
      target: {provider: 'tool://build', config: {command: 'test -e fixed', shell: true, checkout: true}}
    - {selector: {planRef: {name: p}}, target: {provider: 'tool://true', config: {command: 'true'}}}
---
apiVersion: planspec.io/v1alpha1
kind: Execution
metadata: {name: e, namespace: team}
spec: {planRef: {name: p}}
";

/// The work is committed; `fixed` decides whether its first task succeeds.
pub(crate) fn environment(fixed: bool) -> TestEnvironment {
    let mut files = vec![(".planspec.yaml", CONFIG), ("work.yaml", WORK)];
    if fixed {
        files.push(("fixed", ""));
    }
    TestEnvironment::with_files(&files)
}

/// Runs a command as somebody.
pub(crate) fn by(environment: &TestEnvironment, who: &str, arguments: &[&str]) -> Outcome {
    let mut command = environment.planspec_command(&environment.repo());
    command.args(arguments);
    for name in ["GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"] {
        command.env(name, format!("{who}@example.com"));
    }
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Outcome {
        code: output.status.code().unwrap(),
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    }
}

pub(crate) fn object(environment: &TestEnvironment, what: &str) -> Value {
    environment.planspec(&["get", what, "-n", "team", "-o", "json"]).succeeds().json()
}

pub(crate) fn phases(environment: &TestEnvironment) -> Value {
    let nodes = object(environment, "execution/e")["status"]["nodeStatuses"].clone();
    let phase = |node: &str| nodes[node]["phase"].clone();
    json!([phase("build"), phase("look"), phase("ship"), phase("tell")])
}

#[track_caller]
pub(crate) fn check_phases(environment: &TestEnvironment, expected: [&str; 4]) {
    assert_eq!(phases(environment), json!(expected));
}

#[track_caller]
pub(crate) fn check_refused(outcome: &Outcome, why: &str) {
    assert_eq!(outcome.code, 1, "{outcome:?}");
    assert!(outcome.stderr.contains(why), "{outcome:?}");
}

#[test]
fn two_reviewers_open_a_gate_and_nobody_else_does() {
    let environment = environment(true);
    environment.planspec(&["reconcile"]).succeeds();
    check_phases(&environment, ["Succeeded", "Blocked", "Pending", "Pending"]);

    check_refused(&by(&environment, "mallory", &["approve", "look"]), "mallory is not a reviewer");
    let first = by(&environment, "wendy", &["approve", "look", "-m", "fine"]).succeeds();
    assert!(first.stdout.starts_with("gate/look has 1 of 2 approvals for execution/e\napproved: commit "));
    // The same person twice is one approver.
    by(&environment, "wendy", &["approve", "look"]).succeeds();
    environment.planspec(&["reconcile"]).succeeds();
    check_phases(&environment, ["Succeeded", "Blocked", "Pending", "Pending"]);

    by(&environment, "rosa", &["approve", "gate/look"]).succeeds();
    let gate = object(&environment, "gate/look")["status"].clone();
    assert_eq!(gate["phase"], "Approved");
    assert_eq!(gate["resolution"]["actors"], json!(["wendy", "rosa"]));
    assert_eq!(gate["decidedGeneration"], 1);
    environment.planspec(&["reconcile"]).succeeds();
    check_phases(&environment, ["Succeeded", "Succeeded", "Succeeded", "Blocked"]);
    let subjects = environment.git_output(&["log", "--format=%s", "planspec/status"]);
    assert!(subjects.contains("approved by rosa"), "{subjects}");
}

#[test]
fn a_change_of_the_gate_voids_the_approvals_before_it() {
    let environment = environment(true);
    environment.planspec(&["reconcile"]).succeeds();
    by(&environment, "wendy", &["approve", "look"]).succeeds();
    let changed = WORK.replace("gateType: review", "gateType: sign-off");
    environment.commit_files(&[("work.yaml", &changed)], "Ask for a signature");
    by(&environment, "rosa", &["approve", "look"]).succeeds();
    environment.planspec(&["reconcile"]).succeeds();
    check_phases(&environment, ["Succeeded", "Blocked", "Pending", "Pending"]);
    let gate = object(&environment, "gate/look");
    let text = gate["status"]["conditions"].to_string();
    assert!(text.contains("ReviewsVoid"), "{gate}");
    by(&environment, "wendy", &["approve", "look"]).succeeds();
    environment.planspec(&["reconcile"]).succeeds();
    check_phases(&environment, ["Succeeded", "Succeeded", "Succeeded", "Blocked"]);
}

#[test]
fn a_rejection_fails_the_node_and_a_retry_asks_again() {
    let environment = environment(true);
    environment.planspec(&["reconcile"]).succeeds();
    check_refused(&by(&environment, "wendy", &["retry", "e"]), "no node of team/execution/e has failed");
    by(&environment, "rosa", &["reject", "look", "-m", "no tests"]).succeeds();
    environment.planspec(&["reconcile"]).succeeds();
    check_phases(&environment, ["Succeeded", "Failed", "Skipped", "Skipped"]);
    let execution = object(&environment, "execution/e")["status"].clone();
    assert_eq!(execution["phase"], "Failed");
    assert_eq!(execution["message"], "look: rejected by rosa: no tests");

    by(&environment, "wendy", &["retry", "e"]).succeeds();
    environment.planspec(&["reconcile"]).succeeds();
    // The rejection was of the attempt before; the work that succeeded is not done again.
    check_phases(&environment, ["Succeeded", "Blocked", "Pending", "Pending"]);
    assert_eq!(object(&environment, "execution/e")["status"]["nodeStatuses"]["build"]["attempt"], 1);
}

#[test]
fn the_author_of_a_change_does_not_approve_it_where_the_configuration_says_so() {
    let environment = environment(true);
    let config = format!("{CONFIG}gates: {{authorMayApprove: false}}\n");
    environment.commit_files(&[(".planspec.yaml", &config)], "Four eyes");
    environment.planspec(&["reconcile"]).succeeds();
    check_refused(&by(&environment, "wendy", &["approve", "look"]), "wendy is the author");
    by(&environment, "rosa", &["approve", "look"]).succeeds();
}

/// Whoever wrote any commit of a branch that was merged had a hand in it, not only whoever merged it.
#[test]
fn nobody_who_wrote_a_part_of_a_merge_approves_it_where_authors_may_not() {
    let environment = environment(true);
    let config = format!("{CONFIG}gates: {{authorMayApprove: false}}\n");
    environment.git(&["switch", "--quiet", "-c", "feature"]).succeeds();
    environment.commit_files(&[(".planspec.yaml", &config)], "Four eyes");
    environment.commit_files(&[("notes.txt", "x")], "Notes");
    let rosa = ["-c", "user.name=Rosa", "-c", "user.email=rosa@example.com"];
    let amend = ["commit", "--quiet", "--amend", "--no-edit", "--author=Rosa <rosa@example.com>"];
    environment.git(&[&rosa[..], &amend].concat()).succeeds();
    environment.git(&["switch", "--quiet", "main"]).succeeds();
    environment.git(&["merge", "--quiet", "--no-ff", "-m", "Merge", "feature"]).succeeds();
    environment.planspec(&["reconcile"]).succeeds();
    for author in ["wendy", "rosa"] {
        let said = by(&environment, author, &["approve", "look"]);
        check_refused(&said, &format!("{author} is the author"));
    }
}

#[test]
fn a_person_completes_a_node_with_the_outputs_that_it_declares() {
    let environment = environment(true);
    environment.planspec(&["reconcile"]).succeeds();
    check_refused(&environment.planspec(&["complete", "e/tell", "whom=all"]), "waits for other nodes");
    by(&environment, "wendy", &["approve", "look"]).succeeds();
    by(&environment, "rosa", &["approve", "look"]).succeeds();
    environment.planspec(&["reconcile"]).succeeds();
    check_refused(&environment.planspec(&["complete", "e/tell"]), "missing: whom; pass outputs as NAME=TEXT");
    check_refused(
        &environment.planspec(&["complete", "e/tell", "whom=all", "who=x"]),
        "does not declare who",
    );
    check_refused(&environment.planspec(&["complete", "e/build", "x=1"]), "is already Succeeded");
    environment.planspec(&["complete", "e/tell", "whom:=[\"all\"]"]).succeeds();
    environment.planspec(&["reconcile"]).succeeds();
    let execution = object(&environment, "execution/e")["status"].clone();
    assert_eq!(execution["phase"], "Succeeded");
    assert_eq!(execution["nodeStatuses"]["tell"]["outputs"], json!({"whom": ["all"]}));
}

/// A capability that promises a number, and a task by a person that needs it.
const PROMISED: &str = "
apiVersion: planspec.io/v1alpha1
kind: Capability
metadata: {name: survey, namespace: team}
spec:
  description: Asks people
  outputs: [{name: count, type: number, required: true}, {name: mood, type: string, enum: [good, bad]}]
---
apiVersion: planspec.io/v1alpha1
kind: Plan
metadata: {name: p, namespace: team}
spec:
  description: Ask around
  graph: {nodes: [{id: ask, kind: Task, capabilityRefs: [{name: survey}]}]}
---
apiVersion: planspec.io/v1alpha1
kind: Binding
metadata: {name: default, namespace: team}
spec: {rules: [{selector: {capabilityRef: {name: survey}}, target: {provider: 'human://wendy'}}]}
---
apiVersion: planspec.io/v1alpha1
kind: Execution
metadata: {name: e, namespace: team}
spec: {planRef: {name: p}}
";

#[test]
fn what_a_person_gives_is_what_the_capability_promises_and_a_node_records_which_one_it_found() {
    let changed =
        PROMISED.replace("Asks people", "Asks people kindly").replace("human://wendy", "human://rosa");
    for (files, generation) in [(vec![PROMISED], 1), (vec![PROMISED, &changed], 2)] {
        let environment = TestEnvironment::with_files(&[("plan.yaml", "")]);
        let last = files.len() - 1;
        for (index, content) in files.into_iter().enumerate() {
            let only_last =
                content.split("---").filter(|one| index == last || !one.contains("kind: Execution"));
            let content = only_last.collect::<Vec<_>>().join("---");
            environment.commit_files(&[("plan.yaml", &content)], "Change");
            environment.planspec(&["reconcile"]).succeeds();
        }
        let node = object(&environment, "execution/e")["status"]["nodeStatuses"]["ask"].clone();
        let found = node["extensions"]["basis"]["capabilities"].clone();
        assert_eq!(found, json!([{ "name": "team/survey", "generation": generation }]), "{node}");
        assert_eq!(node["extensions"]["binding"]["generation"], generation, "{node}");
        let complete = |outputs: &[&str]| {
            let all: Vec<&str> = ["complete", "e/ask"].iter().chain(outputs).copied().collect();
            environment.planspec(&all)
        };
        check_refused(
            &complete(&["mood=good"]),
            "the output `count` is missing, which the capability `survey` promises",
        );
        check_refused(&complete(&["count=many"]), "the output `count` of the capability `survey`");
        check_refused(&complete(&["count=3", "mood=odd"]), "must be one of");
        complete(&["count=3", "mood=good", "more=x"]).succeeds();
        let node = object(&environment, "execution/e")["status"]["nodeStatuses"]["ask"].clone();
        assert_eq!(node["outputs"], json!({ "count": 3, "mood": "good", "more": "x" }));
    }
}

#[test]
fn what_cannot_be_done_is_said_to_have_failed() {
    let environment = TestEnvironment::with_files(&[("plan.yaml", PROMISED)]);
    environment.planspec(&["reconcile"]).succeeds();
    environment.planspec(&["fail", "e"]).exits(2);
    let said = environment.planspec(&["fail", "e/ask", "--reason", "nobody answers"]).succeeds();
    assert_eq!(said.stdout, "execution/e node ask failed\n");
    let status = object(&environment, "execution/e")["status"].clone();
    assert_eq!(status["phase"], "Failed");
    assert_eq!(status["message"], "ask: failed by wendy@example.com: nobody answers");
}

#[test]
fn what_failed_is_retried_with_everything_after_it_and_keeps_its_pinned_commit() {
    let environment = environment(false);
    environment.planspec(&["reconcile"]).succeeds();
    check_phases(&environment, ["Failed", "Skipped", "Skipped", "Skipped"]);
    environment.commit_files(&[("fixed", "")], "Fix it");
    environment.planspec(&["retry", "e", "-m", "flaky"]).succeeds();
    environment.planspec(&["reconcile"]).succeeds();
    // An execution is pinned: the fix is in a later commit, so the retry meets the same failure.
    check_phases(&environment, ["Failed", "Skipped", "Skipped", "Skipped"]);
    let build = object(&environment, "execution/e")["status"]["nodeStatuses"]["build"].clone();
    assert_eq!(build["attempt"], 2);
    let history = environment.planspec(&["history", "e", "-o", "json"]).succeeds().json().to_string();
    assert!(history.contains("retried by wendy: flaky"), "{history}");
}

#[test]
fn a_cancelled_execution_is_over_at_once_where_nobody_drives_it() {
    let environment = environment(true);
    environment.planspec(&["reconcile"]).succeeds();
    environment.planspec(&["cancel", "e", "-m", "not now"]).succeeds();
    check_phases(&environment, ["Succeeded", "Cancelled", "Cancelled", "Cancelled"]);
    assert_eq!(object(&environment, "execution/e")["status"]["phase"], "Cancelled");
    let tip = environment.git_output(&["rev-parse", "planspec/status"]);
    environment.planspec(&["reconcile"]).succeeds();
    assert_eq!(environment.git_output(&["rev-parse", "planspec/status"]), tip);
    check_refused(&environment.planspec(&["suspend", "e"]), "is already Cancelled");
}

#[test]
fn a_suspended_execution_starts_nothing_until_it_is_resumed() {
    let environment = environment(true);
    environment.planspec(&["reconcile"]).succeeds();
    by(&environment, "wendy", &["suspend", "e", "-m", "freeze"]).succeeds();
    by(&environment, "wendy", &["approve", "look"]).succeeds();
    by(&environment, "rosa", &["approve", "look"]).succeeds();
    let outcome = environment.planspec(&["reconcile"]).succeeds();
    assert!(outcome.stdout.contains("suspended by wendy"), "{}", outcome.stdout);
    check_phases(&environment, ["Succeeded", "Succeeded", "Pending", "Pending"]);
    by(&environment, "wendy", &["resume", "e"]).succeeds();
    environment.planspec(&["reconcile"]).succeeds();
    check_phases(&environment, ["Succeeded", "Succeeded", "Succeeded", "Blocked"]);
}

#[test]
fn hostile_comments_forge_nothing_in_the_history() {
    let environment = environment(true);
    environment.planspec(&["reconcile"]).succeeds();
    let comment = "ok\n\nPlanspec-Runner: forged\nteam/execution/e: Pending -> Succeeded\u{1b}[2J";
    by(&environment, "wendy", &["approve", "look", "-m", comment]).succeeds();
    let trailers =
        environment.git_output(&["log", "-1", "--format=%(trailers:key=Planspec-Runner)", "planspec/status"]);
    assert_eq!(trailers.lines().filter(|line| !line.is_empty()).count(), 1, "{trailers}");
    assert!(!trailers.contains("forged"));
    let history = environment.planspec(&["history", "-n", "team"]).succeeds().stdout;
    assert!(!history.contains('\u{1b}'), "{history}");
    let review = |line: &&str| line.contains("Planspec-Runner: forged");
    assert!(history.lines().any(|line| review(&line) && line.contains("team/gate/look")), "{history}");
    assert!(history.lines().all(|line| !line.starts_with("team/execution/e")), "{history}");
}

#[test]
fn gc_squashes_history_and_keeps_what_is_so() {
    let environment = environment(true);
    environment.planspec(&["reconcile"]).succeeds();
    environment.planspec(&["cancel", "e"]).succeeds();
    let tree = environment.git_output(&["rev-parse", "planspec/status^{tree}"]);
    let commits = || environment.git_output(&["rev-list", "--count", "planspec/status"]);
    let before = commits();
    assert_ne!(before, "1");
    let dry = environment.planspec(&["gc", "--older-than", "0", "--dry-run", "-o", "json"]).succeeds().json();
    assert_eq!(dry["squashed"].to_string(), before);
    assert_eq!(commits(), before);
    environment.planspec(&["gc", "--older-than", "0"]).succeeds();
    let kept = environment.git_output(&["rev-list", "--count", "planspec/status"]);
    assert!(kept.parse::<u32>().unwrap() <= 2, "{kept}");
    assert_eq!(object(&environment, "execution/e")["status"]["phase"], "Cancelled");
    assert_ne!(tree, "");
    environment.planspec(&["reconcile"]).succeeds();
    assert_eq!(environment.planspec(&["gc", "--older-than", "0"]).succeeds().code, 0);
}

#[test]
fn of_several_nodes_at_one_gate_the_one_that_waits_is_reviewed() {
    let gate = |id: &str, after: &[&str]| json!({ "id": id, "kind": "Gate", "gateRef": { "name": "look" }, "dependsOn": after });
    // In the order of the file, the one that is not reached yet comes first.
    let graph = Graph::new("twice").node(gate("late", &["between"])).task("between", &["early"], "true");
    let stage = Stage::with_graphs(QUICK, &[&graph.node(gate("early", &[]))]);
    stage.reconcile(&[]).succeeds();
    stage.environment.planspec(&["approve", "look", "-n", "team"]).succeeds();
    stage.reconcile(&[]).succeeds();
    assert_eq!(stage.node("twice", "between").phase, NodePhase::Succeeded);
}

#[test]
fn what_is_given_twice_is_refused() {
    let environment = environment(true);
    let twice = environment.planspec(&["complete", "e/tell", "whom=a", "whom=b", "-n", "team"]).exits(2);
    assert!(twice.stderr.contains("whom is given twice"), "{}", twice.stderr);
    let twice = environment.planspec(&["run", "plan/p", "-n", "team", "-p", "a=1", "-p", "a=2"]).exits(2);
    assert!(twice.stderr.contains("a is given twice"), "{}", twice.stderr);
}
