//! The process contract, with real processes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use crate::model::{JsonMap, Kind, NodeReason, ResourceKey};
use crate::provider::{
    Attempt, Checkout, Control, Outcome, ProviderSettings, Registry, Report, Stop, Workspace, WorkspaceError,
};

struct Folder(PathBuf);

impl Workspace for Folder {
    fn prepare(&self) -> Result<Checkout, WorkspaceError> {
        Ok(Checkout::new(self.0.clone(), |_| ()))
    }
}

/// A runner's folder, an attempt that can be changed, and the ends that the engine would hold.
struct Bench {
    home: tempfile::TempDir,
    settings: ProviderSettings,
    attempt: Attempt,
    stop: watch::Sender<Option<Stop>>,
    lines: Vec<String>,
}

fn map(value: Value) -> JsonMap {
    value.as_object().unwrap().clone()
}

fn bench(config: Value) -> Bench {
    let home = tempfile::tempdir().unwrap();
    let checkout = home.path().join("checkout");
    std::fs::create_dir(&checkout).unwrap();
    let name = |text: &str| text.parse().unwrap();
    let attempt = Attempt {
        key: ResourceKey::new(Kind::Execution, name("team"), name("exec-1")),
        node: "build".parse().unwrap(),
        attempt: 2,
        run_id: "run-1".to_owned(),
        idempotency_key: "uid/build/2".to_owned(),
        fencing_token: 7,
        provider: "tool://test".to_owned(),
        config: map(config),
        inputs: JsonMap::new(),
        declared_outputs: Vec::new(),
        criteria: Vec::new(),
        timeout: Some(Duration::from_secs(60)),
        commit: "0".repeat(40),
        run_dir: home.path().join("runs/uid/build/2"),
        workspace: Arc::new(Folder(checkout)),
        handle: None,
    };
    let path = ("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin".into());
    let settings = ProviderSettings { environment: [path].into(), ..ProviderSettings::default() };
    Bench { home, settings, attempt, stop: watch::channel(None).0, lines: Vec::new() }
}

fn shell(line: &str) -> Bench {
    bench(json!({"command": line, "shell": true, "grace": "200ms"}))
}

impl Bench {
    fn checkout(&self) -> PathBuf {
        self.home.path().join("checkout")
    }

    fn run_dir(&self) -> &Path {
        &self.attempt.run_dir
    }

    fn run(&mut self) -> Report {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let registry = Registry::standard(self.settings.clone());
        let provider = registry.find(&self.attempt.provider).unwrap();
        let (output, mut lines) = mpsc::channel(1_000);
        let control = Control { stop: self.stop.subscribe(), output };
        let report = runtime.block_on(provider.run(self.attempt.clone(), control));
        while let Ok(line) = lines.try_recv() {
            self.lines.push(line);
        }
        report
    }

    fn succeed(&mut self) -> (Report, JsonMap) {
        let report = self.run();
        let Outcome::Succeeded { outputs } = report.outcome.clone() else { panic!("{report:?}") };
        (report, outputs)
    }

    fn fail(&mut self, expected: NodeReason) -> (Report, String) {
        let report = self.run();
        let Outcome::Failed { reason, message, .. } = report.outcome.clone() else { panic!("{report:?}") };
        assert_eq!(reason, expected, "{message}");
        (report, message)
    }
}

#[test]
fn a_process_that_exits_with_0_succeeds_and_leaves_nothing() {
    let mut bench = bench(json!({"command": "true"}));
    let (report, outputs) = bench.succeed();
    assert_eq!((report.exit_code, report.log, outputs.len()), (Some(0), None, 0));
    assert!(!bench.run_dir().exists());
}

#[test]
fn any_other_exit_code_fails() {
    let (report, message) = shell("echo no >&2; exit 3").fail(NodeReason::ProviderFailed);
    assert_eq!((report.exit_code, message.as_str()), (Some(3), "exited with code 3"));
    assert_eq!(report.log.unwrap().tail, "no");
    let (report, message) = shell("kill -9 $$").fail(NodeReason::ProviderFailed);
    assert_eq!((report.exit_code, message.as_str()), (None, "was ended by signal 9"));
}

#[test]
fn inputs_come_in_and_outputs_go_out() {
    let mut bench =
        shell("cat \"$PLANSPEC_INPUTS\"; printf 'a=1\\nb<<E\\nx\\ny\\nE\\n' >> \"$PLANSPEC_OUTPUT\"");
    bench.attempt.inputs = map(json!({"framework": "react"}));
    let (report, outputs) = bench.succeed();
    assert_eq!(Value::Object(outputs), json!({"a": "1", "b": "x\ny"}));
    let printed: Value = serde_json::from_str(&report.log.unwrap().tail).unwrap();
    assert_eq!(printed, json!({"framework": "react"}));
}

#[test]
fn without_inputs_there_is_an_empty_object_that_nobody_else_changes() {
    let mut bench = shell("cat \"$PLANSPEC_INPUTS\"; ls -l \"$PLANSPEC_INPUTS\" | cut -c1-10");
    assert_eq!(bench.succeed().0.log.unwrap().tail, "{}\n-r--r--r--");
}

#[test]
fn the_environment_is_exactly_what_the_contract_says() {
    let mut bench =
        bench(json!({"command": "env", "env": {"MODE": "fast", "LEVEL": 3, "HOME": "/elsewhere"}}));
    bench.settings.environment.insert("HOME".to_owned(), "/home/runner".into());
    bench.settings.secrets.insert("TOKEN".to_owned(), "hunter22".into());
    let tail = bench.succeed().0.log.unwrap().tail;
    let mut lines: Vec<&str> = tail.lines().collect();
    lines.sort_unstable();
    let folder = bench.run_dir().display();
    let inputs = lines.iter().find(|line| line.starts_with("PLANSPEC_INPUTS=")).unwrap();
    assert_eq!(
        lines,
        [
            "HOME=/elsewhere",
            "LEVEL=3",
            "MODE=fast",
            "PATH=/usr/local/bin:/usr/bin:/bin",
            &format!("PLANSPEC_ARTIFACTS={folder}/artifacts"),
            "PLANSPEC_ATTEMPT=2",
            "PLANSPEC_EXECUTION=exec-1",
            "PLANSPEC_FENCING_TOKEN=7",
            "PLANSPEC_IDEMPOTENCY_KEY=uid/build/2",
            inputs,
            "PLANSPEC_NAMESPACE=team",
            "PLANSPEC_NODE=build",
            &format!("PLANSPEC_OUTPUT={folder}/output"),
            "PLANSPEC_RUN_ID=run-1",
            "TOKEN=***",
        ]
    );
}

#[test]
fn standard_input_is_empty() {
    assert_eq!(bench(json!({"command": "cat"})).succeed().0.log, None);
}

#[test]
fn arguments_are_never_read_by_a_shell() {
    let mut plain = bench(json!({"command": "printf", "args": ["%s|", "$(id); `id`", "a b", 7, true]}));
    assert_eq!(plain.succeed().0.log.unwrap().tail, "$(id); `id`|a b|7|true|");
    let mut line =
        bench(json!({"command": "printf '%s|' \"$1\" \"$2\"", "shell": true, "args": ["$(id)", "; id"]}));
    assert_eq!(line.succeed().0.log.unwrap().tail, "$(id)|; id|");
}

#[test]
fn the_process_works_in_the_checkout_or_below_it() {
    let mut here = bench(json!({"command": "pwd"}));
    assert_eq!(here.succeed().0.log.unwrap().tail, here.checkout().to_str().unwrap());

    let mut below = bench(json!({"command": "./go", "workingDirectory": "a/b"}));
    let folder = below.checkout().join("a/b");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("go"), "#!/bin/sh\npwd\n").unwrap();
    std::fs::set_permissions(folder.join("go"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    assert!(below.succeed().0.log.unwrap().tail.ends_with("/a/b"));

    let mut out = bench(json!({"command": "pwd", "workingDirectory": "link"}));
    std::os::unix::fs::symlink("/", out.checkout().join("link")).unwrap();
    let (_, message) = out.fail(NodeReason::ProviderFailed);
    assert!(message.ends_with("it leads out of the folder"), "{message}");
}

#[test]
fn without_a_checkout_there_is_an_empty_folder_that_goes_away() {
    let mut bench = bench(json!({"command": "ls -A; touch x; pwd", "checkout": false}));
    let folder = bench.succeed().0.log.unwrap().tail;
    assert_eq!(folder, bench.run_dir().join("work").to_str().unwrap());
    assert!(!Path::new(&folder).exists());
}

#[test]
fn standard_output_and_error_keep_their_order() {
    let mut bench = shell("for i in 1 2 3; do echo out $i; echo err $i >&2; done");
    let expected = "out 1\nerr 1\nout 2\nerr 2\nout 3\nerr 3";
    assert_eq!(bench.succeed().0.log.unwrap().tail, expected);
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
    assert_eq!(report.artifacts[1].checksum, Some(crate::model::Digest::of_bytes(b"hello")));
    assert_eq!(report.artifacts[1].metadata, map(json!({"node": "build", "attempt": 2})));
}

#[test]
fn what_an_earlier_runner_left_under_the_same_number_does_not_count() {
    let mut bench = bench(json!({"command": "true"}));
    std::fs::create_dir_all(bench.run_dir().join("artifacts")).unwrap();
    std::fs::write(bench.run_dir().join("output"), "a=1").unwrap();
    std::fs::write(bench.run_dir().join("artifacts/x"), "x").unwrap();
    let (report, outputs) = bench.succeed();
    assert_eq!((outputs.len(), report.artifacts.len()), (0, 0));
}

#[test]
fn a_command_that_is_not_there_is_not_tried_again() {
    let mut bench = bench(json!({"command": "no-such-program"}));
    let expected = Outcome::Failed {
        reason: NodeReason::ProviderFailed,
        message: "cannot start `no-such-program`: there is no such program on the PATH".to_owned(),
        retryable: false,
    };
    assert_eq!(bench.run().outcome, expected);
}
