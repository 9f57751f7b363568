//! What a compiled plan is made of.

use crate::model::{ExecutionSpec, GoalSpec, PlanSpec, Resource, ResourceKey, Spec, StringMap};

/// The pinned manifests that a compiled plan is made of.
#[derive(Debug, Clone)]
pub(crate) struct PlanSources {
    /// The execution.
    pub key: ResourceKey,
    /// Its spec.
    pub spec: ExecutionSpec,
    /// The plan.
    pub plan_key: ResourceKey,
    /// The plan's labels.
    pub plan_labels: StringMap,
    /// The plan's spec.
    pub plan: PlanSpec,
    /// The goal.
    pub goal: Option<(ResourceKey, GoalSpec)>,
    /// The annotations of the execution.
    pub annotations: StringMap,
}

impl PlanSources {
    /// Those of an Execution with this key; none where a manifest is of another kind.
    pub(crate) fn of(
        key: ResourceKey,
        execution: Resource,
        plan: Resource,
        goal: Option<Resource>,
    ) -> Option<Self> {
        let plan_key = plan.key();
        let goal = goal.and_then(|goal| match (goal.key(), goal.spec) {
            (key, Spec::Goal(spec)) => Some((key, spec)),
            _ => None,
        });
        let (Spec::Execution(spec), Spec::Plan(plan_spec)) = (execution.spec, plan.spec) else { return None };
        Some(Self {
            key,
            spec,
            plan_key,
            plan_labels: plan.metadata.labels,
            plan: plan_spec,
            goal,
            annotations: execution.metadata.annotations,
        })
    }
}

#[cfg(test)]
impl super::CompiledPlan {
    /// What an Execution with this spec runs of a Plan with that one.
    #[track_caller]
    pub(crate) fn of_specs(spec: serde_json::Value, plan: serde_json::Value) -> Self {
        let key = |text: &str| text.parse().unwrap();
        Self::build(PlanSources {
            key: key("n/execution/e"),
            spec: serde_json::from_value(spec).unwrap(),
            plan_key: key("n/plan/p"),
            plan_labels: StringMap::default(),
            plan: serde_json::from_value(plan).unwrap(),
            goal: None,
            annotations: StringMap::default(),
        })
        .unwrap()
    }

    /// The same of a Plan with this graph.
    #[track_caller]
    pub(crate) fn of_graph(graph: &serde_json::Value) -> Self {
        let plan = serde_json::json!({ "description": "d", "graph": graph });
        Self::of_specs(serde_json::json!({ "planRef": { "name": "p" } }), plan)
    }
}
