//! Acceptance criteria after real work.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Bench, bench, shell};
use crate::model::{AcceptanceCriterion, NodeReason};
use crate::provider::{AttemptOutcome, check_criteria};

fn criteria(value: Value) -> Vec<AcceptanceCriterion> {
    serde_json::from_value(value).unwrap()
}

fn with(mut bench: Bench, value: Value) -> Bench {
    bench.attempt.criteria = criteria(value);
    bench
}

/// Runs one criterion after `line`; gives whether it held, and the evidence.
fn check(line: &str, mut criterion: Value) -> (bool, String) {
    criterion["name"] = json!("it");
    let mut bench = with(shell(line), json!([criterion]));
    let report = bench.run();
    let result = &report.evidence.criteria[0];
    assert_eq!(result.passed, matches!(report.outcome, AttemptOutcome::Succeeded { .. }), "{report:?}");
    (result.passed, result.evidence.clone())
}

fn yes(evidence: &str) -> (bool, String) {
    (true, evidence.to_owned())
}

fn no(evidence: &str) -> (bool, String) {
    (false, evidence.to_owned())
}

#[test]
fn a_file_is_looked_for_where_the_work_was_done_and_among_the_artifacts() {
    let there = json!({"type": "artifact_exists", "path": "out/a.txt"});
    assert_eq!(check("mkdir out; printf hi > out/a.txt", there.clone()), yes("`out/a.txt` exists, 2 bytes"));
    let line = "mkdir \"$PLANSPEC_ARTIFACTS/out\"; printf hi > \"$PLANSPEC_ARTIFACTS/out/a.txt\"";
    assert_eq!(check(line, there.clone()), yes("`out/a.txt` exists, 2 bytes"));
    assert_eq!(check("true", there.clone()), no("`out/a.txt` does not exist"));
    assert_eq!(check("mkdir out; ln -s /etc/passwd out/a.txt", there), no("`out/a.txt` does not exist"));
}

#[test]
fn the_content_of_a_file_is_matched() {
    let version = json!({"type": "artifact_exists", "path": "v", "contentMatch": "(?m)^version [0-9]+$"});
    assert_eq!(
        check("printf 'x\\nversion 12\\n' > v", version.clone()),
        yes("the content of `v` matches: version 12")
    );
    assert_eq!(check("echo no > v", version), no("the content of `v` does not match"));
}

#[test]
fn commands_are_judged_by_exit_code_and_output() {
    let test = json!({"type": "test_passes", "command": "test -f done"});
    assert_eq!(check("touch done", test.clone()), yes("exit code 0"));
    assert_eq!(check("true", test), no("exit code 1, expected 0"));
    let three =
        json!({"type": "test_passes", "command": "sh", "args": ["-c", "exit 3"], "expectedExitCode": 3});
    assert_eq!(check("true", three), yes("exit code 3"));
    let says = json!({"type": "command_succeeds", "command": "cat said", "outputMatch": "[0-9]+ passed"});
    assert_eq!(check("echo '12 passed' > said", says.clone()), yes("the output matches: 12 passed"));
    assert_eq!(check("echo none > said", says), no("the output does not match"));
    let missing = json!({"type": "test_passes", "command": "no-such-program"});
    assert_eq!(
        check("true", missing),
        no("cannot start `no-such-program`: there is no such program on the PATH")
    );
}

#[test]
fn the_check_of_a_criterion_has_a_time_of_its_own() {
    let slow = json!({"type": "test_passes", "command": "sleep 600", "timeout": "100ms"});
    assert_eq!(check("true", slow), no("took longer than 100ms"));
}

#[test]
fn the_time_of_the_attempt_covers_its_criteria() {
    let mut bench = with(
        bench(json!({"command": "true"})),
        json!([{"name": "slow", "type": "test_passes", "command": "sleep 600", "timeout": "10m"}]),
    );
    bench.attempt.timeout = Some(Duration::from_millis(300));
    bench.fail(NodeReason::Timeout);
}

#[test]
fn a_required_criterion_fails_the_attempt_and_the_others_are_still_checked() {
    let mut bench = with(
        bench(json!({"command": "true"})),
        json!([
            {"name": "nice", "type": "test_passes", "command": "false", "required": false},
            {"name": "tests", "type": "test_passes", "command": "echo broken; exit 2"},
            {"name": "last", "type": "test_passes", "command": "true"},
        ]),
    );
    let (report, message) = bench.fail(NodeReason::CriterionFailed);
    assert_eq!(message, "acceptance criterion `tests`: exit code 2, expected 0");
    assert_eq!(
        report.evidence.criteria.iter().map(|c| (c.passed, c.required)).collect::<Vec<_>>(),
        [(false, false), (false, true), (true, true)]
    );
    assert_eq!(report.evidence.log.unwrap().tail, "[planspec: criterion tests]\nbroken");
    assert_eq!(report.evidence.exit_code, Some(0));
}

#[test]
fn a_criterion_that_is_not_required_fails_nothing() {
    let mut bench = with(
        bench(json!({"command": "true"})),
        json!([{"name": "nice", "type": "test_passes", "command": "false", "required": false}]),
    );
    assert!(!bench.succeed().0.evidence.criteria[0].passed);
}

#[test]
fn criteria_are_not_checked_after_failed_work() {
    let mut bench = with(
        bench(json!({"command": "false"})),
        json!([{"name": "x", "type": "test_passes", "command": "true"}]),
    );
    assert!(bench.fail(NodeReason::ProviderFailed).0.evidence.criteria.is_empty());
}

fn check_refused(criterion: Value, expected: &str) {
    let mut bench = with(shell("touch started"), Value::Array(vec![criterion]));
    assert_eq!(check_criteria(&bench.attempt.criteria).unwrap_err().to_string(), expected);
    let (_, message) = bench.fail(NodeReason::ProviderFailed);
    assert_eq!(message, expected);
    assert!(!bench.checkout().join("started").exists(), "nothing starts when its result cannot be judged");
}

#[test]
fn what_cannot_be_checked_is_refused_before_anything_starts() {
    check_refused(
        json!({"name": "up", "type": "endpoint_responds", "url": "file:///etc/passwd"}),
        "acceptance criterion `up` has an address that cannot be used: the address is not an http or https URL",
    );
    check_refused(
        json!({"name": "hook", "type": "custom", "webhookUrl": "http://localhost/", "expectedResponse": {"bodyMatch": "("}}),
        "acceptance criterion `hook` has a `bodyMatch` that is not a regular expression",
    );
    check_refused(
        json!({"name": "out", "type": "artifact_exists", "path": "../x"}),
        "acceptance criterion `out` has a `path` that is not relative, or contains `..`",
    );
    check_refused(
        json!({"name": "re", "type": "command_succeeds", "command": "true", "outputMatch": "("}),
        "acceptance criterion `re` has a `outputMatch` that is not a regular expression",
    );
}

#[test]
fn who_verifies_has_to_be_allowed_also_where_the_value_looks_like_an_expression() {
    // As it stands after substitution: an input of the work holds whatever somebody wrote there.
    for provider in ["tool://other", "tool://other${{ x }}"] {
        let verify = json!({"provider": provider, "config": {"command": "true"}});
        let mut bench = bench(json!({"command": "true", "changes": "commit", "verify": verify}));
        bench.settings.allow = vec!["tool://test".to_owned()];
        let (_, message) = bench.fail(NodeReason::ProviderFailed);
        assert!(message.contains("allow-list"), "{provider}: {message}");
    }
}
