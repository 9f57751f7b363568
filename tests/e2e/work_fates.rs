//! A task whose changes are kept × failure, timeout, cancellation, a crash in the middle, going on after a clean stop, and
//! going on on another machine: what ended well is kept once, and of anything else nothing is.

use std::path::Path;

use planspec::model::{ExecutionPhase, NodePhase, NodeReason};
use serde_json::json;

use crate::engine_rig::{Graph, QUICK, Runner, Stage, check_history, status_in};

const KEPT: &str = "refs/planspec/results/team/fate";

/// A task that ended, and after it one that has changed a file and lasts until it is told how to end.
fn stage(timeout: &str) -> Stage {
    // The manifest names files outside of the repository, which are known only once that is there.
    let stage = Stage::new(QUICK, &[]);
    let (begun, told) = (stage.outside("begun"), stage.outside("told"));
    let script = format!(
        "cat one > two; echo begun >> '{}'; until test -s '{1}'; do sleep 0.05; done; exit $(cat '{1}')",
        begun.display(),
        told.display()
    );
    let graph = Graph::new("fate")
        .editor("first", &[], "echo one > one")
        .editor("second", &["first"], &script)
        .field("timeout", json!(timeout));
    stage.commit("work.yaml", &crate::engine_rig::manifests(&[&graph]));
    stage
}

/// A runner that is in the middle of the second task.
fn in_the_middle(stage: &Stage) -> Runner {
    let runner = stage.start(&[]);
    stage.wait_until("the second task has changed a file", || stage.outside("begun").exists());
    runner
}

fn tell(stage: &Stage, code: &str) {
    std::fs::write(stage.outside("told"), code).unwrap();
}

/// The nodes of whose results the reference says that it keeps them.
fn kept(stage: &Stage, repo: &Path) -> Vec<String> {
    let format = "--format=%(trailers:key=Planspec-Node,valueonly)";
    let listed = stage.environment.git_in(repo, &["log", format, KEPT]).succeeds().stdout;
    let mut nodes: Vec<String> = listed.split_whitespace().map(ToOwned::to_owned).collect();
    nodes.sort();
    nodes
}

#[track_caller]
fn check_nothing_kept(stage: &Stage, phase: NodePhase, whole: ExecutionPhase, why: Option<NodeReason>) {
    let repo = stage.environment.repo();
    let second = stage.node("fate", "second");
    assert_eq!((second.phase, stage.status("fate").phase), (phase, whole), "{second:#?}");
    if why.is_some() {
        assert_eq!(second.extensions.reason, why);
    }
    assert_eq!(second.extensions.result, None);
    assert_eq!(kept(stage, &repo), ["first"], "what came before it stays");
    assert!(!repo.join("two").exists());
    check_history(&repo);
}

/// Goes on in `directory` to the end.
#[track_caller]
fn check_kept_once(stage: &Stage, directory: &Path) {
    tell(stage, "0");
    stage.reconcile_to_the_end(directory);
    let repo = stage.environment.repo();
    let status = status_in(&repo, "fate");
    assert_eq!(status.phase, ExecutionPhase::Succeeded, "{status:#?}");
    assert_eq!(kept(stage, &repo), ["first", "second"], "the attempt that was lost left nothing");
    let first = stage.node("fate", "first").extensions.result.unwrap();
    let second = stage.node("fate", "second").extensions.result.unwrap();
    assert_eq!(second.base, first.commit);
    assert_eq!(stage.environment.git_output(&["show", &format!("{}:two", second.commit)]), "one");
    stage.environment.git(&["fsck", "--strict", "--connectivity-only"]).succeeds();
    check_history(&repo);
}

#[test]
fn of_work_that_fails_nothing_is_kept() {
    let stage = stage("1m");
    tell(&stage, "3");
    stage.reconcile(&[]).succeeds();
    check_nothing_kept(&stage, NodePhase::Failed, ExecutionPhase::Failed, None);
}

#[test]
fn of_work_that_takes_too_long_nothing_is_kept() {
    let stage = stage("1s");
    stage.reconcile(&[]).succeeds();
    check_nothing_kept(&stage, NodePhase::Failed, ExecutionPhase::Failed, Some(NodeReason::Timeout));
}

#[test]
fn of_work_that_is_cancelled_nothing_is_kept() {
    let stage = stage("1m");
    let mut runner = in_the_middle(&stage);
    stage.environment.planspec(&["cancel", "fate", "-n", "team"]).succeeds();
    runner.ends();
    stage.reconcile_to_the_end(&stage.environment.repo());
    check_nothing_kept(&stage, NodePhase::Cancelled, ExecutionPhase::Cancelled, None);
}

#[test]
fn work_whose_runner_was_killed_is_done_again_and_kept_once() {
    let stage = stage("1m");
    in_the_middle(&stage).kill();
    check_kept_once(&stage, &stage.environment.repo());
}

#[test]
fn work_whose_runner_was_asked_to_leave_is_done_again_and_kept_once() {
    let stage = stage("1m");
    let mut runner = in_the_middle(&stage);
    runner.signal(rustix::process::Signal::TERM);
    runner.ends();
    check_kept_once(&stage, &stage.environment.repo());
}

#[test]
fn work_whose_runner_was_killed_is_done_on_another_machine_and_kept_once() {
    let stage = stage("1m");
    in_the_middle(&stage).kill();
    check_kept_once(&stage, &stage.on_another_machine());
}
