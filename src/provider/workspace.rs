//! Where local work happens: a private checkout. The engine implements it; providers only ask for one.

use std::fmt;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use crate::model::NodeReason;
use crate::run::{AttemptOutcome, RunnerFault};

/// Gives private checkouts of one commit.
pub trait Workspace: Send + Sync {
    /// A checkout that nobody else uses. Blocks while it is made.
    ///
    /// # Errors
    /// When it cannot be made.
    fn prepare(&self) -> Result<PrivateCheckout, WorkspaceError>;
}

/// Why there is no checkout.
#[derive(Debug, thiserror::Error)]
#[error("no checkout of the pinned commit")]
pub struct WorkspaceError {
    fault: WorkspaceFault,
    source: Box<dyn std::error::Error + Send + Sync>,
}

/// Whose fault it is that there is no checkout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkspaceFault {
    /// This runner's: its disk, or its way to the commit.
    Runner(RunnerFault),
    /// The commit's: no machine can check it out.
    Commit,
    /// Nobody's: this runner was asked to end.
    Interrupted,
}

impl WorkspaceError {
    /// Says whose fault it is, and why.
    pub fn new(fault: WorkspaceFault, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { fault, source: source.into() }
    }

    /// How an attempt ends that got no checkout.
    pub(super) fn outcome(&self) -> AttemptOutcome {
        let message = chain(self);
        match self.fault {
            WorkspaceFault::Runner(fault) => AttemptOutcome::RunnerFailed { fault, message, begun: false },
            WorkspaceFault::Commit => AttemptOutcome::permanent(NodeReason::ProviderFailed, message),
            WorkspaceFault::Interrupted => AttemptOutcome::NotStarted { message },
        }
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

type ReleaseCheckout = Box<dyn FnOnce(PathBuf) + Send>;

/// A private checkout: a folder that is given back when this is dropped.
pub struct PrivateCheckout {
    path: PathBuf,
    // An `Option`, because `drop` has only a reference, and the function can be called once.
    give_back: Option<ReleaseCheckout>,
}

impl PrivateCheckout {
    /// A checkout at `path`; `give_back` is called with the path when it is no longer used.
    pub fn new(path: PathBuf, give_back: impl FnOnce(PathBuf) + Send + 'static) -> Self {
        Self { path, give_back: Some(Box::new(give_back)) }
    }
}

impl Deref for PrivateCheckout {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.path
    }
}

impl fmt::Debug for PrivateCheckout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Checkout").field(&self.path).finish()
    }
}

impl Drop for PrivateCheckout {
    fn drop(&mut self) {
        // On every way out, also when the attempt is aborted: a checkout that is not given back is lost to the pool.
        if let Some(give_back) = self.give_back.take() {
            give_back(std::mem::take(&mut self.path));
        }
    }
}
