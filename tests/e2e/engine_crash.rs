//! Runners that are killed at any moment, and others that go on from a fresh clone on another path: nothing that was
//! over is lost or repeated, and it ends as if nothing had happened.

use std::path::Path;
use std::time::Duration;

use planspec::model::ExecutionPhase;
use serde_json::Value;

use crate::engine_rig::{
    Graph, QUICK, Stage, check_history, check_trace, essence, execution, status_in, yaml,
};

/// A graph with everything that moves: data flow, parallel work, a failure that is expected, a retry, a condition, a
/// group and an implicit skip. Each task leaves its key outside.
fn graph(trace: &Path) -> Graph {
    let key = Stage::leaves_its_key(trace);
    let pause = "sleep 0.02";
    Graph::new("work")
        .task_with(
            "begin",
            &[],
            &format!("{key}; {pause}; echo 'word=hello' >> \"$PLANSPEC_OUTPUT\""),
            &serde_json::json!({ "outputs": ["word"] }),
        )
        .task_with(
            "left",
            &["begin"],
            &format!("{key}; {pause}; grep -q 'hello' \"$PLANSPEC_INPUTS\""),
            &serde_json::json!({ "inputs": { "word": "${{ nodes.begin.outputs.word }}" } }),
        )
        .task("right", &["begin"], &format!("{key}; {pause}; echo right"))
        .task("broken", &["begin"], &format!("{key}; exit 3"))
        .task("never", &["broken"], &key)
        .task_with(
            "rescue",
            &["broken"],
            &format!("{key}; {pause}"),
            &serde_json::json!({ "when": "nodes.broken.phase == 'Failed'" }),
        )
        .task("end", &["left", "right"], &format!("{key}; {pause}"))
        .node(serde_json::json!({ "id": "both", "kind": "Group", "children": ["left", "right"] }))
}

fn stage() -> Stage {
    let stage = Stage::new(QUICK, &[]);
    let graph = graph(&stage.outside("trace"));
    let documents = [graph.plan(), execution("work", "work"), crate::engine_rig::bindings(&[&graph])];
    stage.commit("work.yaml", &yaml(&documents));
    stage
}

/// How it ends when nobody interferes.
fn undisturbed() -> Value {
    let stage = stage();
    stage.reconcile(&[]).succeeds();
    let status = stage.status("work");
    assert_eq!(status.phase, ExecutionPhase::Failed, "one of its tasks is meant to fail");
    essence(&status)
}

/// Kills a reconcile at some moment, goes on from a clone on another path, and kills that one, too, before a third
/// finishes the work.
#[track_caller]
fn check_killed(expected: &Value, moment: impl Fn(&crate::engine_rig::Runner, u32)) {
    let stage = stage();
    let repository = stage.environment.repo();
    let mut first = stage.start(&[]);
    moment(&first, 0);
    first.kill();
    let url = format!("file://{}", repository.display());
    let clone = stage.clone_to(&url, "elsewhere");
    let mut second = stage.start_in(&clone, &[]);
    moment(&second, 1);
    second.kill();
    let clone = stage.clone_to(&url, "yet/another/place");
    stage.reconcile_to_the_end(&clone);
    assert_eq!(essence(&status_in(&repository, "work")), *expected);
    check_history(&repository);
    check_trace(&repository, &["work"], &stage.trace("trace"));
    // The repository in which a runner died is as good as any other.
    let outcome = stage.reconcile(&["--remote", "."]).succeeds();
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("nothing to do\n", ""));
}

#[test]
fn killed_after_any_number_of_milliseconds() {
    let expected = undisturbed();
    for millis in [20, 60, 110, 170, 240, 330] {
        check_killed(&expected, |_, _| std::thread::sleep(Duration::from_millis(millis)));
    }
}

#[test]
fn killed_after_any_line_of_output() {
    let expected = undisturbed();
    for lines in [1, 4, 6, 8, 11] {
        check_killed(&expected, |runner, round| {
            let wanted = if round == 0 { lines } else { 2 };
            let begun = std::time::Instant::now();
            while runner.output().lines().count() < wanted && begun.elapsed() < Duration::from_secs(2) {
                std::thread::sleep(Duration::from_millis(1));
            }
        });
    }
}

#[test]
fn a_repository_in_which_a_runner_was_killed_goes_on_by_itself() {
    let expected = undisturbed();
    let stage = stage();
    let repository = stage.environment.repo();
    for millis in [40, 80, 120, 160, 200] {
        let mut runner = stage.start(&[]);
        std::thread::sleep(Duration::from_millis(millis));
        runner.kill();
    }
    stage.reconcile_to_the_end(&repository);
    assert_eq!(essence(&stage.status("work")), expected);
    check_history(&repository);
    check_trace(&repository, &["work"], &stage.trace("trace"));
}

/// The kill that hits the moment in which the status branch is locked: rare where it falls by chance, as above.
#[test]
fn a_lock_that_a_killed_runner_left_holds_up_no_clone_of_its_repository() {
    let expected = undisturbed();
    let stage = stage();
    let repository = stage.environment.repo();
    let branch = "refs/heads/planspec/status";
    let note = repository.join(".git/planspec/references.lock");
    let lock = repository.join(format!(".git/{branch}.lock"));
    for file in [&note, &lock] {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    }
    let clone = stage.clone_to(&format!("file://{}", repository.display()), "elsewhere");
    std::fs::write(&note, branch).unwrap();
    std::fs::write(&lock, "").unwrap();
    stage.reconcile_to_the_end(&clone);
    assert_eq!(essence(&status_in(&repository, "work")), expected);
    check_history(&repository);

    // Somebody else's lock stays where it is, and is named with what to do.
    std::fs::write(&note, "").unwrap();
    std::fs::write(&lock, "").unwrap();
    stage.commit("more.yaml", &yaml(&[execution("more", "work")]));
    let outcome = stage.reconcile_in(&clone, &[]).exits(3);
    assert!(outcome.stderr.contains("status.lock': File exists"), "{}", outcome.stderr);
    assert!(lock.exists());
}
