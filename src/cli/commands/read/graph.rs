//! `planspec graph`: the graph of a plan, or of an execution with its phases.

use crate::cli::Context;
use crate::cli::desired::{declared_target, unbound};
use crate::cli::error::{CliError, Exit};
use crate::cli::repo_context::{RepoContext, SelectedCommits};
use crate::cli::view::inventory::Inventory;
use crate::cli::view::pinned_plan::pinned_plan;
use crate::cli::view::resolve;
use crate::cli::view::selector::{self, ResourceSelector, nearest};
use crate::model::{
    DerivedExecution, ExecutionSpec, ExecutionStatus, Kind, Node, NodeId, Origin, PlanGraph, PlanSpec,
    Resource, ResourceKey, Spec, StatusRecord, StringMap,
};
use crate::plan::binding::{TaskToBind, binding_for};
use crate::plan::plan_named;
use crate::report::graph::{GraphFormat, GraphView, failures};
use crate::report::object::LiveObject;
use clap::{Args, ValueEnum};

/// Draw the graph of a plan, or of an execution with the phases of its nodes
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  planspec graph sso-implementation-v2
  planspec graph execution/sso-exec-001
  planspec graph execution/sso-exec-001 --failed
  planspec graph execution/parts-1 --open size
  planspec graph plan/sso-implementation-v2 --format svg > plan.svg")]
pub(crate) struct GraphArguments {
    /// PLAN, EXECUTION, plan/NAME or execution/NAME
    #[arg(value_name = "PLAN|EXECUTION")]
    target: String,
    /// Output format of the graph
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
    format: GraphFormatArgument,
    /// Draw the plan that does this node (`plan://`) instead; given again, a node of that one
    #[arg(long, value_name = "NODE")]
    open: Vec<String>,
    /// Draw every node; without it, a graph of more than 100 nodes is drawn folded
    #[arg(long)]
    all: bool,
    /// Of an execution, only what failed: why, the end of its log, and what did not run because of it
    #[arg(long, conflicts_with_all = ["format", "all"])]
    failed: bool,
}

/// The form of the drawing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum GraphFormatArgument {
    /// An indented tree
    #[default]
    Text,
    /// For Graphviz
    Dot,
    /// For Markdown on a Git host
    Mermaid,
    /// An image
    Svg,
}

pub(crate) fn run(arguments: &GraphArguments, context: &mut Context) -> Result<Exit, CliError> {
    let workspace = RepoContext::open(context)?;
    let tips = workspace.tips(context)?;
    let inventory = Inventory::load(&workspace, &tips)?;
    let mut object = find(&inventory, &arguments.target, context)?;
    let mut graph = graph_of(&workspace, &tips, &inventory, &object)?;
    // Downwards, as often as somebody asks: a plan in a plan in a plan.
    for node in &arguments.open {
        object = open(&inventory, &object, &graph, node)?;
        graph = graph_of(&workspace, &tips, &inventory, &object)?;
    }
    let ExecutionGraph { plan, status, .. } = graph;
    let title = format!("{}/{}", object.key.namespace, object.key.name);
    let view = GraphView::new(&title, &plan.graph, status.as_ref(), context.now()).map_err(|errors| {
        let text: Vec<String> = errors.iter().map(ToString::to_string).collect();
        CliError::no(format!("the graph of {title} is broken: {}", text.join("; ")))
    })?;
    if arguments.failed {
        let Some(status) = &status else {
            return Err(CliError::usage("`--failed` needs an execution that has been reconciled"));
        };
        context.out.text(&failures::render(&title, &plan.graph, status))?;
        return Ok(Exit::Done);
    }
    let format = match arguments.format {
        GraphFormatArgument::Text => GraphFormat::Text,
        GraphFormatArgument::Dot => GraphFormat::Dot,
        GraphFormatArgument::Mermaid => GraphFormat::Mermaid,
        GraphFormatArgument::Svg => GraphFormat::Svg,
    };
    let drawing = if arguments.all { view.render_all(format) } else { view.render(format) };
    context.out.text(&drawing)?;
    Ok(Exit::Done)
}

fn graph_of(
    workspace: &RepoContext,
    tips: &SelectedCommits,
    inventory: &Inventory<'_>,
    object: &LiveObject,
) -> Result<ExecutionGraph, CliError> {
    match object.key.kind {
        Kind::Plan => plan_of(object.resource.as_ref(), &object.key, None),
        Kind::Execution => execution_graph(workspace, tips, inventory, object),
        other => Err(CliError::usage(format!("a {} has no graph", other.singular()))),
    }
}

/// Opens a node: what a graph of its own shows.
fn open(
    inventory: &Inventory<'_>,
    object: &LiveObject,
    graph: &ExecutionGraph,
    node: &str,
) -> Result<LiveObject, CliError> {
    let states = graph.status.as_ref().map(|status| &status.node_statuses);
    let state = states.and_then(|states| states.get(node));
    if let (Some(state), Ok(id)) = (state, NodeId::new(node)) {
        for key in DerivedExecution::keys(&object.key, &id, state.attempt) {
            let child = inventory.object(&key)?;
            // By its record: an Execution of that name which somebody declared works for nothing here.
            let made = |child: &LiveObject| {
                child.record.as_ref().is_some_and(|record| works_for(record, object, (&id, state.attempt)))
            };
            if let Some(made) = child.filter(made) {
                return Ok(made);
            }
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

fn works_for(record: &StatusRecord, object: &LiveObject, (node, attempt): (&NodeId, u32)) -> bool {
    let uid = object.record.as_ref().map(|record| record.metadata.uid.as_str());
    let made = DerivedExecution::of(record);
    made.is_some_and(|made| {
        Some(made.owner.uid.as_str()) == uid && made.origin == Origin::Node(node.clone(), attempt)
    })
}

/// The provider that a node would have now, by the Bindings as they are declared.
fn provider_of(
    inventory: &Inventory<'_>,
    object: &LiveObject,
    graph: &ExecutionGraph,
    node: &Node,
) -> Result<Option<String>, CliError> {
    let spec: Option<ExecutionSpec> = match object.resource.as_ref().map(|resource| &resource.spec) {
        Some(Spec::Execution(spec)) => Some(spec.clone()),
        _ => unbound(&graph.key),
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
    let target = declared_target(&task, |_| resource.map(|resource| &resource.spec));
    Ok(target.map(|target| target.provider))
}

/// A bare name is a plan or an execution, whichever there is.
fn find(inventory: &Inventory<'_>, argument: &str, context: &Context) -> Result<LiveObject, CliError> {
    if argument.contains('/') {
        return inventory.one(&selector::one(argument, None)?, context);
    }
    let plan = selector::one(argument, Some(Kind::Plan))?;
    let execution = ResourceSelector { kind: Some(Kind::Execution), ..plan.clone() };
    let namespace = context.options.namespace.as_ref();
    let plans = inventory.keys(&plan, namespace)?;
    // Both are searched before one is taken, so that a name that both have is noticed.
    let executions = inventory.keys(&execution, namespace)?;
    match (plans.as_slice(), executions.as_slice(), &plan.name) {
        ([_, ..], [_, ..], Some(name)) => {
            Err(resolve::ambiguous(name, &plans.iter().chain(&executions).cloned().collect::<Vec<_>>()))
        }
        ([], [_, ..], _) => inventory.one(&execution, context),
        _ => inventory.one(&plan, context),
    }
}

/// The plan that an execution runs, and the status of the execution.
pub(crate) struct ExecutionGraph {
    /// The plan that is pinned; before that, the one that the execution names.
    pub(crate) key: ResourceKey,
    /// Its labels, which rules of Bindings may select by.
    pub(crate) labels: StringMap,
    /// Its spec as of the pin.
    pub(crate) plan: PlanSpec,
    /// Its graph, without the instances of repeated nodes.
    pub(crate) declared: PlanGraph,
    /// The status of the execution.
    pub(crate) status: Option<ExecutionStatus>,
}

fn plan_of(
    resource: Option<&Resource>,
    key: &ResourceKey,
    status: Option<ExecutionStatus>,
) -> Result<ExecutionGraph, CliError> {
    let no = || {
        CliError::no(format!("the manifest of {key} is missing or has errors"))
            .hint("`planspec validate` lists the problems")
    };
    let resource = resource.ok_or_else(no)?;
    let Spec::Plan(plan) = &resource.spec else { return Err(no()) };
    let key = key.clone();
    let labels = resource.metadata.labels.clone();
    let declared = plan.graph.clone();
    Ok(ExecutionGraph { key, labels, plan: plan.clone(), declared, status })
}

/// The graph that an execution is pinned to; before it is, the graph of the plan that it names.
pub(crate) fn execution_graph(
    workspace: &RepoContext,
    tips: &SelectedCommits,
    inventory: &Inventory<'_>,
    object: &LiveObject,
) -> Result<ExecutionGraph, CliError> {
    let status = object.record.as_ref().and_then(|record| record.execution()).cloned();
    if let Some(execution) = &status
        && let Some(pin) = &execution.extensions.pinned
        && inventory.status().pinned(&workspace.repo, &object.key)?.plan.is_some()
    {
        let pinned = pinned_plan(&workspace.repo, &tips.config, inventory.status(), &object.key, execution)?;
        let key = pin.plan.clone();
        // Where a pin exists, the plan as it is now would be another graph than the one that runs
        // (Invariant 9).
        return plan_of(pinned.as_ref(), &key, status);
    }
    // Before the pin, this is the plan that the next reconcile would pin.
    let Some(Spec::Execution(spec)) = object.resource.as_ref().map(|resource| &resource.spec) else {
        return Err(CliError::no(format!("{} has no graph yet", object.key)));
    };
    let key = spec.plan_ref.key(Kind::Plan, &object.key.namespace);
    let plan = inventory.object(&key)?;
    plan_of(plan.as_ref().and_then(|plan| plan.resource.as_ref()), &key, status)
}
