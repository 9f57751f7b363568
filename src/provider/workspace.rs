//! Where local work happens: a workspace with the files of a commit, and what of it is delivered. The engine implements it;
//! providers only ask for it, and say what becomes of the files that changed.

use std::fmt;
use std::num::NonZeroU32;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::changes::{ChangeRules, CollectError, CollectedChanges, HandedOverChange};
use crate::model::{CriterionResult, NodeId, NodeReason, NodeResult};
use crate::run::{AttemptOutcome, RunnerFault, Stop, cause_first};

/// Gives private checkouts of one commit.
pub trait Workspace: Send + Sync {
    /// A checkout that nobody else uses, with all that belongs to the commit and nothing else. Blocks while it is made.
    ///
    /// # Errors
    /// When it cannot be made.
    fn prepare(&self) -> Result<PrivateCheckout, WorkspaceError> {
        self.prepare_as(&WorkspaceForm::default())
    }

    /// The same in this form. Blocks.
    ///
    /// # Errors
    /// When it cannot be made.
    fn prepare_as(&self, form: &WorkspaceForm) -> Result<PrivateCheckout, WorkspaceError>;

    /// A second checkout, of what an attempt made, in which somebody else judges it: nothing is there that was not committed.
    /// `None` where there is no place but the one in which the work was done, such as a person's own folder. Blocks.
    ///
    /// # Errors
    /// When it cannot be made.
    fn prepare_judged(&self, _work: &JudgedWork<'_>) -> Result<Option<JudgedCheckout>, WorkspaceError> {
        Ok(None)
    }

    /// Takes in what an attempt on another machine says that it changed, as if it had been changed in a checkout. Blocks.
    ///
    /// # Errors
    /// [`CollectError`].
    fn take_in(
        &self,
        _files: &[HandedOverChange],
        _rules: &ChangeRules,
    ) -> Result<CollectedChanges, CollectError> {
        Err(CollectError::Runner("there is no place here for the work of another machine".into()))
    }

    /// Writes what an attempt changed into a folder, for another machine to take in: the contents as numbered files. Blocks.
    ///
    /// # Errors
    /// When they cannot be read or written.
    fn hand_over(&self, _result: &NodeResult, _into: &Path) -> Result<Vec<HandedOverChange>, WorkspaceError> {
        let why = "the work of this place is in no commit";
        Err(WorkspaceError::new(WorkspaceFault::Runner(RunnerFault::Machine), why))
    }
}

/// What a checkout is to be like, where it is not simply all that belongs to the commit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WorkspaceForm {
    /// Whether the ignored files are there that an earlier attempt at the same node left on this machine, such as the cache of a
    /// build.
    pub keep_ignored: bool,
    /// The only files and folders that are there, by their paths; all of them when empty.
    pub sparse: Vec<String>,
    /// How many commits of the history are to be seen; all that are on this machine when absent.
    pub depth: Option<NonZeroU32>,
    /// Whether submodules are there, at the commits that belong to this one.
    pub submodules: bool,
}

/// What is to be judged.
#[derive(Debug, Clone, Copy)]
pub struct JudgedWork<'w> {
    /// What the checkout is to be like; ignored files of an attempt are never in it.
    pub form: &'w WorkspaceForm,
    /// What the attempt changed; nothing when it left the files as they were.
    pub result: Option<&'w NodeResult>,
    /// Globs of files that are taken from what it worked on.
    pub restore: &'w [String],
}

/// A checkout in which work is judged.
#[derive(Debug)]
pub struct JudgedCheckout {
    /// The checkout.
    pub checkout: PrivateCheckout,
    /// The commit that is judged: the result, or what the attempt worked on.
    pub commit: String,
    /// The tree that is checked out: that of the commit, but for what was restored.
    pub tree: String,
    /// How many files were restored.
    pub restored: u64,
}

/// Why there is no checkout.
#[derive(Debug, thiserror::Error)]
#[error("{doing}")]
pub struct WorkspaceError {
    doing: &'static str,
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
        Self { doing: "no checkout of the pinned commit", fault, source: source.into() }
    }

    /// The same, of something else than making a checkout.
    #[must_use]
    pub fn while_doing(mut self, doing: &'static str) -> Self {
        self.doing = doing;
        self
    }

    /// How an attempt ends that got no checkout.
    pub(super) fn outcome(&self) -> AttemptOutcome {
        let message = cause_first(chain(self));
        match self.fault {
            WorkspaceFault::Runner(fault) => AttemptOutcome::RunnerFailed { fault, message, begun: false },
            WorkspaceFault::Commit => AttemptOutcome::permanent(NodeReason::ProviderFailed, message),
            WorkspaceFault::Interrupted => AttemptOutcome::NotStarted { message },
        }
    }

    /// How an attempt ends that got no checkout to check its criteria in.
    pub(super) fn outcome_after_work(&self) -> AttemptOutcome {
        match self.outcome() {
            // The work was done, whatever keeps it from being checked.
            AttemptOutcome::RunnerFailed { fault, message, .. } => {
                AttemptOutcome::RunnerFailed { fault, message, begun: true }
            }
            AttemptOutcome::NotStarted { .. } => AttemptOutcome::Stopped(Stop::Shutdown),
            other => other,
        }
    }
}

/// An error with its causes.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

impl CollectError {
    /// How an attempt ends for it whose work was done.
    pub(super) fn outcome(self) -> AttemptOutcome {
        match self {
            Self::Refused(message) => AttemptOutcome::failed(NodeReason::ChangeRefused, message),
            // The process ran, and may have had effects elsewhere: it is run again only where it may be repeated.
            Self::Runner(_) => AttemptOutcome::broken_off_here(chain(&self)),
        }
    }
}

/// What the nodes before a delivery changed.
#[derive(Clone, Default)]
pub struct UpstreamWork {
    /// The commit that holds all of it; none where they changed nothing.
    pub commit: Option<String>,
    /// The nodes whose changes no approved Gate has seen.
    pub unapproved: Vec<NodeId>,
    /// The branch that shows it on the remote, without `refs/heads/`; only where the delivery needs one.
    pub branch: Option<String>,
    /// The nodes that changed something or approved it, in the order of the plan.
    pub nodes: Vec<UpstreamNode>,
    /// Who brings it into a branch.
    pub merger: Option<Arc<dyn BranchMerger>>,
}

/// A node before a delivery, as far as people who review it want to know.
#[derive(Debug, Clone, PartialEq)]
pub struct UpstreamNode {
    /// Its id.
    pub id: NodeId,
    /// What it was to do, as text.
    pub title: String,
    /// What it changed.
    pub result: Option<NodeResult>,
    /// How its acceptance criteria came out.
    pub criteria: Vec<CriterionResult>,
    /// How often it ran again because a reviewer wanted something changed.
    pub reworks: u32,
    /// Who approved, when and for which commit, of a Gate.
    pub approval: Option<String>,
}

/// Brings the work before a delivery into a branch.
pub trait BranchMerger: Send + Sync {
    /// Merges the work into a branch, once, however often it is asked. Blocks. Nothing moves after `goes_on` said no.
    ///
    /// # Errors
    /// When this runner cannot do it; the work and the branch may be fine.
    fn merge_into(&self, branch: &str, goes_on: &dyn Fn() -> bool) -> Result<BranchMerge, WorkspaceError>;
}

/// What came of merging work into a branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BranchMerge {
    /// The branch holds it, since this commit.
    Delivered(String),
    /// The work conflicts with what is on the branch, in these files.
    Conflicts(Vec<String>),
    /// The branch does not take it, for this reason.
    Refused(String),
    /// It was given up before anything moved.
    Stopped,
}

type Collect = Box<dyn FnMut(&ChangeRules) -> Result<CollectedChanges, CollectError> + Send>;
type ReleaseCheckout = Box<dyn FnOnce(PathBuf) + Send>;

/// A private checkout: a folder that is given back when this is dropped.
pub struct PrivateCheckout {
    path: PathBuf,
    // An `Option`, because `drop` has only a reference, and the function can be called once.
    readable: Vec<PathBuf>,
    hidden: Vec<PathBuf>,
    collect: Option<Collect>,
    give_back: Option<ReleaseCheckout>,
}

impl PrivateCheckout {
    /// A checkout at `path`; `give_back` is called with the path when it is no longer used.
    pub fn new(path: PathBuf, give_back: impl FnOnce(PathBuf) + Send + 'static) -> Self {
        let readable = Vec::new();
        let hidden = Vec::new();
        Self { path, readable, hidden, collect: None, give_back: Some(Box::new(give_back)) }
    }

    /// The same, with what takes in the changes.
    #[must_use]
    pub fn collecting(
        mut self,
        collect: impl FnMut(&ChangeRules) -> Result<CollectedChanges, CollectError> + Send + 'static,
    ) -> Self {
        self.collect = Some(Box::new(collect));
        self
    }

    /// The same, with places outside that Git needs to read.
    #[must_use]
    pub fn reading(mut self, readable: Vec<PathBuf>) -> Self {
        self.readable = readable;
        self
    }

    /// The same, with places inside that a sandbox does not show.
    #[must_use]
    pub fn hiding(mut self, hidden: Vec<PathBuf>) -> Self {
        self.hidden = hidden;
        self
    }

    /// Places inside that a sandbox does not show.
    #[must_use]
    pub fn hidden(&self) -> &[PathBuf] {
        &self.hidden
    }

    /// Places outside that Git in the checkout needs to read.
    #[must_use]
    pub fn readable(&self) -> &[PathBuf] {
        &self.readable
    }

    /// Takes in what changed since the checkout was made. Blocks.
    ///
    /// # Errors
    /// [`CollectError`].
    pub fn collect(&mut self, rules: &ChangeRules) -> Result<CollectedChanges, CollectError> {
        self.collect.as_mut().map_or(Ok(CollectedChanges::None), |collect| collect(rules))
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
            // The closure that collects holds the workspace as well, and lets go of it first.
            self.collect = None;
            give_back(std::mem::take(&mut self.path));
        }
    }
}
