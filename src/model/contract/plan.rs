//! Plan: how a goal is reached, a graph of Task, Gate, Group and External nodes.

use std::collections::{BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::{
    AcceptanceCriterion, BindingTarget, CapabilityParameter, Condition, ContextItem, Digest, Duration,
    ExternalRef, ForEach, JsonMap, Kind, Matrix, Name, NodeId, NodeReason, Reference, ResourceKey, StringMap,
    WorkBudget,
};

/// The spec of a Plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanSpec {
    /// What the plan does, as text.
    pub description: String,
    /// The nodes and edges.
    pub graph: PlanGraph,
    /// The goal that the plan serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goal_ref: Option<Reference>,
    /// The series of plans that this is a version of; together with `version`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub series: Option<String>,
    /// The version within the series, compared numerically where it holds numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The plan that this one replaces; at most one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub supersedes: Vec<Reference>,
    /// The digest of `graph` as its author computed it; checked when given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub graph_digest: Option<Digest>,
    /// Material for whoever does the work.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub context: Vec<ContextItem>,
    /// What an Execution gives. A plan that declares none takes any, as the published contract has it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<CapabilityParameter>,
    /// What an Execution of the plan gives to the node that it works for: texts with expressions, by name.
    #[serde(default, skip_serializing_if = "JsonMap::is_empty")]
    pub outputs: JsonMap,
}

impl PlanSpec {
    /// The digest of the graph: what an approval is bound to.
    #[must_use]
    pub fn digest(&self) -> Digest {
        // Serialising these types to a JSON value cannot fail: all keys are strings.
        Digest::of_value(&serde_json::to_value(&self.graph).unwrap_or(Value::Null))
    }
}

/// The nodes and edges of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlanGraph {
    /// The nodes; at least one.
    pub nodes: Vec<Node>,
    /// The edges.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub edges: Vec<Edge>,
}

impl PlanGraph {
    /// The node of this id, or the one that it is an instance of: `load` for `load-3`.
    #[must_use]
    pub fn declared(&self, id: &NodeId) -> Option<&Node> {
        declared_among(id, |id| self.nodes.iter().find(|other| other.id.as_str() == id))
    }

    /// Whether an id is that of an instance.
    #[must_use]
    pub fn is_instance(&self, id: &NodeId) -> bool {
        self.declared(id).is_some_and(|node| node.id != *id)
    }

    /// The Gate that a node waits at; `home` is the namespace of the plan, where references without one point.
    #[must_use]
    pub fn gate_of(&self, node: &NodeId, home: &Name) -> Option<ResourceKey> {
        let node = self.declared(node)?;
        Some(node.gate_ref.as_ref()?.key(Kind::Gate, home))
    }

    /// The Gate whose reviewers a node waits for: its own, or the nearest one before it where that has to be approved again.
    #[must_use]
    pub fn asked_gate(&self, node: &NodeId, reason: Option<NodeReason>, home: &Name) -> Option<ResourceKey> {
        // Only for this reason: a search for each node of a large plan would take the square of its size.
        if reason != Some(NodeReason::ApprovalVoid) {
            return self.gate_of(node, home);
        }
        let mut open = VecDeque::from([node]);
        let mut seen = BTreeSet::new();
        while let Some(id) = open.pop_front() {
            if !seen.insert(id) {
                continue;
            }
            let Some(node) = self.declared(id) else { continue };
            let id = &node.id;
            if let Some(gate) = &node.gate_ref {
                return Some(gate.key(Kind::Gate, home));
            }
            let edges = self.edges.iter().filter(|edge| edge.to == *id).map(|edge| &edge.from);
            open.extend(edges.chain(&node.depends_on).chain(&node.children));
        }
        None
    }
}

/// The node of this id, or the one that it is an instance of, by a search for one of exactly this id.
pub(super) fn declared_among<'n>(id: &NodeId, find: impl Fn(&str) -> Option<&'n Node>) -> Option<&'n Node> {
    // `validate` refuses plans in which both could be meant.
    let of_instance = || {
        let (of, number) = id.as_str().rsplit_once('-')?;
        number.bytes().all(|byte| byte.is_ascii_digit()).then(|| find(of)).flatten()
    };
    find(id.as_str()).or_else(of_instance)
}

/// A node. Which fields may be present depends on `kind`; the schema says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    /// The id, unique within the plan.
    pub id: NodeId,
    /// What the node is.
    pub kind: NodeKind,
    /// A name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it does, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Material for whoever does the work.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub context: Vec<ContextItem>,
    /// Nodes that must succeed first: hard edges that need not be repeated in `edges`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<NodeId>,
    /// How long one attempt may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// Task: what all of its attempts may use up before a person is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<WorkBudget>,
    /// A CEL condition; the node is skipped when it is false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// Not a Group: it runs after everything else, whatever came of that, also after a cancellation.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub finally: bool,
    /// Task or Group: it is run once for each item of a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_each: Option<ForEach>,
    /// Task or Group: it is run once for each combination of some lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matrix: Option<Matrix>,
    /// Annotations such as `planspec.io/repeatable`, on the node itself.
    #[serde(default, skip_serializing_if = "StringMap::is_empty")]
    pub annotations: StringMap,
    /// Task: what the provider must be able to do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capability_refs: Vec<Reference>,
    /// Task: a local command of its own, without a Binding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunSpec>,
    /// Task: what it is given.
    #[serde(default, skip_serializing_if = "JsonMap::is_empty")]
    pub inputs: JsonMap,
    /// Task: the names of what it gives.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<String>,
    /// Task: what is checked after the work.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub acceptance_criteria: Vec<AcceptanceCriterion>,
    /// Task: how many more attempts a failure is given, 0 to 10.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub retries: u32,
    /// Task: a hint for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimated_effort: Option<Effort>,
    /// Gate: the Gate resource to wait for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate_ref: Option<Reference>,
    /// Group: the nodes that it sums up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<NodeId>,
    /// Group: a hint for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<GroupMode>,
    /// External: what to wait for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_ref: Option<ExternalRef>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Node {
    /// Annotation: `"false"` on a node whose work must never be started twice.
    pub const REPEATABLE: &'static str = "planspec.io/repeatable";

    /// Annotation: `"false"` on a node that no later execution takes over.
    pub const REUSE: &'static str = "planspec.io/reuse";

    /// Whether a later execution may take over what the node did.
    #[must_use]
    pub fn reusable(&self) -> bool {
        // Only the exact word forbids it: a typing error leaves the default in force. What cleans up after this run was
        // never done by an earlier one.
        !self.finally && self.annotations.get(Self::REUSE).is_none_or(|value| value != "false")
    }

    /// Whether the node may be started again after its runner was lost.
    #[must_use]
    pub fn repeatable(&self) -> bool {
        // Repeatable unless the author says otherwise: runners are lost often in CI, and each would leave a node
        // waiting for a person.
        self.annotations.get(Self::REPEATABLE).is_none_or(|value| value != "false")
    }
}

/// The local command that a Task brings along.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RunSpec {
    /// A line for the shell.
    Line(String),
    /// The settings of a local command, as a Binding would have them in its `config`.
    Settings(JsonMap),
}

impl RunSpec {
    /// The provider of such commands. `providers.allow` and `providers.limits` know them by this name.
    pub const PROVIDER: &'static str = "tool://run";

    /// What a Binding would name for the command.
    #[must_use]
    pub fn target(&self) -> BindingTarget {
        let config = match self {
            // Said here and not guessed from the text: a line of one word, such as `make`, is a line as well.
            Self::Line(line) => JsonMap::from_iter([
                ("command".to_owned(), line.as_str().into()),
                ("shell".to_owned(), true.into()),
            ]),
            Self::Settings(settings) => settings.clone(),
        };
        BindingTarget { provider: Self::PROVIDER.to_owned(), config }
    }

    /// The command as it is written.
    #[must_use]
    pub fn command(&self) -> &str {
        match self {
            Self::Line(line) => line,
            Self::Settings(settings) => settings.get("command").and_then(Value::as_str).unwrap_or_default(),
        }
    }
}

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum NodeKind {
    /// Work for a provider.
    Task,
    /// Waits for people to agree.
    Gate,
    /// Sums up other nodes.
    Group,
    /// Waits for something outside.
    External,
}

/// A hint on how much work a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the names say it")]
pub enum Effort {
    Small,
    Medium,
    Large,
    Xlarge,
}

/// A hint on how the children of a group relate; it adds no edges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GroupMode {
    /// Side by side.
    Parallel,
    /// One after the other.
    Sequence,
}

/// An edge.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Edge {
    /// The node that goes first.
    pub from: NodeId,
    /// The node that waits.
    pub to: NodeId,
    /// What the target waits for.
    #[serde(default, rename = "type")]
    pub kind: EdgeType,
}

/// What the target of an edge waits for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EdgeType {
    /// That the source succeeded.
    #[default]
    Hard,
    /// That the source ended, whatever the outcome.
    Soft,
}

/// The phase of a Plan.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PlanPhase {
    /// It can be run.
    #[default]
    Ready,
    /// It cannot; the condition `Valid` says why.
    Invalid,
}

/// The status of a Plan.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanStatus {
    /// Its phase.
    pub phase: PlanPhase,
    /// The number of nodes.
    pub node_count: u32,
    /// Observations; `Valid` is always there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The generation of the spec that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<u64>,
}
