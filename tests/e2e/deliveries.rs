//! `merge://BRANCH`: the work of the nodes before it reaches a branch of people, once, whatever happens meanwhile, and only as
//! far as the configuration and a gate allow it.

use std::path::Path;

use planspec::model::{ExecutionPhase, ExecutionStatus, NodePhase, NodeReason, NodeStatus};
use serde_json::json;

use crate::engine_rig::{Graph, QUICK, Stage, check_history, document, status_in};
use crate::pins::forge;

/// A change, a gate that shows it, and the delivery of it.
pub(crate) fn land(provider: &str) -> Graph {
    Graph::new("ship")
        .editor("implement", &[], "echo done > made && echo more >> shared")
        .node(json!({ "id": "review", "kind": "Gate", "dependsOn": ["implement"], "gateRef": { "name": "ok" } }))
        .provided("land", &["review"], provider, &json!({}))
}

pub(crate) fn config(merge: &str) -> String {
    format!("{QUICK}providers:\n  merge: {merge}\n")
}

pub(crate) fn git(stage: &Stage, directory: &Path, arguments: &[&str]) -> String {
    stage.environment.git_in(directory, arguments).succeeds().stdout.trim().to_owned()
}

/// Commits a file on a branch of a bare repository, as somebody else would by a push.
fn push(stage: &Stage, bare: &Path, branch: &str, file: &str, content: &str) {
    let clone = stage.clone_to(bare.to_str().unwrap(), &format!("other-{}", file.replace('/', "-")));
    git(stage, &clone, &["checkout", "--quiet", branch]);
    std::fs::write(clone.join(file), content).unwrap();
    git(stage, &clone, &["add", "--all"]);
    git(stage, &clone, &["commit", "--quiet", "-m", "Meanwhile"]);
    git(stage, &clone, &["push", "--quiet", "origin", branch]);
}

/// The repository and a bare remote, with a clone of it that reconciles.
pub(crate) fn with_remote(config: &str, graph: &Graph) -> (Stage, std::path::PathBuf, std::path::PathBuf) {
    let stage = Stage::with_graphs(config, &[graph]);
    let bare = stage.bare();
    let clone = stage.clone_to(bare.to_str().unwrap(), "clone");
    (stage, bare, clone)
}

pub(crate) fn of(status: &ExecutionStatus, node: &str) -> NodeStatus {
    status.node_statuses.iter().find(|(id, _)| id.as_str() == node).unwrap().1.clone()
}

pub(crate) fn approve(stage: &Stage, directory: &Path) {
    stage.environment.planspec_in(directory, &["approve", "ok", "-n", "team"]).succeeds();
}

#[test]
fn a_merge_lands_what_a_gate_approved_on_top_of_what_others_pushed() {
    let (stage, bare, clone) = with_remote(&config("[main]"), &land("merge://main"));
    stage.reconcile_in(&clone, &[]).succeeds();
    let before = git(&stage, &bare, &["rev-parse", "main"]);
    let status = status_in(&bare, "ship");
    assert_eq!(of(&status, "land").phase, NodePhase::Pending);
    push(&stage, &bare, "main", "elsewhere", "others\n");
    approve(&stage, &clone);
    stage.reconcile_in(&clone, &[]).succeeds();
    let status = status_in(&bare, "ship");
    assert_eq!(status.phase, ExecutionPhase::Succeeded, "{status:#?}");
    let land = of(&status, "land");
    let merge = git(&stage, &bare, &["rev-parse", "main"]);
    assert_eq!(land.outputs["commit"], json!(merge));
    assert_eq!(land.outputs["branch"], json!("main"));
    assert_eq!(git(&stage, &bare, &["show", "main:made"]), "done");
    assert_eq!(git(&stage, &bare, &["show", "main:elsewhere"]), "others");
    let parents = git(&stage, &bare, &["log", "-1", "--format=%P", "main"]);
    let work = land.extensions.base.clone().unwrap();
    let (first, second) = parents.split_once(' ').unwrap();
    assert_eq!(second, work);
    assert_eq!(git(&stage, &bare, &["rev-parse", &format!("{first}^")]), before);
    let message = git(&stage, &bare, &["log", "-1", "--format=%an%n%B", "main"]);
    assert!(message.starts_with("merge://main\nMerge team/ship into main\n"), "{message}");
    for trailer in ["Planspec-Execution: team/ship", "Planspec-Node: land", "Planspec-Provider: merge://main"]
    {
        assert!(message.contains(trailer), "{message}");
    }
    check_history(&bare);
    git(&stage, &bare, &["fsck", "--strict"]);
    // And never again: the desired branch moved by it, and the next pass has nothing to do.
    stage.reconcile_in(&clone, &[]).succeeds();
    assert_eq!(git(&stage, &bare, &["rev-parse", "main"]), merge);
}

#[test]
fn a_shallow_clone_merges_as_well_as_a_whole_one() {
    let (stage, bare, clone) = with_remote(&config("[main]"), &land("merge://main"));
    stage.reconcile_in(&clone, &[]).succeeds();
    approve(&stage, &clone);
    push(&stage, &bare, "main", "elsewhere", "others\n");
    push(&stage, &bare, "main", "further", "others\n");
    let shallow = stage.outside("shallow");
    let url = format!("file://{}", bare.display());
    let arguments = ["clone", "--quiet", "--depth", "1", &url, shallow.to_str().unwrap()];
    git(&stage, stage.environment.root(), &arguments);
    stage.reconcile_in(&shallow, &[]).succeeds();
    let status = status_in(&bare, "ship");
    assert_eq!(status.phase, ExecutionPhase::Succeeded, "{status:#?}");
    assert_eq!(git(&stage, &bare, &["show", "main:made"]), "done");
    assert_eq!(git(&stage, &bare, &["show", "main:further"]), "others");
}

#[test]
fn in_a_repository_of_ones_own_the_checked_out_branch_follows_and_nothing_uncommitted_gets_lost() {
    let stage = Stage::with_graphs(&config("[main]"), &[&land("merge://main")]);
    let repo = stage.environment.repo();
    stage.reconcile(&[]).succeeds();
    approve(&stage, &repo);
    // In the way of a file that comes in.
    std::fs::write(repo.join("made"), "mine\n").unwrap();
    stage.reconcile(&[]).succeeds();
    let land = stage.node("ship", "land");
    assert_eq!((land.phase, land.extensions.reason), (NodePhase::Blocked, Some(NodeReason::DeliveryRefused)));
    assert!(land.message.contains("is checked out in") && land.message.contains("made"), "{}", land.message);
    assert_eq!(std::fs::read_to_string(repo.join("made")).unwrap(), "mine\n");
    std::fs::remove_file(repo.join("made")).unwrap();
    std::fs::write(repo.join("notes"), "not committed\n").unwrap();
    stage.environment.planspec(&["retry", "ship", "--from", "land", "-n", "team"]).succeeds();
    stage.reconcile(&[]).succeeds();
    assert_eq!(stage.status("ship").phase, ExecutionPhase::Succeeded, "{:#?}", stage.status("ship"));
    assert_eq!(std::fs::read_to_string(repo.join("made")).unwrap(), "done\n");
    assert_eq!(git(&stage, &repo, &["status", "--porcelain"]), "?? notes");
    assert_eq!(
        stage.node("ship", "land").outputs["commit"],
        json!(git(&stage, &repo, &["rev-parse", "HEAD"]))
    );
}

/// Whoever can push the status branch names what is delivered there, and can approve it. Nothing that decides what runs reaches a
/// branch by that.
#[test]
fn a_result_that_was_forged_brings_no_manifest_configuration_or_workflow_into_a_branch() {
    let stage = Stage::with_graphs(&config("[main]"), &[&land("merge://main")]);
    let repo = stage.environment.repo();
    stage.reconcile(&[]).succeeds();
    let honest = stage.node("ship", "implement").extensions.result.unwrap().commit.clone();
    let before = git(&stage, &repo, &["rev-parse", "main"]);
    git(&stage, &repo, &["checkout", "--quiet", "--detach", &honest]);
    std::fs::create_dir_all(repo.join(".github/workflows")).unwrap();
    std::fs::write(repo.join(".github/workflows/x.yml"), "on: push\n").unwrap();
    std::fs::write(repo.join(".planspec.yaml"), "providers: {sandbox: off}\n").unwrap();
    let plan = document("Goal", "evil", &json!({ "description": "Take over" }));
    std::fs::write(repo.join("evil.yaml"), plan.to_string()).unwrap();
    git(&stage, &repo, &["add", "--all"]);
    git(&stage, &repo, &["commit", "--quiet", "-m", "Not merged"]);
    let evil = git(&stage, &repo, &["rev-parse", "HEAD"]);
    git(&stage, &repo, &["checkout", "--quiet", "main"]);
    forge(&stage, |tree| {
        let path = tree.join("team/executions/ship.yaml");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace(&honest, &evil)).unwrap();
    });
    approve(&stage, &repo);
    stage.reconcile(&[]).succeeds();
    let land = stage.node("ship", "land");
    assert_eq!((land.phase, land.extensions.reason), (NodePhase::Blocked, Some(NodeReason::DeliveryRefused)));
    for path in [".github/workflows/x.yml", ".planspec.yaml", "evil.yaml"] {
        assert!(land.message.contains(&format!("`{path}` (")), "{}", land.message);
    }
    assert_eq!(git(&stage, &repo, &["rev-parse", "main"]), before);
}

#[test]
fn work_that_conflicts_with_the_branch_waits_for_a_person_and_names_the_files() {
    let (stage, bare, clone) = with_remote(&config("[main]"), &land("merge://main"));
    stage.reconcile_in(&clone, &[]).succeeds();
    approve(&stage, &clone);
    push(&stage, &bare, "main", "shared", "something else\n");
    let before = git(&stage, &bare, &["rev-parse", "main"]);
    stage.reconcile_in(&clone, &[]).succeeds();
    let land = of(&status_in(&bare, "ship"), "land");
    assert_eq!((land.phase, land.extensions.reason), (NodePhase::Blocked, Some(NodeReason::BranchConflict)));
    assert!(land.message.contains("`shared`") && land.message.contains("`main`"), "{}", land.message);
    assert_eq!(git(&stage, &bare, &["rev-parse", "main"]), before);
    // Commits that were handed in would count as merged, and be on no branch.
    let hand_in = ["complete", "ship/land", "--commit", "HEAD", "-n", "team"];
    let refused = stage.environment.planspec_in(&clone, &hand_in).exits(1).stderr;
    assert!(refused.contains("merge://main hands over what comes before it"), "{refused}");
    // Once the branch is as it was, it is merged.
    push(&stage, &bare, "main", "again", "x\n");
    let clone_of = stage.clone_to(bare.to_str().unwrap(), "repairs");
    git(&stage, &clone_of, &["rm", "--quiet", "shared"]);
    git(&stage, &clone_of, &["commit", "--quiet", "-m", "Take it back"]);
    git(&stage, &clone_of, &["push", "--quiet", "origin", "main"]);
    stage.environment.planspec_in(&clone, &["retry", "ship", "--from", "land", "-n", "team"]).succeeds();
    stage.reconcile_in(&clone, &[]).succeeds();
    assert_eq!(status_in(&bare, "ship").phase, ExecutionPhase::Succeeded);
}

#[test]
fn a_person_resolves_a_conflict_with_the_branch_and_the_merge_is_found() {
    let (stage, bare, clone) = with_remote(&config("[main]"), &land("merge://main"));
    stage.reconcile_in(&clone, &[]).succeeds();
    approve(&stage, &clone);
    push(&stage, &bare, "main", "shared", "something else\n");
    stage.reconcile_in(&clone, &[]).succeeds();
    let land = of(&status_in(&bare, "ship"), "land");
    assert_eq!((land.phase, land.extensions.reason), (NodePhase::Blocked, Some(NodeReason::BranchConflict)));
    // As the message says.
    assert!(land.message.contains("`planspec checkout ship/land`"), "{}", land.message);
    let tree = stage.outside("by-hand");
    let arguments = ["checkout", "ship/land", tree.to_str().unwrap(), "-n", "team"];
    let said = stage.environment.planspec_in(&clone, &arguments).succeeds().stdout;
    assert!(said.contains("`land` takes no commits") && !said.contains("--commit"), "{said}");
    let retry = said.split("and then: planspec ").nth(1).unwrap().trim().to_owned();
    git(&stage, &clone, &["fetch", "--quiet", "origin", "main"]);
    git(&stage, &clone, &["checkout", "--quiet", "--detach", "FETCH_HEAD"]);
    let work = land.extensions.base.unwrap();
    assert!(land.message.contains(&format!("merge {work} into `main`")), "{}", land.message);
    stage.environment.git_in(&clone, &["merge", "--quiet", &work]).exits(1);
    std::fs::write(clone.join("shared"), "something else\nmore\n").unwrap();
    git(&stage, &clone, &["commit", "--quiet", "--all", "-m", "Both"]);
    git(&stage, &clone, &["push", "--quiet", "origin", "HEAD:main"]);
    git(&stage, &clone, &["checkout", "--quiet", "main"]);
    let both = git(&stage, &bare, &["rev-parse", "main"]);
    stage.environment.planspec_in(&clone, &retry.split(' ').collect::<Vec<_>>()).succeeds();
    stage.reconcile_in(&clone, &[]).succeeds();
    let status = status_in(&bare, "ship");
    assert_eq!(status.phase, ExecutionPhase::Succeeded, "{status:#?}");
    assert_eq!(of(&status, "land").outputs["commit"], json!(both));
    assert_eq!(git(&stage, &bare, &["rev-parse", "main"]), both, "nothing is merged on top of it");
}

#[test]
fn a_merge_that_was_made_and_not_recorded_is_found_and_not_made_again() {
    let (stage, bare, clone) = with_remote(&config("[main]"), &land("merge://main"));
    stage.reconcile_in(&clone, &[]).succeeds();
    approve(&stage, &clone);
    // A status branch that takes nothing any more after the merge has reached the desired branch: the runner dies before it
    // can record what it did.
    let hook = bare.join("hooks/update");
    let script = "#!/bin/sh\ncase $1 in refs/heads/main) touch merged;; refs/heads/planspec/status) ! test -e merged;; esac\n";
    std::fs::write(&hook, script).unwrap();
    std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let before = git(&stage, &bare, &["rev-parse", "main"]);
    let mut runner = stage.start_in(&clone, &["--max-duration", "20s"]);
    // The branch itself: the hook runs before it moves.
    stage.wait_until("it is merged", || git(&stage, &bare, &["rev-parse", "main"]) != before);
    runner.kill();
    std::fs::remove_file(&hook).unwrap();
    let merge = git(&stage, &bare, &["rev-parse", "main"]);
    push(&stage, &bare, "main", "later", "x\n");
    let tip = git(&stage, &bare, &["rev-parse", "main"]);
    stage.reconcile_to_the_end(&clone);
    let status = status_in(&bare, "ship");
    assert_eq!(status.phase, ExecutionPhase::Succeeded, "{status:#?}");
    assert_eq!(of(&status, "land").outputs["commit"], json!(merge));
    assert_eq!(git(&stage, &bare, &["rev-parse", "main"]), tip, "nothing was merged a second time");
    check_history(&bare);
}

#[test]
fn the_page_about_merges_shows_what_happens() {
    crate::pages::check("docs/providers/merge.md");
}

#[test]
fn only_listed_branches_and_only_approved_work() {
    let open = Graph::new("ship").editor("implement", &[], "echo done > made").provided(
        "land",
        &["implement"],
        "merge://main",
        &json!({}),
    );
    let reason = |config: &str, graph: &Graph| {
        let stage = Stage::with_graphs(config, &[graph]);
        stage.reconcile(&[]).succeeds();
        let land = stage.node("ship", "land");
        (land.phase, land.extensions.reason, land.message)
    };
    let (phase, why, message) = reason(QUICK, &open);
    assert_eq!((phase, why), (NodePhase::Blocked, Some(NodeReason::ProviderUnavailable)));
    assert!(message.contains("`providers.merge`"), "{message}");
    let (phase, why, message) = reason(&config("[main]"), &open);
    assert_eq!((phase, why), (NodePhase::Blocked, Some(NodeReason::DeliveryRefused)));
    assert!(message.contains("`implement`"), "{message}");
    let (phase, _, message) = reason(&config("[{branch: main, gate: none}]"), &open);
    assert_eq!(phase, NodePhase::Succeeded, "{message}");
}

#[test]
fn a_branch_gets_the_work_and_no_other_commits_of_the_desired_one() {
    let graph = Graph::new("ship").editor("implement", &[], "echo done > made").provided(
        "land",
        &["implement"],
        "merge://release",
        &json!({}),
    );
    let stage = Stage::with_graphs(&config("[{branch: release, gate: none}]"), &[&graph]);
    let repo = stage.environment.repo();
    let land = || stage.node("ship", "land");
    let again = || {
        stage.environment.planspec(&["retry", "ship", "--from", "land", "-n", "team"]).succeeds();
        stage.reconcile(&[]).succeeds();
    };
    stage.reconcile(&[]).succeeds();
    assert!(land().message.contains("there is no branch `release`"), "{}", land().message);
    git(&stage, &repo, &["checkout", "--quiet", "--orphan", "release"]);
    git(&stage, &repo, &["commit", "--quiet", "-m", "Apart"]);
    git(&stage, &repo, &["checkout", "--quiet", "main"]);
    again();
    assert!(land().message.contains("would bring in more than the work"), "{}", land().message);
    git(&stage, &repo, &["branch", "--force", "release", "main"]);
    again();
    assert_eq!(land().phase, NodePhase::Succeeded, "{}", land().message);
    assert_eq!(git(&stage, &repo, &["show", "release:made"]), "done");
    assert!(!repo.join("made").exists(), "what is checked out is another branch");
}
