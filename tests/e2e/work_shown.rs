//! Showing work to people: as a difference, as a working tree, and as a branch at the gate that asks about it.

use planspec::model::{NodePhase, NodeReason};
use serde_json::json;

use crate::engine_rig::{Graph, QUICK, Stage, status_in};

const BRANCH: &str = "planspec/work/team/shown/gate";

fn graph() -> Graph {
    Graph::new("shown")
        .editor("left", &[], "echo left > left")
        .editor("right", &[], "printf 'right\\033[31m\\n' > right")
        .node(json!({ "id": "gate", "kind": "Gate", "dependsOn": ["left", "right"], "gateRef": { "name": "ok" } }))
        .editor("after", &["gate"], "echo after > after")
}

#[test]
fn the_work_of_an_execution_is_shown_as_a_difference_and_as_a_working_tree() {
    let stage = Stage::with_graphs(QUICK, &[&graph()]);
    stage.reconcile(&[]).succeeds();
    let all = stage.environment.planspec(&["diff", "execution/shown", "-n", "team"]).exits(1).stdout;
    assert!(all.contains("+left\n") && all.contains("+right"), "{all}");
    assert!(!all.contains('\u{1b}'), "control characters reach no terminal: {all:?}");
    // The name alone, as in every other command, unless Git knows it as something else.
    assert_eq!(stage.environment.planspec(&["diff", "shown"]).exits(1).stdout, all);
    let named = stage.environment.planspec(&["diff", "shown/left", "--stat"]).exits(1).stdout;
    assert!(named.contains("left | 1 +") && !named.contains("right"), "{named}");
    stage.environment.git(&["branch", "shown"]).succeeds();
    stage.environment.planspec(&["diff", "shown"]).succeeds();
    let error = stage.environment.planspec(&["diff", "showm"]).exits(3).stderr;
    assert!(error.contains("`showm`") && error.contains("planspec get executions"), "{error}");
    let one =
        stage.environment.planspec(&["diff", "execution/shown", "--node", "left", "--stat"]).exits(1).stdout;
    assert!(one.contains("left | 1 +") && !one.contains("right"), "{one}");
    let error = stage.environment.planspec(&["diff", "execution/shown", "--node", "lift"]).exits(1).stderr;
    assert!(error.contains("did you mean `left`?"), "{error}");
    let said = stage.environment.planspec(&["checkout", "shown/gate", "../look"]).succeeds().stdout;
    assert!(said.starts_with("made ../look with the work of team/execution/shown at "), "{said}");
    let look = stage.outside("look");
    assert_eq!(std::fs::read_to_string(look.join("left")).unwrap(), "left\n");
    assert!(look.join("right").exists() && !look.join("after").exists());
    let page = stage.environment.planspec(&["describe", "execution/shown"]).succeeds().stdout;
    assert!(page.contains("Files") && page.contains("+1 -0") && page.contains(BRANCH), "{page}");
}

#[test]
fn a_working_tree_without_a_place_is_made_beside_the_repository_and_git_status_stays_clean() {
    let stage = Stage::with_graphs(QUICK, &[&graph()]);
    stage.reconcile(&[]).succeeds();
    let repo = stage.environment.repo();
    let folder = repo.file_name().unwrap().to_str().unwrap().to_owned();
    let before = stage.environment.git_output(&["status", "--porcelain", "--ignored"]);
    let said = stage.environment.planspec(&["checkout", "shown"]).succeeds().stdout;
    assert!(said.starts_with(&format!("made ../{folder}-shown with the work of ")), "{said}");
    assert!(repo.with_file_name(format!("{folder}-shown")).join("left").exists());
    // From a folder of it, the same place, named as it is reached from there.
    let below = repo.join("docs/deep");
    std::fs::create_dir_all(&below).unwrap();
    let said = stage.environment.planspec_in(&below, &["checkout", "shown/left"]).succeeds().stdout;
    assert!(said.starts_with(&format!("made ../../../{folder}-shown-left with")), "{said}");
    assert!(repo.with_file_name(format!("{folder}-shown-left")).join("left").exists());
    assert_eq!(stage.environment.git_output(&["status", "--porcelain", "--ignored"]), before);
    // Nothing is overwritten, and it is said what to do.
    let again = stage.environment.planspec(&["checkout", "shown"]).exits(1).stderr;
    let way_out = format!("`git worktree remove ../{folder}-shown`");
    assert!(again.contains("is there already") && again.contains(&way_out), "{again}");
    stage.environment.git(&["worktree", "remove", &format!("../{folder}-shown")]).succeeds();
    stage.environment.planspec(&["checkout", "shown"]).succeeds();
    // Beside a bare repository, too: inside, Git would take it for a part of itself.
    let bare = stage.outside("bare.git");
    stage.environment.git(&["clone", "--quiet", "--mirror", ".", bare.to_str().unwrap()]).succeeds();
    let said = stage.environment.planspec_in(&bare, &["checkout", "shown"]).succeeds().stdout;
    assert!(said.starts_with("made ../bare-shown with"), "{said}");
    assert!(stage.outside("bare-shown").join("right").exists());
    // From elsewhere, right where the command runs.
    let elsewhere = stage.outside("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    let asked = ["--repo", bare.to_str().unwrap(), "checkout", "shown"];
    stage.environment.planspec_in(&elsewhere, &asked).succeeds();
    assert!(elsewhere.join("shown/left").exists());
}

#[test]
fn a_gate_with_files_before_it_gets_a_branch_that_holds_them_and_nothing_else() {
    let stage = Stage::with_graphs(QUICK, &[&graph()]);
    let bare = stage.outside("bare.git");
    stage.environment.git(&["clone", "--quiet", "--bare", ".", bare.to_str().unwrap()]).succeeds();
    let clone = stage.clone_to(bare.to_str().unwrap(), "clone");
    stage.reconcile_in(&clone, &[]).succeeds();
    let git =
        |arguments: &[&str]| stage.environment.git_in(&bare, arguments).succeeds().stdout.trim().to_owned();
    let gate = || {
        let status = status_in(&bare, "shown");
        status.node_statuses.into_iter().find(|(id, _)| id.as_str() == "gate").unwrap().1
    };
    let waiting = gate();
    assert_eq!(
        (waiting.phase, waiting.extensions.reason),
        (NodePhase::Blocked, Some(NodeReason::AwaitingApproval))
    );
    assert_eq!(waiting.extensions.work_branch.as_deref(), Some(BRANCH));
    assert_eq!(git(&["rev-parse", BRANCH]), waiting.extensions.base.clone().unwrap());
    assert_eq!(git(&["diff", "--name-only", "main", BRANCH]), "left\nright");
    // Reconciling again moves nothing, and a person who pushes onto the branch is not overwritten.
    let tip = git(&["rev-parse", "planspec/status"]);
    stage.reconcile_in(&clone, &[]).succeeds();
    assert_eq!(git(&["rev-parse", "planspec/status"]), tip);
    git(&["update-ref", &format!("refs/heads/{BRANCH}"), "main"]);
    stage.environment.planspec_in(&clone, &["retry", "shown", "--from", "left", "-n", "team"]).succeeds();
    stage.reconcile_in(&clone, &[]).succeeds();
    assert_eq!(git(&["rev-parse", BRANCH]), git(&["rev-parse", "main"]));
    assert_eq!(gate().phase, NodePhase::Blocked);
}
