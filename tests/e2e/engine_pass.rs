//! One reconcile after another: what a pass does, that the next one has nothing to do, and that a cache that is gone,
//! locked or damaged changes nothing.

use planspec::model::{ExecutionPhase, Kind, NodePhase};

use crate::engine_rig::{Graph, QUICK, Stage, check_history, check_trace, essence, record_in};

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
    stage.commit(
        "work.yaml",
        &crate::engine_rig::yaml(&[
            graph.plan(),
            crate::engine_rig::execution("diamond", "diamond"),
            crate::engine_rig::bindings(&[&graph]),
        ]),
    );
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
    let documents =
        [graph.plan(), crate::engine_rig::execution("slow", "slow"), crate::engine_rig::bindings(&[&graph])];
    stage.commit("work.yaml", &crate::engine_rig::yaml(&documents));
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
    stage.commit("more.yaml", &crate::engine_rig::yaml(&[crate::engine_rig::execution("again", "diamond")]));
    stage.reconcile(&[]).succeeds();
    assert_eq!(essence(&stage.status("again"))["nodes"], essence(&stage.status("diamond"))["nodes"]);
    drop(held);
    check_nothing_to_do(&stage);
    assert!(record_in(&stage.environment.repo(), Kind::Execution, "again").is_some());
    assert_eq!(stage.trace("trace").len(), 8);
}
