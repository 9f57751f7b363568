//! Tasks whose provider needs a gate, by `gates.require`, that their plan does not have before them: said before the merge, and
//! not when the node would start.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use crate::cli::desired::{ByKey, by_key, candidates, unbound};
use crate::config::{Config, ProviderConfig};
use crate::diagnostic::{Diagnostic, Location};
use crate::engine::effective_settings;
use crate::graph::Topology;
use crate::manifest::{self, codes};
use crate::model::{
    BindingTarget, ExecutionSpec, Kind, Name, NodeKind, Reference, Resource, ResourceKey, ScheduleSpec, Spec,
};
use crate::plan::binding::TaskToBind;
use crate::plan::goal::{PlanView, is_meant_for};
use crate::plan::plan_named;
use crate::plan::recurrence::scheduled_spec;
use crate::plan::required_gates::{RequiredGates, gates_for, is_behind};

/// Checks every plan as the declared Executions and Schedules would run it, as the nodes would whose work it does, and as an
/// Execution would that names no Binding.
pub(crate) fn check(
    resources: &[Resource],
    config: &Config,
    read: impl FnMut(&str) -> Option<Vec<u8>>,
) -> Vec<Diagnostic> {
    let required = RequiredGates::new(&config.gates.require);
    if required.is_empty() {
        return Vec::new();
    }
    let by_key = by_key(resources);
    let mut open: Vec<PlanRun> =
        resources.iter().flat_map(|resource| runs_of(resource, resources, &by_key)).collect();
    let mut seen = BTreeSet::new();
    let mut found = BTreeSet::new();
    while let Some(run) = open.pop() {
        // Once for each Binding, however many Executions use it; this also ends plans that run each other.
        if seen.insert(run.identity()) {
            check_plan(&by_key, (&required, &config.providers), &run, &mut open, &mut found);
        }
    }
    let mut found: Vec<Diagnostic> = found.into_iter().map(|missing| missing.diagnostic(&by_key)).collect();
    manifest::locate(&mut found, &config.limits, read);
    found
}

/// A plan as an Execution runs it.
struct PlanRun {
    plan: ResourceKey,
    /// The namespace of the Execution, where its Bindings are.
    namespace: Name,
    spec: ExecutionSpec,
}

impl PlanRun {
    /// What decides which providers do its tasks.
    fn identity(&self) -> String {
        let Self { plan, namespace, spec } = self;
        json!([plan.to_string(), namespace, spec.binding_ref, spec.node_bindings]).to_string()
    }
}

/// What a resource makes run.
fn runs_of(resource: &Resource, resources: &[Resource], by_key: &ByKey<'_>) -> Vec<PlanRun> {
    let key = resource.key();
    let run = |spec: ExecutionSpec| PlanRun {
        plan: spec.plan_ref.key(Kind::Plan, &key.namespace),
        namespace: key.namespace.clone(),
        spec,
    };
    match &resource.spec {
        Spec::Execution(spec) => vec![run(spec.clone())],
        Spec::Plan(_) => unbound(&key).map(run).into_iter().collect(),
        Spec::Schedule(schedule) => match &schedule.plan_ref {
            Some(plan) => vec![run(scheduled_spec(schedule, plan.clone()))],
            // Which of them the goal chooses may be another one at each time.
            None => plans_for(schedule, &key, resources, by_key)
                .map(|plan| run(scheduled_spec(schedule, plan)))
                .collect(),
        },
        _ => Vec::new(),
    }
}

/// The plans that a Schedule may run for its goal.
fn plans_for<'r>(
    schedule: &ScheduleSpec,
    owner: &'r ResourceKey,
    resources: &'r [Resource],
    by_key: &'r ByKey<'_>,
) -> impl Iterator<Item = Reference> + use<'r> {
    let goal = schedule.goal_ref.as_ref().map(|goal| goal.key(Kind::Goal, &owner.namespace));
    let goal = goal.and_then(|key| match &by_key.get(&key)?.spec {
        Spec::Goal(spec) => Some((key, spec)),
        _ => None,
    });
    resources.iter().filter_map(move |resource| {
        let (goal, wanted) = goal.as_ref()?;
        let Spec::Plan(spec) = &resource.spec else { return None };
        let key = resource.key();
        let serves = is_meant_for(&PlanView::of(&key, &resource.metadata.labels, spec, true), goal, wanted);
        serves
            .then(|| Reference { namespace: Some(key.namespace.clone()), ..Reference::to(key.name.clone()) })
    })
}

/// A gate that is missing before a node; once for each node, however many Executions run it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct MissingGate {
    plan: ResourceKey,
    node: usize,
    id: String,
    gate: String,
    provider: String,
}

impl MissingGate {
    fn diagnostic(self, by_key: &ByKey<'_>) -> Diagnostic {
        let Self { plan, node, id, gate, provider } = self;
        let source = by_key.get(&plan).map(|resource| resource.source.clone()).unwrap_or_default();
        let pointer = format!("/spec/graph/nodes/{node}");
        let place = Location { path: source.path, span: None, document: source.document, pointer };
        let message = format!("node `{id}` runs {provider}, which needs gate `{gate}` before it");
        Diagnostic::error(codes::GATE_REQUIRED, place, message)
            .with_hint(format!("`gates.require` of .planspec.yaml says so; add a Gate node with `gateRef: {{name: {gate}}}` before it"))
            .about(&plan)
    }
}

fn check_plan(
    by_key: &ByKey<'_>,
    (required, providers): (&RequiredGates, &ProviderConfig),
    run: &PlanRun,
    open: &mut Vec<PlanRun>,
    found: &mut BTreeSet<MissingGate>,
) {
    let PlanRun { plan, namespace, spec: execution } = run;
    let Some(resource) = by_key.get(plan) else { return };
    let Spec::Plan(spec) = &resource.spec else { return };
    // A broken graph has findings of its own.
    let Ok(topology) = Topology::build(&spec.graph) else { return };
    let nodes = &spec.graph.nodes;
    for (ix, node) in nodes.iter().enumerate().filter(|(_, node)| node.kind == NodeKind::Task) {
        let task = TaskToBind { node, plan, plan_labels: &resource.metadata.labels, execution, namespace };
        // Of rules in conflict any may win later, by a change of the Binding alone.
        for target in candidates(&task, by_key) {
            let settings = effective_settings(providers, &target);
            for (gate, provider) in gates_for(required, &target.provider, &settings) {
                if !is_behind(&gate, &plan.namespace, (&topology, nodes), ix, |_| true) {
                    let id = node.id.to_string();
                    found.insert(MissingGate { plan: plan.clone(), node: ix, id, gate, provider });
                }
            }
            open.extend(run_below(run, &target));
        }
    }
}

/// The plan that does a task, as the node makes it run.
fn run_below(run: &PlanRun, target: &BindingTarget) -> Option<PlanRun> {
    let name = plan_named(&target.provider)?.ok()?;
    // The Binding is passed on, and `nodeBindings` are not: they name nodes of the outer plan.
    let spec = ExecutionSpec {
        plan_ref: Reference::to(name.clone()),
        node_bindings: BTreeMap::new(),
        ..run.spec.clone()
    };
    let plan = ResourceKey::new(Kind::Plan, run.namespace.clone(), name);
    Some(PlanRun { plan, namespace: run.namespace.clone(), spec })
}
