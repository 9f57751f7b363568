//! `planspec explain`: which Binding rule does the work of a node and why, and what the node waits for.

use clap::Args;
use serde_json::{Value, json};

use crate::cli::Context;
use crate::cli::commands::read::explain_binding::{bindings, outcome};
use crate::cli::commands::read::graph::{ExecutionGraph, execution_graph};
use crate::cli::error::{CliError, Exit};
use crate::cli::output_format::OutputFormat;
use crate::cli::repo_context::{RepoContext, SelectedCommits};
use crate::cli::view::inventory::Inventory;
use crate::cli::view::selector::{self, ResourceSelector, nearest};
use crate::graph::Topology;
use crate::markup::grouped;
use crate::model::{
    BindingSpec, ExecutionSpec, ExecutionStatus, Kind, NextStep, Node, NodeKind, NodePhase, NodeSituation,
    NodeStatus, ResourceKey, Spec, next_steps,
};
use crate::plan::binding::{
    BindingExplanation, BindingView, Resolution, TaskToBind, binding_for, resolve, without_binding,
};
use crate::plan::explain::{ConcurrencyLimits, NodeWait, waits};
use crate::report::object::LiveObject;
use crate::report::{age, text};
use crate::run::expanded;

/// How many nodes of an execution are explained at once.
const EXPLAINED: usize = 10;

/// Explain the state of a node: its Binding rules, and what it waits for
///
/// Of an execution without a node, those are explained that keep it from going on: what failed, and what waits for somebody.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  planspec explain sso-exec-001
  planspec explain sso-exec-001/implement
  planspec explain sso-exec-001/review -n team-platform -o json")]
pub(crate) struct ExplainArguments {
    /// The execution, or one of its nodes
    #[arg(value_name = "EXECUTION[/NODE]")]
    target: String,
}

/// Everything that is said of a node.
struct NodeExplanation {
    key: ResourceKey,
    node: Node,
    state: NodeStatus,
    waits: Vec<NodeWait>,
    /// What a person can do about it.
    next: Vec<NextStep>,
    /// Whether its work was taken over from an earlier execution, and why not.
    reuse: Option<String>,
    binding: Option<(BindingExplanation, &'static str, Option<BindingSpec>)>,
}

pub(crate) fn run(arguments: &ExplainArguments, context: &mut Context) -> Result<Exit, CliError> {
    let format = context.options.format()?;
    let wanted = selector::execution(as_execution(&arguments.target)?)?;
    let id = wanted.node.clone();
    let workspace = RepoContext::open(context)?;
    let tips = workspace.tips(context)?;
    let inventory = Inventory::load(&workspace, &tips)?;
    let object = inventory.one(&wanted.into(), context)?;
    let mut graph = execution_graph(&workspace, &tips, &inventory, &object)?;
    // What waits may be an instance, which only the record knows.
    if let Some(instances) = graph.status.as_ref().and_then(|status| expanded(&graph.plan.graph, status)) {
        graph.plan.graph = instances;
    }
    let Some(id) = id else {
        return explain_execution(&inventory, &tips, &object, &graph, context);
    };
    let Some(node) = graph.plan.graph.nodes.iter().find(|node| node.id == id) else {
        let error = CliError::no(format!("{} has no node `{id}`", object.key));
        let ids = graph.plan.graph.nodes.iter().map(|node| node.id.as_str());
        return Err(match nearest(id.as_str(), ids) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error,
        });
    };
    let account = account(&inventory, &tips, &object, &graph, node, context)?;
    match format {
        OutputFormat::Json => context.out.json(&account.to_value())?,
        OutputFormat::Yaml => context.out.yaml(&account.to_value())?,
        _ => context.out.text(&account.render())?,
    }
    Ok(Exit::Done)
}

/// The argument, unless it means the manual of a kind's fields, as it does for `kubectl`: `explain plan`, `explain plan.spec`.
fn as_execution(argument: &str) -> Result<&str, CliError> {
    let word = argument.split('.').next().unwrap_or(argument);
    let Ok(kind) = word.parse::<Kind>() else { return Ok(argument) };
    if argument.contains('/') {
        return Ok(argument);
    }
    let hint = format!("`planspec schema {}` lists the fields of that kind", kind.singular());
    Err(CliError::usage(format!("`{argument}` does not name an execution or a node")).hint(hint))
}

/// Explains what keeps an execution from going on.
fn explain_execution(
    inventory: &Inventory<'_>,
    tips: &SelectedCommits,
    object: &LiveObject,
    graph: &ExecutionGraph,
    context: &mut Context,
) -> Result<Exit, CliError> {
    let format = context.options.format()?;
    let status = graph.status.clone().unwrap_or_default();
    let in_phase = |node: &&Node, phase: NodePhase| {
        let state = status.node_statuses.get(&node.id);
        // A group says nothing that its children do not say.
        state.is_some_and(|state| state.phase == phase && !state.is_summary())
    };
    let nodes = || graph.plan.graph.nodes.iter();
    let mut stuck: Vec<&Node> = nodes().filter(|node| in_phase(node, NodePhase::Failed)).collect();
    stuck.extend(nodes().filter(|node| in_phase(node, NodePhase::Blocked)));
    let mut accounts = Vec::new();
    for node in stuck.iter().take(EXPLAINED) {
        accounts.push(account(inventory, tips, object, graph, node, context)?);
    }
    let key = &object.key;
    let value = || {
        let nodes: Vec<Value> = accounts.iter().map(NodeExplanation::to_value).collect();
        json!({ "execution": key.to_string(), "phase": status.phase, "message": status.message, "nodes": nodes })
    };
    match format {
        OutputFormat::Json => context.out.json(&value())?,
        OutputFormat::Yaml => context.out.yaml(&value())?,
        _ => {
            let mut page = format!("{}/{} is {}", key.namespace, key.name, status.phase);
            // The nodes below say it in full.
            match status.message.as_deref().filter(|_| accounts.is_empty()) {
                Some(why) => page.push_str(&format!(": {}\n", text::line(why))),
                None if accounts.is_empty() => page.push_str("; nothing failed or waits for anybody\n"),
                None => page.push('\n'),
            }
            for account in &accounts {
                page.push_str(&format!("\n{}", account.render()));
            }
            if let Some(more) = stuck.len().checked_sub(EXPLAINED).filter(|more| *more > 0) {
                page.push_str(&format!("\n… and {} more nodes\n", grouped(more)));
            }
            context.out.text(&page)?;
        }
    }
    Ok(Exit::Done)
}

/// The repeated node that a node is an instance of, and how many of those run at once.
fn instance_limit<'g>(graph: &'g ExecutionGraph, node: &Node) -> Option<(&'g str, u32)> {
    let declared = graph.declared.declared(&node.id).filter(|declared| declared.id != node.id)?;
    let is_root = |root: &&Node| root.id == declared.id || root.children.contains(&declared.id);
    let root = graph.declared.nodes.iter().filter(|root| root.is_repeated()).find(is_root)?;
    Some((root.id.as_str(), root.max_parallel()?))
}

fn account(
    inventory: &Inventory<'_>,
    tips: &SelectedCommits,
    object: &LiveObject,
    graph: &ExecutionGraph,
    node: &Node,
    context: &Context,
) -> Result<NodeExplanation, CliError> {
    let topology = Topology::build(&graph.plan.graph)
        .map_err(|_| CliError::no(format!("the graph of {} is broken", object.key)))?;
    let execution = match object.resource.as_ref().map(|resource| &resource.spec) {
        Some(Spec::Execution(spec)) => Some(spec),
        _ => None,
    };
    // Only tasks have a provider.
    let binding = match execution.filter(|_| node.kind == NodeKind::Task) {
        Some(spec) => Some(explained(inventory, object, graph, node, spec)?),
        None => None,
    };
    let status = graph.status.clone().unwrap_or_default();
    let provider = binding.as_ref().and_then(|(explained, _, _)| match &explained.resolution {
        Resolution::Bound { target, .. } => Some(target.provider.as_str()),
        _ => None,
    });
    let ix = topology.find(node.id.as_str()).unwrap_or_default();
    let bounds = ConcurrencyLimits {
        provider,
        providers: &tips.config.providers.limits,
        instances: instance_limit(graph, node),
        namespace: namespace_quota(inventory, tips, &object.key)?,
    };
    let waits = waits((&graph.plan.graph, &topology), ix, &status, bounds, context.now());
    let key = object.key.clone();
    let state = state_of(&status, node);
    let reuse = status.extensions.reuse.as_ref().and_then(|reuse| reuse.of(&node.id));
    let gate = graph.plan.graph.asked_gate(&node.id, state.extensions.reason, &graph.key.namespace);
    let mut next = next_steps(&NodeSituation {
        execution: &key,
        node: &node.id,
        phase: state.phase,
        reason: state.extensions.reason,
        gate: gate.as_ref(),
    });
    // This page is what an explaining step leads to.
    next.retain(|step| !step.explains());
    Ok(NodeExplanation { key, node: node.clone(), state, waits, next, reuse, binding })
}

/// The namespace, how many attempts are under way in it, and how many may be.
fn namespace_quota<'k>(
    inventory: &Inventory<'_>,
    tips: &SelectedCommits,
    key: &'k ResourceKey,
) -> Result<Option<(&'k str, u32, u32)>, CliError> {
    let namespace = key.namespace.as_str();
    // Without a quota, no other record has to be read.
    let Some(limit) = tips.config.limits.of_namespace(namespace) else { return Ok(None) };
    let all = ResourceSelector { namespace: None, kind: Some(Kind::Execution), name: None };
    let mut under_way = 0u32;
    // Of all runners together: the quota is the namespace's.
    for key in inventory.keys(&all, Some(&key.namespace))? {
        let object = inventory.object(&key)?;
        let status = object.as_ref().and_then(|object| object.record.as_ref()?.execution());
        let nodes = status.into_iter().flat_map(|status| status.node_statuses.values());
        let running = nodes.filter(|node| node.is_under_way()).count();
        under_way = under_way.saturating_add(u32::try_from(running).unwrap_or(u32::MAX));
    }
    Ok(Some((namespace, under_way, limit)))
}

fn state_of(status: &ExecutionStatus, node: &Node) -> NodeStatus {
    status.node_statuses.get(&node.id).cloned().unwrap_or_default()
}

/// What the rules resolve to now, and how the Binding was chosen.
fn explained(
    inventory: &Inventory<'_>,
    object: &LiveObject,
    graph: &ExecutionGraph,
    node: &Node,
    spec: &ExecutionSpec,
) -> Result<(BindingExplanation, &'static str, Option<BindingSpec>), CliError> {
    let task = TaskToBind {
        node,
        plan: &graph.key,
        plan_labels: &graph.labels,
        execution: spec,
        namespace: &object.key.namespace,
    };
    // Resolved as a claim would do it now; what an attempt has used is shown apart from that.
    let found = match binding_for(&task) {
        Some(key) => inventory.object(&key)?,
        None => None,
    };
    let generation = found
        .as_ref()
        .and_then(|object| object.record.as_ref())
        .map_or(1, |record| record.metadata.generation);
    let rules = found.and_then(|object| object.resource).and_then(|resource| match resource.spec {
        Spec::Binding(spec) => Some(spec),
        _ => None,
    });
    let mut explained = resolve(&task, |_| rules.as_ref().map(|spec| BindingView { spec, generation }));
    if let (None, Some(key)) = (&rules, &explained.binding) {
        let all = ResourceSelector { namespace: None, kind: Some(Kind::Binding), name: None };
        explained.resolution = without_binding(&task, key, &inventory.keys(&all, Some(&key.namespace))?);
    }
    // In the order in which a claim chooses.
    let how = if node.run.is_some() {
        "`run` of the plan"
    } else if spec.node_bindings.contains_key(&node.id) {
        "nodeBindings of the execution"
    } else if spec.binding_ref.is_some() {
        "bindingRef of the execution"
    } else {
        "the default of the namespace"
    };
    Ok((explained, how, rules))
}

impl NodeExplanation {
    fn render(&self) -> String {
        let state = &self.state;
        let mut page =
            format!("{}/{}/{} is {}", self.key.namespace, self.key.name, self.node.id, state.phase);
        if let Some(reason) = state.extensions.reason {
            page.push_str(&format!(" ({reason})"));
        }
        // What is waited for is said below; twice on one page, a reader looks for the difference.
        if !state.message.is_empty() && !self.is_waited_for(&state.message) {
            page.push_str(&format!(": {}", text::line(&state.message)));
        }
        page.push('\n');
        if let Some(reuse) = &self.reuse {
            page.push_str(&format!("{}\n", text::line(reuse)));
        }
        if let Some((explained, how, rules)) = &self.binding {
            let why = explained.resolution.why();
            let said = why.is_some_and(|why| self.is_waited_for(why));
            page.push_str(&bindings(explained, how, rules.as_ref(), said));
        }
        // The rules may have changed since the claim.
        // One without a name is `run` of the plan, which is pinned and cannot have changed.
        if let Some(used) = state.extensions.binding.as_ref().filter(|used| !used.name.is_empty()) {
            let attempt = match state.attempt {
                // A reused node made no attempt in this Execution.
                0 => "The attempt that was reused".to_owned(),
                number => format!("Attempt {number}"),
            };
            page.push_str(&format!(
                "\n{attempt} used rule {} of {} at generation {}: {}\n",
                used.rule,
                used.name,
                used.generation,
                text::line(&used.provider)
            ));
        }
        match self.waits.as_slice() {
            [] if state.phase == NodePhase::Skipped => {
                page.push_str("\nNot waiting: it was not needed.\n");
            }
            [] => page.push_str("\nNot waiting for anything.\n"),
            waits => {
                page.push_str("\nWaiting for\n");
                for wait in waits {
                    let until =
                        wait.until.map(|at| format!(", until {}", age::moment(at))).unwrap_or_default();
                    page.push_str(&format!("  {}: {}{until}\n", wait.on, text::line(&wait.message)));
                }
            }
        }
        if !self.next.is_empty() {
            page.push_str("\nNext steps\n");
            for step in &self.next {
                // The line can be pasted into a shell as it is.
                page.push_str(&format!("  {step}  # {}\n", step.purpose()));
            }
        }
        page
    }

    /// Whether a line of what the node waits for says exactly this.
    fn is_waited_for(&self, message: &str) -> bool {
        self.waits.iter().any(|wait| wait.message == message)
    }

    fn to_value(&self) -> Value {
        let binding = self.binding.as_ref().map(|(explained, how, rules)| {
            let rules = explained.considered.iter().map(|one| {
                let rule = rules.as_ref().and_then(|spec| spec.rules.get(one.rule));
                json!({
                    "rule": one.rule,
                    "priority": one.priority,
                    "selector": rule.map(|rule| &rule.selector),
                    "provider": rule.map(|rule| &rule.target.provider),
                    "verdict": one.verdict.to_string(),
                })
            });
            json!({
                "binding": explained.binding.as_ref().map(ToString::to_string),
                "from": how,
                "outcome": outcome(&explained.resolution),
                "rules": rules.collect::<Vec<_>>(),
            })
        });
        json!({
            "execution": self.key.to_string(),
            "node": self.node.id,
            "phase": self.state.phase,
            "reason": self.state.extensions.reason,
            "message": self.state.message,
            "used": self.state.extensions.binding,
            "reuse": self.reuse,
            "binding": binding,
            "waits": self.waits,
            "next": self.next.iter().map(ToString::to_string).collect::<Vec<_>>(),
        })
    }
}
