//! What cross-checking needs of a resource, small enough to be kept for every manifest of a repository, so that
//! unchanged files need not be parsed again. Everything here survives a format without field names.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::{
    CapabilityParameter, CapabilitySpec, DEPRECATED, ExecutionSpec, ExternalRef, JsonMap, Kind, Metadata,
    Name, Node, NodeId, NodeKind, ParameterType, PlanSpec, REPLACEMENT, Reference, Resource, ResourceKey,
    ScheduleSpec, Spec,
};
use crate::run::parameter::type_of;

/// The facts of one resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// What identifies it.
    pub key: ResourceKey,
    /// What it refers to, but for Gates, which may be implicit, and for capabilities, which `detail` has.
    pub references: Vec<FactRef>,
    /// Its owners, in its own namespace: when one goes, it goes too.
    pub owners: Vec<ResourceKey>,
    /// What only its kind has.
    pub detail: KindFacts,
}

/// A reference to another resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FactRef {
    /// What is referred to.
    pub target: ResourceKey,
    /// Where, as a JSON pointer.
    pub pointer: String,
    /// Whether it is an error that the target is missing; otherwise it is worth a warning.
    pub required: bool,
}

/// The facts that only some kinds have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum KindFacts {
    /// Of a Plan.
    Plan {
        /// The nodes, in order.
        nodes: Vec<NodeFacts>,
        /// The plan that this one replaces.
        supersedes: Option<ResourceKey>,
        /// What it takes; anything when empty.
        parameters: Vec<InputDeclaration>,
    },
    /// Of a Capability.
    Capability {
        /// What it takes.
        inputs: Vec<InputDeclaration>,
        /// What else it needs.
        requires: Vec<Requirement>,
        /// Why, and in whose favour, it should no longer be used; empty texts where nothing is said.
        deprecated: Option<(String, String)>,
    },
    /// Of an Execution, or of a Schedule that starts some.
    Execution {
        /// The plan that it runs.
        plan: ResourceKey,
        /// The nodes that `nodeBindings` names.
        bound: Vec<NodeId>,
        /// What it gives to the plan.
        parameters: Vec<InputFacts>,
    },
    /// Of the other kinds.
    None,
    /// Of a Gate that asks the owners of files.
    OwnersGate,
}

/// The facts of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeFacts {
    /// Its id, by which edges, bindings and expressions name it.
    pub id: NodeId,
    /// What it is.
    pub kind: NodeKind,
    /// The names of the outputs that it declares.
    pub outputs: Vec<String>,
    /// What its provider must be able to do.
    pub capabilities: Vec<ResourceKey>,
    /// What it is given.
    pub inputs: Vec<InputFacts>,
}

/// The facts of a task's input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputFacts {
    /// Its name, a key of `inputs`.
    pub name: String,
    /// Its type, unless an expression or null leaves it open.
    pub kind: Option<ParameterType>,
    /// Its JSON text, where it is a scalar that a list of values could be compared with.
    pub scalar: Option<String>,
}

/// An input that a capability declares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputDeclaration {
    /// Its name, which a task uses as a key of `inputs`.
    pub name: String,
    /// The type that a value must have, unless it is null.
    pub kind: ParameterType,
    /// Whether it must be given: it is required, and has no default.
    pub required: bool,
    /// The JSON texts of the values that it may take; any when empty.
    pub values: Vec<String>,
    /// The format of JSON Schema that it has; empty for any.
    pub format: String,
    /// The regular expression that it matches; empty for any.
    pub pattern: String,
}

/// A capability that another one needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requirement {
    /// The capability that is needed.
    pub target: ResourceKey,
    /// Whether it may be missing.
    pub optional: bool,
}

/// The facts of a resource.
#[must_use]
pub fn facts(resource: &Resource) -> Facts {
    let home = &resource.metadata.namespace;
    let mut references = References { home, list: Vec::new() };
    let detail = match &resource.spec {
        Spec::Goal(_) | Spec::Capability(_) | Spec::Binding(_) | Spec::Gate(_) => {
            other(resource, &mut references)
        }
        Spec::Plan(spec) => plan(spec, &mut references),
        Spec::Execution(spec) => execution(spec, &mut references),
        Spec::Schedule(spec) => schedule(spec, &mut references),
    };
    let owners = resource.metadata.owner_references.iter();
    Facts {
        key: resource.key(),
        references: references.list,
        // An owner reference has no namespace: an owner lives beside what it owns, as in Kubernetes.
        owners: owners.map(|owner| ResourceKey::new(owner.kind, home.clone(), owner.name.clone())).collect(),
        detail,
    }
}

struct References<'a> {
    home: &'a Name,
    list: Vec<FactRef>,
}

impl References<'_> {
    fn add(&mut self, kind: Kind, to: &Reference, pointer: String, required: bool) {
        self.list.push(FactRef { target: to.key(kind, self.home), pointer, required });
    }

    fn maybe(&mut self, kind: Kind, to: Option<&Reference>, field: &str, required: bool) {
        if let Some(to) = to {
            self.add(kind, to, format!("/spec/{field}/name"), required);
        }
    }
}

fn other(resource: &Resource, references: &mut References<'_>) -> KindFacts {
    match &resource.spec {
        Spec::Binding(spec) => {
            for (index, rule) in spec.rules.iter().enumerate() {
                let at = |field: &str| format!("/spec/rules/{index}/selector/{field}/name");
                if let Some(plan) = &rule.selector.plan_ref {
                    // A rule for something that is not declared matches nothing, and does no harm.
                    references.add(Kind::Plan, plan, at("planRef"), false);
                }
                if let Some(capability) = &rule.selector.capability_ref {
                    references.add(Kind::Capability, capability, at("capabilityRef"), false);
                }
                let plan = rule.target.provider.strip_prefix("plan://");
                if let Some(plan) = plan.and_then(|name| Name::new(name).ok()) {
                    let place = format!("/spec/rules/{index}/target/provider");
                    references.add(Kind::Plan, &Reference::to(plan), place, false);
                }
            }
            KindFacts::None
        }
        Spec::Gate(spec) => {
            let target = &spec.target_ref;
            let namespace = target.namespace.as_ref().unwrap_or(references.home).clone();
            let target = ResourceKey::new(target.kind, namespace, target.name.clone());
            references.list.push(FactRef {
                target,
                pointer: "/spec/targetRef/name".to_owned(),
                required: false,
            });
            if spec.asks_code_owners() { KindFacts::OwnersGate } else { KindFacts::None }
        }
        Spec::Capability(spec) => capability(spec, &resource.metadata),
        _ => KindFacts::None,
    }
}

fn capability(spec: &CapabilitySpec, metadata: &Metadata) -> KindFacts {
    let home = &metadata.namespace;
    let requires = spec.requirements.iter().map(|requirement| Requirement {
        target: requirement.reference().key(Kind::Capability, home),
        optional: requirement.optional,
    });
    let annotation = |name: &str| metadata.annotations.get(name);
    // An annotation is text, and `false` is how people take it back.
    let deprecated = annotation(DEPRECATED).filter(|why| why.as_str() != "false").map(|why| {
        let why = if why == "true" { "" } else { why };
        (why.to_owned(), annotation(REPLACEMENT).cloned().unwrap_or_default())
    });
    KindFacts::Capability { inputs: declarations(&spec.inputs), requires: requires.collect(), deprecated }
}

fn declarations(parameters: &[CapabilityParameter]) -> Vec<InputDeclaration> {
    let declaration = |input: &CapabilityParameter| InputDeclaration {
        name: input.name.clone(),
        kind: input.kind,
        // Nobody has to give what has a default.
        required: input.required && input.default.is_none(),
        values: input.values.iter().map(Value::to_string).collect(),
        format: input.format.clone().unwrap_or_default(),
        pattern: input.pattern.clone().unwrap_or_default(),
    };
    parameters.iter().map(declaration).collect()
}

fn plan(spec: &PlanSpec, references: &mut References<'_>) -> KindFacts {
    references.maybe(Kind::Goal, spec.goal_ref.as_ref(), "goalRef", true);
    // A plan that was replaced may well be gone.
    for (index, old) in spec.supersedes.iter().enumerate() {
        references.add(Kind::Plan, old, format!("/spec/supersedes/{index}/name"), false);
    }
    let nodes =
        spec.graph.nodes.iter().enumerate().map(|(index, entry)| node(index, entry, references)).collect();
    let supersedes = spec.supersedes.first().map(|old| old.key(Kind::Plan, references.home));
    KindFacts::Plan { nodes, supersedes, parameters: declarations(&spec.parameters) }
}

fn node(index: usize, node: &Node, references: &mut References<'_>) -> NodeFacts {
    if let Some(ExternalRef::Resource { resource_ref, .. }) = &node.external_ref {
        // A node may wait for something that only a later commit declares.
        let target = resource_ref.key(references.home);
        let pointer = format!("/spec/graph/nodes/{index}/externalRef/resourceRef/name");
        references.list.push(FactRef { target, pointer, required: false });
    }
    NodeFacts {
        id: node.id.clone(),
        kind: node.kind,
        outputs: node.outputs.clone(),
        capabilities: node
            .capability_refs
            .iter()
            .map(|to| to.key(Kind::Capability, references.home))
            .collect(),
        inputs: inputs(&node.inputs),
    }
}

fn inputs(map: &JsonMap) -> Vec<InputFacts> {
    let fact = |(name, value): (&String, &Value)| {
        let kind = match value {
            // What an expression gives is known only when the task starts.
            Value::String(text) if text.contains("${{") => None,
            value => type_of(value),
        };
        let scalar = kind.is_some() && !value.is_object() && !value.is_array();
        InputFacts { name: name.clone(), kind, scalar: scalar.then(|| value.to_string()) }
    };
    map.iter().map(fact).collect()
}

fn execution(spec: &ExecutionSpec, references: &mut References<'_>) -> KindFacts {
    references.maybe(Kind::Plan, Some(&spec.plan_ref), "planRef", true);
    references.maybe(Kind::Goal, spec.goal_ref.as_ref(), "goalRef", true);
    // Without its Binding a node is Blocked, and starts by itself when the Binding arrives.
    references.maybe(Kind::Binding, spec.binding_ref.as_ref(), "bindingRef", false);
    for (node, binding) in &spec.node_bindings {
        references.add(Kind::Binding, binding, format!("/spec/nodeBindings/{node}/name"), false);
    }
    let plan = spec.plan_ref.key(Kind::Plan, references.home);
    let bound = spec.node_bindings.keys().cloned().collect();
    KindFacts::Execution { plan, bound, parameters: inputs(&spec.parameters) }
}

fn schedule(spec: &ScheduleSpec, references: &mut References<'_>) -> KindFacts {
    references.maybe(Kind::Plan, spec.plan_ref.as_ref(), "planRef", true);
    references.maybe(Kind::Goal, spec.goal_ref.as_ref(), "goalRef", true);
    references.maybe(Kind::Binding, spec.binding_ref.as_ref(), "bindingRef", false);
    // Which plan a goal chooses is known when it starts; then its parameters are checked.
    let Some(plan) = &spec.plan_ref else { return KindFacts::None };
    let plan = plan.key(Kind::Plan, references.home);
    KindFacts::Execution { plan, bound: Vec::new(), parameters: inputs(&spec.parameters) }
}
