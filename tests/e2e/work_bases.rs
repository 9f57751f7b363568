//! What a task builds on when several came before it: their results merged, or the files named in which they conflict.

use planspec::model::{ExecutionPhase, NodePhase, NodeReason};
use serde_json::json;

use crate::engine_rig::{Graph, QUICK, Stage, check_history, check_history_with_reruns};

fn diamond(left: &str, right: &str) -> Graph {
    Graph::new("diamond")
        .editor("top", &[], "seq 9 > numbers")
        .editor("left", &["top"], left)
        .editor("right", &["top"], right)
        .editor("bottom", &["left", "right"], "sort -u numbers > sorted")
}

#[test]
fn results_of_parallel_nodes_are_merged_for_the_next() {
    let graph =
        diamond("sed -i 's/^1$/left/' numbers; echo l > l", "sed -i 's/^9$/right/' numbers; echo r > r");
    let stage = Stage::with_graphs(QUICK, &[&graph]);
    stage.reconcile(&[]).succeeds();
    let status = stage.status("diamond");
    assert_eq!(status.phase, ExecutionPhase::Succeeded, "{status:#?}");
    let bottom = stage.node("diamond", "bottom").extensions;
    let result = bottom.result.unwrap();
    let show = |path: &str| stage.environment.git_output(&["show", &format!("{}:{path}", result.commit)]);
    assert_eq!((show("l"), show("r")), ("l".to_owned(), "r".to_owned()));
    assert_eq!(show("sorted").lines().count(), 9);
    assert!(show("numbers").starts_with("left\n") && show("numbers").ends_with("\nright"));
    // The merge is kept as well: its commit is what the claim names.
    let base = bottom.base.unwrap();
    let kept = stage.environment.git_output(&["log", "--format=%H", "refs/planspec/results/team/diamond"]);
    assert!(kept.contains(&base) && base == result.base);
    let author = stage.environment.git_output(&["log", "-1", "--format=%an %ae", &base]);
    assert_eq!(author, "planspec planspec@localhost");
    check_history(&stage.environment.repo());
}

#[test]
fn a_conflict_blocks_the_node_and_names_files_and_both_sides() {
    let graph = diamond("sed -i 's/^5$/left/' numbers", "sed -i 's/^5$/right/' numbers");
    let stage = Stage::with_graphs(QUICK, &[&graph]);
    stage.reconcile(&[]).succeeds();
    let bottom = stage.node("diamond", "bottom");
    assert_eq!(
        (bottom.phase, bottom.extensions.reason),
        (NodePhase::Blocked, Some(NodeReason::MergeConflict))
    );
    for word in ["`left`", "`right`", "`numbers`"] {
        assert!(bottom.message.contains(word), "{}", bottom.message);
    }
    assert_eq!(stage.status("diamond").phase, ExecutionPhase::Blocked);
    // Nothing changes by asking again, and a retry from where it began resolves it.
    let tip = stage.status_tip();
    stage.reconcile(&[]).succeeds();
    assert_eq!(stage.status_tip(), tip);
}

#[test]
fn the_later_of_two_results_that_conflict_is_made_again_on_top_of_the_earlier_where_its_settings_say_so() {
    let right = "grep -q left numbers && echo both >> numbers || sed -i 's/^5$/right/' numbers";
    let graph = Graph::new("diamond")
        .editor("top", &[], "seq 9 > numbers")
        .editor("left", &["top"], "sed -i 's/^5$/left/' numbers")
        .editor_with("right", &["top"], right, &json!({ "onConflict": "rerun" }))
        .editor("beside", &["right"], "cp numbers beside")
        .editor("bottom", &["left", "right"], "cp numbers seen");
    let stage = Stage::with_graphs(QUICK, &[&graph]);
    stage.reconcile(&[]).succeeds();
    let status = stage.status("diamond");
    assert_eq!(status.phase, ExecutionPhase::Succeeded, "{status:#?}");
    let commit = |node: &str| stage.node("diamond", node).extensions.result.unwrap().commit.clone();
    let right = stage.node("diamond", "right").extensions;
    assert_eq!((right.onto.len(), right.onto[0].as_str(), right.reruns), (1, "left", 1));
    assert_eq!(right.base.as_ref(), Some(&commit("left")), "it began with what the other one had changed");
    assert_eq!(stage.node("diamond", "bottom").extensions.base.as_ref(), Some(&commit("right")));
    let show =
        |node: &str, path: &str| stage.environment.git_output(&["show", &format!("{}:{path}", commit(node))]);
    assert!(show("bottom", "seen").contains("left\n") && show("bottom", "seen").ends_with("both"));
    assert_eq!(
        show("beside", "beside"),
        show("bottom", "seen"),
        "what stood on the old result is made again"
    );
    // What it was made on top of is among what it stands on.
    stage.environment.planspec(&["retry", "diamond", "--from", "left", "-n", "team"]).succeeds();
    assert_eq!(stage.node("diamond", "right").phase, NodePhase::Pending);
    stage.reconcile(&[]).succeeds();
    assert_eq!(stage.status("diamond").phase, ExecutionPhase::Succeeded);
}

/// `left` and `right` change the same line; behind both there is a gate.
fn gated(right: &str, settings: &serde_json::Value) -> Graph {
    Graph::new("gated")
        .editor("top", &[], "seq 9 > numbers")
        .editor("left", &["top"], "sed -i 's/^5$/left/' numbers")
        .editor_with("right", &["top"], right, settings)
        .node(json!({ "id": "look", "kind": "Gate", "dependsOn": ["left", "right"], "gateRef": { "name": "ok" } }))
        .task("after", &["look"], "true")
}

#[test]
fn a_gate_asks_only_when_what_conflicted_before_it_was_made_again() {
    let right = "grep -q left numbers && echo both >> numbers || sed -i 's/^5$/right/' numbers";
    let stage = Stage::with_graphs(QUICK, &[&gated(right, &json!({ "onConflict": "rerun" }))]);
    stage.reconcile(&[]).succeeds();
    let look = stage.node("gated", "look");
    assert_eq!((look.phase, look.message.as_str()), (NodePhase::Blocked, "gate `ok` has 0 of 1 approvals"));
    let right = stage.node("gated", "right").extensions;
    assert_eq!((right.reruns, look.extensions.base), (1, right.result.map(|result| result.commit.clone())));
    check_history_with_reruns(&stage.environment.repo(), &["right"]);
}

#[test]
fn a_gate_before_which_results_conflict_says_that_there_is_nothing_to_show() {
    let stage = Stage::new(QUICK, &[]);
    let settled = stage.outside("settled");
    let right = format!("test -e '{}' || sed -i 's/^5$/right/' numbers; touch right", settled.display());
    stage.commit("work.yaml", &crate::engine_rig::manifests(&[&gated(&right, &json!({}))]));
    let said = stage.reconcile(&[]).succeeds().stdout;
    let why = "nothing to show yet, because the files of `left` and `right` conflict in `numbers`";
    assert!(said.lines().any(|line| line.contains(" look Blocked: ") && line.contains(why)), "{said}");
    let look = stage.node("gated", "look");
    assert!(look.message.starts_with("gate `ok` has 0 of 1 approvals; ") && look.message.contains(why));
    assert_eq!((look.phase, look.extensions.base), (NodePhase::Blocked, None));
    // Nothing changes by looking again.
    let tip = stage.status_tip();
    stage.reconcile(&[]).succeeds();
    assert_eq!(stage.status_tip(), tip);
    std::fs::write(&settled, "").unwrap();
    stage.environment.planspec(&["retry", "gated", "--from", "right", "-n", "team"]).succeeds();
    stage.reconcile(&[]).succeeds();
    let look = stage.node("gated", "look");
    assert_eq!(look.message, "gate `ok` has 0 of 1 approvals");
    assert!(look.extensions.base.is_some() && look.extensions.conflict.is_none(), "{look:#?}");
}

#[test]
fn a_node_that_is_retried_drops_what_was_built_on_its_old_result() {
    let graph = Graph::new("chain").editor("first", &[], "date +%N > stamp").editor(
        "second",
        &["first"],
        "cp stamp seen",
    );
    let stage = Stage::with_graphs(QUICK, &[&graph]);
    stage.reconcile(&[]).succeeds();
    let old = stage.node("chain", "second").extensions.result.unwrap();
    stage.environment.planspec(&["retry", "chain", "--from", "first", "-n", "team"]).succeeds();
    assert!(stage.node("chain", "second").extensions.result.is_none());
    stage.reconcile(&[]).succeeds();
    let new = stage.node("chain", "second").extensions.result.unwrap();
    assert_ne!(old.commit, new.commit);
    let show = |path: &str| stage.environment.git_output(&["show", &format!("{}:{path}", new.commit)]);
    assert_eq!(show("stamp"), show("seen"));
    // The old one is kept too: nothing is ever lost to pruning.
    let kept = stage.environment.git_output(&["log", "--format=%H", "refs/planspec/results/team/chain"]);
    assert!(kept.contains(&old.commit) && kept.contains(&new.commit));
}

/// Somebody who is always in the way of another one is a matter for a person after three times.
#[test]
fn a_node_is_made_again_three_times_and_then_a_person_decides() {
    let stage = Stage::new(QUICK, &[]);
    let seen = |n: u32| stage.outside(&format!("seen-{n}"));
    // Each of the chain changes the line only after the last conflict with it was resolved.
    let after = |n: u32, word: &str| {
        format!("until test -e '{}'; do sleep 0.05; done; echo {word} > line", seen(n).display())
    };
    let saw = |n: u32| format!("touch '{}'", seen(n).display());
    let rerun = json!({ "onConflict": "rerun" });
    let graph = Graph::new("quarrel")
        .editor("a", &[], "echo a > line")
        .editor("b", &["a"], &after(1, "b"))
        .editor("c", &["b"], &after(2, "c"))
        .editor("d", &["c"], &after(3, "d"))
        .editor_with("other", &[], "echo \"other $PLANSPEC_ATTEMPT\" > line", &rerun)
        .task("first", &["a", "other"], &saw(1))
        .task("second", &["b", "other"], &saw(2))
        .task("third", &["c", "other"], &saw(3))
        .task("fourth", &["d", "other"], "true");
    stage.commit("work.yaml", &crate::engine_rig::manifests(&[&graph]));
    stage.reconcile(&[]).succeeds();
    let other = stage.node("quarrel", "other");
    assert_eq!((other.phase, other.extensions.reruns), (NodePhase::Succeeded, 3), "{other:#?}");
    let fourth = stage.node("quarrel", "fourth");
    let why = (fourth.phase, fourth.extensions.reason);
    assert_eq!(why, (NodePhase::Blocked, Some(NodeReason::MergeConflict)), "{fourth:#?}");
    assert!(fourth.message.contains("`d`") && fourth.message.contains("`other`"), "{}", fourth.message);
    check_history_with_reruns(&stage.environment.repo(), &["other", "first", "second", "third"]);
}
