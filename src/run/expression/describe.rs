//! The variables `goal`, `plan` and `execution` of expressions: which of their fields can be seen.
//! Only what is pinned with an execution, so that an expression means the same in every pass and on every runner.

use serde_json::{Value, json};

use crate::model::{GoalSpec, JsonMap, PlanSpec, ResourceKey, StringMap};

/// The fields of `goal`.
pub(crate) const GOAL_FIELDS: [&str; 6] =
    ["name", "namespace", "description", "constraints", "acceptanceCriteria", "priority"];

/// The fields of `plan`.
pub(crate) const PLAN_FIELDS: [&str; 6] = ["name", "namespace", "labels", "description", "series", "version"];

/// The fields of `execution`.
pub(crate) const EXECUTION_FIELDS: [&str; 3] = ["name", "namespace", "parameters"];

/// The variable `goal`. Every field is always there: an empty map or list where the goal says nothing.
#[must_use]
pub(crate) fn goal(key: &ResourceKey, spec: &GoalSpec) -> Value {
    json!({
        // Field by field, like the lists above: what `validate` lets through is what an evaluation finds, and a new
        // field of the contract is not seen by accident.
        "name": key.name, "namespace": key.namespace, "description": spec.description,
        "constraints": spec.constraints, "acceptanceCriteria": spec.acceptance_criteria,
        "priority": spec.priority,
    })
}

/// The variable `plan`. `series` and `version` are null when the plan has none.
#[must_use]
pub(crate) fn plan(key: &ResourceKey, labels: &StringMap, spec: &PlanSpec) -> Value {
    json!({
        "name": key.name, "namespace": key.namespace, "labels": labels,
        "description": spec.description, "series": spec.series, "version": spec.version,
    })
}

/// The variable `execution`, with the defaults of the plan among its parameters, so that it agrees with `parameters`.
#[must_use]
pub(crate) fn execution(key: &ResourceKey, parameters: &JsonMap) -> Value {
    json!({ "name": key.name, "namespace": key.namespace, "parameters": parameters })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Kind, Name};

    fn check_fields(value: &Value, fields: &[&str]) {
        let keys: Vec<&String> = value.as_object().unwrap().keys().collect();
        assert_eq!(keys, fields);
    }

    #[test]
    fn the_lists_of_fields_say_what_there_is() {
        let key = ResourceKey::new(Kind::Goal, Name::new("a").unwrap(), Name::new("b").unwrap());
        let spec = serde_json::from_value(json!({ "description": "d" })).unwrap();
        check_fields(&goal(&key, &spec), &GOAL_FIELDS);
        let spec = serde_json::from_value(json!({ "description": "d", "graph": { "nodes": [] } })).unwrap();
        check_fields(&plan(&key, &StringMap::new(), &spec), &PLAN_FIELDS);
        check_fields(&execution(&key, &JsonMap::new()), &EXECUTION_FIELDS);
    }
}
