//! Workspaces that hold a part of the files, or of the history.

use planspec::model::{ExecutionPhase, NodePhase};
use serde_json::{Value, json};

use crate::engine_rig::{Graph, QUICK, Stage, manifests};

/// A repository with a folder of sources, one of pages and a file at the top.
fn stage() -> Stage {
    let files = [("src/a", "a\n"), ("src/deep/b", "b\n"), ("docs/c", "c\n"), ("top", "top\n")];
    Stage::new(QUICK, &files)
}

/// A shell line that leaves in a file what is in the working tree, and what Git says that differs.
fn lists(stage: &Stage, name: &str) -> String {
    format!(
        "(find . -path ./.git -prune -o -type f -print | sort; git status --porcelain) > '{}'",
        stage.outside(name).display()
    )
}

fn listed(stage: &Stage, name: &str) -> Vec<String> {
    std::fs::read_to_string(stage.outside(name)).unwrap().lines().map(str::to_owned).collect()
}

fn sparse(paths: &[&str]) -> Value {
    json!({ "workspace": { "sparse": paths } })
}

fn check_done(stage: &Stage) {
    let status = stage.status("one");
    assert_eq!(status.phase, ExecutionPhase::Succeeded, "{status:#?}");
}

#[test]
fn what_is_left_out_counts_as_unchanged_until_a_task_writes_it() {
    let stage = stage();
    let criterion =
        json!([{ "type": "test_passes", "name": "part", "command": "test -e src/new && test ! -e top" }]);
    let edits = "echo more >> src/a; rm src/deep/b; echo new > src/new; mkdir docs; echo other > docs/c";
    let graph = Graph::new("one")
        .editor_with("part", &[], &format!("{}; {edits}", lists(&stage, "part")), &sparse(&["src", "gone"]))
        .field("acceptanceCriteria", criterion)
        .editor("all", &["part"], &lists(&stage, "all"))
        .editor_with("file", &["all"], &lists(&stage, "file"), &sparse(&["docs/c", "top"]));
    stage.commit("work.yaml", &manifests(&[&graph]));
    stage.reconcile(&[]).succeeds();
    check_done(&stage);
    assert_eq!(listed(&stage, "part"), ["./src/a", "./src/deep/b"]);
    let result = stage.node("one", "part").extensions.result.unwrap();
    let changed = ["diff-tree", "-r", "--name-status", &result.base, &result.commit];
    let changed = stage.environment.git_output(&changed);
    assert_eq!(changed, "M\tdocs/c\nM\tsrc/a\nD\tsrc/deep/b\nA\tsrc/new");
    // In the same workspace, which is reset by what differs.
    let all = listed(&stage, "all");
    for file in ["./docs/c", "./src/a", "./src/new", "./top", "./work.yaml"] {
        assert!(all.iter().any(|line| line == file), "{file}: {all:?}");
    }
    assert!(all.iter().all(|line| line.starts_with("./")), "nothing differs: {all:?}");
    assert_eq!(listed(&stage, "file"), ["./docs/c", "./top"]);
}

#[test]
fn unfinished_work_comes_back_also_where_nothing_was_to_be() {
    let stage = stage();
    let first = "test $PLANSPEC_ATTEMPT = 2 || { echo x > src/a; mkdir docs; echo x > docs/c; echo x > beside; exit 75; }";
    let script = format!("{first}; {}", lists(&stage, "second"));
    let graph = Graph::new("one").editor_with("work", &[], &script, &sparse(&["src"]));
    stage.commit("work.yaml", &manifests(&[&graph]));
    stage.reconcile(&[]);
    stage.reconcile_until("it is done", || stage.node("one", "work").phase == NodePhase::Succeeded);
    let expected = ["./beside", "./docs/c", "./src/a", "./src/deep/b", " M docs/c", " M src/a", "?? beside"];
    assert_eq!(listed(&stage, "second"), expected);
    assert_eq!(stage.node("one", "work").extensions.result.unwrap().files, 3);
}

#[test]
fn a_task_sees_as_much_of_the_history_as_it_asks_for() {
    let stage = stage();
    stage.environment.git(&["tag", "first"]);
    let seen = |name: &str| {
        let file = stage.outside(name);
        format!(
            "(git rev-list --count --all HEAD; git tag; git describe --always --tags) > '{}'; echo {name} > made-{name}",
            file.display()
        )
    };
    let two = json!({ "workspace": { "depth": 2 } });
    let graph = Graph::new("one")
        .editor_with("two", &[], &seen("two"), &two)
        .editor("all", &["two"], &seen("all"))
        .editor_with("again", &["all"], &seen("again"), &two);
    stage.commit("second", "second\n");
    stage.commit("work.yaml", &manifests(&[&graph]));
    stage.environment.git(&["tag", "-a", "-m", "Third", "third"]);
    stage.reconcile(&[]).succeeds();
    check_done(&stage);
    assert_eq!(listed(&stage, "two"), ["2", "third", "third"]);
    // With its own result and that of the task before it, beside the three of the branch.
    let all = listed(&stage, "all");
    assert_eq!(all[..3], ["4", "first", "third"], "{all:?}");
    let again = listed(&stage, "again");
    assert_eq!(again[0], "2", "{again:?}");
    assert_eq!(again.len(), 2, "no tag is in sight: {again:?}");
}
