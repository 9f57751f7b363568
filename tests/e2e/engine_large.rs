//! An Execution whose record is in parts, one file for each node: it is shown whole, goes on in any clone, and heals.

use std::fmt::Write as _;
use std::fs;

use planspec::model::{ExecutionPhase, Kind, NodePhase};
use serde_json::json;

use crate::engine_rig::{
    Graph, STATUS, Stage, bindings, check_history, document, execution, record_in, status_in, yaml,
};
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
        |executions| fs::write(executions.join("run.nodes/a/7/first.yaml"), "phase: Pending\n").unwrap(),
        |executions| {
            fs::remove_dir_all(executions.join("run.nodes")).unwrap();
            fs::write(executions.join("run.nodes"), "a file").unwrap();
        },
        |executions| {
            fs::rename(executions.join("run.yaml"), executions.join("kept")).unwrap();
            fs::create_dir(executions.join("run.yaml")).unwrap();
            fs::rename(executions.join("kept"), executions.join("run.yaml/run.yaml")).unwrap();
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

/// A Goal in a file of its own.
fn goal(number: usize, description: &str) -> (String, String) {
    let spec = json!({ "description": description });
    let name = format!("g{number:04}");
    (format!("goals/{:02}/{name}.yaml", number / 32), yaml(&[document("Goal", &name, &spec)]))
}

/// The objects that a repository has, loose or packed.
fn objects(stage: &Stage) -> Vec<String> {
    let arguments = ["cat-file", "--batch-check=%(objectname) %(objecttype)", "--batch-all-objects"];
    stage.environment.git(&arguments).succeeds().stdout.lines().map(str::to_owned).collect()
}

/// Leaves none but these objects in a repository.
fn keep_only(stage: &Stage, kept: &[String]) {
    let store = stage.environment.repo().join(".git/objects");
    let mut names = String::new();
    for line in kept {
        writeln!(names, "{}", line.split(' ').next().unwrap()).unwrap();
    }
    let list = stage.outside("kept");
    fs::write(&list, names).unwrap();
    let script = format!("git pack-objects -q '{}' < '{}'", stage.outside("pack").display(), list.display());
    stage.environment.git(&["-c", &format!("alias.keep=!{script}"), "keep"]).succeeds();
    fs::remove_dir_all(&store).unwrap();
    fs::create_dir_all(store.join("pack")).unwrap();
    for file in fs::read_dir(stage.environment.root()).unwrap().map(|file| file.unwrap().path()) {
        let name = file.file_name().unwrap().to_str().unwrap();
        if name.starts_with("pack-") {
            fs::copy(&file, store.join("pack").join(name)).unwrap();
        }
    }
}

#[test]
fn a_changed_manifest_among_many_reads_and_writes_only_what_it_concerns() {
    const GOALS: usize = 640;
    let files: Vec<_> = (0..GOALS).map(|number| goal(number, "as it was")).collect();
    let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let stage = Stage::new("", &files);
    stage.reconcile(&[]).succeeds();
    let (path, text) = goal(300, "otherwise");
    stage.commit(&path, &text);
    // Neither the other manifests nor the records of the other Goals are there any more: whoever reads one fails.
    let entry = |tree: &str, part: &str| {
        let listed = stage.environment.git(&["ls-tree", "-r", tree]).succeeds().stdout;
        let line =
            listed.lines().find(|line| line.contains(part)).unwrap_or_else(|| panic!("{part}: {listed}"));
        line.split_whitespace().nth(2).unwrap().to_owned()
    };
    let needed = [
        entry("main", ".planspec.yaml"),
        entry("main", "g0300.yaml"),
        entry("main~", "g0300.yaml"),
        entry(STATUS, "g0300.yaml"),
    ];
    let all = objects(&stage);
    let is_kept = |line: &String| !line.ends_with(" blob") || needed.iter().any(|id| line.starts_with(id));
    let kept: Vec<String> = all.iter().filter(|line| is_kept(line)).cloned().collect();
    assert!(kept.len() + 2 * GOALS - 10 < all.len(), "{} of {}", kept.len(), all.len());
    keep_only(&stage, &kept);

    let tip = stage.status_tip();
    stage.reconcile(&[]).succeeds();
    let goal = record_in(&stage.environment.repo(), Kind::Goal, "g0300").unwrap();
    assert_eq!(goal.metadata.generation, 2, "the change was taken in");
    assert_ne!(stage.status_tip(), tip);
    // The record and the directories above it, the dashboard, and the commit.
    let written = objects(&stage).len() - kept.len();
    assert!((3..=9).contains(&written), "{written} objects were written");

    // They were needed by a runner that has no cache, so their absence is noticed.
    fs::remove_dir_all(stage.environment.repo().join(".git/planspec")).unwrap();
    assert_ne!(stage.reconcile(&[]).code, 0);
}
