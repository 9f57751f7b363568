//! What an expression can see, and how much of it is turned into CEL values: only what the expression mentions.

use std::collections::BTreeMap;

use cel::Context;
use serde_json::Value;

use super::json;
use super::need::Need;
use crate::graph::{Expansion, NodeInstance};
use crate::model::{INDEX, JsonMap, NodeId, NodePhase, NodeResult, NodeStatuses};

/// The variables that expressions see.
pub(crate) const ROOTS: [&str; 6] = ["parameters", "goal", "plan", "execution", "nodes", "inputs"];

/// The fields of `nodes.<id>`.
pub(crate) const NODE_FIELDS: [&str; 4] = ["phase", "outputs", "attempt", "result"];

/// The fields of `nodes.<id>.result`.
pub(crate) const RESULT_FIELDS: [&str; 4] = ["commit", "files", "insertions", "deletions"];

/// What expressions see of a node.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NodeScope<'a> {
    /// Where it stands.
    pub phase: NodePhase,
    /// What it gave; empty unless it succeeded.
    pub outputs: &'a JsonMap,
    /// The number of attempts started so far.
    pub attempt: u32,
    /// What it changed.
    pub result: Option<&'a NodeResult>,
}

/// The nodes of an execution. Every node of the plan must be there, also those that have not started.
pub(crate) trait Nodes {
    /// The node of this id.
    fn node(&self, id: &str) -> Option<NodeScope<'_>>;
    /// Every id.
    fn ids(&self) -> Box<dyn Iterator<Item = &str> + '_>;
}

impl Nodes for NodeStatuses {
    fn node(&self, id: &str) -> Option<NodeScope<'_>> {
        let status = self.get(id)?;
        let result = status.extensions.result.as_deref();
        Some(NodeScope { phase: status.phase, outputs: &status.outputs, attempt: status.attempt, result })
    }

    fn ids(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        Box::new(self.keys().map(NodeId::as_str))
    }
}

/// The values that an expression is evaluated with. `goal` is null for an execution without one.
#[derive(Clone, Copy)]
pub(crate) struct Scope<'a> {
    /// The parameters of the execution.
    pub parameters: &'a JsonMap,
    /// The goal, as [`super::describe`] shows it.
    pub goal: &'a Value,
    /// The plan, as [`super::describe`] shows it.
    pub plan: &'a Value,
    /// The execution, as [`super::describe`] shows it.
    pub execution: &'a Value,
    /// The nodes.
    pub nodes: &'a dyn Nodes,
    /// The rendered inputs of the task, where there are some: in a provider's `config`.
    pub inputs: Option<&'a JsonMap>,
    /// The instances of repeated nodes; none in a plan without any.
    pub instances: Option<InstanceScope<'a>>,
}

/// What expressions see of repeated nodes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InstanceScope<'a> {
    /// Which nodes are instances.
    pub expansion: &'a Expansion,
    /// The instance in which the expression stands.
    pub at: Option<&'a NodeInstance>,
}

impl InstanceScope<'_> {
    /// The item or its number, where a variable means them.
    fn variable(&self, name: &str, need: &Need) -> Option<cel::Value> {
        let at = self.at?;
        let repeated = self.expansion.repeated_of(at)?;
        if name == repeated.item_name {
            return Some(json::to_cel(self.expansion.item(at)?, need));
        }
        (name == INDEX).then(|| cel::Value::Int(i64::try_from(at.index).unwrap_or(i64::MAX)))
    }

    /// What a node gives by all its instances: for each output the list of theirs, null for one that gave none. Computed
    /// and not recorded, since the record of a large node would be twice as large.
    fn lists(&self, nodes: &dyn Nodes, id: &str, instances: &[NodeId]) -> JsonMap {
        let given: Vec<&JsonMap> =
            instances.iter().filter_map(|id| nodes.node(id.as_str())).map(|node| node.outputs).collect();
        let list = |name: &String| {
            let values = given.iter().map(|outputs| outputs.get(name).cloned().unwrap_or(Value::Null));
            (name.clone(), Value::Array(values.collect()))
        };
        match self.expansion.outputs_of(id) {
            // An External declares none, and gives what its address answers.
            [] => given.iter().flat_map(|outputs| outputs.keys()).map(list).collect(),
            declared => declared.iter().map(list).collect(),
        }
    }
}

/// Makes what an expression needs of the scope known to its evaluation.
pub(super) fn fill(context: &mut Context<'_, '_>, scope: &Scope<'_>, needs: &BTreeMap<String, Need>) {
    for (root, need) in needs {
        let value = match root.as_str() {
            "parameters" => json::object_to_cel(scope.parameters, need),
            "goal" => json::to_cel(scope.goal, need),
            "plan" => json::to_cel(scope.plan, need),
            "execution" => json::to_cel(scope.execution, need),
            "nodes" => nodes_to_cel(scope, need),
            "inputs" => match scope.inputs {
                Some(inputs) => json::object_to_cel(inputs, need),
                // Not there at all, rather than null: the error then says that it cannot be used here.
                None => continue,
            },
            name => match scope.instances.and_then(|instances| instances.variable(name, need)) {
                Some(value) => value,
                None => continue,
            },
        };
        context.add_variable_from_value(root.as_str(), value);
    }
}

fn nodes_to_cel(scope: &Scope<'_>, need: &Need) -> cel::Value {
    let one = |id: &str, need: &Need| {
        // Inside of a repeated Group, a node means the one of the same item.
        let beside = scope.instances.and_then(|all| all.expansion.beside(all.at?, id));
        let mut node = scope.nodes.node(beside.map_or(id, NodeId::as_str))?;
        let lists = scope.instances.filter(|_| beside.is_none() && need.field("outputs").is_some());
        let lists = lists.and_then(|all| Some(all.lists(scope.nodes, id, all.expansion.instances_of(id)?)));
        if let Some(lists) = &lists {
            node.outputs = lists;
        }
        Some((id.to_owned(), node_to_cel(node, need)))
    };
    match need {
        Need::All => json::to_map(scope.nodes.ids().filter_map(|id| one(id, need))),
        // A node that the plan does not have is left out, and reading it is an error with its name.
        Need::Fields(ids) => json::to_map(ids.iter().filter_map(|(id, need)| one(id, need))),
    }
}

fn node_to_cel(node: NodeScope<'_>, need: &Need) -> cel::Value {
    let phase = ("phase".to_owned(), cel::Value::from(node.phase.as_str()));
    let attempt = ("attempt".to_owned(), cel::Value::Int(i64::from(node.attempt)));
    // Only outputs can be large, so only they are asked for; the other two are always there.
    let outputs =
        need.field("outputs").map(|need| ("outputs".to_owned(), json::object_to_cel(node.outputs, need)));
    let result = need.field("result").map(|_| ("result".to_owned(), result_to_cel(node.result)));
    json::to_map([phase, attempt].into_iter().chain(outputs).chain(result))
}

/// A node that changed nothing has a result of no files, so that a condition on them needs no other one before it.
fn result_to_cel(result: Option<&NodeResult>) -> cel::Value {
    let count =
        |of: fn(&NodeResult) -> u64| cel::Value::Int(i64::try_from(result.map_or(0, of)).unwrap_or(i64::MAX));
    let commit = result.map_or(cel::Value::Null, |result| cel::Value::from(result.commit.as_str()));
    let counts =
        [count(|result| result.files), count(|result| result.insertions), count(|result| result.deletions)];
    let [name, counted @ ..] = RESULT_FIELDS;
    let fields = [(name, commit)].into_iter().chain(counted.into_iter().zip(counts));
    json::to_map(fields.map(|(name, value)| (name.to_owned(), value)))
}
