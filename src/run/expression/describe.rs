//! The variables `goal`, `plan` and `execution` of expressions: which of their fields can be seen.
//! Only what cannot change while an execution runs, so that an expression means the same on every runner.

use serde_json::{Value, json};

use crate::model::{ExecutionSpec, GoalSpec, Metadata, PlanSpec};

/// The fields of `goal`.
pub const GOAL_FIELDS: [&str; 7] =
    ["name", "namespace", "labels", "annotations", "description", "constraints", "priority"];

/// The fields of `plan`.
pub const PLAN_FIELDS: [&str; 7] =
    ["name", "namespace", "labels", "annotations", "description", "series", "version"];

/// The fields of `execution`.
pub const EXECUTION_FIELDS: [&str; 6] = ["name", "namespace", "labels", "annotations", "uid", "parameters"];

/// The variable `goal`.
#[must_use]
pub fn goal(metadata: &Metadata, spec: &GoalSpec) -> Value {
    json!({
        "name": metadata.name, "namespace": metadata.namespace,
        "labels": metadata.labels, "annotations": metadata.annotations,
        "description": spec.description, "constraints": spec.constraints, "priority": spec.priority,
    })
}

/// The variable `plan`. `series` and `version` are null when the plan has none.
#[must_use]
pub fn plan(metadata: &Metadata, spec: &PlanSpec) -> Value {
    json!({
        "name": metadata.name, "namespace": metadata.namespace,
        "labels": metadata.labels, "annotations": metadata.annotations,
        "description": spec.description, "series": spec.series, "version": spec.version,
    })
}

/// The variable `execution`.
#[must_use]
pub fn execution(metadata: &Metadata, uid: &str, spec: &ExecutionSpec) -> Value {
    json!({
        "name": metadata.name, "namespace": metadata.namespace,
        "labels": metadata.labels, "annotations": metadata.annotations,
        "uid": uid, "parameters": spec.parameters,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_fields(value: &Value, fields: &[&str]) {
        let keys: Vec<&String> = value.as_object().unwrap().keys().collect();
        assert_eq!(keys, fields);
    }

    #[test]
    fn the_lists_of_fields_say_what_there_is() {
        let metadata: Metadata = serde_json::from_value(json!({ "name": "a", "namespace": "b" })).unwrap();
        let spec = serde_json::from_value(json!({ "description": "d" })).unwrap();
        check_fields(&goal(&metadata, &spec), &GOAL_FIELDS);
        let spec = serde_json::from_value(json!({ "description": "d", "graph": { "nodes": [] } })).unwrap();
        check_fields(&plan(&metadata, &spec), &PLAN_FIELDS);
        let spec = serde_json::from_value(json!({ "planRef": { "name": "p" } })).unwrap();
        check_fields(&execution(&metadata, "u", &spec), &EXECUTION_FIELDS);
    }
}
