//! Which gate, node and Execution a command means; where that is not clear, the line that says what can be written.

use crate::cli::Context;
use crate::cli::ci::authority::authorize::{Permission, gates_of, owners_at};
use crate::cli::ci::comment::command::GateSelector;
use crate::cli::ci::pass_view::PassView;
use crate::cli::error::CliError;
use crate::cli::view::inventory::Inventory;
use crate::cli::view::selector::{ExecutionTarget, ResourceSelector};
use crate::markup::code;
use crate::model::{FileOwners, GateSpec, Kind, NodeId, NodeKind, NodePhase, PlanGraph, ResourceKey};

/// How many choices are listed.
const MOST: usize = 10;

/// A gate, and the Execution that it is decided for where that was said.
pub(crate) struct ResolvedGate {
    pub(crate) gate: ResourceKey,
    /// Its spec, where it has a manifest.
    pub(crate) spec: Option<GateSpec>,
    /// Who owns the files that it shows.
    owners: Option<FileOwners>,
    pub(crate) execution: Option<ResourceKey>,
}

impl ResolvedGate {
    /// What somebody wants who answers it.
    pub(crate) fn wish(&self) -> Permission<'_> {
        Permission::Decide(self.spec.as_ref(), self.owners.as_ref())
    }
}

/// The gate that somebody means, which needs no manifest.
pub(crate) fn gate(
    verb: &str,
    target: &GateSelector,
    view: &PassView,
    inventory: &Inventory<'_>,
    context: &Context,
) -> Result<ResolvedGate, CliError> {
    let (gate, execution) = match target {
        GateSelector::Named(target) => match inventory.find(target, context)? {
            Some(found) => (found.key, None),
            None => match execution_of_name(target, inventory, context)? {
                Some(key) => return Err(meant_gate(verb, &key, view)?),
                None => (inventory.one(target, context)?.key, None),
            },
        },
        GateSelector::Execution(target) => {
            return Err(meant_gate(verb, &execution(target, inventory, context)?, view)?);
        }
        GateSelector::Of(target, id) => {
            let key = execution(target, inventory, context)?;
            let Some(gate) = gate_of(view, &key, id)? else {
                return Err(CliError::no(format!("{key} has no gate `{id}`")));
            };
            (gate, Some(key))
        }
    };
    gate_in_force(view, inventory, &gate, execution)
}

/// The Execution that has the name which was given for a gate, if one does.
fn execution_of_name(
    target: &ResourceSelector,
    inventory: &Inventory<'_>,
    context: &Context,
) -> Result<Option<ResourceKey>, CliError> {
    let target = ResourceSelector { kind: Some(Kind::Execution), ..target.clone() };
    Ok(inventory.find(&target, context)?.map(|found| found.key))
}

/// What somebody is told who named an Execution: a decision is about one gate, and never a guess.
fn meant_gate(verb: &str, execution: &ResourceKey, view: &PassView) -> Result<CliError, CliError> {
    let gates = gates_of(view, execution)?;
    let name = &execution.name;
    let error = CliError::no(match gates.is_empty() {
        true => format!("`{name}` is an Execution, and waits at no gate"),
        false => format!("`{name}` is an Execution, not a gate"),
    });
    let written: Vec<String> =
        gates.iter().take(MOST).map(|gate| format!("`/planspec {verb} {name}/{}`", gate.name)).collect();
    Ok(match written.is_empty() {
        true => error,
        false => error.hint(format!("did you mean {}?", written.join(" or "))),
    })
}

/// A gate with the spec that decides.
pub(crate) fn gate_in_force(
    view: &PassView,
    inventory: &Inventory<'_>,
    gate: &ResourceKey,
    execution: Option<ResourceKey>,
) -> Result<ResolvedGate, CliError> {
    // Of several declarations none is in force (Invariant 11): the engine refuses the reviewers of both, and so does this.
    let object = if inventory.is_duplicate(gate) { None } else { inventory.object(gate)? };
    let declared = object.and_then(|object| object.resource).map(|resource| resource.spec);
    let spec = view.gate_in_force(gate, declared.as_ref())?;
    let owners = owners_at(view, (gate, spec.as_ref()), execution.as_ref())?;
    Ok(ResolvedGate { gate: gate.clone(), spec, owners, execution })
}

/// The Execution that somebody means.
pub(crate) fn execution(
    target: &ExecutionTarget,
    inventory: &Inventory<'_>,
    context: &Context,
) -> Result<ResourceKey, CliError> {
    Ok(inventory.one(&target.clone().into(), context)?.key)
}

/// The gate of an Execution's graph with this name, else that of the node with this id.
fn gate_of(view: &PassView, key: &ResourceKey, id: &NodeId) -> Result<Option<ResourceKey>, CliError> {
    let Some(record) = view.record(key)? else { return Ok(None) };
    // References to gates are relative to the namespace of the Plan.
    let pin = record.execution().and_then(|status| status.extensions.pinned.as_ref());
    let home = pin.map_or(&key.namespace, |pin| &pin.plan.namespace);
    let graph = view.graph(key)?;
    let nodes = graph.iter().flat_map(|graph| &graph.nodes).filter(|node| node.kind == NodeKind::Gate);
    let gates: Vec<_> =
        nodes.filter_map(|node| Some((&node.id, node.gate_ref.as_ref()?.key(Kind::Gate, home)))).collect();
    // By name first: a node that stands for another gate may have this very id.
    let named = gates.iter().find(|(_, gate)| gate.name.as_str() == id.as_str());
    let found = named.or_else(|| gates.iter().find(|(node, _)| *node == id));
    Ok(found.map(|(_, gate)| gate.clone()))
}

/// The Executions that wait at a node of this id for somebody who says that it is done.
pub(crate) fn waiting_at_node(view: &PassView, id: &NodeId) -> Result<Vec<ResourceKey>, CliError> {
    let mut waiting = Vec::new();
    for key in view.executions()? {
        let Some(record) = view.record(&key)? else { continue };
        let Some(status) = record.execution().filter(|status| !status.phase.is_terminal()) else { continue };
        let blocked = status.node_statuses.get(id).is_some_and(|node| node.phase == NodePhase::Blocked);
        // Reading a graph is what costs time here, and few Executions wait at such a node.
        let graph = if blocked { view.graph(&key)? } else { None };
        let is_task =
            |graph: &PlanGraph| graph.nodes.iter().any(|node| node.id == *id && node.kind != NodeKind::Gate);
        if graph.as_ref().is_some_and(is_task) {
            waiting.push(key);
        }
    }
    Ok(waiting)
}

/// The line that lists what can be written, as Markdown: `verb EXECUTION/LAST` for each of several.
pub(crate) fn choices(verb: &str, executions: &[ResourceKey], last: &str) -> String {
    let unique = |key: &ResourceKey| executions.iter().filter(|other| other.name == key.name).count() == 1;
    let written = executions.iter().take(MOST).map(|key| {
        let place = if unique(key) {
            key.name.to_string()
        } else {
            format!("{}/execution/{}", key.namespace, key.name)
        };
        code(&format!("/planspec {verb} {place}/{last}"), 300)
    });
    let more = executions.len().saturating_sub(MOST);
    let more = if more > 0 { format!(", or one of {more} more") } else { String::new() };
    format!(
        "Several Executions are waiting there. Name one: {}{more}",
        written.collect::<Vec<_>>().join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(namespace: &str, name: &str) -> ResourceKey {
        ResourceKey::new(Kind::Execution, namespace.parse().unwrap(), name.parse().unwrap())
    }

    #[test]
    fn choices_are_one_line_that_can_be_copied_and_has_an_end() {
        let some = [key("team", "a"), key("team", "b"), key("other", "b")];
        assert_eq!(
            choices("approve", &some, "look"),
            "Several Executions are waiting there. Name one: `/planspec approve a/look`, `/planspec approve team/execution/b/look`, \
             `/planspec approve other/execution/b/look`"
        );
        let many: Vec<ResourceKey> = (0..25).map(|index| key("team", &format!("e{index}"))).collect();
        let line = choices("complete", &many, "n");
        assert!(line.ends_with(", or one of 15 more") && !line.contains('\n'), "{line}");
    }
}
