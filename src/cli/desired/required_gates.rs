//! Tasks whose provider needs a gate, by `gates.require`, that their plan does not have before them: said before the merge, and
//! not when the node would start.

use std::collections::BTreeSet;

use crate::cli::desired::{ByKey, bound_target, by_key, unbound};
use crate::config::Config;
use crate::diagnostic::{Diagnostic, Location};
use crate::graph::Topology;
use crate::manifest::{self, codes};
use crate::model::{BindingTarget, ExecutionSpec, Kind, Name, NodeKind, Resource, ResourceKey, Spec};
use crate::plan::binding::TaskToBind;
use crate::plan::required_gates::{RequiredGates, is_behind};

/// Checks every plan as the declared Executions would run it, and as one that names no Binding would.
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
    let mut found = BTreeSet::new();
    for resource in resources {
        match &resource.spec {
            Spec::Execution(spec) => {
                let plan = spec.plan_ref.key(Kind::Plan, &resource.key().namespace);
                check_plan(&by_key, &required, spec, &resource.key().namespace, &plan, &mut found);
            }
            Spec::Plan(_) => {
                let key = resource.key();
                let Some(spec) = unbound(&key) else { continue };
                check_plan(&by_key, &required, &spec, &key.namespace, &key, &mut found);
            }
            _ => {}
        }
    }
    let mut found: Vec<Diagnostic> = found.into_iter().map(|missing| missing.diagnostic(&by_key)).collect();
    manifest::locate(&mut found, &config.limits, read);
    found
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
    required: &RequiredGates,
    execution: &ExecutionSpec,
    namespace: &Name,
    plan: &ResourceKey,
    found: &mut BTreeSet<MissingGate>,
) {
    let Some(resource) = by_key.get(plan) else { return };
    let Spec::Plan(spec) = &resource.spec else { return };
    // A broken graph has findings of its own.
    let Ok(topology) = Topology::build(&spec.graph) else { return };
    let nodes = &spec.graph.nodes;
    for (ix, node) in nodes.iter().enumerate().filter(|(_, node)| node.kind == NodeKind::Task) {
        let task = TaskToBind { node, plan, plan_labels: &resource.metadata.labels, execution, namespace };
        let Some(BindingTarget { provider, .. }) = bound_target(&task, by_key) else { continue };
        for gate in required.of(&provider) {
            if !is_behind(gate, &plan.namespace, (&topology, nodes), ix, |_| true) {
                let (id, gate, provider) = (node.id.to_string(), gate.to_owned(), provider.clone());
                found.insert(MissingGate { plan: plan.clone(), node: ix, id, gate, provider });
            }
        }
    }
}
