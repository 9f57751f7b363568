//! What must not happen, whatever a repository holds: policy from anywhere but the desired commit, work done by commands
//! that only look, writes to the desired branch.

use planspec::model::{ExecutionPhase, NodePhase, NodeReason};

use crate::engine_rig::{Graph, QUICK, Stage, bindings, execution, yaml};

/// A stage whose one task leaves its key in `trace`, and an implicit gate behind it.
fn stage(config: &str) -> Stage {
    let stage = Stage::new(config, &[]);
    let graph = Graph::new("work").task("build", &[], &Stage::leaves_its_key(&stage.outside("trace"))).node(
        serde_json::json!({
            "id": "review", "kind": "Gate", "gateRef": { "name": "review" }, "dependsOn": ["build"],
        }),
    );
    stage.commit("work.yaml", &yaml(&[graph.plan(), execution("work", "work"), bindings(&[&graph])]));
    stage
}

#[test]
fn the_configuration_of_the_working_tree_does_not_count() {
    let allow = |what: &str| format!("{QUICK}providers: {{ allow: [\"{what}\"] }}\n");
    let stage = stage(&allow("human://*"));
    stage.environment.write(".planspec.yaml", &allow("*"));
    stage.reconcile(&[]).succeeds();
    let node = stage.node("work", "build");
    assert_eq!(
        (node.phase, node.extensions.reason),
        (NodePhase::Blocked, Some(NodeReason::ProviderUnavailable))
    );
    assert!(stage.trace("trace").is_empty());
    // Committed, it does.
    stage.commit(".planspec.yaml", &allow("*"));
    stage.reconcile(&[]).succeeds();
    assert_eq!(stage.node("work", "build").phase, NodePhase::Succeeded);
    assert_eq!(stage.trace("trace").len(), 1);
}

#[test]
fn checking_and_comparing_execute_nothing() {
    let stage = stage(QUICK);
    let references = || stage.environment.git_output(&["for-each-ref"]);
    let before = references();
    stage.environment.planspec(&["validate"]).succeeds();
    stage.environment.planspec(&["validate", "--ref", "HEAD", "--base", "HEAD~1"]).succeeds();
    stage.environment.planspec(&["diff", "HEAD~1", "HEAD"]).exits(1);
    assert!(stage.trace("trace").is_empty());
    assert_eq!(references(), before);
}

#[test]
fn what_runs_and_what_is_recorded_never_moves_the_desired_branch() {
    let stage = stage(QUICK);
    let desired = || {
        let head = stage.environment.git_output(&["rev-parse", "HEAD", "refs/heads/main"]);
        head + &stage.environment.git_output(&["status", "--porcelain"])
    };
    let before = desired();
    stage.reconcile(&[]).succeeds();
    stage.environment.planspec(&["approve", "gate/review", "-n", "team"]).succeeds();
    stage.reconcile(&[]).succeeds();
    assert_eq!(stage.status("work").phase, ExecutionPhase::Succeeded);
    stage.environment.planspec(&["gc", "--older-than", "0s"]).succeeds();
    assert_eq!(desired(), before);
}
