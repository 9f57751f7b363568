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
    assert_eq!(
        report.log.unwrap().tail,
        "{ \"framework\": \"react\"}".replace("{ ", "{\n  ").replace("\"}", "\"\n}")
    );
}
