//! A person hands in commits as the result of a node, under the rules of every other result.

use std::path::{Path, PathBuf};

use planspec::model::{ExecutionPhase, NodePhase, NodeReason};
use serde_json::json;

use crate::engine_rig::{Graph, QUICK, Stage, check_history};

/// Two tasks whose results conflict, and one that builds on both and may only change numbers and notes.
fn conflicting() -> Graph {
    let bounds = json!({ "paths": { "allow": ["numbers", "notes/**"] } });
    Graph::new("diamond")
        .editor("top", &[], "seq 9 > numbers")
        .editor("left", &["top"], "sed -i 's/^5$/left/' numbers")
        .editor("right", &["top"], "sed -i 's/^5$/right/' numbers")
        .editor_with("bottom", &["left", "right"], "sort -u numbers > sorted", &bounds)
        .editor("after", &["bottom"], "cp numbers seen")
}

/// A working tree of a person at the result of a node.
fn at_the_result_of(stage: &Stage, node: &str) -> (PathBuf, String) {
    let commit = stage.node("diamond", node).extensions.result.unwrap().commit.clone();
    let hand = stage.outside(&format!("hand-{node}"));
    stage.environment.git(&["worktree", "add", "--quiet", "--detach", hand.to_str().unwrap(), &commit]);
    (hand, commit)
}

fn commit(stage: &Stage, hand: &Path, message: &str) -> String {
    stage.environment.git_in(hand, &["add", "--all"]).succeeds();
    stage.environment.git_in(hand, &["commit", "--quiet", "-m", message]).succeeds();
    stage.environment.git_in(hand, &["rev-parse", "HEAD"]).succeeds().stdout.trim().to_owned()
}

#[test]
fn what_a_person_hands_in_has_the_limits_of_every_result() {
    let config = format!("{QUICK}limits: {{results: {{bytes: 100000, fileBytes: 60000, files: 3}}}}\n");
    let graph =
        Graph::new("diamond").editor("top", &[], r#"echo '{"question": "How?"}' > "$PLANSPEC_RESULT""#);
    let stage = Stage::with_graphs(&config, &[&graph]);
    stage.reconcile(&[]).succeeds();
    assert_eq!(stage.node("diamond", "top").phase, NodePhase::Blocked);
    let hand = stage.outside("hand");
    stage.environment.git(&["worktree", "add", "--quiet", "--detach", hand.to_str().unwrap(), "main"]);
    let tip = stage.status_tip();
    let handed_in = |files: &[(&str, usize)]| {
        stage.environment.git_in(&hand, &["reset", "--quiet", "--hard", "main"]).succeeds();
        for (name, size) in files {
            std::fs::write(hand.join(name), "x".repeat(*size)).unwrap();
        }
        let commit = commit(&stage, &hand, "By hand");
        stage.environment.planspec(&["complete", "diamond/top", "--commit", &commit, "-n", "team"])
    };
    for (files, said) in [
        (
            &[("big", 60_001)][..],
            "`big` has 60001 bytes, and `limits.results.fileBytes` of .planspec.yaml allows 60000",
        ),
        (&[("a", 50_001), ("b", 50_000)], "2 files of 100001 bytes changed, and `limits.results`"),
        (&[("a", 1), ("b", 1), ("c", 1), ("d", 1)], "4 files of 4 bytes changed, and `limits.results`"),
    ] {
        let refused = handed_in(files).exits(1).stderr;
        assert!(refused.contains(said), "{refused}");
    }
    assert_eq!(stage.status_tip(), tip, "nothing of it is recorded");
    handed_in(&[("big", 60_000)]).succeeds();
    stage.reconcile(&[]).succeeds();
    assert_eq!(stage.node("diamond", "top").phase, NodePhase::Succeeded);
}

#[test]
fn a_person_resolves_a_conflict_and_hands_the_merge_in() {
    let stage = Stage::with_graphs(QUICK, &[&conflicting()]);
    stage.reconcile(&[]).succeeds();
    assert_eq!(stage.node("diamond", "bottom").extensions.reason, Some(NodeReason::MergeConflict));
    let (hand, left) = at_the_result_of(&stage, "left");
    let complete = |commit: &str| {
        let arguments = ["complete", "diamond/bottom", "--commit", commit, "-n", "team"];
        stage.environment.planspec(&arguments)
    };
    let refused = |commit: &str, said: &str| {
        let answer = complete(commit).exits(1);
        assert!(answer.stderr.contains(said), "{}", answer.stderr);
    };
    let tip = stage.status_tip();
    // One side alone is not what comes before the node.
    std::fs::write(hand.join("numbers"), "left and right\n").unwrap();
    let one_side = commit(&stage, &hand, "Take both");
    refused(&one_side, "does not contain the work of `right`");
    complete("no-such-branch").exits(3);
    // The merge, with a file that no task may change either.
    let right = stage.node("diamond", "right").extensions.result.unwrap().commit.clone();
    stage.environment.git_in(&hand, &["reset", "--quiet", "--hard", &left]).succeeds();
    stage.environment.git_in(&hand, &["merge", "--quiet", &right]).exits(1);
    std::fs::write(hand.join("numbers"), "left and right\n").unwrap();
    let merged = commit(&stage, &hand, "Merge both");
    std::fs::create_dir_all(hand.join(".github/workflows")).unwrap();
    std::fs::write(hand.join(".github/workflows/x.yml"), "on: push\n").unwrap();
    let with_workflow = commit(&stage, &hand, "Add a workflow");
    refused(&with_workflow, "`.github/workflows/x.yml` (not in `config.paths.allow`)");
    assert_eq!(stage.status_tip(), tip, "nothing of it is recorded");
    let said = complete(&merged).succeeds().stdout;
    assert_eq!(said, "execution/diamond node bottom completed\n");
    let bottom = stage.node("diamond", "bottom");
    let reason = Some(NodeReason::CompletedByPerson);
    assert_eq!((bottom.phase, bottom.extensions.reason), (NodePhase::Succeeded, reason));
    let result = bottom.extensions.result.unwrap();
    assert_eq!((result.commit.as_str(), result.files), (merged.as_str(), 1));
    let kept = stage.environment.git_output(&["log", "--format=%H", "refs/planspec/results/team/diamond"]);
    assert!(kept.contains(&merged), "{kept}");
    stage.reconcile(&[]).succeeds();
    assert_eq!(stage.status("diamond").phase, ExecutionPhase::Succeeded);
    let after = stage.node("diamond", "after").extensions.result.unwrap();
    let seen = stage.environment.git_output(&["show", &format!("{}:seen", after.commit)]);
    assert_eq!(seen, "left and right");
    check_history(&stage.environment.repo());
}

#[test]
fn a_conflict_is_checked_out_as_a_merge_that_a_person_finishes() {
    let stage = Stage::with_graphs(QUICK, &[&conflicting()]);
    let said = stage.reconcile(&[]).succeeds().stdout;
    assert!(said.contains("run: planspec checkout diamond/bottom -n team"), "{said}");
    // A comparison has nothing to show, and leads to it.
    let error = stage.environment.planspec(&["diff", "diamond/bottom"]).exits(1).stderr;
    assert!(error.contains("hint: `planspec checkout diamond/bottom`"), "{error}");
    let said = stage
        .environment
        .planspec(&["checkout", "diamond/bottom", "-n", "team", "../both"])
        .succeeds()
        .stdout;
    for part in ["conflict in `numbers`", "planspec complete diamond/bottom -n team --commit HEAD"] {
        assert!(said.contains(part), "{said}");
    }
    let hand = stage.outside("both");
    let numbers = std::fs::read_to_string(hand.join("numbers")).unwrap();
    assert!(
        numbers.contains("<<<<<<<") && numbers.contains("left") && numbers.contains("right"),
        "{numbers}"
    );
    std::fs::write(hand.join("numbers"), "left and right\n").unwrap();
    stage.environment.git_in(&hand, &["commit", "--quiet", "--all", "--no-edit"]).succeeds();
    let subject = stage.environment.git_in(&hand, &["log", "-1", "--format=%s"]).succeeds().stdout;
    assert_eq!(subject, "Merge the results of left, right\n");
    let complete = ["complete", "diamond/bottom", "-n", "team", "--commit", "HEAD"];
    stage.environment.planspec_in(&hand, &complete).succeeds();
    stage.reconcile(&[]).succeeds();
    assert_eq!(stage.status("diamond").phase, ExecutionPhase::Succeeded);
    let after = stage.node("diamond", "after").extensions.result.unwrap();
    let seen = stage.environment.git_output(&["show", &format!("{}:seen", after.commit)]);
    assert_eq!(seen, "left and right");
}

#[test]
fn a_person_does_the_first_task_in_a_working_tree_of_it_and_hands_it_in() {
    let graph = Graph::new("diamond").provided("write", &[], "human://wendy", &json!({})).editor(
        "read",
        &["write"],
        "cp words again",
    );
    let stage = Stage::with_graphs(QUICK, &[&graph]);
    stage.reconcile(&[]).succeeds();
    let hand = stage.outside("hand");
    let made = ["checkout", "diamond/write", hand.to_str().unwrap(), "-n", "team"];
    stage.environment.planspec(&made).succeeds();
    let head = stage.environment.git_in(&hand, &["rev-parse", "HEAD"]).succeeds().stdout;
    assert_eq!(head.trim(), stage.environment.git_output(&["rev-parse", "main"]), "what the task works on");
    // As a difference there is nothing to see yet, and of the whole nothing to look at.
    let nothing = ["diff", "diamond/write", "-n", "team"];
    assert!(stage.environment.planspec(&nothing).exits(1).stderr.contains("keeps no changes of files"));
    stage.environment.planspec(&["checkout", "diamond", "-n", "team"]).exits(1);
    std::fs::write(hand.join("words"), "by hand\n").unwrap();
    commit(&stage, &hand, "Write");
    let hand_in = ["complete", "diamond/write", "--commit", "HEAD", "-n", "team"];
    stage.environment.planspec_in(&hand, &hand_in).succeeds();
    stage.reconcile(&[]).succeeds();
    let read = stage.node("diamond", "read").extensions.result.unwrap();
    assert_eq!(stage.environment.git_output(&["show", &format!("{}:again", read.commit)]), "by hand");
}

#[test]
fn results_that_conflict_before_a_delivery_are_for_a_task_or_a_rerun_and_not_for_commits_of_a_person() {
    let config = format!("{QUICK}providers: {{ merge: [{{ branch: main, gate: none }}] }}\n");
    let graph = Graph::new("diamond")
        .editor("left", &[], "echo left > both")
        .editor("right", &[], "echo right > both")
        .provided("land", &["left", "right"], "merge://main", &json!({}));
    let stage = Stage::with_graphs(&config, &[&graph]);
    stage.reconcile(&[]).succeeds();
    assert_eq!(stage.node("diamond", "land").extensions.reason, Some(NodeReason::MergeConflict));
    let checkout = ["checkout", "diamond/land", "-n", "team", "../both"];
    let said = stage.environment.planspec(&checkout).succeeds().stdout;
    assert!(!said.contains("--commit"), "{said}");
    for part in ["`land` takes no commits", "`config.onConflict: rerun` in the Binding of `right`"] {
        assert!(said.contains(part), "{said}");
    }
    // As it says.
    let rerun = Graph::new("diamond")
        .editor("left", &[], "echo left > both")
        .editor_with("right", &[], "echo right >> both", &json!({ "onConflict": "rerun" }))
        .provided("land", &["left", "right"], "merge://main", &json!({}));
    stage.commit("work.yaml", &crate::engine_rig::manifests(&[&rerun]));
    let retry = said.split("after planspec ").nth(1).unwrap().trim();
    let retry: Vec<&str> = retry.split(' ').collect();
    stage.environment.planspec(&retry).succeeds();
    stage.reconcile(&[]).succeeds();
    assert_eq!(stage.status("diamond").phase, ExecutionPhase::Succeeded, "{:#?}", stage.status("diamond"));
}

#[test]
fn a_person_goes_on_with_what_an_attempt_has_left_when_it_asked() {
    let script = r#"echo half > words; echo '{"question": "How?"}' > "$PLANSPEC_RESULT""#;
    let stage = Stage::with_graphs(QUICK, &[&Graph::new("diamond").editor("write", &[], script)]);
    stage.reconcile(&[]).succeeds();
    let hand = stage.outside("hand");
    let made = ["checkout", "diamond/write", hand.to_str().unwrap(), "-n", "team"];
    let said = stage.environment.planspec(&made).succeeds().stdout;
    assert!(said.contains("what attempt 1 had left unfinished (1 file) is not in it"), "{said}");
    let command = said.split("`git ").nth(1).and_then(|rest| rest.split('`').next()).unwrap();
    let command: Vec<&str> = command.split(' ').collect();
    stage.environment.git_in(&hand, &command).succeeds();
    assert_eq!(std::fs::read_to_string(hand.join("words")).unwrap(), "half\n");
    commit(&stage, &hand, "Write");
    let hand_in = ["complete", "diamond/write", "--commit", "HEAD", "-n", "team"];
    stage.environment.planspec_in(&hand, &hand_in).succeeds();
    stage.reconcile(&[]).succeeds();
    assert_eq!(stage.node("diamond", "write").phase, NodePhase::Succeeded);
}
