//! What a process says of itself: that it has to be begun again later, and that it has to ask. Neither is a failure.

use planspec::model::{NodePhase, NodeReason, Usage};
use serde_json::{Value, json};

use crate::engine_rig::{Graph, QUICK, Stage, manifests};

fn stage(script: &str) -> Stage {
    let graph = Graph::new("one").editor_with("work", &[], script, &json!({}));
    Stage::new(QUICK, &[("work.yaml", &manifests(&[&graph]))])
}

fn used(tokens: u64, cost: Option<f64>) -> Option<Usage> {
    Some(Usage { tokens: Some(tokens), cost, turns: None })
}

#[test]
fn a_process_that_wants_to_be_run_later_runs_again_without_using_up_a_retry() {
    for say in ["exit 75", "echo '{\"retryAfter\": 1}' > $PLANSPEC_RESULT; exit 1"] {
        let stage = stage(&format!("echo 1 > one; test $PLANSPEC_ATTEMPT = 2 || {{ {say}; }}; echo 2 > two"));
        stage.reconcile(&[]).succeeds();
        let node = stage.node("one", "work");
        assert_eq!((node.phase, node.attempt), (NodePhase::Succeeded, 2), "{say}: {node:#?}");
        assert_eq!(node.extensions.failures, 0, "{say}");
    }
}

#[test]
fn a_process_that_asks_is_run_again_with_the_answer_and_what_it_used_up_is_added() {
    let script = r#"if test -z "$PLANSPEC_ANSWER"; then
            echo '{"question": "Which colour?", "usage": {"tokens": 10}}' > "$PLANSPEC_RESULT"; exit 0
        fi
        echo "$PLANSPEC_ANSWER" > colour
        echo '{"usage": {"tokens": 5, "cost": 0.25}}' > "$PLANSPEC_RESULT""#;
    let stage = stage(script);
    stage.reconcile(&[]);
    let node = stage.node("one", "work");
    assert_eq!((node.phase, node.extensions.reason), (NodePhase::Blocked, Some(NodeReason::InputRequired)));
    assert_eq!(node.extensions.usage, used(10, None));
    let asked = "tool://sh asks: Which colour? (`planspec answer one/work -n team TEXT`)";
    assert_eq!(node.message, asked);

    stage.environment.planspec(&["answer", "one/work", "-n", "team", "red"]).succeeds();
    stage.reconcile(&[]).succeeds();
    let node = stage.node("one", "work");
    assert_eq!((node.phase, node.extensions.failures), (NodePhase::Succeeded, 0), "{node:#?}");
    assert_eq!(node.extensions.usage, used(15, Some(0.25)));
    let commit = node.extensions.result.unwrap().commit.clone();
    assert_eq!(stage.environment.git_output(&["show", &format!("{commit}:colour")]), "red");
    let described =
        stage.environment.planspec(&["describe", "execution/one", "-n", "team"]).succeeds().stdout;
    let row = described.lines().find(|line| line.starts_with("  work") && line.contains("0.25"));
    assert!(row.is_some_and(|row| row.contains("15")), "{described}");
}

#[test]
fn what_a_process_says_and_nobody_can_read_fails_it_with_the_reason() {
    let stage = stage("echo '{\"retyAfter\": 1}' > $PLANSPEC_RESULT");
    stage.reconcile(&[]);
    let node = stage.node("one", "work");
    assert_eq!(node.extensions.reason, Some(NodeReason::OutputInvalid), "{node:#?}");
    assert!(node.message.contains("unknown field `retyAfter`"), "{}", node.message);
}

#[test]
fn the_examples_of_a_result_file_in_the_documentation_are_what_is_read() {
    // The page and the program name the same three fields.
    let page = include_str!("../../docs/providers/tool.md");
    let example = page.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let example: Value = serde_json::from_str(example).unwrap();
    let script = format!("test -n \"$PLANSPEC_ANSWER\" || echo '{example}' > $PLANSPEC_RESULT");
    let stage = stage(&script);
    stage.reconcile(&[]);
    let node = stage.node("one", "work");
    assert_eq!(node.extensions.reason, Some(NodeReason::InputRequired), "{node:#?}");
    assert_eq!(node.extensions.usage, serde_json::from_value(example["usage"].clone()).unwrap());
}

#[test]
fn a_node_whose_budget_is_spent_asks_before_it_goes_on_and_counts_on_from_the_answer() {
    let script = r#"test $PLANSPEC_ATTEMPT = 4 && exit 0
        echo '{"retryAfter": 1, "usage": {"tokens": 600}}' > "$PLANSPEC_RESULT"; exit 1"#;
    let graph = Graph::new("one").editor("work", &[], script).field("budget", json!({ "tokens": 1000 }));
    let stage = Stage::new(QUICK, &[("work.yaml", &manifests(&[&graph]))]);
    stage.reconcile(&[]);
    let node = stage.node("one", "work");
    let asks = (node.phase, node.attempt, node.extensions.reason);
    assert_eq!(asks, (NodePhase::Blocked, 2, Some(NodeReason::BudgetSpent)), "{node:#?}");
    let asked = "it has used 1200 of 1000 tokens of its budget; may it go on for as much again? \
                 (`planspec answer one/work -n team TEXT`)";
    assert_eq!(node.message, asked);
    let tip = stage.status_tip();
    stage.reconcile(&[]);
    assert_eq!(stage.status_tip(), tip, "it waits, and asks once");
    let refused = stage.environment.planspec(&["answer", "one/work", "-n", "team", "no, stop it"]).exits(1);
    assert!(refused.stderr.contains("`planspec fail one/work` ends it"), "{}", refused.stderr);
    stage.environment.planspec(&["answer", "one/work", "-n", "team", "yes"]).succeeds();
    stage.environment.planspec(&["answer", "one/work", "-n", "team", "yes"]).exits(1);
    stage.reconcile(&[]).succeeds();
    let node = stage.node("one", "work");
    assert_eq!((node.phase, node.attempt), (NodePhase::Succeeded, 4), "{node:#?}");
    assert_eq!(node.extensions.usage, used(1800, None));
}

#[test]
fn the_budget_of_an_execution_holds_agents_back_and_nobody_else() {
    let spends = r#"echo '{"usage": {"tokens": 70, "cost": 1.5}}' > "$PLANSPEC_RESULT""#;
    let agent = |script: &str| json!({ "command": script, "shell": true, "stdin": "none" });
    let graph = Graph::new("one")
        .provided("first", &[], "agent://any", &agent(spends))
        .provided("second", &["first"], "agent://any", &agent(spends))
        .task("test", &["first"], "true");
    let config = format!("{QUICK}budget: {{ cost: 1.0 }}\n");
    let stage = Stage::new(&config, &[("work.yaml", &manifests(&[&graph]))]);
    stage.reconcile(&[]);
    let second = stage.node("one", "second");
    let asks = (second.phase, second.attempt, second.extensions.reason);
    assert_eq!(asks, (NodePhase::Blocked, 0, Some(NodeReason::BudgetSpent)), "{second:#?}");
    assert!(second.message.starts_with("the execution has used 1.50 of 1.00 in cost"), "{}", second.message);
    assert_eq!(stage.node("one", "test").phase, NodePhase::Succeeded);
    stage.environment.planspec(&["answer", "one/second", "-n", "team", "go on"]).succeeds();
    stage.reconcile(&[]).succeeds();
    assert_eq!(stage.node("one", "second").phase, NodePhase::Succeeded);
    let described =
        stage.environment.planspec(&["describe", "execution/one", "-n", "team"]).succeeds().stdout;
    let all = described.lines().find(|line| line.starts_with("  all"));
    assert!(all.is_some_and(|all| all.contains("140") && all.contains("3.00")), "{described}");
}
