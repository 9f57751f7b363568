//! `planspec ci work`: does in a job without a token that can write what a pass has claimed, and leaves the rest to the pass.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use super::event_bytes;
use crate::cli::Context;
use crate::cli::drive::{RunnerPlaces, registry};
use crate::cli::error::{CliError, Exit};
use crate::cli::repo_context::RepoContext;
use crate::cli::signals;
use crate::config::Config;
use crate::engine::{ClaimedAttempt, ClaimedInputs, SystemClock, WorkFolders, claimed_attempt};
use crate::index::Index;
use crate::model::{Kind, ResourceKey};
use crate::provider::{AttemptOutcome, Stop, without_worker, work};
use crate::report::text;

/// How many lines of the work may wait to be shown.
const LINES: usize = 256;

/// Which work, and where what it leaves goes.
#[derive(Debug, Clone)]
pub(crate) struct WorkChoices {
    /// The Execution, as `NAMESPACE/NAME`; from the event when absent.
    pub(crate) execution: Option<String>,
    /// The name of the attempt; from the event when absent.
    pub(crate) attempt: Option<String>,
    /// The folder.
    pub(crate) out: PathBuf,
}

/// What a pass gives the job along.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct WorkInputs {
    execution: Option<String>,
    attempt: Option<String>,
}

impl WorkInputs {
    /// Reads the event; what is not there is not known. Whoever may start the workflow wrote it, so it only says what is looked for.
    pub(crate) fn read(event: &[u8]) -> Self {
        let event: serde_json::Value = serde_json::from_slice(event).unwrap_or_default();
        let input = |name: &str| event.get("inputs")?.get(name)?.as_str().map(str::to_owned);
        Self { execution: input("planspec_execution"), attempt: input("planspec_key") }
    }
}

/// Does the work.
pub(crate) fn run(choices: &WorkChoices, context: &mut Context) -> Result<Exit, CliError> {
    let given = WorkInputs::read(&event_bytes(&context.environment.actions())?);
    let missing = |what| {
        CliError::usage(format!("the {what} is not known"))
            .hint("name it, or run it in a job that a pass has started")
    };
    let execution = choices.execution.clone().or(given.execution).ok_or_else(|| missing("execution"))?;
    let attempt = choices.attempt.clone().or(given.attempt).ok_or_else(|| missing("attempt"))?;
    let execution = key(&execution)?;
    let out = out_folder(&choices.out)?;
    // Before anything of a task is printed: its words must not be taken for commands of the job.
    let muted = super::step::MutedRunner::begin(&mut context.out)?;
    let claimed = claimed(&execution, &attempt, context)?;
    let said = format!("{execution}, node {}: attempt {attempt}", claimed.attempt.node);
    context.out.note(text::line(&said))?;
    let outcome = drive(claimed, &out, context)?;
    let word: &str = (&outcome).into();
    context.out.note(text::line(&format!("the work ended: {word}; the pass takes it in")))?;
    drop(muted);
    // A failure of the work is no failure of the job: the report says it, and the pass records it.
    Ok(Exit::Done)
}

/// `NAMESPACE/NAME` as the key of an Execution.
fn key(text: &str) -> Result<ResourceKey, CliError> {
    let wrong = || CliError::usage("an execution is named `NAMESPACE/NAME`");
    let (namespace, name) = text.split_once('/').ok_or_else(wrong)?;
    let namespace = namespace.parse().map_err(|_| wrong())?;
    let name = name.parse().map_err(|_| wrong())?;
    Ok(ResourceKey { kind: Kind::Execution, namespace, name })
}

/// An empty folder: what lies there would go along to the pass.
fn out_folder(out: &Path) -> Result<PathBuf, CliError> {
    let failed = |error: std::io::Error| {
        CliError::caused("the folder for what the work leaves cannot be used", &error)
    };
    std::fs::create_dir_all(out).map_err(failed)?;
    if std::fs::read_dir(out).map_err(failed)?.next().is_some() {
        return Err(CliError::usage("the folder for what the work leaves is not empty"));
    }
    std::path::absolute(out).map_err(failed)
}

fn claimed(
    execution: &ResourceKey,
    attempt: &str,
    context: &mut Context,
) -> Result<ClaimedAttempt, CliError> {
    let workspace = RepoContext::open(context)?;
    let cache = workspace.repo.cache_dir();
    let branches = workspace.branches(context)?;
    let environment = context.environment.clone();
    let root = environment.work_home();
    let places = RunnerPlaces::of(&branches, root.clone());
    let providers = Box::new(move |config: &Config| {
        let mut config = config.clone();
        // This is where the commands run.
        config.providers.sections = without_worker(&config.providers.sections);
        registry(&config, &environment, &places)
    });
    let index = Index::open_to_read(&cache)?;
    let bucket = context.environment.bucket_access();
    let folders = WorkFolders { here: None, root, bucket };
    let inputs =
        ClaimedInputs { branches, index, registry: providers, folders, clock: Arc::new(SystemClock) };
    Ok(claimed_attempt(inputs, execution, attempt)?)
}

/// Does the work to its end, and shows what it prints.
fn drive(claimed: ClaimedAttempt, out: &Path, context: &mut Context) -> Result<AttemptOutcome, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::caused("cannot start the runtime", &error))?;
    let (lines, mut printed) = mpsc::channel(LINES);
    let (stopper, stop) = watch::channel(None);
    let _held = signals::stop_with(move || {
        stopper.send_replace(Some(Stop::Cancel));
    });
    let report = runtime.block_on(async {
        let ClaimedAttempt { attempt, provider } = claimed;
        let working = work(provider.as_ref(), attempt, stop, (lines, out));
        let shown = async {
            while let Some(line) = printed.recv().await {
                // A log that nobody reads is no reason to stop.
                let _shown = context.out.line(&line);
            }
        };
        tokio::join!(working, shown).0
    });
    Ok(report.map_err(|error| CliError::caused("what the work left cannot be handed over", &error))?.outcome)
}
