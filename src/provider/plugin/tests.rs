//! Providers that a user wrote, as real executables.

use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::model::NodeReason;
use crate::provider::local::tests::{Bench, bench};
use crate::provider::{AttemptOutcome, Control, Registry, Stop};

fn plugin(script: &str) -> Bench {
    let mut bench = bench(json!({"room": "A"}));
    let bin = bench.home.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    let file = bin.join("planspec-provider-robot");
    std::fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", bin.display());
    bench.settings.environment.insert("PATH".to_owned(), path.into());
    bench.settings.sections = json!({"plugins": ["robot", "tool"]}).as_object().unwrap().clone();
    bench.attempt.provider = "robot://arm".to_owned();
    bench
}

#[test]
fn a_request_goes_in_and_an_answer_comes_out() {
    let mut bench =
        plugin(r#"cat > request; echo working >&2; echo '{"status": "succeeded", "outputs": {"n": 3}}'"#);
    bench.attempt.inputs.insert("speed".to_owned(), json!(2.5));
    let (report, outputs) = bench.succeed();
    assert_eq!(outputs["n"], 3);
    assert_eq!(report.evidence.log.unwrap().tail, "working");
    let request = std::fs::read(bench.checkout().join("request")).unwrap();
    let request: serde_json::Value = serde_json::from_slice(&request).unwrap();
    assert_eq!(
        request,
        json!({
            "apiVersion": "planspec.provider/v1",
            "operation": "run",
            "provider": "robot://arm",
            "attempt": {
                "namespace": "team", "execution": "exec-1", "node": "build", "number": 2, "runId": "run-1",
                "idempotencyKey": "uid/build/2", "workKey": "uid/build/0", "fencingToken": 7, "commit": "0".repeat(40), "timeoutSeconds": 60.0,
            },
            "config": {"room": "A"},
            "inputs": {"speed": 2.5},
            "outputs": [],
            "handle": null,
        })
    );
}

#[test]
fn work_elsewhere_is_looked_at_again_and_called_off() {
    let script = r#"
        request=$(cat)
        case "$request" in
          *'"operation":"run"'*) echo '{"status": "blocked", "handle": "job 7", "pollAfter": "5s", "message": "queued"}' ;;
          *'"operation":"poll"'*'"handle":"job 7"'* | *'"handle":"job 7"'*'"operation":"poll"'*)
            echo '{"status": "succeeded", "outputs": {"x": "y"}}' ;;
          *'"operation":"cancel"'*) echo '{"status": "failed", "message": "too late"}' ;;
          *) echo "$request" >&2; exit 9 ;;
        esac"#;
    let mut bench = plugin(script);
    let expected = AttemptOutcome::Blocked {
        reason: NodeReason::AwaitingProvider,
        message: "queued".to_owned(),
        handle: Some("job 7".to_owned()),
        poll_after: Some(Duration::from_secs(5)),
    };
    assert_eq!(bench.run().outcome, expected);
    bench.attempt.handle = Some("job 7".to_owned());
    let registry = Registry::standard(bench.settings.clone());
    let provider = registry.find("robot://arm").unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let control =
        Control { stop: bench.stop.subscribe(), output: tokio::sync::mpsc::channel(9).0, heed: None };
    let report = runtime.block_on(provider.poll(bench.attempt.clone(), control));
    assert!(matches!(report.outcome, AttemptOutcome::Succeeded { .. }), "{report:?}");
    assert_eq!(runtime.block_on(provider.cancel_remote(bench.attempt.clone())), Err("too late".to_owned()));
}

#[test]
fn a_poll_without_a_response_says_nothing_of_the_work() {
    let polled = |script: &str| {
        let mut bench = plugin(script);
        bench.attempt.handle = Some("job 7".to_owned());
        bench.attempt.timeout = Some(Duration::from_secs(60));
        bench.attempt.age = Duration::from_secs(59);
        let registry = Registry::standard(bench.settings.clone());
        let provider = registry.find("robot://arm").unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let control =
            Control { stop: bench.stop.subscribe(), output: tokio::sync::mpsc::channel(9).0, heed: None };
        runtime.block_on(provider.poll(bench.attempt.clone(), control)).outcome
    };
    assert_eq!(polled("sleep 600"), AttemptOutcome::Stopped(Stop::Shutdown), "its time is over");
    let fell_over = AttemptOutcome::broken_off_here("the question about it exited with code 3".to_owned());
    assert_eq!(polled("exit 3"), fell_over);
}

#[track_caller]
fn check_malformed(script: &str, expected: &str) {
    let report = plugin(script).run();
    let AttemptOutcome::Failed { message, retryable, .. } = report.outcome else { panic!("{report:?}") };
    assert_eq!(message, format!("the provider's response cannot be used: {expected}"));
    assert!(!retryable);
}

#[test]
fn a_malformed_answer_is_a_failure_for_good() {
    check_malformed("true", "nothing was written to standard output");
    check_malformed("echo hello", "expected value at line 1 column 1");
    check_malformed("echo '{}'", "missing field `status` at line 1 column 2");
    check_malformed(
        r#"echo '{"status": "done"}'"#,
        "unknown variant `done`, expected one of `succeeded`, `failed`, `blocked` at line 1 column 17",
    );
    check_malformed(r#"echo '{"status": "succeeded"}{}'"#, "trailing characters at line 1 column 24");
    check_malformed("head -c 1100000 /dev/zero", "it has more than 1048576 bytes");
}

#[test]
fn failures_say_whether_to_try_again() {
    let mut bench = plugin(r#"echo '{"status": "failed", "message": "no paper", "retryable": false}'"#);
    assert_eq!(bench.run().outcome, AttemptOutcome::permanent(NodeReason::ProviderFailed, "no paper"));
    let busy = r#"echo '{"status": "failed", "message": "busy", "retryAfter": "90s"}'"#;
    let expected =
        AttemptOutcome::failed(NodeReason::ProviderFailed, "busy").not_before(Some(Duration::from_secs(90)));
    assert_eq!(plugin(busy).run().outcome, expected);
    let mut bench = plugin("exit 3");
    assert_eq!(bench.run().outcome, AttemptOutcome::failed(NodeReason::ProviderFailed, "exited with code 3"));
    let mut bench = plugin(r#"echo '{"status": "succeeded", "outputs": {"x": 1}}'"#);
    bench.attempt.declared_outputs = vec!["y".to_owned()];
    let (_, message) = bench.fail(NodeReason::OutputInvalid);
    assert_eq!(message, "output `x` is not declared by the node; did you mean `y`?");
}

#[test]
fn a_flood_a_child_left_behind_and_a_hang_disturb_nobody() {
    // More than the log's share on either stream; no more than that share is kept.
    let mut bench = plugin("head -c 70000000 /dev/zero >&2; head -c 70000000 /dev/zero");
    let started = Instant::now();
    let (report, _) = bench.fail(NodeReason::ProviderFailed);
    assert_eq!(report.evidence.log.unwrap().size, 70_000_001, "with the end of its line");
    assert!(std::fs::metadata(bench.run_dir().join("log")).unwrap().len() < (64 << 20) + 100);
    assert!(started.elapsed() < Duration::from_secs(60));

    let mut bench = plugin(r#"sleep 600 & echo $! > child; echo '{"status": "succeeded"}'"#);
    bench.succeed();
    let child = std::fs::read_to_string(bench.checkout().join("child")).unwrap();
    let until = Instant::now() + Duration::from_secs(5);
    let alive = || {
        let state = std::fs::read_to_string(format!("/proc/{}/stat", child.trim())).unwrap_or_default();
        state.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
    };
    while alive() {
        assert!(Instant::now() < until, "the child lives on");
        std::thread::sleep(Duration::from_millis(5));
    }

    let mut bench = plugin("sleep 600");
    bench.attempt.timeout = Some(Duration::from_millis(200));
    bench.fail(NodeReason::Timeout);
}

#[test]
fn a_plugin_is_stopped_and_takes_no_scheme_that_is_built_in() {
    let mut bench = plugin("touch started; sleep 600");
    bench.stop.send_replace(Some(Stop::Cancel));
    assert_eq!(bench.run().outcome, AttemptOutcome::Stopped(Stop::Cancel));
    let registry = Registry::standard(bench.settings.clone());
    assert!(registry.find("tool://x").unwrap().schemes().contains(&"tool"));
    assert!(registry.find("robots://x").is_err(), "what is not named stays a typo");
}
