//! What a reconcile is given, and what it reports.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;

use super::{Branches, Clock};
use crate::config::{BucketAccess, Config};
use crate::event::{Event, Waiting};
use crate::index::Index;
use crate::model::ResourceKey;
use crate::provider::Registry;

/// Takes events.
pub type EventSink<'a> = Box<dyn FnMut(Event) + 'a>;

/// How a reconcile ended.
#[derive(Debug, Clone, Default)]
pub struct ReconcileSummary {
    /// The number of status commits made.
    pub commits: u32,
    /// The number of attempts started.
    pub started: u32,
    /// What waits, the first of it.
    pub waiting: Vec<Waiting>,
    /// How many resources wait in all.
    pub waiting_count: u64,
    /// When the next resource is due by itself, if one is: a retry, a poll, a deadline, a Schedule, the end of a lease.
    pub next_due: Option<Timestamp>,
    /// Executions that failed.
    pub failed: Vec<ResourceKey>,
    /// Manifests that are not valid.
    pub invalid: usize,
    /// Deletions that were held back.
    pub held_back: usize,
    /// Whether it stopped before everything was done, because it was asked to or its time was up.
    pub interrupted: bool,
    /// Why this machine could not do the work, when it claims nothing more because of that.
    pub runner_fault: Option<String>,
}

/// The parts that a reconcile works with.
pub struct ReconcileInputs<'a> {
    /// Where the branches are.
    pub branches: Branches,
    /// The index.
    pub index: Index,
    // A function, because the configuration is known only once the desired commit has been read.
    /// The providers, made from the configuration of the desired branch.
    pub registry: Box<dyn Fn(&Config) -> Registry + 'a>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Becomes true when the reconcile shall stop cleanly.
    pub stop: watch::Receiver<bool>,
    /// Takes events.
    pub sink: EventSink<'a>,
}

/// What a caller may choose about a reconcile.
#[derive(Debug, Clone, Default)]
pub struct ReconcileOptions {
    /// How many local attempts run at once; what the configuration says when absent.
    pub jobs: Option<usize>,
    /// The same, when the configuration says nothing either.
    pub default_jobs: usize,
    /// Go on when everything waits, and read the branches again this often.
    pub watch: Option<Duration>,
    /// Stop cleanly before this much time has passed.
    pub max_duration: Option<Duration>,
    /// Only say what the first commit would record and start.
    pub dry_run: bool,
    /// Carry out a deletion of more than the configured share of all resources.
    pub allow_mass_delete: bool,
    /// Take a status branch that went back as it is, and record that.
    pub accept_status_history: bool,
    // Leases are told apart by it alone: a second process of the same name would take them for its own.
    /// The name of this runner: unique to the process.
    pub runner: String,
    /// Pass the lines on that providers print.
    pub stream_output: bool,
    // Of the caller and never of the configuration: a merged file must not lead tasks into anybody's working tree.
    /// Where local work happens in place of private checkouts.
    pub work_here: Option<PathBuf>,
    /// Where the workspaces of all repositories are; beside the other caches of the repository when absent.
    pub work_dir: Option<PathBuf>,
    // Of the environment alone: what is in Git is read by everybody.
    /// What there is for the object store that artifacts may be kept in.
    pub bucket: BucketAccess,
}
