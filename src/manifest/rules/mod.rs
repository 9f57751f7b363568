//! The rules of each kind that a schema cannot express, one file a kind.

mod capability;
mod expression;
mod gate;
mod goal;
mod graph;
mod metadata;
mod task;
mod unusable;

pub(super) use unusable::unusable;

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use serde_json::{Map, Value};

use super::codes;
use super::problem::Problem;
use super::suggest::short;
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
    metadata::check(&resource.metadata, problems);
    match &resource.spec {
        Spec::Goal(spec) => goal::check(spec, problems),
        Spec::Plan(spec) => {
            let topology = graph::check(spec, problems);
            task::check(&spec.graph, problems);
            expression::check(spec, topology.as_ref(), problems);
        }
        Spec::Capability(spec) => capability::check(spec, problems),
        Spec::Gate(spec) => gate::check(spec, problems),
        Spec::Binding(_) | Spec::Execution(_) => {}
    }
}

/// Reports values that must be unique within a list, and are not: `field` of each item, where it is there.
fn unique<'a>(
    items: impl Iterator<Item = Option<&'a str>>,
    list: &str,
    field: &str,
    problems: &mut Vec<Problem>,
) {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    for (index, value) in items.enumerate() {
        let Some(value) = value else { continue };
        match seen.entry(value) {
            Entry::Vacant(slot) => {
                slot.insert(index);
            }
            Entry::Occupied(first) => {
                let message = format!("the {field} `{}` is there twice", short(value));
                let problem = Problem::new(codes::NOT_UNIQUE, format!("{list}/{index}/{field}"), message);
                problems.push(problem.related(format!("{list}/{}/{field}", first.get()), "first here"));
            }
        }
    }
}
