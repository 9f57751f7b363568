//! The rules of each kind that a schema cannot express. Those of a few lines are here.

mod binding;
mod capability;
mod graph;
mod repeat;
mod schedule;
mod task;
mod unusable;

pub(super) use unusable::unusable;

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::codes;
use super::problem::Problem;
use super::suggest::short;
use crate::graph::Topology;
use crate::model::{CODE_OWNERS, GateSpec, Metadata, PlanSpec, Resource, Spec};
use crate::run::expression;
use crate::run::json::pointer;

/// The largest value of an annotation, in bytes (contract).
const LARGEST_ANNOTATION: usize = 64 * 1024;

/// The fields of `metadata` that only the reconciler sets.
const SYSTEM_METADATA: [&str; 6] = [
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
];

/// Warns about fields that are allowed and ignored.
pub(super) fn ignored(map: &Map<String, Value>, problems: &mut Vec<Problem>) {
    let mut warn = |pointer: String, field: &str| {
        let message = format!("`{field}` is set by the reconciler and ignored here");
        let problem = Problem::new(codes::IGNORED_FIELD, pointer, message).warning().at_key();
        problems.push(problem.hint("remove it".to_owned()));
    };
    // The contract takes these fields in a manifest: one that was copied from a record carries them along.
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
    annotations(&resource.metadata, problems);
    match &resource.spec {
        Spec::Goal(spec) => {
            let ids = spec.acceptance_criteria.iter().map(|criterion| criterion.id.as_deref());
            unique(ids, "/spec/acceptanceCriteria", "id", problems);
        }
        Spec::Plan(spec) => {
            let topology = graph::check(spec, problems);
            repeat::check(&spec.graph, topology.is_some(), problems);
            task::check(&spec.graph, problems);
            capability::check_parameters(&spec.parameters, "/spec/parameters", problems);
            expressions(spec, topology.as_ref(), problems);
        }
        Spec::Capability(spec) => capability::check(spec, problems),
        Spec::Gate(spec) => approvers(spec, problems),
        Spec::Schedule(spec) => schedule::check(spec, problems),
        Spec::Binding(spec) => binding::check(spec, problems),
        Spec::Execution(_) => {}
    }
}

/// Checks the size of annotations in bytes; a schema counts characters.
fn annotations(metadata: &Metadata, problems: &mut Vec<Problem>) {
    for (key, _) in metadata.annotations.iter().filter(|(_, value)| value.len() > LARGEST_ANNOTATION) {
        let pointer = pointer::join("/metadata/annotations", key);
        problems.push(Problem::new(codes::OUT_OF_RANGE, pointer, "must have at most 65536 bytes").at_key());
    }
}

fn expressions(spec: &PlanSpec, topology: Option<&Topology>, problems: &mut Vec<Problem>) {
    for found in expression::check(spec, topology) {
        let problem = Problem::new(codes::BAD_EXPRESSION, found.pointer, found.message).within(found.offset);
        problems.push(problem.hint(found.hint));
    }
}

/// Warns about a Gate that requires more approvals than it has reviewers. A team may have any number of members.
fn approvers(spec: &GateSpec, problems: &mut Vec<Problem>) {
    // `ada` and `user:ada` are one person, who approves once.
    let people: HashSet<&str> =
        spec.reviewers.iter().map(|name| name.strip_prefix("user:").unwrap_or(name)).collect();
    // How many those are is known when a file has changed.
    let teams = spec.reviewers.iter().any(|name| name.starts_with("team:")) || spec.asks_code_owners();
    for (index, name) in spec.reviewers.iter().enumerate() {
        // Taken for a login it would be nobody, and the gate would never open.
        let meant = name.trim().strip_suffix(':').unwrap_or(name.trim()).eq_ignore_ascii_case("codeowners");
        if (meant && name.trim() != CODE_OWNERS)
            || name.trim().strip_prefix(CODE_OWNERS).is_some_and(|rest| !rest.is_empty())
        {
            let message = format!("`{}` is nobody", short(name));
            let problem =
                Problem::new(codes::UNDECIDABLE_GATE, format!("/spec/reviewers/{index}"), message).warning();
            problems.push(
                problem
                    .hint("write `codeowners:` for the owners of the files that the gate shows".to_owned()),
            );
        }
    }
    let required = spec.required_approvers;
    if !people.is_empty() && !teams && (people.len() as u64) < u64::from(required) {
        let message = format!("{required} approvals are required, but only {} may approve", people.len());
        let problem = Problem::new(codes::UNDECIDABLE_GATE, "/spec/requiredApprovers", message).warning();
        problems.push(problem.hint("add reviewers, or require fewer approvals".to_owned()));
    }
}

/// Reports duplicates of `field` among the items of a list.
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
                let message = format!("duplicate {field} `{}`", short(value));
                let problem = Problem::new(codes::NOT_UNIQUE, format!("{list}/{index}/{field}"), message);
                problems.push(problem.related(format!("{list}/{}/{field}", first.get()), "first here"));
            }
        }
    }
}
