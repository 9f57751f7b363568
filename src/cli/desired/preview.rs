//! The preview of a change, as a value: what `planspec diff` finds, with the graphs and with the providers that the
//! executions would call.

use std::collections::{BTreeMap, HashSet};

use serde_json::Value;

use crate::change::{FieldChange, GraphChange, ResourceDiff, compare_graphs};
use crate::cli::desired::difference::{Consequence, DesiredDiff};
use crate::cli::desired::{ByKey, Desired, bound_target, by_key};
use crate::config::Config;
use crate::diagnostic::Diagnostic;
use crate::model::{
    BindingTarget, Edge, EdgeType, ExecutionSpec, Kind, Node, NodeKind, PlanGraph, Resource, ResourceKey,
    Spec,
};
use crate::plan::binding::TaskToBind;
use crate::report::preview::{
    ChangeMark, ChangedField, ChangedResource, GraphEdge, GraphNode, HeldBackDeletions, Preview,
    PreviewCommand, PreviewFinding, PreviewGate, PreviewGraph, ProviderUse, StartingExecution,
    VoidedApproval,
};

/// Deletions of fewer resources than this are never held back.
const FEW_DELETIONS: usize = 10;

/// The preview of a difference.
pub(crate) fn of_difference(
    difference: &DesiredDiff,
    old: &Desired,
    new: &Desired,
    config: &Config,
) -> Preview {
    let before = by_key(&old.resources);
    let after = by_key(&new.resources);
    let change = &difference.change;
    let mut preview = Preview::empty();
    preview.created = change.created.iter().map(ToString::to_string).collect();
    preview.deleted = change.deleted.iter().map(ToString::to_string).collect();
    preview.changed = change.changed.iter().map(changed).collect();
    preview.diagnostics = difference.findings.iter().map(finding).collect();
    preview.graphs = graphs(difference, &before, &after);
    for consequence in &difference.consequences {
        match consequence {
            Consequence::Starts(key, plan, nodes) => preview.starts.push(start(key, plan, *nodes, &after)),
            Consequence::Voids(gate, reviewers) => {
                preview.voided.push(VoidedApproval { gate: gate.to_string(), reviewers: reviewers.clone() });
            }
            Consequence::Other(text) => preview.consequences.push(text.clone()),
        }
    }
    preview.held_back = held_back(change.deleted.len(), old.resources.len(), new.resources.len(), config);
    preview
}

fn changed(change: &ResourceDiff) -> ChangedResource {
    let field = |field: &FieldChange| ChangedField {
        path: field.path.clone(),
        old: field.old.clone(),
        new: field.new.clone(),
    };
    ChangedResource {
        resource: change.key.to_string(),
        spec: change.spec,
        fields: change.fields.iter().map(field).collect(),
    }
}

pub(crate) fn finding(found: &Diagnostic) -> PreviewFinding {
    PreviewFinding {
        code: found.code.id.to_owned(),
        severity: found.severity,
        file: found.location.path.clone(),
        line: found.location.span.map(|span| span.line),
        message: found.message.clone(),
        hint: found.hint.clone(),
    }
}

/// As the reconciler does it: a large share of many, or everything.
fn held_back(deleted: usize, total: usize, left: usize, config: &Config) -> Option<HeldBackDeletions> {
    let many = deleted >= FEW_DELETIONS && deleted as f64 / total.max(1) as f64 > config.limits.deletions;
    // A branch without any resource is more likely a mistake than a wish, however few there were.
    let everything = left == 0 && deleted > 0;
    (many || everything).then_some(HeldBackDeletions { deleted, total })
}

fn start(
    key: &ResourceKey,
    plan: &ResourceKey,
    nodes: Option<usize>,
    after: &ByKey<'_>,
) -> StartingExecution {
    let mut start = StartingExecution {
        execution: key.to_string(),
        plan: plan.to_string(),
        nodes,
        providers: Vec::new(),
        unbound: Vec::new(),
        gates: Vec::new(),
        commands: Vec::new(),
    };
    let (Some(Spec::Execution(execution)), Some(resource)) =
        (after.get(key).map(|resource| &resource.spec), after.get(plan))
    else {
        return start;
    };
    let Spec::Plan(spec) = &resource.spec else { return start };
    let mut uses: BTreeMap<String, Vec<String>> = BTreeMap::new();
    // Nodes of the other kinds have no provider.
    for node in spec.graph.nodes.iter().filter(|node| node.kind == NodeKind::Task) {
        match target(node, execution, key, resource, after) {
            Some(target) => {
                start.commands.extend(command(node, &target));
                uses.entry(target.provider).or_default().push(node.id.to_string());
            }
            None => start.unbound.push(node.id.to_string()),
        }
    }
    start.gates = spec.graph.nodes.iter().filter_map(|node| gate(node, plan, after)).collect();
    start.providers = uses.into_iter().map(|(provider, nodes)| ProviderUse { provider, nodes }).collect();
    start
}

/// The gate that a node waits at, as the merge leaves it.
fn gate(node: &Node, plan: &ResourceKey, after: &ByKey<'_>) -> Option<PreviewGate> {
    // References to gates are relative to the Plan, which may be in another namespace than the Execution.
    let key = node.gate_ref.as_ref()?.key(Kind::Gate, &plan.namespace);
    let spec = after.get(&key).and_then(|resource| match &resource.spec {
        Spec::Gate(spec) => Some(spec),
        _ => None,
    });
    Some(PreviewGate {
        node: node.id.to_string(),
        gate: key.to_string(),
        // A gate without a manifest asks for one approval by anyone who may write.
        reviewers: spec.map(|spec| spec.reviewers.clone()).unwrap_or_default(),
        approvals: spec.map_or(1, |spec| spec.required_approvers.max(1)),
    })
}

/// The command of a target, as it is written: expressions in it are replaced only when the node starts.
fn command(node: &Node, target: &BindingTarget) -> Option<PreviewCommand> {
    let config = &target.config;
    let program = config.get("command")?.as_str()?;
    let texts = |value: Option<&Value>| -> Vec<String> {
        let items = value.and_then(Value::as_array).into_iter().flatten();
        items.filter_map(Value::as_str).map(ToOwned::to_owned).collect()
    };
    let args = texts(config.get("args"));
    let mut command = program.to_owned();
    if !args.is_empty() {
        command.push_str(&format!(" {}", shell_words::join(&args)));
    }
    let paths = |which: &str| texts(config.get("paths").and_then(|paths| paths.get(which)));
    // As the providers have it: an agent is there to change files, any other command only where it is told to keep them.
    let keeps_changes = match config.get("changes").and_then(Value::as_str) {
        Some(word) => word == "commit",
        None => target.provider.starts_with("agent://"),
    };
    let allow = paths("allow");
    let deny = paths("deny");
    Some(PreviewCommand { node: node.id.to_string(), command, keeps_changes, allow, deny })
}

/// What does the work of a task.
fn target(
    node: &Node,
    execution: &ExecutionSpec,
    key: &ResourceKey,
    plan: &Resource,
    after: &ByKey<'_>,
) -> Option<BindingTarget> {
    let plan_key = plan.key();
    let task = TaskToBind {
        node,
        plan: &plan_key,
        plan_labels: &plan.metadata.labels,
        execution,
        namespace: &key.namespace,
    };
    bound_target(&task, after)
}

/// The graphs of plans that come, change or go.
fn graphs(difference: &DesiredDiff, before: &ByKey<'_>, after: &ByKey<'_>) -> Vec<PreviewGraph> {
    let nothing = PlanGraph { nodes: Vec::new(), edges: Vec::new() };
    let change = &difference.change;
    let changed = change.changed.iter().filter(|changed| changed.graph.is_some()).map(|changed| &changed.key);
    let plans = change.created.iter().chain(changed).chain(&change.deleted);
    // Also of a plan that stays as it is: whoever lets an Execution of it start wants to see what that does.
    let started = difference.consequences.iter().filter_map(|consequence| match consequence {
        Consequence::Starts(_, plan, Some(_)) => Some(plan),
        _ => None,
    });
    let mut seen = HashSet::new();
    let plans = plans.filter(|key| key.kind == Kind::Plan).chain(started);
    plans
        .filter(|key| seen.insert((*key).clone()))
        .map(|key| {
            let of = |set: &ByKey<'_>| match set.get(key).map(|resource| &resource.spec) {
                Some(Spec::Plan(plan)) => plan.graph.clone(),
                _ => nothing.clone(),
            };
            let old = of(before);
            let new = of(after);
            graph(key, &old, &new, &compare_graphs(&old, &new))
        })
        .collect()
}

fn graph(key: &ResourceKey, old: &PlanGraph, new: &PlanGraph, change: &GraphChange) -> PreviewGraph {
    let mark = |node: &Node| {
        if change.nodes_added.contains(&node.id) {
            ChangeMark::Added
        } else if change.nodes_changed.contains(&node.id) {
            ChangeMark::Changed
        } else {
            ChangeMark::Kept
        }
    };
    let node = |node: &Node, mark| GraphNode {
        id: node.id.to_string(),
        name: new.instance_summary(node, None).or_else(|| node.name.clone()),
        kind: node.kind,
        mark,
    };
    // Drawn as well, because their edges show what no longer waits for what.
    let gone = old.nodes.iter().filter(|node| change.nodes_removed.contains(&node.id));
    let nodes = new.nodes.iter().map(|each| node(each, mark(each)));
    let nodes = nodes.chain(gone.map(|each| node(each, ChangeMark::Removed))).collect();
    let added: HashSet<(&str, &str)> =
        change.edges_added.iter().map(|edge| (edge.from.as_str(), edge.to.as_str())).collect();
    let mut drawn = HashSet::new();
    let mut edges = Vec::new();
    for edge in edges_of(new) {
        // Equal edges count once, and `dependsOn` may repeat one.
        if drawn.insert((edge.from.clone(), edge.to.clone())) {
            let new = added.contains(&(edge.from.as_str(), edge.to.as_str()));
            edges.push(graph_edge(&edge, if new { ChangeMark::Added } else { ChangeMark::Kept }));
        }
    }
    edges.extend(change.edges_removed.iter().map(|edge| graph_edge(edge, ChangeMark::Removed)));
    for group in &new.nodes {
        for child in &group.children {
            // A group that nothing leads to would stand beside its graph, as if it were another one.
            if drawn.insert((child.clone(), group.id.clone())) {
                let (from, to) = (child.to_string(), group.id.to_string());
                edges.push(GraphEdge { from, to, soft: true, member: true, mark: ChangeMark::Kept });
            }
        }
    }
    PreviewGraph { plan: key.to_string(), nodes, edges }
}

fn edges_of(graph: &PlanGraph) -> impl Iterator<Item = Edge> + '_ {
    let depends = graph.nodes.iter().flat_map(|node| {
        node.depends_on.iter().map(|source| Edge {
            from: source.clone(),
            to: node.id.clone(),
            kind: EdgeType::Hard,
        })
    });
    graph.edges.iter().cloned().chain(depends)
}

fn graph_edge(edge: &Edge, mark: ChangeMark) -> GraphEdge {
    GraphEdge {
        from: edge.from.to_string(),
        to: edge.to.to_string(),
        soft: edge.kind == EdgeType::Soft,
        member: false,
        mark,
    }
}
