//! Local commands with real processes. Here is the bench that the tests work at.

mod contract;
mod criteria;
mod ending;
#[cfg(target_os = "linux")]
mod sandboxed;
mod secrets;
// The tests' own rule for what a machine lacks is written once, for these and the end-to-end tests.
#[path = "../../../../tests/e2e/skip.rs"]
mod skip;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use crate::model::{JsonMap, NodeReason};
use crate::provider::{
    Attempt, AttemptOutcome, AttemptReport, Control, PrivateCheckout, ProviderSettings, Registry, Stop,
    Workspace, WorkspaceError, WorkspaceForm, sample,
};

/// Where the commands of these tests find their programs.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

struct Folder(PathBuf);

impl Workspace for Folder {
    fn prepare_as(&self, _: &WorkspaceForm) -> Result<PrivateCheckout, WorkspaceError> {
        Ok(PrivateCheckout::new(self.0.clone(), |_| ()))
    }
}

/// A runner's folder, an attempt that can be changed, and the ends that the engine would hold.
pub(in crate::provider) struct Bench {
    pub(in crate::provider) home: tempfile::TempDir,
    pub(in crate::provider) settings: ProviderSettings,
    pub(in crate::provider) attempt: Attempt,
    pub(in crate::provider) stop: watch::Sender<Option<Stop>>,
    pub(in crate::provider) lines: Vec<String>,
}

pub(in crate::provider) fn map(value: Value) -> JsonMap {
    let Value::Object(map) = value else { panic!("not a map: {value}") };
    map
}

pub(in crate::provider) fn bench(config: Value) -> Bench {
    let home = tempfile::tempdir().unwrap();
    let checkout = home.path().join("checkout");
    std::fs::create_dir(&checkout).unwrap();
    let attempt = Attempt {
        work: "uid/build/0".to_owned(),
        provider: "tool://test".to_owned(),
        config: map(config),
        timeout: Some(Duration::from_secs(60)),
        run_dir: home.path().join("runs/uid/build/2"),
        workspace: Arc::new(Folder(checkout)),
        upstream: Default::default(),
        ..sample::attempt("build")
    };
    let path = ("PATH".to_owned(), PATH.into());
    let runs = home.path().join("runs");
    let settings = ProviderSettings { environment: [path].into(), runs, ..ProviderSettings::default() };
    Bench { home, settings, attempt, stop: watch::channel(None).0, lines: Vec::new() }
}

pub(in crate::provider) fn shell(line: &str) -> Bench {
    bench(json!({"command": line, "shell": true, "grace": "200ms"}))
}

impl Bench {
    /// Writes settings below a name in a section of the configuration.
    pub(in crate::provider) fn configure(&mut self, section: &str, name: &str, settings: Value) {
        let section = self.settings.sections.entry(section).or_insert_with(|| json!({}));
        section[name] = settings;
    }

    pub(in crate::provider) fn checkout(&self) -> PathBuf {
        self.home.path().join("checkout")
    }

    pub(in crate::provider) fn run_dir(&self) -> &Path {
        &self.attempt.run_dir
    }

    pub(in crate::provider) fn run(&mut self) -> AttemptReport {
        self.run_with(&Registry::standard(self.settings.clone()))
    }

    pub(in crate::provider) fn run_with(&mut self, registry: &Registry) -> AttemptReport {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let provider = registry.find(&self.attempt.provider).unwrap();
        let (output, mut lines) = mpsc::channel(1_000);
        let control = Control { stop: self.stop.subscribe(), output, heed: None };
        let report = runtime.block_on(provider.run(self.attempt.clone(), control));
        while let Ok(line) = lines.try_recv() {
            self.lines.push(line);
        }
        report
    }

    pub(in crate::provider) fn succeed(&mut self) -> (AttemptReport, JsonMap) {
        let report = self.run();
        let AttemptOutcome::Succeeded { outputs } = report.outcome.clone() else { panic!("{report:?}") };
        (report, outputs)
    }

    pub(in crate::provider) fn fail(&mut self, expected: NodeReason) -> (AttemptReport, String) {
        let report = self.run();
        let AttemptOutcome::Failed { reason, message, .. } = report.outcome.clone() else {
            panic!("{report:?}")
        };
        assert_eq!(reason, expected, "{message}");
        (report, message)
    }
}
