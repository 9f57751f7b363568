//! An Execution whose record is in parts, one file for each node: it is shown whole, goes on in any clone, and heals.

use planspec::model::{ExecutionPhase, NodePhase};
use serde_json::json;

use crate::engine_rig::{Graph, STATUS, Stage, bindings, check_history, execution, status_in, yaml};
use crate::git_server::GitServer;

const NODES: usize = 260;

/// A task that leaves its key in `trace`, many others, and a gate behind all of them.
fn large(stage: &Stage) -> String {
    let key = Stage::leaves_its_key(&stage.outside("trace"));
    let mut graph = Graph::new("work").task("first", &[], &key);
    let names: Vec<String> = (2..NODES).map(|number| format!("t{number}")).collect();
    for name in &names {
        graph = graph.task(name, &["first"], "true");
    }
    let gate = json!({ "id": "look", "kind": "Gate", "gateRef": { "name": "look" }, "dependsOn": names });
    let graph = graph.node(gate);
    yaml(&[graph.plan(), execution("run", "work"), bindings(&[&graph])])
}

#[test]
fn a_record_in_parts_is_shown_whole_heals_and_goes_on_in_another_clone() {
    let server = GitServer::new();
    let stage = Stage::new("publish: {burst: 10000, perMinute: 60000}\njobs: 4\n", &[]);
    let manifests = large(&stage);
    stage.commit("work.yaml", &manifests);
    let url = server.file_url();
    stage.environment.git(&["push", "--quiet", &url, "main"]).succeeds();
    let clone = stage.clone_to(&url, "clone");
    stage.reconcile_in(&clone, &[]).succeeds();
    let bare = server.bare();
    let before = status_in(&bare, "run");
    assert_eq!((before.phase, before.node_statuses.len()), (ExecutionPhase::Blocked, NODES));

    let shown = stage.environment.planspec_in(&clone, &["get", "execution/run", "-n", "team", "-o", "yaml"]);
    let shown = shown.succeeds().stdout;
    assert!(shown.contains("\n    t7:\n") && !shown.contains("parts:"), "{shown}");
    let head = format!("{STATUS}:team/executions/run.yaml");
    let head = stage.environment.git_in(&bare, &["show", &head]).succeeds().stdout;
    assert!(head.contains("parts:") && !head.contains("nodeStatuses:"), "{head}");

    // Somebody has the first task run again, as they think; or puts something else in the place of a part of the record.
    type Edit = fn(&std::path::Path);
    let edits: [Edit; 3] = [
        |executions| std::fs::write(executions.join("run.nodes/a/7/first.yaml"), "phase: Pending\n").unwrap(),
        |executions| {
            std::fs::remove_dir_all(executions.join("run.nodes")).unwrap();
            std::fs::write(executions.join("run.nodes"), "a file").unwrap();
        },
        |executions| {
            std::fs::rename(executions.join("run.yaml"), executions.join("kept")).unwrap();
            std::fs::create_dir(executions.join("run.yaml")).unwrap();
            std::fs::rename(executions.join("kept"), executions.join("run.yaml/run.yaml")).unwrap();
        },
    ];
    for (number, edit) in edits.into_iter().enumerate() {
        let work = stage.outside("by-hand");
        let git = |place: &std::path::Path, arguments: &[&str]| {
            stage.environment.git_in(place, arguments).succeeds();
        };
        git(&bare, &["worktree", "add", "--quiet", work.to_str().unwrap(), STATUS]);
        edit(&work.join("team/executions"));
        git(&work, &["add", "--all"]);
        git(&work, &["commit", "--quiet", "-m", "Again"]);
        git(&bare, &["worktree", "remove", "--force", work.to_str().unwrap()]);
        stage.reconcile_in(&clone, &[]).succeeds();
        let healed = status_in(&bare, "run");
        assert_eq!(healed.node_statuses.len(), NODES, "{number}");
        assert_eq!(healed.node_statuses.get("first").unwrap().phase, NodePhase::Succeeded, "{number}");
        assert_eq!(stage.trace("trace").len(), 1, "{number}: nothing that ended runs again");
    }

    let other = stage.clone_to(&url, "other");
    stage.environment.planspec_in(&other, &["approve", "look", "-n", "team"]).succeeds();
    stage.reconcile_in(&other, &[]).succeeds();
    assert_eq!(status_in(&bare, "run").phase, ExecutionPhase::Succeeded);
    assert_eq!(stage.trace("trace").len(), 1);
    check_history(&bare);
}
