//! What can happen to an Execution: the entries of the log that its status is a fold of.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Evidence, UnfinishedChanges};
use crate::model::{
    Artifact, BudgetGrant, ChangeRequest, Digest, InputFingerprint, JsonMap, Lease, MutexHold, NodeDecision,
    NodeId, NodePhase, NodeReason, NodeStatus, PersonRequest, PinnedGraph, QuestionAnswer, ResolvedBinding,
    Reuse, Rework, Usage, WorkProposal,
};

/// One change to an Execution or to one of its nodes.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "few exist at a time, and nearly all of them are of nodes")]
pub(crate) enum Change {
    /// To the execution as a whole.
    Execution(ExecutionChange),
    /// To a node.
    Node(NodeId, NodeChange),
}

/// A change to an Execution as a whole.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ExecutionChange {
    /// It was observed for the first time.
    Queue {
        /// The digest of its spec.
        spec_hash: Digest,
        /// Its run id.
        run_id: String,
    },
    /// Its plan was found: from now on this graph is run.
    Pin {
        /// What it is pinned to.
        graph: PinnedGraph,
        /// The nodes of the graph.
        // The fold knows no plan, and has to give every node its record.
        nodes: Arc<[NodeId]>,
    },
    /// The list of a repeated node became known: from now on it has these instances.
    Expand {
        /// The node.
        node: NodeId,
        /// The items.
        items: Arc<Vec<serde_json::Value>>,
        /// All nodes that are there because of them.
        instances: Arc<[NodeId]>,
    },
    /// The list of a repeated node is to be computed again: its instances are gone.
    Collapse {
        /// The node.
        node: NodeId,
        /// All nodes that were there because of its items.
        instances: Arc<[NodeId]>,
    },
    /// It cannot be started for a reason that lies outside its graph.
    Hold {
        /// Why, for programs.
        reason: String,
        /// Why, as text.
        message: String,
    },
    /// A runner takes the lease; the token must be higher than every one before.
    AcquireLease(Lease),
    /// The holder renews the lease.
    RenewLease {
        /// The token of the lease that is renewed.
        // By token and not by holder: a runner whose lease was taken over still knows its old token, and that must not
        // renew the new lease.
        token: u64,
        /// When.
        at: Timestamp,
    },
    /// The holder gives the lease back.
    ReleaseLease {
        /// The token of the lease that is given back.
        token: u64,
    },
    /// Somebody asks to cancel it.
    RequestCancel(PersonRequest),
    /// Somebody frees the lease of a runner that will not come back.
    Unlock(PersonRequest),
    /// Somebody accepts this pin, which was merged, in place of one that does not hold.
    AcceptPin {
        /// The new pin.
        graph: PinnedGraph,
        /// Who, and why.
        request: PersonRequest,
    },
    /// Somebody asks that nothing further starts.
    Suspend(PersonRequest),
    /// Somebody asks to continue.
    Resume(PersonRequest),
    /// It takes a mutex, or waits for the one who holds it.
    Exclude(MutexHold),
    /// What it takes over from an earlier execution was decided; the nodes came before as `Reuse`.
    Reuse(Box<Reuse>),
    /// Somebody asks to run nodes again; the nodes follow as `Reset`.
    Retry(PersonRequest),
}

/// A change to a node.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum NodeChange {
    /// An attempt is claimed: the next one in number.
    Start {
        /// What was resolved for it; none for nodes that need no provider.
        binding: Option<Arc<ResolvedBinding>>,
        /// What it is begun with.
        // Small, and shared between copies of a status: a chain of 1,000 tasks took 5.2 ms a node before, and takes 3.9
        // ms.
        basis: Option<Arc<InputFingerprint>>,
        /// The commit that it works on, where that is not the pinned one.
        base: Option<String>,
        /// The runner that claims it.
        runner: String,
        /// The token of the lease under which it is claimed.
        token: Option<u64>,
    },
    /// The work is done.
    Succeed {
        /// Why, when it needs saying.
        reason: Option<NodeReason>,
        /// The text, for people.
        message: String,
        /// The outputs.
        outputs: JsonMap,
        /// What was seen.
        evidence: Evidence,
    },
    /// The work was done by an earlier execution.
    Reuse {
        /// Which, as text.
        message: String,
        /// Its state there.
        state: Box<NodeStatus>,
        /// What it produced there.
        artifacts: Vec<Artifact>,
    },
    /// The work failed for good.
    Fail {
        /// Why, for programs.
        reason: NodeReason,
        /// Why, as text.
        message: String,
        /// What was seen.
        evidence: Evidence,
    },
    /// The attempt is over and another one is wanted.
    Retry {
        /// Why, for programs.
        reason: NodeReason,
        /// Why, as text.
        message: String,
        /// Not before this time.
        at: Timestamp,
        /// Whether the failure counts against `retries`; that of a lost runner does not.
        // A runner that was lost says nothing about the work, and must not use up its retries.
        counted: bool,
        /// What was seen.
        evidence: Evidence,
    },
    /// It waits for something outside of its runner.
    Block {
        /// For what, for programs.
        reason: NodeReason,
        /// For what, as text.
        message: String,
        /// When to poll, if polling helps.
        retry_at: Option<Timestamp>,
        /// What the provider needs to continue.
        handle: Option<String>,
        /// What the attempt used up before it had to wait.
        usage: Option<Usage>,
        /// What it changed before that.
        unfinished: UnfinishedChanges,
    },
    /// People are shown what it is going to deliver, while a Gate before it waits.
    // Without a claim: nothing of the node begins, and whoever asks twice finds what is shown already.
    Propose {
        /// What they are shown.
        proposal: WorkProposal,
        /// Where, as text.
        message: String,
    },
    /// A reviewer wants something changed of what it delivers.
    Request(Box<ChangeRequest>),
    /// It runs again on top of what was reviewed.
    Rework {
        /// What is asked of it, and how often it was asked something.
        rework: Box<Rework>,
        /// Whose results what was reviewed holds as well, although the plan does not put them before it.
        onto: Vec<NodeId>,
        /// Who, as text.
        message: String,
    },
    /// A person decided about it while its work continues remotely; that is cancelled first.
    // A node that ended at once would not be polled any more, and nobody would cancel its remote work.
    Decide(Box<NodeDecision>),
    /// Somebody answers what its provider asks.
    Answer(QuestionAnswer),
    /// Somebody lets it go on although its budget is spent.
    Grant(Box<BudgetGrant>),
    /// It is not needed, or cannot be.
    Skip {
        /// Why, for programs.
        reason: NodeReason,
        /// Why, as text.
        message: String,
    },
    /// It is cancelled.
    Cancel {
        /// Why, for programs.
        reason: NodeReason,
        /// Why, as text.
        message: String,
    },
    /// A group takes the phase that its children add up to.
    Sum {
        /// The phase.
        phase: NodePhase,
        /// The text, for people.
        message: String,
    },
    /// Somebody asked to run it again: back to the beginning, with the number of attempts kept.
    Reset {
        /// Who, and why.
        message: String,
    },
}

impl NodeChange {
    /// It waits for something that no provider was asked for, until somebody or something else moves it on.
    #[must_use]
    pub(crate) fn block(reason: NodeReason, message: String) -> Self {
        let unfinished = UnfinishedChanges::AsFound;
        Self::Block { reason, message, retry_at: None, handle: None, usage: None, unfinished }
    }

    /// The name of the change, for messages.
    #[must_use]
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Start { .. } => "start",
            Self::Succeed { .. } => "succeed",
            Self::Reuse { .. } => "reuse",
            Self::Fail { .. } => "fail",
            Self::Retry { .. } => "retry",
            Self::Block { .. } => "block",
            Self::Propose { .. } => "propose",
            Self::Request(_) => "request changes of",
            Self::Rework { .. } => "rework",
            Self::Decide(_) => "decide about",
            Self::Answer(_) => "answer",
            Self::Grant(_) => "grant more to",
            Self::Skip { .. } => "skip",
            Self::Cancel { .. } => "cancel",
            Self::Sum { .. } => "sum",
            Self::Reset { .. } => "reset",
        }
    }
}
