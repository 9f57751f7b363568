//! Plans that would run each other through `plan://`, around and around: said before the merge, and not when the innermost node
//! fails for it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use crate::cli::desired::{ByKey, bound_target, by_key, unbound};
use crate::config::Config;
use crate::diagnostic::{Diagnostic, Location};
use crate::graph::cycles;
use crate::manifest::{self, Facts, codes};
use crate::model::{ExecutionSpec, Kind, Name, NodeKind, Reference, Resource, ResourceKey, Spec};
use crate::plan::binding::TaskToBind;
use crate::plan::plan_named;
use crate::plan::recurrence::scheduled_spec;

/// Where a rule of a Binding names its provider.
const PROVIDER: &str = "/target/provider";

/// Whether any of these resources has a plan do the work of a node. Mostly none does, and then nothing else has to be read.
pub(crate) fn any_nested<'a>(facts: impl IntoIterator<Item = &'a Facts>) -> bool {
    let names_plan =
        |facts: &Facts| facts.references.iter().any(|reference| reference.pointer.ends_with(PROVIDER));
    facts.into_iter().any(|facts| facts.key.kind == Kind::Binding && names_plan(facts))
}

/// Checks every plan as the declared Executions and Schedules would run it, and as an Execution would that names no Binding.
pub(crate) fn check(
    resources: &[Resource],
    config: &Config,
    read: impl FnMut(&str) -> Option<Vec<u8>>,
) -> Vec<Diagnostic> {
    let is_plan = |resource: &Resource| match &resource.spec {
        Spec::Binding(spec) => spec.rules.iter().any(|rule| plan_named(&rule.target.provider).is_some()),
        _ => false,
    };
    if !resources.iter().any(is_plan) {
        return Vec::new();
    }
    let declared = by_key(resources);
    // Walked once for each Binding, however many Executions use it: a nightly plan has hundreds.
    let mut runs: BTreeMap<(Name, String), PlanRuns> = BTreeMap::new();
    for resource in resources {
        let Some((spec, plan)) = run_of(resource) else { continue };
        let namespace = resource.key().namespace;
        let own = (!spec.node_bindings.is_empty()).then_some(&plan);
        let same = json!([spec.binding_ref, spec.node_bindings, own]).to_string();
        let run = runs.entry((namespace, same)).or_insert_with(|| PlanRuns { spec, starts: BTreeSet::new() });
        run.starts.insert(plan);
    }
    let mut found = BTreeMap::new();
    for ((namespace, _), run) in &runs {
        let next = |plan: &ResourceKey| run.steps(&declared, namespace, plan);
        for cycle in cycles(run.starts.iter().cloned(), |plan| next(plan).into_values().collect()) {
            let [.., from, to] = cycle.as_slice() else { continue };
            let step = next(from).into_iter().find(|(_, target)| target == to);
            let Some((node, _)) = step else { continue };
            // Once for each node, whoever runs its plan.
            found.entry((from.clone(), node)).or_insert_with(|| diagnostic(&declared, &cycle, from, node));
        }
    }
    let mut found: Vec<Diagnostic> = found.into_values().collect();
    manifest::locate(&mut found, &config.limits, read);
    found
}

/// Plans that are run with the same Bindings.
struct PlanRuns {
    spec: ExecutionSpec,
    starts: BTreeSet<ResourceKey>,
}

impl PlanRuns {
    /// The nodes of a plan that other plans do.
    fn steps(
        &self,
        declared: &ByKey<'_>,
        namespace: &Name,
        plan: &ResourceKey,
    ) -> BTreeMap<usize, ResourceKey> {
        let Some(resource) = declared.get(plan) else { return BTreeMap::new() };
        let Spec::Plan(spec) = &resource.spec else { return BTreeMap::new() };
        let mut execution = self.spec.clone();
        // `nodeBindings` are about the nodes of the Execution's own plan, and are not passed on.
        if !self.starts.contains(plan) {
            execution.node_bindings.clear();
        }
        let nodes = spec.graph.nodes.iter().enumerate().filter(|(_, node)| node.kind == NodeKind::Task);
        let steps = nodes.filter_map(|(ix, node)| {
            let plan_labels = &resource.metadata.labels;
            let task = TaskToBind { node, plan, plan_labels, execution: &execution, namespace };
            let name = plan_named(&bound_target(&task, declared)?.provider)?.ok()?;
            // In the namespace of the Execution, where the one that does the node is made.
            Some((ix, ResourceKey::new(Kind::Plan, namespace.clone(), name)))
        });
        steps.collect()
    }
}

/// The plan that a resource makes run, and with which Bindings.
fn run_of(resource: &Resource) -> Option<(ExecutionSpec, ResourceKey)> {
    let key = resource.key();
    let (spec, plan): (ExecutionSpec, Reference) = match &resource.spec {
        Spec::Execution(spec) => (spec.clone(), spec.plan_ref.clone()),
        Spec::Schedule(schedule) => {
            let plan = schedule.plan_ref.clone()?;
            (scheduled_spec(schedule, plan.clone()), plan)
        }
        Spec::Plan(_) => (unbound(&key)?, Reference::to(key.name.clone())),
        _ => return None,
    };
    Some((spec, plan.key(Kind::Plan, &key.namespace)))
}

fn diagnostic(declared: &ByKey<'_>, cycle: &[ResourceKey], from: &ResourceKey, node: usize) -> Diagnostic {
    let source = declared.get(from).map(|resource| resource.source.clone()).unwrap_or_default();
    let pointer = format!("/spec/graph/nodes/{node}");
    let place = Location { path: source.path, span: None, document: source.document, pointer };
    let names: Vec<&str> = cycle.iter().map(|plan| plan.name.as_str()).collect();
    let message = format!("plans would run each other without end: {}", names.join(" → "));
    Diagnostic::error(codes::NESTING_CYCLE, place, message)
        .with_hint("a Binding names one of them as `plan://…` for this node; bind the node to something else")
        .about(from)
}
