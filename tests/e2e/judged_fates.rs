//! Work on the merge of two results, that leaves an artifact and is judged by a criterion and by somebody else; and a question: each
//! × failure, timeout, cancellation, a crash in the middle, going on after a clean stop, and going on on another machine.

use std::path::Path;

use planspec::model::{ExecutionPhase, NodePhase, NodeReason, NodeStatus};
use serde_json::json;

use crate::engine_rig::{Graph, QUICK, Runner, Stage, check_history, manifests, status_in};

const KEPT: &str = "refs/planspec/results/team/fate";

/// Two tasks, and one on top of both whose verifier lasts until it is told how to end.
fn stage(timeout: &str) -> Stage {
    let stage = Stage::new(QUICK, &[]);
    let (begun, told) = (stage.outside("begun"), stage.outside("told"));
    let judges = format!(
        "cat both; echo begun >> '{}'; until test -s '{1}'; do sleep 0.05; done; exit $(cat '{1}')",
        begun.display(),
        told.display()
    );
    let settings =
        json!({ "verify": { "provider": "tool://judge", "config": { "command": judges, "shell": true } } });
    let graph = Graph::new("fate")
        .editor("left", &[], "echo left > left")
        .editor("right", &[], "echo right > right")
        .editor_with(
            "both",
            &["left", "right"],
            "cat left right > both; echo jar > \"$PLANSPEC_ARTIFACTS/jar\"",
            &settings,
        )
        .field("timeout", json!(timeout))
        .field(
            "acceptanceCriteria",
            json!([{ "type": "test_passes", "name": "tests", "command": "test -s both" }]),
        );
    stage.commit("work.yaml", &manifests(&[&graph]));
    stage
}

/// A runner that is in the middle of judging.
fn judging(stage: &Stage) -> Runner {
    let runner = stage.start(&[]);
    stage.wait_until("the work is being judged", || stage.outside("begun").exists());
    runner
}

fn tell(stage: &Stage, code: &str) {
    std::fs::write(stage.outside("told"), code).unwrap();
}

/// The nodes of whose results the reference says that it keeps them.
fn kept(stage: &Stage) -> Vec<String> {
    let format = "--format=%(trailers:key=Planspec-Node,valueonly)";
    let listed = stage.environment.git(&["log", format, KEPT]).succeeds().stdout;
    let mut nodes: Vec<String> = listed.split_whitespace().map(ToOwned::to_owned).collect();
    nodes.sort();
    nodes
}

#[track_caller]
fn check_base(stage: &Stage, both: &NodeStatus) {
    let base = both.extensions.base.as_deref().unwrap();
    for side in ["left", "right"] {
        assert_eq!(stage.environment.git_output(&["show", &format!("{base}:{side}")]), side);
    }
}

#[track_caller]
fn check_nothing_kept(stage: &Stage, phase: NodePhase, reason: Option<NodeReason>) -> NodeStatus {
    let both = stage.node("fate", "both");
    assert_eq!(both.phase, phase, "{both:#?}");
    assert!(reason.is_none() || both.extensions.reason == reason, "{both:#?}");
    assert_eq!(both.extensions.result, None);
    assert_eq!(kept(stage), ["left", "right"], "what came before it stays");
    check_history(&stage.environment.repo());
    both
}

/// Goes on in `directory` to the end.
#[track_caller]
fn check_kept_once(stage: &Stage, directory: &Path) {
    tell(stage, "0");
    stage.reconcile_to_the_end(directory);
    let status = status_in(&stage.environment.repo(), "fate");
    assert_eq!(status.phase, ExecutionPhase::Succeeded, "{status:#?}");
    assert_eq!(kept(stage), ["both", "left", "right"], "the attempt that was lost left nothing");
    let both = stage.node("fate", "both");
    check_base(stage, &both);
    let result = both.extensions.result.as_ref().unwrap();
    assert_eq!(Some(&result.base), both.extensions.base.as_ref());
    // Each verdict once, and about this commit.
    let names: Vec<&str> = both.extensions.criteria.iter().map(|verdict| verdict.name.as_str()).collect();
    assert_eq!(names, ["tests", "verify: tool://judge"]);
    for verdict in &both.extensions.criteria {
        assert_eq!(verdict.checked.as_ref().map(|checked| &checked.commit), Some(&result.commit));
    }
    let listed = ["artifacts", "list", "fate", "-n", "team"];
    let listed = stage.environment.planspec_in(directory, &listed).succeeds().stdout;
    assert_eq!(listed.lines().filter(|line| line.contains("jar")).count(), 1, "{listed}");
    check_history(&stage.environment.repo());
}

#[test]
fn work_that_is_judged_to_be_wrong_is_not_kept_and_its_artifacts_are() {
    let stage = stage("1m");
    tell(&stage, "1");
    stage.reconcile(&[]).succeeds();
    let both = check_nothing_kept(&stage, NodePhase::Failed, Some(NodeReason::CriterionFailed));
    check_base(&stage, &both);
    let listed = stage.environment.planspec(&["artifacts", "list", "fate", "-n", "team"]).succeeds().stdout;
    assert!(listed.contains("jar"), "what explains a failure is kept: {listed}");
}

#[test]
fn work_whose_judge_takes_too_long_is_not_kept() {
    let stage = stage("2s");
    stage.reconcile(&[]).succeeds();
    check_nothing_kept(&stage, NodePhase::Failed, Some(NodeReason::Timeout));
}

#[test]
fn work_that_is_cancelled_while_it_is_judged_is_not_kept() {
    let stage = stage("1m");
    let mut runner = judging(&stage);
    stage.environment.planspec(&["cancel", "fate", "-n", "team"]).succeeds();
    runner.ends();
    stage.reconcile_to_the_end(&stage.environment.repo());
    check_nothing_kept(&stage, NodePhase::Cancelled, None);
}

#[test]
fn work_whose_runner_was_killed_while_it_was_judged_is_done_and_judged_again() {
    let stage = stage("1m");
    judging(&stage).kill();
    check_kept_once(&stage, &stage.environment.repo());
}

#[test]
fn work_whose_runner_was_asked_to_leave_while_it_was_judged_is_done_and_judged_again() {
    let stage = stage("1m");
    let mut runner = judging(&stage);
    runner.signal(rustix::process::Signal::TERM);
    runner.ends();
    check_kept_once(&stage, &stage.environment.repo());
}

#[test]
fn work_whose_runner_was_killed_while_it_was_judged_is_done_and_judged_on_another_machine() {
    let stage = stage("1m");
    judging(&stage).kill();
    check_kept_once(&stage, &stage.on_another_machine());
}

/// A task that asks before it changes anything, and counts what it used up.
fn asked(timeout: &str) -> Stage {
    let script = r#"if test -z "$PLANSPEC_ANSWER"; then
echo '{"question": "Which one?", "usage": {"tokens": 5}}' > "$PLANSPEC_RESULT"; else echo "$PLANSPEC_ANSWER" > both; fi"#;
    let graph = Graph::new("fate").editor("both", &[], script).field("timeout", json!(timeout));
    let stage = Stage::with_graphs(QUICK, &[&graph]);
    stage.reconcile(&[]).succeeds();
    stage
}

#[test]
fn a_question_is_answered_and_the_work_done_on_another_machine() {
    let stage = asked("1h");
    let both = stage.node("fate", "both");
    assert_eq!((both.phase, both.extensions.reason), (NodePhase::Blocked, Some(NodeReason::InputRequired)));
    // It is not begun anew behind the back of whoever is asked.
    let early = stage.environment.planspec(&["retry", "fate", "--from", "both", "-n", "team"]).exits(1);
    let said = "the question of node `both` is still open; answer it first (`planspec answer ";
    assert!(early.stderr.contains(said), "{}", early.stderr);
    let _ = std::fs::remove_dir_all(stage.outside("home/.cache"));
    let url = format!("file://{}", stage.environment.repo().display());
    let other = stage.clone_to(&url, "other");
    let answer = ["answer", "fate/both", "this one", "-n", "team"];
    stage.environment.planspec_in(&other, &answer).succeeds();
    stage.reconcile_to_the_end(&other);
    let both = stage.node("fate", "both");
    let commit = both.extensions.result.unwrap().commit.clone();
    assert_eq!(stage.environment.git_output(&["show", &format!("{commit}:both")]), "this one");
    assert_eq!(both.extensions.usage.and_then(|usage| usage.tokens), Some(5), "counted once");
}

#[test]
fn an_execution_that_is_cancelled_takes_its_question_back() {
    let stage = asked("1h");
    stage.environment.planspec(&["cancel", "fate", "-n", "team"]).succeeds();
    stage.reconcile_to_the_end(&stage.environment.repo());
    let both = stage.node("fate", "both");
    assert_eq!((both.phase, both.extensions.result), (NodePhase::Cancelled, None));
    stage.environment.planspec(&["answer", "fate/both", "this one", "-n", "team"]).exits(1);
}

#[test]
fn a_question_that_nobody_answers_ends_with_the_time_of_its_node() {
    let stage = asked("2s");
    let both = || stage.node("fate", "both");
    stage.reconcile_until("nobody has answered", || both().phase == NodePhase::Failed);
    assert_eq!((both().extensions.reason, both().extensions.result), (Some(NodeReason::Timeout), None));
}
