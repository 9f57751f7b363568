//! What does the work of a node that a plan does: its Execution, or before there is one the plan that the node is bound to.

use serde_json::json;

use crate::cli::commands::read::graph::ExecutionGraph;
use crate::cli::error::CliError;
use crate::cli::view::inventory::Inventory;
use crate::cli::view::selector::nearest;
use crate::model::{ExecutionSpec, Kind, Node, NodeId, ResourceKey, Spec};
use crate::plan::binding::{BindingView, Resolution, TaskToBind, binding_for, resolve};
use crate::plan::{child_key, plan_named};
use crate::report::object::LiveObject;

/// Opens a node: what a graph of its own shows.
pub(crate) fn open(
    inventory: &Inventory<'_>,
    object: &LiveObject,
    graph: &ExecutionGraph,
    node: &str,
) -> Result<LiveObject, CliError> {
    let states = graph.status.as_ref().map(|status| &status.node_statuses);
    let state = states.and_then(|states| states.get(node));
    if let (Some(state), Ok(id)) = (state, NodeId::new(node)) {
        let child = inventory.object(&child_key(&object.key, &id, state.attempt))?;
        // By its record: an Execution of that name which somebody declared works for nothing here.
        let made = child.filter(|child| child.record.as_ref().is_some_and(|record| is_owned(record, object)));
        if let Some(made) = made {
            return Ok(made);
        }
    }
    let nodes = &graph.plan.graph.nodes;
    // An instance is bound like the node that is repeated.
    let declared = nodes.iter().find(|declared| declared.id.as_str() == node).or_else(|| {
        let id = NodeId::new(node).ok()?;
        state.and_then(|_| graph.declared.declared(&id))
    });
    let Some(declared) = declared else {
        let error = CliError::no(format!("{} has no node `{node}`", object.key));
        return Err(match nearest(node, nodes.iter().map(|node| node.id.as_str())) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error,
        });
    };
    let provider = provider_of(inventory, object, graph, declared)?;
    let Some(Ok(name)) = provider.as_deref().and_then(plan_named) else {
        let by = provider.map_or_else(|| "by nothing yet".to_owned(), |provider| format!("by {provider}"));
        let error = CliError::no(format!("no plan does node `{node}` of {}; it is done {by}", object.key));
        return Err(error.hint(format!("`planspec explain {}/{node}` says why", object.key.name)));
    };
    let plan = ResourceKey::new(Kind::Plan, object.key.namespace.clone(), name);
    let missing = || CliError::no(format!("there is no {plan}, which does node `{node}` of {}", object.key));
    inventory.object(&plan)?.ok_or_else(missing)
}

fn is_owned(record: &crate::model::StatusRecord, object: &LiveObject) -> bool {
    let owner = record.metadata.owner_references.first();
    let uid = object.record.as_ref().map(|record| record.metadata.uid.as_str());
    owner.is_some_and(|owner| Some(owner.uid.as_str()) == uid)
}

/// The provider that a node would have now, by the Bindings as they are declared.
fn provider_of(
    inventory: &Inventory<'_>,
    object: &LiveObject,
    graph: &ExecutionGraph,
    node: &Node,
) -> Result<Option<String>, CliError> {
    // Of a plan alone: as an Execution that names no Binding, which `planspec run` makes.
    let unbound = || serde_json::from_value(json!({ "planRef": { "name": graph.key.name } })).ok();
    let spec: Option<ExecutionSpec> = match object.resource.as_ref().map(|resource| &resource.spec) {
        Some(Spec::Execution(spec)) => Some(spec.clone()),
        _ => unbound(),
    };
    let Some(spec) = spec else { return Ok(None) };
    let task = TaskToBind {
        node,
        plan: &graph.key,
        plan_labels: &graph.labels,
        execution: &spec,
        namespace: &object.key.namespace,
    };
    let binding = binding_for(&task).map(|key| inventory.object(&key)).transpose()?.flatten();
    let resource = binding.as_ref().and_then(|binding| binding.resource.as_ref());
    let found = resolve(&task, |_| match resource.map(|resource| &resource.spec) {
        Some(Spec::Binding(spec)) => Some(BindingView { spec, generation: 1 }),
        _ => None,
    });
    Ok(match found.resolution {
        Resolution::Bound { target, .. } | Resolution::Own { target } => Some(target.provider),
        Resolution::Unbound { .. } | Resolution::Conflict { .. } => None,
    })
}
