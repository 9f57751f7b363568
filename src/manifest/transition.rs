//! What a change from one commit to the next means for a single resource.

use super::codes;
use crate::diagnostic::{Code, Diagnostic, Location, Severity};
use crate::model::{ExecutionSpec, Resource, Source, Spec};

/// Compares a resource with its next version; `None` means that it is removed.
#[must_use]
pub fn check_transition(old: &Resource, new: Option<&Resource>) -> Vec<Diagnostic> {
    let Some(new) = new else { return removed(old).into_iter().collect() };
    if old.spec_digest == new.spec_digest || old.key() != new.key() {
        return Vec::new();
    }
    let found = match (&old.spec, &new.spec) {
        (Spec::Execution(before), Spec::Execution(after)) => immutable(before, after, &new.source),
        (Spec::Gate(_), Spec::Gate(_)) => Some(Diagnostic::warning(
            codes::APPROVALS_VOIDED,
            location(&new.source, "/spec"),
            "the gate changes: approvals given so far no longer count",
        )),
        (Spec::Plan(before), Spec::Plan(after)) if before.graph != after.graph => Some(note(
            codes::PINNED_PLAN_CHANGED,
            location(&new.source, "/spec/graph"),
            "executions that are under way keep the graph that they started with",
        )),
        _ => None,
    };
    found.map(|diagnostic| diagnostic.about(&new.key())).into_iter().collect()
}

fn location(source: &Source, pointer: &str) -> Location {
    Location { path: source.path.clone(), span: None, document: source.document, pointer: pointer.to_owned() }
}

fn note(code: Code, at: Location, message: &str) -> Diagnostic {
    let mut diagnostic = Diagnostic::warning(code, at, message);
    diagnostic.severity = Severity::Note;
    diagnostic
}

fn removed(old: &Resource) -> Option<Diagnostic> {
    let at = location(&old.source, "");
    let diagnostic = match &old.spec {
        Spec::Execution(_) => Diagnostic::warning(
            codes::RESOURCE_REMOVED,
            at,
            "the execution is removed: it is cancelled if it is under way, and its status is deleted",
        ),
        Spec::Goal(_) => note(
            codes::RESOURCE_REMOVED,
            at,
            "the goal is removed, and with it the status of the executions that it owns",
        ),
        _ => return None,
    };
    Some(diagnostic.about(&old.key()))
}

fn immutable(before: &ExecutionSpec, after: &ExecutionSpec, source: &Source) -> Option<Diagnostic> {
    let changes = [
        ("planRef", before.plan_ref != after.plan_ref),
        ("goalRef", before.goal_ref != after.goal_ref),
        ("bindingRef", before.binding_ref != after.binding_ref),
        ("nodeBindings", before.node_bindings != after.node_bindings),
        ("runtimeRef", before.runtime_ref != after.runtime_ref),
        ("parameters", before.parameters != after.parameters),
        ("context", before.context != after.context),
    ];
    let changed: Vec<&str> =
        changes.iter().filter(|(_, changed)| *changed).map(|(field, _)| *field).collect();
    let first = changed.first()?;
    let message = format!("the spec of an Execution never changes ({})", changed.join(", "));
    let at = location(source, &format!("/spec/{first}"));
    Some(
        Diagnostic::error(codes::IMMUTABLE_SPEC, at, message)
            .with_hint("make a new Execution under another name"),
    )
}
