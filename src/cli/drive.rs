//! Driving a reconcile from a command: the parts it is made of, signals, and the output that shows it.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use clap::Args;
use jiff::Timestamp;
use tokio::sync::watch;

use crate::cli::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::git_host;
use crate::cli::output_format::OutputFormat;
use crate::cli::repo_context::RepoContext;
use crate::cli::signals;
use crate::config::{Config, Environment};
use crate::engine::{
    Branches, Clock, ReconcileInputs, ReconcileOptions, ReconcileSummary, SystemClock, reconcile,
};
use crate::event::Event;
use crate::git::{OutageListener, OutageNotice, OutagePatience, StopSignal};
use crate::index::Index;
use crate::model::Duration;
use crate::provider::{ALWAYS_PASSED, ProviderSettings, Registry};
use crate::report::age;
use crate::report::progress::{DetailLevel, JsonProgress, LiveProgress, PlainProgress, ProgressReporter};

/// What bounds a pass, as the user chooses it.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct PassBounds {
    /// Stop cleanly before this much time has passed, and leave the remaining work to the next pass
    #[arg(long, value_name = "DURATION")]
    pub(crate) max_duration: Option<Duration>,
    /// How many local commands run at once (default: `jobs` of .planspec.yaml, else the number of cores)
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    jobs: Option<u32>,
    /// Allow the removal of more than the configured share of all resources
    #[arg(long)]
    allow_mass_delete: bool,
    /// Accept a status branch that was rewound, replaced or deleted; what it lost may run again
    #[arg(long)]
    accept_status_history: bool,
}

impl PassBounds {
    /// Bounded by nothing but time.
    pub(crate) fn within(max_duration: Option<Duration>) -> Self {
        Self { max_duration, ..Self::default() }
    }

    /// The same, for a pass that carries out held-back deletions.
    pub(crate) fn with_mass_delete(&self) -> Self {
        Self { allow_mass_delete: true, ..self.clone() }
    }

    /// Whether held-back deletions are carried out.
    pub(crate) fn allows_mass_delete(&self) -> bool {
        self.allow_mass_delete
    }

    /// How long a pass may take.
    pub(crate) fn time(&self) -> Option<std::time::Duration> {
        self.max_duration.as_ref().map(Duration::span)
    }

    /// One pass of this runner within the bounds.
    pub(crate) fn options(&self, context: &Context) -> ReconcileOptions {
        ReconcileOptions {
            jobs: self.jobs.map(|jobs| jobs as usize),
            default_jobs: cores(),
            watch: None,
            dry_run: false,
            max_duration: self.time(),
            allow_mass_delete: self.allow_mass_delete,
            accept_status_history: self.accept_status_history,
            runner: runner_name(),
            stream_output: context.is_verbose(),
            work_here: None,
            work_dir: context.environment.work_home(),
            bucket: context.environment.bucket_access(),
        }
    }
}

/// How long a pass without `--watch` and `--max-duration` waits for a remote that cannot be reached.
const OUTAGE: std::time::Duration = std::time::Duration::from_secs(5 * 60);

/// Runs a reconcile to its end and shows it.
pub(crate) fn drive(
    workspace: RepoContext,
    options: ReconcileOptions,
    context: &mut Context,
) -> Result<ReconcileSummary, CliError> {
    drive_with(workspace, options, context, |_| {})
}

/// The same, for a caller that wants to see the events too.
pub(crate) fn drive_with(
    workspace: RepoContext,
    options: ReconcileOptions,
    context: &mut Context,
    mut watch_events: impl FnMut(&Event),
) -> Result<ReconcileSummary, CliError> {
    let cache = workspace.repo.cache_dir();
    let stop_git = StopSignal::default();
    let mut workspace = workspace;
    // Before the first fetch, so that a stop and the end of the allowed time reach any call of Git, one that
    // gets no answer included.
    let progress = Arc::new(Mutex::new(progress(context, options.dry_run)?));
    let listener = told_of_outages(&progress);
    workspace.remote =
        workspace.remote.map(|remote| remote.bounded(stop_git.clone(), patience(&options)).telling(listener));
    // The engine takes the other handle along; this one is for packing afterwards.
    let repo = workspace.repo.reopen()?;
    let branches = workspace.branches(context)?.accepting_history(options.accept_status_history);
    let mut broken: Option<io::Error> = None;
    let environment = context.environment.clone();
    // A single loop owns all run state, on this thread. Attempts wait for processes and sockets on another one, which gives
    // their slots on while the loop plans; publishing has a thread of its own.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| CliError::caused("cannot start the runtime", &error))?;
    let summary = runtime.block_on(async {
        let (stopper, stop) = watch::channel(false);
        let broken_pipe = stopper.clone();
        let _held = signals::stop_with(move || {
            // Both are needed: the first ends the loop of the engine, the second a call of Git that the loop waits for.
            stopper.send_replace(true);
            stop_git.stop();
        });
        let sink = Box::new(|event: Event| {
            watch_events(&event);
            // A reader that goes away, as `head` does, asks for a clean stop: what runs is ended and
            // recorded, and the error is returned after that.
            if broken.is_none()
                && let Err(error) = shown(&progress).show(&event)
            {
                broken = Some(error);
                broken_pipe.send_replace(true);
            }
        });
        let places = RunnerPlaces::of(&branches, options.work_dir.clone());
        let registry = Box::new(move |config: &Config| registry(config, &environment, &places));
        let index = Index::open_to_read(&cache)?;
        reconcile(
            ReconcileInputs { branches, index, registry, clock: Arc::new(SystemClock), stop, sink },
            options,
        )
        .await
    })?;
    drop(progress);
    // Loose objects make a repository slower and nothing else, so that a failure here does not fail the pass.
    if summary.commits > 0
        && let Err(error) = repo.pack_when_grown()
    {
        tracing::warn!(%error, "the repository was not packed");
    }
    match broken {
        Some(error) => Err(error.into()),
        None => Ok(summary),
    }
}

/// What shows the events of a pass. Outages are told by the threads that wait for them, while the loop waits for these.
type SharedProgress = Arc<Mutex<Box<dyn ProgressReporter>>>;

fn shown(progress: &SharedProgress) -> MutexGuard<'_, Box<dyn ProgressReporter>> {
    // What panicked while it printed has printed half a line at worst.
    progress.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whoever watches a pass sees nothing happen during an outage, and is told why.
fn told_of_outages(progress: &SharedProgress) -> OutageListener {
    let progress = Arc::clone(progress);
    OutageListener::new(move |notice| {
        let message = outage_message(&notice, SystemClock.now());
        // An output that cannot be written to is found by the next event, which ends the pass.
        let _ = shown(&progress).show(&Event::Note { message });
    })
}

fn outage_message(notice: &OutageNotice, now: Timestamp) -> String {
    match notice {
        OutageNotice::Begun { what, error, lasted, next } => {
            let since = now.checked_sub(*lasted).unwrap_or(now);
            let pause = age::seconds_text(next.as_secs().max(1));
            format!("{what} has failed since {}: {error}; next attempt in {pause}", age::moment(since))
        }
        OutageNotice::Over { what, lasted } => {
            format!("{what} works again, after {}", age::seconds_text(lasted.as_secs().max(1)))
        }
    }
}

/// How long this reconcile waits for an outage of its remote.
fn patience(options: &ReconcileOptions) -> OutagePatience {
    let until = options.max_duration.and_then(|most| std::time::Instant::now().checked_add(most));
    // `--max-duration` is a bound of its own, and `--watch` has to survive any outage.
    let endless = options.watch.is_some() || until.is_some();
    OutagePatience::new(if endless { std::time::Duration::MAX } else { OUTAGE }, until)
}

fn progress(context: &Context, dry_run: bool) -> Result<Box<dyn ProgressReporter>, CliError> {
    let detail = match (context.options.quiet, context.options.verbose) {
        (true, _) => DetailLevel::Quiet,
        (false, 0) => DetailLevel::Normal,
        (false, _) => DetailLevel::Verbose,
    };
    Ok(match context.options.format()? {
        OutputFormat::Json => Box::new(JsonProgress::new(io::stdout())),
        _ if context.out.is_live() && !dry_run => {
            Box::new(LiveProgress::new(detail, context.out.has_colour(), context.out.height()))
        }
        _ => {
            let choice = if context.out.has_colour() {
                anstream::ColorChoice::AlwaysAnsi
            } else {
                anstream::ColorChoice::Never
            };
            Box::new(PlainProgress::new(anstream::AutoStream::new(io::stdout(), choice), detail))
        }
    })
}

/// What of this machine providers are told.
pub(crate) struct RunnerPlaces {
    /// The folder of all runs.
    runs: PathBuf,
    /// What the runner keeps for itself.
    private: Vec<PathBuf>,
    /// The desired branch, as it was found.
    branch: String,
}

impl RunnerPlaces {
    /// Those of a runner whose workspaces are in `work_dir`, if not beside its other caches.
    pub(crate) fn of(branches: &Branches, work_dir: Option<PathBuf>) -> Self {
        let repo = branches.repo();
        let private = std::iter::once(repo.common_dir().to_owned()).chain(work_dir).collect();
        Self { runs: repo.cache_dir().join("runs"), private, branch: branches.branch().to_owned() }
    }
}

/// The providers, with what the configuration lets through of the environment.
pub(crate) fn registry(config: &Config, environment: &Environment, places: &RunnerPlaces) -> Registry {
    let named = |names: &[String]| -> BTreeMap<String, std::ffi::OsString> {
        names.iter().filter_map(|name| Some((name.clone(), environment.os(name)?.to_owned()))).collect()
    };
    // A task gets what the configuration names, and never the whole environment, which holds the token of a
    // CI job.
    let mut passed = named(&config.providers.environment);
    passed.extend(named(&ALWAYS_PASSED.map(ToOwned::to_owned)));
    let mut withheld = environment.bucket_access().secrets();
    withheld.extend(git_host::token(environment).map(str::to_owned));
    Registry::standard(ProviderSettings {
        allow: config.providers.allow.clone(),
        environment: passed,
        secrets: named(&config.providers.secrets),
        withheld,
        sandbox: config.providers.sandbox.clone(),
        allow_private: config.providers.network.allow_private.clone(),
        sections: config.providers.sections.clone(),
        runs: places.runs.clone(),
        private: places.private.clone(),
        branch: Some(config.desired_branch.clone().unwrap_or_else(|| places.branch.clone())),
        host: git_host::connection(environment),
        home: git_host::home(environment, &config.status_branch),
    })
}

/// The providers as far as checking goes: every secret that the configuration names counts as set, because whoever
/// validates a change rarely has the secrets of the runner.
pub(crate) fn registry_to_check(config: &Config) -> Registry {
    let named = |name: &String| (name.clone(), std::ffi::OsString::from("unknown here"));
    Registry::standard(ProviderSettings {
        allow: config.providers.allow.clone(),
        secrets: config.providers.secrets.iter().map(named).collect(),
        sandbox: config.providers.sandbox.clone(),
        sections: config.providers.sections.clone(),
        ..ProviderSettings::default()
    })
}

/// A reconcile says no when manifests are invalid or deletions were held back; what failed or waits is no error of the
/// reconcile itself. A machine that cannot do the work is.
pub(crate) fn verdict(summary: &ReconcileSummary) -> Result<Exit, CliError> {
    if let Some(fault) = &summary.runner_fault {
        return Err(CliError::environment(format!("this machine cannot do the work: {fault}")).hint(
            "nothing failed and no retry was used up; free disk space or fix the permissions, then reconcile again, here or on another machine",
        ));
    }
    Ok(if summary.invalid > 0 || summary.held_back > 0 { Exit::No } else { Exit::Done })
}

/// A name for this runner that no other process has.
pub(crate) fn runner_name() -> String {
    let uname = rustix::system::uname();
    let host: String = uname
        .nodename()
        .to_string_lossy()
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_'))
        .take(40)
        .collect();
    // Host name and process id are not enough: containers are called alike, and run as process 1. A lease of
    // another runner must never pass for one's own.
    let mark = uuid::Uuid::new_v4().simple().to_string();
    let mark: String = mark.chars().take(6).collect();
    format!("{host}-{}-{mark}", std::process::id())
}

/// The number of cores.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
