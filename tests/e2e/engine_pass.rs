//! One reconcile after another: what a pass does, that the next one has nothing to do, and that a cache that is gone,
//! locked or damaged changes nothing.

use planspec::model::{ExecutionPhase, Kind, NodePhase, NodeReason};

use crate::engine_rig::{
    Graph, QUICK, STATUS, Stage, bindings, check_history, check_trace, essence, execution, record_in,
    status_in, yaml,
};
use crate::git_server::GitServer;

fn diamond(stage_trace: &std::path::Path) -> Graph {
    let key = Stage::leaves_its_key(stage_trace);
    Graph::new("diamond")
        .task("a", &[], &format!("{key}; echo 'answer=42' >> \"$PLANSPEC_OUTPUT\""))
        .task("b", &["a"], &key)
        .task("c", &["a"], &key)
        .task("d", &["b", "c"], &key)
}

/// A stage with a diamond whose tasks leave their keys in `trace`.
fn stage() -> Stage {
    let stage = Stage::new(QUICK, &[]);
    let graph = diamond(&stage.outside("trace"));
    stage.commit("work.yaml", &yaml(&[graph.plan(), execution("diamond", "diamond"), bindings(&[&graph])]));
    stage
}

#[track_caller]
fn check_nothing_to_do(stage: &Stage) {
    let tip = stage.status_tip();
    let outcome = stage.reconcile(&[]).succeeds();
    assert_eq!(outcome.stdout, "nothing to do\n");
    assert_eq!(outcome.stderr, "");
    assert_eq!(stage.status_tip(), tip);
}

#[test]
fn everything_runs_once_and_a_second_reconcile_makes_no_commit() {
    let stage = stage();
    let first = stage.reconcile(&[]).succeeds();
    assert_eq!(first.stderr, "");
    let status = stage.status("diamond");
    assert_eq!(status.phase, ExecutionPhase::Succeeded);
    assert!(status.queued_time <= status.start_time, "{status:?}");
    assert!(status.extensions.lease.is_none());
    check_nothing_to_do(&stage);
    check_nothing_to_do(&stage);
    check_history(&stage.environment.repo());
    check_trace(&stage.environment.repo(), &["diamond"], &stage.trace("trace"));
    assert_eq!(stage.trace("trace").len(), 4);
}

#[test]
fn a_cache_that_is_gone_or_damaged_costs_only_time() {
    let stage = stage();
    stage.reconcile(&[]).succeeds();
    let cache = stage.environment.repo().join(".git/planspec");
    std::fs::remove_dir_all(&cache).unwrap();
    check_nothing_to_do(&stage);
    for entry in std::fs::read_dir(&cache).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            std::fs::write(&path, "not what it was").unwrap();
        }
    }
    check_nothing_to_do(&stage);
    assert_eq!(stage.trace("trace").len(), 4);
}

#[test]
fn the_cache_may_vanish_while_tasks_run() {
    let stage = Stage::new(QUICK, &[]);
    let key = Stage::leaves_its_key(&stage.outside("trace"));
    let graph = Graph::new("slow").task("a", &[], &format!("{key}; sleep 0.4")).task("b", &["a"], &key);
    let documents = [graph.plan(), execution("slow", "slow"), bindings(&[&graph])];
    stage.commit("work.yaml", &yaml(&documents));
    let mut runner = stage.start(&[]);
    stage.wait_until("the first task runs", || !stage.trace("trace").is_empty());
    std::fs::remove_dir_all(stage.environment.repo().join(".git/planspec")).unwrap();
    runner.succeeds();
    stage.reconcile_to_the_end(&stage.environment.repo());
    assert_eq!(stage.status("slow").phase, ExecutionPhase::Succeeded);
    assert_eq!(stage.node("slow", "b").phase, NodePhase::Succeeded);
    check_history(&stage.environment.repo());
}

#[test]
fn a_locked_cache_is_done_without() {
    let stage = stage();
    let cache = stage.environment.repo().join(".git/planspec");
    std::fs::create_dir_all(&cache).unwrap();
    stage.reconcile(&[]).succeeds();
    let database = std::fs::read_dir(&cache)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|extension| extension == "redb"))
        .unwrap();
    let held = std::fs::File::open(&database).unwrap();
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).unwrap();
    check_nothing_to_do(&stage);
    stage.commit("more.yaml", &yaml(&[execution("again", "diamond")]));
    stage.reconcile(&[]).succeeds();
    assert_eq!(essence(&stage.status("again"))["nodes"], essence(&stage.status("diamond"))["nodes"]);
    drop(held);
    check_nothing_to_do(&stage);
    assert!(record_in(&stage.environment.repo(), Kind::Execution, "again").is_some());
    assert_eq!(stage.trace("trace").len(), 8);
}

#[test]
fn a_clone_may_be_pruned_while_tasks_run_and_nothing_in_flight_is_lost() {
    let server = GitServer::new();
    let stage = Stage::new("publish: {burst: 1000, perMinute: 6000}\n", &[]);
    let step = |name: &str| {
        let key = Stage::leaves_its_key(&stage.outside("trace"));
        format!(
            "{key}; echo {name} > {name}.txt; while [ ! -e '{}' ]; do sleep 0.05; done",
            stage.outside(name).display()
        )
    };
    let graph = Graph::new("work").editor("a", &[], &step("a")).editor("b", &["a"], &step("b")).editor(
        "c",
        &["b"],
        &format!("{}; cat a.txt b.txt", step("c")),
    );
    let documents = [graph.plan(), execution("work", "work"), bindings(&[&graph])];
    stage.commit("work.yaml", &yaml(&documents));
    let url = server.file_url();
    stage.environment.git(&["push", "--quiet", &url, "main"]).succeeds();
    let clone = stage.clone_to(&url, "clone");
    let mut runner = stage.start_in(&clone, &[]);
    for (number, name) in ["a", "b", "c"].into_iter().enumerate() {
        stage.wait_until("the task runs", || stage.trace("trace").len() == number + 1);
        stage.environment.git_in(&clone, &["gc", "--quiet", "--prune=now"]).succeeds();
        std::fs::write(stage.outside(name), "").unwrap();
    }
    runner.succeeds();
    assert_eq!(status_in(&server.bare(), "work").phase, ExecutionPhase::Succeeded);
    stage.environment.git_in(&server.bare(), &["fsck", "--connectivity-only", "--no-progress"]).succeeds();
    assert_eq!(stage.trace("trace").len(), 3);
    check_history(&server.bare());
}

#[test]
fn a_record_that_runs_although_all_its_nodes_have_ended_heals() {
    let stage = stage();
    stage.reconcile(&[]).succeeds();
    let work = stage.outside("by-hand");
    stage.environment.git(&["worktree", "add", "--quiet", work.to_str().unwrap(), STATUS]).succeeds();
    let file = work.join("team/executions/diamond.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let edited = text.replacen("\n  phase: Succeeded\n", "\n  phase: Running\n", 1);
    assert_ne!(text, edited, "the phase of the whole is where it is expected");
    std::fs::write(&file, edited).unwrap();
    stage.environment.git_in(&work, &["commit", "--quiet", "-am", "It runs again"]).succeeds();
    assert_eq!(stage.status("diamond").phase, ExecutionPhase::Running);
    stage.reconcile(&[]).succeeds();
    assert_eq!(stage.status("diamond").phase, ExecutionPhase::Succeeded);
    assert_eq!(stage.trace("trace").len(), 4, "nothing runs again");
    check_nothing_to_do(&stage);
}

#[test]
fn a_timeout_ends_an_attempt_whose_artifacts_take_too_long_to_read() {
    let stage = Stage::new(QUICK, &[]);
    // A hole of 200 GB, which takes minutes to digest on any machine.
    let script = "truncate -s 200G \"$PLANSPEC_ARTIFACTS/large\"";
    let graph = Graph::new("large").task_with("a", &[], script, &serde_json::json!({ "timeout": "3s" }));
    stage.commit("work.yaml", &yaml(&[graph.plan(), execution("large", "large"), bindings(&[&graph])]));
    let mut runner = stage.start(&[]);
    stage.wait_until("it has ended", || {
        let record = record_in(&stage.environment.repo(), Kind::Execution, "large");
        record.is_some_and(|record| record.execution().unwrap().phase.is_terminal())
    });
    runner.ends();
    let node = stage.node("large", "a");
    assert_eq!(
        (node.phase, node.extensions.reason),
        (NodePhase::Failed, Some(NodeReason::Timeout)),
        "{node:?}"
    );
}
