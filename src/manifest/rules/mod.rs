//! The rules of each kind that a schema cannot express, one file a kind.

mod graph;

use serde_json::{Map, Value};

use super::codes;
use super::problem::Problem;
use crate::model::{Resource, Spec};

/// The fields of `metadata` that only the reconciler sets.
const SYSTEM_METADATA: [&str; 6] = [
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
];

/// Warns about what a manifest may hold and nobody reads.
pub(super) fn ignored(map: &Map<String, Value>, problems: &mut Vec<Problem>) {
    let mut warn = |pointer: String, field: &str| {
        let message = format!("`{field}` is set by the reconciler and ignored here");
        let problem = Problem::new(codes::IGNORED_FIELD, pointer, message).warning().at_key();
        problems.push(problem.hint("remove it".to_owned()));
    };
    if map.contains_key("status") {
        warn("/status".to_owned(), "status");
    }
    if let Some(metadata) = map.get("metadata").and_then(Value::as_object) {
        for field in SYSTEM_METADATA.into_iter().filter(|field| metadata.contains_key(*field)) {
            warn(format!("/metadata/{field}"), field);
        }
    }
}

/// Checks a decoded resource.
pub(super) fn check(resource: &Resource, problems: &mut Vec<Problem>) {
    match &resource.spec {
        Spec::Plan(spec) => graph::check(spec, problems),
        Spec::Goal(_) | Spec::Capability(_) | Spec::Binding(_) | Spec::Gate(_) | Spec::Execution(_) => {}
    }
}
