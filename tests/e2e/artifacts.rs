//! Artifacts and logs travel: whoever takes a node up finds what the nodes before it left, and any clone shows it, until it is
//! let go.

use std::path::{Path, PathBuf};

use planspec::model::{ExecutionPhase, NodePhase, NodeReason, NodeStatus};
use serde_json::json;

use crate::engine_rig::{Graph, Stage, status_in};

/// No spacing of pushes.
const FAST: &str = "publish: {burst: 1000, perMinute: 6000}\n";

const KEPT: &str = "refs/planspec/artifacts/team/files";

/// A bare remote with the manifests, and a clone of it.
fn with_remote(config: &str, graph: &Graph) -> (Stage, PathBuf, PathBuf) {
    let stage = Stage::with_graphs(config, &[graph]);
    let bare = stage.outside("bare.git");
    stage.environment.git(&["clone", "--quiet", "--bare", ".", bare.to_str().unwrap()]).succeeds();
    let clone = stage.clone_to(bare.to_str().unwrap(), "clone");
    (stage, bare, clone)
}

/// A clone on a machine that has nothing of the first one.
fn another_machine(stage: &Stage, bare: &Path, name: &str) -> PathBuf {
    for gone in ["clone", "home/.cache"] {
        std::fs::remove_dir_all(stage.outside(gone)).ok();
    }
    stage.clone_to(bare.to_str().unwrap(), name)
}

fn node(status: &planspec::model::ExecutionStatus, id: &str) -> NodeStatus {
    status.node_statuses.get(id).unwrap().clone()
}

fn said(stage: &Stage, directory: &Path, arguments: &[&str]) -> String {
    stage.environment.planspec_in(directory, arguments).succeeds().stdout
}

/// A task that leaves something, a gate, and a task that reads it.
fn graph(leaves: &str, reads: &str, config: &serde_json::Value) -> Graph {
    let gate = json!({ "id": "gate", "kind": "Gate", "dependsOn": ["build"], "gateRef": { "name": "ok" } });
    Graph::new("files").task("build", &[], leaves).node(gate).editor_with("use", &["gate"], reads, config)
}

#[test]
fn artifacts_and_long_logs_reach_the_next_task_and_every_clone() {
    let leaves = "mkdir -p $PLANSPEC_ARTIFACTS/out && echo hello > $PLANSPEC_ARTIFACTS/out/report.txt && seq 100000 102000";
    let reads = "test \"$(cat $PLANSPEC_UPSTREAM/build/out/report.txt)\" = hello";
    let (stage, bare, clone) = with_remote(FAST, &graph(leaves, reads, &json!({})));
    stage.reconcile_in(&clone, &[]).succeeds();
    let build = node(&status_in(&bare, "files"), "build");
    let stored = build.extensions.stored.unwrap();
    assert!(stored.left_out.is_empty() && stored.tree.is_some(), "{stored:#?}");
    // The desired branch and every other branch are as they were.
    let refs = stage.environment.git_in(&bare, &["for-each-ref", "--format=%(refname)"]).succeeds().stdout;
    assert_eq!(refs, format!("refs/heads/main\nrefs/heads/planspec/status\n{KEPT}\n"));
    let other = another_machine(&stage, &bare, "other");
    said(&stage, &other, &["approve", "ok", "-n", "team"]);
    stage.reconcile_in(&other, &[]).succeeds();
    let status = status_in(&bare, "files");
    assert_eq!(status.phase, ExecutionPhase::Succeeded, "{status:#?}");
    // A third one, on which nothing ever ran.
    let third = another_machine(&stage, &bare, "third");
    let log = said(&stage, &third, &["logs", "files/build", "-n", "team"]);
    assert!(log.starts_with("100000\n") && log.ends_with("\n102000\n"), "{}", log.len());
    let list = said(&stage, &third, &["artifacts", "list", "files", "-n", "team"]);
    assert_eq!(list, "NODE    ARTIFACT         BYTES   WHERE\nbuild   out/report.txt   6       git\n");
    let got = said(&stage, &third, &["artifacts", "get", "files", "-n", "team"]);
    assert_eq!(got, "./build/out/report.txt\n");
    assert_eq!(std::fs::read_to_string(third.join("build/out/report.txt")).unwrap(), "hello\n");
    let again = stage.environment.planspec_in(&third, &["artifacts", "get", "files", "-n", "team"]).exits(1);
    assert!(again.stderr.contains("exists already"), "{}", again.stderr);
    stage.environment.git_in(&bare, &["fsck", "--strict", "--connectivity-only"]).succeeds();
}

/// That the logs of both attempts at a node are found on a machine on which it did not run.
fn check_earlier_logs(config: &str) {
    let script = "seq 1000 3000; echo attempt $PLANSPEC_ATTEMPT; test $PLANSPEC_ATTEMPT = 2";
    let graph = Graph::new("files").task_with("build", &[], script, &json!({ "retries": 1 }));
    let (stage, bare, clone) = with_remote(config, &graph);
    stage.reconcile_in(&clone, &[]).succeeds();
    let other = another_machine(&stage, &bare, "other");
    for attempt in ["1", "2"] {
        let arguments = ["logs", "files/build", "-n", "team", "--attempt", attempt];
        let log = said(&stage, &other, &arguments);
        assert!(log.starts_with("1000\n") && log.ends_with(&format!("attempt {attempt}\n")), "{}", log.len());
    }
}

#[test]
fn the_logs_of_earlier_attempts_travel_as_well() {
    check_earlier_logs(FAST);
}

#[test]
fn the_logs_of_earlier_attempts_are_found_in_a_shared_folder() {
    let shared = tempfile::tempdir().unwrap();
    check_earlier_logs(&format!("{FAST}artifacts: {{store: '{}'}}\n", shared.path().display()));
}

#[test]
fn what_does_not_fit_or_holds_a_secret_stays_and_is_named() {
    let leaves = "cd $PLANSPEC_ARTIFACTS && echo fine > a && seq 1000 > big && printf 'ghp_%036d\\n' 7 > token \
                  && for n in 1 2 3; do seq 180 > part$n; done && ln -s /etc/passwd link";
    let reads = "ls $PLANSPEC_UPSTREAM/build > files; test -s $PLANSPEC_UPSTREAM/build/big";
    let config = "limits: {artifacts: {fileBytes: 1000, bytes: 1500}}\n";
    let (stage, bare, clone) = with_remote(config, &graph(leaves, reads, &json!({ "needs": ["build/big"] })));
    stage.reconcile_in(&clone, &[]).succeeds();
    let stored = node(&status_in(&bare, "files"), "build").extensions.stored.unwrap();
    let left: Vec<(&str, &str)> =
        stored.left_out.iter().map(|left| (left.name.as_str(), left.why.as_str())).collect();
    let full = "the execution has more than 1500 bytes of artifacts and logs";
    let expected = [("big", "it has more than 1000 bytes"), ("part3", full), ("token", "it holds a secret")];
    assert_eq!(left, expected);
    let whole = stage.environment.git_in(&bare, &["ls-tree", "-r", "--name-only", KEPT]).succeeds().stdout;
    let names: Vec<&str> = whole.lines().filter_map(|path| path.rsplit('/').next()).collect();
    assert_eq!(names, ["a", "part1", "part2"]);
    let list = said(&stage, &clone, &["describe", "execution/files", "-n", "team"]);
    assert!(list.contains("it has more than 1000 bytes"), "{list}");
    // On the machine that made it, a task that needs it finds it; what others would not find is not there by chance.
    said(&stage, &clone, &["approve", "ok", "-n", "team"]);
    stage.reconcile_in(&clone, &[]).succeeds();
    let result = node(&status_in(&bare, "files"), "use").extensions.result.unwrap().commit.clone();
    let seen = stage.environment.git_in(&bare, &["show", &format!("{result}:files")]).succeeds().stdout;
    assert_eq!(seen, "a\nbig\npart1\npart2\n");
}

#[test]
fn a_task_waits_for_a_person_when_what_it_needs_is_on_another_machine() {
    let leaves = "seq 1000 > $PLANSPEC_ARTIFACTS/big";
    let config = "limits: {artifacts: {fileBytes: 1000}}\n";
    let needs = json!({ "needs": ["build/*"] });
    let (stage, bare, clone) =
        with_remote(config, &graph(leaves, "test -s $PLANSPEC_UPSTREAM/build/big", &needs));
    stage.reconcile_in(&clone, &[]).succeeds();
    let other = another_machine(&stage, &bare, "other");
    said(&stage, &other, &["approve", "ok", "-n", "team"]);
    stage.reconcile_in(&other, &[]).succeeds();
    let waits = node(&status_in(&bare, "files"), "use");
    let why = (waits.phase, waits.extensions.reason);
    assert_eq!(why, (NodePhase::Blocked, Some(NodeReason::ArtifactUnavailable)), "{waits:#?}");
    assert!(waits.message.contains("`build/big`"), "{}", waits.message);
    let failed =
        stage.environment.planspec_in(&other, &["artifacts", "get", "files/build", "big", "-n", "team"]);
    assert!(failed.exits(1).stderr.contains("it has more than 1000 bytes"));
    // Made again here, it is here.
    said(&stage, &other, &["retry", "files", "--from", "build", "-n", "team"]);
    stage.reconcile_in(&other, &[]).succeeds();
    said(&stage, &other, &["approve", "ok", "-n", "team"]);
    stage.reconcile_in(&other, &[]).succeeds();
    assert_eq!(status_in(&bare, "files").phase, ExecutionPhase::Succeeded);
}

#[test]
fn a_folder_that_runners_share_has_no_limit_and_takes_the_place_of_git() {
    let shared = tempfile::tempdir().unwrap();
    let config = format!(
        "artifacts: {{store: '{}'}}\nlimits: {{artifacts: {{fileBytes: 1000, bytes: 1000}}}}\n",
        shared.path().display()
    );
    let leaves = "seq 1000 > $PLANSPEC_ARTIFACTS/big";
    let needs = json!({ "needs": ["build/big"] });
    let (stage, bare, clone) =
        with_remote(&config, &graph(leaves, "test -s $PLANSPEC_UPSTREAM/build/big", &needs));
    stage.reconcile_in(&clone, &[]).succeeds();
    let other = another_machine(&stage, &bare, "other");
    said(&stage, &other, &["approve", "ok", "-n", "team"]);
    stage.reconcile_in(&other, &[]).succeeds();
    let status = status_in(&bare, "files");
    assert_eq!(status.phase, ExecutionPhase::Succeeded, "{status:#?}");
    let refs =
        stage.environment.git_in(&bare, &["for-each-ref", "refs/planspec/artifacts"]).succeeds().stdout;
    assert_eq!(refs, "");
    // One that was changed there is not what the record names.
    let found = said(&stage, &other, &["artifacts", "list", "files", "-n", "team", "-o", "json"]);
    let found: serde_json::Value = serde_json::from_str(&found).unwrap();
    assert_eq!((&found[0]["available"], &found[0]["size"]), (&json!(true), &json!(3893)));
    let third = another_machine(&stage, &bare, "third");
    let changed = walk(shared.path()).into_iter().find(|path| path.ends_with("big")).unwrap();
    std::fs::write(&changed, "something else").unwrap();
    let arguments = ["artifacts", "get", "files/build", "big", "-n", "team"];
    let refused = stage.environment.planspec_in(&third, &arguments).exits(1).stderr;
    assert!(refused.contains("gone from the store"), "{refused}");
    let collected = said(&stage, &other, &["gc", "--older-than", "0s"]);
    assert!(collected.contains("directories of logs and artifacts removed"), "{collected}");
    assert!(walk(shared.path()).is_empty());
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(walk(&entry.path())),
            false => found.push(entry.path()),
        }
    }
    found
}

#[test]
fn a_remote_that_refuses_artifacts_takes_the_work_all_the_same() {
    let graph = Graph::new("files").editor("build", &[], "echo x > $PLANSPEC_ARTIFACTS/a; echo y > file");
    let (stage, bare, clone) = with_remote(FAST, &graph);
    let hook = bare.join("hooks/update");
    std::fs::write(&hook, "#!/bin/sh\ncase $1 in refs/planspec/artifacts/*) echo no >&2; exit 1;; esac\n")
        .unwrap();
    let mut permissions = std::fs::metadata(&hook).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o755);
    std::fs::set_permissions(&hook, permissions).unwrap();
    stage.reconcile_in(&clone, &[]).succeeds();
    let status = status_in(&bare, "files");
    assert_eq!(status.phase, ExecutionPhase::Succeeded, "{status:#?}");
    let build = node(&status, "build").extensions;
    assert!(build.result.is_some());
    let stored = build.stored.unwrap();
    assert_eq!((stored.tree.is_none(), stored.left_out[0].why.as_str()), (true, "the remote refused it"));
}

#[test]
fn gc_removes_what_an_execution_kept_once_it_has_been_over_for_long_enough() {
    let leaves = "echo x > $PLANSPEC_ARTIFACTS/a";
    let reads = "cat $PLANSPEC_UPSTREAM/build/a > made";
    let graph = graph(leaves, reads, &json!({}));
    let gate = json!({ "id": "shown", "kind": "Gate", "dependsOn": ["use"], "gateRef": { "name": "shown" } });
    let (stage, bare, clone) = with_remote(FAST, &graph.node(gate));
    let refs = || {
        let listed = stage.environment.git_in(&bare, &["for-each-ref", "--format=%(refname)"]).succeeds();
        listed.stdout.lines().filter(|name| *name != "refs/heads/main").map(str::to_owned).collect::<Vec<_>>()
    };
    let status = "refs/heads/planspec/status";
    let work = "refs/heads/planspec/work/team/files/shown";
    let results = "refs/planspec/results/team/files";
    stage.reconcile_in(&clone, &[]).succeeds();
    said(&stage, &clone, &["approve", "ok", "-n", "team"]);
    stage.reconcile_in(&clone, &[]).succeeds();
    // While it goes on, everything stays.
    said(&stage, &clone, &["gc", "--older-than", "0s"]);
    assert_eq!(refs(), [status, work, KEPT, results]);
    said(&stage, &clone, &["approve", "shown", "-n", "team"]);
    stage.reconcile_in(&clone, &[]).succeeds();
    said(&stage, &clone, &["gc"]);
    assert_eq!(refs(), [status, work, KEPT, results]);
    let names = format!("  {work}\n  {KEPT}\n  {results}\n");
    let shown = said(&stage, &clone, &["gc", "--older-than", "0s", "--dry-run"]);
    assert!(shown.ends_with(&format!("3 references would be removed:\n{names}")), "{shown}");
    assert_eq!(refs(), [status, work, KEPT, results]);
    let shown = said(&stage, &clone, &["gc", "--older-than", "0s"]);
    assert!(shown.ends_with(&format!("3 references removed:\n{names}")), "{shown}");
    assert_eq!(refs(), [status]);
    // What is tried again begins anew, also in a clone that remembers what was removed.
    said(&stage, &clone, &["retry", "files", "--from", "build", "-n", "team"]);
    stage.reconcile_in(&clone, &[]).succeeds();
    assert_eq!(refs(), [status, KEPT]);
}

#[test]
fn what_all_executions_keep_in_git_is_bounded_where_it_is_kept_and_gc_makes_room() {
    let config = format!("{FAST}limits: {{artifacts: {{totalBytes: 1500}}}}\n");
    // 692 bytes each: two fit, and three do not.
    let leaves = "seq 200 > $PLANSPEC_ARTIFACTS/a";
    let graphs = ["one", "three", "two"].map(|name| Graph::new(name).task("build", &[], leaves));
    let stage = Stage::with_graphs(&config, &[&graphs[0], &graphs[1], &graphs[2]]);
    let bare = stage.outside("bare.git");
    stage.environment.git(&["clone", "--quiet", "--bare", ".", bare.to_str().unwrap()]).succeeds();
    let clone = stage.clone_to(bare.to_str().unwrap(), "clone");
    let left_out = || {
        let stored = |name: &&str| node(&status_in(&bare, name), "build").extensions.stored.unwrap();
        let left = ["one", "two", "three"].into_iter().filter(|name| !stored(name).left_out.is_empty());
        left.map(|name| (name.to_owned(), stored(&name).left_out[0].why.clone())).collect::<Vec<_>>()
    };
    stage.reconcile_in(&clone, &[]).succeeds();
    let [(name, why)] = left_out().try_into().unwrap();
    assert!(why.starts_with("all executions together would keep more than 1500 bytes"), "{why}");
    assert!(
        said(&stage, &clone, &["describe", &format!("execution/{name}"), "-n", "team"])
            .contains("planspec gc --older-than")
    );
    // Another machine knows it by the records of the others and by their references.
    let retry = |machine: &Path| {
        said(&stage, machine, &["retry", &name, "--from", "build", "-n", "team"]);
        stage.reconcile_in(machine, &[]).succeeds();
    };
    let other = another_machine(&stage, &bare, "other");
    retry(&other);
    assert_eq!(left_out().len(), 1);
    said(&stage, &other, &["gc", "--older-than", "0s"]);
    retry(&other);
    let stored = node(&status_in(&bare, &name), "build").extensions.stored.unwrap();
    assert!(stored.left_out.is_empty() && stored.tree.is_some(), "{stored:#?}");
}
