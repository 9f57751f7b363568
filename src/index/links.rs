//! Dependencies between resources: the topics that a declaration mentions, so that a change finds its dependents.

use std::fmt;

use crate::model::{Kind, LabelSelector, MUTEX, Name, Resource, ResourceKey, Spec};

/// Something that a change can be about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// A resource: its declaration or its record.
    Resource(ResourceKey),
    /// Any Binding of a namespace.
    Bindings(Name),
    /// A label on a plan of a namespace, as `key=value`.
    PlanLabel(Name, String),
    /// A goal of a namespace selects plans by this label; `None` when no single label is required.
    GoalSelector(Name, Option<String>),
    /// A mutex between executions of a namespace.
    Mutex(Name, String),
    /// The newest commit of the desired branch, whatever it changes.
    DesiredCommit,
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resource(key) => key.fmt(f),
            Self::Bindings(namespace) => write!(f, "{namespace}/bindings"),
            Self::PlanLabel(namespace, label) => write!(f, "{namespace}/plans?{label}"),
            Self::GoalSelector(namespace, Some(label)) => write!(f, "{namespace}/goals?{label}"),
            Self::Mutex(namespace, name) => write!(f, "{namespace}/mutex?{name}"),
            Self::DesiredCommit => write!(f, "desired commit"),
            Self::GoalSelector(namespace, None) => write!(f, "{namespace}/goals?"),
        }
    }
}

/// The first label that every plan selected by `selector` must have.
// One label is enough to find candidates: the selector itself is evaluated by planning. Indexing all of them would need an
// intersection for each lookup.
pub(super) fn leading_label(selector: &LabelSelector) -> Option<String> {
    selector.match_labels.iter().next().map(|(key, value)| format!("{key}={value}"))
}

/// What the declaration of a resource mentions.
#[must_use]
pub fn topics_of(resource: &Resource) -> Vec<Topic> {
    let home = &resource.metadata.namespace;
    let mut topics = Vec::new();
    // Owners are in the same namespace by contract, so a reference needs none.
    for owner in &resource.metadata.owner_references {
        topics.push(Topic::Resource(ResourceKey::new(owner.kind, home.clone(), owner.name.clone())));
    }
    match &resource.spec {
        Spec::Goal(spec) => {
            if let Some(selector) = &spec.plan_selector {
                topics.push(Topic::GoalSelector(home.clone(), leading_label(selector)));
            }
        }
        Spec::Plan(spec) => {
            // Each label is a topic: which of them a goal selects by is not known here, and a goal may come later.
            for (key, value) in &resource.metadata.labels {
                topics.push(Topic::PlanLabel(home.clone(), format!("{key}={value}")));
            }
            topics.extend(spec.goal_ref.iter().map(|goal| Topic::Resource(goal.key(Kind::Goal, home))));
            // The record of a Gate outlives its manifest while a plan names it.
            let gates = spec.graph.nodes.iter().filter_map(|node| node.gate_ref.as_ref());
            topics.extend(gates.map(|gate| Topic::Resource(gate.key(Kind::Gate, home))));
            topics.extend(spec.supersedes.iter().map(|old| Topic::Resource(old.key(Kind::Plan, home))));
        }
        Spec::Capability(spec) => {
            let keys = spec.requirements.iter().map(|needed| needed.reference().key(Kind::Capability, home));
            topics.extend(keys.map(Topic::Resource));
        }
        Spec::Execution(spec) => {
            let mutex = resource.metadata.annotations.get(MUTEX);
            // So that the end of the holder wakes all that wait for it, whoever they are.
            topics.extend(mutex.map(|name| Topic::Mutex(home.clone(), name.clone())));
            topics.push(Topic::Resource(spec.plan_ref.key(Kind::Plan, home)));
            topics.extend(spec.goal_ref.iter().map(|goal| Topic::Resource(goal.key(Kind::Goal, home))));
        }
        Spec::Schedule(spec) => {
            topics.extend(spec.plan_ref.iter().map(|plan| Topic::Resource(plan.key(Kind::Plan, home))));
            topics.extend(spec.goal_ref.iter().map(|goal| Topic::Resource(goal.key(Kind::Goal, home))));
        }
        // Both are only pointed at. What a Binding names matters when a node is resolved, which is late (Invariant 9).
        Spec::Binding(_) | Spec::Gate(_) => {}
    }
    topics
}
