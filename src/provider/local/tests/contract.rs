//! The process contract: what a command finds, and what it may leave.

use std::path::Path;

use serde_json::{Value, json};

use super::{bench, map, shell};
use crate::model::{Digest, NodeReason};
use crate::provider::{AttemptOutcome, Registry};

#[test]
fn a_process_that_exits_with_0_succeeds_and_leaves_nothing() {
    let mut bench = bench(json!({"command": "true"}));
    let (report, outputs) = bench.succeed();
    assert_eq!((report.evidence.exit_code, report.evidence.log, outputs.len()), (Some(0), None, 0));
    assert!(!bench.run_dir().exists());
}

#[test]
fn any_other_exit_code_fails() {
    let (report, message) = shell("echo no >&2; exit 3").fail(NodeReason::ProviderFailed);
    assert_eq!((report.evidence.exit_code, message.as_str()), (Some(3), "exited with code 3"));
    assert_eq!(report.evidence.log.unwrap().tail, "no");
    let (report, message) = shell("kill -9 $$").fail(NodeReason::ProviderFailed);
    assert_eq!((report.evidence.exit_code, message.as_str()), (None, "was ended by signal 9"));
}

#[test]
fn inputs_come_in_and_outputs_go_out() {
    let mut bench =
        shell("cat \"$PLANSPEC_INPUTS\"; printf 'a=1\\nb<<E\\nx\\ny\\nE\\n' >> \"$PLANSPEC_OUTPUT\"");
    bench.attempt.inputs = map(json!({"framework": "react"}));
    let (report, outputs) = bench.succeed();
    assert_eq!(Value::Object(outputs), json!({"a": "1", "b": "x\ny"}));
    let printed: Value = serde_json::from_str(&report.evidence.log.unwrap().tail).unwrap();
    assert_eq!(printed, json!({"framework": "react"}));
}

#[test]
fn without_inputs_there_is_an_empty_object_that_nobody_else_changes() {
    let mut bench = shell("cat \"$PLANSPEC_INPUTS\"; ls -l \"$PLANSPEC_INPUTS\" | cut -c1-10");
    assert_eq!(bench.succeed().0.evidence.log.unwrap().tail, "{}\n-r--r--r--");
}

#[test]
fn the_environment_is_exactly_what_the_contract_says() {
    let mut bench =
        bench(json!({"command": "env", "env": {"MODE": "fast", "LEVEL": 3, "HOME": "/elsewhere"}}));
    bench.settings.environment.insert("HOME".to_owned(), "/the/runners/home".into());
    bench.settings.secrets.insert("TOKEN".to_owned(), "hunter22".into());
    let tail = bench.succeed().0.evidence.log.unwrap().tail;
    let mut lines: Vec<&str> = tail.lines().collect();
    lines.sort_unstable();
    // Git must not walk up from the workspace, wherever that is.
    let ceiling = lines.iter().position(|line| line.starts_with("GIT_CEILING_DIRECTORIES=/")).unwrap();
    lines.remove(ceiling);
    let paths = ["ARTIFACTS", "INPUTS", "OUTPUT", "RESULT"]
        .map(|name| *lines.iter().find(|line| line.starts_with(&format!("PLANSPEC_{name}=/"))).unwrap());
    assert_eq!(
        lines,
        [
            "HOME=/elsewhere",
            "LEVEL=3",
            "MODE=fast",
            "PATH=/usr/local/bin:/usr/bin:/bin",
            paths[0],
            "PLANSPEC_ATTEMPT=2",
            "PLANSPEC_EXECUTION=exec-1",
            "PLANSPEC_FENCING_TOKEN=7",
            "PLANSPEC_IDEMPOTENCY_KEY=uid/build/2",
            paths[1],
            "PLANSPEC_NAMESPACE=team",
            "PLANSPEC_NODE=build",
            paths[2],
            paths[3],
            "PLANSPEC_RUN_ID=run-1",
            "PLANSPEC_WORK_KEY=uid/build/0",
            "TOKEN=***",
        ]
    );
}

#[test]
fn standard_input_is_empty() {
    assert_eq!(bench(json!({"command": "cat"})).succeed().0.evidence.log, None);
}

#[test]
fn arguments_are_never_read_by_a_shell() {
    let mut plain = bench(json!({"command": "printf", "args": ["%s|", "$(id); `id`", "a b", 7, true]}));
    assert_eq!(plain.succeed().0.evidence.log.unwrap().tail, "$(id); `id`|a b|7|true|");
    let mut line =
        bench(json!({"command": "printf '%s|' \"$1\" \"$2\"", "shell": true, "args": ["$(id)", "; id"]}));
    assert_eq!(line.succeed().0.evidence.log.unwrap().tail, "$(id)|; id|");
}

#[test]
fn the_process_works_in_the_checkout_or_below_it() {
    let mut here = bench(json!({"command": "pwd"}));
    assert_eq!(here.succeed().0.evidence.log.unwrap().tail, here.checkout().to_str().unwrap());

    let mut below = bench(json!({"command": "./go", "workingDirectory": "a/b"}));
    let folder = below.checkout().join("a/b");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("go"), "#!/bin/sh\npwd\n").unwrap();
    std::fs::set_permissions(folder.join("go"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    assert!(below.succeed().0.evidence.log.unwrap().tail.ends_with("/a/b"));

    let mut out = bench(json!({"command": "pwd", "workingDirectory": "link"}));
    std::os::unix::fs::symlink("/", out.checkout().join("link")).unwrap();
    let (_, message) = out.fail(NodeReason::ProviderFailed);
    assert!(message.ends_with("it leads out of the folder"), "{message}");
}

#[test]
fn without_a_checkout_there_is_an_empty_folder_that_goes_away() {
    let mut bench = bench(json!({"command": "ls -A; touch x; pwd", "checkout": false}));
    let folder = bench.succeed().0.evidence.log.unwrap().tail;
    assert!(!Path::new(&folder).exists());
}

#[test]
fn standard_output_and_error_keep_their_order() {
    let mut bench = shell("for i in 1 2 3; do echo out $i; echo err $i >&2; done");
    let expected = "out 1\nerr 1\nout 2\nerr 2\nout 3\nerr 3";
    assert_eq!(bench.succeed().0.evidence.log.unwrap().tail, expected);
    assert_eq!(bench.lines.join("\n"), expected);
}

#[test]
fn malformed_outputs_fail_with_their_line() {
    let (_, message) =
        shell("printf 'a=1\\nnonsense\\n' > \"$PLANSPEC_OUTPUT\"").fail(NodeReason::OutputInvalid);
    assert_eq!(message, "output file, line 2: expected `name=value` or `name<<END`");
}

#[test]
fn declared_outputs_must_be_there() {
    let mut bench = shell("echo versoin=1 > \"$PLANSPEC_OUTPUT\"");
    bench.attempt.declared_outputs = vec!["version".to_owned()];
    let (_, message) = bench.fail(NodeReason::OutputInvalid);
    assert_eq!(message, "output `versoin` is not declared by the node; did you mean `version`?");
}

#[test]
fn artifacts_are_described_and_links_are_not_followed() {
    let mut bench = shell(
        "cd \"$PLANSPEC_ARTIFACTS\"; mkdir sub; printf hello > sub/a.txt; printf '{}' > b.json;
         ln -s /etc/passwd leak; ln -s / root; mkfifo pipe",
    );
    let (report, _) = bench.succeed();
    let seen: Vec<_> = report
        .evidence
        .artifacts
        .iter()
        .map(|a| {
            (a.name.as_str(), a.path.as_deref().unwrap(), a.size.unwrap(), a.media_type.as_deref().unwrap())
        })
        .collect();
    assert_eq!(
        seen,
        [
            ("b.json", "uid/build/2/artifacts/b.json", 2, "application/json"),
            ("sub/a.txt", "uid/build/2/artifacts/sub/a.txt", 5, "text/plain"),
        ]
    );
    assert_eq!(report.evidence.artifacts[1].checksum, Some(Digest::of_bytes(b"hello")));
    let kept = bench.settings.runs.join(report.evidence.artifacts[1].path.as_deref().unwrap());
    assert_eq!(std::fs::read(kept).unwrap(), b"hello");
    assert_eq!(report.evidence.artifacts[1].metadata, map(json!({"node": "build", "attempt": 2})));
}

#[test]
fn what_an_earlier_runner_left_under_the_same_number_does_not_count() {
    let mut bench = bench(json!({"command": "true"}));
    std::fs::create_dir_all(bench.run_dir().join("artifacts")).unwrap();
    std::fs::write(bench.run_dir().join("output"), "a=1").unwrap();
    std::fs::write(bench.run_dir().join("artifacts/x"), "x").unwrap();
    let (report, outputs) = bench.succeed();
    assert_eq!((outputs.len(), report.evidence.artifacts.len()), (0, 0));
    assert!(!bench.run_dir().exists());
}

#[test]
fn what_an_attempt_leaves_is_kept_and_the_next_one_begins_with_nothing() {
    let line = "ls -A . \"$PLANSPEC_ARTIFACTS\" \"$(dirname \"$PLANSPEC_OUTPUT\")\" | grep -vE '^(artifacts|work|.*:)?$' && exit 1
        touch here \"$PLANSPEC_ARTIFACTS/there\" \"$PLANSPEC_OUTPUT.more\"; echo nonsense > \"$PLANSPEC_OUTPUT\"";
    let mut bench = bench(json!({"command": line, "shell": true, "checkout": false}));
    let registry = Registry::standard(bench.settings.clone());
    for number in 1..=3 {
        bench.attempt.attempt = number;
        bench.attempt.run_dir = bench.settings.runs.join(format!("uid/build/{number}"));
        let report = bench.run_with(&registry);
        assert!(
            matches!(report.outcome, AttemptOutcome::Failed { reason: NodeReason::OutputInvalid, .. }),
            "{report:?}"
        );
        assert_eq!(names_in(bench.run_dir()), ["artifacts", "output"]);
    }
    bench.attempt.config = map(json!({"command": "true"}));
    assert!(matches!(bench.run_with(&registry).outcome, AttemptOutcome::Succeeded { .. }));
    drop(registry);
    assert_eq!(names_in(&bench.settings.runs), ["uid"], "the pool goes with the registry");
}

fn names_in(folder: &Path) -> Vec<std::ffi::OsString> {
    let mut names: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names
}

#[test]
fn the_cache_may_be_cleared_between_attempts() {
    let mut bench = bench(json!({"command": "cat \"$PLANSPEC_INPUTS\""}));
    let registry = Registry::standard(bench.settings.clone());
    for _ in 0..2 {
        let report = bench.run_with(&registry);
        assert!(matches!(report.outcome, AttemptOutcome::Succeeded { .. }), "{report:?}");
        std::fs::remove_dir_all(&bench.settings.runs).unwrap();
    }
}

#[test]
fn what_a_process_says_may_pass_and_what_cannot_be_run_will_not() {
    for provider in ["tool://x", "agent://x"] {
        let classes = |config: Value| {
            let mut bench = bench(config);
            bench.attempt.provider = provider.to_owned();
            let report = bench.run();
            let AttemptOutcome::Failed { retryable, retry_after: None, .. } = report.outcome else {
                panic!("{report:?}")
            };
            retryable
        };
        for script in ["exit 3", "kill -9 $$", "printf 'no pair\\n' > \"$PLANSPEC_OUTPUT\""] {
            assert!(classes(json!({"command": script, "shell": true})), "{provider} {script}");
        }
        assert!(!classes(json!({"command": "no-such-program"})), "{provider}");
        assert!(!classes(json!({"command": "true", "comand": "x"})), "{provider}");
        assert!(!classes(json!({"command": "true", "workingDirectory": "nowhere"})), "{provider}");
    }
}

#[test]
fn a_command_that_is_not_there_is_not_tried_again() {
    let mut bench = bench(json!({"command": "no-such-program"}));
    let message = "cannot start `no-such-program`: there is no such program on the PATH";
    let expected = AttemptOutcome::permanent(NodeReason::ProviderFailed, message);
    assert_eq!(bench.run().outcome, expected);
}
