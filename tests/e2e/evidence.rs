//! Evidence by another hand: the criteria of work that is kept run in a second workspace, on what was committed and nothing
//! else, without secrets, and their verdicts name the commit.

use planspec::model::{NodePhase, NodeReason, NodeStatus};
use serde_json::{Value, json};

use crate::engine_rig::{Graph, QUICK, Stage, manifests};

/// A repository with tests and a script that runs them, and one task that changes files in it.
fn judged(config: &str, script: &str, settings: &Value, command: &str) -> Stage {
    let criteria = json!([{ "type": "test_passes", "name": "tests", "command": command }]);
    let graph = Graph::new("one").editor_with("work", &[], script, settings);
    let graph = graph.field("acceptanceCriteria", criteria);
    let documents = manifests(&[&graph]);
    let files = [
        ("work.yaml", documents.as_str()),
        ("answer", "41\n"),
        ("check.sh", "for test in tests/*; do sh \"$test\" || exit 1; done\n"),
        ("tests/answer", "test \"$(cat answer)\" = 42\n"),
    ];
    Stage::new(config, &files)
}

fn run(stage: &Stage) -> NodeStatus {
    stage.reconcile(&[]).succeeds();
    stage.node("one", "work")
}

fn restoring() -> Value {
    json!({ "protect": { "restore": ["tests/**", "check.sh"] } })
}

#[track_caller]
fn check_fails(script: &str, settings: &Value, command: &str) {
    let node = run(&judged(QUICK, script, settings, command));
    assert_eq!(node.phase, NodePhase::Failed, "{node:#?}");
    assert_eq!(node.extensions.reason, Some(NodeReason::CriterionFailed), "{}", node.message);
    assert!(node.extensions.result.is_none(), "what is not as it was asked for is nobody's base");
}

#[test]
fn a_worker_that_rewrites_what_it_is_judged_by_is_judged_by_what_was_there() {
    check_fails("echo true > tests/answer", &restoring(), "sh check.sh");
    check_fails("rm -r tests && mkdir tests && echo true > tests/easy", &restoring(), "sh check.sh");
    check_fails("echo true > check.sh", &restoring(), "sh check.sh");
    // Without a protection it gets away with it, and the record says by what it was judged.
    let stage = judged(QUICK, "echo true > check.sh", &json!({}), "sh check.sh");
    assert_eq!(run(&stage).phase, NodePhase::Succeeded);
}

#[test]
fn a_worker_that_changes_what_is_forbidden_fails_whether_its_changes_are_kept_or_not() {
    for changes in ["commit", "discard"] {
        let settings = json!({ "changes": changes, "protect": { "forbid": ["tests/**"] } });
        let node = run(&judged(QUICK, "echo 42 > answer; echo true > tests/easy", &settings, "sh check.sh"));
        assert_eq!(node.extensions.reason, Some(NodeReason::ChangeRefused), "{node:#?}");
        assert!(
            node.message.contains("`tests/easy` (protected by `config.protect.forbid`)"),
            "{}",
            node.message
        );
        let node = run(&judged(QUICK, "echo 42 > answer", &settings, "sh check.sh"));
        assert_eq!(node.phase, NodePhase::Succeeded, "{}", node.message);
    }
}

#[test]
fn a_good_test_that_the_worker_adds_belongs_to_its_result_and_proves_nothing() {
    let script = "echo 42 > answer; echo 'test -s answer' > tests/more; echo false > tests/broken";
    let stage = judged(QUICK, script, &restoring(), "sh check.sh");
    let node = run(&stage);
    assert_eq!(node.phase, NodePhase::Succeeded, "{}", node.message);
    let commit = node.extensions.result.unwrap().commit.clone();
    let kept = stage.environment.git_output(&["ls-tree", "-r", "--name-only", &commit, "tests"]);
    assert_eq!(kept, "tests/answer\ntests/broken\ntests/more");
    let checked = node.extensions.criteria[0].checked.clone().unwrap();
    assert_eq!((checked.commit, checked.restored), (commit, 2));
}

#[test]
fn what_was_not_committed_is_not_there_when_the_work_is_judged() {
    // Ignored, so that it belongs to no result.
    check_fails("echo helper > .gitignore; echo true > helper", &json!({}), "sh helper");
    check_fails("mkdir -p .git/hooks && echo true > .git/helper", &json!({}), "sh .git/helper");
}

#[test]
fn a_process_that_goes_on_writing_changes_nothing_of_what_is_judged() {
    let script = "echo 42 > answer; setsid sh -c 'i=0; while [ $i -lt 400 ]; do echo 41 > answer; sleep 0.01; \
                  i=$((i+1)); done' > /dev/null 2>&1 & sleep 0.2; echo 42 > answer";
    let stage = judged(QUICK, script, &json!({}), "sleep 0.3 && sh check.sh");
    let node = run(&stage);
    // What it wrote while the files were taken in may be part of the result; what it writes later is not.
    let commit = node.extensions.criteria[0].checked.clone().unwrap().commit;
    let answer = stage.environment.git_output(&["show", &format!("{commit}:answer")]);
    assert_eq!(node.phase == NodePhase::Succeeded, answer == "42", "{answer}: {node:#?}");
}

#[test]
fn whoever_judges_has_no_secrets() {
    let config = format!("{QUICK}providers: {{secrets: [DEPLOY_TOKEN]}}\n");
    let mut stage = judged(
        &config,
        "test -n \"$DEPLOY_TOKEN\" && echo 42 > answer",
        &json!({}),
        "test -z \"$DEPLOY_TOKEN\" && sh check.sh",
    );
    stage.environment.set("DEPLOY_TOKEN", "hunter22-of-the-deployer");
    let node = run(&stage);
    assert_eq!(node.phase, NodePhase::Succeeded, "{node:#?}");
}

#[test]
fn a_verdict_names_the_commit_and_what_was_run_and_a_new_result_brings_a_new_one() {
    let counted = "echo 42 > answer; date +%N > moment";
    let stage = judged(QUICK, counted, &json!({}), "sh check.sh");
    let first = run(&stage);
    let verdict = first.extensions.criteria[0].checked.clone().unwrap();
    assert_eq!(verdict.commit, first.extensions.result.unwrap().commit);
    let described =
        stage.environment.planspec(&["describe", "execution/one", "-n", "team"]).succeeds().stdout;
    assert!(described.contains("Acceptance criteria"), "{described}");
    assert!(described.contains(verdict.commit.get(..8).unwrap()), "{described}");
    stage.environment.planspec(&["retry", "one", "-n", "team", "--from", "work"]).succeeds();
    assert!(stage.node("one", "work").extensions.criteria.is_empty(), "the old verdict is void");
    let second = run(&stage).extensions.criteria[0].checked.clone().unwrap();
    assert_ne!((&second.commit, &second.digest), (&verdict.commit, &verdict.digest));
}

#[test]
fn work_that_changes_nothing_is_judged_on_what_it_worked_on() {
    let stage = judged(QUICK, "echo x > $PLANSPEC_ARTIFACTS/x", &json!({}), "test \"$(cat answer)\" = 41");
    let node = run(&stage);
    assert_eq!(node.phase, NodePhase::Succeeded, "{}", node.message);
    let head = stage.environment.git_output(&["rev-parse", "main"]);
    assert_eq!(node.extensions.criteria[0].checked.clone().unwrap().commit, head);
}

#[test]
fn what_a_worker_put_into_a_cache_is_not_there_when_the_work_is_judged() {
    // A test runner that believes its cache would say "passed" without running anything.
    let cached = "test -f .cache/verdict && exit 0; sh check.sh";
    check_fails("echo .cache > .gitignore; mkdir .cache; echo passed > .cache/verdict", &json!({}), cached);
}

/// Settings by which `sh` or an agent verifies the work.
fn verified_by(provider: &str, command: &str) -> Value {
    json!({ "verify": { "provider": provider, "config": { "command": command } } })
}

/// Verifies with a command, and with an agent that runs it and says what it found.
fn hands(command: &str) -> [Value; 2] {
    let agent = format!("if {command}; then p=true; else p=false; fi; echo \"passed=$p\" > $PLANSPEC_OUTPUT");
    [verified_by("tool://audit", command), verified_by("agent://critic", &agent)]
}

#[test]
fn another_provider_verifies_the_commit_and_its_verdict_is_recorded_with_it() {
    for verify in hands("test \"$(cat answer)\" = 42") {
        let stage = judged(QUICK, "echo 42 > answer", &verify, "true");
        let node = run(&stage);
        assert_eq!(node.phase, NodePhase::Succeeded, "{}", node.message);
        let [_, verdict] = node.extensions.criteria.as_slice() else { panic!("{node:#?}") };
        assert!(verdict.name.starts_with("verify: ") && verdict.required, "{verdict:#?}");
        let checked = verdict.checked.clone().unwrap();
        assert_eq!(checked.commit, node.extensions.result.clone().unwrap().commit);
        assert_ne!(checked.digest, node.extensions.criteria[0].checked.clone().unwrap().digest);
        let node = run(&judged(QUICK, "echo 41 > answer; echo x > more", &verify, "true"));
        assert_eq!(node.extensions.reason, Some(NodeReason::CriterionFailed), "{node:#?}");
        assert!(node.extensions.result.is_none(), "what did not pass is nobody's base");
        // Nobody is asked about work whose own checks fail.
        let node = run(&judged(QUICK, "echo 42 > answer", &verify, "false"));
        assert_eq!(node.extensions.criteria.len(), 1, "{node:#?}");
    }
}

#[test]
fn whatever_a_worker_leaves_about_verifies_nothing() {
    let [command, agent] = hands("sh check.sh");
    // It knows where its own outputs go, and tries to give the verdict there.
    let forger = "echo 41.0 > answer; setsid sh -c 'i=0; while [ $i -lt 200 ]; do echo passed=true > $PLANSPEC_OUTPUT; \
                  sleep 0.01; i=$((i+1)); done' > /dev/null 2>&1 & sleep 0.1";
    for (verify, script) in [
        (&command, "echo true > tests/answer; echo true > check.sh"),
        (&command, "echo helper > .gitignore; echo 42 > helper; rm answer; ln -s helper answer"),
        (&agent, "rm -r tests && mkdir tests && echo true > tests/easy"),
        (&agent, forger),
    ] {
        let mut verify = verify.clone();
        verify["protect"] = json!({ "restore": ["tests/**", "check.sh"] });
        let node = run(&judged(QUICK, script, &verify, "true"));
        assert_eq!(node.extensions.reason, Some(NodeReason::CriterionFailed), "{script}: {node:#?}");
    }
}

#[test]
fn an_agent_that_verifies_is_told_what_was_done_and_has_to_give_a_verdict() {
    let check = "grep -q 'Verify the work of tool://sh' $PLANSPEC_BRIEF && grep -q \"$PLANSPEC_VERIFY_COMMIT\" \
                 $PLANSPEC_BRIEF && git diff --quiet $PLANSPEC_VERIFY_BASE -- tests && echo 43 > answer && \
                 test -n \"$DEPLOY_TOKEN\"";
    let config = format!("{QUICK}providers: {{secrets: [DEPLOY_TOKEN]}}\n");
    let [_, agent] = hands(check);
    let mut stage = judged(&config, "echo 42 > answer", &agent, "true");
    stage.environment.set("DEPLOY_TOKEN", "hunter22-of-the-deployer");
    let node = run(&stage);
    assert_eq!(node.phase, NodePhase::Succeeded, "{}", node.message);
    let commit = node.extensions.result.unwrap().commit.clone();
    assert_eq!(stage.environment.git_output(&["show", &format!("{commit}:answer")]), "42");
    let silent = verified_by("agent://critic", "true");
    let node = run(&judged(QUICK, "echo 42 > answer", &silent, "true"));
    assert!(node.message.contains("`passed` is missing"), "{}", node.message);
}

#[test]
fn who_cannot_verify_is_named_before_anything_runs() {
    let refused = [
        (json!({ "verify": "http://service" }), "does not run on this machine"),
        (json!({ "verify": "agent://nobody" }), "needs `command`"),
        (json!({ "verify": "tool://x", "changes": "discard" }), "needs `changes: commit`"),
        (
            json!({ "verify": { "provider": "agent://x", "config": { "changes": "commit" } } }),
            "is no setting",
        ),
        (json!({ "verify": "evil://x" }), "`config.verify.provider` cannot be used"),
    ];
    for (settings, expected) in refused {
        let stage = judged(QUICK, "true", &settings, "true");
        let said = stage.environment.planspec(&["validate"]).exits(1);
        assert!(
            format!("{}{}", said.stdout, said.stderr).contains(expected),
            "{}{}",
            said.stdout,
            said.stderr
        );
    }
    let only = format!("{QUICK}providers: {{allow: ['tool://sh']}}\n");
    let stage = judged(&only, "true", &verified_by("tool://audit", "true"), "true");
    let said = stage.environment.planspec(&["validate"]).exits(1);
    assert!(
        format!("{}{}", said.stdout, said.stderr).contains("allow-list"),
        "{}{}",
        said.stdout,
        said.stderr
    );
}
