//! What a person can do about a node that waits or failed, in one place. Summaries, `describe`, `explain`, the
//! dashboard and comments print these commands and never build their own, so that they agree and all of them work.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{NodeId, NodePhase, NodeReason, ResourceKey};

/// A node, as far as it decides what can be done about it.
#[derive(Debug, Clone, Copy)]
pub struct NodeSituation<'a> {
    /// The Execution.
    pub execution: &'a ResourceKey,
    /// The node.
    pub node: &'a NodeId,
    /// Its phase.
    pub phase: NodePhase,
    /// The reason of its phase.
    pub reason: Option<NodeReason>,
    /// The Gate that it waits at, for a Gate node whose plan is available.
    pub gate: Option<&'a ResourceKey>,
}

/// One command that changes or explains what a node waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextStep {
    action: NextAction,
    execution: ResourceKey,
    node: Option<NodeId>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum NextAction {
    Approve(ResourceKey),
    Reject(ResourceKey),
    Answer,
    Complete,
    Fail,
    Retry,
    Explain,
    Logs,
    Resume,
    AcceptPin,
    Checkout,
}

/// Everything that a person can do about a node; the most usual step first, none where it continues by itself.
#[must_use]
pub fn next_steps(situation: &NodeSituation<'_>) -> Vec<NextStep> {
    use NextAction as Do;
    let actions = match (situation.phase, situation.reason) {
        (NodePhase::Blocked, Some(reason)) => match reason {
            reason if reason.asks_approval() || is_asked_again(situation) => match situation.gate {
                Some(gate) => vec![Do::Approve(gate.clone()), Do::Reject(gate.clone())],
                // Without the plan the Gate's name is unknown, and a command with a wrong one would be worse than none.
                None => vec![Do::Explain],
            },
            // The answer first, as it lets the attempt continue; the others end it.
            NodeReason::InputRequired | NodeReason::BudgetSpent => vec![Do::Answer, Do::Complete, Do::Fail],
            // No attempt comes to another end by itself: somebody has to see both sides first.
            NodeReason::MergeConflict | NodeReason::BranchConflict => {
                vec![Do::Checkout, Do::Retry, Do::Complete, Do::Fail]
            }
            // Both ask whether the work was done, which only a person can find out.
            reason if reason.needs_decision() => vec![Do::Retry, Do::Complete, Do::Fail],
            // A commit that changes the Binding is the other way out; `explain` shows what to change.
            NodeReason::Unbound | NodeReason::BindingConflict | NodeReason::ProviderUnavailable => {
                vec![Do::Complete, Do::Explain, Do::Fail]
            }
            // An approval is refused until the manifest is fixed; the message says what is wrong with it.
            NodeReason::GateClosed => vec![Do::Explain],
            // Only a merged change lets it go on: whoever is no reviewer would else pass by the gate.
            NodeReason::GateRequired => vec![Do::Explain, Do::Fail],
            _ => vec![Do::Complete, Do::Fail],
        },
        (NodePhase::Failed | NodePhase::Cancelled, reason) => match reason {
            // A group ends with its children, and what another process ends would end again.
            Some(NodeReason::ChildFailed | NodeReason::ManifestRemoved | NodeReason::DeadlineExceeded) => {
                vec![]
            }
            // No attempt ran, or a person ended it: there is no log worth reading.
            Some(
                NodeReason::ExpressionError
                | NodeReason::InputInvalid
                | NodeReason::Rejected
                | NodeReason::CompletedByPerson
                | NodeReason::CancelRequested,
            ) => vec![Do::Retry],
            _ => vec![Do::Logs, Do::Retry],
        },
        _ => vec![],
    };
    actions
        .into_iter()
        .map(|action| NextStep::of(action, situation.execution, Some(situation.node)))
        .collect()
}

/// Whether a plan does the work of the node, and what was approved with it has changed since: then a gate goes along.
fn is_asked_again(situation: &NodeSituation<'_>) -> bool {
    situation.reason == Some(NodeReason::AwaitingEvent) && situation.gate.is_some()
}

/// The step without which a blocked node never continues; none where it waits for work or an event that can still come.
#[must_use]
pub fn required_step(situation: &NodeSituation<'_>) -> Option<NextStep> {
    // What a delivery waits for is done on the host, and no command of ours takes its place.
    let by_itself = situation.reason.is_some_and(|reason| {
        reason.is_polled_delivery()
            || matches!(reason, NodeReason::AwaitingProvider)
            || (reason == NodeReason::AwaitingEvent && !is_asked_again(situation))
    });
    if situation.phase != NodePhase::Blocked || by_itself {
        return None;
    }
    next_steps(situation).into_iter().next()
}

/// What a page on the Git host offers for a blocked node: what somebody writes there as a comment. Where results conflict it is a
/// command line, since no comment resolves them and another attempt comes to the same.
#[must_use]
pub fn step_on_host(situation: &NodeSituation<'_>) -> Option<String> {
    let required = required_step(situation)?;
    match (required.action == NextAction::Checkout, situation.reason) {
        // A conflict with a branch is resolved on that branch, and it takes another attempt to find it so.
        (true, Some(NodeReason::MergeConflict)) => Some(required.to_string()),
        // A step that only explains has no form as a comment; the next one that changes something has.
        _ => next_steps(situation).iter().find_map(NextStep::comment),
    }
}

impl NextStep {
    fn of(action: NextAction, execution: &ResourceKey, node: Option<&NodeId>) -> Self {
        Self { action, execution: execution.clone(), node: node.cloned() }
    }

    /// A suspended Execution continues.
    #[must_use]
    pub fn resume(execution: &ResourceKey) -> Self {
        Self::of(NextAction::Resume, execution, None)
    }

    /// What the desired branch holds now takes the place of a pin that does not hold.
    #[must_use]
    pub fn accept_pin(execution: &ResourceKey) -> Self {
        Self::of(NextAction::AcceptPin, execution, None)
    }

    /// The logs of an Execution that failed.
    #[must_use]
    pub fn logs(execution: &ResourceKey) -> Self {
        Self::of(NextAction::Logs, execution, None)
    }

    /// A person reports the work of a node as done.
    #[must_use]
    pub fn complete(execution: &ResourceKey, node: &NodeId) -> Self {
        Self::of(NextAction::Complete, execution, Some(node))
    }

    /// A node runs again, with everything after it.
    #[must_use]
    pub fn retry(execution: &ResourceKey, node: &NodeId) -> Self {
        Self::of(NextAction::Retry, execution, Some(node))
    }

    /// A person answers the question of a node's provider.
    #[must_use]
    pub fn answer(execution: &ResourceKey, node: &NodeId) -> Self {
        Self::of(NextAction::Answer, execution, Some(node))
    }

    /// What the step does.
    #[must_use]
    pub fn purpose(&self) -> &'static str {
        match &self.action {
            NextAction::Approve(_) => "approve the gate",
            NextAction::Reject(_) => "reject the gate; the node fails",
            NextAction::Answer => "answer the question",
            NextAction::Complete => "report the work as done",
            NextAction::Fail => "report that the work cannot be done",
            NextAction::Retry => "rerun it and everything after it",
            NextAction::Explain => "show what it waits for",
            NextAction::Logs => "show its output",
            NextAction::Resume => "resume the Execution",
            NextAction::AcceptPin => "pin it to what the desired branch holds now, if that is the same",
            NextAction::Checkout => "resolve the conflict in a working tree",
        }
    }

    /// Whether it only leads to `planspec explain`.
    #[must_use]
    pub fn explains(&self) -> bool {
        self.action == NextAction::Explain
    }

    /// The arguments of `planspec`.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let ResourceKey { namespace, name, .. } = &self.execution;
        let target = match &self.node {
            Some(node) => format!("{name}/{node}"),
            None => name.to_string(),
        };
        let verb = match &self.action {
            NextAction::Approve(gate) => return self.review("approve", gate),
            NextAction::Reject(gate) => return self.review("reject", gate),
            NextAction::Answer => "answer",
            NextAction::Complete => "complete",
            NextAction::Fail => "fail",
            NextAction::Retry => "retry",
            NextAction::Explain => "explain",
            NextAction::Logs => "logs",
            NextAction::Resume => "resume",
            NextAction::AcceptPin => "accept-pin",
            NextAction::Checkout => "checkout",
        };
        let mut arguments = vec![verb.to_owned()];
        match (&self.action, &self.node) {
            // `retry` takes an Execution and a node to begin from; every other command takes the node itself.
            (NextAction::Retry, Some(node)) => {
                arguments.extend([name.to_string(), "--from".to_owned(), node.to_string()]);
            }
            (NextAction::Resume | NextAction::AcceptPin, _) => arguments.push(format!("execution/{name}")),
            _ => arguments.push(target),
        }
        // Always with the namespace: whoever copies the command may have another one as the default.
        arguments.extend(["-n".to_owned(), namespace.to_string()]);
        if self.action == NextAction::Answer {
            arguments.push("TEXT".to_owned());
        }
        arguments
    }

    /// The Execution is always named: another one may reach the same gate before the command is run.
    fn review(&self, verb: &str, gate: &ResourceKey) -> Vec<String> {
        let ResourceKey { namespace, name, .. } = &self.execution;
        let execution = if gate.namespace == *namespace {
            name.to_string()
        } else {
            format!("{namespace}/execution/{name}")
        };
        [verb, &format!("gate/{}", gate.name), "--execution", &execution, "-n", gate.namespace.as_str()]
            .map(str::to_owned)
            .to_vec()
    }

    /// The same as a command in a comment on the Git host, whose grammar knows only what changes something.
    #[must_use]
    pub fn comment(&self) -> Option<String> {
        let name = &self.execution.name;
        let node = self.node.as_ref();
        match &self.action {
            NextAction::Approve(gate) => Some(format!("/planspec approve {name}/{}", gate.name)),
            NextAction::Reject(gate) => Some(format!("/planspec reject {name}/{}", gate.name)),
            NextAction::Answer => node.map(|node| format!("/planspec answer {name}/{node} TEXT")),
            NextAction::Complete => node.map(|node| format!("/planspec complete {name}/{node}")),
            NextAction::Fail => node.map(|node| format!("/planspec fail {name}/{node}")),
            NextAction::Resume => Some(format!("/planspec resume {name}")),
            NextAction::Retry => Some(match node {
                Some(node) => format!("/planspec retry {name} {node}"),
                None => format!("/planspec retry {name}"),
            }),
            // Not in the grammar of comments, which is closed: text that is no command of it does nothing (Invariant
            // 8).
            NextAction::Explain | NextAction::Logs | NextAction::AcceptPin | NextAction::Checkout => None,
        }
    }
}

/// As a line for a shell; names hold nothing that a shell could take for its own.
impl fmt::Display for NextStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "planspec {}", self.arguments().join(" "))
    }
}

/// Something that cannot go on by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Waiting {
    /// The execution, or another resource.
    pub key: ResourceKey,
    /// The node, when it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    /// What it waits for, for programs: a [`NodeReason`](super::NodeReason), or `Leased`, `Suspended`, `PlanNotFound`.
    pub reason: String,
    /// What it waits for, in words.
    pub message: String,
    /// What the user may run to let it go on, if there is something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// When it goes on by itself, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

impl Waiting {
    /// A resource as a whole that waits for this.
    #[must_use]
    pub(crate) fn of(key: ResourceKey, reason: impl Into<String>, message: String) -> Self {
        Self { key, node: None, reason: reason.into(), message, command: None, until: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Kind;

    fn key(kind: Kind, namespace: &str, name: &str) -> ResourceKey {
        ResourceKey::new(kind, namespace.parse().unwrap(), name.parse().unwrap())
    }

    fn said(phase: NodePhase, reason: Option<NodeReason>, gate: Option<&ResourceKey>) -> Vec<String> {
        let execution = key(Kind::Execution, "team", "run");
        let node = NodeId::new("review").unwrap();
        let situation = NodeSituation { execution: &execution, node: &node, phase, reason, gate };
        next_steps(&situation).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_approval_names_the_execution_and_the_gate_where_they_are() {
        let near = key(Kind::Gate, "team", "security");
        let far = key(Kind::Gate, "legal", "security");
        let waits = |gate| said(NodePhase::Blocked, Some(NodeReason::AwaitingApproval), gate);
        assert_eq!(
            waits(Some(&near)),
            [
                "planspec approve gate/security --execution run -n team",
                "planspec reject gate/security --execution run -n team"
            ]
        );
        assert_eq!(
            waits(Some(&far)).first().unwrap(),
            "planspec approve gate/security --execution team/execution/run -n legal"
        );
        assert_eq!(waits(None), ["planspec explain run/review -n team"]);
    }

    #[test]
    fn what_goes_on_by_itself_requires_no_step() {
        let execution = key(Kind::Execution, "team", "run");
        let node = NodeId::new("a").unwrap();
        let required = |phase, reason| {
            let situation = NodeSituation { execution: &execution, node: &node, phase, reason, gate: None };
            required_step(&situation).map(|step| step.to_string())
        };
        let blocked = |reason| required(NodePhase::Blocked, Some(reason));
        assert_eq!(blocked(NodeReason::AwaitingProvider), None);
        assert_eq!(blocked(NodeReason::AwaitingEvent), None);
        assert_eq!(required(NodePhase::Pending, Some(NodeReason::RetryBackoff)), None);
        assert_eq!(required(NodePhase::Failed, Some(NodeReason::Timeout)), None);
        assert_eq!(blocked(NodeReason::AwaitingPerson).unwrap(), "planspec complete run/a -n team");
        assert_eq!(blocked(NodeReason::InputRequired).unwrap(), "planspec answer run/a -n team TEXT");
        assert_eq!(blocked(NodeReason::Unbound).unwrap(), "planspec complete run/a -n team");
        assert_eq!(blocked(NodeReason::RunnerLost).unwrap(), "planspec retry run --from a -n team");
    }

    #[test]
    fn a_page_on_the_host_offers_nothing_that_comes_to_the_same() {
        let execution = key(Kind::Execution, "team", "run");
        let gate = key(Kind::Gate, "team", "look");
        let node = NodeId::new("join").unwrap();
        let offered = |reason| {
            let (phase, reason, gate) = (NodePhase::Blocked, Some(reason), Some(&gate));
            step_on_host(&NodeSituation { execution: &execution, node: &node, phase, reason, gate })
        };
        assert_eq!(offered(NodeReason::MergeConflict).unwrap(), "planspec checkout run/join -n team");
        assert_eq!(offered(NodeReason::BranchConflict).unwrap(), "/planspec retry run join");
        assert_eq!(offered(NodeReason::GateClosed), None);
        assert_eq!(offered(NodeReason::AwaitingApproval).unwrap(), "/planspec approve run/look");
        assert_eq!(offered(NodeReason::RunnerLost).unwrap(), "/planspec retry run join");
        assert_eq!(offered(NodeReason::AwaitingProvider), None);
        let closed = said(NodePhase::Blocked, Some(NodeReason::GateClosed), Some(&gate));
        assert_eq!(closed, ["planspec explain run/review -n team"]);
    }

    #[test]
    fn a_failed_node_shows_its_output_only_where_an_attempt_ran() {
        let failed = |reason| said(NodePhase::Failed, Some(reason), None);
        assert_eq!(
            failed(NodeReason::ProviderFailed),
            ["planspec logs run/review -n team", "planspec retry run --from review -n team"]
        );
        assert_eq!(failed(NodeReason::Rejected), ["planspec retry run --from review -n team"]);
        assert!(failed(NodeReason::ChildFailed).is_empty());
    }
}
