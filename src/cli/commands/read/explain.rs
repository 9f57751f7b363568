//! `planspec explain`: which Binding rule does the work of a node and why, and what the node waits for.

use clap::Args;
use serde_json::{Value, json};

use crate::cli::Context;
use crate::cli::commands::read::graph::{ExecutionGraph, execution_graph};
use crate::cli::error::{CliError, Exit};
use crate::cli::output_format::OutputFormat;
use crate::cli::repo_context::{RepoContext, SelectedCommits};
use crate::cli::view::inventory::Inventory;
use crate::cli::view::selector::{self, ResourceSelector, nearest};
use crate::graph::Topology;
use crate::model::{
    BindingRule, BindingSelector, BindingSpec, ExecutionSpec, ExecutionStatus, Kind, NextStep, Node,
    NodeKind, NodePhase, NodeSituation, NodeStatus, ResourceKey, Spec, next_steps,
};
use crate::plan::binding::{BindingExplanation, BindingView, Resolution, TaskToBind, binding_for, resolve};
use crate::plan::explain::{ConcurrencyLimits, NodeWait, waits};
use crate::report::object::LiveObject;
use crate::report::table::Table;
use crate::report::{age, text};
use crate::run::expanded;

/// Explain the state of a node: its Binding rules, and what it waits for
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  planspec explain sso-exec-001/implement
  planspec explain sso-exec-001/review -n team-platform -o json")]
pub(crate) struct ExplainArguments {
    /// The node
    #[arg(value_name = "EXECUTION/NODE")]
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
    let (wanted, id) = selector::node(&arguments.target)?;
    let workspace = RepoContext::open(context)?;
    let tips = workspace.tips(context)?;
    let inventory = Inventory::load(&workspace, &tips)?;
    let object = inventory.one(&wanted.into(), context)?;
    let mut graph = execution_graph(&workspace, &tips, &inventory, &object)?;
    // What waits may be an instance, which only the record knows.
    if let Some(instances) = graph.status.as_ref().and_then(|status| expanded(&graph.plan.graph, status)) {
        graph.plan.graph = instances;
    }
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
    let explained = resolve(&task, |_| rules.as_ref().map(|spec| BindingView { spec, generation }));
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

/// What was resolved, as text.
fn outcome(resolution: &Resolution) -> String {
    match resolution {
        Resolution::Bound { rule, target, .. } => format!("rule {rule}: {}", target.provider),
        Resolution::Own { target } => format!("`run` of the plan: {}", target.provider),
        Resolution::Unbound { why } => format!("unbound: {why}"),
        Resolution::Conflict { why } => format!("conflict: {why}"),
    }
}

/// The Binding, what it selects, and each of its rules. With `said`, the page gives the reason elsewhere.
fn bindings(explained: &BindingExplanation, how: &str, spec: Option<&BindingSpec>, said: bool) -> String {
    if let Resolution::Own { target } = &explained.resolution {
        return format!("\nIt needs no Binding: `run` of the plan gives {}\n", text::line(&target.provider));
    }
    // Of a Binding that is not there, the reason says all there is.
    if said && spec.is_none() {
        return String::new();
    }
    let name = explained.binding.as_ref().map(ToString::to_string).unwrap_or_default();
    let strategy = spec.map(|spec| format!(", {:?}", spec.strategy)).unwrap_or_default();
    let outcome = if said { "no rule".to_owned() } else { outcome(&explained.resolution) };
    let mut page = format!("\nBinding {name} ({how}{strategy}) selects {}\n", text::line(&outcome));
    let mut table = Table::new(["rule", "priority", "selector", "provider", "verdict"]);
    for one in &explained.considered {
        let rule = spec.and_then(|spec| spec.rules.get(one.rule));
        table.row(vec![
            one.rule.to_string().into(),
            one.priority.to_string().into(),
            rule.map(selector).unwrap_or_default().into(),
            rule.map(|rule| rule.target.provider.clone()).unwrap_or_default().into(),
            one.verdict.to_string().into(),
        ]);
    }
    if !table.is_empty() {
        for line in table.lines() {
            page.push_str(&format!("  {}\n", line.trim_end()));
        }
    }
    page
}

fn selector(rule: &BindingRule) -> String {
    let BindingSelector { plan_ref, capability_ref, node_id, match_labels, .. } = &rule.selector;
    let plan = plan_ref.as_ref().map(|plan| format!("planRef {}", plan.name));
    let node = node_id.as_ref().map(|node| format!("nodeId {node}"));
    let capability = capability_ref.as_ref().map(|capability| format!("capabilityRef {}", capability.name));
    let labels = match_labels.iter().map(|(key, value)| format!("{key}={value}"));
    let parts: Vec<String> = [plan, node, capability].into_iter().flatten().chain(labels).collect();
    parts.join(", ")
}
