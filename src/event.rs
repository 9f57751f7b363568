//! What outputs are told about a reconcile: one typed stream between `engine` and `report`.

use jiff::Timestamp;
use serde::Serialize;

use crate::diagnostic::Diagnostic;
pub use crate::model::Waiting;
use crate::model::{ExecutionPhase, NodeId, NodePhase, NodeReason, ResourceKey};

/// Something that happened during a reconcile. Everything here has been published before it is sent
/// (Invariant 4), but for a dry run, which says so at its begin, and for `Output`, `Waiting` and `Note`, which are not part of the record.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Event {
    /// A pass works on these two commits.
    PassStarted {
        /// When.
        at: Timestamp,
        /// The desired commit.
        desired: String,
        /// The status commit, if there is a status branch.
        status: Option<String>,
        /// The name of this runner.
        runner: String,
        /// Whether all that follows is only what would happen.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        dry_run: bool,
    },
    /// A manifest has a problem; its resource is quarantined if the severity is error.
    Diagnostic(Box<Diagnostic>),
    /// A resource other than an execution's node has a new status.
    Resource {
        /// When.
        at: Timestamp,
        /// Which.
        key: ResourceKey,
        /// How it changed.
        change: ResourceChange,
        /// Its phase, as in its status.
        phase: String,
        /// Why, as text; may be empty.
        message: String,
    },
    /// An execution changed its phase.
    Execution {
        /// When.
        at: Timestamp,
        /// Which.
        key: ResourceKey,
        /// The phase before; absent for a new execution.
        from: Option<ExecutionPhase>,
        /// The phase now.
        to: ExecutionPhase,
        /// Why, as text; may be empty.
        message: String,
        /// The number of nodes in its graph; 0 before it is pinned.
        nodes: usize,
    },
    /// A node changed its phase.
    Node {
        /// When.
        at: Timestamp,
        /// The execution.
        key: ResourceKey,
        /// The node.
        node: NodeId,
        /// The phase before.
        from: NodePhase,
        /// The phase now.
        to: NodePhase,
        /// Why, for programs.
        reason: Option<NodeReason>,
        /// Why, as text; may be empty.
        message: String,
        /// The attempt that this is about, from 1; 0 before the first.
        attempt: u32,
    },
    /// A line that a provider printed.
    Output {
        /// The execution.
        key: ResourceKey,
        /// The node.
        node: NodeId,
        /// The line, redacted, without its end.
        line: String,
    },
    /// A status commit was published.
    Published {
        /// When.
        at: Timestamp,
        /// The commit.
        commit: String,
        /// Its subject.
        subject: String,
    },
    /// Something waits for an external event.
    Waiting(Waiting),
    /// Something worth knowing that changes nothing: a lost race, a lease of another runner, a force push.
    Note {
        /// The text, for people.
        message: String,
    },
    /// A dry run is over: a reconcile would begin with what was said before.
    DryRunEnded {
        /// When.
        at: Timestamp,
        /// The number of records that its first commit would change.
        records: usize,
        /// The number of attempts that would start then.
        starts: usize,
        /// Whether more is planned once that is recorded, because there is so much of it.
        more: bool,
    },
    /// The reconcile is over.
    Finished {
        /// When.
        at: Timestamp,
        /// The number of status commits made.
        commits: u32,
        /// The number of attempts started.
        started: u32,
        /// Everything that waits, for what.
        waiting: Vec<Waiting>,
        /// Executions that failed during this reconcile.
        failed: Vec<ResourceKey>,
    },
}

/// How a resource changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ResourceChange {
    /// It is new.
    Created,
    /// Its status changed.
    Configured,
    /// It is gone.
    Deleted,
}
