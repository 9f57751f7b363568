//! Providers: what does the work of one attempt. The trait and its types are here; a provider is one
//! file (or folder) and one line of registration in `registry`. Nothing here reads the environment.

mod agent;
#[cfg(test)]
mod any_host;
mod attempt;
mod changes;
mod context;
mod criteria;
mod delivery;
mod external;
mod files;
mod foreign;
mod github_actions;
mod http;
mod human;
mod local;
mod mcp;
mod object_store;
mod output;
mod plugin;
mod process;
mod registry;
#[cfg(test)]
mod sample;
mod settings;
mod web;
mod workspace;

use std::pin::Pin;

use attempt::stop_requested;
pub use attempt::{Attempt, Brief, Control, OutputContract};
pub use changes::{
    ChangePolicy, ChangeRules, CollectError, CollectedChanges, ContentCheck, FileKind, HandedOverChange,
    HandedOverContent,
};
use context::ProviderContext;
pub use criteria::check_criteria;
pub(crate) use delivery::PullHandle;
pub use files::{AttemptFiles, BringError, LeftFiles, NoFiles};
pub(crate) use foreign::{read_answer, read_job, read_result, read_task_outputs, redact_pieces};
pub use github_actions::worker::ParcelError;
pub(crate) use github_actions::worker::{has_worker, without_worker, work, worker_workflow};
pub(crate) use object_store::{ObjectStore, ObjectStoreError, OpenBucket};
pub(crate) use output::holds_token;
pub use process::{Heed, out_of_sight};
pub use registry::{Registry, Unavailable};
pub use settings::{ALWAYS_PASSED, ConfigError, HostRepository, ProviderSettings, SectionError};
pub use workspace::{
    BranchMerge, BranchMerger, JudgedCheckout, JudgedWork, PrivateCheckout, UpstreamNode, UpstreamWork,
    Workspace, WorkspaceError, WorkspaceFault, WorkspaceForm,
};

use crate::model::JsonMap;
pub use crate::run::{AttemptOutcome, AttemptReport, Evidence, RunnerFault, Stop, UnfinishedChanges};

/// Kills whatever attempts run as local processes, for a runner that ends at once.
pub fn kill_processes() {
    process::kill_all();
}

/// The result of an attempt, as it becomes known.
// Boxed, so that the registry can hold providers of every kind.
pub type AttemptFuture = Pin<Box<dyn Future<Output = AttemptReport> + Send>>;

/// Cancelling remote work.
pub type CancelFuture = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// Something that does the work of attempts.
pub trait Provider: Send + Sync {
    /// The schemes that it serves, without `://`; the empty scheme stands for plain words.
    fn schemes(&self) -> &'static [&'static str];

    /// Checks a provider string and its settings without running anything. Values that hold an expression
    /// (`${{ … }}`) are not known yet and pass.
    ///
    /// # Errors
    /// Says which setting is wrong, and how.
    fn check(&self, provider: &str, config: &JsonMap) -> Result<(), ConfigError>;

    /// Checks the sections below `providers` in the configuration that only this provider reads. Nothing is run.
    fn check_sections(&self) -> Vec<SectionError> {
        Vec::new()
    }

    /// Whether an attempt with this provider string is a process of this machine.
    fn starts_process(&self, _provider: &str) -> bool {
        false
    }

    /// Whether [`Self::run`] blocks the thread that polls it where [`Control::heed`] is there. Such attempts get a thread each, on which
    /// the next one begins as soon as one has ended.
    fn blocks(&self, _provider: &str) -> bool {
        false
    }

    /// What a process of this machine may change in an attempt, and what becomes of it.
    ///
    /// # Errors
    /// Says which setting is wrong, and how.
    fn change_rules(&self, _attempt: &Attempt) -> Result<ChangeRules, ConfigError> {
        Ok(ChangeRules::discarding())
    }

    /// Runs one attempt to its end, within a tokio runtime. Dropping the future ends the work as
    /// [`Stop::Shutdown`] does.
    fn run(&self, attempt: Attempt, control: Control) -> AttemptFuture;

    /// Polls the remote work that `attempt.handle` names. Nothing is claimed for it, and two
    /// runners may poll at once, so its external effects must be idempotent. [`AttemptOutcome::Stopped`]
    /// says that nothing was learned.
    fn poll(&self, attempt: Attempt, control: Control) -> AttemptFuture {
        self.run(attempt, control)
    }

    /// Shows people what an attempt would deliver, while a Gate before it waits; `attempt.upstream` is what the Gate shows.
    /// Asked again and again, so it keeps to what is shown already. [`AttemptOutcome::Blocked`] says where it is, with the
    /// `handle` that [`Self::cancel_remote`] takes it back by; [`AttemptOutcome::Failed`] that it cannot be shown, which is no
    /// failure of the node; [`AttemptOutcome::Stopped`] that nothing was learned.
    fn propose(&self, _attempt: Attempt) -> AttemptFuture {
        // Most work has nothing to show before it is done.
        Box::pin(std::future::ready(AttemptOutcome::Stopped(Stop::Shutdown).into()))
    }

    /// Cancels the remote work that `attempt.handle` names; may be asked more than once. The answer is
    /// what went wrong, as text; the node is cancelled in any case.
    fn cancel_remote(&self, _attempt: Attempt) -> CancelFuture {
        // A local process ends with its attempt, and leaves nothing to cancel.
        Box::pin(std::future::ready(Ok(())))
    }
}
