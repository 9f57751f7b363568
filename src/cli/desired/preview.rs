//! The preview of a change, as a value: what `planspec diff` finds, with the graphs and with the providers that the
//! executions would call.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::change::{FieldChange, GraphChange, ResourceDiff, compare_graphs};
use crate::cli::desired::Desired;
use crate::cli::desired::difference::{Consequence, DesiredDiff};
use crate::config::Config;
use crate::diagnostic::Diagnostic;
use crate::model::{
    Edge, EdgeType, ExecutionSpec, Kind, Node, NodeKind, PlanGraph, Resource, ResourceKey, Spec,
};
use crate::plan::binding::{BindingView, Resolution, TaskToBind, resolve};
use crate::report::preview::{
    ChangeMark, ChangedField, ChangedResource, GraphEdge, GraphNode, HeldBackDeletions, Preview,
    PreviewFinding, PreviewGraph, ProviderUse, StartingExecution, VoidedApproval,
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

type ByKey<'a> = HashMap<ResourceKey, &'a Resource>;

fn by_key(resources: &[Resource]) -> ByKey<'_> {
    let mut map = ByKey::new();
    for resource in resources {
        // Of two declarations the first by path counts, as for references.
        map.entry(resource.key()).or_insert(resource);
    }
    map
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
        match provider(node, execution, key, resource, after) {
            Some(provider) => uses.entry(provider).or_default().push(node.id.to_string()),
            None => start.unbound.push(node.id.to_string()),
        }
    }
    start.providers = uses.into_iter().map(|(provider, nodes)| ProviderUse { provider, nodes }).collect();
    start
}

fn provider(
    node: &Node,
    execution: &ExecutionSpec,
    key: &ResourceKey,
    plan: &Resource,
    after: &ByKey<'_>,
) -> Option<String> {
    let plan_key = plan.key();
    let task = TaskToBind {
        node,
        plan: &plan_key,
        plan_labels: &plan.metadata.labels,
        execution,
        namespace: &key.namespace,
    };
    // By the Bindings as the merge leaves them. What counts in the end is resolved when the node starts.
    let found = resolve(&task, |key| match after.get(key).map(|resource| &resource.spec) {
        // The generation is recorded with a claim, and decides nothing here.
        Some(Spec::Binding(spec)) => Some(BindingView { spec, generation: 1 }),
        _ => None,
    });
    match found.resolution {
        Resolution::Bound { target, .. } | Resolution::Own { target } => Some(target.provider),
        Resolution::Unbound { .. } | Resolution::Conflict { .. } => None,
    }
}

/// The graphs of plans that come, change or go.
fn graphs(difference: &DesiredDiff, before: &ByKey<'_>, after: &ByKey<'_>) -> Vec<PreviewGraph> {
    let nothing = PlanGraph { nodes: Vec::new(), edges: Vec::new() };
    let change = &difference.change;
    let changed = change.changed.iter().filter(|changed| changed.graph.is_some()).map(|changed| &changed.key);
    let plans = change.created.iter().chain(changed).chain(&change.deleted);
    let plans = plans.filter(|key| key.kind == Kind::Plan);
    plans
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
        name: node.name.clone(),
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
        mark,
    }
}
