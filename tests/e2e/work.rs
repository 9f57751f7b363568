//! What tasks change travels through Git: a commit on top of what came before, kept by a reference that moves with the record,
//! and seen by the next task, on any machine.

use std::path::Path;

use planspec::model::{ExecutionPhase, NodePhase, NodeReason};
use serde_json::json;

use crate::engine_rig::{Graph, QUICK, Stage, check_history, status_in};

const KEPT: &str = "refs/planspec/results/team/chain";

/// A bare remote with the manifests of a graph, and a clone of it to work in.
fn with_remote(config: &str, graph: &Graph) -> (Stage, std::path::PathBuf, std::path::PathBuf) {
    let stage = Stage::with_graphs(config, &[graph]);
    let repo = stage.environment.repo();
    let bare = stage.bare();
    let clone = stage.clone_to(bare.to_str().unwrap(), "clone");
    drop(repo);
    (stage, bare, clone)
}

fn git(stage: &Stage, directory: &Path, arguments: &[&str]) -> String {
    stage.environment.git_in(directory, arguments).succeeds().stdout.trim().to_owned()
}

fn chain() -> Graph {
    Graph::new("chain").editor("first", &[], "echo one > made-by-first").editor(
        "second",
        &["first"],
        "cat made-by-first > made-by-second && echo two >> made-by-second",
    )
}

#[test]
fn the_next_task_builds_on_what_the_last_one_changed_and_any_clone_can_see_it() {
    let (stage, bare, clone) = with_remote(QUICK, &chain());
    stage.reconcile_in(&clone, &[]).succeeds();
    let status = status_in(&bare, "chain");
    assert_eq!(status.phase, ExecutionPhase::Succeeded, "{status:#?}");
    let node =
        |name: &str| status.node_statuses.iter().find(|(id, _)| id.as_str() == name).unwrap().1.clone();
    let (first, second) = (node("first").extensions, node("second").extensions);
    let (first, of_second) = (first.result.unwrap(), second.result.unwrap());
    assert_eq!((first.files, first.insertions, first.deletions), (1, 1, 0));
    assert_eq!((of_second.files, of_second.insertions), (1, 2));
    assert_eq!(second.base.as_ref(), Some(&first.commit), "the base is recorded with the claim");
    assert_eq!(of_second.base, first.commit);
    // Another machine: nothing but the remote.
    let fresh = stage.outside("fresh");
    git(&stage, stage.environment.root(), &["init", "--quiet", fresh.to_str().unwrap()]);
    git(&stage, &fresh, &["fetch", "--quiet", bare.to_str().unwrap(), KEPT]);
    assert_eq!(git(&stage, &fresh, &["show", &format!("{}:made-by-second", of_second.commit)]), "one\ntwo");
    let kept = git(&stage, &fresh, &["log", "--format=%H", "FETCH_HEAD"]);
    assert!(kept.contains(&first.commit) && kept.contains(&of_second.commit), "{kept}");
    let message = git(&stage, &fresh, &["log", "-1", "--format=%an <%ae>%n%B", &of_second.commit]);
    assert!(
        message.starts_with("tool://sh <sh@planspec.invalid>\nDo second\n\nPlanspec-Execution: team/chain\n"),
        "{message}"
    );
    for trailer in
        ["Planspec-Node: second", "Planspec-Attempt: ", "Planspec-Provider: tool://sh", "Planspec-Work-Key: "]
    {
        assert!(message.contains(trailer), "{message}");
    }
    // No branch holds the work, and the desired one is as it was.
    let branches = git(&stage, &bare, &["for-each-ref", "--format=%(refname)"]);
    assert_eq!(branches, format!("refs/heads/main\nrefs/heads/planspec/status\n{KEPT}"));
    check_history(&bare);
}

#[test]
fn record_and_result_move_in_one_transaction_in_a_local_repository() {
    let stage = Stage::with_graphs(QUICK, &[&chain()]);
    stage.reconcile(&[]).succeeds();
    let status = stage.status("chain");
    assert_eq!(status.phase, ExecutionPhase::Succeeded, "{status:#?}");
    let repo = stage.environment.repo();
    let kept = git(&stage, &repo, &["log", "--format=%H", KEPT]);
    for node in status.node_statuses.values() {
        assert!(kept.contains(&node.extensions.result.as_ref().unwrap().commit));
    }
    assert_eq!(git(&stage, &repo, &["status", "--porcelain"]), "");
    git(&stage, &repo, &["fsck", "--strict"]);
}

/// The objects of results outlive a repository in the cache of the machine: they are there, and in the repository they are not.
#[test]
fn a_result_is_whole_in_a_repository_that_lost_what_the_cache_still_has() {
    let stage = Stage::with_graphs(QUICK, &[&chain()]);
    stage.reconcile(&[]).succeeds();
    let repo = stage.environment.repo();
    let refs = git(&stage, &repo, &["for-each-ref", "--format=%(refname)"]);
    for name in refs.lines().filter(|name| name.contains("planspec")) {
        git(&stage, &repo, &["update-ref", "-d", name]);
    }
    std::fs::remove_dir_all(repo.join(".git/planspec")).unwrap();
    git(&stage, &repo, &["reflog", "expire", "--expire=now", "--all"]);
    git(&stage, &repo, &["gc", "--quiet", "--prune=now"]);
    stage.reconcile(&[]).succeeds();
    let status = stage.status("chain");
    assert_eq!(status.phase, ExecutionPhase::Succeeded, "{status:#?}");
    git(&stage, &repo, &["fsck", "--strict", "--connectivity-only"]);
}

#[test]
fn another_machine_goes_on_where_the_first_one_stopped() {
    let graph = chain()
        .node(json!({ "id": "gate", "kind": "Gate", "dependsOn": ["second"], "gateRef": { "name": "ok" } }))
        .editor("third", &["gate"], "cat made-by-second > made-by-third");
    let (stage, bare, clone) = with_remote(QUICK, &graph);
    stage.reconcile_in(&clone, &[]).succeeds();
    std::fs::remove_dir_all(&clone).unwrap();
    let caches = stage.outside("home/.cache");
    std::fs::remove_dir_all(&caches).unwrap();
    let other = stage.clone_to(bare.to_str().unwrap(), "other");
    stage.environment.planspec_in(&other, &["approve", "ok", "-n", "team"]).succeeds();
    stage.reconcile_in(&other, &[]).succeeds();
    let status = status_in(&bare, "chain");
    assert_eq!(status.phase, ExecutionPhase::Succeeded, "{status:#?}");
    let third = status.node_statuses.iter().find(|(id, _)| id.as_str() == "third").unwrap().1.clone();
    let commit = third.extensions.result.unwrap().commit.clone();
    assert_eq!(git(&stage, &bare, &["show", &format!("{commit}:made-by-third")]), "one\ntwo");
    git(&stage, &bare, &["fsck", "--strict", "--connectivity-only"]);
}

#[test]
fn what_is_discarded_is_counted_and_what_is_forbidden_fails() {
    let graph = Graph::new("two")
        .task("drops", &[], "echo 1 > a; echo 2 > b; rm work.yaml")
        .editor_with("strict", &[], "echo 1 > a", &json!({ "changes": "forbid" }))
        .editor_with("clean", &[], "true", &json!({ "changes": "forbid" }));
    let stage = Stage::with_graphs(QUICK, &[&graph]);
    stage.reconcile(&[]).succeeds();
    let drops = stage.node("two", "drops");
    assert_eq!((drops.phase, drops.extensions.discarded.unwrap().files), (NodePhase::Succeeded, 3));
    let strict = stage.node("two", "strict");
    assert_eq!(
        (strict.phase, strict.extensions.reason),
        (NodePhase::Failed, Some(NodeReason::ChangeRefused))
    );
    assert!(strict.message.contains("`a`"), "{}", strict.message);
    assert_eq!(stage.node("two", "clean").phase, NodePhase::Succeeded);
}

#[track_caller]
fn check_refused(script: &str, settings: &serde_json::Value, said: &str) {
    let graph = Graph::new("one").editor_with("a", &[], script, settings);
    let stage =
        Stage::with_graphs("limits: {results: {bytes: 100000, fileBytes: 60000, files: 5}}\n", &[&graph]);
    stage.reconcile(&[]).succeeds();
    let node = stage.node("one", "a");
    assert_eq!(node.extensions.reason, Some(NodeReason::ChangeRefused), "{script}: {node:#?}");
    assert!(node.message.contains(said), "{script}: {}", node.message);
    assert_eq!(
        git(&stage, &stage.environment.repo(), &["for-each-ref", "refs/planspec"]),
        "",
        "nothing is kept"
    );
}

#[test]
fn a_result_holds_nothing_that_decides_what_runs_next() {
    check_refused(
        "mkdir -p .github/workflows && echo 'on: push' > .github/workflows/x.yml",
        &json!({}),
        "`.github/workflows/x.yml` (workflows",
    );
    check_refused(
        "printf 'apiVersion: planspec.io/v1alpha1\\n' > sub.yaml",
        &json!({}),
        "`sub.yaml` (a manifest)",
    );
    check_refused("rm work.yaml", &json!({}), "`work.yaml` (a manifest)");
    // Whatever the reader of manifests takes for one: other letters, a name that is nothing but the ending, a text that is put
    // together from lines, or one in UTF-16.
    check_refused(
        "for file in a.YAML b.Yml .json; do echo 'apiVersion: planspec.io/v1alpha1' > $file; done
         printf 'apiVersion: \"planspec.io\\\\\n  /v1alpha1\"\n' > c.yaml
         printf '\\377\\376p\\0l\\0a\\0n\\0s\\0p\\0e\\0c\\0.\\0i\\0o\\0' > d.yaml",
        &json!({}),
        "`.json` (a manifest), `a.YAML` (a manifest), `b.Yml` (a manifest), `c.yaml` (a manifest), `d.yaml` (a manifest)",
    );
    check_refused("ln -s /etc/passwd link", &json!({}), "`link` (a symbolic link that leads out");
    check_refused("printf 'ghp_%036d\\n' 7 > notes", &json!({}), "`notes` (it holds a secret)");
    check_refused("git init -q inner && echo x > inner/x", &json!({}), "`inner`");
    check_refused("for n in 1 2 3; do seq 9000 > $n; done", &json!({}), "`limits.results.bytes`");
    check_refused("seq 13000 > big", &json!({}), "`big` has 66894 bytes, and `limits.results.fileBytes`");
    check_refused("for n in 1 2 3 4 5 6; do echo $n > f$n; done", &json!({}), "changed 6 files");
    check_refused(
        "echo x > a",
        &json!({ "paths": { "allow": ["src/**"] } }),
        "`a` (not in `config.paths.allow`)",
    );
    // The superuser reads what nobody may read.
    if !rustix::process::geteuid().is_root() {
        check_refused("echo x > a && chmod 000 a", &json!({}), "cannot be read");
    }
}

#[test]
fn a_remote_that_refuses_the_files_of_one_execution_holds_up_nobody_else() {
    let bad = Graph::new("bad").editor("a", &[], "echo refuse-me > file");
    let good =
        Graph::new("good").editor("a", &[], "echo fine > file").editor("b", &["a"], "echo more > file");
    let stage = Stage::with_graphs(QUICK, &[&bad, &good]);
    let bare = stage.outside("bare.git");
    stage.environment.git(&["clone", "--quiet", "--bare", ".", bare.to_str().unwrap()]).succeeds();
    let hook = bare.join("hooks/update");
    std::fs::write(
        &hook,
        "#!/bin/sh\ncase $1 in refs/planspec/results/team/bad) echo no >&2; exit 1;; esac\n",
    )
    .unwrap();
    let mut permissions = std::fs::metadata(&hook).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o755);
    std::fs::set_permissions(&hook, permissions).unwrap();
    let clone = stage.clone_to(bare.to_str().unwrap(), "clone");
    stage.reconcile_in(&clone, &[]).succeeds();
    let refused = status_in(&bare, "bad").node_statuses.values().next().cloned().unwrap();
    assert_eq!(
        (refused.phase, refused.extensions.reason),
        (NodePhase::Blocked, Some(NodeReason::ResultRefused))
    );
    assert!(refused.extensions.result.is_none());
    assert_eq!(status_in(&bare, "good").phase, ExecutionPhase::Succeeded);
}
